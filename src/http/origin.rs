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
    (FORWARDED_FOR, "X-Forwarded-For"),
    ("HTTP_X_FORWARDED_HOST", "X-Forwarded-Host"),
    ("HTTP_X_FORWARDED_PROTO", "X-Forwarded-Proto"),
    ("HTTP_FORWARDED", "Forwarded"),
    ("HTTP_X_REAL_IP", "X-Real-IP"),
    ("HTTP_VIA", "Via"),
];

/// The variable of the header with the address of a proxy's client.
const FORWARDED_FOR: &str = "HTTP_X_FORWARDED_FOR";

impl Origin {
    /// Reads the variables of a request from this address.
    pub(super) fn read(
        sender: Option<IpAddr>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_by_caddy = is_by_caddy(sender, &variable);
        let shows_proxy = |(name, header): &(&str, &str)| {
            let is_own = is_by_caddy && header.starts_with("X-Forwarded-");
            !is_own && variable(name).is_some()
        };
        Self {
            server_address: variable("SERVER_ADDR").and_then(|text| ip_address(&text)),
            proxy_header: PROXY_HEADERS.into_iter().find(shows_proxy).map(|(_, header)| header),
            login: Login::of(is_set("REMOTE_USER"), is_set("AUTH_TYPE")),
        }
    }
}

/// Whether the web server is Caddy and has made the headers `X-Forwarded-*` itself. It adds them
/// to every request. If it keeps those of a proxy that it trusts, they name another address.
fn is_by_caddy(sender: Option<IpAddr>, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let client = variable(FORWARDED_FOR).and_then(|text| ip_address(&text));
    let software = variable("SERVER_SOFTWARE").unwrap_or_default();
    software.as_encoded_bytes().starts_with(b"Caddy")
        && client.is_some_and(|client| sender == Some(client))
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
        from("127.0.0.1", pairs)
    }

    fn from(sender: &str, pairs: &[(&str, &str)]) -> Origin {
        Origin::read(sender.parse().ok(), |name| {
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
            for value in ["", "127.0.0.1"] {
                assert_eq!(origin(&[(variable, value)]).proxy_header, Some(header), "{value}");
            }
        }
    }

    #[test]
    fn caddy_is_no_proxy_in_front_of_itself() {
        let header = |address, forwarded_for, more: &[(&str, &str)]| {
            let own = [
                ("SERVER_SOFTWARE", "Caddy/v2.6.2"),
                (FORWARDED_FOR, forwarded_for),
                ("HTTP_X_FORWARDED_HOST", "ns.example.net"),
                ("HTTP_X_FORWARDED_PROTO", "https"),
            ];
            from(address, &[&own, more].concat()).proxy_header
        };
        assert_eq!(header("127.0.0.1", "127.0.0.1", &[]), None);
        assert_eq!(header("::1", "0::1", &[]), None);
        for others in ["198.51.100.7", "198.51.100.7, 127.0.0.1", "127.0.0.1, 127.0.0.1", ""] {
            assert_eq!(header("127.0.0.1", others, &[]), Some("X-Forwarded-For"), "{others}");
        }
        assert_eq!(header("", "", &[]), Some("X-Forwarded-For"));
        let more = [("HTTP_X_REAL_IP", "127.0.0.1")];
        assert_eq!(header("127.0.0.1", "127.0.0.1", &more), Some("X-Real-IP"));
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
