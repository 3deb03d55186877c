//! The restarter: makes the name servers of a target serve what the state says. [`crate::publish`]
//! says why it leaves no change behind.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use chrono::Utc;
use nix::sys::signal::SigSet;

use crate::config::{self, Config, Publish, Store};
use crate::fault::Fault;
use crate::publish::pending::{self, Mark, Pending};
use crate::publish::target::Target;
use crate::publish::turn::{Failed, Turn};
use crate::publish::{command, zones};
use crate::store::expiry::Expiry;
use crate::store::lock::Lock;
use crate::store::replace::companion;
use crate::store::state::{Patience, State};

/// The environment variable that makes this program the restarter of a target. A client cannot set
/// it: its header `X` reaches a CGI program as `HTTP_X` (RFC 3875, 4.1.18).
pub const ROLE: &str = "DDNS_RESTARTER";

/// The name of the restarter in a list of processes. Without it, a restarter would be called
/// `/proc/self/exe` there. Nothing in this program reads it.
const NAME: &str = "ddns-cgi-restarter";

/// The environment variable with the local time zone, environ(7).
const TIME_ZONE: &str = "TZ";

/// How long a restart may take. dnsmasq needs a second or two; systemd itself would wait longer.
const LIMIT: Duration = Duration::from_secs(30);

/// How long the turn is free between two rounds, so that a command that waits for it gets it. Such
/// a command tries again after 8 ms at most.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(20);

/// Starts a restarter for each target for which a change is pending. An accepted request calls this
/// at its end. The request has succeeded whatever happens here, and the mark stays until the target
/// succeeds.
///
/// Returns what the operator should know.
pub(crate) fn if_pending(config: &Config) -> Vec<Fault> {
    let mut notices = Vec::new();
    // All marks are read before the first restarter starts, since that may make another one.
    let marks: Vec<_> = Target::of(&config.publish)
        .map(|target| (target, Mark::of(target, &config.store.hosts)))
        .map(|(target, mark)| (target, mark.read(), mark))
        .collect();
    for (target, pending, mark) in marks {
        match pending {
            Ok(None) => {}
            Ok(Some(pending)) => {
                let failure = pending.failure();
                notices.extend(failure.map(|reason| last_failure(target, &mark, &reason)));
                notices.extend(start_detached(config.file.as_deref(), target, &mark).err());
            }
            Err(fault) => notices.push(fault),
        }
    }
    notices
}

fn last_failure(target: Target, mark: &Mark, reason: &str) -> Fault {
    let reason = format!("the last {target} failed, trying again: {reason}");
    Fault::new(mark.path().display(), reason)
}

/// Starts the restarter. It gets none of the descriptors that the web server waits for, no lock,
/// and nothing from the client's environment. It needs our time zone, because it reads local stamps
/// to tell which hosts have expired. The standard library resets SIGPIPE for it, which the web
/// server may ignore.
fn start_detached(config_file: Option<&Path>, target: Target, mark: &Mark) -> Result<(), Fault> {
    let zone = env::var_os(TIME_ZONE);
    Command::new("/proc/self/exe")
        .arg0(NAME)
        .env_clear()
        .env(ROLE, target.key())
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
            Fault::new(mark.path().display(), reason)
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
    let target = env::var(ROLE).ok().and_then(|key| Target::named(&key));
    if let (Some(target), Ok(config)) = (target, Config::load(env::var_os(config::VARIABLE))) {
        let _ = publish_all(&config, target);
    }
}

/// Makes the name servers of a target agree with the state, until no further change is pending.
/// Returns at once if another process has the turn. Notes any fault in the mark.
fn publish_all(config: &Config, target: Target) -> Result<(), Fault> {
    let job = Job::of(config, target);
    loop {
        let turn = Turn::take(target, job.hosts()).inspect_err(|fault| job.note(fault))?;
        let Some(turn) = turn else { return Ok(()) };
        if !job.publish_once(turn)?.is_more_pending {
            return Ok(());
        }
        sleep(BETWEEN_ROUNDS);
    }
}

/// Makes the name servers of a target agree with the state as it is now. Waits for the turn first,
/// `limit` at most. What changes meanwhile is left to a restarter, so this ends even if clients
/// change more all the time.
pub fn publish_now(config: &Config, target: Target, limit: Duration) -> Result<Outcome, Fault> {
    let job = Job::of(config, target);
    let turn = Turn::wait(target, job.hosts(), limit)?;
    let round = job.publish_once(turn)?;
    if round.is_more_pending {
        start_detached(config.file.as_deref(), target, &job.mark)?;
    }
    Ok(round.outcome)
}

/// What the restarter works on.
struct Job<'c> {
    target: Target,
    mark: Mark,
    store: &'c Store,
    publish: &'c Publish,
}

