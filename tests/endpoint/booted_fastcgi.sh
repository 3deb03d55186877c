# For booted.sh: the phases with nginx, lighttpd, Caddy and Apache, which reach ddns-cgi through FastCGI.
# shellcheck shell=bash disable=SC2154 # booted.sh sets folder, breaks sets said

key=/root/burst.key
include='include snippets/ddns-cgi.conf;'
tight=/etc/systemd/system/ddns-cgi.service.d/tight.conf

# Whoever comes here may have had Apache.
only() { # SERVER: of all web servers
    systemctl -q disable --now apache2 nginx lighttpd caddy
    systemctl -q reset-failed
    systemctl -q enable --now "$1"
}
include_in_nginx() {
    sed -i "0,/server_name .*;/s||&\n\t$include|" /etc/nginx/sites-available/default
    nginx -t -q && systemctl reload nginx
    until_is "nginx reads it" 127.0.0.1 curl -s http://127.0.0.1/ip.php/ip
}

# Signs and sends an update from the address that it sets, and prints the reply: HOST ADDRESS [post].
# If tries is set, the client sends it up to so many times while the web server fails.
sign_and_send() {
    local now hash query send=(curl -s --max-time 30 --interface "$2")
    # Before the next try, -f keeps the page of the server out of the reply.
    [ -z "${tries:-}" ] || send+=(-f --retry "$((tries - 1))")
    now=$(date -u '+%Y-%m-%d %H:%M:%S')
    hash=$(printf '%s\n' "$1" "$now" "$(cat $key)" | sha1sum | cut -d ' ' -f 1)
    query="user=${user:-burst}&id=$1&timeST=${now/ /%20}&hash=$hash"
    if [ "${3:-}" = post ]; then
        "${send[@]}" --data "$query" http://127.0.0.1/ip.php
    else
        "${send[@]}" "http://127.0.0.1/ip.php?$query"
    fi || echo "curl: status $?"
}
add_hosts() {
    local arguments=() n
    for n in $(seq 40); do arguments+=(--host "b$n.example.net"); done
    ddnsctl user add burst "${arguments[@]}" >$key || fail "ddnsctl user add"
}
pid() { systemctl show --property MainPID --value ddns-cgi.service; }

with_nginx() {
    rm -f /root/.curlrc
    scripts/install --uninstall --purge >/dev/null || fail "purge"
    only nginx
    snapshot >/root/before-nginx
    scripts/install --dry-run >/root/dry.log
    grep -q '^would: enable the socket of ddns-cgi' /root/dry.log || fail "the dry run says: $(cat /root/dry.log)"
    unchanged_since /root/before-nginx "the dry run"

    # nginx does not take two of these.
    echo 'upstream ddns-cgi { server 127.0.0.1:9; }' >/etc/nginx/conf.d/other.conf
    if show scripts/install; then fail "nginx accepts two upstreams of one name"; fi
    grep -q 'nginx rejects .* removed again: .*duplicate upstream' /root/log || fail "$(cat /root/log)"
    nginx -t -q 2>/dev/null || fail "nginx has what it rejects"
    rm /etc/nginx/conf.d/other.conf

    show scripts/install || fail "scripts/install: $(cat /root/log)"
    is "it is for the server that runs" "$(grep -c '^for the web server nginx; --server chooses another one that is here: apache lighttpd caddy' /root/log)" 1
    is "what is left to do" "$(tail -n 3 /root/log)" "by hand: put the first line into a server block in /etc/nginx/sites-enabled, then run the second:
    $include
    nginx -t && service nginx reload"
    add_hosts
    ddnsctl check >/root/log && fail "check does not know that nginx reads no snippet"
    grep -q '^error: /etc/nginx/snippets/ddns-cgi.conf: nginx does not read it' /root/log || fail "$(cat /root/log)"
    include_in_nginx
    snapshot >/root/installed
    is "the second installation" "$(scripts/install)" "everything is in place already"
    unchanged_since /root/installed "the second installation"
    is "what systemd-analyze verify finds" "$(systemd-analyze verify ddns-cgi.socket ddns-cgi.service 2>&1 | grep ddns-cgi | grep -v "Command 'man" || true)" ""

    is "an update through the socket" "$(sign_and_send b1.example.net 127.0.3.1)" "good 127.0.3.1"
    until_is "sudo and dnsmasq serve it" 127.0.3.1 look_up b1.example.net
    until_is "check" "all is well: 40 hosts (39 never updated), 1 user" ddnsctl check
}

