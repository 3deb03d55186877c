//! What a request is for: the path that Apache found this program under, and what follows it.

use std::ffi::OsString;

/// The services of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An update of protocol 1: whatever is none of the others.
    Update,
    /// The client's own address.
    Address,
    /// The status page.
    Status,
}

/// What follows the program's path for the client's own address, or that path itself.
const ADDRESS: &str = "/ip";

/// What follows the program's path for the status page. `apache/ddns-cgi.conf` names it, too.
const STATUS: &str = "/status";

impl Endpoint {
    /// Tells by `PATH_INFO` and `SCRIPT_NAME` (RFC 3875, 4.1.5 and 4.1.13).
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let is = |name, path| variable(name).is_some_and(|text| text == path);
        if is("PATH_INFO", ADDRESS) || is("SCRIPT_NAME", ADDRESS) {
            Self::Address
        } else if is("PATH_INFO", STATUS) {
            Self::Status
        } else {
            Self::Update
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_are_special_and_all_others_are_updates() {
        for (script, info, expected) in [
            ("/ip.php", "", Endpoint::Update),
            ("/ip.php", "/", Endpoint::Update),
            ("/ip.php", "/x", Endpoint::Update),
            ("/ip.php", "/ip/", Endpoint::Update),
            ("/ip.php", "/IP", Endpoint::Update),
            ("/ip.php", "/status/", Endpoint::Update),
            ("/ip.php", "/x/status", Endpoint::Update),
            ("/status", "", Endpoint::Update),
            ("/ip.php", "/ip", Endpoint::Address),
            ("/ip", "", Endpoint::Address),
            ("/ip", "/status", Endpoint::Address),
            ("/ip.php", "/status", Endpoint::Status),
            ("", "/status", Endpoint::Status),
        ] {
            let variable = |name: &str| match name {
                "SCRIPT_NAME" => Some(script.into()),
                "PATH_INFO" => Some(info.into()),
                _ => None,
            };
            assert_eq!(Endpoint::of(variable), expected, "{script}{info}");
        }
        assert_eq!(Endpoint::of(|_| None), Endpoint::Update);
    }
}
