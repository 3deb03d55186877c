//! The endpoints: what the path of a request asks for.

use std::ffi::OsString;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An update by the protocols 1 and 2: any path but those below.
    Update,
    /// An update by dyndns2: `/nic/update` and `/v3/update`.
    Dyndns2,
    /// The client's own address: `/ip`.
    Address,
    /// The status page: `/status`.
    Status,
}

impl Endpoint {
    /// The endpoint of the path, which Apache splits into `SCRIPT_NAME` and `PATH_INFO` (RFC 3875, 4.1.5
    /// and 4.1.13).
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let script = variable("SCRIPT_NAME").unwrap_or_default().into_encoded_bytes();
        let info = variable("PATH_INFO").unwrap_or_default().into_encoded_bytes();
        let path = [&*script, &*info].concat();
        if path.ends_with(b"/nic/update") || path.ends_with(b"/v3/update") {
            Self::Dyndns2
        } else if info == b"/ip" || script == b"/ip" {
            Self::Address
        } else if info == b"/status" {
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
    fn the_path_tells_the_endpoint() {
        for (script, info, expected) in [
            ("/ip.php", "", Endpoint::Update),
            ("/ip.php", "/x", Endpoint::Update),
            ("/status", "", Endpoint::Update),
            ("/nic/update", "", Endpoint::Dyndns2),
            ("/v3/update", "", Endpoint::Dyndns2),
            ("/ip.php", "/nic/update", Endpoint::Dyndns2),
            ("/nic", "/update", Endpoint::Dyndns2),
            ("/nic/update/", "", Endpoint::Update),
            ("/nic/update", "/x", Endpoint::Update),
            ("/ip", "", Endpoint::Address),
            ("/ip.php", "/ip", Endpoint::Address),
            ("/ip.php", "/status", Endpoint::Status),
            ("", "", Endpoint::Update),
        ] {
            let endpoint = Endpoint::of(|name| match name {
                "SCRIPT_NAME" => Some(script.into()),
                "PATH_INFO" => Some(info.into()),
                _ => None,
            });
            assert_eq!(endpoint, expected, "{script} {info}");
        }
    }
}
