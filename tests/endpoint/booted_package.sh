# For booted.sh: the phases of Debian's packages, in the state that apt leaves.
# shellcheck shell=bash disable=SC2154 # booted.sh sets folder

packages=/repository/dist/release
host=home.example.net

# Installs a package as an operator does, without a terminal.
apt_install() { # FILE...
    DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >/root/apt.log 2>&1 || fail "apt-get $*: $(cat /root/apt.log)"
}
# The same package with another version, where one file has one line more: VERSION PATH.
another_version() {
    local tree=/root/another
    rm -rf $tree
    dpkg-deb -R $packages/ddns-cgi_1.0.0_amd64.deb $tree
    sed -i "s/^Version: .*/Version: $1/" $tree/DEBIAN/control
    echo "# Of version $1." >>"$tree$2"
    dpkg-deb --build --root-owner-group $tree "/root/ddns-cgi_$1.deb" >/dev/null
}
# All that packages could leave, but for their own logs and lists.
system() {
    find / -xdev \( -path /root -o -path /repository -o -path /tmp -o -path /var/tmp -o -path /var/log \
        -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/nginx -o -path /var/lib/systemd -o -path /var/cache \
        -o -path /phase -o -path '/result*' -o -path /run -o -path /proc -o -path /sys -o -path /dev \) -prune \
        -o -printf '%y %m %u:%g %p %l\n' | sort
    find /etc -xdev -type f ! -name 'ld.so.cache' -exec sha256sum {} + | sort
}

