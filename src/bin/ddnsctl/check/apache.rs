//! What `ddnsctl check` says of Apache's configuration.

use std::fs;

use ddns_cgi::config::Config;

use super::findings::Findings;

/// Where `scripts/install` puts the file on Debian, and on Red Hat.
const FILES: [&str; 2] =
    ["/etc/apache2/conf-available/ddns-cgi.conf", "/etc/httpd/conf.d/ddns-cgi.conf"];

/// A file that was changed stays as it is when a newer version is installed, so it may be from before
/// there was a status page.
pub fn check_status_page(findings: &mut Findings, config: &Config) {
    if !config.status.page {
        return;
    }
    for file in FILES {
        if fs::read_to_string(file).is_ok_and(|text| !restricts_status_page(&text)) {
            findings.error(
                file,
                "does not say who may see the status page, so everybody may",
                "Put the <If> of apache/ddns-cgi.conf into it, then: apachectl graceful",
            );
        }
    }
}

/// Whether a configuration has something to say of the status page.
fn restricts_status_page(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.any(|line| line.starts_with('<') && line.contains("/status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_restricts_the_status_page_and_without_its_section_it_does_not() {
        let shipped = include_str!("../../../../apache/ddns-cgi.conf");
        assert!(restricts_status_page(shipped));
        assert!(!restricts_status_page(&shipped.replace("<If ", "#<If ")));
        assert!(restricts_status_page("<LocationMatch \"/status$\">"));
        assert!(!restricts_status_page(""));
    }
}
