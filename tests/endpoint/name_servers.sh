#!/usr/bin/env bash
# Follows docs/name-servers.md as printed, except for the secrets, in the namespaces of
# tests/endpoint/name_servers.rs: name_servers.sh REPOSITORY PRIMARY SECONDARY
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"
# shellcheck source=tests/endpoint/page.sh
. "${0%/*}/page.sh"
primary=$2 secondary=$3
zone=h.example.net host=home.h.example.net office=office.h.example.net
ns1=192.0.2.53 ns2=198.51.100.53 stranger=203.0.113.9
mark=/media/data/www/ramcache/.hosts.dns.publish.pending
secrets[TRANSFER-SECRET]=$(openssl rand -base64 32)

# --- Machines: this one is ns1, and routes between the others.

declare -A machines
machine() { # NAME ADDRESS: with a network, and with /etc, /run and data of the name servers of its own
    # shellcheck disable=SC2016 # expanded over there
    unshare --net --mount --propagation private bash -c '
        for folder in /etc /var/lib/knot /var/lib/nsd; do
            mkdir -p "/machines/$0$folder"
            cp -a "$folder/." "/machines/$0$folder"
            mount --bind "/machines/$0$folder" "$folder"
        done
        mount -t tmpfs tmpfs /run
        touch "/machines/$0/ready"
        exec sleep infinity' "$1" &
    machines[$1]=$!
    until [ -e "/machines/$1/ready" ]; do sleep 0.1; done
    ip link add "$1" type veth peer name eth0 netns "${machines[$1]}"
    ip link set "$1" up
    ip route add "$2" dev "$1"
    on "$1" ip link set lo up
    on "$1" ip link set eth0 up
    on "$1" ip address add "$2/32" dev eth0
    on "$1" ip route add "$ns1" dev eth0
    on "$1" ip route add default via "$ns1"
}
on() { # MACHINE COMMAND...
    nsenter --target "${machines[$1]}" --net --mount --root --wd "${@:2}"
}

# --- Questions to the name servers.

ask() { dig +norec +short +time=1 +tries=1 "@$1" "$2" "$3" | sort; } # SERVER NAME TYPE
now() { date +%s%N; }
both_answer() { # WHAT NAME TYPE EXPECTED: both servers do, within 3 seconds of $sent
    local server took=()
    for server in "$ns1" "$ns2"; do
        until [ "$(ask "$server" "$2" "$3")" = "$4" ]; do
            [ $(($(now) - sent)) -lt 3000000000 ] ||
                fail "$1: after 3 s, $server says '$(ask "$server" "$2" "$3")' instead of '$4'; mark: $(cat $mark 2>&1)"
            sleep 0.02
        done
        took+=("$((($(now) - sent) / 1000000)) ms")
    done
    echo "measured: $primary as the primary, $secondary as the secondary: $1 after ${took[0]}, then ${took[1]}"
}
stranger_sees() { # SERVER NAME TYPE: the status, the flags, how many answers, and the SOA record if there is one
    on stranger dig +time=1 +tries=1 +noall +comments +authority "@$1" "$2" "$3" | awk '
        match($0, /status: [A-Z]+/) { status = substr($0, RSTART + 8, RLENGTH - 8) }
        match($0, /flags: [a-z ]+;/) { flags = substr($0, RSTART + 7, RLENGTH - 8) }
        match($0, /ANSWER: [0-9]+/) && answers == "" { answers = substr($0, RSTART + 8, RLENGTH - 8) }
        $4 == "SOA" { soa = ", SOA" }
        END { print status ": " flags ", " answers soa }'
}
validated() { # SERVER NAME TYPE: what somebody believes who trusts the DS record
    delv "@$1" -a /tmp/anchor +root=$zone "$2" "$3" 2>&1 |
        awk -v type="$3" '/fully validated/ { print "validated" } $4 == type { print $5 }'
}

# --- Requests, settings and services.

