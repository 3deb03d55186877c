# For booted.sh: the phase that reloads dnsmasq without sudo, by the units of docs/red-hat.md.
# shellcheck shell=bash

. tests/endpoint/page.sh

red_hat() {
    local n pid
    scripts/install >/dev/null || fail "scripts/install"
    add_hosts
    # shellcheck disable=SC2034 # page.sh reads it
    page=docs/red-hat.md
    follow "Without sudo"
    [ ! -e /etc/sudoers.d/ddns-cgi ] || fail "the rule for sudo is still there"

    pid=$(systemctl show -p MainPID --value dnsmasq)
    is "an update" "$(sign_and_send b1.example.net 127.0.3.1)" "good 127.0.3.1"
    until_is "systemd reloads dnsmasq, which serves it" 127.0.3.1 look_up b1.example.net
    # More than systemd's usual limits let through.
    for n in $(seq 2 20); do
        [ "$(sign_and_send "b$n.example.net" "127.0.3.$n")" = "good 127.0.3.$n" ] || fail "update $n"
    done
    until_is "it serves the last of many" 127.0.3.20 look_up b20.example.net
    is "dnsmasq was not restarted" "$(systemctl show -p MainPID --value dnsmasq)" "$pid"
    is "nothing has failed" "$(systemctl --no-legend --failed)" ""
    until_is "check" "all is well: 40 hosts (20 never updated), 1 user" ddnsctl check
}
