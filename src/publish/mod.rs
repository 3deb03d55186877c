//! Publishing: the name servers learn what the state says, and no client waits for that.
//!
//! There are two *targets*, and both may be on. One is the hosts file, with a restart of the name
//! server that reads it. The other is zones, whose primary server gets dynamic updates (RFC 2136).
//!
//! What comes in is a mark on disk for each target. Whoever changes the state first adds a line to
//! the marks, and only then touches a file. What goes out is a hosts file that agrees with the
//! state, and name servers that serve it. Nobody removes a mark before its target has succeeded.
//! Until then, every accepted request sees the mark and starts a *restarter*: this same program in
//! another role, detached from the request. No change is left behind, even if a process is killed
//! halfway:
//!
//! - A request adds its line to the marks under the lock of the state, and starts restarters
//!   afterwards.
//! - One restarter works on a target at a time: the one that has the turn. The others leave at
//!   once.
//! - The restarter that has the turn compares the mark with what it was before it published,
//!   removes it and *gives up its turn*, all under the lock of the state. So it either sees the
//!   line of a request, or the request adds its line when nobody has the turn. Then the request's
//!   own restarter gets the turn.
//! - If another line came meanwhile, it takes the turn again after a moment. A command of the
//!   operator that waits for the turn gets it in between, publishes once, and leaves what is still
//!   pending to a restarter.
//! - If a restarter is killed, its command for zones keeps the turn until it ends. A change that
//!   comes meanwhile waits for the next accepted request.
//!
//! The modules:
//!
//! - [`target`]: the two targets, and their files,
//! - [`pending`]: the mark, which exists while a change waits,
//! - [`restarter`]: starts the restarter, and does its work,
//! - `turn`: the right to be the restarter at work,
//! - [`zones`]: sends what has changed to the primary server of the zones,
//! - [`script`]: the script that does that, from two texts,
//! - [`command`]: runs a command with a time limit.

pub mod command;
pub mod pending;
pub mod restarter;
pub mod script;
pub mod target;
mod turn;
pub mod zones;
