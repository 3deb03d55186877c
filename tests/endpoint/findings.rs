//! What `ddnsctl check` says about web servers, the clock and odd answers, sentence by sentence: real
//! servers where one gives such an answer.

use crate::chain::run_on_overlay;

#[test]
fn each_sentence_about_web_servers_the_clock_and_odd_answers_is_printed() {
    let needs = [
        "/usr/sbin/nginx",
        "/usr/sbin/lighttpd",
        "/usr/bin/caddy",
        "/usr/bin/spawn-fcgi",
        "/usr/bin/dbus-daemon",
        "/lib/systemd/systemd-timedated",
        "/usr/bin/python3",
    ];
    run_on_overlay("findings.sh", &[], &needs, "check prints every sentence");
}
