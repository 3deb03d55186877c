//! The man pages of `ddnsctl`: one for each command. Most of a page is the command's help. What
//! only a page has stands in `man/ddnsctl`, beside the pages that are written by hand.

use std::path::Path;
use std::{fs, io};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Arguments;

/// The section of administrators' commands.
pub const SECTION: &str = "8";

/// The day of the last change. Today's would make every build another one.
const DATE: &str = "2026-11-28";

/// What every page says after the help of its command.
const EXIT_STATUS: &str = include_str!("../../../man/ddnsctl/exit-status.man");

/// What one command adds to that.
const EXIT_STATUS_OF_CHECK: &str = include_str!("../../../man/ddnsctl/exit-status-of-check.man");

/// The end of ddnsctl(8).
const REST: &str = include_str!("../../../man/ddnsctl/rest.man");

/// Pages to read after that of a command, besides those of the commands above it.
const SEE_ALSO: [(&str, &[&str]); 7] = [
    ("ddnsctl-apply", &["ddns-cgi.json(5)", "dnsmasq(8)", "nsupdate(1)"]),
    ("ddnsctl-check", &["ddns-ramcache(8)", "cron(8)"]),
    ("ddnsctl-host-expect", &["ddns-cgi.json(5)"]),
    ("ddnsctl-list", &["ddns-ramcache(8)"]),
    ("ddnsctl-rebuild", &["ddns-ramcache(8)"]),
    ("ddnsctl-sign", &["curl(1)"]),
    ("ddnsctl-user-config", &["ip-update(1)"]),
];

/// Writes all pages into a folder.
pub fn write(folder: &Path) -> io::Result<()> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, &[], folder)
}

/// Writes the page of a command, and those of the commands below it. `above` are the pages of those
/// above it, the nearest last.
fn write_pages(command: &Command, above: &[String], folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut page = from_help(command, name)? + EXIT_STATUS;
    if ["ddnsctl", "ddnsctl-check"].contains(&name) {
        page += EXIT_STATUS_OF_CHECK;
    }
    if above.is_empty() {
        page += REST;
    } else {
        page += &examples(command).to_roff();
        page += &see_also(name, above).to_roff();
    }
    fs::write(folder.join(format!("{name}.{SECTION}")), page)?;
    let here = [above, &[format!("{name}({SECTION})")]].concat();
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, &here, folder)?;
    }
    Ok(())
}

/// The first sections, up to the options or the commands.
fn from_help(command: &Command, name: &str) -> io::Result<String> {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let rest = long.strip_prefix(&about).unwrap_or_default().trim_start_matches('.').trim_start();
    let description = match rest {
        "" => format!("{about}."),
        // The section NAME has the one sentence before it.
        _ if about == sentence(&about) => rest.to_owned(),
        // clap takes the full stop from the first paragraph.
        _ => format!("{about}.\n\n{rest}"),
    };
    let usage = command.clone().render_usage().to_string();
    let command = command
        .clone()
        .about(for_whatis(&about))
        .long_about(description)
        .override_usage(usage.trim_start_matches("Usage: ").to_owned())
        // The examples have a section of their own, and the foot of the page has the version.
        .after_help(None)
        .version(None);
    let mut page = Vec::new();
    Man::new(command)
        .title(name.to_uppercase())
        .section(SECTION)
        .date(DATE)
        .source(concat!("ddns-cgi ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    // Before the possible values of an option, there would be two breaks and an empty line.
    Ok(page.replace("\n.br\n\n.br\n", "\n.br\n"))
}

/// The first sentence.
fn sentence(about: &str) -> &str {
    about.split(". ").next().unwrap_or_default()
}

/// The first sentence, as `whatis` shows it after the name.
fn for_whatis(about: &str) -> String {
    let mut characters = sentence(about).chars();
    characters
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(characters)
        .collect()
}

/// The examples of a command's help.
fn examples(command: &Command) -> Roff {
    let mut section = Roff::new();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if let Some(examples) = help.strip_prefix("Examples:\n") {
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            section.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        section.control("fi", []);
    }
    section
}

fn see_also(name: &str, above: &[String]) -> Roff {
    let more = SEE_ALSO.iter().find(|(of, _)| *of == name).map(|(_, more)| *more);
    let more = more.unwrap_or_default().iter().copied();
    let pages: Vec<&str> = above.iter().rev().map(String::as_str).chain(more).collect();
    let mut line = Vec::new();
    for page in pages {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        let comma = if line.is_empty() { "" } else { ", " };
        line.extend([roman(comma), bold(name), roman(format!("({section}"))]);
    }
    let mut section = Roff::new();
    section.control("SH", ["SEE ALSO"]).text(line);
    section
}
