//! The store: which host has which address, who may change it, and what may fail on the way.
//!
//! Three files come in: the state, dnsmasq's hosts file, and the operator's credentials. An update
//! takes the lock on the state, reads the host's entry, is decided about, and becomes a change that
//! is worked out before anything is written. Then the state is written, after it the hosts file,
//! each whole and durable, and last the index. This room must not know requests, replies or the
//! name server.
//!
//! A file is *indexed* or *whole*. An index tells the place of each entry as long as the file is
//! the one that was indexed. Then only one entry is read, however large the file is. Any other file
//! is read whole and strictly, into memory that is little more than its text. The index is only a
//! cache: what stands at a place has to be the key that is looked up, and losing the index costs
//! one reading of the file.
//!
//! - [`state`]: the state under its lock, and a host's entry in it,
//! - `decide`: what an update means, given the entry; makes the steps to store,
//! - `change`: what steps change, planned and then written in order,
//! - [`record`], [`expiry`], [`hosts`]: a host's record, whether it has expired, its lines,
//! - `hosts_file`: all of these lines,
//! - [`credentials`]: the users,
//! - [`owners`]: which of them has which host,
//! - `object`: a whole file, as its text and the places of entries,
//! - `plain`: whether an entry is already written as PHP writes it,
//! - [`json`]: JSON read strictly, with the places of entries, and written as PHP writes it,
//! - [`keys`]: which keys mean the same,
//! - [`index`], [`validity`]: where entries are, and whether a file is still the same,
//! - `comparison`: whether a file has the contents already that it is to have,
//! - [`replace`], [`lock`]: files that are always whole, and the lock.

pub(crate) mod change;
mod comparison;
pub mod credentials;
pub(crate) mod decide;
pub mod expiry;
pub mod hosts;
mod hosts_file;
pub mod index;
pub mod json;
pub mod keys;
pub mod lock;
mod object;
pub mod owners;
mod plain;
pub mod record;
pub mod replace;
pub mod state;
pub mod validity;
