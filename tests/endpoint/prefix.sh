#!/usr/bin/env bash
# What ip-update sends with ip6=prefix and the address of an interface, and what the server makes of it: on the installed system, with
# real interfaces, in the namespaces of tests/endpoint/client.rs: prefix.sh REPOSITORY
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

prepare_apache mpm_event
echo 'ServerName ns.example.net' >/etc/apache2/conf-enabled/name.conf
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >/etc/dnsmasq.d/test.conf
scripts/install --no-ramcache >/dev/null || fail "scripts/install"
key=$(ddnsctl user add alice --host home.example.net --host nas.example.net)

requests=/var/log/apache2/access.log

# busybox with all its tools, as on a small router.
mkdir /tmp/busybox
busybox --install -s /tmp/busybox
update() { # SHELL SETTING...: runs the client
    local shell=$1
    shift
    printf '%s\n' url=http://127.0.0.1/ip.php user=alice "key=$key" protocol=2 tries=1 "$@" >/tmp/ip-update.conf
    chmod 600 /tmp/ip-update.conf
    case $shell in
        dash) dash scripts/ip-update -c /tmp/ip-update.conf ;;
        busybox) PATH=/tmp/busybox:$PATH busybox sh scripts/ip-update -c /tmp/ip-update.conf ;;
    esac
}
sent() { # What the last request names as its addresses, IPv6 alone without a name.
    tail -n 1 "$requests" | sed -n 's/.*timeST=[^&]*&\(.*\)&hmac=.*/\1/p' | sed 's/^ip6=//'
}

# --- The machine: a way out, a network behind it, and interfaces that have no prefix to report.

interface() { # NAME
    ip link add "$1" type veth peer name "to-$1"
    ip link set "$1" up
    ip link set "to-$1" up
}
for name in eth0 br-lan wan0 private0 brief0; do interface "$name"; done
ip address add 2001:db8:5:1::5/64 dev eth0 nodad
ip address add fd00:5::5/64 dev eth0 nodad
ip address add 169.254.5.5/16 dev eth0 scope link
ip address add 192.0.2.5/24 dev eth0
ip address add 192.0.2.6/24 dev eth0
ip address add 198.51.100.7 peer 198.51.100.8/32 dev private0
ip address add 2001:db8:5:2::5/64 dev eth0 nodad preferred_lft 0
# Until another machine has had its time to object.
sysctl -qw net.ipv6.conf.eth0.dad_transmits=1000
ip address add 2001:db8:5:3::5/64 dev eth0
ip -6 route add default via fe80::1 dev wan0 metric 2000
ip -6 route add default via fe80::1 dev eth0 metric 1000
ip address add 2001:db8:1:22ff:211:32ff:fe12:3456/60 dev br-lan nodad
ip address add 2001:db8:7:1::7/128 dev wan0 nodad
ip address add fd00:6::6/64 dev private0 nodad
# The kernel adds a temporary address to this one.
sysctl -qw net.ipv6.conf.brief0.use_tempaddr=2 net.ipv6.conf.brief0.dad_transmits=0
ip address add 2001:db8:8:1::8/64 dev brief0 nodad mngtmpaddr valid_lft 4000 preferred_lft 3000
until_is "tentative addresses" 1 sh -c 'ip address show dev eth0 | grep -c "db8:5:3.* tentative"'
until_is "deprecated addresses" 1 sh -c 'ip address show dev eth0 | grep -c "db8:5:2.* deprecated"'
until_is "temporary addresses" 1 sh -c 'ip address show dev brief0 | grep -c " temporary dynamic"'

