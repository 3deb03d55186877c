//! Colours, for a terminal. Whatever prints a text takes them out of it where nobody would see
//! them: in a pipe, on a dumb terminal, or with `NO_COLOR`.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// What went wrong.
const BAD: Style = AnsiColor::Red.on_default().bold();

/// What may go wrong.
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();

/// What is as it should be.
const GOOD: Style = AnsiColor::Green.on_default().bold();

/// A text about what went wrong.
pub fn bad(text: impl Display) -> String {
    styled(BAD, text)
}

/// A text about what may go wrong.
pub fn doubtful(text: impl Display) -> String {
    styled(DOUBTFUL, text)
}

/// A text about what is as it should be.
pub fn good(text: impl Display) -> String {
    styled(GOOD, text)
}

/// The head of a table.
pub fn head(text: impl Display) -> String {
    styled(Style::new().bold(), text)
}

fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
