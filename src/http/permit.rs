//! A permit for a reply that may be large.
//!
//! The status page has some 300 bytes for each host, and a process that answers many requests at
//! once would have to keep as many pages for peers that do not read them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many such replies there may be at a time.
const MOST: usize = 2;

static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// The right to make a large reply. It ends when this value is dropped.
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// Takes a permit, or returns `None` if all are taken.
    pub(crate) fn take() -> Option<Self> {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        // One too many is dropped at once.
        let permit = Self(());
        (given < MOST).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        GIVEN.fetch_sub(1, Ordering::Relaxed);
    }
}
