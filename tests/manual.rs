//! The manual: its pages are well-formed, say what the programs do, and name only pages that exist.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a wrong page panics"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ddns_cgi::config::{self, Config};
use ddns_cgi::protocol::user;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MANDOC: &str = "/usr/bin/mandoc";
const MAN: &str = "/usr/bin/man";
/// What makes the index of man-db.
const LEXGROG: &str = "/usr/bin/lexgrog";

/// The pages of other packages that ours name: those of Debian, in each section.
const OTHERS: [(&str, &[&str]); 3] = [
    (
        "1",
        &[
            "curl",
            "fail2ban-client",
            "flock",
            "knsupdate",
            "nsupdate",
            "openssl",
            "spawn-fcgi",
            "ssh",
            "systemctl",
            "wget",
        ],
    ),
    ("5", &["fstab", "sudoers", "systemd.timer", "tmpfs"]),
    ("8", &["apache2", "cron", "ddclient", "dnsmasq", "inadyn", "lighttpd", "mount", "nginx"]),
];

/// The variable by which the program starts itself. It is nothing for an operator.
const INTERNAL: &str = "DDNS_RESTARTER";

/// All pages, those that are written by hand and those that `ddnsctl` makes.
struct Manual {
    pages: Vec<PathBuf>,
    /// The folder of those that it makes.
    _made: TempDir,
}

impl Manual {
    fn new() -> Self {
        let made = tempfile::tempdir().unwrap();
        let status =
            Command::new(env!("CARGO_BIN_EXE_ddnsctl")).arg("generate").arg(made.path()).status();
        assert!(status.unwrap().success());
        let mut pages: Vec<PathBuf> = [Path::new(ROOT).join("man"), made.path().join("man8")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        pages.sort();
        assert!(pages.len() > 20, "{pages:?}");
        Self { pages, _made: made }
    }

    /// The names of all pages, such as `ddnsctl(8)`.
    fn names(&self) -> BTreeSet<String> {
        self.pages.iter().map(|path| name(path)).collect()
    }
}

/// The name of a page, such as `ddnsctl(8)`.
fn name(path: &Path) -> String {
    let (name, section) = path.file_name().unwrap().to_str().unwrap().rsplit_once('.').unwrap();
    format!("{name}({section})")
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Whether a test can run here. If not, it says so past the test runner's capture, or fails if
/// `DDNS_TEST_ALL` is set, as in CI.
fn can_run(test: &str, needs: &[&str]) -> bool {
    let missing: Vec<&str> =
        needs.iter().copied().filter(|need| !Path::new(need).exists()).collect();
    if missing.is_empty() {
        return true;
    }
    let message = format!("SKIPPED {test}: it needs {}", missing.join(", "));
    assert!(std::env::var_os("DDNS_TEST_ALL").is_none(), "{message}");
    let _ = writeln!(std::io::stderr(), "{message}");
    false
}

fn run(program: &str, words: &[&str], page: &Path) -> Output {
    // man-db would take another width, or other options, from the environment.
    let mut command = Command::new(program);
    command.args(words).arg(page).env_remove("MANOPT").env("MANWIDTH", "80");
    command.env("LC_ALL", "C.UTF-8").output().unwrap()
}

/// A page as a reader sees it, in lines that are not broken.
fn shown(page: &Path) -> String {
    let output = run(MANDOC, &["-T", "ascii", "-O", "width=1000"], page);
    plain(&String::from_utf8(output.stdout).unwrap())
}

/// What stays on a terminal: bold letters are printed twice, underlined ones over a line.
fn plain(printed: &str) -> String {
    let mut plain = String::new();
    for c in printed.chars() {
        match c {
            '\u{8}' => drop(plain.pop()),
            c => plain.push(c),
        }
    }
    plain
}

/// The headings of a page, each with its text.
fn sections(shown: &str) -> Vec<(&str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in shown.lines().skip(1) {
        if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            sections.push((line, String::new()));
        } else if let Some((_, text)) = sections.last_mut() {
            *text += line;
            text.push('\n');
        }
    }
    sections
}

/// The pages that a text names, such as `ddnsctl(8)`.
fn references(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('(') {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let start = before.rfind(|c| !is_name(c)).map_or(0, |last| last + 1);
        let section = after.split(')').next().unwrap();
        if start < at && section.len() == 1 && section.starts_with(|c: char| c.is_ascii_digit()) {
            found.insert(format!("{}({section})", &before[start..]));
        }
    }
    found
}

/// The items of lists in the source of a page, whose tag begins with a macro. Each with its tag and
/// its text.
fn items<'a>(source: &'a str, of: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!(".It {of} ");
    let item = |text: &'a str| {
        let (tag, text) = text.split_once('\n').unwrap();
        let end = ["\n.It ", "\n.El"].into_iter().filter_map(|end| text.find(end)).min();
        (tag, &text[..end.unwrap()])
    };
    source.match_indices(&start).map(|(at, _)| item(&source[at + start.len()..])).collect()
}

