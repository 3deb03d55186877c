#!/usr/bin/env bash
# Makes each fault of a name server that `ddnsctl check` finds, and corrects it as check says, in the
# namespaces of tests/endpoint/check_names.rs: check_names.sh REPOSITORY
#
# Here are dnsmasq, and the primary of h.example.net: BIND on 192.0.2.1. In another network are its
# secondaries: Knot (ns2) on 192.0.2.2 and fd00::2, and BIND (ns3) on 192.0.2.3. To another address of
# ns3 there is no way from here. The name of ns3 lies in no zone of ours.
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

ddnsctl() { /repository/dist/ddnsctl "$@"; }
# Nobody delegates h.example.net to us. How many findings there are is tested elsewhere.
check() { { ddnsctl check 2>&1 || true; } | sed -E -e '/whether it is delegated/,+2d' -e '/^[0-9]+ (error|warning)/d'; }
green="all is well: 3 hosts, 1 user, 1 zone, asked at 4 addresses"
is_green() { until_is "$1: check is green" "$green" check; }
finds() { # WHAT LINE...: check prints these lines and no other
    local what=$1
    shift
    is "$what" "$(check)" "$(printf '%s\n' "$@")"
}

ip link add here type veth peer name there
ip netns add far
ip link set there netns far
ip address add 192.0.2.1/24 dev here
ip link set here up
ip -6 address add fd00::1/64 dev here nodad
far() { ip netns exec far "$@"; }
far ip address add 192.0.2.2/24 dev there
far ip address add 192.0.2.3/24 dev there
far ip link set there up
far ip -6 address add fd00::2/64 dev there nodad
far ip link set lo up

echo 'nameserver 127.0.0.1' >/etc/resolv.conf
# sudo asks for the name of this machine.
ns3_is_unknown() { echo "127.0.0.1 localhost $(hostname)" >/etc/hosts; }
ns3_is_known() { printf '%s ns3.example.org\n' 192.0.2.3 2001:db8:53::3 >>/etc/hosts; }
ns3_is_unknown
ns3_is_known

# The files of ddns-cgi.
ramcache=/media/data/www/ramcache
install -d -o www-data -g www-data "$ramcache"
install -d /etc/ddns-cgi
state() { # RECORD...
    local IFS=,
    echo "{$*}" | install -o www-data -g www-data /dev/stdin "$ramcache/ip.txt"
}
one='"one.h.example.net": {"ip": "198.51.100.1", "ip6": "2001:db8::1"}'
two='"two.h.example.net": {"ip": "198.51.100.2"}'
gone='"gone.h.example.net": {"ip": "198.51.100.3", "update": "2026-01-01 00:00:00"}'
state "$one" "$two" "$gone"
echo '{"alice": {"id": ["one.h.example.net", "two.h.example.net", "gone.h.example.net"], "key": "k"}}' |
    install -g www-data -m 640 /dev/stdin /etc/ddns-cgi/credentials.json
key=/etc/ddns-cgi/tsig.key
tsig-keygen ddns | install -g www-data -m 640 /dev/stdin "$key"
configure() { # ZONES [FURTHER SETTINGS]
    cat >/etc/ddns-cgi/config.json <<END
{ "restart": ["sudo", "-n", "pkill", "-HUP", "-x", "dnsmasq"], "expire_after": 864000,
  "publish": { "command": ["nsupdate", "-k", "$key"], "server": "192.0.2.1", "zones": [$1] } ${2:-} }
END
}
configure '"h.example.net"'
echo 'www-data ALL=(root) NOPASSWD: /usr/bin/pkill -HUP -x dnsmasq' >/etc/sudoers.d/test

