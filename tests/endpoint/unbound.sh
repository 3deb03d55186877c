#!/usr/bin/env bash
# Follows docs/name-servers.md to unbound, which serves the hosts file without dnsmasq, in the namespaces
# of tests/endpoint/name_servers.rs: unbound.sh REPOSITORY
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"
# shellcheck source=tests/endpoint/page.sh
. "${0%/*}/page.sh"
host=home.h.example.net server=192.0.2.53

ip address add $server/32 dev lo
ip address add 203.0.113.9/32 dev lo
prepare_apache mpm_event
echo 'ServerName localhost' >/etc/apache2/conf-enabled/name.conf
scripts/install >/dev/null || fail "scripts/install"
service dnsmasq stop >/dev/null
ddnsctl user add alice --host $host --host elsewhere.example.com >/dev/null

ask() { dig -b 203.0.113.9 +noall +comments +answer +authority "@$server" "$1" "$2" | awk '
    match($0, /status: [A-Z]+/) { print substr($0, RSTART + 8, RLENGTH - 8) }
    / aa / { print "authoritative" }
    $4 == "A" || $4 == "AAAA" { print $5 }
    $4 == "SOA" { print $4 }'; }
request() { # REPLY [OPTION...]
    sleep 1.1
    is "a request" "$(sh -c "$(ddnsctl sign $host "${@:2}" --curl)")" "$1"
}

# As the installation of its package does, where services may start. It makes the root's trust anchor.
service unbound start >/dev/null 2>&1
follow "unbound"
until_is "apply, as soon as unbound is up" '' ddnsctl --quiet apply
request "good 203.0.113.1,2001:db8::1" --ip 203.0.113.1 --ip6 2001:db8::1
until_is "an IPv4 address" $'NOERROR\nauthoritative\n203.0.113.1' ask $host A
is "an IPv6 address" "$(ask $host AAAA)" $'NOERROR\nauthoritative\n2001:db8::1'
is "no TXT record" "$(ask $host TXT)" $'NOERROR\nauthoritative\nSOA'
is "no such name" "$(ask missing.h.example.net A)" $'NXDOMAIN\nauthoritative\nSOA'
is "a foreign name" "$(ask example.com A)" REFUSED
request "good 203.0.113.2" --ip 203.0.113.2 --ip6 none
until_is "a change" $'NOERROR\nauthoritative\n203.0.113.2' ask $host A
until_is "an address removed" $'NOERROR\nauthoritative\nSOA' ask $host AAAA
until_is "check" "all is well: 2 hosts (1 never updated), 1 user" ddnsctl check
is "a host of no zone" "$(sh -c "$(ddnsctl sign elsewhere.example.com --ip 203.0.113.3 --curl)")" "good 203.0.113.3"
until_is "the mark is gone" '' find /media/data/www/ramcache -name '.hosts.dns.pending'
ddnsctl host remove alice $host >/dev/null
until_is "a host removed" $'NXDOMAIN\nauthoritative\nSOA' ask $host A

service apache2 stop >/dev/null
service unbound stop >/dev/null
echo "unbound follows"