stored() { sed -n '/^[0-9a-f]*:.* home.example.net$/s/ .*//p' /media/data/www/ramcache/hosts.dns; }
sends() { # SETTING EXPECTED STORED: sends this, and the server makes that of it
    local shell
    for shell in dash busybox; do
        : >"$requests"
        update "$shell" host=home.example.net "ip6=$1" || fail "$shell, ip6=$1"
        until_is "what $shell sends for ip6=$1" "$2" sent
        is "what the server stores" "$(stored)" "$3"
        sleep 1.1
    done
}
says() { # STATUS SETTING PART: it fails with this line
    local shell status
    for shell in dash busybox; do
        : >"$requests"
        status=0
        update "$shell" host=home.example.net "ip6=$2" >/tmp/said 2>&1 || status=$?
        is "the status of $shell for ip6=$2" "$status" "$1"
        is "its lines" "$(wc -l </tmp/said)" 1
        grep -qF "$3" /tmp/said || fail "$shell, ip6=$2: $(cat /tmp/said)"
        [ "$1" = 10 ] || is "requests" "$(wc -l <"$requests")" 0
        sleep 1.1
    done
}

# Its first address, which it must have.
says 10 2001:db8:1:2200::/56 'ddnsctl host add alice home.example.net --ip6 ::IDENTIFIER'
sends 2001:db8:ffff:ffff:211:32ff:fe12:3456 \
    2001:db8:ffff:ffff:211:32ff:fe12:3456 2001:db8:ffff:ffff:211:32ff:fe12:3456

# Each prefix leaves the rest of what was stored before.
sends 2001:db8:1:2200::/56 2001:db8:1:2200::/56 2001:db8:1:22ff:211:32ff:fe12:3456
sends 'run echo 2001:db8:1:2200::/56' 2001:db8:1:2200::/56 2001:db8:1:22ff:211:32ff:fe12:3456
sends prefix 2001:db8:5:1::/64 2001:db8:5:1:211:32ff:fe12:3456
sends prefix:br-lan 2001:db8:1:22f0::/60 2001:db8:1:22f1:211:32ff:fe12:3456
sends prefix:br-lan/56 2001:db8:1:2200::/56 2001:db8:1:22f1:211:32ff:fe12:3456
sends prefix:br-lan/64 2001:db8:1:22ff::/64 2001:db8:1:22ff:211:32ff:fe12:3456
sends prefix:br-lan/127 2001:db8:1:22ff:211:32ff:fe12:3456/127 2001:db8:1:22ff:211:32ff:fe12:3456
sends prefix:wan0/48 2001:db8:7::/48 2001:db8:7:22ff:211:32ff:fe12:3456
# The address of an interface: of each kind only the one that lasts.
sends interface:eth0 2001:db8:5:1::5 2001:db8:5:1::5
sends interface:brief0 2001:db8:8:1::8 2001:db8:8:1::8
sends_ip() { # INTERFACE EXPECTED
    local shell
    for shell in dash busybox; do
        : >"$requests"
        update "$shell" host=home.example.net "ip=interface:$1" || fail "$shell, ip=interface:$1"
        until_is "what $shell sends for ip=interface:$1" "ip=$2" sent
        sleep 1.1
    done
}
sends_ip eth0 192.0.2.5
# As on PPP, with the address of the other end.
sends_ip private0 198.51.100.7
says 7 interface:private0 'ip6=interface:private0: it has no global IPv6 address that lasts; compare: ip -6 addr show dev private0'
says 7 interface:none0 'ip6=interface:none0: it has no global IPv6 address that lasts'
sends 2001:db8:7:22ff:211:32ff:fe12:3456 \
    2001:db8:7:22ff:211:32ff:fe12:3456 2001:db8:7:22ff:211:32ff:fe12:3456
sends prefix:brief0/127 2001:db8:8:1:0:0:0:8/127 2001:db8:8:1::8
says 7 prefix:wan0 'ip6=prefix:wan0: its address says no length (/128): name it, such as ip6=prefix:wan0/64'
says 7 prefix:private0 'ip6=prefix:private0: it has no global IPv6 address that lasts; compare: ip -6 addr show dev private0'
says 7 prefix:none0 'it has no global IPv6 address that lasts'
says 7 'run echo 2001:db8::/56 and more' 'no address: 2001:db8::/56 and more'
says 2 prefix:br-lan/128 'the length must be from 1 to 127'
says 2 prefix:br-lan/064 'the length must be from 1 to 127'
says 7 prefixes 'no address: prefixes'
ip -6 route delete default dev eth0
ip -6 route delete default dev wan0
says 7 prefix 'there is no IPv6 default route'
echo "the client reports prefixes"