# The servers.
mkdir /srv/primary /srv/ns2 /srv/ns3
primary() { # TRANSFERS [UPDATES OF static.example [OPTIONS]]: writes the configuration
    cat >/srv/primary/named.conf <<END
include "$key";
options {
    directory "/srv/primary"; pid-file "/srv/primary/pid"; session-keyfile none;
    listen-on { 192.0.2.1; }; listen-on-v6 { none; };
    recursion no; dnssec-validation no; allow-transfer { $1; };
    notify explicit; also-notify { 192.0.2.2; 192.0.2.3; }; notify-delay 0; ${3:-}
};
controls { };
zone "h.example.net" { type primary; file "h"; allow-update { key ddns; }; };
zone "static.example" { type primary; file "static"; allow-update { ${2:-none}; }; };
zone "many.example" { type primary; file "many"; allow-update { key ddns; }; };
END
}
zone_file() { # SERIAL
    printf '%s\n' "\$TTL 60" "@ SOA ns1 root $1 60 60 3600 60" '@ NS ns1' '@ NS ns2' '@ NS ns3.example.org.' \
        'ns1 A 192.0.2.1' 'ns2 A 192.0.2.2' 'ns2 AAAA fd00::2'
}
stop() { # FILE WITH THE NUMBER OF THE PROCESS
    local pid
    pid=$(cat "$1")
    kill "$pid"
    while [ -d "/proc/$pid" ]; do sleep 0.05; done
}
serves() { dig +short +time=1 +tries=1 "@$1" "${2:-h.example.net}" SOA | grep -c . || true; }
answers() { dig +time=1 +tries=1 "@$1" h.example.net SOA | grep -c 'status: ' || true; }
start_primary() {
    named -c /srv/primary/named.conf
    until_is "the primary serves" 1 serves 192.0.2.1
}
start_ns2() {
    far knotd -c /srv/ns2/knot.conf -d
    until_is "ns2 serves" 1 serves 192.0.2.2
}
ns3() { # RECURSION ZONES [OPTIONS]: writes the configuration, and starts it
    cat >/srv/ns3/named.conf <<END
options {
    directory "/srv/ns3"; pid-file "/srv/ns3/pid"; session-keyfile none;
    listen-on { 192.0.2.3; }; listen-on-v6 { none; };
    recursion $1; allow-recursion { any; }; dnssec-validation no; notify no; ${3:-}
};
controls { };
$2
END
    far named -c /srv/ns3/named.conf
    until_is "ns3 answers" 1 answers 192.0.2.3
}
secondary='zone "h.example.net" { type secondary; primaries { 192.0.2.1; }; file "h"; };'
printf '%s\n' "\$TTL 60" '@ SOA ns. root. 1 60 60 3600 60' '@ NS ns.' 'ns. A 192.0.2.3' >/srv/ns3/root
cat >/srv/ns2/knot.conf <<'END'
server:
    rundir: /srv/ns2
    listen: [192.0.2.2@53, "fd00::2@53"]
database:
    storage: /srv/ns2
remote:
  - id: primary
    address: 192.0.2.1
acl:
  - id: primary
    address: 192.0.2.1
    action: notify
zone:
  - domain: h.example.net
    storage: /srv/ns2
    master: primary
    acl: primary
END
dnsmasq() { # OPTION...
    /usr/sbin/dnsmasq --conf-file=/dev/null --listen-address=127.0.0.1 --bind-interfaces --no-resolv \
        --no-hosts --addn-hosts="$ramcache/hosts.dns" --pid-file=/run/dnsmasq.pid "$@"
}
zone_file 1 >/srv/primary/h
names_of_one_server() { # HOW MANY: so many that an answer with them is truncated
    printf '%s\n' "\$TTL 60" '@ SOA ns root 1 60 60 3600 60'
    for n in $(seq "$1"); do
        printf '%s\n' "@ NS another-name-$n" "another-name-$n A 192.0.2.1"
    done
}
names_of_one_server 30 >/srv/primary/static
names_of_one_server 65 >/srv/primary/many
touch "$ramcache/hosts.dns"
primary any
start_primary
start_ns2
ns3 no "$secondary"
dnsmasq --local-ttl=7
update() { # LINE...: as somebody else
    printf 'server 192.0.2.1\nzone h.example.net.\n' | cat - <(printf '%s\n' "$@") <(echo send) |
        nsupdate -k "$key"
}

ddnsctl apply
is_green "a new installation"

# Names on the primary.
anew="ddnsctl apply --all"
left="    Delete it with nsupdate, if it stays after this:
    $anew"
update 'update add two.h.example.net. 7 AAAA 2001:db8::2'
finds "a removed family that was left behind" \
    "error: two.h.example.net: 192.0.2.1:53 answers with 2001:db8::2, which is not in the state" "$left"
$anew
is_green "after apply --all"
update 'update delete one.h.example.net. A'
finds "a name that is missing" \
    "error: one.h.example.net: 192.0.2.1:53 does not answer with 198.51.100.1" "    $anew"
