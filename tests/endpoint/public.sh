#!/usr/bin/env bash
# Follows docs/public.md as printed, in the namespaces of tests/endpoint/public.rs: public.sh REPOSITORY
#
# This namespace is the server. Its eth0 leads to `outside`, where a stranger is, and the way to `world`:
# a BIND with the zone above, which is everybody's resolver. Its lan0 leads to the local network `lan`.
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

page=docs/public.md
stranger=203.0.113.9 stranger6=2001:db8:99::9
resolver=198.51.100.53

# ---------------------------------------------------------------------------------------------------

for name in outside world lan; do
    ip netns add "$name"
    ip -n "$name" link set lo up
done
link() { # NAMESPACE INTERFACE ADDRESS OTHER-NAMESPACE INTERFACE ADDRESS
    ip ${1:+-n "$1"} link add "$2" type veth peer name "$5" netns "$4"
    ip ${1:+-n "$1"} address add "$3" dev "$2"
    ip -n "$4" address add "$6" dev "$5"
    ip ${1:+-n "$1"} link set "$2" up
    ip -n "$4" link set "$5" up
}
link '' eth0 192.0.2.53/24 outside eth0 192.0.2.1/24
link '' lan0 192.168.7.1/24 lan eth0 192.168.7.2/24
link outside world 198.51.100.1/24 world eth0 "$resolver/24"
ip address add 2001:db8::53/64 dev eth0 nodad
ip -n outside address add 2001:db8::1/64 dev eth0 nodad
ip -n outside address add "$stranger/32" dev lo
ip -n outside address add "$stranger6/128" dev lo nodad
ip address add 2001:db8:7::1/64 dev lan0 nodad
ip -n outside -6 route add 2001:db8:7::/64 via 2001:db8::53
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8::1
ip -n world route add default via 198.51.100.1
ip netns exec outside sysctl -qw net.ipv4.ip_forward=1

