//! What is noted of requests in memory until it is written: per token, what is alike in one line.
//!
//! ```text
//! sign ──> a line's count, sum and last request      at the first request of a minute: a new line
//! within a second   lines that moved money are written beside the chain, and written over
//! after a minute    all lines of a token become entries of the chain
//! ```

use super::AuditAction;
use crate::id::TokenId;
use crate::policy::Charge;
use crate::store::lock;
use crate::store::record::EntryRow;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Tokens whose ids fall together share a lock: a few threads seldom meet.
const SHARDS: usize = 32;
/// How long lines gather before they become entries, in milliseconds.
const GATHERED_MS: u64 = 60_000;

#[derive(Default)]
pub(super) struct Notes([Mutex<BTreeMap<TokenId, Tally>>; SHARDS]);

/// What one token did since it was last written down.
#[derive(Default)]
struct Tally {
    since_ms: i64,
    lines: Vec<EntryRow>,
    /// Whether money has moved that is not written yet.
    is_dirty: bool,
}

/// What is to be written now.
#[derive(Default)]
pub(super) struct Due {
    /// Tokens whose lines become entries.
    pub(super) closed: Vec<(TokenId, Vec<EntryRow>)>,
    /// Tokens whose lines go on, and are to be written as they are.
    pub(super) open: Vec<(TokenId, Vec<EntryRow>)>,
}

impl Notes {
    fn tally<T>(&self, id: TokenId, note: impl FnOnce(&mut Tally) -> T) -> T {
        let shard = usize::from(id.as_bytes()[0]) % SHARDS;
        let mut tallies = lock(&self.0[shard]);
        note(tallies.entry(id).or_default())
    }

    /// Notes a request that was signed, before it is given out.
    pub(super) fn signed(&self, id: TokenId, charges: &[Charge], request: [u8; 16], now_ms: i64) {
        self.tally(id, |tally| {
            for Charge { coin, amount, .. } in charges {
                let line = tally.line(AuditAction::Signed, id, "", coin.as_str(), now_ms);
                line.amount = line.amount.saturating_add(amount.base_units());
                line.count_request(request, now_ms);
            }
            match charges.is_empty() {
                true => tally
                    .line(AuditAction::Viewed, id, "", "", now_ms)
                    .count_request(request, now_ms),
                false => tally.is_dirty = true,
            }
        });
    }

    /// Notes that a rule refused.
    pub(super) fn denied(&self, id: TokenId, rule: &str, now: DateTime<Utc>) {
        let now_ms = now.timestamp_millis();
        self.tally(id, |tally| {
            let line = tally.line(AuditAction::Denied, id, rule, "", now_ms);
            line.count += 1;
            line.at_ms = now_ms;
        });
    }

    /// What is due; all of it at the end.
    pub(super) fn due(&self, now: DateTime<Utc>, is_last: bool) -> Due {
        let now_ms = now.timestamp_millis();
        let mut due = Due::default();
        for shard in &self.0 {
            lock(shard).retain(|id, tally| {
                // A clock that was set back does not hold them up.
                if is_last || now_ms.abs_diff(tally.since_ms) >= GATHERED_MS {
                    due.closed.push((*id, std::mem::take(&mut tally.lines)));
                    return false;
                }
                if std::mem::take(&mut tally.is_dirty) {
                    due.open.push((*id, tally.lines.clone()));
                }
                true
            });
        }
        due
    }

    /// Takes the lines of tokens that have too many: their tally begins anew.
    pub(super) fn close(
        &self,
        crowded: Vec<(TokenId, Vec<EntryRow>)>,
    ) -> Vec<(TokenId, Vec<EntryRow>)> {
        let taken = |(id, _)| (id, self.tally(id, |tally| std::mem::take(&mut tally.lines)));
        crowded.into_iter().map(taken).collect()
    }

    /// Whether a token has lines that are no entries yet.
    pub(super) fn is_open(&self, id: TokenId) -> bool {
        self.tally(id, |tally| !tally.lines.is_empty())
    }

    /// What was to be written and could not be is to be written yet.
    pub(super) fn not_written(&self, ids: impl Iterator<Item = TokenId>) {
        ids.for_each(|id| self.tally(id, |tally| tally.is_dirty = true));
    }
}

