//! The documents: every link leads somewhere, and every command in them exists. `manual.rs` looks at
//! the man pages otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a wrong document panics"
)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A page of the repository.
struct Page {
    /// Its path from the root.
    path: String,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: fs::read_to_string(Path::new(ROOT).join(path)).unwrap(),
        }
    }

    /// The lines outside code blocks, without inline code.
    fn prose(&self) -> Vec<String> {
        let lines = self.lines().filter(|(block, _)| block.is_none());
        lines.map(|(_, line)| line.split('`').step_by(2).collect()).collect()
    }

    /// The commands: each line of a shell block, each inline code.
    fn commands(&self) -> Vec<&str> {
        self.lines()
            .flat_map(|(block, line)| match block {
                None => line.split('`').skip(1).step_by(2).collect(),
                Some("sh" | "console") => vec![line.split(" # ").next().unwrap()],
                Some(_) => vec![],
            })
            .collect()
    }

    /// All lines, with the language of the code block that they are in.
    fn lines(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let mut block = None;
        self.text.lines().filter_map(move |line| {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                block = if block.is_none() { Some(language) } else { None };
                return None;
            }
            Some((block, line))
        })
    }

    /// The targets of its links and pictures.
    fn links(&self) -> Vec<String> {
        let target = |part: &str| part.split(')').next().unwrap().to_owned();
        self.prose().iter().flat_map(|line| line.split("](").skip(1).map(target)).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut anchors = Vec::new();
        for (_, line) in self.lines().filter(|(block, _)| block.is_none()) {
            let heading = line.trim_start_matches('#');
            if heading.len() == line.len() || !heading.starts_with(' ') {
                continue;
            }
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let anchor: String = heading.trim().to_lowercase().chars().filter(kept).collect();
            let anchor = anchor.replace(' ', "-");
            let count = seen.entry(anchor.clone()).or_default();
            anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
            *count += 1;
        }
        anchors
    }

    /// What is wrong with a link of this page, if anything is.
    fn fault_of(&self, link: &str) -> Option<String> {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = Path::new(&self.path).parent().unwrap().join(file);
        if !Path::new(ROOT).join(&target).exists() {
            return Some(format!("{}: no file for {link}", self.path));
        }
        let anchors = if file.is_empty() {
            self.anchors()
        } else if target.extension().is_some_and(|extension| extension == "md") {
            Self::read(target.to_str().unwrap()).anchors()
        } else {
            Vec::new()
        };
        (link.contains('#') && !anchors.iter().any(|heading| heading == anchor))
            .then(|| format!("{}: no heading for {link}", self.path))
    }
}

/// Every page of the repository.
fn pages() -> Vec<Page> {
    fn look(folder: &Path, pages: &mut Vec<Page>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_ours = !name.starts_with('.') && !["target", "dist"].contains(&name);
            if path.is_dir() && !path.is_symlink() && is_ours {
                look(&path, pages);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(Page::read(path.strip_prefix(ROOT).unwrap().to_str().unwrap()));
            }
        }
    }
    let mut pages = Vec::new();
    look(Path::new(ROOT), &mut pages);
    pages
}

