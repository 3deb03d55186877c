#!/usr/bin/env bash
# Installs ip-update with one command, lets it run with its usual files, and removes it: on the installed
# system, in the namespaces of tests/endpoint/client.rs: client_install.sh REPOSITORY
#
# No systemd runs here; tests/endpoint/booted.sh has one.
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

prepare_apache mpm_event
echo 'ServerName ns.example.net' >/etc/apache2/conf-enabled/name.conf
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >/etc/dnsmasq.d/test.conf
scripts/install --no-ramcache --url http://127.0.0.1/ip.php >/dev/null || fail "scripts/install"
key=$(ddnsctl user add alice --host home.example.net --host nas.example.net)

settings() { # HOST: those of alice, for this host
    printf '%s\n' '# ip-update' url=http://127.0.0.1/ip.php user=alice "key=$key" protocol=2 "host=$1" tries=1
}
says() { # STATUS EXPECTED COMMAND...: the command says that, and nothing else
    local status=0 expected=$2 wanted=$1
    shift 2
    "$@" >/tmp/said 2>&1 || status=$?
    is "what $* says" "$(cat /tmp/said)" "$expected"
    is "its status" "$status" "$wanted"
}
all() { find /etc /usr/local /var/lib -name '*ip-update*' | sort; }
is "what there is before" "$(all)" ""

# A fresh machine has this one file, and the settings come from the server.
mkdir /root/fresh
cp scripts/ip-update /root/fresh
cd /root/fresh

says 2 "ip-update: there is no /etc/ip-update.conf: name a file of settings, or - for standard input" sh ip-update --install
says 2 "ip-update: the new /etc/ip-update.conf: user= is missing" sh ip-update --install - <<<"url=http://127.0.0.1/ip.php"
says 2 "ip-update: cannot read /nowhere" sh ip-update --install /nowhere
says 2 "ip-update: --install copies this script: save it as a file, and run sh ip-update --install" \
    sh -c "sh -s -- --install - <$PWD/ip-update"
chmod 755 /root
as_other() { setpriv --reuid=www-data --regid=www-data --clear-groups "$@"; }
says 2 "ip-update: --install needs root" as_other sh ip-update --install
says 2 "ip-update: --uninstall needs root" as_other sh ip-update --uninstall
ends() { # PART COMMAND...: the last line that the command says has this part
    local part=$1 status=0
    shift
    "$@" >/tmp/said 2>&1 || status=$?
    is "the status of $*" "$status" 2
    tail -n 1 /tmp/said | grep -qF "$part" || fail "$* says: $(cat /tmp/said)"
}
ends "ip-update: cannot write /proc/x/usr/local/bin/ip-update" env DESTDIR=/proc/x sh ip-update --install
settings home.example.net >/tmp/settings
ends "ip-update: cannot write /proc/x/etc/ip-update.conf.new" env DESTDIR=/proc/x sh ip-update --install /tmp/settings
is "what failures leave behind" "$(all)" ""

# --- cron with /etc/cron.d, as on Debian.

mkdir -p /etc/cron.d
settings home.example.net | sh ip-update --install - >/tmp/said || fail "the installation: $(cat /tmp/said)"
is "what it says" "$(cat /tmp/said)" "installed /usr/local/bin/ip-update, which runs every 15 minutes by /etc/cron.d/ip-update with the settings in /etc/ip-update.conf
ip-update -v says:
sends to http://127.0.0.1/ip.php: user=alice id=home.example.net, signed with the key
home.example.net: good 127.0.0.1"
is "the files" "$(all)" "/etc/cron.d/ip-update
/etc/ip-update.conf
/usr/local/bin/ip-update"
is "cron's line" "$(cat /etc/cron.d/ip-update)" "*/15 * * * * root /usr/local/bin/ip-update -r 60"
is "modes" "$(stat -c %a /etc/ip-update.conf /usr/local/bin/ip-update /etc/cron.d/ip-update | paste -sd ' ')" "600 755 644"
is "the settings" "$(cat /etc/ip-update.conf)" "$(settings home.example.net)"
cmp ip-update /usr/local/bin/ip-update || fail "another script"

# Again, with the same settings or without any.
sleep 1.1
settings home.example.net | sh ip-update --install - >/dev/null || fail "the second installation"
sleep 1.1
/usr/local/bin/ip-update --install | tail -n 1 >/tmp/said || fail "the third installation"
is "the third time" "$(cat /tmp/said)" "home.example.net: nochg 127.0.0.1"
is "no old settings" "$(find /etc -name 'ip-update.conf.*')" ""

