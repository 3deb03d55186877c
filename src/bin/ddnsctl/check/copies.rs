//! What `ddnsctl check` says about the RAM disk and its copies, and what it knows of them.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use ddns_cgi::config::{COMMAND_PATH, Store};
use ddns_cgi::store::hosts;
use serde_json::{Map, Value};

use super::findings::{Advice, Findings};
use crate::words::{count, few};

/// The service that mounts the RAM disk, and fills it.
const MOUNT: &str = "ddns-cgi-ramcache.service";

/// The units that make the copies, and what is lost without them.
const UNITS: [(&str, &str); 3] = [
    (MOUNT, "so a boot restores no copy, and a shutdown makes none"),
    ("ddns-cgi-save.path", "so no copy is made when an address changes"),
    ("ddns-cgi-save.timer", "so the dates of updates are not copied"),
];

/// The service that makes a copy.
const SAVE: &str = "ddns-cgi-save.service";

/// Whether systemd copies the RAM disk, if that is how this hosts file is looked after, and whether
/// what it copied is there.
pub fn check(findings: &mut Findings, store: &Store) {
    let mut show = vec!["show", "--property", "Id,ActiveState,UnitFileState,Paths", SAVE];
    show.extend(UNITS.map(|(unit, _)| unit));
    let said = printed("systemctl", &show);
    let is_ours = watches(&said, &store.hosts);
    let is_mounted = store.hosts.parent().is_some_and(is_mount_point);
    if is_ours {
        check_units(findings, &said, store, is_mounted);
    }
    // What mounts the RAM disk fills it, too.
    if is_mounted || !is_ours {
        check_lost(findings, store, || newest(&store.state));
    }
}

/// Whether one of the units, by what systemd says about them, waits for changes of this hosts file.
fn watches(said: &str, hosts: &Path) -> bool {
    let watched = format!("Paths={} (", hosts.display());
    said.lines().any(|line| line.starts_with(&watched))
}

/// Whether another file system is mounted on a folder.
fn is_mount_point(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    let devices = device(folder).and_then(|own| Ok((own, device(&folder.join(".."))?)));
    devices.is_ok_and(|(own, parent)| own != parent)
}

/// Judges units by what systemd says about them: a paragraph each, of lines `PROPERTY=VALUE`.
fn check_units(findings: &mut Findings, said: &str, store: &Store, is_mounted: bool) {
    let of = |unit: &str, property: &str| {
        let id = format!("Id={unit}");
        let mut paragraphs = said.split("\n\n");
        let paragraph = paragraphs.find(|text| text.lines().any(|line| line == id))?;
        paragraph.lines().find_map(|line| line.strip_prefix(property)?.strip_prefix('='))
    };
    if of(SAVE, "ActiveState") == Some("failed") {
        let advice = Advice::say("See why, remove the cause, and try again:")
            .then(format!("journalctl --unit {SAVE} --lines 5"))
            .then(format!("systemctl start {SAVE}"));
        findings.error(SAVE, "failed, so the RAM disk is not copied", advice);
    }
    for (unit, loss) in UNITS {
        let is_active = of(unit, "ActiveState") == Some("active");
        let is_enabled = of(unit, "UnitFileState") != Some("disabled");
        let is_missed = unit == MOUNT && !is_mounted;
        if is_missed && is_active {
            report_no_ram_disk(findings, store);
        }
        let problem = match (is_active, is_enabled) {
            (true, true) => continue,
            (_, false) => "is disabled",
            (false, true) => "is not active",
        };
        let advice = if is_missed { clear_the_way(store) } else { Advice::say("") };
        let advice = advice.then(format!("systemctl enable --now {unit}"));
        findings.error(unit, format_args!("{problem}, {loss}"), advice);
    }
}

/// The RAM disk was mounted, but is not there any more.
fn report_no_ram_disk(findings: &mut Findings, store: &Store) {
    let folder = store.hosts.parent().unwrap_or(&store.hosts).display();
    let advice = clear_the_way(store)
        .then("ddns-ramcache mount")
        .then("ddns-ramcache restore")
        .then("ddnsctl apply");
    let problem = "its RAM disk is gone, with all that was not yet copied";
    findings.error(folder, problem, advice);
}

