#!/usr/bin/env bash
# A home behind one router, as docs/clients.md has it: which identifiers stay when the prefix changes, and
# that the router's request gives each host the address that it really has. On the installed system, in
# the namespaces of tests/endpoint/recipes.rs: home.sh REPOSITORY
#
# This namespace is the router, with the server on it, and `nas` is a host behind it.
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

page=docs/clients.md
identifier=211:32ff:fe12:3456

prepare_apache mpm_event
echo 'ServerName ns.example.net' >/etc/apache2/conf-enabled/name.conf
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >/etc/dnsmasq.d/test.conf
scripts/install --no-ramcache >/dev/null || fail "scripts/install"
key=$(ddnsctl user add alice --host home.example.net --host nas.example.net)
install -m 755 scripts/ip-update /usr/local/bin/ip-update

ip netns add nas
ip link add br-lan type veth peer name eth0 netns nas
ip link set br-lan up
# As a router that forwards, it takes no address from an advertisement: here it hears its own, and would keep
# one with the old prefix.
sysctl -qw net.ipv6.conf.br-lan.dad_transmits=0 net.ipv6.conf.br-lan.accept_ra=0
# dnsmasq is the advertising router: it follows the addresses of br-lan, and takes old prefixes back.
dnsmasq --conf-file=/dev/null --no-resolv --port=0 --interface=br-lan --bind-dynamic --enable-ra \
    --dhcp-range=::,constructor:br-lan,ra-only,64,10m --ra-param=br-lan,4,600 \
    --dhcp-leasefile=/tmp/leases --pid-file=/tmp/advertiser.pid

prefix=none
move_to() { # PREFIX: of 64 bits. The provider gives the home another one.
    ip address add "$1::1/64" dev br-lan
    [ "$prefix" = none ] || ip address delete "$prefix::1/64" dev br-lan
    prefix=$1
}
in_nas() { ip netns exec nas "$@"; }
address() { # That of the NAS, if it has one with the prefix of today: the newest.
    in_nas ip -6 address show dev eth0 scope global -deprecated -tentative |
        sed -n "s/^ *inet6 \($prefix:[^/]*\).*/\1/p" | sed -n 1p
}
has_address() { [[ $(address) == "$prefix":[0-9a-f]* ]] && echo yes; }
settings() { # SETTING...: writes the settings of ip-update
    printf '%s\n' user=alice "key=$key" protocol=2 tries=1 "$@" >/etc/ip-update.conf
    chmod 600 /etc/ip-update.conf
}
replies() { sed '/^sends to /d'; }
stored() { sed -n '/^[0-9a-f]*:.* nas.example.net$/s/ .*//p' /media/data/www/ramcache/hosts.dns; }
report() { # The router's request, with the page's settings.
    awk '$0 == "## OpenWrt" { here = 1 } /^## / && $0 != "## OpenWrt" { here = 0 }
        here && /^```/ { part++; next } here && part == 5' "$page" |
        sed "s|^url=.*|url=http://127.0.0.1/ip.php|; s/THE-KEY/$key/" >/etc/ip-update.conf
    chmod 600 /etc/ip-update.conf
    sleep 1.1
    ip-update -v | replies
}

# --- EUI-64: the NAS reports itself once, then the router reports each new prefix.

in_nas sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=0 net.ipv6.conf.eth0.dad_transmits=0
in_nas ip link set eth0 address 00:11:32:12:34:56 up
move_to 2001:db8:a:5601
until_is "the NAS's first address" "$prefix:$identifier" address
settings "url=http://[$prefix::1]/ip.php" host=nas.example.net
is "its own report" "$(in_nas ip-update -v | replies)" "nas.example.net: good $prefix:$identifier"

move_to 2001:db8:b:7702
until_is "its address with another prefix" "$prefix:$identifier" address
is "the router's addresses" "$(ip -6 address show dev br-lan scope global | grep -c inet6)" 1
is "the router's report" "$(report)" "nas.example.net: good $prefix:$identifier"
is "the hosts file" "$(stored)" "$(address)"

# --- An identifier of the operator's choice.

in_nas ip token set ::53 dev eth0
until_is "the address with a token" "$prefix::53" address
move_to 2001:db8:c:8803
until_is "that with another prefix" "$prefix::53" address

# --- RFC 7217: another identifier for each prefix.

in_nas ip token set :: dev eth0
in_nas sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=3
in_nas ip -6 address flush dev eth0 scope global
move_to 2001:db8:d:9904
until_is "an address of its own making" yes has_address
first=$(address)
move_to 2001:db8:e:aa05
until_is "one with another prefix" yes has_address
[ "${first#2001:db8:d:9904:}" != "$(address | sed "s/^$prefix://")" ] || fail "the identifier stayed"

kill "$(cat /tmp/advertiser.pid)"
service apache2 stop >/dev/null
service dnsmasq stop >/dev/null
echo "the home moves with its prefix"
