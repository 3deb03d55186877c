#!/usr/bin/env bash
# Boots a Debian with systemd in a container, and lets a story happen in it: boot.sh REPOSITORY SUITE STORY.
# SUITE is bookworm (Debian 12) or trixie (Debian 13). STORY is one of those at the end of this file: a list
# of phases, each of which lasts from a boot to its end. A phase is a function that booted.sh calls in there.
# Everything is in namespaces, and in a folder that is removed at the end.
set -euo pipefail
repository=$1 suite=$2 story=$3

groups=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET) ||
    { echo "no control groups (cgroup2) are mounted here" && exit 1; }
scratch=$(mktemp -d /var/tmp/ddns-cgi-boot.XXXXXX)
root=$scratch/root
# The processes of each container have a control group of their own. Without it, systemd-nspawn would put
# those of all containers into one, and each systemd would end what it finds there.
group=$groups/${scratch##*/}
clean_up() {
    [ ! -e "$group" ] || cut_power
    umount "$root" 2>/dev/null || true
    rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT
# systemd-nspawn leaves files here.
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn

packages=systemd,systemd-sysv,dbus,dnsmasq,sudo,apache2,nginx,lighttpd,caddy,fail2ban,python3-systemd
packages+=,iproute2,bind9-dnsutils,procps,curl,busybox
[ "$suite" = bookworm ] || packages+=,sudo-rs

# The Debian as it is installed. DDNS_TEST_IMAGES names a folder that keeps it, for other stories and the
# next run: this saves minutes and the mirror.
base=${DDNS_TEST_IMAGES:-$scratch}/$suite
make_base() {
    mkdir -p "${base%/*}"
    # Another story may make the same one.
    exec 9>"$base.lock"
    flock 9
    if [ "$(cat "$base/packages" 2>/dev/null)" != "$packages" ]; then
        rm -rf --one-file-system "$base"
        debootstrap --variant=minbase --include="$packages" "$suite" "$base" >"$scratch/log" 2>&1 ||
            { tail -n 20 "$scratch/log" && exit 1; }
        echo "$packages" >"$base/packages"
    fi
    exec 9>&-
}

# A copy that discards its changes, with the repository in it.
prepare() {
    mkdir "$scratch"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
    # Version 0.1, as boot.rs has built it.
    [ ! -e "$repository/target/0.1" ] || cp -a "$repository/target/0.1" "$root/old"
    mkdir "$root/repository"
    tar -C "$repository" --exclude ./target --exclude ./.git -cf - . | tar -C "$root/repository" -xf -
    cat >"$root/etc/systemd/system/booted-test.service" <<END
[Unit]
After=multi-user.target network.target apache2.service nginx.service dnsmasq.service
[Service]
Type=oneshot
StandardOutput=file:/result.log
StandardError=inherit
ExecStart=/bin/bash /repository/tests/endpoint/booted.sh
ExecStopPost=/bin/sh -c 'echo \$\$EXIT_STATUS > /result'
[Install]
WantedBy=multi-user.target
END
    # The loopback interface is up before the servers start.
    cat >"$root/etc/systemd/system/loopback.service" <<END
[Unit]
DefaultDependencies=no
Before=network-pre.target sysinit.target
[Service]
Type=oneshot
ExecStart=/sbin/ip link set lo up
[Install]
WantedBy=sysinit.target
END
    chroot "$root" systemctl -q enable booted-test.service loopback.service 2>/dev/null
    # One web server at a time. Nobody logs in by ssh.
    chroot "$root" systemctl -q disable nginx lighttpd caddy fail2ban 2>/dev/null
    sed -i '/^\[sshd\]/,$d' "$root/etc/fail2ban/jail.d/defaults-debian.conf"
    # The name server serves its own names.
    printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >"$root/etc/dnsmasq.d/test.conf"
    echo 'ServerName localhost' >"$root/etc/apache2/conf-enabled/name.conf"
    printf 'nameserver 127.0.0.1\n' >"$root/etc/resolv.conf"
}

# PHASE END: boots, lets the phase run, and ends by a power-cut or by poweroff.
boot() {
    local supervisor start=$SECONDS
    echo "$1" >"$root/phase"
    rm -f "$root/result" "$root/result.log"
    mkdir "$group"
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        # Debian 13 boots only with this kind of control groups.
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        exec systemd-nspawn --quiet --register=no --keep-unit --private-network --boot \
            --kill-signal=SIGRTMIN+4 -D "$root"
    ) </dev/null >"$scratch/console.log" 2>&1 &
    supervisor=$!
    # Within ten minutes.
    for _ in $(seq 6000); do
        [ -s "$root/result" ] || ! kill -0 "$supervisor" 2>/dev/null && break
        sleep 0.1
    done
    if [ "$2" = poweroff ]; then
        # systemd-nspawn passes this on, as an orderly poweroff.
        kill -TERM "$supervisor" 2>/dev/null || true
        for _ in $(seq 600); do
            kill -0 "$supervisor" 2>/dev/null || break
            sleep 0.1
        done
    fi
    cut_power
    wait "$supervisor" 2>/dev/null || true
    echo "--- $1: $((SECONDS - start)) s"
    cat "$root/result.log" 2>/dev/null || true
    if [ "$(cat "$root/result" 2>/dev/null)" != 0 ]; then
        echo "--- console"
        tail -n 30 "$scratch/console.log"
        exit 1
    fi
}
# Kills all processes of the container at once: systemd-nspawn would leave them when it is killed.
cut_power() {
    echo 1 >"$group/cgroup.kill"
    until grep -q '^populated 0' "$group/cgroup.events"; do sleep 0.1; done
    find "$group" -depth -type d -exec rmdir {} +
}

# FILE: compares what scripts/install printed there.
compare_transcript() {
    local transcript=tests/transcripts/booted/$1
    sed -e "s|/repository|CLONE|g" -e 's|[0-9/]* [0-9:]* \[emerg\] [0-9#]*:|TIME [emerg] PID:|' \
        "$root/root/transcript" >"$scratch/transcript"
    if [ -n "${DDNS_UPDATE:-}" ]; then
        # Debian 12 writes it.
        [ "$suite" != bookworm ] || cp "$scratch/transcript" "$repository/$transcript"
    elif ! diff "$repository/$transcript" "$scratch/transcript"; then
        echo "scripts/install prints something else than $transcript has"
        exit 1
    fi
}

make_base
prepare
case $story in
    # From the clone, with every web server, and back to the start.
    source)
        boot install_and_serve power-cut
        boot after_power_cut poweroff
        boot after_poweroff poweroff
        boot fastcgi poweroff
        boot fastcgi_again poweroff
        compare_transcript install.txt
        ;;
    # From the packages, through an upgrade, and back to the start.
    package)
        boot package poweroff
        boot package_again poweroff
        boot readme poweroff
        ;;
    # From version 0.1 to the package, and back.
    upgrade)
        boot upgrade poweroff
        boot downgrade poweroff
        ;;
    # sudo-rs in the place of sudo.
    sudo_rs) boot sudo_rs poweroff ;;
    # A reload of dnsmasq without sudo, as docs/red-hat.md has it.
    red_hat) boot red_hat poweroff ;;
    *) echo "there is no story $story" && exit 1 ;;
esac
echo "the booted system works"
