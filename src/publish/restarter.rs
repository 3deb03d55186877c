//! The restarter: makes dnsmasq serve what the state says. [`crate::publish`] says why it leaves no
//! change behind.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::Utc;
use nix::sys::signal::SigSet;

use crate::config::{self, Config, Publish, Store};
use crate::fault::Fault;
use crate::publish::command;
use crate::publish::pending::Pending;
use crate::publish::turn::{Failed, Turn};
use crate::store::expiry::Expiry;
use crate::store::hosts;
use crate::store::lock::Lock;
use crate::store::replace::companion;
use crate::store::state::{Patience, State};

/// The environment variable that makes this program the restarter. A client cannot set it: its
/// header `X` reaches a CGI program as `HTTP_X` (RFC 3875, 4.1.18).
pub const ROLE: &str = "DDNS_RESTARTER";

/// The name of the restarter in a list of processes. Without it, a restarter would be called
/// `/proc/self/exe` there. Nothing in this program reads it.
const NAME: &str = "ddns-cgi-restarter";

/// The environment variable with the local time zone, environ(7).
const TIME_ZONE: &str = "TZ";

/// How long a restart may take. dnsmasq needs a second or two; systemd itself would wait longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts a restarter if a change is pending. An accepted request calls this at its end. The
/// request has succeeded whatever happens here, and the mark stays until a restart succeeds.
///
/// Returns what the operator should know.
pub(crate) fn if_pending(config: &Config) -> Vec<Fault> {
    let hosts = &config.store.hosts;
    match Pending::read(hosts) {
        Ok(None) => Vec::new(),
        Ok(Some(pending)) => {
            let failure = pending.failure().map(|reason| {
                let reason = format!("the last restart failed, trying again: {reason}");
                Fault::new(Pending::path(hosts).display(), reason)
            });
            let start = start_detached(config.file.as_deref(), hosts);
            failure.into_iter().chain(start.err()).collect()
        }
        Err(fault) => vec![fault],
    }
}

