# For booted.sh: from version 0.1, installed from its source in /old, to the package, and back.
# shellcheck shell=bash disable=SC2154 # booted.sh sets folder

package=/repository/dist/release/ddns-cgi_1.0.0_amd64.deb

install_old() { (cd /old && scripts/install >/root/log 2>&1) || fail "version 0.1: $(cat /root/log)"; }
install_new_once() {
    [ ! -e /root/upgraded ] || return 0
    touch /root/upgraded
    # As an operator answers who keeps what he has changed.
    apt_install install -o Dpkg::Options::=--force-confold $package
}

upgrade() {
    install_old
    is "the version" "$(ddnsctl --version)" "ddnsctl 0.1.0"
    add_hosts
    # What a hand has changed, and what a package would ask about.
    echo '# mine' >>/etc/apache2/conf-available/ddns-cgi.conf
    cp /etc/ddns-cgi/credentials.json /root/credentials

    # Eight clients send 240 changes meanwhile. Apache reloads, and its mod_cgid fails what it begins in that
    # moment, perhaps after it was carried out.
    local log=/var/log/apache2/access.log failed
    : >$log
    tries=2 burst 6 install_new_once
    failed=$(grep -cE '" 5[0-9][0-9] ' $log || true)
    is "requests in the log" "$(grep -c " /ip.php" $log)" $((240 + failed))
    [ "$failed" -le 8 ] || fail "Apache failed $failed requests"
    is "the version" "$(ddnsctl --version)" "ddnsctl 1.0.0"
    is "replies" "$(wc -l </root/burst)" 240
    grep -vE ' (good|nochg) 127.1' /root/burst && fail "a client saw an error"
    acknowledged >/root/acknowledged
    stored | diff - /root/acknowledged || fail "a change is lost"
    until_is "dnsmasq serves all" all served
    measured "240 changes while the package takes the place of 0.1: each got its reply ($failed at the second try), is stored, and is served"
    cmp /etc/ddns-cgi/credentials.json /root/credentials || fail "the credentials were changed"
    is "what a hand has changed" "$(tail -n 1 /etc/apache2/conf-available/ddns-cgi.conf)" '# mine'
    is "time to live" "$(cat /etc/dnsmasq.d/* | grep -c '^local-ttl=')" 1
    mountpoint -q "$folder" || fail "no RAM disk"
    until_is "check" "all is well: 40 hosts, 1 user" ddnsctl check
    is "what 0.1 left" "$(ls -I jail /var/lib/ddns-cgi)$(find /usr/share/man/man1 -name 'ddns*')" copies
    is "the package's files" "$(dpkg --verify ddns-cgi)" "??5?????? c /etc/apache2/conf-available/ddns-cgi.conf"
}

# After a boot: back to 0.1, which reads all that 1.0 wrote.
downgrade() {
    is "an update" "$(sign_and_send b1.example.net 127.0.4.1)" "good 127.0.4.1"
    until_is "dnsmasq serves it" 127.0.4.1 look_up b1.example.net
    until_is "check" "all is well: 40 hosts, 1 user" ddnsctl check
    # Nobody answers the question, so users, keys and hosts stay.
    apt_install purge ddns-cgi
    install_old
    is "the version" "$(ddnsctl --version)" "ddnsctl 0.1.0"
    is "hosts" "$(ddnsctl list --json | grep -c '"host"')" 40
    sleep 1.1
    is "an update" "$(sign_and_send b1.example.net 127.0.4.2)" "good 127.0.4.2"
    until_is "dnsmasq serves it" 127.0.4.2 look_up b1.example.net
    until_is "check" "all is well: 40 hosts, 1 users" ddnsctl check
}
