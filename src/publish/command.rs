//! Runs a command with a time limit. No shell, no inherited environment, no terminal.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::COMMAND_PATH;
use crate::text::visible;

/// How many bytes at either end of the command's output may hold its first and its last line.
const END: u16 = 400;

/// What may be a secret has at least so many digits.
const SECRET: usize = 16;

/// The longest pause between two looks at whether the command has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs `words`, a program and its arguments, with `input` as its standard input. The error says
/// why the program did not succeed within `limit`, and quotes what it printed. Without words there
/// is nothing to do.
pub fn run(words: &[String], input: &str, limit: Duration) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let program_file = find(program)
        .ok_or_else(|| format!("{program} not found: install it or correct the configuration"))?;
    let no_file = |error| format!("no file for input and output: {error}");
    let input = memory_file(input).map_err(no_file)?;
    let [output, errors] = [memory_file("").map_err(no_file)?, memory_file("").map_err(no_file)?];
    let status = start(&program_file, arguments, [&input, &output, &errors])
        .and_then(|mut child| wait(&mut child, limit))
        .map_err(|error| format!("cannot run {}: {error}", program_file.display()))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{status}{}", reason(&errors, &output))),
        None => {
            let seconds = limit.as_secs();
            Err(format!("no end within {seconds} s{}", reason(&errors, &output)))
        }
    }
}

/// The file of a program. A bare name is looked up in [`COMMAND_PATH`].
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    COMMAND_PATH.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// A file for the input or the output. A daemon that the command starts may keep it open, and with
/// a pipe we would wait for that daemon.
fn memory_file(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("ddns-cgi", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Starts the program in its own process group, so that its children can be killed with it.
fn start(program: &Path, arguments: &[String], files: [&File; 3]) -> io::Result<Child> {
    let [input, output, errors] = files;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", COMMAND_PATH.join(":"))
        .env("LC_ALL", "C")
        .stdin(input.try_clone()?)
        .stdout(output.try_clone()?)
        .stderr(errors.try_clone()?)
        .process_group(0)
        .spawn()
}

/// Waits for the program to end, and kills it if it does not end in time: then the result is
/// `None`. We cannot kill the program of another user, such as sudo, and leave it alone.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            return Ok(None);
        }
        sleep(pause);
        pause = (pause * 2).min(PAUSE);
    }
}

/// What the program said last, with what it said first if that is something else: nsupdate names a
/// key that it cannot read, and goes on. Errors count before output.
///
/// Escaped, so it cannot disturb a log. Semicolons that begin a remark are left out.
fn reason(errors: &File, output: &File) -> String {
    let said = |file| {
        let mut lines = lines_at(file, SeekFrom::Start(0));
        lines.truncate(1);
        lines.extend(lines_at(file, SeekFrom::End(-i64::from(END))).pop());
        lines.dedup();
        lines
    };
    let mut lines = said(errors);
    if lines.is_empty() {
        lines = said(output);
    }
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
}

/// A text without what may be a secret: nsupdate quotes a key that it cannot read. A run of base64
/// or hexadecimal digits counts, if it has letters and numbers and is too long for a word.
fn without_secrets(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_digit(c) != is_digit(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let has = |is: fn(&char) -> bool| run.chars().any(|c| is(&c));
        let is_mixed = has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
        shown += if run.len() >= SECRET && is_mixed { "[...]" } else { run };
        rest = after;
    }
    shown
}

/// The lines at a place in a file, or at its start if there is no such place.
fn lines_at(mut file: &File, place: SeekFrom) -> Vec<String> {
    let mut bytes = Vec::new();
    let _ = file.seek(place).or_else(|_| file.seek(SeekFrom::Start(0)));
    let _ = file.take(END.into()).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(|line| line.trim_start_matches([';', ' ']).trim());
    lines.filter(|line| !line.is_empty()).map(|line| without_secrets(&visible(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<(), String> {
        run(&["sh", "-c", script].map(String::from), "", limit)
    }

    const ENOUGH: Duration = Duration::from_secs(20);

    #[test]
    fn success_and_failure_are_told_apart_with_what_was_said() {
        assert_eq!(sh("echo noise", ENOUGH), Ok(()));
        assert_eq!(
            sh("echo one; echo two >&2; exit 3", ENOUGH).unwrap_err(),
            "exit status: 3: two"
        );
        assert_eq!(
            sh("echo ';; ERROR: two'; exit 1", ENOUGH).unwrap_err(),
            "exit status: 1: ERROR: two"
        );
        let script = "echo 'no key' >&2; seq 999 >&2; echo REFUSED >&2; exit 2";
        assert_eq!(sh(script, ENOUGH).unwrap_err(), "exit status: 2: no key; REFUSED");
        assert_eq!(sh("exit 1", ENOUGH).unwrap_err(), "exit status: 1");
        assert_eq!(run(&[], "", ENOUGH), Ok(()));
    }

    #[test]
    fn a_secret_that_a_tool_quotes_is_left_out() {
        for (said, shown) in [
            (
                "could not create key from hmac-sha256:ddns:c2VjcmV0IG9mIHRoZSB0ZXN0cyEh=,: bad",
                "could not create key from hmac-sha256:ddns:[...],: bad",
            ),
            ("unknown option 'c2VjcmV0IG9mIHRoZSB0ZXN0cy'", "unknown option '[...]'"),
            ("secret 00112233445566778899aabbccddeeff", "secret [...]"),
            ("/media/data/www/ramcache/hosts.dns: no", "/media/data/www/ramcache/hosts.dns: no"),
            ("Communication with 192.0.2.1#53 failed", "Communication with 192.0.2.1#53 failed"),
        ] {
            let script = format!("echo \"{said}\" >&2; exit 1");
            assert_eq!(sh(&script, ENOUGH).unwrap_err(), format!("exit status: 1: {shown}"));
        }
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let missing = run(&["no-such-program".to_owned()], "", ENOUGH).unwrap_err();
        assert!(missing.contains("no-such-program not found"), "{missing}");
        let missing = run(&["/no/such/program".to_owned()], "", ENOUGH).unwrap_err();
        assert!(missing.contains("cannot run /no/such/program"), "{missing}");
    }

    #[test]
    fn the_limit_ends_the_command_and_its_children() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script =
            format!("(sleep 2; echo alive > {}) & echo hanging; sleep 9", file.path().display());
        let started = Instant::now();
        let error = sh(&script, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, "no end within 1 s: hanging");
        assert!(started.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(1500));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "");
    }

    #[test]
    fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
        let started = Instant::now();
        assert_eq!(sh("sleep 5 & exit 0", ENOUGH), Ok(()));
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn the_program_reads_its_input_to_the_end() {
        let words = ["sh", "-c", "test \"$(cat | tail -n 1)\" = last"].map(String::from);
        assert_eq!(run(&words, &("line\n".repeat(100_000) + "last\n"), ENOUGH), Ok(()));
        assert!(run(&words, "first\n", ENOUGH).is_err());
    }

    #[test]
    fn the_environment_is_cleared() {
        let script = r#"
            own=$(env | grep -v -e '^PWD=' -e '^_=' -e '^SHLVL=' | sort | tr '\n' ' ')
            test "$own" = "LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin ""#;
        assert_eq!(sh(script, ENOUGH), Ok(()));
    }
}
