# For scripts with steps of their own: what they expect. Whoever reads this file has a function fail.
# shellcheck shell=bash

is() { # WHAT ACTUAL EXPECTED
    [ "$2" = "$3" ] || fail "$1: '$2' instead of '$3'"
    echo "ok: $1"
}
until_is() { # WHAT EXPECTED COMMAND...: within 20 seconds
    local what=$1 expected=$2 actual='' n
    shift 2
    for n in $(seq 200); do
        actual=$("$@" 2>&1) || true
        [ "$actual" = "$expected" ] && echo "ok: $what (after $n looks)" && return
        sleep 0.1
    done
    fail "$what: '$actual' instead of '$expected'"
}
