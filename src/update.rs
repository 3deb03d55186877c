//! Stores an authentic update: lock, decide, write.

use chrono::{DateTime, Utc};

use crate::auth::Authentic;
use crate::config::Config;
use crate::decide::{Decision, decide};
use crate::error::{Error, Fault, Refusal};
use crate::log;
use crate::mark::Mark;
use crate::reply::Accepted;
use crate::sealed::Seal;
use crate::state::{HostEntry, Patience, State};

/// Brings the state up to date and, where an address changed, the hosts file.
///
/// The mark comes first: wherever this is killed, the mark is there before the files differ from
/// what dnsmasq serves, and the next request finds it.
///
/// `credentials` is the seal of those that the update was verified with.
pub fn store(
    config: &Config,
    update: &Authentic,
    credentials: Option<Seal>,
    now: DateTime<Utc>,
) -> Result<Accepted, Error> {
    let state = State::open(config, Patience::Client)?.with_credentials(credentials);
    let entry = state.entry(update.host())?;
    let address = update.address();
    match decide(update, entry.as_ref().map(|entry| &entry.record)) {
        Decision::Repeated => Ok(Accepted::NoChange(address)),
        Decision::Redundant => {
            match &entry {
                Some(entry) if config.hosts.exists() => {
                    state.store_stamp(update, entry)?;
                    notice_rebuild(config, &state);
                }
                Some(_) | None => store_both(config, &state, update, entry.as_ref())?,
            }
            Ok(Accepted::NoChange(address))
        }
        Decision::Changed => {
            store_both(config, &state, update, entry.as_ref())?;
            Ok(Accepted::Good(address))
        }
        Decision::Replay { last } => {
            let seconds = last.seconds_ahead_of(now);
            let ahead = u64::try_from(seconds).is_ok_and(|s| s > config.window).then_some(seconds);
            Err(Refusal::Replay { last, ahead }.into())
        }
    }
}

fn store_both(
    config: &Config,
    state: &State,
    update: &Authentic,
    entry: Option<&HostEntry>,
) -> Result<(), Fault> {
    let change = state.change(update, entry)?;
    Mark::add(&config.hosts, format_args!("{} {}", update.host(), update.address()))?;
    state.store(&change)?;
    notice_rebuild(config, state);
    Ok(())
}

fn notice_rebuild(config: &Config, state: &State) {
    if let Ok(count @ 1..) = state.rebuilt_hosts() {
        let reason = format!(
            "the state was missing or empty: {count} hosts taken from {}",
            config.hosts.display()
        );
        log::notice(&Fault::new(config.state.display(), reason));
    }
}