/// What to do before a RAM disk can be mounted: `ddns-ramcache` refuses to hide files of others.
fn clear_the_way(store: &Store) -> Advice {
    let Some(folder) = store.hosts.parent() else { return Advice::say("") };
    let own = [&store.state, &store.hosts].map(|path| path.file_name());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|name| !own.contains(&Some(name)));
    let names = names.map(|name| name.to_string_lossy().escape_default().to_string());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    if names.is_empty() {
        return Advice::say("");
    }
    let (folder, names) = (folder.display(), few(names.iter()));
    Advice::say(format!(
        "First move what a RAM disk would hide out of {folder} ({names}), and then run:"
    ))
}

/// A state that is missing or empty is one of a new system, unless there is a copy with hosts. The
/// next update would take it from the hosts file, if that has any.
fn check_lost(findings: &mut Findings, store: &Store, copy: impl FnOnce() -> Option<Good>) {
    let problem = match fs::read(&store.state) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => "is empty",
        Err(error) if error.kind() == ErrorKind::NotFound => "is not there",
        _ => return,
    };
    let text = hosts::read(&store.hosts).ok().flatten().unwrap_or_default();
    if !hosts::to_state(&text, store.time_zone).is_empty() {
        return;
    }
    let Some(Good { folder, date }) = copy() else { return };
    let hosts = store.state.file_name().map_or(0, |name| hosts_in(&folder, name));
    if hosts > 0 {
        let (hosts, folder) = (count(hosts, "host"), folder.display());
        let problem = format!("{problem}, but the copy of {date} has {hosts}: {folder}");
        let advice = Advice::say("Restore it, and publish it:");
        let advice = advice.then("ddns-ramcache restore --force").then("ddnsctl apply");
        findings.error(store.state.display(), problem, advice);
    }
}

/// How many hosts the state of a copy has.
fn hosts_in(copy: &Path, state: &OsStr) -> usize {
    let bytes = fs::read(copy.join(state)).unwrap_or_default();
    serde_json::from_slice::<Map<String, Value>>(&bytes).map_or(0, |hosts| hosts.len())
}

/// A copy that is undamaged.
#[derive(Debug, PartialEq, Eq)]
pub struct Good {
    folder: PathBuf,
    /// When its state was written.
    pub date: String,
}

/// The copy of a state that a restore would bring back.
pub fn newest(state: &Path) -> Option<Good> {
    newest_in(&printed("ddns-ramcache", &["status"]), state)
}

/// The same, from what `ddns-ramcache status` says.
fn newest_in(status: &str, state: &Path) -> Option<Good> {
    let folder = state.parent()?.display().to_string();
    let (_, place) = status.lines().next()?.split_once("RAM disk on ")?;
    if place.strip_prefix(&folder).is_none_or(|rest| !rest.is_empty() && !rest.starts_with(": ")) {
        return None;
    }
    let copies = status.lines().filter_map(|line| line.strip_prefix("copy: "));
    let is_good = |verdict: &str| ["undamaged", "undamaged, without hosts"].contains(&verdict);
    let mut good = copies.filter_map(|line| {
        let (folder, rest) = line.rsplit_once(", state of ")?;
        let (date, verdict) = rest.split_once(", ")?;
        is_good(verdict).then(|| Good { folder: folder.into(), date: date.to_owned() })
    });
    good.next_back()
}