# Those of another user or server stay.
for other in user=bob url=http://ns.example.net/ip.php; do
    settings home.example.net | sed "s|^${other%%=*}=.*|$other|" >/tmp/others
    says 2 "ip-update: /etc/ip-update.conf has another url= or user=, and stays; nothing is installed. To report to both, write the new settings to /etc/ip-update.d/NAME.conf (mode 0600). To replace it, remove it first: rm /etc/ip-update.conf" \
        sh ip-update --install /tmp/others
    is "the settings" "$(cat /etc/ip-update.conf)" "$(settings home.example.net)"
done

# --- As in README.md, without the network: once, twice, after other hosts, and after a new key.

from_server() { # EXPECTED...: installs the settings of the server, and the client says that
    sleep 1.1
    ddnsctl user config alice --for ip-update | env -i PATH="$PATH" sh ip-update --install - >/tmp/said 2>&1 ||
        fail "the installation: $(cat /tmp/said)"
    is "what it says" "$(sed '/^installed /d; /^ip-update -v says:/d; /^sends to /d' /tmp/said)" "$(printf '%s\n' "$@")"
    is "modes" "$(find /etc -name 'ip-update.conf*' -printf '%f %m\n' | sort)" "$modes"
}
both='home.example.net: nochg 127.0.0.1
nas.example.net: nochg 127.0.0.1'
updated="updated the settings in /etc/ip-update.conf; the old ones are in /etc/ip-update.conf.old"
modes='ip-update.conf 600'
rm /etc/ip-update.conf
from_server "home.example.net: nochg 127.0.0.1" "nas.example.net: good 127.0.0.1"
ddnsctl user config alice --for ip-update | cmp - /etc/ip-update.conf || fail "other settings"
from_server "$both"

# What only the client knows stays, in its place, and so does a file from Windows what it is.
printf '# mine\r\nuser=alice\r\nurl=http://127.0.0.1/ip.php\r\n\n# x = y\nhost=old.example.net\nkey=wrong\nhost=older.example.net\n#key=older\ntimeout=9\ntries=1' >/etc/ip-update.conf
cp /etc/ip-update.conf /tmp/mine
modes='ip-update.conf 600
ip-update.conf.old 600'
from_server "$updated" "$both"
cmp /tmp/mine /etc/ip-update.conf.old || fail "the old settings are lost"
is "the settings" "$(cat /etc/ip-update.conf)" "$(printf '%s\n' $'# mine\r' user=alice url=http://127.0.0.1/ip.php "" "# x = y" \
    host=home.example.net host=nas.example.net "key=$key" "#key=older" timeout=9 tries=1 protocol=2)"
from_server "$both"
cmp /tmp/mine /etc/ip-update.conf.old || fail "the same settings are no reason for another copy"

# After a new key, the client is refused, says what to do, and does it.
ddnsctl user rekey alice >/tmp/key 2>/dev/null
sleep 1.1
ip-update >/tmp/said 2>&1 && fail "the old key works"
grep -qF "on the server: ddnsctl user config alice --for ip-update" /tmp/said || fail "it says $(cat /tmp/said)"
ip-update && fail "no wait"
from_server "$updated" "$both"
grep -qx "key=$(cat /tmp/key)" /etc/ip-update.conf || fail "the new key is missing"
grep -qx "key=$key" /etc/ip-update.conf.old || fail "the old key is missing"
ip-update || fail "the client is still refused"
from_server "$both"
# A server that has no settings gives the client none.
{ ddnsctl user config bob --for ip-update 2>/dev/null || true; } | ends "the new /etc/ip-update.conf: url= is missing" sh ip-update --install -
grep -qx "key=$(cat /tmp/key)" /etc/ip-update.conf || fail "the key is gone"
key=$(cat /tmp/key)
rm /etc/ip-update.conf*
settings home.example.net | sh ip-update --install - >/dev/null || fail "the installation"
settings nas.example.net >/tmp/others

# --- All usual files of settings, and the usual memory.

