//! What `ddnsctl check` says about the answers of dnsmasq, or of another server of the hosts file.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ddns_cgi::protocol::host::HostName;
use simple_dns::{QTYPE, TYPE};

use super::dns::{self, Question};
use super::findings::{Advice, Findings};
use super::names::{self, Records, Said, Wanted};
use crate::words::quoted;

/// An answer that may be kept for longer than this, in seconds, does not follow a host that moves.
const LONGEST: u32 = 60;

/// Where dnsmasq has its settings.
const FILE: &str = "/etc/dnsmasq.conf";
const FOLDER: &str = "/etc/dnsmasq.d";

/// Debian's files about how dnsmasq is started.
const INIT_FILES: [&str; 2] = ["/etc/default/dnsmasq", "/etc/init.d/dnsmasq"];

/// Asks for all addresses of all hosts.
pub fn check(findings: &mut Findings, server: SocketAddr, wanted: &Wanted, hosts_file: &Path) {
    let view = names::compare(
        wanted.records(),
        |_| wanted.records(),
        |records| ask(server, records),
        |ttl| ttl <= LONGEST,
    );
    if let Some(silence) = &view.silence {
        let advice = Advice::say("See whether it runs, and whether its settings are right:")
            .then("service dnsmasq status")
            .then(test_settings(&INIT_FILES))
            .then("service dnsmasq restart");
        findings.error("dnsmasq", silence, advice);
    }
    names::report(
        findings,
        &view.missing,
        |address| format!("dnsmasq does not answer with {address}"),
        &read_hosts_file(hosts_file, Path::new(FOLDER), Path::new(FILE)),
    );
    names::report(
        findings,
        &view.extra,
        |address| format!("dnsmasq answers with {address}, which is not in the state"),
        &Advice::say("Look in /etc/hosts and dnsmasq's other files, if it stays after this:")
            .then("ddnsctl apply"),
    );
    if let Some(ttl) = view.ttl.iter().map(|(_, ttl)| ttl).max() {
        findings.warning(
            "dnsmasq",
            format_args!("resolvers may keep its answers for {ttl} s after a host has moved"),
            Advice::say(
                "Write local-ttl=7 into its configuration, and also auth-ttl=7 if that has \
                 auth-zone. Then run:",
            )
            .then("service dnsmasq restart"),
        );
    }
}

/// The command that tests dnsmasq's settings. Debian names their folder on the command line of the
/// service; other systems name it in the main file.
fn test_settings(init_files: &[&str]) -> &'static str {
    if init_files.iter().any(|file| Path::new(file).exists()) {
        "dnsmasq --test -7 /etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new"
    } else {
        "dnsmasq --test"
    }
}

/// How to make dnsmasq read the hosts file, if it has its settings in this folder and file.
fn read_hosts_file(hosts_file: &Path, folder: &Path, file: &Path) -> Advice {
    let line = format!("addn-hosts={}", hosts_file.display());
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files: Vec<PathBuf> = files.chain([file.to_owned()]).collect();
    if let Some(file) = files.iter().find(|file| has_line(file, &line)) {
        return Advice::say(format!(
            "{} has the line {line}. Make sure that dnsmasq reads it:",
            file.display()
        ))
        .then(test_settings(&INIT_FILES))
        .then("ddnsctl apply");
    }
    let file = if folder.is_dir() { folder.join("ddns-cgi.conf") } else { file.to_owned() };
    Advice::say(format!("Put the line {line} into dnsmasq's settings:"))
        .then(format!("echo {} >> {}", quoted(&line), quoted(file.display())))
        .then("ddnsctl apply")
}

/// Whether a file of settings has a line.
fn has_line(file: &Path, line: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.lines().any(|other| other.trim() == line))
}

