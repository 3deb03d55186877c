#!/usr/bin/env bash
# Makes `ddnsctl check` say what it has to say about web servers, the clock and odd answers, in the
# namespaces of tests/endpoint/findings.rs: findings.sh REPOSITORY
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

ddnsctl() { /repository/dist/ddnsctl "$@"; }
check() { { ddnsctl check 2>&1 || true; } | sed -E '/^[0-9]+ (error|warning)/d'; }
finds() { # WHAT LINE...: check prints these lines and no other
    local what=$1
    shift
    is "$what" "$(check)" "$(printf '%s\n' "$@")"
}
green="all is well: 1 host, 1 user"
is_green() { until_is "$1: check is green" "$green" check; }

# The files of ddns-cgi. Nothing restarts, and no name server is asked.
ramcache=/media/data/www/ramcache
install -d -o www-data -g www-data "$ramcache"
install -d /etc/ddns-cgi /usr/lib/ddns-cgi
configure() { # [FURTHER SETTINGS]
    echo '{ "restart": [], "name_server": "none" '"${1:-}"' }' >/etc/ddns-cgi/config.json
}
configure
echo '{"one.example.net": {"ip": "198.51.100.1"}}' | install -o www-data -g www-data /dev/stdin "$ramcache/ip.txt"
echo '{"alice": {"id": ["one.example.net"], "key": "k"}}' |
    install -g www-data -m 640 /dev/stdin /etc/ddns-cgi/credentials.json
ddnsctl apply
is_green "without a web server"

# --- Web servers -------------------------------------------------------------------------------------

url=http://127.0.0.1/ip.php/ip
install -m 755 dist/ddns-cgi /usr/lib/ddns-cgi/
cp apache/ddns-cgi.conf /etc/apache2/conf-available/
prepare_apache mpm_event cgid
echo 'ServerName localhost' >/etc/apache2/conf-enabled/name.conf
nobody=("warning: $url: no web server answers there: Connection refused (os error 111)"
    "    Start the web server, unless it listens at other addresses only.")
finds "an Apache that is not set up and does not run" \
    "error: /etc/apache2/conf-available/ddns-cgi.conf: Apache does not read it" \
    "    a2enconf ddns-cgi" "    apachectl graceful" "${nobody[@]}"
{ a2enconf ddns-cgi && apachectl graceful; } >/dev/null 2>&1
is_green "after the advice"

mv /usr/lib/ddns-cgi/ddns-cgi /srv/
log="    The error log of the web server says why."
finds "a program that is not there" "error: $url: is answered with HTTP 404" "$log"
touch /usr/lib/ddns-cgi/ddns-cgi
finds "a program that cannot run" "error: $url: is answered with HTTP 500" "$log"
mv /srv/ddns-cgi /usr/lib/ddns-cgi/
a2dismod -q -f cgid >/dev/null
service apache2 restart >/dev/null
until_is "no CGI" 404 curl -s -o /dev/null -w '%{http_code}' "$url"
configure ', "url": "http://127.0.0.1/ip.php"'
# The URL that clients are told is right.
finds "an Apache without CGI" "error: $url: is answered with HTTP 404" \
    "    Apache has no module that runs CGI programs:" "    a2enmod cgid" "    service apache2 restart"
{ a2enmod cgid && service apache2 restart; } >/dev/null
until_is "the address" 127.0.0.1 curl -s "$url"
is_green "with CGI"
configure
# A file is read in the order of the names: the first alias counts.
echo 'AliasMatch ^/ip[.]php /srv/old.html' >/etc/apache2/conf-enabled/an-alias.conf
echo '<Directory /srv>
Require all granted
</Directory>' >>/etc/apache2/conf-enabled/an-alias.conf
echo '<p>It works!' >/srv/old.html
apachectl graceful
until_is "another page" '<p>It works!' curl -s "$url"
finds "another page at the path" \
    "error: $url: is answered with something other than an address: <p>It works!" \
    "    Find out which program serves /ip.php."