# The README's first way to install, and what it promises.
package() {
    export user=alice
    system >/root/before
    local start=$SECONDS
    apt_install install $packages/ddns-cgi_1.0.0_amd64.deb
    mountpoint -q "$folder" || fail "no RAM disk"
    is "what listens" "$(systemctl is-active ddns-cgi.socket ddns-cgi-ramcache.service ddns-cgi-save.path ddns-cgi-save.timer | sort -u)" active
    is "the package's files" "$(dpkg --verify ddns-cgi)" ""
    ddnsctl user add alice --host $host >"$key" || fail "ddnsctl user add"
    echo '{"url": "http://127.0.0.1/ip.php"}' >/etc/ddns-cgi/config.json
    ddnsctl user config alice --for ip-update >/root/settings || fail "ddnsctl user config"
    is "a request" "$(sh -c "$(ddnsctl sign $host --curl)")" "good 127.0.0.1"
    until_is "dnsmasq serves it" 127.0.0.1 look_up $host
    until_is "check" "all is well: 1 host, 1 user" ddnsctl check
    measured "apt-get install, a user, a request and its answer by DNS: $((SECONDS - start)) s"
    is "what systemd-analyze verify finds" "$(systemd-analyze verify /usr/lib/systemd/system/ddns-cgi* 2>&1 | grep ddns-cgi | grep -v "Command 'man" || true)" ""
    [ -e /usr/share/man/man8/ddnsctl.8.gz ] || [ -e /etc/dpkg/dpkg.cfg.d/excludes ] || fail "no manual"

    if scripts/install >/root/log 2>&1; then fail "scripts/install takes the place of the package"; fi
    is "scripts/install" "$(cat /root/log)" "scripts/install: ddns-cgi is installed as a package here: to install from source, first run apt-get purge ddns-cgi, and keep users, keys and hosts"

    # The client's package, on the same machine, in the place of what its script has installed.
    sh scripts/ip-update --install /root/settings >/root/log 2>&1 || fail "ip-update --install: $(cat /root/log)"
    apt_install install $packages/ddns-cgi-client_1.0.0_all.deb
    is "its timer" "$(systemctl is-active ip-update.timer) $(systemctl is-enabled ip-update.timer)" "active enabled"
    is "its unit" "$(systemctl show -p FragmentPath --value ip-update.timer | sed 's|^/usr||')" /lib/systemd/system/ip-update.timer
    [ ! -e /usr/local/bin/ip-update ] || fail "a second ip-update"
    rm /etc/ip-update.conf
    systemctl start ip-update.service || fail "without settings, it fails"
    is "the settings, installed" "$(ip-update --install /root/settings)" "installed the settings in /etc/ip-update.conf, with which ip-update.timer runs it every 15 minutes
ip-update -v says:
sends to http://127.0.0.1/ip.php: user=alice id=$host, signed with the key
$host: nochg 127.0.0.1"
    is "their mode" "$(stat -c %a /etc/ip-update.conf)" 600
    [ ! -e /usr/local/bin/ip-update ] || fail "a second ip-update"
    is "its removal by itself" "$(ip-update --uninstall 2>&1 || true)" \
        "ip-update: ip-update is installed as a package: run apt-get remove ddns-cgi-client"
    sleep 1.1
    systemctl start ip-update.service || fail "ip-update.service: $(journalctl -u ip-update)"
    apt_install purge ddns-cgi-client
    sleep 1.1
    is "a last request" "$(sign_and_send $host 127.0.0.9)" "good 127.0.0.9"
    until_is "dnsmasq serves it" 127.0.0.9 look_up $host
}
# After a boot.
package_again() {
    export user=alice
    local apache=/etc/apache2/conf-available/ddns-cgi.conf fastcgi=/etc/apache2/conf-available/ddns-cgi-fastcgi.conf
    is "the name" "$(look_up $host)" 127.0.0.9
    is "check" "$(ddnsctl check)" "all is well: 1 host, 1 user"

    # A new version: what the operator changed stays, the rest is new.
    echo '# mine' >>$apache
    another_version 1.0.1 $fastcgi
    apt_install install /root/ddns-cgi_1.0.1.deb
    is "the version" "$(dpkg-query -W -f '${Version}' ddns-cgi)" 1.0.1
    is "what the operator changed" "$(tail -n 1 $apache)" '# mine'
    is "what he did not" "$(tail -n 1 $fastcgi)" '# Of version 1.0.1.'
    mountpoint -q "$folder" || fail "no RAM disk after an upgrade"
    is "check" "$(ddnsctl check)" "all is well: 1 host, 1 user"
    is "a request" "$(sign_and_send $host 127.0.0.10)" "good 127.0.0.10"
    until_is "dnsmasq serves it" 127.0.0.10 look_up $host
    apt_install install --allow-downgrades $packages/ddns-cgi_1.0.0_amd64.deb
    is "after a downgrade, check" "$(ddnsctl check)" "all is well: 1 host, 1 user"
    sleep 1.1
    is "a request" "$(sign_and_send $host 127.0.0.11)" "good 127.0.0.11"

    # A state that cannot be saved is not lost: the package stays, and goes on.
    until_is "dnsmasq serves it" 127.0.0.11 look_up $host
    cp -p "$folder/ip.txt" /root/state
    echo '{' >"$folder/ip.txt"
    if apt-get -q -y remove ddns-cgi >/root/apt.log 2>&1; then fail "removed, with a broken state"; fi
    grep -q 'ddns-ramcache restore --force brings it back' /root/apt.log || fail "it does not say why: $(cat /root/apt.log)"
    cp -p /root/state "$folder/ip.txt"
    is "what listens" "$(systemctl is-active ddns-cgi.socket ddns-cgi-ramcache.service ddns-cgi-save.path ddns-cgi-save.timer | sort -u)" active
    is "check" "$(systemctl start ddns-cgi-save.service && ddnsctl check)" "all is well: 1 host, 1 user"

    # Removed, though somebody looks around on the RAM disk: users and hosts stay, on the disk, and dnsmasq
    # knows them.
    local visitor
    (cd "$folder" && exec sleep 300) &
    visitor=$!
    apt_install remove ddns-cgi
    kill $visitor
    if mountpoint -q "$folder"; then fail "the RAM disk is still there"; fi
    grep -q 127.0.0.11 "$folder/ip.txt" || fail "the state is gone"
    grep -q alice /etc/ddns-cgi/credentials.json || fail "the credentials are gone"
    is "the name" "$(look_up $host)" 127.0.0.11
    is "Apache" "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/ip.php/ip)" 404
    is "what runs" "$(systemctl list-units --plain --no-legend --state=active 'ddns-cgi*')" ""
    apt_install install $packages/ddns-cgi_1.0.0_amd64.deb
    mountpoint -q "$folder" || fail "no RAM disk: $(tail -n 20 /root/apt.log)"
    sleep 1.1
    is "installed again: a request" "$(sign_and_send $host 127.0.0.12)" "good 127.0.0.12"
    until_is "dnsmasq serves it" 127.0.0.12 look_up $host
    until_is "check" "all is well: 1 host, 1 user" ddnsctl check

    # Purged: without an answer to the question, users and hosts still stay.
    apt_install purge ddns-cgi
    grep -q 127.0.0.12 "$folder/ip.txt" || fail "the state is gone, and nobody said so"
    grep -q alice /etc/ddns-cgi/credentials.json || fail "the credentials are gone, and nobody said so"
    apt_install install $packages/ddns-cgi_1.0.0_amd64.deb
    is "installed again: the host" "$(ddnsctl list --json | grep -c '127.0.0.12')" 1
    echo 'ddns-cgi ddns-cgi/remove-data boolean true' | debconf-set-selections
    apt_install purge ddns-cgi
    system >/root/after
    # What other packages may use by now.
    is "what the package leaves" "$(diff /root/before /root/after | sed -n 's/^[<>] \(.*[^ ]\) *$/\1/p')" \
        "d 755 root:root /var/lib/apache2/conf/disabled_by_admin
d 755 root:root /var/lib/apache2/conf/disabled_by_maint
f 644 root:root /var/lib/apache2/module/enabled_by_maint/cgid
l 777 root:root /etc/apache2/mods-enabled/cgid.conf ../mods-available/cgid.conf
l 777 root:root /etc/apache2/mods-enabled/cgid.load ../mods-available/cgid.load
l 777 root:root /etc/lighttpd/conf-enabled/10-fastcgi.conf ../conf-available/10-fastcgi.conf"
    is "dnsmasq" "$(systemctl is-active dnsmasq apache2 | sort -u)" active
    is "the name" "$(look_up $host)" ""
}