$anew
is_green "after apply --all"
update 'update delete one.h.example.net. AAAA' 'update add one.h.example.net. 3600 AAAA 2001:db8::1'
finds "a time to live" \
    "error: one.h.example.net: 192.0.2.1:53 answers with a time to live of 3600 s instead of 7 s" "    $anew"
$anew
is_green "after apply --all"
update 'update add gone.h.example.net. 7 A 198.51.100.3'
finds "a host that has expired" \
    "error: gone.h.example.net: 192.0.2.1:53 answers with 198.51.100.3, which is not in the state" "$left"
$anew
is_green "after apply --all"

# dnsmasq.
ttl() { # SECONDS
    echo "warning: dnsmasq: resolvers may keep its answers for $1 s after a host has moved"
    echo "    Write local-ttl=7 into its configuration, and also auth-ttl=7 if that has auth-zone. Then run:"
    echo "    service dnsmasq restart"
}
stop /run/dnsmasq.pid
finds "a dnsmasq that is down" \
    "error: dnsmasq: no answer from 127.0.0.1:53: Connection refused (os error 111)" \
    "    See whether it runs, and whether its settings are right:" \
    "    service dnsmasq status" "    dnsmasq --test -7 /etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new" \
    "    service dnsmasq restart"
dnsmasq --local-ttl=3600
finds "a time to live of dnsmasq" "$(ttl 3600)"
stop /run/dnsmasq.pid
/usr/sbin/dnsmasq --conf-file=/dev/null --listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts \
    --pid-file=/run/dnsmasq.pid
without="dnsmasq does not answer with"
finds "a dnsmasq that does not read the hosts file" \
    "error: one.h.example.net: $without 198.51.100.1" "error: one.h.example.net: $without 2001:db8::1" \
    "error: two.h.example.net: $without 198.51.100.2" \
    "    Put the line addn-hosts=$ramcache/hosts.dns into dnsmasq's settings:" \
    "    echo addn-hosts=$ramcache/hosts.dns >> /etc/dnsmasq.d/ddns-cgi.conf" "    ddnsctl apply"
stop /run/dnsmasq.pid
zone=('--auth-server=ns.example.net,127.0.0.1' --auth-zone=h.example.net)
dnsmasq "${zone[@]}" --local-ttl=7
finds "dnsmasq's time to live as an authority" "$(ttl 600)"
stop /run/dnsmasq.pid
dnsmasq "${zone[@]}" --local-ttl=7 --auth-ttl=7
finds "nothing after auth-ttl" ""
extra="dnsmasq answers with 2001:db8::9, which is not in the state
    Look in /etc/hosts and dnsmasq's other files, if it stays after this:
    ddnsctl apply"
stop /run/dnsmasq.pid
dnsmasq "${zone[@]}" --local-ttl=7 --auth-ttl=7 --host-record=two.h.example.net,2001:db8::9
finds "an address that an authority has besides" "error: two.h.example.net: $extra"
stop /run/dnsmasq.pid
# Another server, which would be asked for the family that two.h.example.net lacks, does not answer.
dnsmasq --local-ttl=7 --server=192.0.2.77 --host-record=two.h.example.net,2001:db8::9
finds "an address that dnsmasq has besides" "error: two.h.example.net: $extra"
stop /run/dnsmasq.pid
dnsmasq --local-ttl=7 --server=192.0.2.77
is_green "without it"
stop /run/dnsmasq.pid
configure '"h.example.net"' ', "name_server": "none"'
is_green "without a server of the hosts file"
configure '"h.example.net"'
dnsmasq --local-ttl=7

# Secondaries.
serial() { dig +short @192.0.2.1 h.example.net SOA | cut -d ' ' -f 3; }
before=$(serial)
primary none
kill -HUP "$(cat /srv/primary/pid)"
sleep 1
state "$one" "${two/100.2/100.22}" "$gone"
ddnsctl apply
behind() { # SERVER
    echo "error: name server $1: has h.example.net with serial $before and does not catch up with $(serial)"
}
notify="    Let the primary notify it, and let it transfer the zone (BIND: also-notify, allow-transfer; Knot: notify, acl)."
finds "secondaries that may not transfer the zone" \
    "$(behind 'ns2.h.example.net (192.0.2.2)')" "$(behind 'ns2.h.example.net (fd00::2)')" \
    "$(behind 'ns3.example.org (192.0.2.3)')" "$notify"
