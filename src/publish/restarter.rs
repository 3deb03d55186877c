//! Makes dnsmasq serve what the state says, without letting the client wait.
//!
//! A request that finds the mark starts a *restarter*: this same program in another role, detached.
//! The restarter works until the mark is gone or the restart fails. Why no change is left behind:
//!
//! - A request adds its line to the mark under the lock of the state, and starts a restarter after.
//! - One restarter works at a time, the holder of `.hosts.dns.restart.lock`. Others leave at once.
//! - The holder compares the mark with what it was before the restart, removes it, and *gives up its
//!   own lock*, all under the lock of the state. So a line is either seen by the holder, or added
//!   when there is no holder, and then its own restarter becomes one.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use nix::sys::signal::SigSet;

use crate::config::{self, Config};
use crate::fault::Fault;
use crate::http::log;
use crate::publish::command;
use crate::publish::mark::Mark;
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::lock::Lock;
use crate::store::replace::companion;
use crate::store::state::{Patience, State};

/// The environment variable that gives this program the role of the restarter. A client cannot set
/// it: a header `X` reaches a CGI as `HTTP_X` (RFC 3875, 4.1.18).
pub const ROLE: &str = "DDNS_RESTARTER";

/// Names the local time zone, where it is set: environ(7).
const TIME_ZONE: &str = "TZ";

/// How long a restart may take. systemd's own limit for a stop and a start is longer, but dnsmasq
/// needs a second or two.
const LIMIT: Duration = Duration::from_secs(30);

/// After an accepted request: where a change is pending, sees to it. The request has succeeded
/// whatever comes of this; the mark stays until it is done.
pub fn if_pending(config: &Config) {
    let result = Mark::read(&config.store.hosts).and_then(|mark| {
        let Some(mark) = mark else { return Ok(()) };
        if let Some(reason) = mark.failure() {
            let reason = format!("the last restart failed, trying again: {reason}");
            log::notice(&Fault::new(Mark::path(&config.store.hosts).display(), reason));
        }
        start_detached(config)
    });
    if let Err(fault) = result {
        log::notice(&fault);
    }
}

/// Starts the restarter. It holds none of the three descriptors that Apache waits for, no lock, and
/// nothing of the client's environment, but the time zone of Apache: it tells from local stamps who has
/// expired. The standard library gives it back SIGPIPE, which Apache may ignore.
fn start_detached(config: &Config) -> Result<(), Fault> {
    let file = config.file.as_ref().map(|file| (config::VARIABLE, file));
    let zone = env::var_os(TIME_ZONE).map(|zone| (TIME_ZONE, zone));
    Command::new("/proc/self/exe")
        .arg0("ddns-cgi-restarter")
        .env_clear()
        .env(ROLE, "1")
        .envs(file)
        .envs(zone)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .map_err(|error| {
            let reason =
                format!("cannot start the restarter: {error}; the next request tries again");
            Fault::new(Mark::path(&config.store.hosts).display(), reason)
        })
}

/// The restarter's `main`. Where it cannot do its work, the mark stays and tells why.
pub fn main() {
    // A session of its own, and no folder that somebody may want to unmount.
    let _ = rustix::process::setsid();
    let _ = env::set_current_dir("/");
    // mod_cgi under the event MPM blocks nearly all of them, and a daemon that the restart starts could
    // not be stopped.
    let _ = SigSet::empty().thread_set_mask();
    // Where the configuration is broken by now, the next request tells the log. Any other reason is
    // in the mark.
    if let Ok(config) = Config::load(env::var_os(config::VARIABLE)) {
        let _ = apply(&config);
    }
}

/// Brings the hosts file and dnsmasq to what the state says, as often as the mark asks for it.
///
/// Returns at once where another process is doing so. What goes wrong is noted in the mark.
pub fn apply(config: &Config) -> Result<(), Fault> {
    let mut turn = None;
    work_off(config, &mut turn).inspect_err(|fault| {
        // With the turn still held, so that no other holder is at work on the mark.
        let _ = Lock::wait(&companion(&config.store.state, "lock"))
            .and_then(|_state| Mark::fail(&config.store.hosts, &fault.to_string()));
    })
}

/// Works as long as it has the turn, which `prepare` and `conclude` give up.
fn work_off(config: &Config, turn: &mut Option<Lock>) -> Result<(), Fault> {
    let path = companion(&config.store.hosts, "restart.lock");
    *turn = Lock::try_acquire(&path)?;
    while let Some(mine) = turn.as_ref() {
        if !config.publish.restart.is_empty() {
            wait_for_interval(mine, config.publish.restart_interval);
        }
        let Some(before) = prepare(config, turn)? else { break };
        if let Some(mine) = turn.as_ref() {
            note_start(mine).map_err(|error| Fault::io("write the time", &path, &error))?;
        }
        let outcome = command::run(&config.publish.restart, LIMIT);
        conclude(config, turn, &before, outcome)?;
    }
    Ok(())
}

/// Makes sure that the hosts file is what the state says: a request may have been killed between
/// the two. Returns the mark, which covers all changes up to now; `None`, with the turn given up,
/// where nothing is pending any more.
fn prepare(config: &Config, turn: &mut Option<Lock>) -> Result<Option<Mark>, Fault> {
    let state = State::open(config, Patience::Endless)?;
    let Some(mark) = Mark::read(&config.store.hosts)? else {
        // Still under the lock of the state: see the module's description.
        *turn = None;
        return Ok(None);
    };
    let expiry = Expiry::at(Utc::now(), &config.store);
    if expiry.is_on() || !state.knows_hosts() {
        let state = state.parse()?;
        let wanted = expiry.served(&state);
        if !hosts::is_of(&config.store.hosts, &wanted)? {
            hosts::store(&config.store.hosts, &wanted)?;
        }
    }
    mark.shorten(&config.store.hosts).map(Some)
}

/// Settles the mark after a restart, and gives up the turn unless another change came meanwhile.
fn conclude(
    config: &Config,
    turn: &mut Option<Lock>,
    before: &Mark,
    outcome: Result<(), String>,
) -> Result<(), Fault> {
    let _state = Lock::wait(&companion(&config.store.state, "lock"))?;
    let now = Mark::read(&config.store.hosts)?;
    if now.as_ref().is_some_and(|now| now != before) {
        return Ok(());
    }
    match outcome {
        Ok(()) if now.is_some() => Mark::remove(&config.store.hosts)?,
        Ok(()) => {}
        Err(reason) => Mark::fail(&config.store.hosts, &reason)?,
    }
    // Still under the lock of the state: see the module's description.
    *turn = None;
    Ok(())
}

/// Waits until the interval since the last start is over. A clock that was set back makes it no
/// longer than one interval.
fn wait_for_interval(turn: &Lock, seconds: u32) {
    let interval = Duration::from_secs(seconds.into());
    if let Some(started) = last_start(turn.file()) {
        let since = (Utc::now() - started).to_std().unwrap_or_default();
        sleep(interval.saturating_sub(since));
    }
}

/// When the last restart was started: the lock file keeps it. `None` where that is not known.
fn last_start(mut file: &File) -> Option<DateTime<Utc>> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    Some(DateTime::parse_from_rfc3339(text.trim_end()).ok()?.to_utc())
}

fn note_start(turn: &Lock) -> io::Result<()> {
    let mut file = turn.file();
    file.rewind()?;
    // Always as long, so that one write replaces the last one whole and needs no further space.
    let text = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true) + "\n";
    file.write_all(text.as_bytes())
}
