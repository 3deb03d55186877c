//! Installation and years of service, on booted Debians with systemd: see `boot.sh`.

use std::process::Command;

use crate::chain::run_in_namespaces;
use crate::scene::{can_run, tell};

#[test]
fn debian_12_install_serve_break_lose_power_boot_again_and_uninstall() {
    boot("bookworm", "source");
}

#[test]
fn debian_13_install_serve_break_lose_power_boot_again_and_uninstall() {
    boot("trixie", "source");
}

#[test]
fn debian_12_from_the_package() {
    boot("bookworm", "package");
}

#[test]
fn debian_13_from_the_package() {
    boot("trixie", "package");
}

#[test]
fn debian_12_from_version_0_1_to_the_package_and_back() {
    upgrade("bookworm");
}

#[test]
fn debian_13_from_version_0_1_to_the_package_and_back() {
    upgrade("trixie");
}

#[test]
fn debian_13_with_sudo_rs() {
    boot("trixie", "sudo_rs");
}

#[test]
fn debian_12_with_the_reload_of_red_hat() {
    boot("bookworm", "red_hat");
}

/// The last commit of version 0.1.
const VERSION_0_1: &str = "1a0f90c9851c1888477f16ede6459c947e2581be";

/// Builds version 0.1 in `target/0.1`, from the history of the repository.
fn build_version_0_1() -> bool {
    // Another test may want it, too.
    let script = "mkdir -p target/0.1
        exec 9>target/0.1.lock
        flock 9
        [ ! -x target/0.1/dist/ddnsctl ] || exit 0
        git cat-file -e $0 || exit 3
        git archive $0 | tar -x -C target/0.1
        CARGO_TARGET_DIR=$(realpath target) target/0.1/scripts/build";
    let status = Command::new("bash")
        .args(["-euc", script, VERSION_0_1])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    if status.code() == Some(3) {
        tell(
            "SKIPPED the upgrade from version 0.1: this clone has no history (git fetch --unshallow)",
        );
        return false;
    }
    assert!(status.success(), "version 0.1 cannot be built");
    true
}

fn upgrade(suite: &str) {
    if can_boot(suite, "upgrade") && build_version_0_1() {
        boot(suite, "upgrade");
    }
}

fn can_boot(suite: &str, story: &str) -> bool {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    let needs = ["root", "/usr/sbin/debootstrap", "/usr/bin/systemd-nspawn", dist];
    can_run(&format!("the booted system ({suite}, {story})"), &needs)
}

fn boot(suite: &str, story: &str) {
    if can_boot(suite, story) {
        let arguments = [suite, story];
        run_in_namespaces(&["--mount", "--pid"], "boot.sh", &arguments, "the booted system works");
    }
}