primary any
kill -HUP "$(cat /srv/primary/pid)"
sleep 1
state "$one" "$two" "$gone"
ddnsctl apply
is_green "after a transfer"

ns3_is_unknown
finds "a secondary whose name has no address" \
    "error: name server ns3.example.org: has no address" "    Give it one, or correct the NS records that name it."
ns3_is_known
is_green "with its address"
stop /srv/ns3/pid
finds "a secondary that is down" \
    "error: name server ns3.example.org (192.0.2.3): no answer from 192.0.2.3:53: Connection refused (os error 111)" "    Start it, open port 53 for UDP and TCP, or correct the NS records."
ns3 no ''
finds "a secondary without the zone" \
    "error: name server ns3.example.org (192.0.2.3): does not serve h.example.net (REFUSED)" "    Set it up there as a secondary, let it transfer the zone, or correct the NS records."
stop /srv/ns3/pid
ns3 yes "$secondary zone \".\" { type primary; file \"root\"; };"
finds "a secondary that answers everything" \
    "warning: name server ns3.example.org (192.0.2.3): finds answers about foreign names for this machine, and perhaps for everybody" "    Turn recursion off there, or allow it to your own network only."
stop /srv/ns3/pid
# The file of a zone that is no secondary, with an address of its own.
zone_file "$(serial)" >/srv/ns3/own
printf '%s\n' 'one A 198.51.100.1' 'one AAAA 2001:db8::1' 'two A 198.51.100.99' >>/srv/ns3/own
ns3 no 'zone "h.example.net" { type primary; file "own"; };'
anew_there="    Let it transfer the zone anew, and nobody else change it there."
finds "a secondary that says something else" \
    "error: two.h.example.net: name server ns3.example.org (192.0.2.3) does not answer with 198.51.100.2, unlike the primary" \
    "error: two.h.example.net: name server ns3.example.org (192.0.2.3) answers with 198.51.100.99, unlike the primary" "$anew_there"
stop /srv/ns3/pid
ns3 no "$secondary"
is_green "with three servers again"

# The primary.
stop /srv/primary/pid
finds "a primary that is down" \
    'error: primary server: no answer from 192.0.2.1:53: Connection refused (os error 111)' '    Start it, or correct "server" and "port" in key "publish": they must lead this machine to it, too.'
rm -f /srv/primary/h.jnl
last=$(dig +short @192.0.2.2 h.example.net SOA | cut -d ' ' -f 3)
zone_file 1 >/srv/primary/h
start_primary
ahead() { # SERVER
    echo "error: name server $1: has h.example.net with serial $last, but the primary is at $(serial)"
}
retransfer="    Let it transfer the zone anew (BIND: rndc retransfer; Knot: knotc zone-retransfer; NSD: nsd-control force_transfer)."
ddnsctl apply --all
finds "a primary that was restored from an old copy" \
    "$(ahead 'ns2.h.example.net (192.0.2.2)')" "$(ahead 'ns2.h.example.net (fd00::2)')" \
    "$(ahead 'ns3.example.org (192.0.2.3)')" "$retransfer"
far knotc -c /srv/ns2/knot.conf zone-retransfer h.example.net >/dev/null
stop /srv/ns3/pid
rm -f /srv/ns3/h /srv/ns3/h.jnl
ns3 no "$secondary"
is_green "after another transfer"

# The command and its key.
permit='    Give the server the key of the command, with the same name, algorithm and secret, and let it update the zone (BIND: update-policy; Knot: acl).'
cp -p "$key" /srv/right.key
tsig-keygen ddns >"$key"
finds "a key with another secret" \
    "error: zone h.example.net: a dynamic update as www-data fails: exit status: 2: TSIG error with server: tsig indicates error; update failed: NOTAUTH(BADSIG)" "$permit"
tsig-keygen other >"$key"
finds "a key that the server does not know" \
    "error: zone h.example.net: a dynamic update as www-data fails: exit status: 2: TSIG error with server: tsig indicates error; update failed: NOTAUTH(BADKEY)" "$permit"
