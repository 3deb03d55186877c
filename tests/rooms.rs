//! The house is in order: arrows go down, each room says what it is for, and lines fit the page.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a house that is not in order panics"
)]

use std::fs;
use std::path::Path;

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

/// All files below a folder, with their texts. Their paths begin below `src/`.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap().flat_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return sources(&path);
        }
        let name = path.strip_prefix(SRC).unwrap().to_str().unwrap().to_owned();
        vec![(name, fs::read_to_string(path).unwrap())]
    });
    files.collect()
}

fn all_sources() -> Vec<(String, String)> {
    sources(Path::new(SRC))
}

/// The modules of the library below its root, without comments and tests. Their names are paths
/// such as `store::state`. The own file of a room has the name of the room.
fn modules() -> Vec<(String, String)> {
    let mut modules = all_sources();
    modules.retain(|(path, _)| {
        let is_other = ["lib.rs", "main.rs", "update/tests.rs"].contains(&path.as_str());
        !is_other && !path.starts_with("bin/")
    });
    for (name, text) in &mut modules {
        *name = name.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        *text = code.filter(is_code).collect::<Vec<_>>().join("\n");
    }
    modules
}

/// Which module uses which, by `use` or by a path within its code.
fn arrows() -> Vec<(String, String)> {
    let modules = modules();
    let mut arrows = Vec::new();
    for (user, code) in &modules {
        let is_hidden = code.contains("super::") || code.contains("self::");
        assert!(!is_hidden, "{user}: begin paths with crate::, or this test does not follow them");
        for path in code.split("crate::").skip(1).flat_map(paths) {
            let is_used = |name: &str| path == name || path.starts_with(&format!("{name}::"));
            let used = modules.iter().map(|(name, _)| name).filter(|name| is_used(name));
            let used = used.max_by_key(|name| name.len());
            let used = used.unwrap_or_else(|| panic!("{user}: crate::{path} is in no room"));
            arrows.push((user.clone(), used.clone()));
        }
    }
    arrows.retain(|(user, used)| user != used);
    arrows.sort();
    arrows.dedup();
    assert!(arrows.len() > 80, "only {} arrows were found", arrows.len());
    arrows
}

/// The path that a text begins with, or several if it goes on in braces.
fn paths(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
    let (path, rest) = text.split_at(end.unwrap_or(text.len()));
    let Some(group) = rest.strip_prefix('{') else { return vec![path.to_owned()] };
    let group = group.split('}').next().unwrap();
    assert!(!group.contains('{'), "have one `use` for each module: {path}{{{group}}}");
    group.split(',').map(|name| format!("{path}{}", name.trim())).collect()
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

/// The lines `//!` that a file begins with.
fn header(text: &str) -> Vec<&str> {
    text.lines().map_while(|line| line.strip_prefix("//!")).collect()
}

/// The modules that a file declares.
fn declared(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap().lines();
    code.filter_map(|line| Some(line.strip_suffix(';')?.split_once("mod ")?.1)).collect()
}

#[test]
fn an_arrow_from_room_to_room_goes_down() {
    let lib = fs::read_to_string(Path::new(SRC).join("lib.rs")).unwrap();
    let items = header(&lib).into_iter().filter(|line| line.starts_with(" - "));
    let rooms: Vec<&str> = items.map(|item| item.split('`').nth(1).unwrap()).collect();
    let mut sorted = rooms.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, declared(&lib), "src/lib.rs: its list and its modules differ");
    let place = |module: &str| rooms.iter().position(|listed| *listed == room(module)).unwrap();
    let mut arrows = arrows();
    arrows.retain(|(user, used)| place(user) > place(used));
    assert!(arrows.is_empty(), "these go up: {arrows:#?}");
}

#[test]
fn no_arrows_within_a_room_go_round() {
    let mut arrows = arrows();
    arrows.retain(|(user, used)| room(user) == room(used));
    // An arrow lies on no cycle if none begins where it ends, or none ends where it begins.
    let mut before = 0;
    while arrows.len() != before {
        before = arrows.len();
        let (users, all_used): (Vec<_>, Vec<_>) = arrows.iter().cloned().unzip();
        arrows.retain(|(user, used)| users.contains(used) && all_used.contains(user));
    }
    assert!(arrows.is_empty(), "these go round: {arrows:#?}");
}

#[test]
fn each_room_says_what_it_is_for_and_names_its_modules() {
    for (path, text) in all_sources().iter().filter(|(path, _)| path.ends_with("/mod.rs")) {
        let header = header(text);
        let story = header.iter().take_while(|line| !line.starts_with(" - "));
        let words = story.flat_map(|line| line.split_whitespace()).count();
        assert!(words >= 30, "src/{path}: {words} words tell a newcomer too little");
        for name in declared(text) {
            let is_named = header.iter().any(|line| line.contains(&format!("`{name}`")));
            assert!(is_named, "src/{path} does not name {name}");
        }
    }
}

#[test]
fn no_line_is_longer_than_100_columns() {
    let mut long = Vec::new();
    for (path, text) in all_sources() {
        let lines = text.lines().zip(1..).filter(|(line, _)| line.chars().count() > 100);
        long.extend(lines.map(|(_, number)| format!("src/{path}:{number}")));
    }
    assert!(long.is_empty(), "{long:#?}");
}
