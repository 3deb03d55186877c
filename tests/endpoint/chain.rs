//! The whole chain on the real programs, with the shipped files where they are installed: curl,
//! Apache as www-data, the program, sudo, service, dnsmasq, dig.
//!
//! It runs in namespaces of its own, on an overlay of the root file system that ends with them, so
//! nothing on this machine changes.

use std::process::{Command, Stdio};

use crate::scene::can_run;

/// Runs a script of this folder in namespaces of its own; its last line must be `expected`.
pub fn run_on_overlay(script: &str, arguments: &[&str], needs: &[&str], expected: &str) {
    let common = [
        "root",
        concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl"),
        "/usr/sbin/apache2",
        "/usr/sbin/dnsmasq",
        "/usr/bin/sudo",
        "/usr/sbin/service",
        "/usr/bin/curl",
        "/usr/sbin/ip",
    ];
    if !can_run(&format!("{script} {}", arguments.join(" ")), &[&common, needs].concat()) {
        return;
    }
    let namespaces = ["--mount", "--net", "--pid", "--ipc", "--uts"];
    run_in_namespaces(&namespaces, script, arguments, expected);
}

/// Runs a script of this folder in namespaces that end with it; its last line must be `expected`.
pub fn run_in_namespaces(namespaces: &[&str], script: &str, arguments: &[&str], expected: &str) {
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["--fork", "--kill-child", "--mount-proc", "--propagation", "private", "bash"])
        .arg(format!("{}/tests/endpoint/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    crate::scene::tell_measured(&text);
    assert!(output.status.success(), "{script} {arguments:?}: {text}");
    // On standard error, the shell may report what it killed.
    let ends = output.stdout.ends_with(format!("{expected}\n").as_bytes());
    assert!(ends, "{script} {arguments:?}: {text}");
}

fn run(module: &str, mpm: &str) {
    run_on_overlay("chain.sh", &[module, mpm], &["/usr/bin/dig"], "the whole chain works");
}

#[test]
fn the_whole_chain_with_mod_cgid() {
    run("cgid", "event");
}

#[test]
fn the_whole_chain_with_mod_cgi() {
    run("cgi", "prefork");
}