# While a change waits, it is no fault that the names are not there.
state "$one" "${two/100.2/100.22}" "$gone"
ddnsctl apply 2>/dev/null && fail "an update with a wrong key succeeded"
finds "a change that waits" \
    "error: $ramcache/.hosts.dns.publish.pending: the last dynamic update failed: exit status: 2: TSIG error with server: tsig indicates error; update failed: NOTAUTH(BADKEY)" \
    "    Remove the cause, then run:" "    ddnsctl apply" \
    "error: zone h.example.net: a dynamic update as www-data fails: exit status: 2: TSIG error with server: tsig indicates error; update failed: NOTAUTH(BADKEY)" "$permit"
cp -p /srv/right.key "$key"
state "$one" "$two" "$gone"
ddnsctl apply
is_green "with the right key"
chmod 644 "$key"
keep=("    chown root:www-data $key" "    chmod 640 $key")
finds "a key that everybody can read" "error: $key: others can use the key (mode 644)" "${keep[@]}"
chmod 600 "$key"
refused='    Let the key update A and AAAA in the zone (BIND: update-policy; Knot: acl; PowerDNS: dnsupdate=yes and TSIG-ALLOW-DNSUPDATE), and give the command the key.'
lines=$(check)
is "a key that the web server cannot read" "$(echo "$lines" | head -n 3)" \
    "$(printf '%s\n' "error: $key: www-data cannot read it" "${keep[@]}")"
# nsupdate begins with the time.
case $(echo "$lines" | tail -n +4) in
    'error: zone h.example.net: a dynamic update as www-data fails: exit status: 2: '*': permission denied; update failed: REFUSED
    Write a key file that this user can read and the command understands.') ;;
    *) fail "an update without the key: $lines" ;;
esac
chown root:33 "$key" && chmod 640 "$key"
is_green "with its key"
mv /usr/bin/nsupdate /srv/nsupdate
check | grep -A 1 '^error: zone h.example.net: a dynamic update as www-data fails: .*nsupdate' |
    grep -q '^    Install it, or correct "command" in the configuration\.$' ||
    fail "no tool: $(check)"
mv /srv/nsupdate /usr/bin/nsupdate
sed -i 's/"command": .*\], "server"/"command": ["false"], "server"/' /etc/ddns-cgi/config.json
finds "a command that does not say why it fails" \
    "error: zone h.example.net: a dynamic update as www-data fails: exit status: 1" \
    '    Run the "command" of the configuration by hand, as this user.'
configure '"h.example.net"'

# Zones.
green="all is well: 3 hosts, 1 user, 2 zones, asked at 4 addresses"
configure '"h.example.net", "static.example"'
ddnsctl apply
finds "a zone that takes no updates" \
    "error: zone static.example: a dynamic update as www-data fails: exit status: 2: update failed: REFUSED" "$refused"
primary any 'key ddns'
kill -HUP "$(cat /srv/primary/pid)"
is_green "with updates"
is "its answer is truncated" "$(dig +noedns +ignore @192.0.2.1 static.example NS | grep -c 'flags: .* tc')" 1
configure '"h.example.net", "absent.example"'
ddnsctl apply
finds "a zone that is not there" \
    'error: zone absent.example: 192.0.2.1:53 does not serve it (REFUSED)' \
    '    Set it up there, or correct "zones" or "server" in key "publish".'
configure '"h.example.net"'
ddnsctl apply
elsewhere='"a.static.example": {"ip": "198.51.100.9"}'
state "$one" "$two" "$gone" "$elsewhere" '"b_b.h.example.net": {"ip": "198.51.100.10"}'
ddnsctl apply
finds "hosts that are in no zone" \
    "warning: a.static.example, b_b.h.example.net: are no user's hosts, so nobody can update them" \
    "    Give each to a user, or let DNS forget it. For the first:" \
    "    ddnsctl host add USER a.static.example" "    ddnsctl forget a.static.example" \
    'warning: a.static.example: lies in no zone of key "publish", so only the hosts file has it' \
    '    If they are to be in a zone, add it to "zones" there.' \
    'warning: b_b.h.example.net: has an underscore, so only the hosts file has it' \
    '    nsupdate and BIND refuse an underscore: use other names, if they are to be in a zone.'