rm /etc/apache2/conf-enabled/an-alias.conf
apachectl graceful
until_is "the address" 127.0.0.1 curl -s "$url"

# The rule of an earlier version.
sed -i '/#<If /,/#<.If>/ { s/#//; /Auth/d; /valid-user/d }' /etc/apache2/conf-available/ddns-cgi.conf
configure ', "status_page": true, "status_for": ["users"]'
file=/etc/apache2/conf-available/ddns-cgi.conf
finds "an Apache that lets fewer in than the configuration" \
    "warning: $file: shows the status page only to this machine, though \"status_for\" lists others" \
    "    Remove the section about /status from it, then run:" "    apachectl graceful"
sed -i '/<If .*status/,/<.If>/d' $file
is_green "without the section"
configure
service apache2 stop >/dev/null
rm $file /etc/apache2/conf-enabled/ddns-cgi.conf

# --- The servers that reach ddns-cgi through its socket --------------------------------------------------

socket=/run/ddns-cgi/ddns-cgi.sock
cp nginx/ddns-cgi.conf /etc/nginx/snippets/
cp nginx/ddns-cgi-upstream.conf /etc/nginx/conf.d/ddns-cgi.conf
cp lighttpd/ddns-cgi.conf /etc/lighttpd/conf-available/15-ddns-cgi.conf
cp caddy/ddns-cgi.caddy /etc/caddy/
cp apache/ddns-cgi-fastcgi.conf /etc/apache2/conf-available/
finds "servers that do not read their files" \
    "error: /etc/apache2/conf-available/ddns-cgi-fastcgi.conf: Apache does not read it" \
    "    a2enmod proxy_fcgi" "    a2enconf ddns-cgi-fastcgi" "    apachectl graceful" \
    "error: /etc/nginx/snippets/ddns-cgi.conf: nginx does not read it" \
    '    Put the line "include snippets/ddns-cgi.conf;" into a server block, then run:' \
    "    nginx -t && systemctl reload nginx" \
    "error: /etc/lighttpd/conf-available/15-ddns-cgi.conf: lighttpd does not read it" \
    "    lighty-enable-mod ddns-cgi" "    systemctl reload lighttpd" \
    "error: /etc/caddy/ddns-cgi.caddy: Caddy does not read it" \
    '    Put the line "import ddns-cgi.caddy" into a site block of /etc/caddy/Caddyfile, then run:' \
    "    systemctl reload caddy" \
    "error: $socket: is not there, so no request reaches ddns-cgi" \
    "    Without systemd, see docs/web-servers.md. With it, run:" \
    "    systemctl enable --now ddns-cgi.socket" "${nobody[@]}"
rm /etc/nginx/conf.d/ddns-cgi.conf /etc/nginx/snippets/ddns-cgi.conf /etc/caddy/ddns-cgi.caddy
rm /etc/apache2/conf-available/ddns-cgi-fastcgi.conf
lighty-enable-mod ddns-cgi >/dev/null

serve() { # PROGRAM: starts it at the socket
    install -d /run/ddns-cgi
    rm -f $socket
    spawn-fcgi -s $socket -u www-data -g www-data -M 660 -P /run/ddns-cgi.pid \
        "$1" >/dev/null
    chown root:www-data $socket
}
served() { # ends it
    kill "$(cat /run/ddns-cgi.pid)"
    while [ -d "/proc/$(cat /run/ddns-cgi.pid)" ]; do sleep 0.05; done
}
service lighttpd start >/dev/null
serve /usr/lib/ddns-cgi/ddns-cgi
chgrp root $socket
finds "a socket that the web server may not use" \
    "error: $socket: www-data may not connect to it" \
    "    Put SocketGroup=www-data below [Socket], then restart it:" \
    "    systemctl edit ddns-cgi.socket" "    systemctl stop ddns-cgi.service" \
    "    systemctl restart ddns-cgi.socket" \
    "error: $url: is answered with HTTP 503" "$log"
