//! The services of this program. The path of a request chooses among them.

use std::ffi::OsStr;

use crate::protocol::answer::Dialect;

/// What a request can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// An update. All paths ask for one, except those of the other services.
    Update(Dialect),
    /// The client's own address.
    Address,
    /// The status page.
    Status,
}

/// The paths of dyndns2 end in one of these.
const DYNDNS2: [&[u8]; 2] = [b"/nic/update", b"/v3/update"];

/// The path of the client's own address, below this program or on its own.
const ADDRESS: &str = "/ip";

/// The path of the status page, below this program. `apache/ddns-cgi.conf` names it, too.
const STATUS: &str = "/status";

impl Service {
    /// Chooses by `SCRIPT_NAME`, the path of this program, and `PATH_INFO`, the part that
    /// follows it (RFC 3875, 4.1.13 and 4.1.5).
    pub(super) fn of(script: &OsStr, info: &OsStr) -> Self {
        if is_dyndns2(script.as_encoded_bytes(), info.as_encoded_bytes()) {
            Self::Update(Dialect::Dyndns2)
        } else if info == ADDRESS || script == ADDRESS {
            Self::Address
        } else if info == STATUS {
            Self::Status
        } else {
            Self::Update(Dialect::Signed)
        }
    }
}

/// Whether the path ends in one of those of dyndns2. Some routers add a slash.
fn is_dyndns2(script: &[u8], info: &[u8]) -> bool {
    let info = without_slashes(info);
    let script = if info.is_empty() { without_slashes(script) } else { script };
    DYNDNS2.iter().any(|end| match end.strip_suffix(info) {
        Some(rest) => script.ends_with(rest),
        None => info.ends_with(end),
    })
}

/// The path without slashes at its end.
fn without_slashes(path: &[u8]) -> &[u8] {
    let length = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    path.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: Service = Service::Update(Dialect::Signed);
    const DYNDNS2: Service = Service::Update(Dialect::Dyndns2);

    #[test]
    fn a_few_paths_are_special_and_all_others_are_updates() {
        for (script, info, expected) in [
            ("/nic/update", "", DYNDNS2),
            ("/v3/update", "", DYNDNS2),
            ("/ip.php", "/nic/update", DYNDNS2),
            ("/nic", "/update", DYNDNS2),
            ("/nic/update/", "", DYNDNS2),
            ("/nic/update", "/", DYNDNS2),
            ("/ip.php", "/nic/update//", DYNDNS2),
            ("//nic/update", "", DYNDNS2),
            ("/nic/update/x", "/", SIGNED),
            ("/nic/update", "/x", SIGNED),
            ("/ip.php", "", SIGNED),
            ("/ip.php", "/", SIGNED),
            ("/ip.php", "/x", SIGNED),
            ("/ip.php", "/ip/", SIGNED),
            ("/ip.php", "/IP", SIGNED),
            ("/ip.php", "/status/", SIGNED),
            ("/ip.php", "/x/status", SIGNED),
            ("/status", "", SIGNED),
            ("/ip.php", "/ip", Service::Address),
            ("/ip", "", Service::Address),
            ("/ip", "/status", Service::Address),
            ("/ip.php", "/status", Service::Status),
            ("", "/status", Service::Status),
            ("", "", SIGNED),
        ] {
            assert_eq!(Service::of(script.as_ref(), info.as_ref()), expected, "{script}{info}");
        }
    }
}
