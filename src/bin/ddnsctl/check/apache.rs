//! What `ddnsctl check` says about Apache's configuration.

use std::fs;

use ddns_cgi::config::Status;

use super::findings::Findings;

/// The file from `scripts/install` on Debian, and on Red Hat.
const FILES: [&str; 2] =
    ["/etc/apache2/conf-available/ddns-cgi.conf", "/etc/httpd/conf.d/ddns-cgi.conf"];

/// An upgrade keeps a file that somebody has edited. Such a file may be older than the status page,
/// and not restrict it.
pub fn check(findings: &mut Findings, status: &Status) {
    if !status.page {
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

/// Whether a configuration says anything about the status page.
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
