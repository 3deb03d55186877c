//! Where a request comes from: its address, and what decides whether it sees the status page.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;

/// What the web server and proxies say about the sender of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The address of this machine at which it arrived, if the web server says so.
    pub(crate) server_address: Option<IpAddr>,
    /// A header that shows that a proxy has passed it on, if it has one.
    pub(crate) proxy_header: Option<&'static str>,
    /// What the web server says about the user.
    pub(crate) login: Login,
}

/// What a web server says about the user of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    /// It names none.
    #[default]
    None,
    /// It names one, but does not say that it has checked a password.
    Unchecked,
    /// It names one whose password it has checked.
    Checked,
}

/// The headers that proxies add.
const PROXY_HEADERS: [(&str, &str); 6] = [
    ("HTTP_X_FORWARDED_FOR", "X-Forwarded-For"),
    ("HTTP_X_FORWARDED_HOST", "X-Forwarded-Host"),
    ("HTTP_X_FORWARDED_PROTO", "X-Forwarded-Proto"),
    ("HTTP_FORWARDED", "Forwarded"),
    ("HTTP_X_REAL_IP", "X-Real-IP"),
    ("HTTP_VIA", "Via"),
];

impl Origin {
    /// Reads the variables. An empty one says as little as one that is missing.
    pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let proxy_header = PROXY_HEADERS.into_iter().find(|(name, _)| is_set(name));
        Self {
            server_address: variable("SERVER_ADDR").and_then(|text| ip_address(&text)),
            proxy_header: proxy_header.map(|(_, header)| header),
            login: Login::of(is_set("REMOTE_USER"), is_set("AUTH_TYPE")),
        }
    }
}

impl Login {
    /// `REMOTE_USER` alone does not count: Debian's `fastcgi_params` make nginx set it to any name
    /// that a client sends, even if it checks no password. `AUTH_TYPE` says how it was checked (RFC
    /// 3875, 4.1.1).
    fn of(has_user: bool, has_type: bool) -> Self {
        match (has_user, has_type) {
            (false, _) => Self::None,
            (true, false) => Self::Unchecked,
            (true, true) => Self::Checked,
        }
    }
}

/// Headers such as `X-Forwarded-For` never tell the address: behind a proxy, the web server sets
/// `REMOTE_ADDR` (Apache: `mod_remoteip`, nginx: `realip`). IPv4 mapped into IPv6 becomes IPv4.
pub(super) fn ip_address(text: &OsStr) -> Option<IpAddr> {
    let address: IpAddr = text.to_str()?.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(pairs: &[(&str, &str)]) -> Origin {
        Origin::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_web_server_tells_the_address_of_this_machine() {
        let address = |text| origin(&[("SERVER_ADDR", text)]).server_address;
        assert_eq!(address("::ffff:192.0.2.1"), Some([192, 0, 2, 1].into()));
        for text in ["", "unix:/run/x", "localhost"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn any_header_of_a_proxy_shows_a_proxy() {
        assert_eq!(origin(&[]).proxy_header, None);
        for (variable, header) in PROXY_HEADERS {
            assert_eq!(variable, format!("HTTP_{}", header.to_uppercase().replace('-', "_")));
            for value in ["127.0.0.1", "198.51.100.7", "x"] {
                assert_eq!(origin(&[(variable, value)]).proxy_header, Some(header), "{value}");
            }
            // What Caddy makes of a header that is copied and not there.
            assert_eq!(origin(&[(variable, "")]).proxy_header, None);
        }
    }

    #[test]
    fn only_a_checked_password_makes_a_user() {
        let login = |kind, user| origin(&[("AUTH_TYPE", kind), ("REMOTE_USER", user)]).login;
        assert_eq!(login("Basic", "alice"), Login::Checked);
        assert_eq!(login("", "alice"), Login::Unchecked);
        assert_eq!(login("Basic", ""), Login::None);
        assert_eq!(origin(&[("REMOTE_USER", "alice")]).login, Login::Unchecked);
        let headers = [("HTTP_AUTH_TYPE", "Basic"), ("HTTP_REMOTE_USER", "alice")];
        assert_eq!(origin(&headers).login, Login::None, "a header is no proof");
    }
}
