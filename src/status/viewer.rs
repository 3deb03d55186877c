//! Who may see the page.
//!
//! This machine always may, in the sense of Apache's `Require local`: the client has a loopback
//! address, or the very address at which the request arrived. Others may if key `status_for` lists
//! their network, or "users" and the web server has checked a password.
//!
//! What a proxy on this machine passes on comes from this machine, too, whoever sent it. So a
//! request with a header that proxies add is not this machine's own. Where the operator lists a
//! network, such headers do not matter: the operator knows where the proxies are.

use std::net::IpAddr;

use crate::config;
use crate::http::origin::{Login, Origin};
use crate::protocol::answer::{Outsider, Refusal};

/// Somebody who may see the page. Only [`Viewer::admit`] makes one.
#[derive(Debug)]
pub(crate) struct Viewer(());

impl Viewer {
    /// Decides whether the sender of a request may see the page.
    pub(crate) fn admit(
        sender: IpAddr,
        origin: &Origin,
        settings: &config::Status,
    ) -> Result<Self, Refusal> {
        if !settings.page {
            return Err(Refusal::NoPage);
        }
        let audience = &settings.audience;
        let is_here = sender.is_loopback() || origin.server_address == Some(sender);
        let is_own = is_here && origin.proxy_header.is_none();
        if is_own || audience.has(sender) || audience.users && origin.login == Login::Checked {
            return Ok(Self(()));
        }
        Err(Refusal::Audience(match (origin.login, origin.proxy_header) {
            (Login::Unchecked, _) if audience.users => Outsider::Unchecked,
            (_, Some(header)) if is_here => Outsider::Proxied(header),
            _ => Outsider::Unlisted,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::protocol::answer::Outsider::{Proxied, Unchecked, Unlisted};

    /// Why a request is refused, if it is.
    fn refusal(sender: &str, origin: &Origin, status_for: &str) -> Option<Outsider> {
        let text = format!(r#"{{"status_page": true, "status_for": {status_for}}}"#);
        let config = Config::parse(text.as_bytes()).unwrap();
        match Viewer::admit(sender.parse().unwrap(), origin, &config.status) {
            Ok(Viewer(())) => None,
            Err(Refusal::Audience(outsider)) => Some(outsider),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn at(server: &str) -> Origin {
        Origin { server_address: server.parse().ok(), ..Origin::default() }
    }

    #[test]
    fn by_default_this_machine_alone_may_see_it() {
        for (sender, server, refused) in [
            ("127.0.0.1", "", None),
            ("127.255.255.254", "192.0.2.1", None),
            ("::1", "", None),
            ("192.0.2.1", "192.0.2.1", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("192.0.2.1", "192.0.2.2", Some(Unlisted)),
            ("192.0.2.1", "127.0.0.1", Some(Unlisted)),
            ("192.0.2.1", "", Some(Unlisted)),
            ("128.0.0.1", "127.0.0.1", Some(Unlisted)),
            ("::2", "::1", Some(Unlisted)),
            ("2001:db8::1", "", Some(Unlisted)),
            ("0.0.0.0", "", Some(Unlisted)),
            ("::", "", Some(Unlisted)),
        ] {
            assert_eq!(refusal(sender, &at(server), "[]"), refused, "{sender} at {server}");
        }
    }

    #[test]
    fn nobody_sees_a_page_that_is_off() {
        let everybody = r#"{"status_for": ["0.0.0.0/0", "::/0", "users"]}"#;
        let settings = Config::parse(everybody.as_bytes()).unwrap().status;
        let origin = Origin { login: Login::Checked, ..Origin::default() };
        let result = Viewer::admit([127, 0, 0, 1].into(), &origin, &settings);
        assert!(matches!(result, Err(Refusal::NoPage)));
    }

    #[test]
    fn what_a_proxy_passes_on_is_not_this_machines_own() {
        let origin = Origin { proxy_header: Some("Forwarded"), ..at("192.0.2.1") };
        for sender in ["127.0.0.1", "::1", "192.0.2.1"] {
            assert_eq!(refusal(sender, &origin, "[]"), Some(Proxied("Forwarded")), "{sender}");
            let listed = r#"["127.0.0.1", "::1", "192.0.2.0/24"]"#;
            assert_eq!(refusal(sender, &origin, listed), None, "{sender}");
        }
        assert_eq!(refusal("198.51.100.7", &origin, "[]"), Some(Unlisted));
    }

    #[test]
    fn networks_and_users_may_see_it_where_they_are_listed() {
        let origin = |login| Origin { login, ..Origin::default() };
        for (status_for, sender, [unknown, unchecked, checked]) in [
            ("[]", "192.0.2.7", [Some(Unlisted); 3]),
            (r#"["192.0.2.0/24"]"#, "192.0.2.7", [None; 3]),
            (r#"["192.0.2.0/24"]"#, "198.51.100.7", [Some(Unlisted); 3]),
            (r#"["192.0.2.0/24"]"#, "127.0.0.1", [None; 3]),
            (r#"["users"]"#, "192.0.2.7", [Some(Unlisted), Some(Unchecked), None]),
            (r#"["users"]"#, "127.0.0.1", [None; 3]),
            (r#"["users", "::/0"]"#, "192.0.2.7", [Some(Unlisted), Some(Unchecked), None]),
            (r#"["users", "::/0"]"#, "2001:db8::1", [None; 3]),
            (r#"["0.0.0.0/0"]"#, "2001:db8::1", [Some(Unlisted); 3]),
        ] {
            for (login, refused) in
                [(Login::None, unknown), (Login::Unchecked, unchecked), (Login::Checked, checked)]
            {
                let found = refusal(sender, &origin(login), status_for);
                assert_eq!(found, refused, "{sender} {login:?} {status_for}");
            }
        }
    }
}