# BIND resolves names for everybody here, and has two zones itself: the one above, and a foreign one.
mkdir -p /etc/netns/outside
cat >/etc/bind/named.conf <<'END'
options {
    directory "/var/cache/bind";
    pid-file none;
    session-keyfile none;
    listen-on { any; };
    listen-on-v6 { none; };
    recursion yes;
    allow-recursion { any; };
    dnssec-validation no;
};
controls { };
zone "example.net" { type primary; file "example.net"; };
zone "debian.org" { type primary; file "debian.org"; };
END
cat >/var/cache/bind/head <<END
\$TTL 1
@ SOA ns1 admin 1 1 1 1 1
@ NS ns1
ns1 A $resolver
END
records() { # the records that the page has for the zone above
    part 'The records in the zone above' 1
}
part() { # HEADING NUMBER: a block of code below a heading
    awk -v heading="$1" -v number="$2" '/^## / { here = index($0, heading) }
        here && /^```/ { part++; next } here && part == 2 * number - 1' "$page"
}
bind=''
above() { # RECORDS: what the zone above has, besides its own server
    (cat /var/cache/bind/head && echo "$1") >/var/cache/bind/example.net
    if [ -n "$bind" ]; then
        kill "$bind"
        wait "$bind" || true
    fi
    ip netns exec world named -f &
    bind=$!
    until_is "BIND serves the zone above" "$resolver" ip netns exec world dig +short +time=1 +tries=1 "@$resolver" ns1.example.net
}
(cat /var/cache/bind/head && echo 'www A 198.51.100.99') >/var/cache/bind/debian.org
above ''
echo "nameserver $resolver" | tee /etc/resolv.conf >/etc/netns/outside/resolv.conf

# ---------------------------------------------------------------------------------------------------

# The real service, with Debian's defaults, and a host by a real request.
prepare_apache mpm_event
echo 'ServerName localhost' >/etc/apache2/conf-enabled/name.conf
scripts/install --no-ramcache >/dev/null || fail "scripts/install"
ddnsctl user add alice --host home.h.example.net --host home.example.org >/dev/null
update() { # HOST
    is "an update of $1" "$(sh -c "$(ddnsctl sign "$1" --curl --ip 192.0.2.7 --ip6 2001:db8::7)")" "good 192.0.2.7,2001:db8::7"
}
update home.h.example.net
update home.example.org
until_is "dnsmasq has the hosts" 192.0.2.7 dig +short +time=1 +tries=1 @127.0.0.1 home.example.org

restart() { service dnsmasq restart >/dev/null || fail "dnsmasq does not start"; }
outside() { # DIG-ARGUMENT...: asks as a stranger; no answer is no output
    local source=$stranger
    case " $* " in *' -6 '* | *' @2001:'*) source=$stranger6 ;; esac
    ip netns exec outside dig +time=1 +tries=1 -b "$source" "$@" || true
}
status() { outside "$@" | grep -o 'status: [A-Z]*' || echo none; }
check() { ddnsctl check || true; }
finds() { # WHAT TEXT: check says this
    local found
    found=$(check)
    case $found in *"$2"*) echo "ok: check finds $1" ;; *) fail "check does not find $1: $found" ;; esac
}

settled() { [ ! -e /media/data/www/ramcache/.hosts.dns.pending ] && echo settled; }
until_is "dnsmasq has read everything" settled settled

is "the installed settings do not answer strangers" "$(status @192.0.2.53 home.h.example.net)" none
is "check after the installation" "$(check)" "all is well: 2 hosts, 1 user"

# What an earlier version advised.
echo interface=eth0 >/etc/dnsmasq.d/old.conf
restart
is "with the interface alone, strangers get recursion" "$(outside +short @192.0.2.53 www.debian.org)" 198.51.100.99
is "also by IPv6" "$(outside +short @2001:db8::53 www.debian.org)" 198.51.100.99
finds "the open resolver" $'warning: dnsmasq: resolves all names for strangers, at 192.0.2.53 and 2001:db8::53\n    To answer strangers only about your zone, set interface=lo and auth-server=NAME,eth0 (docs/public.md)'
rm /etc/dnsmasq.d/old.conf

# ---------------------------------------------------------------------------------------------------

# The page as printed. Its file needs no change here.
is "the page shows the file" "$(part 'The lines for dnsmasq' 2)" "$(grep -v -e '^#' -e '^$' dnsmasq.d/public.conf)"
part 'The lines for dnsmasq' 1 | grep -v '^editor ' | sh -e >/dev/null || fail "the commands of the page"
finds "a zone that is not delegated" $'error: h.example.net: is not delegated, so nobody finds it: ns1.example.net has no NS record of it\n    Put this record into the zone example.net: h.example.net. NS ns.example.net.\n'
above 'h NS elsewhere'
finds "a zone that is delegated elsewhere" $'warning: h.example.net: is delegated to elsewhere.example.net, not to ns.example.net\n    Put this record into the zone example.net: '
above "$(records)"
# Open, but in another network, such as a container's.
ip netns exec outside dnsmasq --conf-file=/dev/null --interface=eth0 --bind-interfaces --pid-file=/tmp/other.pid
is "check when all is done" "$(check)" "all is well: 2 hosts, 1 user"
kill "$(cat /tmp/other.pid)"

prove() { # [OPTION]: every row of the proof
    local rows=0 command wanted word output
    while IFS='|' read -r _ command wanted _; do
        rows=$((rows + 1))
        read -ra words <<<"$(tr -d '`' <<<"${command#*dig }")"
        [ "${words[0]:0:1}" = @ ] || [ -z "${1:-}" ] || continue
        output=$(outside "$@" "${words[@]}")
        # What stands between two backticks.
        for word in $(echo "$wanted" | tr -d ' ' | tr '`' '\n' | sed -n 'n;p'); do
            case $word in
                NOERROR | NXDOMAIN | REFUSED) grep -q "status: $word," <<<"$output" ;;
                aa) grep -q '^;; flags:[a-z ]* aa[ ;]' <<<"$output" ;;
                ANSWER:*) grep -q "ANSWER: ${word#*:}," <<<"$output" ;;
                SOA) grep -q 'IN[[:space:]]SOA[[:space:]]ns.example.net. ' <<<"$output" ;;
                *) false ;;
            esac || fail "$* ${words[*]}: no $word in: $output"
        done
        case $wanted in *'7 seconds'*) grep -q "^home.h.example.net.[[:space:]]7[[:space:]].*192.0.2.7$" <<<"$output" || fail "$* ${words[*]}: $output" ;; esac
        case $wanted in *address*) grep -q -e '192.0.2.7$' -e '2001:db8::7$' <<<"$output" || fail "$* ${words[*]}: $output" ;; esac
        echo "ok: dig ${words[*]} $*"
    done < <(grep '^| `dig' "$page")
    [ "$rows" -ge 10 ] || fail "only $rows rows"
}
prove
prove -6
is "a host outside the zone is refused" "$(status @192.0.2.53 home.example.org)" "status: REFUSED"
is "a zone transfer is refused" "$(outside @192.0.2.53 h.example.net AXFR | grep -c 'Transfer failed')" 1
is "strangers get nothing at lan0" "$(outside +short +tcp @2001:db8:7::1 www.debian.org | grep -v '^;' || true)" ""
is "this machine resolves all names" "$(dig +short @127.0.0.1 www.debian.org)" 198.51.100.99
is "also the zone" "$(dig +short @127.0.0.1 home.h.example.net)" 192.0.2.7
is "its public address is public to itself" "$(dig @192.0.2.53 www.debian.org | grep -o 'status: [A-Z]*')" "status: REFUSED"

