//! What the operator's programs print, as a terminal shows it: the files in `tests/transcripts/`.
//! `boot.sh` looks at those in `booted/`.
//!
//! A line `$ COMMAND` is run, and what it prints has to be what follows. A line `% COMMAND` prepares
//! something, and prints nothing. After a change of the messages, `DDNS_UPDATE=1` writes the files
//! anew: read what differs.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use chrono::{TimeDelta, Utc};

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{Scene, can_run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_operators_programs_print_what_the_transcripts_show() {
    let folder = Path::new(ROOT).join("tests/transcripts");
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What boot.sh looks at.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let needs: &[&str] = if text.contains("SERVER") { &["root", APACHE] } else { &["root"] };
        let name = path.file_name().unwrap().to_str().unwrap();
        if !can_run(&format!("the transcript {name}"), needs) {
            continue;
        }
        let actual = played(&text);
        if std::env::var_os("DDNS_UPDATE").is_some() {
            fs::write(&path, actual).unwrap();
        } else if let Some((expected, found)) = first_difference(&text, &actual) {
            wrong.push(format!("{name}: expected `{expected}`, found `{found}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn first_difference<'t>(expected: &'t str, actual: &'t str) -> Option<(&'t str, &'t str)> {
    if expected == actual {
        return None;
    }
    let end = std::iter::once("(the end)");
    let pairs = expected.lines().chain(end.clone()).zip(actual.lines().chain(end));
    Some(pairs.into_iter().find(|(one, other)| one != other).unwrap_or(("", "")))
}

/// The transcript with what its commands print now.
fn played(text: &str) -> String {
    let scene = Scene::new();
    let server = text.contains("SERVER").then(|| Apache::start(&scene, Kind::EventCgid));
    let url = server.as_ref().map_or_else(String::new, |server| server.url(""));
    put_programs(&scene);
    let mut transcript = String::new();
    let mut is_output = false;
    for line in text.lines() {
        // An empty line ends what a command printed.
        is_output &= !line.is_empty();
        if is_output && !line.starts_with("$ ") {
            continue;
        }
        writeln!(transcript, "{line}").unwrap();
        if let Some(command) = line.strip_prefix("$ ") {
            transcript += &steady(&run(&scene, &url, command), &scene, &url);
            is_output = true;
        } else if let Some(command) = line.strip_prefix("% ") {
            let printed = run(&scene, &url, command);
            assert!(printed.is_empty(), "{command}: {printed}");
        }
    }
    drop(server);
    transcript
}

/// The programs, under the names that they are installed as.
fn put_programs(scene: &Scene) {
    let ddnsctl = scene.ddnsctl_command(&[]).get_program().to_owned();
    for (program, name) in [
        (Path::new(&ddnsctl).to_owned(), "ddnsctl"),
        (Path::new(ROOT).join("scripts/ip-update"), "ip-update"),
        (Path::new(ROOT).join("scripts/ramcache"), "ddns-ramcache"),
    ] {
        symlink(program, scene.path("bin").join(name)).unwrap();
    }
}

/// What a command prints, on both streams. A status other than 0 follows.
fn run(scene: &Scene, url: &str, command: &str) -> String {
    let command = command.replace("SERVER", url).replace("CLONE", ROOT);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", scene.path("bin").display());
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(scene.path(""))
        .env_clear()
        .env("PATH", path)
        .env("HOME", scene.path("run"))
        .env("DDNS_CONFIG", scene.path("etc/config.json"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    scene.settle();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        Some(status) => writeln!(text, "(status {status})").unwrap(),
        None => writeln!(text, "({})", output.status).unwrap(),
    }
    // An empty line would end the output.
    text.lines()
        .fold(String::new(), |text, line| text + if line.is_empty() { "." } else { line } + "\n")
}

/// The text with words in the place of what differs from run to run.
fn steady(text: &str, scene: &Scene, url: &str) -> String {
    let folder = scene.path("").display().to_string();
    let mut text = text.replace(folder.trim_end_matches('/'), "FOLDER").replace(ROOT, "CLONE");
    // It is named because the environment names it.
    text = text.replace("ddnsctl --config FOLDER/etc/config.json ", "ddnsctl ");
    if !url.is_empty() {
        text = text.replace(url, "SERVER").replace(url.trim_start_matches("http://"), "SERVER");
    }
    for days in [-1, 0, 1] {
        let day = Utc::now() + TimeDelta::days(days);
        text = text.replace(&day.format("%Y-%m-%d").to_string(), "DATE");
        text = text.replace(&day.format("%Y%m%dT").to_string(), "DATET");
    }
    replace_times(&replace_digits(&text))
}

/// Keys, signatures, and how many days ago 2012 was.
fn replace_digits(text: &str) -> String {
    let mut steady = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let end = rest.find(|c| !is_hex(c)).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let is_days = after.starts_with(" days") && digits.len() >= 4;
        steady += match digits.len() {
            64 => "KEY-OR-HMAC",
            40 => "SHA-1",
            _ if is_days => "DAYS",
            _ => digits,
        };
        let next = after.find(is_hex).unwrap_or(after.len());
        steady += &after[..next];
        rest = &after[next..];
    }
    steady
}

/// The time behind each `DATE`, in one of the ways in which it is written.
fn replace_times(text: &str) -> String {
    let mut parts = text.split("DATE");
    let mut steady = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_time = |c: &char| c.is_ascii_digit() || " T+:%AZ".contains(*c);
        let time: String = part.chars().take_while(is_time).collect();
        let has_digits = time.chars().filter(char::is_ascii_digit).count() >= 6;
        steady += "DATE";
        steady += if has_digits { " TIME" } else { &time };
        steady += &part[time.len()..];
    }
    steady
}
