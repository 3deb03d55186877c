#!/usr/bin/env bash
# Installs on the real system, on a terminal, in a pipe, and as somebody else, in the namespaces of
# tests/endpoint/install.rs: install.sh REPOSITORY
set -Eeuo pipefail
# shellcheck source=tests/endpoint/overlay.sh
. "${0%/*}/overlay.sh"

prepare_apache mpm_event
printf 'bind-interfaces\nlisten-address=127.0.0.1\nno-resolv\n' >/etc/dnsmasq.d/test.conf
hostname ns
echo '127.0.0.1 ns.example.net ns localhost' >/etc/hosts
config=/etc/ddns-cgi/config.json
question='Where will clients reach this server'
on_terminal() { # INPUT COMMAND
    printf '%b' "$1" | script -qec "$2" /dev/null | tr -d '\r'
}

is "as another user" "$(setpriv --reuid=33 --regid=33 --clear-groups scripts/install 2>&1)" "scripts/install: run it as root"
is "the dry run as another user" "$(setpriv --reuid=33 --regid=33 --clear-groups scripts/install --dry-run | grep -cvE '^(would: |for the web server )' || true)" 0
on_terminal '' 'scripts/install --dry-run' >/tmp/dry
is "a dry run does not ask" "$(grep -c "^would: ask where" /tmp/dry)" 1

# A package whose program is missing. apt knows no other source than what is installed.
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
mv /usr/bin/sudo /tmp/sudo
# In a pipe, nobody can answer. A reader that leaves early does no harm.
scripts/install --dry-run --no-ramcache >/tmp/dry
scripts/install --no-ramcache >/tmp/real
mv /tmp/sudo /usr/bin/sudo
is "a missing package is installed" "$(grep -c '^install the packages sudo$' /tmp/real)" 1
sed '/^installed$/,$d' /tmp/real >/tmp/steps
is "the dry run says what happens" "$(diff <(sed 's/^would: //' /tmp/dry) /tmp/steps)" ""
is "it says where to write the URL" "$(grep -A 1 '^next, say where' /tmp/real | tail -n 1)" "    scripts/install --url https://ns.example.net/ip.php"
is "each command is known" "$(sed -n 's/^    ddnsctl \([a-z]*\).*/\1/p' /tmp/real | sort -u | tr '\n' ' ')" "apply check import user "
is "it names the other clients" "$(grep -c '^next, add a user.*--for ddclient, inadyn, fritzbox or curl' /tmp/real)" 1
is "there is no question in a pipe" "$(grep -c "$question" /tmp/real || true)" 0
scripts/install --uninstall --dry-run >/tmp/dry
scripts/install --uninstall >/tmp/real
is "the dry run of the removal" "$(diff <(sed 's/^would: //' /tmp/dry) /tmp/real)" ""
is "that it names the packages" "$(grep -c '^to remove the packages that it installed, if nothing else needs them:' /tmp/real)" 1
is "how to remove the rest" "$(grep '^    ' /tmp/real | tr -s '\n ' ' ')" " scripts/install --uninstall --purge apt-get remove sudo "
scripts/install --uninstall --purge >/tmp/real
for left in /etc/ddns-cgi /var/lib/ddns-cgi; do [ ! -e "$left" ] || fail "$left is left"; done
is "that was all that was kept" "$(grep -c '^    scripts/install' /tmp/real || true)" 0
is "the packages are known until then" "$(grep -c '^    apt-get remove sudo$' /tmp/real)" 1
scripts/install --no-ramcache | head -n 1 >/dev/null
is "it is whole" "$(scripts/install --no-ramcache)" "everything is in place already"

is "later" "$(on_terminal '-\n' 'scripts/install --no-ramcache' | grep -c "^$question? URL (Enter: https://ns.example.net/ip.php, -: later): ")" 1
[ ! -e $config ] || fail "- wrote $(cat $config)"
on_terminal '' 'scripts/install --no-ramcache' </dev/null >/dev/null
[ ! -e $config ] || fail "the end of the input wrote $(cat $config)"
on_terminal 'ns\nhttps://ns.example.net/x\n' 'scripts/install --no-ramcache' >/tmp/log
is "a wrong answer" "$(grep -c 'This is not the URL of a server' /tmp/log)" 1
is "the answer" "$(tr -d ' \n' <$config)" '{"url":"https://ns.example.net/x"}'
is "then it asks no more" "$(on_terminal '' 'scripts/install --no-ramcache')" "everything is in place already"
rm $config
on_terminal 'https://ns.example.net/\n' 'scripts/install --no-ramcache' >/tmp/log
is "an answer without a path" "$(tr -d ' \n' <$config)" '{"url":"https://ns.example.net/ip.php"}'
is "it says what it wrote" "$(grep -cF "make $config, with \"url\": \"https://ns.example.net/ip.php\"" /tmp/log)" 1
rm $config
# A name that nobody else can use.
echo '127.0.0.1 ns localhost' >/etc/hosts
is "Enter for later" "$(on_terminal '\n' 'scripts/install --no-ramcache' | grep -c "^$question? URL, such as https://ns.example.net/ip.php (Enter: later): ")" 1
[ ! -e $config ] || fail "Enter wrote $(cat $config)"
echo '127.0.0.1 ns.example.net ns localhost' >/etc/hosts
on_terminal '\n' 'scripts/install --no-ramcache' >/tmp/log
is "the default" "$(tr -d ' \n' <$config)" '{"url":"https://ns.example.net/ip.php"}'

ddnsctl user add alice --host home.example.net >/dev/null 2>&1
is "the next step has what it needs" "$(ddnsctl user config alice --for ip-update | sed -n 2p)" "url=https://ns.example.net/ip.php"
rm /etc/sudoers.d/ddns-cgi
is "with a user, it only says how to check" "$(scripts/install --no-ramcache | sed '1,/^installed$/d' | tr -s '\n ' ' ')" "at the end: ddnsctl check "
scripts/install --uninstall --purge --dry-run >/tmp/dry
scripts/install --uninstall --purge >/tmp/real
is "the dry run of the removal" "$(diff <(sed 's/^would: //' /tmp/dry) /tmp/real)" ""
service apache2 stop >/dev/null 2>&1 || true
service dnsmasq stop >/dev/null 2>&1 || true
echo "the installation is right"
