//! The row of a ledger: every counter and window of a lineage's book.

use super::Unreadable;
use crate::money::{Amount, Coin};
use crate::policy::{Book, Counter, Decay, Meter, Purpose, Slot, Window, WindowRule};
use bincode::{BorrowDecode, Decode, Encode};
use std::borrow::Cow;
use std::time::Duration;

/// What one lineage spent, and by which bounds.
#[derive(Encode, BorrowDecode)]
pub(in crate::store) struct LedgerRow<'a> {
    pub(in crate::store) is_exposed: bool,
    pub(in crate::store) is_unreconciled: bool,
    pub(in crate::store) seen_ms: i64,
    pub(in crate::store) confirmed_ms: i64,
    pub(in crate::store) decay: Option<(u64, u64)>,
    pub(in crate::store) counters: Vec<(Cow<'a, str>, CounterRow)>,
    pub(in crate::store) pool: Option<CounterRow>,
    pub(in crate::store) windows: Vec<WindowRow<'a>>,
}

#[derive(Encode, Decode)]
pub(in crate::store) struct CounterRow {
    pub(super) is_of_server: bool,
    pub(super) own_total: Option<u128>,
    pub(super) limit: Option<u128>,
    pub(super) total: Option<u128>,
    pub(super) accepted: u128,
    pub(super) pending: u128,
    pub(super) uncertain: u128,
    /// Leased, signed or allotted: a crash cannot tell them apart.
    pub(super) reserved: u128,
    pub(super) foreign: u128,
    pub(super) in_doubt: u128,
    pub(super) carried: u128,
    pub(super) renewed: u128,
}

/// What went out within a while. A slot is its end, a sum and a number of requests.
#[derive(Encode, BorrowDecode)]
pub(in crate::store) struct WindowRow<'a> {
    pub(super) purpose: u8,
    pub(super) coin: Cow<'a, str>,
    pub(super) period_ms: u64,
    pub(super) sum: Option<u128>,
    pub(super) count: Option<u32>,
    pub(super) slots: Vec<(i64, u128, u64)>,
}

impl LedgerRow<'_> {
    pub(in crate::store) fn of(book: &Book) -> LedgerRow<'_> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let counters = book.coins.iter();
        LedgerRow {
            is_exposed: book.is_exposed,
            is_unreconciled: book.is_unreconciled,
            seen_ms: book.seen_ms,
            confirmed_ms: book.confirmed_ms,
            decay: book.decay.map(|decay| (millis(decay.after), millis(decay.over))),
            counters: counters.map(|(coin, meter)| (coin.as_str().into(), meter.into())).collect(),
            pool: book.pool.as_deref().map(CounterRow::from),
            windows: book.windows.iter().map(WindowRow::from).collect(),
        }
    }
}

impl TryFrom<LedgerRow<'_>> for Book {
    type Error = Unreadable;

    fn try_from(row: LedgerRow<'_>) -> Result<Self, Unreadable> {
        let counters = row.counters.into_iter();
        let windows = row.windows.into_iter().map(Window::try_from);
        Ok(Self {
            coins: counters
                .map(|(coin, counter)| Ok((Coin::new(&coin)?, counter.into())))
                .collect::<Result<_, Unreadable>>()?,
            pool: row.pool.map(|pool| Box::new(pool.into())),
            windows: windows.collect::<Result<_, _>>()?,
            is_exposed: row.is_exposed,
            is_unreconciled: row.is_unreconciled,
            seen_ms: row.seen_ms,
            confirmed_ms: row.confirmed_ms,
            decay: row.decay.map(|(after, over)| Decay {
                after: Duration::from_millis(after),
                over: Duration::from_millis(over),
            }),
            ..Self::default()
        })
    }
}

impl From<&Meter> for CounterRow {
    fn from(meter: &Meter) -> Self {
        let Meter { counter, is_of_server, own_total, .. } = meter;
        Self {
            is_of_server: *is_of_server,
            own_total: own_total.map(Amount::base_units),
            limit: counter.limit.map(Amount::base_units),
            total: counter.total.map(Amount::base_units),
            accepted: counter.accepted.base_units(),
            pending: counter.pending.base_units(),
            uncertain: counter.uncertain.base_units(),
            reserved: counter.reserved.saturating_add(counter.allotted).base_units(),
            foreign: counter.foreign.base_units(),
            in_doubt: meter.in_doubt().base_units(),
            carried: counter.carried.base_units(),
            renewed: counter.renewed.base_units(),
        }
    }
}

impl From<CounterRow> for Meter {
    fn from(row: CounterRow) -> Self {
        let counter = Counter {
            limit: row.limit.map(Amount::new),
            total: row.total.map(Amount::new),
            accepted: Amount::new(row.accepted),
            pending: Amount::new(row.pending),
            uncertain: Amount::new(row.uncertain),
            reserved: Amount::new(row.reserved),
            allotted: Amount::ZERO,
            foreign: Amount::new(row.foreign),
            carried: Amount::new(row.carried),
            renewed: Amount::new(row.renewed),
        };
        let kept = Self::kept(counter, row.is_of_server, row.own_total.map(Amount::new));
        kept.doubting(Amount::new(row.in_doubt))
    }
}

impl<'a> From<&'a Window> for WindowRow<'a> {
    fn from(window: &'a Window) -> Self {
        let WindowRule { purpose, coin, period, sum, count } = &window.rule;
        let slots = window.slots.iter();
        Self {
            purpose: match purpose {
                Purpose::Withdrawal => 0,
                Purpose::Trade => 1,
            },
            coin: coin.as_str().into(),
            period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
            sum: sum.map(Amount::base_units),
            count: *count,
            slots: slots.map(|slot| (slot.until_ms, slot.sum.base_units(), slot.count)).collect(),
        }
    }
}

impl TryFrom<WindowRow<'_>> for Window {
    type Error = Unreadable;

    fn try_from(row: WindowRow<'_>) -> Result<Self, Unreadable> {
        let rule = WindowRule {
            purpose: match row.purpose {
                0 => Purpose::Withdrawal,
                1 => Purpose::Trade,
                _ => return Err(Unreadable),
            },
            coin: Coin::new(&row.coin)?,
            period: Duration::from_millis(row.period_ms),
            sum: row.sum.map(Amount::new),
            count: row.count,
        };
        let slot = |(until_ms, sum, count)| Slot { until_ms, sum: Amount::new(sum), count };
        Ok(Self::kept(rule, row.slots.into_iter().map(slot).collect()))
    }
}