/// The man pages, as if their lines were those of a shell block. Lines that begin with a dot are
/// instructions; one of these quotes a command.
fn man_pages() -> Vec<Page> {
    let folders = ["man", "man/ddnsctl"].map(|folder| Path::new(ROOT).join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let page = |path: PathBuf| {
        let Page { path, text } = Page::read(path.strip_prefix(ROOT).unwrap().to_str().unwrap());
        let lines = text.lines().map(|line| line.strip_prefix(".Ql ").unwrap_or(line));
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with('.')).collect();
        let text = format!("```sh\n{}\n```\n", lines.join("\n").replace("\\-", "-"));
        Page { path, text }
    };
    files.map(page).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    let mut faults = Vec::new();
    for page in pages() {
        for link in page.links() {
            if !link.contains("://") {
                count += 1;
                faults.extend(page.fault_of(&link));
            }
        }
    }
    assert!(count >= 40, "only {count} links were found");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_wrong_link_is_found() {
    let page = Page {
        path: "docs/page.md".to_owned(),
        text:
            "# A `b`, c\n[x](#a-b-c) [y](../README.md) `[no](link)`\n```sh\n# no\n[no](link)\n```\n\
               # A b c\n![z](#a-b-c-1) [1](no.md) [2](#no) [3](../README.md#no) [4](../src#no)\n"
                .to_owned(),
    };
    let faults = |link: &String| usize::from(page.fault_of(link).is_some());
    assert_eq!(page.links().iter().map(faults).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn the_readme_is_short() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}

#[test]
fn every_command_names_a_script_or_a_command_of_ddnsctl_that_exists() {
    let mut faults = Vec::new();
    let mut seen = Vec::new();
    let mut all = man_pages();
    all.extend(pages().into_iter().filter(|page| is_for_users(&page.path)));
    for page in &all {
        for command in page.commands() {
            for words in calls(command, "ddnsctl") {
                faults.extend(
                    fault_of_ddnsctl(&words).map(|fault| format!("{}: {fault}", page.path)),
                );
                seen.push(format!("ddnsctl {}", words.join(" ")));
            }
            for words in calls(command, "scripts/") {
                faults
                    .extend(fault_of_script(&words).map(|fault| format!("{}: {fault}", page.path)));
                seen.push(format!("scripts/{}", words.join(" ")));
            }
        }
    }
    for expected in [
        "ddnsctl user add",
        "ddnsctl import --state",
        "ddnsctl sign ",
        "ddnsctl list --state /var/lib/ddns-cgi/copies",
        "scripts/install",
        "scripts/try",
    ] {
        assert!(seen.iter().any(|call| call.starts_with(expected)), "no {expected} in {seen:#?}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_wrong_command_is_found() {
    for (command, is_right) in [
        ("$ sh -c \"$(ddnsctl sign HOST --curl)\"", true),
        ("sudo ddnsctl user add alice --host home.example.net", true),
        ("ddnsctl sing HOST", false),
        ("ddnsctl user sign", false),
        ("ddnsctl sign HOST --cur", false),
        ("ddnsctl apply | ddnsctl aply", false),
    ] {
        let right = calls(command, "ddnsctl").iter().all(|words| fault_of_ddnsctl(words).is_none());
        assert_eq!(right, is_right, "{command}");
    }
    for (command, is_right) in [
        ("scripts/install --dry-run", true),
        ("scripts/instal", false),
        ("scripts/install --dry", false),
    ] {
        let right = calls(command, "scripts/").iter().all(|words| fault_of_script(words).is_none());
        assert_eq!(right, is_right, "{command}");
    }
}

/// The pages whose commands their readers type.
fn is_for_users(path: &str) -> bool {
    ["README.md", "PROTOCOL.md"].contains(&path) || path.starts_with("docs/")
}

/// The arguments of each call of a program in a command; of a script, its name comes first.
fn calls<'a>(command: &'a str, program: &str) -> Vec<Vec<&'a str>> {
    let mut calls = Vec::new();
    for (at, _) in command.match_indices(program) {
        let (before, after) = (&command[..at], &command[at + program.len()..]);
        let begins = before.chars().next_back().is_none_or(|c| " ($`".contains(c));
        let ends = program.ends_with('/') || after.is_empty() || after.starts_with(' ');
        if begins && ends && !before.ends_with("man ") {
            let end = after.find(|c| "()|;&\"<>".contains(c)).unwrap_or(after.len());
            calls.push(after[..end].split_whitespace().collect());
        }
    }
    calls
}

fn fault_of_ddnsctl(words: &[&str]) -> Option<String> {
    let help = |path: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ddnsctl")).arg("help").args(path).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let unknown = || Some(format!("no command ddnsctl {}", words.join(" ")));
    let mut path = 0;
    let mut text = help(&[]).unwrap();
    while text.contains("\nCommands:\n") && path < words.len() && words[path] != "help" {
        path += 1;
        let Some(deeper) = help(&words[..path]) else { return unknown() };
        text = deeper;
    }
    let known = |option: &str| text.split([' ', ',', '\n']).any(|word| word == option);
    let option = words.iter().find(|word| word.starts_with("--") && !known(word))?;
    Some(format!("ddnsctl {} has no {option}", words[..path].join(" ")))
}

fn fault_of_script(words: &[&str]) -> Option<String> {
    let name = format!("scripts/{}", words.first()?);
    let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&name)) else {
        return Some(format!("no {name}"));
    };
    let known = |option: &str| text.split([' ', ')', ']', '[']).any(|word| word == option);
    let option = words.iter().find(|word| word.starts_with("--") && !known(word))?;
    Some(format!("{name} has no {option}"))
}

#[test]
fn the_picture_shows_what_scripts_try_says() {
    let picture = Page::read("docs/try.svg").text;
    let script = Page::read("scripts/try").text.replace("$title", "Apache");
    let steps: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("say \"")?.strip_suffix('"'))
        .filter(|step| ('1'..='7').any(|number| step.starts_with(number)))
        .collect();
    assert_eq!(steps.len(), 7, "{steps:#?}");
    for step in steps {
        assert!(picture.contains(&format!(">{step}<")), "run scripts/record: {step}");
    }
}
