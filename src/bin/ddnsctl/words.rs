//! How `ddnsctl` writes what stands in many of its lines.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The configuration file, if one was named.
pub static CONFIG: OnceLock<PathBuf> = OnceLock::new();

/// A number of things: `1 host`, `2 hosts`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A word of a command, in quotes if a shell would not take it as it is.
pub fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,=@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A command to run. One of ours names the same configuration file as this one did.
pub fn command(line: impl Into<String>) -> String {
    let line = line.into();
    match (CONFIG.get(), line.strip_prefix("ddnsctl ")) {
        (Some(file), Some(rest)) => {
            format!("ddnsctl --config {} {rest}", quoted(file.display()))
        }
        _ => line,
    }
}

/// What another program says, with escapes for what a terminal would not show as it is.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\') { shown.push(c) } else { shown.extend(c.escape_debug()) }
    }
    shown
}

/// How many names are shown of many.
pub const FEW: usize = 5;

/// The first few of some names, and how many more there are.
pub fn few(names: impl ExactSizeIterator<Item = impl Display>) -> String {
    let others = names.len().saturating_sub(FEW);
    let shown: Vec<String> = names.take(FEW).map(|name| name.to_string()).collect();
    let shown = shown.join(", ");
    if others > 0 { format!("{shown} and {others} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "host")), ["0 hosts", "1 host", "2 hosts"]);
    }

    #[test]
    fn only_what_a_terminal_would_not_show_is_escaped() {
        assert_eq!(printable("it's \"é\" \\"), "it's \"é\" \\");
        assert_eq!(printable("a\n\u{1b}[31m\u{202e}"), "a\\n\\u{1b}[31m\\u{202e}");
    }

    #[test]
    fn of_many_names_a_few_are_shown() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(few(names[..5].iter()), "a, b, c, d, e");
        assert_eq!(few(names.iter()), "a, b, c, d, e and 2 more");
    }

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        for word in ["/etc/x.json", "", "a b", "it's", "$(x)", "*", "~", "é", "a\nb"] {
            let line = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted("/etc/x.json"), "/etc/x.json");
    }
}