impl Tally {
    fn line(
        &mut self,
        action: AuditAction,
        id: TokenId,
        rule: &str,
        coin: &str,
        now_ms: i64,
    ) -> &mut EntryRow {
        if self.lines.is_empty() {
            self.since_ms = now_ms;
        }
        let fits =
            |line: &EntryRow| line.action == action as u8 && line.rule == rule && line.coin == coin;
        let at = self.lines.iter().position(fits).unwrap_or_else(|| {
            self.lines.push(EntryRow {
                at_ms: now_ms,
                action: action as u8,
                token_id: *id.as_bytes(),
                rule: rule.into(),
                coin: coin.into(),
                amount: 0,
                count: 0,
                since_ms: now_ms,
                first_request: [0; 16],
                last_request: [0; 16],
            });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}

impl EntryRow {
    fn count_request(&mut self, request: [u8; 16], now_ms: i64) {
        if self.count == 0 {
            self.first_request = request;
        }
        self.count += 1;
        self.last_request = request;
        self.at_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Amount, Coin};
    use chrono::TimeDelta;

    #[test]
    fn what_is_alike_within_a_minute_is_one_line() {
        let notes = Notes::default();
        let id = TokenId::from_bytes([7; 16]);
        let at = |ms| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms);
        let charge =
            |coin: &str, amount| Charge::withdrawal(Coin::new(coin).unwrap(), Amount::new(amount));
        notes.signed(id, &[charge("tbtc", 3)], [1; 16], 0);
        notes.signed(id, &[charge("tbtc", 4), charge("hteth", 5)], [2; 16], 10);
        notes.signed(id, &[], [3; 16], 20);
        notes.signed(id, &[], [4; 16], 30);
        notes.denied(id, "limit", at(40));
        notes.denied(id, "limit", at(50));
        notes.denied(id, "scope", at(60));
        let due = notes.due(at(70), false);
        assert_eq!((due.closed.len(), due.open.len()), (0, 1), "what moved money is written soon");
        assert_eq!(notes.due(at(80), false).open.len(), 0, "and once");
        notes.not_written([id].into_iter());
        assert_eq!(notes.due(at(80), false).open.len(), 1, "unless it was not");

        let due = notes.due(at(60_000), false);
        let [(of, lines)] = &due.closed[..] else { panic!() };
        assert_eq!(*of, id);
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                let action = AuditAction::ALL[usize::from(line.action)];
                let (first, last) = (line.first_request[0], line.last_request[0]);
                (action.as_str(), &*line.rule, &*line.coin, line.amount, line.count, first, last)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("signed", "", "tbtc", 7, 2, 1, 2),
                ("signed", "", "hteth", 5, 1, 2, 2),
                ("viewed", "", "", 0, 2, 3, 4),
                ("denied", "limit", "", 0, 2, 0, 0),
                ("denied", "scope", "", 0, 1, 0, 0),
            ]
        );
        assert_eq!((lines[0].since_ms, lines[0].at_ms), (0, 10));
        assert!(notes.due(at(200_000), true).closed.is_empty());
    }

    /// On the way of every signature.
    #[test]
    #[ignore = "it shows what a note costs, in a release build"]
    fn what_a_note_costs() {
        let clock = crate::clock::SystemClock::new();
        let (notes, rounds) = (Notes::default(), 5_000_000_u32);
        let id = TokenId::from_bytes([7; 16]);
        let charges = [Charge::withdrawal(Coin::new("tbtc").unwrap(), Amount::new(3))];
        for (what, charges) in [("a spend", &charges[..]), ("a view", &[])] {
            let start = crate::clock::Clock::monotonic(&clock);
            for round in 0..rounds {
                let request = [round.to_le_bytes()[0]; 16];
                notes.signed(id, charges, request, 0);
            }
            let took = crate::clock::Clock::monotonic(&clock) - start;
            eprintln!("{what}: {} ns", took.as_nanos() / u128::from(rounds));
        }
    }

    #[test]
    fn the_end_and_a_clock_set_back_close_a_minute() {
        for (now, is_last) in [(1, true), (-60_000, false)] {
            let notes = Notes::default();
            notes.denied(TokenId::from_bytes([7; 16]), "limit", DateTime::UNIX_EPOCH);
            let now = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(now);
            assert_eq!(notes.due(now, is_last).closed.len(), 1);
        }
    }
}