mkdir /etc/ip-update.d
sleep 1.1
install -m 600 /tmp/others /etc/ip-update.d/nas.conf
is "both" "$(ip-update -v | sed '/ sends to /d; /: sends to /d')" "127.0.0.1: home.example.net: nochg 127.0.0.1
127.0.0.1: nas.example.net: nochg 127.0.0.1"
sleep 1.1
sed -i 's/^key=.*/key=wrong/' /etc/ip-update.d/nas.conf
says 3 "ip-update: 127.0.0.1: nas.example.net: refused: unknown user or wrong key; tries again in 15 min, or after an edit of /etc/ip-update.d/nas.conf. Compare user=, key= and protocol= with what this prints on the server: ddnsctl user config alice --for ip-update" ip-update
is "the memory" "$(find /var/lib/ip-update -type f -printf '%m %p\n') $(stat -c %a /var/lib/ip-update)" \
    "600 /var/lib/ip-update/%etc%ip-update.d%nas.conf 700"
sleep 1.1
says 3 "" ip-update
mv /etc/ip-update.conf /root
sleep 1.1
says 3 "" ip-update
rm /etc/ip-update.d/nas.conf
says 2 "ip-update: cannot find /etc/ip-update.conf: write url=, user=, key= and host= lines into it, and let only its owner have access (mode 0600)" ip-update
mv /root/ip-update.conf /etc

removed="removed /usr/local/bin/ip-update and what runs it
the settings stay, with the key; to remove them: rm -r /etc/ip-update.conf /etc/ip-update.d"
says 0 "$removed" ip-update --uninstall
is "what stays" "$(all)" "/etc/ip-update.conf
/etc/ip-update.d"
says 0 "$removed" sh ip-update --uninstall

# --- cron with /etc/crontabs, as on OpenWrt.

rmdir /etc/ip-update.d
mv /etc/cron.d /root/cron.d
mkdir /etc/crontabs
printf '# mine, beside ip-update\n0 4 * * * reboot\n' >/etc/crontabs/root
sh ip-update --install >/tmp/said || fail "the installation: $(cat /tmp/said)"
grep -q 'every 15 minutes by /etc/crontabs/root with' /tmp/said || fail "it says $(cat /tmp/said)"
sleep 1.1
sh ip-update --install >/dev/null || fail "the second installation"
is "the jobs" "$(cat /etc/crontabs/root)" "# mine, beside ip-update
0 4 * * * reboot
*/15 * * * * /usr/local/bin/ip-update -r 60"
is "their mode" "$(stat -c %a /etc/crontabs/root)" 600
sh ip-update --uninstall >/dev/null
is "the jobs that stay" "$(cat /etc/crontabs/root)" "# mine, beside ip-update
0 4 * * * reboot"
rm -r /etc/crontabs
mkdir -p /run/systemd/system
ends "ip-update: systemd does not start ip-update.timer" sh ip-update --install
sh ip-update --uninstall >/dev/null
rmdir /run/systemd/system
sleep 1.1
says 2 "ip-update: installed /usr/local/bin/ip-update, but neither systemd nor cron is here: run it every 15 minutes" sh ip-update --install
sh ip-update --uninstall >/dev/null
mv /root/cron.d /etc/cron.d

# Its last words remove what it left.
cp -p /etc/ip-update.conf /etc/ip-update.conf.old
sh ip-update --uninstall >/tmp/said
sh -c "$(sed -n 's/.* to remove them: //p' /tmp/said)" || fail "the last words: $(cat /tmp/said)"
is "what stays" "$(all)" ""
says 0 "removed /usr/local/bin/ip-update and what runs it" sh ip-update --uninstall

# --- For a package, which has no settings.

says 0 "installed /tmp/package/usr/bin/ip-update, which runs every 15 minutes by a systemd timer with the settings in /etc/ip-update.conf" \
    env DESTDIR=/tmp/package PREFIX=/usr sh ip-update --install
units=/usr/lib/systemd/system
is "its files" "$(cd /tmp/package && find . -type f | sort)" "./usr/bin/ip-update
.$units/ip-update.service
.$units/ip-update.timer"
is "this system" "$(all)" ""
cp -a /tmp/package/. /
is "what systemd-analyze finds" "$(systemd-analyze verify $units/ip-update.service $units/ip-update.timer 2>&1 | grep ip-update || true)" ""
is "the program in the unit" "$(sed -n 's/^ExecStart=//p' $units/ip-update.service)" /usr/bin/ip-update
DESTDIR=/tmp/package PREFIX=/usr sh ip-update --uninstall >/dev/null
is "its files" "$(find /tmp/package -type f)" ""

service apache2 stop >/dev/null
service dnsmasq stop >/dev/null
echo "the client is installed and removed"
