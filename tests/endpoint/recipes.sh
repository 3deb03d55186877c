#!/usr/bin/env bash
# Tries the settings that ddnsctl user config prints, unedited: over HTTPS, on the installed system, in the
# namespaces of tests/endpoint/recipes.rs: recipes.sh REPOSITORY
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"
# No setting of the outer system tells the clients whom to trust.
unset "${!SSL_@}" "${!CURL_@}" "${!PERL_@}"

server=129.118.243.10
ip address add "$server/32" dev lo
printf '127.0.0.1 localhost\n%s ns.example.net\n' "$server" >/etc/hosts
echo 'hosts: files' >/etc/nsswitch.conf

# A certificate of our own CA, which the clients trust like any other.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=test CA' -keyout /tmp/ca.key \
    -out /usr/local/share/ca-certificates/test.crt 2>/dev/null
update-ca-certificates >/dev/null 2>&1
openssl req -newkey rsa:2048 -nodes -subj '/CN=ns.example.net' -keyout /tmp/ns.key 2>/dev/null |
    openssl x509 -req -days 2 -CA /usr/local/share/ca-certificates/test.crt -CAkey /tmp/ca.key \
        -extfile <(echo 'subjectAltName=DNS:ns.example.net') -out /tmp/ns.crt 2>/dev/null

prepare_apache mpm_event ssl
cat >/etc/apache2/sites-enabled/ns.conf <<'END'
ServerName ns.example.net
<VirtualHost *:443>
    SSLEngine on
    SSLCertificateFile /tmp/ns.crt
    SSLCertificateKeyFile /tmp/ns.key
</VirtualHost>
END
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >/etc/dnsmasq.d/test.conf
scripts/install --no-ramcache --url https://ns.example.net/ip.php >/dev/null || fail "scripts/install"
key=$(ddnsctl user add alice --host home.example.net)
ddnsctl host add alice nas.example.net

settings() { # CLIENT
    ddnsctl user config alice --for "$1" || fail "ddnsctl user config alice --for $1"
}
stored() { # The addresses of both hosts
    sort /media/data/www/ramcache/hosts.dns
}
both="$server home.example.net
$server nas.example.net"
forget() { # Takes the addresses away, so that the next client has something to do.
    printf 'user = "alice:%s"\n' "$key" |
        curl -sS -K - 'https://ns.example.net/nic/update?hostname=home.example.net,nas.example.net&offline=YES'
}
gone="good none
good none"

is "curl" "$(settings curl | sh)" "good $server
good $server"
is "the hosts file after curl" "$(stored)" "$both"

is "no address" "$(forget)" "$gone"
settings ip-update >/etc/ip-update.conf
chmod 600 /etc/ip-update.conf
# A signed request has to be newer than the last one.
sleep 1
is "ip-update" "$(scripts/ip-update 2>&1)" ""
is "the hosts file after ip-update" "$(stored)" "$both"

is "no address" "$(forget)" "$gone"
settings ddclient >/etc/ddclient.conf
chmod 600 /etc/ddclient.conf
ddclient -daemon=0 -verbose -noquiet >/tmp/ddclient 2>&1 || fail "ddclient: $(cat /tmp/ddclient)"
grep -q "SUCCESS: .*home.example.net.*$server" /tmp/ddclient || fail "ddclient: $(cat /tmp/ddclient)"
is "the hosts file after ddclient" "$(stored)" "$both"

is "no address" "$(forget)" "$gone"
settings inadyn >/etc/inadyn.conf
chmod 600 /etc/inadyn.conf
inadyn --once --force --foreground >/tmp/inadyn 2>&1 || fail "inadyn: $(cat /tmp/inadyn)"
is "the hosts file after inadyn" "$(stored)" "$both"

# What a FRITZ!Box makes of its form, with curl in its place.
is "no address" "$(forget)" "$gone"
field() { sed -n "s/^$1: //p" /tmp/form; } # NAME
settings fritzbox >/tmp/form
url=$(field 'Update URL' | sed "s/<domain>/$(field 'Domain name')/; s/<ipaddr>/$server/; s/<ip6addr>//; s/<ip6lanprefix>//")
is "a FRITZ!Box" "$(printf 'user = "%s:%s"\n' "$(field Username)" "$(field Password)" | curl -sS -K - "$url")" "good $server
good $server"
is "the hosts file after the FRITZ!Box" "$(stored)" "$both"

grep -qF "$key" /var/log/apache2/*.log && fail "the key is in a log"
service apache2 stop >/dev/null
service dnsmasq stop >/dev/null
echo "every recipe works"