/// The first word of each item's tag, and those that follow the same macro there.
fn tags(source: &str, of: &str) -> BTreeSet<String> {
    let again = format!(" {of} ");
    let words = items(source, of).into_iter().flat_map(|(tag, _)| tag.split(&again));
    words.map(|word| word.split(' ').next().unwrap().to_owned()).collect()
}

/// A part of a page's source, from one subheading to the next.
fn part<'a>(source: &'a str, heading: &str) -> &'a str {
    let (_, text) = source.split_once(&format!(".Ss {heading}\n")).unwrap();
    let end = text.find("\n.Ss ").into_iter().chain(text.find("\n.Sh ")).min().unwrap();
    &text[..end]
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_page_is_clean_for_each_program_that_reads_it() {
    if !can_run("the pages under mandoc and man", &[MANDOC, MAN, LEXGROG]) {
        return;
    }
    for page in Manual::new().pages {
        let output = run(MANDOC, &["-T", "lint", "-W", "warning"], &page);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.is_empty(), "{text}");
        // As lintian does it.
        let output = run(MAN, &["--warnings=w", "-E", "UTF-8", "-Tutf8", "-l"], &page);
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{page:?}: {warnings}");
        let text = plain(&String::from_utf8(output.stdout).unwrap());
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{page:?}: does not fit a terminal");
        let output = run(LEXGROG, &[], &page);
        let text = String::from_utf8(output.stdout).unwrap();
        let name = name(&page);
        let title = format!("\"{} - ", name.split('(').next().unwrap());
        assert!(output.status.success() && text.contains(&title), "{page:?}: {text}");
    }
}

#[test]
fn every_page_has_its_sections_and_names_pages_that_exist() {
    if !can_run("the sections and references of the pages", &[MANDOC]) {
        return;
    }
    let manual = Manual::new();
    let mut known = manual.names();
    for (section, names) in OTHERS {
        known.extend(names.iter().map(|name| format!("{name}({section})")));
    }
    let mut named = BTreeSet::new();
    for page in &manual.pages {
        let shown = shown(page);
        let sections = sections(&shown);
        let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
        let own = name(page);
        let mut expected = vec!["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"];
        let is_subcommand = own.starts_with("ddnsctl-");
        if !is_subcommand {
            expected.extend(["FILES", "EXAMPLES"]);
        }
        // A file has none.
        if !own.ends_with("(5)") {
            expected.push("EXIT STATUS");
        }
        for heading in expected {
            assert!(headings.contains(&heading), "{own} has no {heading}: {headings:?}");
        }
        let text_of = |heading| &sections.iter().find(|(other, _)| *other == heading).unwrap().1;
        let description = text_of("DESCRIPTION").trim();
        assert!(!description.lines().any(|line| line.ends_with("..")), "{own}: {description}");
        if own == "ddnsctl(8)" {
            assert!(description.starts_with("Run it as root"), "NAME has the rest: {description}");
        }
        let is_found = !is_subcommand || references(text_of("SEE ALSO")).contains("ddnsctl(8)");
        assert!(is_found, "{own} does not lead to ddnsctl(8)");
        let unknown: Vec<String> = references(&shown)
            .into_iter()
            .filter(|reference| !known.contains(reference) && *reference != own.to_uppercase())
            .collect();
        assert!(unknown.is_empty(), "{own} names pages that nobody has: {unknown:?}");
        named.extend(references(&shown).into_iter().filter(|reference| *reference != own));
    }
    let forgotten: Vec<&String> = known.difference(&named).collect();
    assert!(forgotten.is_empty(), "no page leads to these: {forgotten:?}");
}