chgrp www-data $socket
until_is "the address" 127.0.0.1 curl -s "$url"
is_green "with the right group"
served
journal="    journalctl --unit ddns-cgi.service"
not_served=("error: $url: is answered with HTTP 503" "$log")
finds "a socket without a program" \
    "error: $socket: ddns-cgi does not answer there: Connection refused (os error 111)" "$journal" "${not_served[@]}"
serve /usr/sbin/fcgiwrap
until_is "another program at the socket" 403 curl -s -o /dev/null -w '%{http_code}' "$url"
finds "another program at the socket" \
    "error: $socket: answers with something other than an address: Status: 403 Forbidden" "$journal" \
    "error: $url: is answered with HTTP 403" "$log"
served
service lighttpd stop >/dev/null
rm $socket /etc/lighttpd/conf-available/15-ddns-cgi.conf /etc/lighttpd/conf-enabled/15-ddns-cgi.conf
is_green "without web servers"

# --- The clock -------------------------------------------------------------------------------------------

# systemd's service for the clock, without the rest of systemd. It tells what the kernel knows of the clock.
rm -f /.dockerenv
mkdir -p /run/dbus /run/systemd/system
dbus-daemon --system --nopidfile --fork
SYSTEMD_TIMEDATED_NTP_SERVICES='' /lib/systemd/systemd-timedated &
is_synchronized() { timedatectl show --property=NTPSynchronized --value | grep -x -e yes -e no; }
until_is "what the kernel knows" known eval 'is_synchronized >/dev/null && echo known'
if [ "$(is_synchronized)" = no ]; then
    finds "a clock that nobody sets" \
        "warning: clock: is not synchronized; clients whose clocks differ by more than the window are refused" \
        "    Install a service that sets it, such as systemd-timesyncd or chrony:" \
        "    apt-get install systemd-timesyncd"
else
    is_green "with a clock that is set"
fi
kill %% # the service
rmdir /run/systemd/system
is_green "where nobody tells"

# --- Answers over TCP ------------------------------------------------------------------------------------

# A name server whose answers over UDP are truncated, and which answers another question over TCP.
cat >/srv/server.py <<'END'
import socket
import sys
import threading
address = ("127.0.0.1", 53)
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(address)
def serve_tcp():
    tcp = socket.create_server(address)
    while True:
        stream, _ = tcp.accept()
        query = stream.recv(4096)[2:]
        answer = query[:2] + b"\x80\x00" + query[4:].replace(b"one", b"two")
        stream.sendall(len(answer).to_bytes(2) + answer)
if sys.argv[1] == "tcp":
    threading.Thread(target=serve_tcp, daemon=True).start()
while True:
    query, client = udp.recvfrom(4096)
    udp.sendto(query[:2] + b"\x82\x00" + query[4:], client)
END
configure
sed -i 's/"name_server": "none"/"name_server": "127.0.0.1:53"/' /etc/ddns-cgi/config.json
for way in udp tcp; do
    python3 /srv/server.py $way &
    until_is "the server listens" 1 eval 'ss -Hlun "sport = 53" | wc -l'
    [ $way = udp ] || until_is "also over TCP" 1 eval 'ss -Hltn "sport = 53" | wc -l'
    case $way in
        udp) why="over TCP: Connection refused (os error 111)" ;;
        tcp) why="over TCP: its answer is to another question" ;;
    esac
    finds "a server that says this: $why" \
        "error: dnsmasq: no answer from 127.0.0.1:53: $why" "    See whether it runs, and whether its settings are right:
    service dnsmasq status
    dnsmasq --test -7 /etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new
    service dnsmasq restart"
    kill %%
    wait %% 2>/dev/null || true
done
echo "check prints every sentence"
