# For booted.sh: the phases with Apache, which starts ddns-cgi for each request (CGI).
# shellcheck shell=bash disable=SC2154 # booted.sh sets folder

copies=/var/lib/ddns-cgi/copies

install_and_serve() {
    first_installation
    what_check_finds
    thirty_changes
    gaps
    before_power_cut
}

first_installation() {
    snapshot >/root/before
    scripts/install --dry-run >/root/dry.log
    grep -q '^would: ' /root/dry.log || fail "the dry run says nothing"
    unchanged_since /root/before "the dry run"
    show scripts/install || fail "scripts/install: $(cat /root/log)"
    snapshot >/root/installed
    pids >/root/pids
    is "the second installation" "$(scripts/install)" "everything is in place already"
    unchanged_since /root/installed "the second installation"
    pids | cmp - /root/pids || fail "the second installation restarted something"
    echo "ok: the second installation changes nothing"
    mountpoint -q "$folder" || fail "no RAM disk"
    # man is not installed here.
    is "what systemd-analyze verify finds" "$(systemd-analyze verify /usr/lib/systemd/system/ddns-cgi-* 2>&1 |
        grep ddns-cgi | grep -v "Command 'man" || true)" ""

    # Thirty hosts of three users.
    local n user key
    for user in alice bob carol; do
        key=$(ddnsctl user add $user) || fail "ddnsctl user add"
        [ ${#key} = 64 ] || fail "the key: $key"
        for n in $(seq 10); do
            ddnsctl host add $user "$user$n.example.net" || fail "ddnsctl host add"
            printf '%s\n' url=http://127.0.0.1/ip.php "user=$user" "key=$key" "host=$user$n.example.net" >"/root/$user$n.example.net.conf"
            chmod 600 "/root/$user$n.example.net.conf"
        done
    done
    is "a signed request through the installed Apache" "$(update alice1.example.net 127.0.0.1)" "alice1.example.net: good 127.0.0.1"
    until_is "the installed sudo and dnsmasq serve it" 127.0.0.1 look_up alice1.example.net
    sleep 1
    is "a line of ddnsctl sign" "$(sh -c "$(ddnsctl sign alice2.example.net --curl)")" "good 127.0.0.1"
    until_is "dnsmasq serves it" 127.0.0.1 look_up alice2.example.net
    until_is "ddnsctl check is green" "all is well: 30 hosts (28 never updated), 3 users" ddnsctl check
    client_installs_itself
}

client_installs_itself() {
    snapshot >/root/without-client
    sleep 1
    is "the client's installation" "$(sh scripts/ip-update --install /root/alice1.example.net.conf)" \
        "installed /usr/local/bin/ip-update, which runs every 15 minutes by a systemd timer with the settings in /etc/ip-update.conf
ip-update -v says:
sends to http://127.0.0.1/ip.php: user=alice id=alice1.example.net, signed with the key
alice1.example.net: nochg 127.0.0.1"
    is "its timer" "$(systemctl is-active ip-update.timer) $(systemctl is-enabled ip-update.timer)" "active enabled"
    is "what systemd-analyze verify finds" "$(systemd-analyze verify ip-update.service ip-update.timer 2>&1 | grep ip-update || true)" ""
    sleep 1
    systemctl start ip-update.service || fail "its service"
    rm /etc/ip-update.conf
    systemctl start ip-update.service 2>/dev/null && fail "its service runs without settings"
    is "its service" "$(systemctl is-failed ip-update.service)" failed
    sh scripts/ip-update --uninstall >/dev/null || fail "it cannot remove itself"
    is "its timer" "$(systemctl is-active ip-update.timer || true)" inactive
    is "its service" "$(systemctl is-failed ip-update.service || true)" inactive
    unchanged_since /root/without-client "the client's installation and removal"
}

what_check_finds() {
    local c=/etc/ddns-cgi/credentials.json a=/etc/apache2/conf-available/ddns-cgi.conf
    breaks "credentials that all can read" "others can use the keys" "chmod 644 $c" "chmod 640 $c"
    breaks "credentials that the web server cannot read" "www-data cannot read it" "chown root:root $c" "chown root:www-data $c"
    breaks "credentials without sense" "credentials.json.*ends too early" "cp -p $c /root/c && echo '{' > $c" "cp -p /root/c $c"
    breaks "a user without a key" "user dave.*has no key" "cp -p $c /root/c && sed -i '1s/{/{\"dave\": {\"id\": []},/' $c" "cp -p /root/c $c"
    breaks "a folder of another owner" "www-data cannot write there" "chown root $folder" "chown www-data $folder"
    breaks "a folder that dnsmasq may not enter" "may not pass through" "chmod 700 $folder" "chmod 755 $folder"
    breaks "a hosts file that dnsmasq may not read" "may not read it (mode 600)" "chmod 600 $folder/hosts.dns" "chmod 644 $folder/hosts.dns"
    breaks "a hosts file that is not the state's" "is not what the state says" "echo '192.0.2.1 x' >> $folder/hosts.dns" "ddnsctl apply"
    breaks "a broken state" "state is broken" "cp -p $folder/ip.txt /root/s && echo '{' > $folder/ip.txt" "cp -p /root/s $folder/ip.txt"
    breaks "a broken state that has a copy" "    ddns-ramcache restore --force" "ddns-ramcache save && echo '{' > $folder/ip.txt" "ddns-ramcache restore --force && ddnsctl apply"
    breaks "copies that fail" "ddns-cgi-save.service: failed, so the RAM disk is not copied" "echo keep=0 >/etc/ddns-cgi/ramcache.conf; ! systemctl start ddns-cgi-save.service" "rm /etc/ddns-cgi/ramcache.conf; systemctl start ddns-cgi-save.service"
    breaks "no copies of stamps" "ddns-cgi-save.timer: is disabled" "systemctl disable --now ddns-cgi-save.timer" "systemctl enable --now ddns-cgi-save.timer"
    breaks "no copies of changes" "ddns-cgi-save.path: is not active" "systemctl stop ddns-cgi-save.path" "systemctl enable --now ddns-cgi-save.path"
    breaks "a stamp in the future" "days in the future" "cp -p $folder/ip.txt /root/s && sed -i 's/\"update\": \"20/\"update\": \"29/' $folder/ip.txt" "cp -p /root/s $folder/ip.txt"
    breaks "no sudo rule" "may not run without a password: service dnsmasq restart" "mv /etc/sudoers.d/ddns-cgi /root/" "mv /root/ddns-cgi /etc/sudoers.d/"
    breaks "a sudo rule that sudo ignores" "may not run without a password" "chmod 666 /etc/sudoers.d/ddns-cgi" "chmod 440 /etc/sudoers.d/ddns-cgi"
    breaks "no addn-hosts" "dnsmasq does not answer with 127.0.0.1" "mv /etc/dnsmasq.d/ddns-cgi.conf /root/ && systemctl restart dnsmasq" "mv /root/ddns-cgi.conf /etc/dnsmasq.d/ && systemctl restart dnsmasq"
    breaks "no dnsmasq" "no answer from 127.0.0.1:53" "systemctl stop dnsmasq" "systemctl start dnsmasq"
    breaks "a restart that failed" "the last restart failed: exit status: 1" "echo 'failed exit status: 1' > $folder/.hosts.dns.pending && chown www-data $folder/.hosts.dns.pending" "ddnsctl apply"
    breaks "a lock of another owner" "restart.lock: www-data cannot write it" "chown root:root $folder/.hosts.dns.restart.lock" "chown www-data:www-data $folder/.hosts.dns.restart.lock"
    breaks "an unknown key of the configuration" 'key \"windw\" is unknown' "echo '{\"windw\": 1}' > /etc/ddns-cgi/config.json" "rm /etc/ddns-cgi/config.json"
    breaks "a password that opens no status page" "does not let users see it" "echo '{\"status_page\": true}' > /etc/ddns-cgi/config.json && cp -p $a /root/a && sed -i '/#<If /,/#<.If>/s/#//' $a" "cp -p /root/a $a"
    is "the status page, here" "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/ip.php/status)" 200
    is "the status page, elsewhere" "$(curl -s -H 'X-Forwarded-For: 198.51.100.7' http://127.0.0.1/ip.php/status)" forbidden
    rm /etc/ddns-cgi/config.json
    until_is "check is green again" "all is well: 30 hosts (28 never updated), 3 users" ddnsctl check
}

# For each of the 30 hosts: NAME ADDRESS.
thirty() {
    local user n
    for user in alice bob carol; do
        for n in $(seq 10); do echo "$user$n.example.net 127.0.$1.$n"; done
    done
}
serves_all() { # as in thirty ROUND
    local name address
    while read -r name address; do
        [ "$(look_up "$name")" = "$address" ] || { echo "$name: $(look_up "$name")" && return 1; }
    done < <(thirty "$1")
    echo all
}
thirty_restarts() {
    for _ in $(seq 30); do
        setpriv --reuid=www-data --regid=www-data --init-groups sudo -n service dnsmasq restart >/dev/null 2>&1 || true
    done
    systemctl is-active dnsmasq || true
}
thirty_changes() {
    local start name address
    start=$(date +%s%3N)
    while read -r name address; do
        is "a change" "$(update "$name" "$address")" "$name: good $address"
    done < <(thirty 1)
    local milliseconds=$(($(date +%s%3N) - start))
    [ "$milliseconds" -le 10000 ] || fail "30 changes took $milliseconds ms"
    until_is "dnsmasq serves all 30 names" all serves_all 1
    is "dnsmasq is" "$(systemctl is-active dnsmasq)" active
    measured "30 changes of 30 hosts in $milliseconds ms: dnsmasq stays active"

    # The article's way, to prove that this test can see a difference.
    is "after a restart for each change, dnsmasq is" "$(thirty_restarts)" active
    local drop_in=/usr/lib/systemd/system/dnsmasq.service.d/ddns-cgi.conf
    mv $drop_in /root/drop-in && systemctl daemon-reload
    is "without systemd's limit lifted, it is" "$(thirty_restarts)" failed
    measured "30 changes with a restart for each: dnsmasq is active, and failed without $drop_in"
    mv /root/drop-in $drop_in && systemctl daemon-reload
    systemctl start dnsmasq
    until_is "dnsmasq serves all 30 names" all serves_all 1
}

choose_reload() {
    sed -i -e '/RELOAD.*pkill/d' -e '/RELOAD/s/^#//' /etc/sudoers.d/ddns-cgi
    visudo -c >/dev/null || fail "the rules for a reload"
    echo '{"restart": ["sudo", "-n", "systemctl", "reload", "dnsmasq"]}' >/etc/ddns-cgi/config.json
}

# Each way to tell dnsmasq under systemd: the documented table.
gaps() {
    local way
    for way in 'systemctl restart dnsmasq' 'systemctl reload dnsmasq' 'pkill -HUP -x dnsmasq'; do
        # shellcheck disable=SC2086 # a command and its arguments
        measured "$(scripts/measure-gap alice1.example.net $way)" || fail "scripts/measure-gap $way"
    done
    # With its rule and its key, a reload replaces the restart.
    choose_reload
    local pid
    pid=$(systemctl show -p MainPID --value dnsmasq)
    is "a change with a reload" "$(update alice1.example.net 127.0.5.5)" "alice1.example.net: good 127.0.5.5"
    until_is "dnsmasq serves it" 127.0.5.5 look_up alice1.example.net
    is "dnsmasq's process" "$(systemctl show -p MainPID --value dnsmasq)" "$pid"
    until_is "check" "all is well: 30 hosts, 3 users" ddnsctl check
    rm /etc/ddns-cgi/config.json
    cp sudoers.d/ddns-cgi /etc/sudoers.d/ddns-cgi
    sleep 1
    is "back to the restart" "$(update alice1.example.net 127.0.1.1)" "alice1.example.net: good 127.0.1.1"
    until_is "dnsmasq serves it" 127.0.1.1 look_up alice1.example.net
}

before_power_cut() {
    local name address
    # There is a copy with each change of an address ...
    is "a last change" "$(update bob5.example.net 127.0.7.7)" "bob5.example.net: good 127.0.7.7"
    until_is "it is on disk" 1 sh -c "grep -c 127.0.7.7 \$(ls -d $copies/copy-* | tail -n 1)/ip.txt"
    # ... but the stamps come with the timer.
    sleep 1
    while read -r name address; do
        [ "$name" != bob5.example.net ] || address=127.0.7.7
        is "a redundant update" "$(update "$name" "$address")" "$name: nochg $address"
    done < <(thirty 1)
    ddnsctl list --json >/root/list-before
    sync
}

units_in_order() {
    local ready unit
    # systemd would leave out one of them, silently.
    is "units that wait for each other" "$(journalctl --no-pager -b | grep -c 'ordering cycle' || true)" 0
    mountpoint -q "$folder" || fail "no RAM disk"
    ready=$(systemctl show -p ActiveEnterTimestampMonotonic --value ddns-cgi-ramcache)
    for unit in apache2 dnsmasq; do
        [ "$(systemctl show -p InactiveExitTimestampMonotonic --value $unit)" -ge "$ready" ] || fail "$unit started before the RAM disk was filled"
    done
    echo "ok: the RAM disk was filled before Apache and dnsmasq started"
}

after_power_cut() {
    units_in_order
    local name address lost
    while read -r name address; do
        [ "$name" = bob5.example.net ] && address=127.0.7.7
        until_is "$name" "$address" look_up "$name"
    done < <(thirty 1)
    ddnsctl list --json >/root/list-after
    is "hosts after the power cut" "$(grep -c '"host"' /root/list-after)" 30
    lost=$(diff <(grep '"update"' /root/list-before) <(grep '"update"' /root/list-after) | grep -c '^<' || true)
    measured "power cut: 0 of 30 hosts lost, $lost of 30 stamps went back to the last copy"
    is "stamps that went back" "$lost" 30
    # A redundant update's stamp, which only shutdown saves. It also works off the mark, if the copy
    # was made while a restart was pending.
    is "an update" "$(update carol3.example.net 127.0.1.3)" "carol3.example.net: nochg 127.0.1.3"
    until_is "what is pending" "" pending
    until_is "check" "all is well: 30 hosts, 3 users" ddnsctl check
    ddnsctl list --json | grep '"update"' >/root/stamps
    ramcache_survives_kills
}

# Kills a save at fifty moments: the newest copy is always whole.
ramcache_survives_kills() {
    local n saver newest
    for n in $(seq 50); do
        sed -i "s/\"127.0.9.[0-9]*\"/\"127.0.1.9\"/; 0,/\"127.0.1.9\"/s//\"127.0.9.$n\"/" "$folder/ip.txt"
        setsid ddns-ramcache save >/dev/null 2>&1 &
        saver=$!
        sleep "0.0$((n * 2 / 10))$((n * 2 % 10))"
        kill -KILL -- "-$saver" 2>/dev/null || true
        wait "$saver" 2>/dev/null || true
        newest=$(find $copies -name 'copy-*' | sort | tail -n 1)
        [ "$(ddnsctl list --json --state "$newest/ip.txt" | grep -c '"host"')" = 30 ] || fail "kill $n: the newest copy is not whole"
    done
    sed -i 's/"127.0.9.[0-9]*"/"127.0.1.9"/' "$folder/ip.txt"
    ddns-ramcache save || fail "ramcache save"
    is "copies that are kept" "$(find $copies -name 'copy-*' | wc -l)" 3
    is "what a killed save left behind" "$(find $copies -name '.new.*')" ""
    newest=$(find $copies -name 'copy-*' | sort | tail -n 1)
    cmp "$newest/ip.txt" "$folder/ip.txt" || fail "the newest copy is not the newest state"
    echo "ok: 50 saves were killed, and the newest copy was whole each time"
    for text in '' '[]' '{"x": '; do
        cp -p "$folder/ip.txt" /root/s
        printf '%s' "$text" >"$folder/ip.txt"
        if ddns-ramcache save 2>/dev/null; then fail "a state was saved that is '$text'"; fi
        cp -p /root/s "$folder/ip.txt"
        is "the newest copy after a save of '$text'" "$(find $copies -name 'copy-*' | sort | tail -n 1)" "$newest"
    done
    # Wiped and restored: the same files, with their owner.
    cp -p "$folder/hosts.dns" /root/h
    rm "$folder/ip.txt" "$folder/hosts.dns"
    ddns-ramcache restore || fail "ramcache restore"
    cmp "$folder/ip.txt" /root/s || fail "another state was restored"
    cmp "$folder/hosts.dns" /root/h || fail "another hosts file was restored"
    is "their owner" "$(stat -c %U "$folder/ip.txt")" www-data
    ddns-ramcache status
    # A copy made after a request was killed between its two files.
    sed -i '0,/127.0.[0-9.]* /s//127.0.9.99 /' "$folder/hosts.dns"
    echo "changed" >"$folder/.hosts.dns.pending"
    # As if zones got updates, too.
    printf '# server\n192.0.2.1 gone.example.net\n' >"$folder/.hosts.dns.published"
    ddns-ramcache save || fail "ramcache save"
    rm "$folder/ip.txt" "$folder/hosts.dns" "$folder/.hosts.dns.pending" "$folder/.hosts.dns.published"
    ddns-ramcache restore || fail "ramcache restore"
    is "what zones may still have" "$(cat "$folder/.hosts.dns.published")" "192.0.2.1 gone.example.net"
    is "their mark" "$(cat "$folder/.hosts.dns.publish.pending")" "changed restored"
    rm "$folder/.hosts.dns.published" "$folder/.hosts.dns.publish.pending"
    sleep 1
    is "an update" "$(update carol3.example.net 127.0.1.3)" "carol3.example.net: nochg 127.0.1.3"
    until_is "what is pending" "" pending
    cmp "$folder/hosts.dns" /root/h || fail "the hosts file is not what the state says"
    ddnsctl list --json | grep '"update"' >/root/stamps
}

after_poweroff() {
    units_in_order
    ddnsctl list --json | grep '"update"' | cmp - /root/stamps || fail "a stamp was lost at an orderly shutdown"
    is "check" "$(ddnsctl check)" "all is well: 30 hosts, 3 users"

    # A changed file stays, at an installation and without --purge.
    echo '# mine' >>/etc/dnsmasq.d/ddns-cgi.conf
    is "an installation over a changed file" "$(scripts/install | grep -c '^/etc/dnsmasq.d/ddns-cgi.conf was changed by you, and stays')" 1
    # A unit that failed is forgotten with its file.
    cp -p "$folder/ip.txt" /root/s
    echo '{' >"$folder/ip.txt"
    if systemctl start ddns-cgi-save.service; then fail "a broken state was saved"; fi
    cp -p /root/s "$folder/ip.txt"
    show scripts/install --uninstall || fail "uninstall: $(cat /root/log)"
    is "failed units" "$(systemctl list-units --state=failed --plain --no-legend 'ddns-cgi*')" ""
    [ -e /etc/ddns-cgi/credentials.json ] || fail "the credentials are gone"
    grep -q bob5 "$folder/ip.txt" || fail "the state is gone"
    if mountpoint -q "$folder"; then fail "the RAM disk is still there"; fi
    rm /etc/dnsmasq.d/ddns-cgi.conf
    rm -r /etc/ddns-cgi /var/lib/ddns-cgi /media/data
    unchanged_since /root/before "installing and uninstalling"
    echo "ok: uninstalled, and /etc and /usr are as before"

    scripts/install >/dev/null || fail "install again"
    show scripts/install --uninstall --purge || fail "purge"
    unchanged_since /root/before "installing and purging"
    if [ -e /media/data ] || [ -e /var/lib/ddns-cgi ]; then fail "data stayed"; fi
    echo "ok: purged, and nothing is left"
    from_ip_php
}

# The README's section "From ip.php in five minutes", for files in the article's place.
from_ip_php() {
    rm -f /root/.curlrc
    mkdir -p "$folder"
    cat >"$folder/ip.txt" <<END
{
    "host1.h.lohray.com": {
        "ip": "129.118.243.10",
        "update": "2012-04-20 20:45:59"
    }
}
END
    truncate -s -1 "$folder/ip.txt"
    echo '129.118.243.10 host1.h.lohray.com' >"$folder/hosts.dns"
    chown -R www-data:www-data "$folder"
    echo '{"user1": {"id": ["host1.h.lohray.com"], "key": "secretkey1"}}' >/srv/keys.json
    cp "$folder/ip.txt" /root/ip.txt
    scripts/install >/dev/null || fail "install over an ip.php"
    ddnsctl import --state "$folder/ip.txt" --hosts "$folder/hosts.dns" --credentials /srv/keys.json || fail "import"
    ddnsctl apply || fail "apply"
    is "check" "$(ddnsctl check)" "all is well: 1 host, 1 user"
    cmp "$folder/ip.txt" /root/ip.txt || fail "the state was changed"
    is "the old address" "$(look_up host1.h.lohray.com)" 129.118.243.10
    is "a request" "$(sh -c "$(ddnsctl sign host1.h.lohray.com --curl)")" "good 127.0.0.1"
    until_is "the new address" 127.0.0.1 look_up host1.h.lohray.com
}
