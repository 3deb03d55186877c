//! Installation and years of service, on a booted Debian with systemd: see `boot.sh`.

use std::process::{Command, Stdio};

use crate::scene::{can_run, tell_measured};

#[test]
fn install_serve_break_lose_power_boot_again_and_uninstall() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    let needs = ["root", "/usr/sbin/debootstrap", "/usr/bin/systemd-nspawn", dist];
    if !can_run("the booted system", &needs) {
        return;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["--propagation", "private", "bash"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endpoint/boot.sh"))
        .arg(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    tell_measured(&text);
    assert!(output.status.success(), "{text}");
    // On standard error, the shell may report what it killed.
    assert!(output.stdout.ends_with(b"the booted system works\n"), "{text}");
}