request() { # WHAT REPLY HOST [OPTION...]: a request through Apache, with options of ddnsctl sign
    local command
    sleep 1.1 # A host's next request needs a newer stamp.
    command=$(ddnsctl sign "${@:3}" --curl)
    sent=$(now)
    is "$1" "$(sh -c "$command")" "$2"
}
configure() { # TOOL [PORT [ZONE]]
    cat >/etc/ddns-cgi/config.json <<END
{
    "restart": [], "name_server": "none", "status_page": true,
    "publish": { "command": ["${1// /\", \"}"], "port": ${2:-53}, "zones": ["${3:-$zone}"] }
}
END
}
make_key() { # TOOL NAME SECRET: each tool has a format of its own
    case $1 in
        nsupdate*) echo "key \"$2\" { algorithm hmac-sha256; secret \"$3\"; };" ;;
        knsupdate*) echo "hmac-sha256:$2:$3" ;;
    esac | install -m 640 -g www-data /dev/stdin /tmp/tsig.key
}
fails() { # WHAT PATTERN: an update that fails; the mark keeps the reason
    ! ddnsctl apply --all >/dev/null 2>&1 || fail "$1: the update succeeds"
    # Without the escapes of quotation marks.
    # shellcheck disable=SC1003,SC2053 # a backslash, a pattern
    [[ "$(tail -n 1 $mark | tr -d '\\')" = $2 ]] || fail "$1: '$(tail -n 1 $mark)' instead of '$2'"
    echo "ok: $1"
}
state_of_mark() { [ -e $mark ] && echo there || echo absent; }
service_of() { # SERVER
    case $1 in BIND) echo named ;; Knot) echo knot ;; NSD) echo nsd ;; PowerDNS) echo pdns ;; esac
}

# --- Three machines, and Apache.

ip address add $ns1/32 dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward
machine ns2 $ns2
machine stranger $stranger
# What systemd would do: folders in /run, and a service for PowerDNS, which has no init script.
install -d -o knot -g knot /run/knot
on ns2 install -d -o knot -g knot /run/knot
install -d -o pdns -g pdns /run/pdns
cat >/etc/init.d/pdns <<'END'
#!/bin/sh
pdns() { start-stop-daemon --quiet --pidfile /run/pdns.pid --exec /usr/sbin/pdns_server "$@"; }
[ "$1" = start ] || pdns --stop --oknodo --retry 10
[ "$1" = stop ] || pdns --start --background --make-pidfile -- \
    --guardian=no --daemon=no --write-pid=no --setuid=pdns --setgid=pdns
END
chmod 755 /etc/init.d/pdns
prepare_apache mpm_event
echo 'ServerName localhost' >/etc/apache2/conf-enabled/name.conf
# What the zone above says.
printf '%s ns1.example.net\n%s ns2.example.net\n' $ns1 $ns2 >>/etc/hosts
echo 'hosts: files' >/etc/nsswitch.conf

# --- The page.

follow "Installing"
printed=$(cat /etc/ddns-cgi/config.json)
rm /etc/ddns-cgi/config.json
scripts/install --publish $zone >/dev/null || fail "scripts/install"
is "the printed configuration" "$(cat /etc/ddns-cgi/config.json)" "$printed"
is "who can read the key" "$(stat -c '%U:%G %a' /etc/ddns-cgi/tsig.key)" "root:www-data 640"
secrets[UPDATE-SECRET]=$(sed -n 's/.*secret "\(.*\)";.*/\1/p' /etc/ddns-cgi/tsig.key)
# shellcheck disable=SC2046 # a list of options
ddnsctl user add bob $(printf -- "--host host%s.$zone " $(seq 20)) >/dev/null

follow "The zone"
printf '%s TXT kept\n' home _acme-challenge.home >>/root/$zone.zone
follow "$primary as the primary"
until_is "the primary answers" $'ns1.example.net.\nns2.example.net.' ask $ns1 $zone NS
follow "$secondary as the secondary" on ns2
until_is "the secondary answers" $'ns1.example.net.\nns2.example.net.' ask $ns2 $zone NS
bash -e <<<"$(steps "The zone above")" >/tmp/ds
follow "Starting"
ddnsctl host add alice $office >/dev/null
awk '{ print "trust-anchors { " $1 " static-ds " $4 " " $5 " " $6 " \"" $7 "\"; };" }' /tmp/ds >/tmp/anchor