# The commands of the README's section "From ip.php in five minutes", as they stand there.
readme() {
    local start=$SECONDS line
    awk '/^## / { inside = $0 == "## From ip.php in five minutes" }
        inside && /^ *```sh/ { n++; file = "/root/step-" n; next }
        /^ *```/ { file = "" }
        file { sub(/^ */, ""); print > file }' README.md
    is "steps with commands" "$(find /root/step-* | wc -l)" 4
    mkdir /OLD
    printf '{\n    "host1.h.lohray.com": {\n        "ip": "129.118.243.10",\n        "update": "2012-04-20 20:45:59"\n    }\n}' >/OLD/ip.txt
    echo '129.118.243.10 host1.h.lohray.com' >/OLD/hosts.dns
    echo '{"user1": {"id": ["host1.h.lohray.com"], "key": "secretkey1"}}' >/OLD/credentials.json
    for line in 1 2; do
        (cd $packages && bash -e /root/step-$line) </dev/null >/root/log 2>&1 || fail "step $line: $(cat /root/log)"
    done
    is "the old address" "$(look_up host1.h.lohray.com)" 129.118.243.10
    is "step 3" "$(bash /root/step-3)" "all is well: 1 host, 1 user"
    is "step 4: the request" "$(sed -n 1p /root/step-4 | bash)" "good 127.0.0.1"
    until_is "step 4: the new address" 127.0.0.1 bash -c "$(sed -n 2p /root/step-4)"
    measured "from ip.php by the README: $((SECONDS - start)) s"
    until_is "check" "all is well: 1 host, 1 user" ddnsctl check
}
