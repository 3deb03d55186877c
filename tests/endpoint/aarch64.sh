#!/usr/bin/env bash
# Runs a command where programs for aarch64 run, too, as an ordinary user: aarch64.sh COMMAND...
#
# The kernel (6.7 or newer) starts them by qemu in this user namespace alone, and forgets it at its end.
set -euo pipefail
if [ "${1-}" != --inside ]; then
    exec unshare --user --map-root-user --mount "$0" --inside "$@"
fi
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
# The first bytes of such a program, and which bits of them count (binfmt-misc.rst in the kernel). F opens
# qemu now, P tells it the program's name for itself.
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":aarch64:M::$magic:$mask:/usr/bin/qemu-aarch64:FP" >/proc/sys/fs/binfmt_misc/register
exec unshare --user --map-user=1000 --map-group=1000 "${@:2}"
