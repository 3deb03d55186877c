//! Shows a waiting operator what `ddnsctl` is at: on a terminal, once a step takes over a second.
//! It is gone when the report comes.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::words::count;

/// A step that takes longer than this is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often what is shown changes.
const TICK: Duration = Duration::from_millis(200);

/// The step under way, and since when.
static STEP: Mutex<Option<(&str, Instant)>> = Mutex::new(None);

/// How many answers of name servers are still to come, and how many came in this step.
static OPEN: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);

/// What shows the progress until it is dropped.
pub struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

/// Begins to show the progress, if there is a terminal.
pub fn show() -> Progress {
    if !io::stderr().is_terminal() {
        return Progress(None);
    }
    let (end, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut is_shown = false;
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let line = line();
            if is_shown || line.is_some() {
                put(line.as_deref().unwrap_or_default());
            }
            is_shown = line.is_some();
        }
        if is_shown {
            put("");
        }
    });
    Progress(Some((end, thread)))
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

/// Begins the next step, such as `asking the name server`.
pub fn step(name: &'static str) {
    *STEP.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, Instant::now()));
    DONE.store(0, Ordering::Relaxed);
}

/// Notes that name servers are asked so many more questions.
pub fn ask(questions: usize) {
    OPEN.fetch_add(questions, Ordering::Relaxed);
}

/// Notes that a name server has answered a question.
pub fn answered() {
    DONE.fetch_add(1, Ordering::Relaxed);
}

/// Notes that so many questions are done with, answered or not.
pub fn asked(questions: usize) {
    OPEN.fetch_sub(questions, Ordering::Relaxed);
}

/// What to show now.
fn line() -> Option<String> {
    let step = *STEP.lock().unwrap_or_else(PoisonError::into_inner);
    let (name, since) = step.filter(|(_, since)| since.elapsed() >= PATIENCE)?;
    let seconds = since.elapsed().as_secs();
    let questions = OPEN.load(Ordering::Relaxed);
    let answers = DONE.load(Ordering::Relaxed);
    Some(if questions == 0 {
        format!("{name} ({seconds} s)")
    } else {
        format!("{name} ({seconds} s, {})", count(answers, "answer"))
    })
}

/// Puts a text in the place of the terminal's line: ECMA-48, erase in line.
fn put(text: &str) {
    let _ = io::stderr().write_all(format!("\r\x1b[K{text}").as_bytes());
}
