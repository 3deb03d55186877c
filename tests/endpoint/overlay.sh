# For the scripts that use the real system: makes an overlay of the root file system, which ends with the
# namespaces of tests/endpoint/chain.rs, and defines the checks. $1 is the repository.
# shellcheck shell=bash
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND" >&2' ERR

if [ -z "${IN_OVERLAY:-}" ]; then
    # A copy of the root file system that discards its changes.
    scratch=/mnt
    mount -t tmpfs tmpfs "$scratch"
    mkdir "$scratch"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
    mkdir -p "$scratch/root/repository"
    mount --bind "$1" "$scratch/root/repository"
    mount -t proc proc "$scratch/root/proc"
    mount --rbind /dev "$scratch/root/dev"
    mount -t tmpfs tmpfs "$scratch/root/run"
    mount -t tmpfs tmpfs "$scratch/root/tmp"
    mkdir -m 1777 "$scratch/root/run/lock"
    IN_OVERLAY=1 exec chroot "$scratch/root" bash "/repository/tests/endpoint/${0##*/}" "$@"
fi

fail() {
    echo "FAILED: $*"
    tail -n 20 /var/log/apache2/error.log 2>/dev/null || true
    exit 1
}
# shellcheck source=tests/endpoint/words.sh
. /repository/tests/endpoint/words.sh

prepare_apache() { # MODULE...: no PHP, and of the modules that exclude one another only these
    a2dismod -q -f php8.2 php8.4 mpm_event mpm_prefork mpm_worker cgi cgid >/dev/null 2>&1 || true
    a2enmod -q "$@" >/dev/null
    mkdir -p /var/log/apache2
}

ip link set lo up
cd /repository || exit