/// What there is to do before the target publishes.
enum Prepared {
    /// A success will publish all changes up to this mark.
    Work(Turn, Pending),
    /// Nothing is pending any more, and the turn is given up.
    Nothing,
}

/// What the command of a target did. The error says why the name servers may not know all changes.
/// It is in the mark, too.
pub type Outcome = Result<(), String>;

/// What has come of one round.
struct Round {
    /// Whether another change came meanwhile.
    is_more_pending: bool,
    outcome: Outcome,
}

impl<'c> Job<'c> {
    fn of(config: &'c Config, target: Target) -> Self {
        let mark = Mark::of(target, &config.store.hosts);
        Self { target, mark, store: &config.store, publish: &config.publish }
    }

    fn hosts(&self) -> &'c Path {
        &self.store.hosts
    }

    /// Notes in the mark why nothing was published.
    fn note(&self, fault: &Fault) {
        let _ = self.lock_state().and_then(|_state| self.mark.fail(&fault.to_string()));
    }

    /// Publishes what the state says when the interval is over, and gives up the turn.
    fn publish_once(&self, turn: Turn) -> Result<Round, Fault> {
        self.round(turn).map_err(|Failed { turn, fault }| {
            self.note(&fault);
            drop(turn);
            fault
        })
    }

    fn round(&self, turn: Turn) -> Result<Round, Failed> {
        turn.wait_for_interval(self.interval());
        let Prepared::Work(turn, before) = self.prepare(turn)? else {
            return Ok(Round { is_more_pending: false, outcome: Ok(()) });
        };
        let (turn, ()) = turn.keep_during(|turn| self.begin(turn))?;
        self.conclude(turn, &before, self.publish())
    }

    /// The shortest time between two starts, in seconds.
    fn interval(&self) -> u32 {
        let is_restart = self.target == Target::HostsFile && !self.publish.restart.is_empty();
        if is_restart { self.publish.restart_interval } else { 0 }
    }

    /// Readies the turn. A restart must not keep it, because a daemon may come of it.
    fn begin(&self, turn: &Turn) -> Result<(), Fault> {
        if self.target == Target::Zones {
            turn.extend_to_commands()?;
        }
        turn.note_start()
    }

    /// Does what the target is for.
    fn publish(&self) -> Outcome {
        match (self.target, &self.publish.zones) {
            (Target::Zones, Some(zones)) => zones::update(zones, &self.store.hosts),
            (Target::Zones, None) => Err("the configuration has no key \"publish\"".to_owned()),
            (Target::HostsFile, _) => command::run(&self.publish.restart, "", LIMIT),
        }
    }

    /// Makes sure that the hosts file agrees with the state, and reads the mark.
    fn prepare(&self, turn: Turn) -> Result<Prepared, Failed> {
        let (turn, (state, pending)) = turn.keep_during(|_| {
            let mut state = State::open(self.store, Patience::Endless)?;
            let Some(pending) = self.mark.read()? else { return Ok((state, None)) };
            self.bring_hosts_up_to_date(&mut state)?;
            let pending = self.mark.shorten(self.mark.ensure(pending)?)?;
            Ok((state, Some(pending)))
        })?;
        if let Some(pending) = pending {
            return Ok(Prepared::Work(turn, pending));
        }
        turn.give_up(state);
        Ok(Prepared::Nothing)
    }

    /// Writes the hosts file if it differs from the state. A request may have been killed after it
    /// had written the state, and hosts expire without any request. The other targets have to know,
    /// since no request will see that the hosts file has changed.
    fn bring_hosts_up_to_date(&self, state: &mut State) -> Result<(), Fault> {
        if state.knows_hosts() {
            return Ok(());
        }
        let expiry = Expiry::at(Utc::now(), self.store);
        if !state.has_its_hosts(&expiry)? {
            let others = Target::of(self.publish).filter(|target| *target != self.target);
            pending::add_for(others, &self.store.hosts, "hosts file")?;
            state.write_hosts(&expiry)?;
        }
        Ok(())
    }

    /// Removes the mark, unless another change came meanwhile. After a failure, the mark says why.
    fn conclude(&self, turn: Turn, before: &Pending, outcome: Outcome) -> Result<Round, Failed> {
        let (turn, (state, is_more_pending)) = turn.keep_during(|_| {
            let state = self.lock_state()?;
            let is_more_pending = self.mark.read()?.is_some_and(|now| now != *before);
            match &outcome {
                Ok(()) if is_more_pending => {}
                Ok(()) => self.mark.remove()?,
                Err(reason) => self.mark.fail(reason)?,
            }
            Ok((state, is_more_pending))
        })?;
        turn.give_up(state);
        Ok(Round { is_more_pending, outcome })
    }

    fn lock_state(&self) -> Result<Lock, Fault> {
        Lock::wait(&companion(&self.store.state, "lock"))
    }
}