# --- A host comes, changes, loses an address, and goes.

request "a new address" "good 203.0.113.1,2001:db8::1" $host --ip 203.0.113.1 --ip6 2001:db8::1
both_answer "a new address" $host AAAA 2001:db8::1
is "the page's address" "$(ask $ns2 $host A)" 203.0.113.1
request "another host" "good 203.0.113.7" $office --ip 203.0.113.7
both_answer "another host" $office A 203.0.113.7
request "a change" "good 203.0.113.2,2001:db8::1" $host --ip 203.0.113.2 --ip6 2001:db8::1
both_answer "a change" $host A 203.0.113.2
for server in "$ns1" "$ns2"; do
    is "DNSSEC at $server" "$(validated "$server" $host A)" $'validated\n203.0.113.2'
    is "DNSSEC at $server, no such name" "$(validated "$server" missing.$zone A)" validated
    is "$server answers a stranger" "$(stranger_sees "$server" $host A)" "NOERROR: qr aa rd, 1"
    is "$server, a foreign name" "$(stranger_sees "$server" example.com A)" "REFUSED: qr rd, 0"
    is "$server, no such name" "$(stranger_sees "$server" missing.$zone A)" "NXDOMAIN: qr aa rd, 0, SOA"
    is "$server, no CAA record" "$(stranger_sees "$server" $host CAA)" "NOERROR: qr aa rd, 0, SOA"
    is "$server, no TXT record" "$(stranger_sees "$server" $office TXT)" "NOERROR: qr aa rd, 0, SOA"
    on stranger dig "@$server" $zone AXFR | grep -q 'Transfer failed' || fail "$server gives the zone to a stranger"
done
request "an IPv6 address goes" "good 203.0.113.2" $host --ip 203.0.113.2 --ip6 none
both_answer "an IPv6 address goes" $host AAAA ''
is "the IPv4 address stays" "$(ask $ns2 $host A)" 203.0.113.2
sent=$(now)
ddnsctl host remove alice $host >/dev/null
both_answer "a host goes" $host A ''
for server in "$ns1" "$ns2"; do
    is "$server, no A record" "$(stranger_sees "$server" $host A)" "NOERROR: qr aa rd, 0, SOA"
    is "$server, no AAAA record" "$(stranger_sees "$server" $host AAAA)" "NOERROR: qr aa rd, 0, SOA"
    is "$server, another record of the name" "$(ask "$server" $host TXT)" '"kept"'
    is "$server, a name below it" "$(ask "$server" _acme-challenge.$host TXT)" '"kept"'
done

# --- The primary is down for 20 changes.

service "$(service_of "$primary")" stop >/dev/null 2>&1
for number in $(seq 20); do
    command=$(ddnsctl sign "host$number.$zone" --ip "203.0.113.$((100 + number))" --curl)
    [ "$(sh -c "$command")" = "good 203.0.113.$((100 + number))" ] || fail "change $number"
done
# So says nsupdate over TCP, which it takes for so many names, if nobody listens.
reason="exit status: 2: Communication with 127.0.0.1#53 failed: operation canceled"
until_is "the mark has the reason" "failed $reason" tail -n 1 $mark
configure "nsupdate -k /etc/ddns-cgi/tsig.key"
ddnsctl check >/tmp/check && fail "check finds nothing"
is "check has the reason" "$(grep -cF "$reason" /tmp/check)" 1
is "the status page has the reason" "$(curl -s http://127.0.0.1/ip.php/status | grep -cF "$reason")" 1
service "$(service_of "$primary")" start >/dev/null 2>&1
until_is "the primary is back" 203.0.113.7 ask $ns1 $office A
request "a redundant update" "nochg 203.0.113.7" $office --ip 203.0.113.7
both_answer "the last of 20 changes while the primary was down" host20.$zone A 203.0.113.120
for server in "$ns1" "$ns2"; do
    for number in $(seq 20); do
        [ "$(ask "$server" "host$number.$zone" A)" = "203.0.113.$((100 + number))" ] || fail "$server lacks change $number"
    done
    echo "ok: $server has all 20 changes"
