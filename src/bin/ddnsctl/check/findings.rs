//! What `ddnsctl check` finds, as text or as JSON.

use ddns_cgi::fault::Fault;
use serde_json::{Value, json};

use crate::Report;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Warning = 1,
    Error = 2,
}

/// What is wrong with which thing, and what to do about it.
struct Finding {
    level: Level,
    subject: String,
    problem: String,
    advice: String,
}

/// The findings so far.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

#[expect(clippy::needless_pass_by_value, reason = "format_args! makes values")]
impl Findings {
    pub fn error(&mut self, subject: impl ToString, problem: impl ToString, advice: impl ToString) {
        self.add(Level::Error, [subject.to_string(), problem.to_string(), advice.to_string()]);
    }

    pub fn warning(
        &mut self,
        subject: impl ToString,
        problem: impl ToString,
        advice: impl ToString,
    ) {
        self.add(Level::Warning, [subject.to_string(), problem.to_string(), advice.to_string()]);
    }

    fn add(&mut self, level: Level, [subject, problem, advice]: [String; 3]) {
        self.0.push(Finding { level, subject, problem, advice });
    }

    /// Adds other findings after these.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub fn fault(&mut self, fault: &Fault) {
        self.error(&fault.subject, &fault.reason, "Then run this again");
    }

    /// The report, with the worst level as its status. If nothing was found, `summary` says what
    /// there is.
    pub fn into_report(self, as_json: bool, summary: &str) -> Report {
        let status = self.0.iter().map(|finding| finding.level as u8).max().unwrap_or(0);
        let text = if as_json {
            let list: Vec<Value> = self.0.iter().map(Finding::to_json).collect();
            format!("{:#}\n", json!(list))
        } else if self.0.is_empty() {
            format!("all is well: {summary}\n")
        } else {
            self.0.iter().map(Finding::to_line).collect()
        };
        Report { text, status }
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Finding {
    fn to_json(&self) -> Value {
        json!({
            "level": self.level.word(),
            "subject": self.subject,
            "problem": self.problem,
            "advice": self.advice,
        })
    }

    fn to_line(&self) -> String {
        let Self { level, subject, problem, advice } = self;
        format!("{}: {subject}: {problem}. {advice}.\n", level.word())
    }
}
