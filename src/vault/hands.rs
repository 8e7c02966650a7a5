//! Tokens at hand: what threads take leases from without meeting each other.
//!
//! A lease keeps its token and its vault alive, by a count. Were it one count for all threads, or
//! one lock around the labels, each lease would take a line of memory from the other processors, at
//! about a tenth of a microsecond each time. So each thread has a hand, and in it its own grasp of
//! the tokens that it leases:
//!
//! ```text
//! thread ── hand: label → grasp ── core and held, which leases only read
//!             └─ not in it, or renewed, removed, changed since ── core: label → entry → held
//! ```

use super::core::Core;
use super::entry::Held;
use crate::error::Error;
use crate::policy::{Denied, Escrow, not_reconciled};
use crate::token::Label;
use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// As many threads as lease at a time without meeting; with more, some share a hand.
const HANDS: usize = 16;

/// The most tokens in a hand. One that is full is emptied.
const GRASPS: usize = 128;

/// The hands of one vault, shared by its clones.
pub(super) struct Hands {
    core: Arc<Core>,
    hands: [Hand; HANDS],
}

/// Apart from its neighbours by two cache lines, which some processors fetch together.
#[derive(Default)]
#[repr(align(128))]
struct Hand {
    /// Held for a look-up and a count.
    grasps: Mutex<BTreeMap<Label, Arc<Grasp>>>,
}

/// A token as one hand holds it: its count is the hand's own. Apart from other hands' as hands are.
#[repr(align(128))]
pub(super) struct Grasp {
    pub(super) core: Arc<Core>,
    pub(super) held: Arc<Held>,
    /// Looked up by the first to spend. A lineage keeps its book for as long as it has a token.
    escrow: OnceLock<Arc<Escrow>>,
}

impl Grasp {
    /// The book that the token spends from.
    pub(super) fn escrow(&self) -> Result<&Arc<Escrow>, Denied> {
        if let Some(escrow) = self.escrow.get() {
            return Ok(escrow);
        }
        let found = self.core.store.escrow(self.held.record.lineage).ok_or_else(not_reconciled)?;
        Ok(self.escrow.get_or_init(|| found))
    }
}

impl Hands {
    pub(super) fn of(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), hands: array::from_fn(|_| Hand::default()) }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The token kept as `label`, as it stands now.
    pub(super) fn grasp(&self, label: &str) -> Result<Arc<Grasp>, Error> {
        let Some(hand) = self.hands.get(own_number() % HANDS) else { return self.reach(label) };
        let mut grasps = hand.grasps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grasp) = grasps.get(label) {
            if grasp.held.end().is_none() {
                return Ok(Arc::clone(grasp));
            }
            grasps.remove(label);
        }
        let grasp = self.reach(label)?;
        if grasps.len() >= GRASPS {
            grasps.clear();
        }
        grasps.insert(grasp.held.record.label.clone(), Arc::clone(&grasp));
        Ok(grasp)
    }

    fn reach(&self, label: &str) -> Result<Arc<Grasp>, Error> {
        let label = Label::new(label)?;
        let held = self.core.entry(&label)?.held().ok_or(Error::NoSuchToken { label })?;
        let core = Arc::clone(&self.core);
        Ok(Arc::new(Grasp { core, held, escrow: OnceLock::new() }))
    }
}

/// The thread's own number, from 0.
fn own_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
