//! The whole chain on the real programs, with the shipped files where they are installed: curl,
//! Apache as www-data, the program, sudo, service, dnsmasq, dig.
//!
//! All of it happens in namespaces of its own, on an overlay of the root file system that is gone
//! with them, so nothing of this machine changes.

use std::process::{Command, Stdio};

use crate::scene::can_run;

fn run(module: &str, mpm: &str) {
    let needs = [
        "root",
        concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl"),
        "/usr/sbin/apache2",
        "/usr/sbin/dnsmasq",
        "/usr/bin/sudo",
        "/usr/sbin/service",
        "/usr/bin/dig",
        "/usr/bin/curl",
        "/usr/sbin/ip",
    ];
    if !can_run(&format!("the whole chain with {module}"), &needs) {
        return;
    }
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["--propagation", "private", "bash"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endpoint/chain.sh"))
        .args([env!("CARGO_MANIFEST_DIR"), module, mpm])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    crate::scene::tell_measured(&text);
    assert!(output.status.success(), "{text}");
    assert!(output.stdout.ends_with(b"the whole chain works\n"), "{text}");
}

#[test]
fn the_whole_chain_with_mod_cgid() {
    run("cgid", "event");
}

#[test]
fn the_whole_chain_with_mod_cgi() {
    run("cgi", "prefork");
}
