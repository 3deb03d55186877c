//! Stores authentic updates: lock, decide, write.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::fault::Fault;
use crate::protocol::answer::{Accepted, Answer, Answers, Refusal};
use crate::protocol::auth::{Authentic, Verified};
use crate::publish::pending;
use crate::store::decide::{Decided, Decision, Step};
use crate::store::expiry::Expiry;
use crate::store::state::{Patience, State};
use crate::store::validity::Validity;

/// What became of updates.
#[derive(Debug)]
pub(crate) struct Stored {
    /// An answer to each of them.
    pub(crate) answers: Answers,
    /// What the operator should know although they were accepted.
    pub(crate) notices: Vec<Fault>,
}

/// Brings the state up to date and, if an address changed, the hosts file. All the updates of a
/// request are stored under one lock, by one write of each file.
///
/// The pending marks come first. Wherever this is killed, they are there before the files differ
/// from what name servers serve, and the next request finds them.
///
/// `updates` has those that were refused already, too, with their answers. They were verified by
/// the file of `credentials`. If that has changed since, this stores nothing, and returns `None`:
/// whoever takes a host from a user edits the credentials first, then, under the lock, the state.
pub(crate) fn store(
    config: &Config,
    credentials: Option<Validity>,
    updates: Vec<Verified>,
    now: DateTime<Utc>,
) -> Result<Option<Stored>, Fault> {
    if updates.iter().all(Result::is_err) {
        let answers = updates.into_iter().filter_map(Result::err).map(Err).collect();
        return Ok(Some(Stored { answers, notices: Vec::new() }));
    }
    let mut state = State::open(&config.store, Patience::Client)?;
    if Validity::at(&config.store.credentials) != credentials {
        return Ok(None);
    }
    let (mut answers, mut steps) = (Answers::with_capacity(updates.len()), Vec::new());
    for update in updates {
        answers.push(match update {
            Ok(update) => answer(&mut state, update, config, now, &mut steps)?,
            Err(refusal) => Err(refusal),
        });
    }
    if steps.is_empty() {
        return Ok(Some(Stored { answers, notices: Vec::new() }));
    }
    let notices = state.notice().into_iter().collect();
    let change = state.plan(&steps, &Expiry::at(now, &config.store))?;
    change.commit(|| {
        let hosts: Vec<String> = steps.iter().map(Step::to_string).collect();
        pending::add(config, hosts.join(", "))
    })?;
    Ok(Some(Stored { answers, notices }))
}

/// The answer to an update, which is true once its step, if there is one, is written.
fn answer(
    state: &mut State,
    update: Authentic,
    config: &Config,
    now: DateTime<Utc>,
    steps: &mut Vec<Step>,
) -> Result<Answer, Fault> {
    let entry = state.entry(update.host())?;
    // Only the status page shows since when hosts have their addresses.
    let Decided { decision, addresses, step } = Step::decide(update, entry, config.status.page);
    steps.extend(step);
    Ok(match decision {
        Decision::Repeated | Decision::Redundant => Ok(Accepted::NoChange(addresses)),
        Decision::Changed => Ok(Accepted::Good(addresses)),
        Decision::NoIpv6 => Err(Refusal::NoIpv6),
        Decision::Replay { last } => {
            let seconds = last.seconds_ahead_of(now);
            let ahead =
                u64::try_from(seconds).is_ok_and(|s| s > config.protocol.window).then_some(seconds);
            Err(Refusal::Replay { last, ahead })
        }
    })
}

#[cfg(test)]
mod tests;