/// What a program prints, or nothing if it fails.
fn printed(program: &str, arguments: &[&str]) -> String {
    let path = env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{path}:{}", COMMAND_PATH.join(":")))
        .stdin(Stdio::null())
        .output();
    let bytes = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "/media/data/www/ramcache/hosts.dns";

    /// What systemd says of units in these states.
    fn said(save: &str, [boot, path, timer]: [&str; 3]) -> String {
        format!(
            "ActiveState={save}\nUnitFileState=static\nId=ddns-cgi-save.service\n\n\
             Id=ddns-cgi-ramcache.service\n{boot}\n\n\
             Paths={HOSTS} (PathChanged)\nId=ddns-cgi-save.path\n{path}\n\n\
             Id=ddns-cgi-save.timer\n{timer}\n"
        )
    }

    /// What is found, if a RAM disk is mounted or not.
    fn found(said: &str, folder: &Path, is_mounted: bool) -> String {
        let mut findings = Findings::default();
        let [state, hosts] = ["ip.txt", "hosts.dns"].map(|name| folder.join(name));
        check_units(&mut findings, said, &Store { state, hosts, ..Store::default() }, is_mounted);
        text(findings)
    }

    fn text(findings: Findings) -> String {
        anstream::adapter::strip_str(&findings.into_report(false, "").text).to_string()
    }

    const GOOD: &str = "ActiveState=active\nUnitFileState=enabled";
    const INACTIVE: &str = "ActiveState=inactive\nUnitFileState=enabled";

    #[test]
    fn copies_that_fail_or_are_not_made_are_errors() {
        let disabled = "ActiveState=inactive\nUnitFileState=disabled";
        let until_boot = "ActiveState=active\nUnitFileState=disabled";
        let found = |said: &str| found(said, Path::new("/s"), true);
        for state in ["inactive", "activating"] {
            assert_eq!(found(&said(state, [GOOD; 3])), "all is well: \n");
        }
        assert_eq!(
            found(&said("failed", [GOOD; 3])),
            "error: ddns-cgi-save.service: failed, so the RAM disk is not copied\n    \
             See why, remove the cause, and try again:\n    \
             journalctl --unit ddns-cgi-save.service --lines 5\n    \
             systemctl start ddns-cgi-save.service\n1 error\n"
        );
        assert_eq!(
            found(&said("inactive", [until_boot, disabled, INACTIVE])),
            "error: ddns-cgi-ramcache.service: is disabled, so a boot restores no copy, and a \
             shutdown makes none\n    systemctl enable --now ddns-cgi-ramcache.service\n\
             error: ddns-cgi-save.path: is disabled, so no copy is made when an address changes\n\
             \x20   systemctl enable --now ddns-cgi-save.path\n\
             error: ddns-cgi-save.timer: is not active, so the dates of updates are not copied\n\
             \x20   systemctl enable --now ddns-cgi-save.timer\n3 errors\n"
        );
        // Without systemd, without these units, and with another folder, they are none of ours.
        let said = said("failed", [disabled; 3]);
        assert!(watches(&said, Path::new(HOSTS)));
        assert!(!watches("", Path::new(HOSTS)) && !watches(&said, Path::new("/srv/hosts.dns")));
    }

    #[test]
    fn a_ram_disk_that_is_gone_is_an_error_and_what_it_would_hide_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(!is_mount_point(folder) && is_mount_point(Path::new("/proc")));
        let [all_good, inactive] = [GOOD, INACTIVE].map(|it| said("inactive", [it, GOOD, GOOD]));
        let shown = folder.display();
        let problem = format!("{shown}: its RAM disk is gone, with all that was not yet copied");
        let mount = "    ddns-ramcache mount\n    ddns-ramcache restore\n    ddnsctl apply\n";
        let service = "ddns-cgi-ramcache.service";
        let stopped = format!(
            "{service}: is not active, so a boot restores no copy, and a shutdown makes none"
        );
        let start = format!("    systemctl enable --now {service}\n");
        for name in ["ip.txt", "hosts.dns", ".ip.txt.lock"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(found(&all_good, folder, true), "all is well: \n");
        assert_eq!(found(&all_good, folder, false), format!("error: {problem}\n{mount}1 error\n"));
        let expected = format!("error: {stopped}\n{start}1 error\n");
        assert_eq!(found(&inactive, folder, false), expected);
        for name in ["notes", "ip.php"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let first = format!(
            "    First move what a RAM disk would hide out of {shown} (ip.php, notes), and then \
             run:\n"
        );
        for (said, problem, commands) in [(all_good, problem, mount), (inactive, stopped, &start)] {
            let expected = format!("error: {problem}\n{first}{commands}1 error\n");
            assert_eq!(found(&said, folder, false), expected);
        }
    }

    #[test]
    fn a_state_without_hosts_is_lost_if_the_newest_copy_has_hosts() {
        let scratch = tempfile::tempdir().unwrap();
        let [state, hosts, copied] =
            ["ip.txt", "hosts.dns", "copy/ip.txt"].map(|name| scratch.path().join(name));
        let copy = copied.parent().unwrap();
        fs::create_dir(copy).unwrap();
        let store = Store { state: state.clone(), hosts: hosts.clone(), ..Store::default() };
        let found = || {
            let mut findings = Findings::default();
            let good = Good { folder: copy.to_owned(), date: "DATE".to_owned() };
            check_lost(&mut findings, &store, || copied.exists().then_some(good));
            text(findings)
        };
        let well = "all is well: \n";
        assert_eq!(found(), well, "a new system");
        fs::write(&copied, "{}").unwrap();
        assert_eq!(found(), well, "a system without hosts");
        fs::write(&copied, r#"{"a.example": {}, "b.example": {}}"#).unwrap();
        let lost = |problem: &str| {
            format!(
                "error: {}: {problem}, but the copy of DATE has 2 hosts: {}\n    \
                 Restore it, and publish it:\n    ddns-ramcache restore --force\n    \
                 ddnsctl apply\n1 error\n",
                state.display(),
                copy.display()
            )
        };
        assert_eq!(found(), lost("is not there"));
        fs::write(&hosts, "# none\n").unwrap();
        fs::write(&state, "\n").unwrap();
        assert_eq!(found(), lost("is empty"));
        fs::write(&hosts, "192.0.2.1 a.example\n").unwrap();
        assert_eq!(found(), well, "the next update takes it from the hosts file");
        fs::remove_file(&hosts).unwrap();
        for text in ["{}", "[]", "{"] {
            fs::write(&state, text).unwrap();
            assert_eq!(found(), well, "all hosts were removed, or it has another finding: {text}");
        }
    }

    #[test]
    fn the_copy_that_a_restore_brings_back_is_the_newest_undamaged_one_of_this_state() {
        let status = |place: &str| {
            format!(
                "{place}\nstate: broken\n\
                 copy: /c/copy-0000000001, state of 2026-11-27 20:00:00 UTC, undamaged\n\
                 copy: /c/copy-0000000002, state of 2026-11-27 21:00:00 UTC, undamaged\n\
                 copy: /c/copy-0000000003, state of 2026-11-27 22:00:00 UTC, broken\n"
            )
        };
        let newest = |status: &str| newest_in(status, Path::new("/s/ramcache/ip.txt"));
        let good = |number: u8, hour: u8| {
            let folder = PathBuf::from(format!("/c/copy-000000000{number}"));
            Some(Good { folder, date: format!("2026-11-27 {hour}:00:00 UTC") })
        };
        for place in ["no RAM disk on /s/ramcache", "RAM disk on /s/ramcache: 8.0K of 8.0M used"] {
            assert_eq!(newest(&status(place)), good(2, 21), "{place}");
            let last = status(place).replace("broken\n", "undamaged, without hosts\n");
            assert_eq!(newest(&last), good(3, 22), "{place}");
            let last = status(place).replace("broken\n", "without hosts, though x has some\n");
            assert_eq!(newest(&last), good(2, 21), "{place}");
        }
        for place in ["no RAM disk on /s", "no RAM disk on /s/ramcache2", "x"] {
            assert_eq!(newest(&status(place)), None, "{place}");
        }
        assert_eq!(newest_in("", Path::new("/s/ip.txt")), None);
        let new = "no RAM disk on /s\nstate: no hosts yet\n";
        assert_eq!(newest_in(new, Path::new("/s/ip.txt")), None);
    }
}
