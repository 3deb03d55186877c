//! What `ddnsctl check` says about the clock.

use std::process::{Command, Stdio};

use super::findings::Findings;

/// If the clock is wrong, every client looks stale. In a container, the host's clock counts.
pub fn check(findings: &mut Findings) {
    let container = Command::new("systemd-detect-virt").args(["--quiet", "--container"]).status();
    if container.is_ok_and(|status| status.success()) {
        return;
    }
    let output = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stderr(Stdio::null())
        .output();
    if output.is_ok_and(|output| output.stdout.trim_ascii() == b"no") {
        findings.warning(
            "clock",
            "is not synchronized, and clients further off than the window are refused",
            "apt-get install systemd-timesyncd, or chrony",
        );
    }
}