/// First asks for the addresses of the families that a host has, then whether it has others.
///
/// dnsmasq passes on a question about a family that the host lacks, and its resolver need not
/// answer. It answers itself if it is asked for everything, as long as the host has any address. A
/// server that passes on nothing, such as dnsmasq with `auth-zone`, need not answer that (RFC
/// 8482), and is asked for the family.
fn ask(server: SocketAddr, records: &Records) -> Said {
    let mut said = Said::default();
    let (passes_on, unanswered) = add(&mut said, server, &families(records, true));
    if said.silence.is_some() {
        said.hosts.retain(|host, _| !unanswered.contains(host));
        return said;
    }
    let mut others = families(records, false);
    if passes_on {
        for (_, kind) in &mut others {
            *kind = QTYPE::ANY;
        }
        others.dedup();
    }
    add(&mut said, server, &others);
    if passes_on {
        // Of a host without any address, only another server may know.
        said.silence = None;
    }
    said
}

/// The families of addresses that each host has, or those that it lacks.
fn families(records: &Records, has: bool) -> Vec<(&HostName, QTYPE)> {
    let mut families = Vec::new();
    for (host, addresses) in records {
        for (kind, is_v4) in [(TYPE::A, true), (TYPE::AAAA, false)] {
            if addresses.iter().any(|address| address.is_ipv4() == is_v4) == has {
                families.push((host, kind.into()));
            }
        }
    }
    families
}

/// Asks, and adds what the server says. Returns whether it may pass on questions, and the hosts
/// with an unanswered question.
fn add<'h>(
    said: &mut Said,
    server: SocketAddr,
    questions: &[(&'h HostName, QTYPE)],
) -> (bool, BTreeSet<&'h HostName>) {
    let asked: Vec<_> = questions.iter().map(|(host, kind)| Question::new(host, *kind)).collect();
    let answers = dns::ask(server, &asked);
    said.silence = answers.silence;
    let mut passes_on = questions.is_empty();
    let mut unanswered = BTreeSet::new();
    for ((host, _), answer) in questions.iter().zip(&answers.list) {
        if let Some(answer) = answer {
            said.add(host, answer);
            passes_on |= answer.is_recursive;
        } else {
            unanswered.insert(*host);
        }
    }
    (passes_on, unanswered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_settings_are_tested_with_their_folder() {
        assert_eq!(test_settings(&["/nowhere"]), "dnsmasq --test");
        let debian = "dnsmasq --test -7 /etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new";
        assert_eq!(test_settings(&["/nowhere", "/etc"]), debian);
        // As Debian's service and the package's script have it.
        assert!(include_str!("../../../../packaging/debian/postinst").contains(debian));
    }

    #[test]
    fn a_missing_line_is_put_where_dnsmasq_has_its_settings() {
        let scratch = tempfile::tempdir().unwrap();
        let [folder, file] = ["dnsmasq.d", "dnsmasq.conf"].map(|name| scratch.path().join(name));
        let advice = || read_hosts_file(Path::new("/s/hosts.dns"), &folder, &file);
        let missing = |file: &Path| {
            Advice::say("Put the line addn-hosts=/s/hosts.dns into dnsmasq's settings:")
                .then(format!("echo addn-hosts=/s/hosts.dns >> {}", file.display()))
                .then("ddnsctl apply")
        };
        assert_eq!(advice(), missing(&file));
        fs::create_dir(&folder).unwrap();
        let own = folder.join("ddns-cgi.conf");
        assert_eq!(advice(), missing(&own));
        fs::write(&own, "#addn-hosts=/s/hosts.dns\naddn-hosts=/other\n").unwrap();
        assert_eq!(advice(), missing(&own));
        for file in [own, file.clone()] {
            fs::write(&file, "local-ttl=7\n addn-hosts=/s/hosts.dns\n").unwrap();
            let words = "has the line addn-hosts=/s/hosts.dns. Make sure that dnsmasq reads it:";
            let expected = Advice::say(format!("{} {words}", file.display()))
                .then(test_settings(&INIT_FILES))
                .then("ddnsctl apply");
            assert_eq!(advice(), expected);
            fs::remove_file(&file).unwrap();
        }
    }
}
