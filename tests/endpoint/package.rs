//! Debian's packages, as `scripts/release` has made them: lintian's and piuparts' judgement. `boot.rs`
//! installs them for real.

use std::path::Path;
use std::process::Command;

use crate::scene::{can_run, tell};

const LINTIAN: &str = "/usr/bin/lintian";
const PIUPARTS: &str = "/usr/sbin/piuparts";

/// The packages for this machine.
fn packages() -> [String; 2] {
    let version = env!("CARGO_PKG_VERSION");
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    [format!("ddns-cgi_{version}_{machine}.deb"), format!("ddns-cgi-client_{version}_all.deb")]
        .map(|name| format!("{}/dist/release/{name}", env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn lintian_finds_nothing() {
    let packages = packages();
    if !can_run("lintian (scripts/release)", &[LINTIAN, &packages[0], &packages[1]]) {
        return;
    }
    let output = Command::new(LINTIAN)
        .args(["--pedantic", "--allow-root", "--fail-on", "error,warning,pedantic"])
        .args(&packages)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.is_empty(), "{text}");
}

#[test]
fn the_packages_come_and_go_without_a_trace() {
    let packages = packages();
    let needs = ["root", "/usr/sbin/debootstrap", PIUPARTS, &packages[0], &packages[1]];
    if !can_run("piuparts (scripts/release)", &needs) {
        return;
    }
    for suite in ["bookworm", "trixie"] {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let log = scratch.path().join("log");
        let output = Command::new(PIUPARTS)
            .args(["--distribution", suite, "--no-eatmydata", "--do-not-verify-signatures"])
            // debconf leaves it in Debian 13.
            .args(["--ignore-regex", "/var/cache/debconf/tmp[.]ci.*"])
            .args(["--warn-on-debsums-errors", "--tmpdir"])
            .args([scratch.path(), Path::new("--log-file"), &log])
            .args(&packages)
            .output()
            .unwrap();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let end: Vec<&str> = text.lines().rev().take(60).collect();
        assert!(output.status.success(), "{suite}: {end:#?}");
        tell(&format!(
            "measured: piuparts: {suite}: installed, removed and purged without a trace"
        ));
    }
}
