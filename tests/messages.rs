//! Every line that the operator's programs can print is printed by a test, and stands in
//! `tests/messages.txt`, where they can be read as a whole.
//!
//! A message is a text in the source, with a gap `{}` for each part that is filled in. A test prints it
//! if a transcript in `tests/transcripts/` has it, or if a test looks for a part of it. After a change,
//! `DDNS_UPDATE=1` writes `tests/messages.txt` anew: read what differs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The programs: files of ddnsctl's source, and scripts.
const SCRIPTS: [&str; 3] = ["scripts/install", "scripts/ip-update", "scripts/ramcache"];

/// Messages that no test prints, and why.
const UNPRINTED: [(&str, &str); 24] = [
    ("applied by ddnsctl", NOTE),
    ("state rebuilt by ddnsctl", NOTE),
    ("SEE ALSO", "stands in man pages: tests/manual.rs"),
    ("reading the state", WAITING),
    ("waiting for the dynamic update", WAITING),
    ("waiting for the dynamic update under way", WAITING),
    ("checking the clock", WAITING),
    ("checking the files", WAITING),
    ("checking the name servers of the zones", WAITING),
    ("checking the restart command", WAITING),
    ("checking the web server", WAITING),
    ("checking the zones that are public", WAITING),
    ("copying the files", WAITING),
    ("examining the files", WAITING),
    ("rebuilding the state", WAITING),
    ("another save is running and does not finish", "takes a minute"),
    ("cannot lock $folder/.$state.lock", "takes 30 seconds"),
    ("the clock shows no usable year", "needs a clock after the year 9999"),
    ("no random bytes: {error}", "needs a kernel without random bytes"),
    ("the kernel gave too few random bytes", "needs a kernel that breaks its promise"),
    ("belongs to a user whose key is unusable", "needs a key that HMAC cannot use: there is none"),
    ("give to the web server's group", "needs a file system that refuses root a change of group"),
    (
        "dnsmasq rejects its configuration with $target, so that file was removed again: $verdict",
        "needs a dnsmasq that rejects these lines",
    ),
    ("{shown} was changed meanwhile: run this again", "needs another command at one moment"),
];
const NOTE: &str = "stands in the mark of a change, which nothing prints";
const WAITING: &str = "shown while one waits for over a second; one of these is tested";

/// The shortest part of a message that tells it from others.
const SHORTEST: usize = 10;

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}

/// The texts in Rust code, without those in comments and attributes.
fn texts_of_rust(code: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(['"', '/', '\'', '#']) {
        let (before, found) = rest.split_at(start);
        let is_raw = before.ends_with('r');
        let (text, after) = if let Some(comment) = found.strip_prefix("//") {
            (None, comment.split_once('\n').map_or("", |(_, after)| after))
        } else if found.starts_with("#[") || found.starts_with("#![") {
            (None, after_attribute(found))
        } else if let Some(text) = found.strip_prefix("#\"").filter(|_| is_raw) {
            let (text, after) = text.split_once("\"#").unwrap();
            (Some(text.to_owned()), after)
        } else if let Some(text) = found.strip_prefix('"').filter(|_| is_raw) {
            let (text, after) = text.split_once('"').unwrap();
            (Some(text.to_owned()), after)
        } else if let Some(text) = found.strip_prefix('"') {
            let (text, after) = plain_text(text);
            (Some(text), after)
        } else if let Some(character) = found.strip_prefix('\'') {
            (None, after_character(character))
        } else {
            (None, &found[1..])
        };
        texts.extend(text);
        rest = after;
    }
    texts
}

/// The code after a character and its closing mark; after the opening mark, if that begins a lifetime.
fn after_character(code: &str) -> &str {
    let end = if code.starts_with("\\'") { 2 } else { code.find('\'').unwrap_or(code.len()) };
    let is_character = code.starts_with('\\') || code[..end].chars().count() == 1;
    if is_character { &code[end + 1..] } else { code }
}

fn after_attribute(code: &str) -> &str {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return &code[at + 1..],
            ']' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// A text up to its quotation mark, and the code after that.
fn plain_text(code: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = code.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (text, &code[at + 1..]),
            '\\' => match characters.next() {
                // The next line's text goes on with its first word.
                Some((next, '\n')) => {
                    let after = code[next + 1..].trim_start();
                    let (more, after) = plain_text(after);
                    return (text + &more, after);
                }
                Some((_, 'n')) => text.push('\n'),
                Some((_, c)) => text.push(c),
                None => {}
            },
            c => text.push(c),
        }
    }
    (text, "")
}

/// The texts in double or single quotation marks of a shell script, without those in comments.
fn texts_of_shell(script: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = script;
    while let Some(start) = rest.find(['"', '\'', '\\', '#']) {
        let (before, found) = rest.split_at(start);
        let is_comment = before.is_empty() || before.ends_with([' ', '\n']);
        let mark = found.chars().next().unwrap();
        rest = &found[1..];
        if mark == '#' && is_comment {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if mark == '\\' {
            rest = rest.get(1..).unwrap_or_default();
        } else if mark != '#' {
            let (text, after) = quoted_text(rest, mark);
            texts.push(text);
            rest = after;
        }
    }
    texts
}

/// A text up to its quotation mark, and the script after that.
fn quoted_text(script: &str, mark: char) -> (String, &str) {
    let mut text = String::new();
    let mut characters = script.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            c if c == mark => return (text, &script[at + 1..]),
            '\\' if mark == '"' => text.extend(characters.next().map(|(_, c)| c)),
            c => text.push(c),
        }
    }
    (text, "")
}