also=('"b.static.example": {"ip": "198.51.100.9"}' '"c_c.h.example.net": {"ip": "198.51.100.11"}')
state "$one" "$two" "$gone" "$elsewhere" '"b_b.h.example.net": {"ip": "198.51.100.10"}' "${also[@]}"
ddnsctl apply
is "several such hosts" "$(check | tail -n 4)" \
    'warning: a.static.example, b.static.example: lie in no zone of key "publish", so only the hosts file has them
    If they are to be in a zone, add it to "zones" there.
warning: b_b.h.example.net, c_c.h.example.net: have an underscore, so only the hosts file has them
    nsupdate and BIND refuse an underscore: use other names, if they are to be in a zone.'
ddnsctl host add alice a.static.example
configure '"h.example.net", "static.example"'
state "$one" "$two" "$gone" "$elsewhere"
ddnsctl apply
green="all is well: 4 hosts, 1 user, 2 zones, asked at 4 addresses"
is_green "with its zone"
configure '"h.example.net", "many.example"'
ddnsctl apply
is "more name servers than anybody has" "$(check | tail -n 2)" \
    'warning: name servers: the zones name 68 of them; only 64 are asked
    Correct the NS records.'

# Many names.
configure '"h.example.net"'
ddnsctl user remove alice
python3 - "$ramcache/ip.txt" /etc/ddns-cgi/credentials.json <<'END'
import json
import sys
names = [f"host{n}.h.example.net" for n in range(10000)]
state = {name: {"ip": f"10.1.{n // 250}.{n % 250}", "ip6": f"2001:db8::{n:x}"} for n, name in enumerate(names)}
json.dump(state, open(sys.argv[1], "w"))
json.dump({"alice": {"id": names, "key": "k"}}, open(sys.argv[2], "w"))
END
ddnsctl apply
green="all is well: 10000 hosts, 1 user, 1 zone, asked at 4 addresses"
is_green "10,000 hosts"
took() { # WHAT COMMAND...
    local start what=$1
    shift
    start=$(date +%s%N)
    "$@" >/tmp/took
    echo "measured: ddnsctl check of $what: $((($(date +%s%N) - start) / 1000000)) ms"
}
took "10,000 hosts at dnsmasq, a primary and two secondaries" check
is "what it says" "$(cat /tmp/took)" "$green"
configure '"h.example.net"' ', "name_server": "none"'
took "10,000 hosts at a primary and two secondaries" check
is "what it says" "$(cat /tmp/took)" "$green"
limit='rate-limit { all-per-second 100; slip 0; };'
slow="it takes too long
    See why it is so slow, and whether it limits the rate of its answers."
gives_up() { # WHAT SERVER ADDRESS: check says so
    local found
    found=$(check | sed -E 's/ to [0-9]+ of 20000 questions/ to some questions/')
    case $found in
        *"error: $2: no answer from $3:53 to some questions: $slow"*) echo "ok: $1" ;;
        *) fail "$1: $found" ;;
    esac
}
stop /srv/ns3/pid
ns3 no "$secondary" "$limit"
gives_up "a secondary that limits its rate" "name server ns3.example.org (192.0.2.3)" 192.0.2.3
primary any none "$limit"
stop /srv/primary/pid
start_primary
gives_up "a primary that limits its rate" "primary server" 192.0.2.1
echo '{ "restart": ["sudo", "-n", "pkill", "-HUP", "-x", "dnsmasq"] }' >/etc/ddns-cgi/config.json
took "10,000 hosts at dnsmasq" check
is "what it says" "$(cat /tmp/took)" "all is well: 10000 hosts, 1 user"
stop /run/dnsmasq.pid
cp "$ramcache/hosts.dns" /srv/hosts.dns
: >"$ramcache/hosts.dns"
dnsmasq --local-ttl=7 --host-record=ready.test,192.0.2.99
# It reads the file when it is in the background already.
until_is "dnsmasq has read it" 192.0.2.99 dig +short @127.0.0.1 ready.test
cp /srv/hosts.dns "$ramcache/hosts.dns"
took "10,000 hosts at a dnsmasq that has none" check
is "what it says, in few lines" "$(grep -c . /tmp/took)" 9
is "how many more" "$(grep -c '^error: 19995 more: the same, such as: dnsmasq does not answer with 2001:db8::' /tmp/took)" 1
echo "check finds every fault"
