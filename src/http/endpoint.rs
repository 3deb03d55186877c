//! What a request is for: the path that Apache found this program under, and what follows it.

use std::ffi::OsString;

/// The services of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An update: whatever is none of the others.
    Update(Protocol),
    /// The client's own address.
    Address,
    /// The status page.
    Status,
}

/// How a client asks for an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// With a signature: protocol 1 or 2.
    Signed,
    /// With a password: dyndns2, which has paths of its own.
    Dyndns2,
}

/// The paths of dyndns2 end in one of these.
const DYNDNS2: [&[u8]; 2] = [b"/nic/update", b"/v3/update"];

/// What follows the program's path for the client's own address, or that path itself.
const ADDRESS: &str = "/ip";

/// What follows the program's path for the status page. `apache/ddns-cgi.conf` names it, too.
const STATUS: &str = "/status";

impl Endpoint {
    /// Tells by `PATH_INFO` and `SCRIPT_NAME` (RFC 3875, 4.1.5 and 4.1.13).
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let [script, info] =
            ["SCRIPT_NAME", "PATH_INFO"].map(|name| variable(name).unwrap_or_default());
        let path = [script.as_encoded_bytes(), info.as_encoded_bytes()].concat();
        if DYNDNS2.iter().any(|end| path.ends_with(end)) {
            Self::Update(Protocol::Dyndns2)
        } else if info == ADDRESS || script == ADDRESS {
            Self::Address
        } else if info == STATUS {
            Self::Status
        } else {
            Self::Update(Protocol::Signed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: Endpoint = Endpoint::Update(Protocol::Signed);
    const DYNDNS2: Endpoint = Endpoint::Update(Protocol::Dyndns2);

    #[test]
    fn a_few_paths_are_special_and_all_others_are_updates() {
        for (script, info, expected) in [
            ("/nic/update", "", DYNDNS2),
            ("/v3/update", "", DYNDNS2),
            ("/ip.php", "/nic/update", DYNDNS2),
            ("/nic", "/update", DYNDNS2),
            ("/nic/update/", "", SIGNED),
            ("/nic/update", "/x", SIGNED),
            ("/ip.php", "", SIGNED),
            ("/ip.php", "/", SIGNED),
            ("/ip.php", "/x", SIGNED),
            ("/ip.php", "/ip/", SIGNED),
            ("/ip.php", "/IP", SIGNED),
            ("/ip.php", "/status/", SIGNED),
            ("/ip.php", "/x/status", SIGNED),
            ("/status", "", SIGNED),
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
        assert_eq!(Endpoint::of(|_| None), SIGNED);
    }
}