/// The calls of a script that print a message.
fn prints(line: &str) -> bool {
    ["say ", "fail ", "die ", "complain ", "step ", "todo+=", "echo \"", "echo '", "next+="]
        .iter()
        .any(|call| line.contains(call))
}

/// A message without what is filled in: `{name}` in Rust, `$name` and `$(command)` in a shell.
fn parts(message: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = message.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '{' if characters.peek() == Some(&'{') => {
                characters.next();
                parts.last_mut().unwrap().push('{');
            }
            '{' => {
                characters.by_ref().take_while(|c| *c != '}').for_each(drop);
                parts.push(String::new());
            }
            '$' => {
                let closing = match characters.peek() {
                    Some('{') => Some('}'),
                    Some('(') => Some(')'),
                    _ => None,
                };
                if let Some(closing) = closing {
                    characters.by_ref().take_while(|c| *c != closing).for_each(drop);
                } else {
                    let is_name = |c: &char| c.is_alphanumeric() || "_#*@?!".contains(*c);
                    while characters.next_if(is_name).is_some() {}
                }
                parts.push(String::new());
            }
            '\n' => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    // Where a quotation mark within $(...) has torn a message apart.
    let whole = |part: String| part.trim_start_matches(')').trim().to_owned();
    parts.into_iter().map(whole).filter(|part| !part.is_empty()).collect()
}

/// Whether a text is for people: it has two words, one of them longer than an abbreviation.
fn is_prose(text: &str) -> bool {
    let is_word = |word: &&str| {
        word.len() > 1 && word.chars().all(|c| c.is_alphabetic() || "',.:;".contains(c))
    };
    text.split_whitespace().filter(is_word).count() >= 2 && text.contains(' ')
}

/// The messages of each program's file.
fn messages() -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for path in files(&Path::new(ROOT).join("src/bin/ddnsctl")) {
        let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap();
        let texts = texts_of_rust(code).into_iter().filter(|text| is_prose(text));
        all.push((name, texts.collect::<Vec<_>>()));
    }
    for name in SCRIPTS {
        let script = fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
        let lines: Vec<&str> = script.lines().filter(|line| prints(line)).collect();
        let texts = texts_of_shell(&lines.join("\n")).into_iter().filter(|text| is_prose(text));
        all.push((name.to_owned(), texts.collect()));
    }
    all.retain(|(_, texts)| !texts.is_empty());
    for (_, texts) in &mut all {
        texts.sort();
        texts.dedup();
    }
    all
}

/// What tests have of the messages.
struct Tests {
    /// The transcripts and the shell scripts, which may have whole messages.
    shown: String,
    /// All texts that a test looks for.
    looked_for: Vec<String>,
}

impl Tests {
    fn read() -> Self {
        let mut tests = Self { shown: String::new(), looked_for: Vec::new() };
        for path in files(&Path::new(ROOT).join("tests")) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.ends_with("messages.rs") || path.ends_with("messages.txt") => {}
                Some("rs") => tests.looked_for.extend(texts_of_rust(&text)),
                Some("sh") => {
                    tests.looked_for.extend(texts_of_shell(&text));
                    tests.shown += &text;
                }
                Some("txt") => tests.shown += &text,
                _ => {}
            }
        }
        for path in files(&Path::new(ROOT).join("src/bin/ddnsctl")) {
            let text = fs::read_to_string(path).unwrap();
            let (_, unit_tests) = text.split_once("#[cfg(test)]").unwrap_or_default();
            tests.looked_for.extend(texts_of_rust(unit_tests));
        }
        tests.looked_for.retain(|text| text.len() >= SHORTEST);
        tests
    }

    /// Whether a test prints this message.
    fn print(&self, message: &str) -> bool {
        let parts = parts(message);
        let Some(longest) = parts.iter().max_by_key(|part| part.len()) else { return true };
        let is_looked_for = |text: &String| {
            parts.iter().any(|part| part.contains(text.as_str())) || text.contains(longest.as_str())
        };
        self.shown.contains(longest.as_str()) || self.looked_for.iter().any(is_looked_for)
    }
}

#[test]
fn each_message_of_the_operators_programs_is_printed_by_a_test() {
    let tests = Tests::read();
    let mut unprinted = Vec::new();
    for (name, texts) in messages() {
        for text in texts {
            let is_known = UNPRINTED.iter().any(|(message, _)| *message == text);
            let is_printed = tests.print(&text);
            assert!(!(is_known && is_printed), "a test prints it after all: {text}");
            if !is_known && !is_printed {
                unprinted.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(
        unprinted.is_empty(),
        "no test prints these {}:\n{}",
        unprinted.len(),
        unprinted.join("\n")
    );
}

#[test]
fn the_list_of_messages_is_complete() {
    let path = Path::new(ROOT).join("tests/messages.txt");
    let mut list = String::from(
        "What the operator's programs can print, as it stands in their source. DDNS_UPDATE=1 cargo test \
         --test messages\nwrites this list; a test keeps it complete.\n",
    );
    for (name, texts) in messages() {
        list += &format!("\n{name}\n");
        for text in texts {
            list += &format!("    {}\n", text.trim_end().replace('\n', "\n    "));
        }
    }
    if std::env::var_os("DDNS_UPDATE").is_some() {
        fs::write(&path, &list).unwrap();
    }
    let is_same = fs::read_to_string(&path).is_ok_and(|there| there == list);
    assert!(
        is_same,
        "tests/messages.txt is not up to date: DDNS_UPDATE=1 cargo test --test messages"
    );
}