#[test]
fn every_unit_names_a_page() {
    let names = Manual::new().names();
    for entry in fs::read_dir(Path::new(ROOT).join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        // What is added to a unit of others.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let page = text.lines().find_map(|line| line.strip_prefix("Documentation=man:"));
        assert!(page.is_some_and(|page| names.contains(page)), "{path:?}: {page:?}");
    }
}

/// The keys of a configuration that a function `set` of its room knows.
fn keys_of(code: &str) -> BTreeSet<String> {
    let body = code.split_once("fn set(").unwrap().1.split_once("_ => return").unwrap().0;
    let keys = body.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => "));
    set(keys.map(|(key, _)| key))
}

/// The default of a key, as JSON, that an item of the page tells.
fn default(text: &str) -> Option<String> {
    let (_, default) = text.split_once("Default:")?;
    let default = default.trim().trim_start_matches(".Li ").trim_end_matches('.').trim();
    Some(default.replace("\\(dq", "\"").replace("\\-", "-"))
}

#[test]
fn the_configuration_is_described_with_all_keys_and_their_defaults() {
    let page = file("man/ddns-cgi.json.5");
    let code = file("src/config/mod.rs");
    let (of_config, of_zones) = code.split_once("impl Zones {").unwrap();
    let (zones, credentials) = (part(&page, "Zones"), part(&page, "Credentials"));
    let main = page.replace(zones, "").replace(credentials, "");
    assert_eq!(tags(&main, "Ic"), keys_of(of_config));
    assert_eq!(tags(zones, "Ic"), keys_of(of_zones));
    let fields = set([user::HOSTS, user::KEY, user::SIGNATURE, user::EVERY]);
    assert_eq!(tags(credentials, "Ic"), fields);

    let mut count = 0;
    for (key, text) in items(&main, "Ic") {
        let default = default(text).unwrap_or_else(|| panic!("{key} has no default"));
        if default == "none" {
            let config = Config::default();
            assert!(["publish", "url"].contains(&key), "{key}");
            assert!(config.publish.zones.is_none() && config.url.is_none());
            continue;
        }
        let config = Config::parse(format!("{{\"{key}\": {default}}}").as_bytes());
        assert_eq!(config, Ok(Config::default()), "{key}: {default}");
        count += 1;
    }
    assert!(count > 15, "only {count} defaults were found");
    let with = |more: &str| {
        let text = format!(r#"{{"publish": {{"command": ["x"], "zones": ["a"]{more}}}}}"#);
        Config::parse(text.as_bytes()).unwrap()
    };
    for (key, text) in items(zones, "Ic") {
        match default(text) {
            Some(default) => {
                assert_eq!(with(&format!(", \"{key}\": {default}")), with(""), "{key}: {default}");
            }
            None => assert!(["command", "zones"].contains(&key), "{key} has no default"),
        }
    }
}

#[test]
fn the_examples_of_the_configuration_are_right() {
    let page = file("man/ddns-cgi.json.5");
    let blocks: Vec<&str> = page
        .split(".Bd -literal -offset indent\n")
        .skip(1)
        .map(|text| text.split(".Ed").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 3);
    for block in &blocks[..2] {
        assert!(Config::parse(block.as_bytes()).is_ok(), "{block}");
    }
    let users: serde_json::Value = serde_json::from_str(blocks[2]).unwrap();
    assert!(user::parse(users["alice"].clone()).is_ok());
}

/// The literals in a file's code that consist of capitals and underscores.
fn variables(path: &str) -> BTreeSet<String> {
    let text = file(path);
    let code = text.split("#[cfg(test)]").next().unwrap();
    let is_variable =
        |text: &&str| text.len() > 1 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    // Methods are bytes: b"GET".
    let parts: Vec<&str> = code.split('"').collect();
    let literals = parts.windows(2).filter(|pair| !pair[0].ends_with('b')).map(|pair| pair[1]);
    set(literals.filter(is_variable))
}

#[test]
fn the_program_is_described_with_all_variables_and_replies() {
    let page = file("man/ddns-cgi.8");
    let sources = ["src/http/request.rs", "src/http/origin.rs", "src/fastcgi/server.rs"];
    let mut read: BTreeSet<String> = sources.into_iter().flat_map(variables).collect();
    read.extend(variables("src/publish/restarter.rs"));
    read.remove(INTERNAL);
    read.insert(config::VARIABLE.to_owned());
    assert!(read.contains("REMOTE_ADDR") && read.contains("TZ"), "{read:?}");
    assert_eq!(tags(&page, "Ev"), read);

    let protocol = file("PROTOCOL.md");
    let mut words = BTreeSet::new();
    for table in protocol.split("| line | HTTP status | meaning |\n").skip(1) {
        let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| "));
        for cell in rows.map(|row| row.split(" | ").next().unwrap()) {
            let codes = cell.split('`').skip(1).step_by(2);
            words.extend(codes.map(|code| code.split(' ').next().unwrap().to_owned()));
        }
    }
    assert!(words.contains("good") && words.contains("numhost"), "{words:?}");
    assert_eq!(tags(part(&page, "Replies"), "Li"), words);
}

/// What a script prints, to both outputs.
fn said(script: &str, words: &[&str]) -> String {
    let output = Command::new("sh").arg(Path::new(ROOT).join(script)).args(words).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The options in the help of a script. It prints that because of one of them.
fn options_of_help(help: &str) -> BTreeSet<String> {
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let options = words.filter(|word| word.starts_with('-') && !word.trim_matches('-').is_empty());
    set(options.chain(["--help"]))
}

/// The options in the source of a page.
fn options_of_page(source: &str) -> BTreeSet<String> {
    let options = source.split("Fl ").skip(1).map(|text| text.split_whitespace().next().unwrap());
    options.map(|option| format!("-{option}")).collect()
}

#[test]
fn the_client_is_described_with_all_options_and_settings() {
    let page = file("man/ip-update.1");
    let help = said("scripts/ip-update", &["--help"]);
    assert!(options_of_help(&help).len() > 9, "{help}");
    assert_eq!(options_of_page(&page), options_of_help(&help));
    let usage = said("scripts/ip-update", &["-x"]);
    assert_eq!(options_of_page(&page), options_of_help(&usage));

    let words = help.split([' ', '(', ')', '\n']).filter_map(|word| word.split_once('='));
    let settings: BTreeSet<(&str, &str)> = words
        .filter(|(name, _)| !name.is_empty() && name.chars().all(|c| !c.is_ascii_uppercase()))
        .collect();
    let tags = tags(&page, "Li");
    let names = tags.iter().filter_map(|tag| tag.strip_suffix('='));
    assert_eq!(set(names), set(settings.iter().map(|(name, _)| *name)));
    let mut count = 0;
    for (tag, text) in items(&page, "Li") {
        let name = tag.split('=').next().unwrap();
        // A default of more than one word is told in other words.
        if let Some(default) = default(text).filter(|default| !default.contains('\n')) {
            assert!(settings.contains(&(name, &default)), "{name}: {default}");
            count += 1;
        }
    }
    assert_eq!(count, 4, "tries, timeout, protocol and report have defaults");
    let cells = help.lines().flat_map(|line| line.split("  "));
    let statuses = cells.map(str::trim).filter(|word| word.parse::<u8>().is_ok());
    let of_page = tags.iter().map(String::as_str).filter(|tag| tag.parse::<u8>().is_ok());
    assert_eq!(set(of_page), set(statuses));
}

#[test]
fn the_ram_disk_is_described_with_all_commands_options_and_settings() {
    let page = file("man/ddns-ramcache.8");
    let help = said("scripts/ramcache", &["--help"]);
    assert_eq!(options_of_page(&page), options_of_help(&help));
    let commands = help.lines().filter_map(|line| line.trim().strip_prefix("ddns-ramcache "));
    let commands = set(commands.map(|line| line.split(' ').next().unwrap()));
    assert_eq!(commands.len(), 5, "{help}");
    assert_eq!(tags(&page, "Cm"), commands);
    let settings = help.split([' ', ',', '\n']).filter(|word| word.contains('='));
    let of_page = tags(&page, "Li").into_iter().filter(|tag| tag.contains('='));
    assert_eq!(of_page.collect::<BTreeSet<_>>(), set(settings));
}

#[test]
fn references_are_found_in_a_text() {
    let text =
        "as dnsmasq(8), ddns-cgi.json(5)\n(2) f(x) DDNSCTL(8) open(10) a (1) systemd.timer(5)";
    let expected = ["dnsmasq(8)", "ddns-cgi.json(5)", "DDNSCTL(8)", "systemd.timer(5)"];
    assert_eq!(references(text), set(expected));
}
