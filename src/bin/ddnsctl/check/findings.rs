//! What `ddnsctl check` finds, as text or as JSON.

use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use ddns_cgi::fault::Fault;
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::words::{count, few};
use crate::{QUIET, Report, style, words};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Warning = 1,
    Error = 2,
}

/// What is wrong with which thing, and what to do about it.
struct Finding {
    level: Level,
    subject: String,
    /// The hosts, if it is about hosts. The subject names a few of them.
    hosts: Vec<String>,
    problem: String,
    advice: Advice,
}

/// What to do about a finding: words, commands that can be copied, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    words: String,
    commands: Vec<String>,
}

impl Advice {
    /// A command to run.
    pub fn run(command: impl Into<String>) -> Self {
        Self::say("").then(command)
    }

    /// Something to do that is no command. A colon at its end leads to commands.
    pub fn say(words: impl Into<String>) -> Self {
        Self { words: words.into(), commands: Vec::new() }
    }

    /// The same commands, after these words.
    pub fn after(self, words: impl Into<String>) -> Self {
        Self { words: words.into(), ..self }
    }

    /// The same advice, and then another command to run.
    pub fn then(mut self, command: impl Into<String>) -> Self {
        self.commands.push(words::command(command));
        self
    }
}

impl<T: ToString> From<T> for Advice {
    fn from(words: T) -> Self {
        Self::say(words.to_string())
    }
}

/// The findings so far.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

#[expect(clippy::needless_pass_by_value, reason = "format_args! makes values")]
impl Findings {
    pub fn error(
        &mut self,
        subject: impl ToString,
        problem: impl ToString,
        advice: impl Into<Advice>,
    ) {
        self.add(Level::Error, [subject.to_string(), problem.to_string()], advice.into());
    }

    pub fn warning(
        &mut self,
        subject: impl ToString,
        problem: impl ToString,
        advice: impl Into<Advice>,
    ) {
        self.add(Level::Warning, [subject.to_string(), problem.to_string()], advice.into());
    }

    fn add(&mut self, level: Level, [subject, problem]: [String; 2], advice: Advice) {
        self.0.push(Finding { level, subject, hosts: Vec::new(), problem, advice });
    }

    /// The same problem of several hosts, in one finding. The text names a few of them, JSON all.
    pub fn hosts(
        &mut self,
        level: Level,
        hosts: Vec<String>,
        problem: impl ToString,
        advice: impl Into<Advice>,
    ) {
        if hosts.is_empty() {
            return;
        }
        let (subject, problem) = (few(hosts.iter()), problem.to_string());
        self.0.push(Finding { level, subject, hosts, problem, advice: advice.into() });
    }

    /// Adds other findings after these.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// A fault. Where only root has access, there is no other advice.
    pub fn fault(&mut self, fault: Fault, advice: impl Into<Advice>) {
        if fault.kind == Some(ErrorKind::PermissionDenied) && !geteuid().is_root() {
            self.error(fault.subject, "you have no access to it", "Run ddnsctl as root.");
        } else {
            self.error(fault.subject, fault.reason, advice);
        }
    }

    /// The report, with the worst level as its status. If nothing was found, `summary` says what
    /// there is, unless only what is wrong is wanted.
    pub fn into_report(self, as_json: bool, summary: &str) -> Report {
        let status = self.0.iter().map(|finding| finding.level as u8).max().unwrap_or(0);
        let text = if as_json {
            let list: Vec<Value> = self.0.iter().map(Finding::to_json).collect();
            format!("{:#}\n", json!(list))
        } else if !self.0.is_empty() {
            self.to_lines()
        } else if QUIET.load(Ordering::Relaxed) {
            String::new()
        } else {
            format!("{}: {summary}\n", style::good("all is well"))
        };
        Report { text, status, ..Report::default() }
    }

    /// All findings, and how many there are. Advice for several in a row stands once, after the
    /// last of them.
    fn to_lines(&self) -> String {
        let mut text = String::new();
        for (number, finding) in self.0.iter().enumerate() {
            text += &finding.line();
            let next = self.0.get(number + 1);
            if next.is_none_or(|next| next.advice != finding.advice) {
                text += &finding.advice.to_lines();
            }
        }
        let number = |level| self.0.iter().filter(|finding| finding.level == level).count();
        let numbers = [(Level::Error, "error"), (Level::Warning, "warning")];
        let numbers = numbers.map(|(level, word)| (number(level), word));
        let numbers = numbers.iter().filter(|(number, _)| *number > 0);
        let numbers: Vec<String> = numbers.map(|(number, word)| count(*number, word)).collect();
        text + &numbers.join(", ") + "\n"
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// A text in the colour of this level.
    fn styled(self, text: impl Display) -> String {
        match self {
            Self::Warning => style::doubtful(text),
            Self::Error => style::bad(text),
        }
    }
}

impl Finding {
    fn to_json(&self) -> Value {
        let mut value = json!({
            "level": self.level.word(),
            "subject": self.subject,
            "problem": self.problem,
            "advice": self.advice.words,
            "commands": self.advice.commands,
        });
        if let Some(fields) = value.as_object_mut().filter(|_| !self.hosts.is_empty()) {
            fields.insert("hosts".to_owned(), json!(self.hosts));
        }
        value
    }

    /// What is wrong.
    fn line(&self) -> String {
        let Self { level, subject, problem, .. } = self;
        let level = level.styled(format_args!("{}:", level.word()));
        format!("{level} {subject}: {problem}\n")
    }
}

impl Advice {
    /// What to do. A command has a line of its own, to be copied.
    fn to_lines(&self) -> String {
        let words = Some(&self.words).filter(|words| !words.is_empty());
        let lines = words.into_iter().chain(&self.commands);
        lines.flat_map(|line| ["    ", line, "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a report, as a pipe gets it.
    fn text(findings: Findings) -> String {
        anstream::adapter::strip_str(&findings.into_report(false, "").text).to_string()
    }

    #[test]
    fn a_command_has_a_line_of_its_own_and_advice_for_several_stands_once() {
        let mut findings = Findings::default();
        findings.error("a", "is bad", Advice::run("mend"));
        findings.error("b", "is bad", Advice::run("mend"));
        findings.warning("c", "is doubtful", Advice::say("Look, then run:").then("mend"));
        findings.warning("d", "is doubtful", "Wait.");
        let expected = "error: a: is bad\nerror: b: is bad\n    mend\nwarning: c: is doubtful\n    \
                        Look, then run:\n    mend\nwarning: d: is doubtful\n    Wait.\n\
                        2 errors, 2 warnings\n";
        assert_eq!(text(findings), expected);
    }

    #[test]
    fn of_many_hosts_the_text_names_a_few_and_json_names_all() {
        let hosts: Vec<String> = (0..10_000).map(|n| format!("h{n}.example")).collect();
        let findings = || {
            let mut findings = Findings::default();
            findings.hosts(Level::Warning, hosts.clone(), "are bad", "Wait.");
            findings.hosts(Level::Error, Vec::new(), "are bad", "Wait.");
            findings
        };
        let expected = "warning: h0.example, h1.example, h2.example, h3.example, h4.example \
                        and 9995 more: are bad\n    Wait.\n1 warning\n";
        assert_eq!(text(findings()), expected);
        let json = findings().into_report(true, "").text;
        let list: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(list[0]["hosts"].as_array().unwrap().len(), 10_000);
    }
}