/// Starts the restarter. It gets none of the three descriptors that Apache waits for, no lock, and
/// nothing from the client's environment. It needs Apache's time zone, because it reads local
/// stamps to tell which hosts have expired. The standard library resets SIGPIPE for it, which
/// Apache may ignore.
fn start_detached(config_file: Option<&Path>, hosts: &Path) -> Result<(), Fault> {
    let zone = env::var_os(TIME_ZONE);
    Command::new("/proc/self/exe")
        .arg0(NAME)
        .env_clear()
        .env(ROLE, "1")
        .envs(config_file.map(|file| (config::VARIABLE, file)))
        .envs(zone.map(|zone| (TIME_ZONE, zone)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .map_err(|error| {
            let reason =
                format!("cannot start the restarter: {error}; the next request tries again");
            Fault::new(Pending::path(hosts).display(), reason)
        })
}

/// The restarter's `main`. If it cannot do its work, the mark stays and says why.
pub fn main() {
    // Its own session, and no folder that somebody may want to unmount.
    let _ = rustix::process::setsid();
    let _ = env::set_current_dir("/");
    // mod_cgi under the event MPM blocks nearly all signals. Nobody could stop a daemon that the
    // restart starts.
    let _ = SigSet::empty().thread_set_mask();
    // If the configuration is broken by now, the next request logs that. Any other reason is in the
    // mark.
    if let Ok(config) = Config::load(env::var_os(config::VARIABLE)) {
        let _ = apply(&config.store, &config.publish);
    }
}

/// Makes the hosts file and dnsmasq agree with the state, until no further change is pending.
///
/// Returns at once if another process is doing that. Notes any fault in the mark.
pub fn apply(store: &Store, publish: &Publish) -> Result<(), Fault> {
    let turn = Turn::take(&store.hosts).inspect_err(|fault| note(store, fault))?;
    let Some(turn) = turn else { return Ok(()) };
    work_off(turn, store, publish).map_err(|Failed { turn, fault }| {
        note(store, &fault);
        drop(turn);
        fault
    })
}

/// Notes in the mark why there was no restart.
fn note(store: &Store, fault: &Fault) {
    let _ = lock_state(store).and_then(|_state| Pending::fail(&store.hosts, &fault.to_string()));
}

/// Restarts dnsmasq until no further change is pending.
fn work_off(mut turn: Turn, store: &Store, publish: &Publish) -> Result<(), Failed> {
    loop {
        if !publish.restart.is_empty() {
            turn.wait_for_interval(publish.restart_interval);
        }
        let Prepared::Work(mine, before) = prepare(turn, store)? else { return Ok(()) };
        let (mine, ()) = mine.keep_during(Turn::note_start)?;
        let outcome = command::run(&publish.restart, LIMIT);
        let Concluded::Again(mine) = conclude(mine, store, &before, outcome)? else {
            return Ok(());
        };
        turn = mine;
    }
}

/// What there is to do before a restart.
enum Prepared {
    /// A restart will publish all changes up to this mark.
    Work(Turn, Pending),
    /// Nothing is pending any more, and the turn is given up.
    Nothing,
}

/// Makes sure that the hosts file agrees with the state, and reads the mark.
fn prepare(turn: Turn, store: &Store) -> Result<Prepared, Failed> {
    let (turn, (state, pending)) = turn.keep_during(|_| {
        let mut state = State::open(store, Patience::Endless)?;
        let Some(pending) = Pending::read(&store.hosts)? else { return Ok((state, None)) };
        bring_hosts_up_to_date(&mut state, store)?;
        let pending = pending.shorten(&store.hosts)?;
        Ok((state, Some(pending)))
    })?;
    if let Some(pending) = pending {
        return Ok(Prepared::Work(turn, pending));
    }
    turn.give_up(state);
    Ok(Prepared::Nothing)
}

/// Writes the hosts file if it differs from the state. A request may have been killed after it had
/// written the state, and hosts expire without any request.
fn bring_hosts_up_to_date(state: &mut State, store: &Store) -> Result<(), Fault> {
    if state.knows_hosts() {
        return Ok(());
    }
    let wanted = Expiry::at(Utc::now(), store).hosts_file(state.map()?);
    if hosts::read(&store.hosts)?.as_ref() != Some(&wanted) {
        hosts::store(&store.hosts, &wanted)?;
    }
    Ok(())
}

/// What follows a restart.
enum Concluded {
    /// Another change came meanwhile, so there has to be another restart.
    Again(Turn),
    /// The mark is settled, and the turn is given up.
    Done,
}

/// Settles the mark after a restart, unless another change came meanwhile.
fn conclude(
    turn: Turn,
    store: &Store,
    before: &Pending,
    outcome: Result<(), String>,
) -> Result<Concluded, Failed> {
    let (turn, (state, is_settled)) = turn.keep_during(|_| {
        let state = lock_state(store)?;
        let now = Pending::read(&store.hosts)?;
        if now.as_ref().is_some_and(|now| now != before) {
            return Ok((state, false));
        }
        settle(&store.hosts, now.is_some(), outcome)?;
        Ok((state, true))
    })?;
    if !is_settled {
        return Ok(Concluded::Again(turn));
    }
    turn.give_up(state);
    Ok(Concluded::Done)
}

/// Removes the mark after a restart that succeeded. After one that failed, the mark says why.
fn settle(hosts: &Path, is_there: bool, outcome: Result<(), String>) -> Result<(), Fault> {
    match outcome {
        Ok(()) if is_there => Pending::remove(hosts),
        Ok(()) => Ok(()),
        Err(reason) => Pending::fail(hosts, &reason),
    }
}

fn lock_state(store: &Store) -> Result<Lock, Fault> {
    Lock::wait(&companion(&store.state, "lock"))
}
