#!/usr/bin/env bash
# The RPM from its installation to its removal, with the scripts in it, in Red Hat's places and as its user
# apache, but with Debian's programs: rpm.sh REPOSITORY PACKAGE
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"
package=$2

ramcache=/media/data/www/ramcache
credentials=/etc/ddns-cgi/credentials.json
ttl=/etc/dnsmasq.d/ddns-cgi-ttl.conf
absent() { [ -e "$1" ] && echo there || echo absent; }
owner() { stat -c '%U:%G %a' "$1"; }
# Debian's rpm does not know which programs are here.
install_package() { rpm --force-debian --nodeps "$@" "$package"; }

# What Red Hat's packages bring.
useradd --system --no-create-home apache
mkdir -p /etc/httpd/conf.d /var/log/apache2 /etc/systemd/system-preset
cat >/etc/httpd/httpd.conf <<'END'
ServerName localhost
Listen 127.0.0.1:80
User apache
Group apache
PidFile /run/httpd.pid
DefaultRuntimeDir /run
ErrorLog /var/log/apache2/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
IncludeOptional /etc/httpd/conf.d/*.conf
END
cat >/etc/dnsmasq.conf <<'END'
conf-dir=/etc/dnsmasq.d,.rpmnew,.rpmsave,.rpmorig
bind-interfaces
listen-address=127.0.0.1
no-resolv
END
echo 'CONFIG_DIR=' >/etc/default/dnsmasq
echo 'disable *' >/etc/systemd/system-preset/99-default.preset

install_package --install || fail "the installation"
is "every file as in the package" "$(rpm --verify --nodeps ddns-cgi)" ""
is "the credentials" "$(owner $credentials) $(cat $credentials)" "root:apache 640 {}"
is "the folder of the state" "$(owner $ramcache)" "apache:apache 755"
is "the folder of the copies" "$(owner /var/lib/ddns-cgi/copies)" "apache:apache 755"
is "the preset keeps the RAM disk off" "$(systemctl is-enabled ddns-cgi-ramcache.service || true)" disabled
is "the time to live" "$(grep ^local-ttl $ttl)" "local-ttl=7"
is "dnsmasq's configuration" "$(dnsmasq --test 2>&1)" "dnsmasq: syntax check OK."

apache2 -f /etc/httpd/httpd.conf -k start
service dnsmasq start >/dev/null
ddnsctl user add alice --host home.example.net >/dev/null
is "the credentials stay the web server's" "$(owner $credentials)" "root:apache 640"
update() { sh -c "$(ddnsctl sign home.example.net --curl --url http://127.0.0.1/ip.php)"; }
is "an update" "$(update)" "good 127.0.0.1"
look_up() { dig +short +time=1 +tries=1 @127.0.0.1 home.example.net; }
until_is "sudo lets apache restart dnsmasq, which serves the name" 127.0.0.1 look_up
until_is "nothing is pending" absent absent $ramcache/.hosts.dns.pending
is "apache owns the state" "$(stat -c %U $ramcache/ip.txt)" apache

# As the unit does.
ddns-ramcache --quiet mount && ddns-ramcache --quiet restore
sleep 1.1 # The next request needs a newer stamp.
is "an update on the RAM disk" "$(update)" "nochg 127.0.0.1"
state=$(cat $ramcache/ip.txt)

# An upgrade, or what is closest to it: the same package again.
echo '# mine' >>/etc/httpd/conf.d/ddns-cgi.conf
rm $ttl
install_package --upgrade --replacepkgs || fail "the upgrade"
is "what the operator wrote" "$(tail -n 1 /etc/httpd/conf.d/ddns-cgi.conf)" "# mine"
is "the time to live that the operator removed" "$(absent $ttl)" absent
is "the RAM disk" "$(findmnt -no FSTYPE $ramcache)" tmpfs
is "the state" "$(cat $ramcache/ip.txt)" "$state"
is "the user" "$(grep -o alice $credentials)" alice

echo local-ttl=30 >$ttl
rpm --force-debian --erase ddns-cgi || fail "the removal"
is "no RAM disk" "$(findmnt -no FSTYPE $ramcache || true)" ""
is "the newest state is on the disk" "$(cat $ramcache/ip.txt)" "$state"
is "the user" "$(grep -o alice $credentials)" alice
is "another time to live" "$(cat $ttl)" "local-ttl=30"
is "what the operator wrote" "$(tail -n 1 /etc/httpd/conf.d/ddns-cgi.conf.rpmsave)" "# mine"
is "the folders" "$(ls -d /usr/lib/systemd/system/dnsmasq.service.d /usr/lib/ddns-cgi /usr/share/doc/ddns-cgi /usr/share/licenses/ddns-cgi 2>/dev/null || true)" ""
is "the rule for sudo" "$(absent /etc/sudoers.d/ddns-cgi)" absent

# With another local-ttl, dnsmasq would not start. What scripts/install enabled stays so.
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -s /usr/lib/systemd/system/ddns-cgi-ramcache.service /etc/systemd/system/multi-user.target.wants
touch /var/lib/ddns-cgi/installed
install_package --install || fail "the second installation"
is "another time to live" "$(cat $ttl)" "local-ttl=30"
is "the state" "$(cat $ramcache/ip.txt)" "$state"
is "the RAM disk" "$(systemctl is-enabled ddns-cgi-ramcache.service)" enabled
is "the list of scripts/install" "$(absent /var/lib/ddns-cgi/installed)" absent
sleep 1.1
is "an update" "$(update)" "nochg 127.0.0.1"

echo local-ttl=7 >$ttl
rpm --force-debian --erase ddns-cgi || fail "the second removal"
is "the package's time to live" "$(absent $ttl)" absent
is "the RAM disk" "$(systemctl is-enabled ddns-cgi-ramcache.service 2>/dev/null || true)" ""
apache2 -f /etc/httpd/httpd.conf -k stop
service dnsmasq stop >/dev/null
echo "the RPM works"
