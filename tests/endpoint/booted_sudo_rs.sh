# For booted.sh: the phase with sudo-rs in the place of sudo, as in Ubuntu since 25.10.
# shellcheck shell=bash

no_sudo_rule() { # NAME
    breaks "no rule for $1" "may not run without a password: service dnsmasq restart" "mv /etc/sudoers.d/ddns-cgi /root/" "mv /root/ddns-cgi /etc/sudoers.d/"
}

sudo_rs() {
    # The package leaves /etc/sudoers and /etc/pam.d/sudo, which sudo-rs reads. It hesitates to go while root
    # has no password.
    SUDO_FORCE_REMOVE=yes dpkg --remove sudo >/root/log 2>&1 || fail "$(cat /root/log)"
    update-alternatives --quiet --install /usr/bin/sudo sudo /usr/lib/cargo/bin/sudo 50 \
        --slave /usr/sbin/visudo visudo /usr/lib/cargo/bin/visudo
    is "sudo is" "$(sudo --version 2>&1 | cut -d ' ' -f 1)" sudo-rs

    scripts/install >/dev/null || fail "scripts/install"
    is "the second installation" "$(scripts/install 2>&1)" "everything is in place already"
    is "visudo" "$(visudo -c 2>&1)" "/etc/sudoers: parsed OK"
    add_hosts
    is "an update through Apache" "$(sign_and_send b1.example.net 127.0.3.1)" "good 127.0.3.1"
    until_is "sudo-rs and dnsmasq serve it" 127.0.3.1 look_up b1.example.net
    until_is "check" "all is well: 40 hosts (39 never updated), 1 user" ddnsctl check
    no_sudo_rule sudo

    only nginx
    scripts/install --server nginx >/dev/null || fail "scripts/install --server nginx"
    include_in_nginx
    is "an update through ddns-cgi.service" "$(sign_and_send b2.example.net 127.0.3.2)" "good 127.0.3.2"
    until_is "sudo-rs and dnsmasq serve it" 127.0.3.2 look_up b2.example.net
    until_is "check" "all is well: 40 hosts (38 never updated), 1 user" ddnsctl check

    choose_reload
    is "an update with a reload" "$(sign_and_send b3.example.net 127.0.3.3)" "good 127.0.3.3"
    until_is "sudo-rs and dnsmasq serve it" 127.0.3.3 look_up b3.example.net
    until_is "check" "all is well: 40 hosts (37 never updated), 1 user" ddnsctl check

    # By its own name, too.
    echo '{"restart": ["sudo-rs", "-n", "service", "dnsmasq", "restart"]}' >/etc/ddns-cgi/config.json
    is "an update" "$(sign_and_send b4.example.net 127.0.3.4)" "good 127.0.3.4"
    until_is "sudo-rs and dnsmasq serve it" 127.0.3.4 look_up b4.example.net
    no_sudo_rule sudo-rs
}
