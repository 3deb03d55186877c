#!/usr/bin/env bash
# The whole chain, in the namespaces that tests/endpoint/chain.rs made: chain.sh REPOSITORY MODULE MPM
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"
module=$2 mpm=$3

absent() { [ -e "$1" ] && echo there || echo absent; }

client=198.51.100.7
ip address add "$client/32" dev lo
ip address add 129.118.243.10/32 dev lo
ip -6 address add 2001:db8::7/128 dev lo nodad

# An ip.php's files, in the article's places.
ramcache=/media/data/www/ramcache
install -d -o www-data -g www-data "$ramcache"
cat >"$ramcache/ip.txt" <<'END'
{
    "host1.h.lohray.com": {
        "ip": "129.118.243.10",
        "update": "2012-04-20 20:45:59"
    }
}
END
truncate -s -1 "$ramcache/ip.txt"
echo '129.118.243.10 host1.h.lohray.com' >"$ramcache/hosts.dns"
chown www-data:www-data "$ramcache"/*
printf '%s' '{"user1": {"id": ["host1.h.lohray.com"], "key": "secretkey1"}}' >/srv/keys.json

prepare_apache "mpm_$mpm"
echo 'ServerName localhost' >/etc/apache2/conf-enabled/name.conf
# No resolvconf, no other resolver: the name server serves its own names.
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >/etc/dnsmasq.d/test.conf
# The article's lines. dnsmasq accepts only one local-ttl.
printf '%s\n' local-ttl=7 "addn-hosts=$ramcache/hosts.dns" >>/etc/dnsmasq.conf
# A file that a RAM disk would hide.
touch "$ramcache/ip.php"
is "a RAM disk over other files" "$(scripts/install | grep -c "no RAM disk on $ramcache for now.*ip.php")" 1
[ ! -e /etc/dnsmasq.d/ddns-cgi-ttl.conf ] || fail "a second local-ttl"
rm "$ramcache/ip.php"
scripts/install || fail "scripts/install"
is "the second installation" "$(scripts/install)" "everything is in place already"
ddnsctl import --state "$ramcache/ip.txt" --hosts "$ramcache/hosts.dns" --credentials /srv/keys.json || fail "import"
[ -e "/etc/apache2/mods-enabled/$module.load" ] || fail "mod_$module is not enabled"
mountpoint -q "$ramcache" || fail "no RAM disk"

is "Apache serves as www-data" "$(ps -o user= -C apache2 | sort -u | grep -c www-data)" 1
look_up() { dig +short +time=1 +tries=1 @127.0.0.1 host1.h.lohray.com "$1"; }
until_is "dnsmasq serves the article's address" 129.118.243.10 look_up A

request() { # ADDRESS: a signed update from there, with the tools that any client has
    local now hash host=127.0.0.1
    now=$(date -u '+%Y-%m-%d %H:%M:%S')
    hash=$(printf '%s\n' host1.h.lohray.com "$now" secretkey1 | sha1sum | cut -d ' ' -f 1)
    case $1 in *:*) host='[::1]' ;; esac
    echo "http://$host/ip.php?user=user1&id=host1.h.lohray.com&timeST=${now/ /%20}&hash=$hash" >/tmp/last
    curl -g -s --interface "$1" "$(cat /tmp/last)"
    sleep 1.1 # The next request needs a newer stamp.
}

pid=$(cat /run/dnsmasq/dnsmasq.pid)
is "a redundant update" "$(request 129.118.243.10)" "nochg 129.118.243.10"
is "dnsmasq was left alone" "$(cat /run/dnsmasq/dnsmasq.pid)" "$pid"

is "a change" "$(request $client)" "good $client"
captured=$(cat /tmp/last)
until_is "the name has moved" "$client" look_up A
until_is "the mark is gone" absent absent "$ramcache/.hosts.dns.pending"
[ "$(cat /run/dnsmasq/dnsmasq.pid)" != "$pid" ] || fail "dnsmasq was not restarted"
is "the time to live" "$(dig +noall +answer @127.0.0.1 host1.h.lohray.com | awk '{print $2}')" 7
is "the hosts file" "$(cat $ramcache/hosts.dns)" "$client host1.h.lohray.com"

is "an IPv6 address" "$(request 2001:db8::7)" "good 2001:db8::7"
until_is "the name has both" "2001:db8::7" look_up AAAA
is "the IPv4 address stays" "$(look_up A)" "$client"

request $client >/dev/null
last=$(cat /tmp/last)
is "a replay from elsewhere" "$(curl -s --interface 129.118.243.10 "$last")" "replay"
is "an older replay" "$(curl -s --interface $client "$captured")" "replay"
is "still the right address" "$(look_up A)" "$client"

# The rule allows this command and nothing else.
for command in 'service dnsmasq stop' 'service apache2 restart' 'service dnsmasq restart now' 'id'; do
    # shellcheck disable=SC2086 # a command and its arguments
    setpriv --reuid=www-data --regid=www-data --init-groups sudo -n $command >/dev/null 2>&1 && fail "sudo allows $command"
done
echo "ok: sudo allows nothing else"

# sudo denies: the change is stored and waits, with the reason.
mv /etc/sudoers.d/ddns-cgi /tmp/rule
until_is "the mark is gone" absent absent "$ramcache/.hosts.dns.pending"
is "a change without the sudo rule" "$(request 129.118.243.10)" "good 129.118.243.10"
until_is "the mark tells why" "failed exit status: 1: sudo: a password is required" cat "$ramcache/.hosts.dns.pending"
is "dnsmasq has the old address" "$(look_up A)" "$client"
mv /tmp/rule /etc/sudoers.d/ddns-cgi
is "the next request, a redundant one" "$(request 129.118.243.10)" "nochg 129.118.243.10"
until_is "the name has moved" 129.118.243.10 look_up A
until_is "the mark is gone" absent absent "$ramcache/.hosts.dns.pending"
grep -q 'ddns-cgi: notice .*a password is required' /var/log/apache2/error.log || fail "the reason is not in Apache's log"

# dnsmasq is down: the restart starts it, and it is fresh.
service dnsmasq stop >/dev/null
is "a change while dnsmasq is down" "$(request $client)" "good $client"
until_is "dnsmasq is up and fresh" "$client" look_up A

is "the files are not served" "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/ip.txt)" 404
is "an unknown user" "$(curl -s "${last/user1/user9}")" badauth
until_is "the address for fail2ban" 1 grep -c 'ddns-cgi: badauth address=127.0.0.1 user="user9"' /var/log/apache2/error.log
grep -q secretkey /var/log/apache2/*.log && fail "the key is in a log"

# For the documented table: the init script of systems without systemd.
echo "measured: without systemd: $(scripts/measure-gap host1.h.lohray.com service dnsmasq restart)"

is "check" "$(ddnsctl check)" "all is well: 1 host, 1 user"
/etc/init.d/ddns-cgi-ramcache stop
ddnsctl list --state "$(find /var/lib/ddns-cgi/copies -name 'copy-*' | sort | tail -n 1)/ip.txt" | grep -q host1 || fail "no copy"
scripts/install --uninstall >/dev/null || fail "uninstall"
grep -q host1 "$ramcache/ip.txt" || fail "the state is gone"
service apache2 stop >/dev/null
service dnsmasq stop >/dev/null
echo "the whole chain works"