echo '127.0.1.1 server.h.example.net' >>/etc/hosts
restart
is "the names of /etc/hosts stay here" "$(status @192.0.2.53 server.h.example.net)" "status: NXDOMAIN"

# Each restart makes the zone serve a change.
sh -c "$(ddnsctl sign home.h.example.net --curl --ip 192.0.2.8)" >/dev/null
until_is "a change reaches strangers" 192.0.2.8 outside +short @192.0.2.53 home.h.example.net
until_is "dnsmasq has read everything" settled settled

# ---------------------------------------------------------------------------------------------------

mine=/etc/dnsmasq.d/ddns-cgi-public.conf
with() { # SED-COMMAND: the settings, changed
    sed "$1" dnsmasq.d/public.conf >"$mine"
    restart
}
with 's/,eth0/,192.0.2.53/; /^interface=lo/d'
is "an address leaves out IPv6" "$(outside +short @2001:db8::53 www.debian.org)" 198.51.100.99
finds "the address that is left out" $'strangers, at 2001:db8::53 and 2001:db8:7::1\n    To answer strangers only about your zone, set interface=lo and auth-server=ns.example.net,eth0,lan0'
with 's/eth0/eth7/'
is "a wrong interface answers nobody" "$(status @192.0.2.53 home.h.example.net)" none
finds "the wrong interface" $'error: h.example.net: auth-server names no interface or address of this machine, so nobody outside gets it\n    List the addresses, correct auth-server, then restart dnsmasq:\n    ip -brief address\n    service dnsmasq restart\n'
with 's/^auth-zone=.*/auth-zone=i.example.net/'
cp dnsmasq.d/public.conf "$mine"
finds "a zone that waits for a restart" $'error: h.example.net: dnsmasq at 192.0.2.53 has no SOA record of it\nerror: h.example.net: dnsmasq at 192.0.2.53 has no NS record of it\n    Make it read its settings:\n    service dnsmasq restart\n'
restart
kill "$bind"
wait "$bind" || true
bind=''
finds "that no resolver answers" "warning: h.example.net: whether it is delegated could not be checked: no answer from $resolver:"
# As the portal of a hotel, which gives one address to every name.
portal() { # OPTION...
    ip netns exec world dnsmasq --conf-file=/dev/null --no-resolv --address=/#/198.51.100.80 --bind-interfaces \
        --listen-address="$resolver" --pid-file=/tmp/portal.pid "$@"
}
finds_no_delegation() { # WHAT WHY
    finds "$1" "warning: h.example.net: whether it is delegated could not be checked: $2
    Ask on a machine elsewhere:
    dig h.example.net NS +trace
"
    local pid
    pid=$(cat /tmp/portal.pid)
    kill "$pid"
    # It removes its file while it still has the address.
    while [ -d "/proc/$pid" ]; do sleep 0.05; done
}
portal
finds_no_delegation "a resolver that refuses the question" "$resolver:53 answers with REFUSED"
portal --local=/#/
finds_no_delegation "a resolver that knows no zones" "$resolver knows no zone above it"
above "$(records)"

# The local network, with the page's two lines and DHCP.
part 'A machine that also serves a local network' 1 >/tmp/lan
with '/^auth-zone/ { r /tmp/lan
d }'
printf '%s\n' dhcp-range=192.168.7.10,192.168.7.20 >/etc/dnsmasq.d/lan.conf
ip -n lan address flush dev eth0
restart
ip netns exec lan busybox udhcpc -i eth0 -n -q -f -t 5 -T 5 -s /bin/true -x hostname:laptop >/dev/null 2>&1 || fail "no lease"
laptop=$(dig +short @192.168.7.1 laptop.h.example.net)
is "the local network has a name" "${laptop%.*}" 192.168.7
ip -n lan address add "$laptop/24" dev eth0
is "it resolves all names" "$(ip netns exec lan dig +short @192.168.7.1 www.debian.org)" 198.51.100.99
is "strangers do not see its address" "$(outside +short @192.0.2.53 laptop.h.example.net)" ""
for protocol in +notcp +tcp; do
    is "strangers are refused at eth0 ($protocol)" "$(status "$protocol" @192.0.2.53 www.debian.org)" "status: REFUSED"
    is "strangers get nothing at lan0 ($protocol)" "$(outside +short "$protocol" @2001:db8:7::1 www.debian.org | grep -v '^;' || true)" ""
done
is "check with a local network" "$(check)" "all is well: 2 hosts, 1 user"
sed -i 's/^listen-address=.*/interface=lan0/' "$mine"
restart
is "the interface opens TCP at its public address" "$(outside +short +tcp @2001:db8:7::1 www.debian.org)" 198.51.100.99
finds "that address" $'warning: dnsmasq: resolves all names for strangers, at 2001:db8:7::1\n'

service apache2 stop >/dev/null
service dnsmasq stop >/dev/null
kill "$bind"
echo "strangers get the zone and nothing else"