what_the_service_may() {
    local exposure
    exposure() { systemd-analyze security --no-pager ddns-cgi.service | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p'; }
    exposure=$(exposure)
    awk "BEGIN { exit !($exposure < 2.0) }" || fail "exposure: $exposure"
    is "its user" "$(stat -c %U "/proc/$(pid)")" www-data
    is "what sudo may have" "$(sed -n 's/^CapBnd:\t*//p' "/proc/$(pid)/status")" 00000000000000c0

    # The restart gets no socket, and nothing of systemd's environment.
    echo '{"restart": ["/bin/sh", "-c", "ls -l /proc/self/fd >fds; env >env"]}' >/etc/ddns-cgi/config.json
    sed -i 's|>fds|>/media/data/www/ramcache/fds|; s|>env|>/media/data/www/ramcache/env|' /etc/ddns-cgi/config.json
    is "a change" "$(sign_and_send b2.example.net 127.0.3.2)" "good 127.0.3.2"
    until_is "the restart has run" "" pending
    is "sockets of the restart" "$(grep -c -e socket: -e ' 3 ->.*socket' "$folder/fds" || true)" 0
    is "what it knows of systemd" "$(grep -c -e LISTEN -e INVOCATION "$folder/env" || true)" 0
    rm "$folder/fds" "$folder/env"

    # The page's lines for a system that restarts nothing.
    mkdir -p "${tight%/*}"
    awk '/^## / { here = /^## The service/ } /^```/ { block = here && /ini/; next } block' docs/operation.md >$tight
    grep -q '^NoNewPrivileges=yes' $tight || fail "docs/operation.md has no lines for it"
    echo '{"restart": [], "name_server": "none"}' >/etc/ddns-cgi/config.json
    systemctl daemon-reload
    systemctl try-restart ddns-cgi.service
    is "an update without any right" "$(sign_and_send b3.example.net 127.0.3.3)" "good 127.0.3.3"
    is "no new privileges" "$(sed -n 's/^NoNewPrivs:\t*//p' "/proc/$(pid)/status")" 1
    measured "systemd-analyze security: $exposure, without a restart $(exposure)"
    rm -r "${tight%/*}" /etc/ddns-cgi/config.json
    systemctl daemon-reload
    systemctl try-restart ddns-cgi.service
    ddnsctl apply
    until_is "check" "all is well: 40 hosts (37 never updated), 1 user" ddnsctl check
}

what_check_finds_with_nginx() {
    local socket=/run/ddns-cgi/ddns-cgi.sock program=/usr/lib/ddns-cgi/ddns-cgi
    breaks "no socket" "is not there, so no request reaches ddns-cgi" "systemctl stop ddns-cgi.socket ddns-cgi.service" "systemctl enable --now ddns-cgi.socket"
    breaks "a socket that the web server may not use" "www-data may not connect to it" "chgrp root $socket" "chgrp www-data $socket"
    breaks "a program that does not start" "ddns-cgi does not answer there" "systemctl stop ddns-cgi.service; mv $program /root/" "mv /root/ddns-cgi $program"
    until_is "it starts as soon as it can" active systemctl is-active ddns-cgi.service
    breaks "no web server" "no web server answers there" "systemctl stop nginx" "systemctl start nginx"
    breaks "nginx without the snippet" "nginx does not read it" "sed -i '/ddns-cgi.conf/s/include/#&/' /etc/nginx/sites-available/default" "sed -i '/ddns-cgi.conf/s/#//' /etc/nginx/sites-available/default"
    breaks "a folder that the service may not write" "/srv/state: ddns-cgi.service may not write there" "install -d -o www-data /srv/state; echo '{\"state\": \"/srv/state/ip.txt\"}' >/etc/ddns-cgi/config.json" "rm -r /srv/state /etc/ddns-cgi/config.json"
    is "its advice" "$(grep -A 3 'ddns-cgi.service may not write there' <<<"$said" | tail -n 3)" \
        "    Put ReadWritePaths=/srv/state below [Service], then restart it:
    systemctl edit ddns-cgi.service
    systemctl restart ddns-cgi.service"
    until_is "check is green again" "all is well: 40 hosts (37 never updated), 1 user" ddnsctl check

    # nginx serves it under one name only. lighttpd would serve it under every name, but does not run.
    local site=/etc/nginx/sites-available/default
    cp -p $site /root/site
    sed -i 's/ default_server//; s/server_name _;/server_name ns.example.net;/' $site
    echo 'server { listen 80 default_server; return 404; }' >/etc/nginx/conf.d/first.conf
    systemctl reload nginx
    until_is "the answer without the name" 404 curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/ip.php/ip
    show scripts/install --server lighttpd || fail "install for lighttpd, too"
    is "what is left to do" "$(tail -n 2 /root/log)" "by hand: start lighttpd, which does not run:
    service lighttpd start"
    is "check" "$(ddnsctl check)" "all is well: 40 hosts (37 never updated), 1 user"
    cp -p /root/site $site
    rm /etc/nginx/conf.d/first.conf
    systemctl reload nginx
    until_is "the answer" 127.0.0.1 curl -s http://127.0.0.1/ip.php/ip
}

# ROUNDS COMMAND...: changes each host once a round, while the command is repeated. Every reply goes to
# /root/burst, and the number of repetitions to /root/repeated.
burst() {
    local rounds=$1 worker workers=() repeater
    shift
    rm -f /root/burst.*.log
    for worker in $(seq 8); do
        (
            for round in $(seq "$rounds"); do
                sleep 1.1
                for n in $(seq "$worker" 8 40); do
                    # Half of the hosts: nginx sends such a request only once.
                    how=$([ $((n % 2)) = 0 ] || echo post)
                    echo "b$n.example.net 127.1.$round.$n $(sign_and_send "b$n.example.net" "127.1.$round.$n" "$how" | head -n 1)"
                done
            done >"/root/burst.$worker.log"
        ) &
        workers+=($!)
    done
    (
        n=0
        while [ ! -e /root/enough ]; do
            sleep 0.3
            "$@" 2>/dev/null && n=$((n + 1)) && echo $n >/root/repeated
        done
    ) &
    repeater=$!
    wait "${workers[@]}"
    touch /root/enough
    wait $repeater
    rm /root/enough
    cat /root/burst.*.log >/root/burst
}
# The last change of each host that got a reply: "HOST ADDRESS".
acknowledged() { awk '$3 ~ /^(good|nochg)$/ { last[$1] = $2 } END { for (host in last) print host, last[host] }' /root/burst | sort; }
stored() { ddnsctl list --json | sed -n -e 's/.*"host": "\(.*\)".*/\1/p' -e 's/^ *"\([0-9.]*\)",*$/\1/p' | paste -d ' ' - - | sort; }
served() {
    local host address
    while read -r host address; do
        [ "$(look_up "$host")" = "$address" ] || { echo "$host: $(look_up "$host") instead of $address" && return; }
    done < <(stored)
    echo all
}

stop_in_a_burst() {
    local log=/var/log/nginx/access.log lost
    : >$log
    tries=2 burst 6 systemctl stop ddns-cgi.service
    lost=$(grep -c '" 502 ' $log || true)
    # A request that arrives as its connection ends. nginx sends a POST only once.
    [ "$lost" -le 2 ] || fail "$lost requests got 502"
    is "replies" "$(wc -l </root/burst)" 240
    grep -v ' good 127.1' /root/burst && fail "a client saw an error"
    acknowledged >/root/acknowledged
    stored | diff - /root/acknowledged || fail "a change is lost"
    until_is "dnsmasq serves all" all served
    [ "$(cat /root/repeated)" -ge 5 ] || fail "it was stopped only $(cat /root/repeated) times"
    measured "240 changes, ddns-cgi stopped $(cat /root/repeated) times meanwhile: each got its reply ($lost at the second try), and is stored"

    # The second restart has to wait for 3 seconds.
    is "a change" "$(sign_and_send b1.example.net 127.0.4.1)" "good 127.0.4.1"
    is "a second change" "$(sign_and_send b2.example.net 127.0.4.2)" "good 127.0.4.2"
    systemctl stop ddns-cgi.service 2>/dev/null
    is "after the stop, ddns-cgi is" "$(systemctl is-active ddns-cgi.service || true)" inactive
    until_is "the restart outlives it" 127.0.4.2 look_up b2.example.net
}
# Each of them lives for a moment.
kill_it() { sleep 1.2 && systemctl kill --kill-whom=main --signal=KILL ddns-cgi.service; }
kill_in_a_burst() {
    burst 6 kill_it
    [ "$(cat /root/repeated)" -ge 5 ] || fail "it was killed only $(cat /root/repeated) times"
    ddnsctl list >/dev/null || fail "the state is broken"
    # A change without a reply may be stored or not, and one whose reply got lost came last.
    local host address lost=0 last unanswered
    while read -r host address; do
        last=$(stored | sed -n "s/^$host //p")
        if [ "$last" != "$address" ]; then
            unanswered=$(awk -v host="$host" '$1 == host && $3 != "good" { print $2 }' /root/burst)
            grep -qxF "$last" <<<"$unanswered" || lost=$((lost + 1))
        fi
    done < <(acknowledged)
    is "changes that are lost" $lost 0
    until_is "the next request" "good 127.0.4.3" sign_and_send b3.example.net 127.0.4.3
    until_is "dnsmasq serves all" all served
    measured "ddns-cgi killed $(cat /root/repeated) times in 240 changes: $(acknowledged | wc -l) hosts with a reply, none lost; $(grep -vc ' good ' /root/burst || true) requests without one"
    until_is "check" "all is well: 40 hosts, 1 user" ddnsctl check
}
idle() {
    local start
    sleep 1.1
    is "an update" "$(sign_and_send b4.example.net 127.0.4.4)" "good 127.0.4.4"
    start=$(date +%s)
    is "ddns-cgi is" "$(systemctl is-active ddns-cgi.service)" active
    sleep 50
    is "after 50 seconds, ddns-cgi is" "$(systemctl is-active ddns-cgi.service)" active
    until_is "then it ends" inactive systemctl is-active ddns-cgi.service
    measured "without a request, ddns-cgi ended after $(($(date +%s) - start)) s"
    is "its processes" "$(pgrep -c ddns-cgi || true)" 0
    is "the next update" "$(sign_and_send b4.example.net 127.0.4.5)" "good 127.0.4.5"
    until_is "dnsmasq serves it" 127.0.4.5 look_up b4.example.net
    until_is "check" "all is well: 40 hosts, 1 user" ddnsctl check
}

fastcgi() {
    with_nginx
    what_the_service_may
    what_check_finds_with_nginx
    stop_in_a_burst
    kill_in_a_burst
    idle
}

# No log of another web server is here, and fail2ban rejects a jail without one.
only_caddy_with_a_jail_of_another() {
    local own=/etc/fail2ban/jail.d/own.local
    mkdir -p /root/logs
    mv /var/log/{apache2,nginx,lighttpd} /root/logs/
    printf '[ddns-cgi]\nenabled = true\n' >$own
    show scripts/install --server caddy || fail "install for caddy"
    grep -q '^by hand: fail2ban rejects .* any log file for ddns-cgi jail' /root/log || fail "$(cat /root/log)"
    [ ! -e /etc/fail2ban/jail.d/ddns-cgi.local ] || fail "the jail that fail2ban rejects is still there"
    rm $own
}
failures() { fail2ban-client status "$1" | sed -n 's/.*Total failed:[^0-9]*//p'; } # JAIL
fail2ban_sees() { # JAIL
    systemctl start fail2ban || fail "fail2ban does not start"
    until_is "fail2ban's jail" 0 failures "$1"
    # As a client whose clock is right and whose key is wrong.
    echo wrong >/root/wrong.key
    is "a wrong key" "$(key=/root/wrong.key && sign_and_send b6.example.net 127.0.6.7)" badauth
    until_is "fail2ban sees it" 1 failures "$1"
    systemctl stop fail2ban
}

# After a boot.
fastcgi_again() {
    is "units that wait for each other" "$(journalctl --no-pager -b | grep -c 'ordering cycle' || true)" 0
    mountpoint -q "$folder" || fail "no RAM disk"
    is "the first update" "$(sign_and_send b5.example.net 127.0.5.5)" "good 127.0.5.5"
    until_is "dnsmasq serves it" 127.0.5.5 look_up b5.example.net
    until_is "check" "all is well: 40 hosts, 1 user" ddnsctl check

    # Without the snippet, nginx would not start any more.
    if show scripts/install --uninstall; then fail "the snippet went away while nginx reads it"; fi
    grep -q 'nginx still reads /etc/nginx/snippets/ddns-cgi.conf' /root/log || fail "$(cat /root/log)"
    sed -i '/ddns-cgi.conf/d' /etc/nginx/sites-available/default
    show scripts/install --uninstall --purge || fail "purge"
    unchanged_since /root/before-nginx "installing and purging"
    if [ -e /run/ddns-cgi/ddns-cgi.sock ] || pgrep ddns-cgi; then fail "the socket or a process stayed"; fi
    echo "ok: purged, and nothing is left"

    local server jail
    for server in lighttpd caddy apache; do
        only ${server/%apache/apache2}
        snapshot >/root/before
        jail=ddns-cgi
        if [ $server = apache ]; then
            scripts/install --server apache >/dev/null || fail "install for CGI"
            echo '# mine' >>/etc/apache2/conf-available/ddns-cgi.conf
        elif [ $server = caddy ]; then
            jail=ddns-cgi-journal
            only_caddy_with_a_jail_of_another
        fi
        show scripts/install --server ${server/%apache/apache-fastcgi} || fail "install for $server"
        if [ $server = apache ]; then
            is "the file for CGI" "$(grep -c '/ddns-cgi.conf was changed by you, and stays, disabled' /root/log)" 1
            if a2query -q -c ddns-cgi; then fail "Apache serves it in two ways"; fi
        fi
        if [ $server = caddy ]; then
            is "what is left to do" "$(tail -n 3 /root/log)" "by hand: put the first line into a site block in /etc/caddy/Caddyfile, then run the second:
    import ddns-cgi.caddy
    service caddy reload"
            sed -i 's/^:80 {/&\n\timport ddns-cgi.caddy/' /etc/caddy/Caddyfile
            systemctl reload caddy
        fi
        is "the second installation" "$(scripts/install)" "everything is in place already"
        add_hosts
        is "an update through $server" "$(sign_and_send b6.example.net 127.0.6.6)" "good 127.0.6.6"
        until_is "dnsmasq serves it" 127.0.6.6 look_up b6.example.net
        until_is "check" "all is well: 40 hosts (39 never updated), 1 user" ddnsctl check
        fail2ban_sees $jail
        if [ $server = caddy ]; then
            journalctl -u ddns-cgi -o short-iso | grep -q ' ddns-cgi\[[0-9]*]: ddns-cgi: badauth ' || fail "the journal has another name"
            mv /root/logs/* /var/log/
        fi
        [ $server != apache ] || rm /etc/apache2/conf-available/ddns-cgi.conf
        [ $server != caddy ] || sed -i '/import ddns-cgi.caddy/d' /etc/caddy/Caddyfile
        show scripts/install --uninstall --purge || fail "purge"
        # lighttpd takes a moment to reload.
        until_is "the web server is" active systemctl is-active ${server/%apache/apache2}
        unchanged_since /root/before "installing for $server and purging"
        echo "ok: $server"
    done
}
