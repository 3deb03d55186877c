//! What `ddnsctl check` says about the clock.

use std::process::{Command, Stdio};

use super::findings::{Advice, Findings};

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
            "is not synchronized; clients whose clocks differ by more than the window are refused",
            Advice::say("Install a service that sets it, such as systemd-timesyncd or chrony:")
                .then("apt-get install systemd-timesyncd"),
        );
    }
}
