#!/usr/bin/env bash
# Runs in the system that boot.sh boots: one phase for each boot, named in /phase. A phase is a function of
# a file beside this one, booted_*.sh. Here are the words that all phases share.
set -Eeuo pipefail
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND" >&2' ERR
cd /repository

fail() {
    echo "FAILED: $*"
    systemctl --no-pager --failed || true
    tail -n 5 /var/log/apache2/error.log /var/log/nginx/error.log || true
    journalctl --no-pager -n 15 -u dnsmasq -u 'ddns-cgi*' || true
    exit 1
}
# shellcheck source=tests/endpoint/words.sh
. tests/endpoint/words.sh
measured() { # WHAT: a line that the test shows
    echo "measured: Debian $(sed -n 's/^VERSION_ID="\(.*\)"/\1/p' /etc/os-release): $*"
}
show() { # COMMAND...: runs it. boot.sh compares what it prints with a transcript
    local status=0
    "$@" >/root/log 2>&1 || status=$?
    {
        echo "\$ $*"
        cat /root/log
        [ $status = 0 ] || echo "(status $status)"
        echo
    } >>/root/transcript
    return $status
}
look_up() { dig +short +time=1 +tries=1 @127.0.0.1 "$1"; }
folder=/media/data/www/ramcache
pending() { cat "$folder/.hosts.dns.pending" 2>/dev/null || true; }

# Everything that an installation could change: types, modes, owners, names, links, contents.
snapshot() {
    # Not what the test itself changes, and the cache of the dynamic loader.
    find /etc /usr -xdev -printf '%y %m %u:%g %p %l\n' | grep -v -e '/etc/ld.so.cache' | sort
    find /etc /usr/lib/systemd /usr/lib/apache2 /usr/sbin -xdev -type f -exec sha256sum {} + | sort
}
unchanged_since() { # FILE WHAT
    snapshot >/root/now
    diff "$1" /root/now || fail "$2 changed something"
}
pids() { systemctl show -p MainPID --value apache2 dnsmasq; }
update() { # HOST ADDRESS: with the settings of the host's user
    # curl of the client speaks from the address that the test wants.
    printf 'interface = "%s"\n' "$2" >/root/.curlrc
    HOME=/root sh scripts/ip-update -v -c "/root/$1.conf" | sed '/^sends to /d'
}

breaks() { # NAME WHAT-CHECK-SAYS BREAK MEND
    bash -c "$3" >/dev/null 2>&1 || fail "$1 could not be broken: $3"
    local status=0
    said=$(ddnsctl check 2>&1) || status=$?
    [ "$status" != 0 ] || fail "$1: check finds nothing"
    grep -q -- "$2" <<<"$said" || fail "$1: check says: $said"
    bash -c "$4" >/dev/null 2>&1 || fail "$1 could not be mended: $4"
    echo "ok: check names: $1"
}

for part in tests/endpoint/booted_*.sh; do
    # shellcheck source=/dev/null
    . "$part"
done
"$(cat /phase)"