done
until_is "the mark is gone" absent state_of_mark

# --- The secondary is down for a change.

on ns2 service "$(service_of "$secondary")" stop >/dev/null 2>&1
request "a change" "good 203.0.113.8" $office --ip 203.0.113.8
until_is "the primary has it" 203.0.113.8 ask $ns1 $office A
on ns2 service "$(service_of "$secondary")" start >/dev/null 2>&1
sent=$(now)
# It asks when it starts, or is told again, or asks after 60 seconds, as the SOA record says.
until [ "$(ask $ns2 $office A)" = 203.0.113.8 ]; do
    [ $(($(now) - sent)) -lt 75000000000 ] || fail "the secondary does not catch up"
    sleep 0.02
done
echo "measured: $primary as the primary, $secondary as the secondary: it catches up in $((($(now) - sent) / 1000000)) ms"

# --- Why an update fails, in the words of both tools, and that both can do it.

for tool in "nsupdate -k /tmp/tsig.key" "knsupdate -v -k /tmp/tsig.key"; do
    name=${tool%% *}
    case $primary-$name in
        Knot-nsupdate) wrong='NOTAUTH(BADSIG)' other='NOTAUTH(BADKEY)' foreign=NOTAUTH ;;
        BIND-nsupdate) wrong='NOTAUTH(BADSIG)' other=REFUSED foreign=NOTAUTH ;;
        PowerDNS-nsupdate) wrong=REFUSED other=REFUSED foreign=NOTAUTH ;;
        Knot-knsupdate) wrong='failed to verify TSIG' other='failed to verify TSIG' foreign='expected a TSIG' ;;
        BIND-knsupdate) wrong='failed to verify TSIG' other=REFUSED foreign=NOTAUTH ;;
        PowerDNS-knsupdate) wrong='expected a TSIG' other=REFUSED foreign=NOTAUTH ;;
    esac
    case $name in
        nsupdate) silent='Communication with 127.0.0.1#9 failed: operation canceled' keyless='could not read key' ;;
        knsupdate) silent="can't connect to 127.0.0.1@9" keyless='failed to parse keyfile' ;;
    esac
    configure "$tool"
    make_key "$tool" ddns-cgi "${secrets[TRANSFER-SECRET]}"
    fails "$name, another secret" "failed exit status: *$wrong*"
    make_key "$tool" transfer "${secrets[TRANSFER-SECRET]}"
    fails "$name, a key that may not update" "failed exit status: *$other*"
    rm /tmp/tsig.key
    fails "$name, no key" "failed exit status: *$keyless*"
    make_key "$tool" ddns-cgi "${secrets[UPDATE-SECRET]}"
    configure "$tool" 9
    fails "$name, no server" "failed exit status: *$silent*"
    configure "$tool" 53 example.net
    fails "$name, a zone that the server does not have" "failed exit status: *$foreign*"
    configure "$tool"
    request "a change by $name" "good 203.0.113.9" $office --ip 203.0.113.9
    both_answer "a change by $name" $office A 203.0.113.9
    request "another" "good 203.0.113.8" $office --ip 203.0.113.8
    both_answer "another by $name" $office A 203.0.113.8
done
until_is "the mark is gone" absent state_of_mark
# No dnsmasq has to get at the hosts file.
chmod 750 "${mark%/*}"
ddnsctl check >/tmp/check || fail "check: $(cat /tmp/check)"

grep -qF "${secrets[UPDATE-SECRET]}" /var/log/apache2/*.log && fail "the key is in a log"
service apache2 stop >/dev/null
echo "both servers follow"
