#!/usr/bin/env bash
# Follows docs/container.md as printed, in the namespaces of tests/endpoint/container.rs: container.sh
# REPOSITORY. podman is private: all it stores is in a folder that is removed at the end.
#
# No registry need be reachable. Debian's image is made by debootstrap, and the crates are those of this
# machine. DDNS_TEST_IMAGES names a folder that keeps the image, which saves a minute.
#
# The network is not podman's: the container shares a namespace whose eth0 leads to `outside`, where the client
# is, and a BIND with the zone above.
set -Eeuo pipefail
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND" >&2' ERR
repository=$1
page=$repository/docs/container.md

fail() {
    echo "FAILED: $*"
    podman logs ddns-cgi 2>&1 | tail -n 20 || true
    exit 1
}
# shellcheck source=tests/endpoint/words.sh
. "$repository/tests/endpoint/words.sh"

podman() {
    local command=$1 word words=()
    shift
    case $command in
        build) words=(--isolation chroot --pull=never --layers=false
            --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/root/.cargo/registry:ro") ;;
        run) words=(--network host --cgroups disabled) ;;
    esac
    for word; do
        # podman has no network here.
        case $word in --publish | 80:80 | 53:53/*) ;; *) words+=("$word") ;; esac
    done
    command podman --root "$scratch/storage" --runroot /run/containers --storage-driver overlay \
        --cgroup-manager cgroupfs --events-backend none "$command" "${words[@]}"
}

# Debian's image, as podman would get it from the registry.
base_image() {
    local folder=${DDNS_TEST_IMAGES:-$scratch}/trixie-slim
    if [ ! -e "$folder/usr/bin/apt" ]; then
        rm -rf --one-file-system "$folder.new"
        debootstrap --variant=minbase trixie "$folder.new" >"$scratch/log" 2>&1 ||
            { tail -n 20 "$scratch/log" && exit 1; }
        # As the real one has it: no server starts while its package is installed.
        printf '#!/bin/sh\nexit 101\n' >"$folder.new/usr/sbin/policy-rc.d"
        chmod 755 "$folder.new/usr/sbin/policy-rc.d"
        mkdir "$folder.new/root/.cargo"
        printf '[net]\noffline = true\n' >"$folder.new/root/.cargo/config.toml"
        mv "$folder.new" "$folder"
    fi
    tar -C "$folder" -c . | podman import - docker.io/library/debian:trixie-slim
}

# The commands of the page whose first two words are these.
printed() {
    awk -v words="$1" '/^```sh/ { here = 1; next } /^```/ { here = 0 } here && index($0, words) == 1' "$page"
}
follow() { # WORDS
    local command
    command=$(printed "$1")
    [ -n "$command" ] || fail "$page has no line: $1"
    eval "$command"
}

if [ -z "${DDNS_CONTAINER_SCRATCH:-}" ]; then
    export DDNS_CONTAINER_SCRATCH scratch
    scratch=$(mktemp -d /var/tmp/ddns-cgi-container.XXXXXX)
    DDNS_CONTAINER_SCRATCH=$scratch
    trap '
        ip netns pids outside 2>/dev/null | xargs -r kill -KILL || true
        podman rm --all --force --time 0 >/dev/null 2>&1 || true
        umount "$scratch/storage/overlay" 2>/dev/null || true
        rm -rf --one-file-system "$scratch"
    ' EXIT
    # What podman writes elsewhere ends with this namespace.
    mount -t tmpfs tmpfs /run
    mkdir -m 1777 /run/lock
    for folder in /etc /var/lib; do
        mkdir -p "/run/overlay$folder"/{upper,work}
        mount -t overlay overlay \
            -o "lowerdir=$folder,upperdir=/run/overlay$folder/upper,workdir=/run/overlay$folder/work" "$folder"
    done
    # crun refuses a machine with both versions of cgroups.
    umount /sys/fs/cgroup/unified 2>/dev/null || true
    base_image >"$scratch/log" 2>&1 || { tail -n 20 "$scratch/log" && exit 1; }
    cd "$repository"
    follow "podman build" >"$scratch/log" 2>&1 || { tail -n 30 "$scratch/log" && exit 1; }
    size() { podman image inspect --format '{{.Size}}' "$1"; }
    echo "measured: the container adds $((($(size ddns-cgi) - $(size debian:trixie-slim)) / 1000000)) MB to Debian's image"
    unshare --net bash "$0" "$repository"
    exit
fi
scratch=$DDNS_CONTAINER_SCRATCH

# ---------------------------------------------------------------------------------------------------

ip link set lo up
ip netns add outside
ip -n outside link set lo up
ip link add eth0 type veth peer name eth0 netns outside
ip address add 192.0.2.53/24 dev eth0
ip address add 2001:db8::53/64 dev eth0 nodad
ip link set eth0 up
ip -n outside address add 192.0.2.1/24 dev eth0
ip -n outside address add 192.0.2.7/24 dev eth0
ip -n outside address add 2001:db8::7/64 dev eth0 nodad
ip -n outside link set eth0 up
outside() { ip netns exec outside "$@"; }

# The zone above, with the records of docs/public.md.
cat >/run/named.conf <<'CONF'
options {
    directory "/run";
    pid-file none;
    session-keyfile none;
    listen-on { 192.0.2.1; };
    listen-on-v6 { none; };
    recursion no;
    dnssec-validation no;
};
controls { };
zone "example.net" { type primary; file "/run/example.net"; };
CONF
cat >/run/example.net <<'ZONE'
$TTL 1
@ SOA ns1 admin 1 1 1 1 1
@ NS ns1
ns1 A 192.0.2.1
ns A 192.0.2.53
h NS ns
ZONE
outside named -f -c /run/named.conf &
echo nameserver 192.0.2.1 >/etc/resolv.conf

ask() { outside dig +short +time=1 +tries=1 @192.0.2.53 "$@"; }
status() { outside dig +time=1 +tries=1 @192.0.2.53 "$@" | grep -o 'status: [A-Z]*'; }
signed() { podman exec ddns-cgi ddnsctl sign home.h.example.net --url http://192.0.2.53/ip.php; }
from() { # ADDRESS URL [OPTION...]
    outside curl -s --interface "$1" "${@:2}"
}
answers() { from 192.0.2.7 http://192.0.2.53/ip.php/ip; }
processes() { # of the container: USER PROGRAM
    podman exec ddns-cgi ps -eo user=,comm= | awk '$2 != "ps" { print $1, $2 }' | sort -u
}
stop_and_time() { # within the 10 seconds that podman waits
    local start=$EPOCHREALTIME
    podman stop ddns-cgi >/dev/null
    is "it ends by itself, with" "$(podman inspect --format '{{.State.ExitCode}}' ddns-cgi)" 0
    start=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
    [ "$start" -lt 5000 ] || fail "it took $start ms to stop"
    echo "measured: the container stops within $start ms"
}
healthy() { podman healthcheck run ddns-cgi && echo healthy; }

follow "podman run" >/dev/null
until_is "nginx and ddns-cgi answer, with the client's address" 192.0.2.7 answers
is "also by IPv6" "$(outside curl -g -s 'http://[2001:db8::53]/ip.php/ip')" 2001:db8::7
until_is "it is healthy" healthy healthy
key=$(follow "podman exec ddns-cgi ddnsctl user add")
[ -n "$key" ] || fail "no key"
is "check, before the first update" "$(follow "podman exec ddns-cgi ddnsctl check")" "all is well: 1 host (1 never updated), 1 user"

# Who runs what.
is "the servers' users" "$(processes | tr '\n' ';')" \
    "root nginx;root start;www-data ddns-cgi;www-data dnsmasq;www-data nginx;"
for program in sudo systemctl; do
    podman exec ddns-cgi sh -c "command -v $program" && fail "$program is there"
done
podman exec --user www-data:nogroup ddns-cgi cat /etc/ddns-cgi/credentials.json 2>/dev/null && fail "dnsmasq can read the keys"
is "others cannot read the keys" "$(podman exec ddns-cgi stat -c '%U:%G %a' /etc/ddns-cgi/credentials.json)" "root:www-data 640"

request=$(signed)
is "a signed request" "$(from 192.0.2.7 "$request")" "good 192.0.2.7"
until_is "the name has moved" 192.0.2.7 ask home.h.example.net
is "a replay from elsewhere" "$(from 192.0.2.1 "$request")" replay
is "the name has not" "$(ask home.h.example.net)" 192.0.2.7
is "a refusal is in the log" "$(podman logs ddns-cgi 2>&1 | grep -c 'ddns-cgi: replay address=192.0.2.1 ')" 1
is "strangers get no other names" "$(status www.debian.org)" "status: REFUSED"
is "the zone has an SOA record" "$(ask h.example.net SOA | cut -d ' ' -f 1)" ns.example.net.
is "check" "$(podman exec ddns-cgi ddnsctl check)" "all is well: 1 host, 1 user"

# Nobody is believed who is no proxy.
is "a forged header" "$(from 192.0.2.7 http://192.0.2.53/ip.php/ip -H 'X-Forwarded-For: 203.0.113.9')" 192.0.2.7
dyndns2() { # an update by a router, through what says that it ended HTTPS
    from 192.0.2.1 "http://192.0.2.53/nic/update?hostname=home.h.example.net" -u "alice:$key" \
        -H 'X-Forwarded-For: 203.0.113.9' -H 'X-Forwarded-Proto: https'
}
[[ $(dyndns2) != *203.0.113.9* ]] || fail "a client passes for the proxy"

# Stopped and started: the state stays.
stop_and_time
podman start ddns-cgi >/dev/null
until_is "after a restart, the name is served" 192.0.2.7 ask home.h.example.net
until_is "requests, too" 192.0.2.7 answers
is "check, after a restart" "$(podman exec ddns-cgi ddnsctl check)" "all is well: 1 host, 1 user"

# A change for which dnsmasq has yet to be told, because it was told of another one within three seconds.
mark=$(podman volume inspect --format '{{.Mountpoint}}' ddns-state)/.hosts.dns.pending
settled() { [ ! -e "$mark" ] && echo settled; }
change() { # ADDRESS
    is "a change" "$(from "$1" "$(signed)")" "good $1"
}
change 192.0.2.1
until_is "dnsmasq has read it" settled settled
sleep 1 # The next request needs a newer stamp.
change 192.0.2.7
podman kill ddns-cgi >/dev/null
until_is "the container is gone" exited podman inspect --format '{{.State.Status}}' ddns-cgi
[ -e "$mark" ] || fail "no change is pending"
podman start ddns-cgi >/dev/null
until_is "the change is completed" settled settled
is "and served" "$(ask home.h.example.net)" 192.0.2.7
is "check, after a kill" "$(podman exec ddns-cgi ddnsctl check)" "all is well: 1 host, 1 user"

# If one server ends, the container does, and podman starts it again.
restarts() { podman inspect --format '{{.RestartCount}}' ddns-cgi; }
for server in dnsmasq nginx ddns-cgi; do
    before=$(restarts)
    # From outside: podman exec waits for ever if the container ends before its command.
    pkill -KILL -x "$server" --parent "$(podman inspect --format '{{.State.Pid}}' ddns-cgi)"
    until_is "without $server, the container starts again" $((before + 1)) restarts
    until_is "and answers" 192.0.2.7 answers
    until_is "and resolves" 192.0.2.7 ask home.h.example.net
done

# A new container with the same volumes, and a proxy.
podman rm --force ddns-cgi >/dev/null
podman run --detach --name ddns-cgi --volume ddns-etc:/etc/ddns-cgi --volume ddns-state:/media/data/www/ramcache \
    --env PROXY=192.0.2.1 ddns-cgi >/dev/null
until_is "the proxy's client" 203.0.113.9 from 192.0.2.1 http://192.0.2.53/ip.php/ip -H 'X-Forwarded-For: 203.0.113.9'
is "dyndns2 over the proxy's HTTPS" "$(dyndns2)" "good 203.0.113.9"
until_is "without a zone, the hosts are served" 203.0.113.9 ask home.h.example.net
is "and nothing else" "$(status www.debian.org)" "status: REFUSED"
is "a client that is no proxy" "$(from 192.0.2.7 http://192.0.2.53/ip.php/ip -H 'X-Forwarded-For: 203.0.113.9')" 192.0.2.7
until_is "check, behind a proxy" "all is well: 1 host, 1 user" podman exec ddns-cgi ddnsctl check
stop_and_time
echo "the container works"
