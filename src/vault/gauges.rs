//! How the tokens stand, shown as metrics: how long each lives, and what is left of its limits.
//!
//! Both change without anything that happens, so that they are looked at every so often, never by
//! who leases.

use super::core::Core;
use super::entry::Held;
use crate::telemetry::{TokenGauges, TokenNumbers};
use chrono::{DateTime, Utc};
use std::sync::Weak;
use std::time::Duration;

/// How often the tokens are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// The most tokens that are looked at before others have their turn on the thread.
const AT_ONCE: usize = 64;

/// Shows how the tokens stand, until the vault is closed.
pub(super) async fn run(core: Weak<Core>) {
    let mut gauges = TokenGauges::default();
    loop {
        let Some(holdings) = core.upgrade().map(|core| core.holdings()) else { return };
        for holdings in holdings.chunks(AT_ONCE) {
            // Not held while others have their turn: the vault closes with who uses it last.
            let Some(core) = core.upgrade() else { return };
            holdings.iter().for_each(|held| gauges.show(numbers(&core, held)));
            drop(core);
            tokio::task::yield_now().await;
        }
        drop(holdings);
        gauges.sweep();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn numbers(core: &Core, held: &Held) -> TokenNumbers {
    let (record, now) = (&held.record, core.latest_now());
    let seconds = |end: DateTime<Utc>| (end - now).as_seconds_f64();
    let counters = core.store.counters(record.lineage).unwrap_or_default();
    let left = counters.into_iter().filter_map(|(coin, counter)| Some((coin, counter.left()?)));
    TokenNumbers {
        label: record.label.clone(),
        seconds_to_expiry: record.info.expires_at.map(seconds),
        left: left.collect(),
    }
}
