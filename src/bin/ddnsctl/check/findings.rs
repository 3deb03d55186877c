//! What `ddnsctl check` finds, as text and as JSON.

use ddns_cgi::fault::Fault;
use serde_json::json;

use crate::Report;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Warning = 1,
    Error = 2,
}

/// What is wrong with what, and what to do about it.
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
        self.add(Level::Error, &subject, &problem, &advice);
    }

    pub fn warning(
        &mut self,
        subject: impl ToString,
        problem: impl ToString,
        advice: impl ToString,
    ) {
        self.add(Level::Warning, &subject, &problem, &advice);
    }

    fn add(
        &mut self,
        level: Level,
        subject: &dyn ToString,
        problem: &dyn ToString,
        advice: &dyn ToString,
    ) {
        self.0.push(Finding {
            level,
            subject: subject.to_string(),
            problem: problem.to_string(),
            advice: advice.to_string(),
        });
    }

    pub fn fault(&mut self, fault: &Fault) {
        self.error(&fault.subject, &fault.reason, "Then run this again");
    }

    pub fn into_report(self, as_json: bool, summary: &str) -> Report {
        let status = self.0.iter().map(|finding| finding.level as u8).max().unwrap_or(0);
        let word = |level| if level == Level::Error { "error" } else { "warning" };
        let text = if as_json {
            let list: Vec<_> = self
                .0
                .iter()
                .map(|f| json!({"level": word(f.level), "subject": f.subject, "problem": f.problem, "advice": f.advice}))
                .collect();
            format!("{:#}\n", json!(list))
        } else if self.0.is_empty() {
            format!("all is well: {summary}\n")
        } else {
            let line = |f: &Finding| {
                format!("{}: {}: {}. {}.\n", word(f.level), f.subject, f.problem, f.advice)
            };
            self.0.iter().map(line).collect()
        };
        Report { text, status }
    }
}
