#!/usr/bin/env bash
# Boots a Debian with systemd in a container several times, and runs booted.sh in it: boot.sh REPOSITORY.
# Everything is in namespaces, and in a folder that is removed at the end.
set -euo pipefail
repository=$1

scratch=$(mktemp -d /var/tmp/ddns-cgi-boot.XXXXXX)
trap 'umount "$scratch/root" 2>/dev/null || true; rm -rf --one-file-system "$scratch"' EXIT
image=$scratch/root

# DDNS_TEST_IMAGE names the folder of a system made before, which saves a minute and the mirror.
if [ -n "${DDNS_TEST_IMAGE:-}" ] && [ -e "$DDNS_TEST_IMAGE/usr/lib/systemd/systemd" ]; then
    [ -e "$DDNS_TEST_IMAGE/usr/bin/fail2ban-client" ] ||
        { echo "this system has not all packages that it needs now; remove it: $DDNS_TEST_IMAGE" && exit 1; }
    mkdir "$scratch"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$DDNS_TEST_IMAGE,upperdir=$scratch/upper,workdir=$scratch/work" "$image"
else
    image=${DDNS_TEST_IMAGE:-$image}
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,dnsmasq,sudo,apache2,nginx,lighttpd,caddy,fail2ban,python3-systemd,iproute2,bind9-dnsutils,procps,curl,busybox \
        bookworm "$image" >"$scratch/debootstrap.log" 2>&1 || { tail -n 20 "$scratch/debootstrap.log" && exit 1; }
    if [ -n "${DDNS_TEST_IMAGE:-}" ]; then exec bash "$0" "$repository"; fi
fi

mkdir "$image/repository"
tar -C "$repository" --exclude ./target --exclude ./.git -cf - . | tar -C "$image/repository" -xf -
cat >"$image/etc/systemd/system/booted-test.service" <<END
[Unit]
After=multi-user.target network.target apache2.service nginx.service dnsmasq.service
[Service]
Type=oneshot
StandardOutput=file:/result.log
StandardError=inherit
ExecStartPre=-/sbin/ip link set lo up
ExecStart=/bin/bash /repository/tests/endpoint/booted.sh
ExecStopPost=/bin/sh -c 'echo \$\$EXIT_STATUS > /result; grep -q install /phase || systemctl --no-block poweroff'
[Install]
WantedBy=multi-user.target
END
# The loopback interface is up before the servers start.
cat >"$image/etc/systemd/system/loopback.service" <<END
[Unit]
DefaultDependencies=no
Before=network-pre.target sysinit.target
[Service]
Type=oneshot
ExecStart=/sbin/ip link set lo up
[Install]
WantedBy=sysinit.target
END
chroot "$image" systemctl -q enable booted-test.service loopback.service 2>/dev/null
# One web server at a time. Nobody logs in by ssh.
chroot "$image" systemctl -q disable nginx lighttpd caddy fail2ban 2>/dev/null
rm "$image/etc/fail2ban/jail.d/defaults-debian.conf"
# The name server serves its own names.
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >"$image/etc/dnsmasq.d/test.conf"
echo 'ServerName localhost' >"$image/etc/apache2/conf-enabled/name.conf"
printf 'nameserver 127.0.0.1\n' >"$image/etc/resolv.conf"

# PHASE END: boots, lets the phase run, and ends as a "power-cut" or by "poweroff".
boot() {
    local supervisor
    echo "$1" >"$image/phase"
    rm -f "$image/result" "$image/result.log"
    systemd-nspawn --quiet --register=no --keep-unit --private-network --boot -D "$image" \
        </dev/null >"$scratch/console.log" 2>&1 &
    supervisor=$!
    for _ in $(seq 3000); do
        [ -s "$image/result" ] && break
        kill -0 "$supervisor" 2>/dev/null || break
        sleep 0.1
    done
    if [ "$2" = power-cut ]; then
        kill -KILL "$supervisor" 2>/dev/null || true
    fi
    for _ in $(seq 600); do
        kill -0 "$supervisor" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$supervisor" 2>/dev/null || true
    wait "$supervisor" 2>/dev/null || true
    echo "--- $1"
    cat "$image/result.log" 2>/dev/null || true
    if [ "$(cat "$image/result" 2>/dev/null)" != 0 ]; then
        echo "--- console"
        tail -n 30 "$scratch/console.log"
        exit 1
    fi
}
boot install power-cut
boot after-power-cut poweroff
boot after-poweroff poweroff
boot fastcgi poweroff
boot fastcgi-again poweroff
echo "the booted system works"
