//! What `ddnsctl check` says about Apache's rule for the status page.

use std::fs;

use ddns_cgi::config::Status;
use ddns_cgi::config::audience::Audience;

use super::findings::{Advice, Findings};

/// Apache's files on Debian, and on Red Hat.
const FILES: [&str; 3] = [
    "/etc/apache2/conf-available/ddns-cgi.conf",
    "/etc/apache2/conf-available/ddns-cgi-fastcgi.conf",
    "/etc/httpd/conf.d/ddns-cgi.conf",
];

/// What a configuration of Apache says about the status page.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// Nothing: `ddns-cgi` alone decides.
    None,
    /// Only this machine may see it.
    Local,
    /// Others need a password.
    Password,
}

/// Apache can only let fewer in than key `status_for` lists. An upgrade keeps a file that somebody
/// has edited, and such a file may be from the time when it alone decided.
pub fn check(findings: &mut Findings, status: &Status) {
    if !status.page {
        return;
    }
    for file in FILES {
        match fs::read_to_string(file).map_or(Rule::None, |text| Rule::of(&text)) {
            Rule::Password if !status.audience.users => findings.warning(
                file,
                "asks for a password for the status page, but ddns-cgi does not let users see it",
                "Put \"status_for\": [\"users\"] into the configuration.",
            ),
            Rule::Local if status.audience != Audience::default() => findings.warning(
                file,
                "shows the status page only to this machine, though \"status_for\" lists others",
                Advice::say("Remove the section about /status from it, then run:")
                    .then("apachectl graceful"),
            ),
            Rule::None | Rule::Local | Rule::Password => {}
        }
    }
}

impl Rule {
    /// The rule of the section about the status page, if there is one.
    fn of(text: &str) -> Self {
        let mut lines = text.lines().map(|line| line.trim_start().to_ascii_lowercase());
        let Some(start) = lines.find(|line| line.starts_with('<') && line.contains("/status"))
        else {
            return Self::None;
        };
        let name = start.split(' ').next().unwrap_or_default().trim_start_matches('<');
        let end = format!("</{name}");
        let section: Vec<String> = lines.take_while(|line| !line.starts_with(&end)).collect();
        let has = |words: &str| section.iter().any(|line| line.starts_with(words));
        if has("authtype ") {
            Self::Password
        } else if has("require local") {
            Self::Local
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_about_the_page_has_the_rule() {
        for shipped in [
            include_str!("../../../../apache/ddns-cgi.conf"),
            include_str!("../../../../apache/ddns-cgi-fastcgi.conf"),
        ] {
            assert_eq!(Rule::of(shipped), Rule::None);
            let with_password = shipped.replace("    #", "    ");
            assert_eq!(Rule::of(&with_password), Rule::Password);
            assert_eq!(Rule::of(&with_password.replace("Auth", "#Auth")), Rule::Local);
        }
        for (text, rule) in [
            (
                "<If \"%{PATH_INFO} == '/status'\">\n\tRequire local\n</If>\nAuthType Basic",
                Rule::Local,
            ),
            ("<Location /ip.php/status>\n<RequireAny>\nauthtype Basic", Rule::Password),
            (
                "<Location /status>\n<RequireAny>\n</RequireAny>\nAuthType x\n</Location>",
                Rule::Password,
            ),
            ("<LocationMatch \"/status$\">\nRequire ip 192.0.2.0/24\n", Rule::None),
            ("<location /ip.php/status>\nrequire local\n</location>\n", Rule::Local),
            ("<Location /x>\nRequire local\n</Location>\n", Rule::None),
            ("", Rule::None),
        ] {
            assert_eq!(Rule::of(text), rule, "{text}");
        }
    }
}
