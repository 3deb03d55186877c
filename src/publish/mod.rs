//! Publishing: the name server learns what the state says, and no client waits for that.
//!
//! What comes in is a mark on disk. Whoever changes the state first adds a line to the mark, and
//! only then touches a file. What goes out is a hosts file that agrees with the state, and a
//! restart of dnsmasq, which reads it. Nobody removes the mark before a restart has succeeded.
//! Until then, every accepted request sees the mark and starts a *restarter*: this same program in
//! another role, detached from the request. No change is left behind, even if a process is killed
//! halfway:
//!
//! - A request adds its line to the mark under the lock of the state, and starts a restarter
//!   afterwards.
//! - One restarter works at a time: the one that has the turn. The others leave at once.
//! - The restarter that has the turn compares the mark with what it was before the restart, removes
//!   it and *gives up its turn*, all under the lock of the state. So it either sees the line of a
//!   request, or the request adds its line when nobody has the turn. Then the request's own
//!   restarter gets the turn.
//!
//! The modules:
//!
//! - [`pending`]: the mark, which exists while a change waits,
//! - [`restarter`]: starts the restarter, and does its work,
//! - `turn`: the right to be the restarter at work,
//! - `command`: runs the restart command with a time limit.

mod command;
pub mod pending;
pub mod restarter;
mod turn;
