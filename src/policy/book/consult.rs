//! Every bound of a book with its numbers: for a refusal, and for who asks before.

use super::meter::Standing;
use super::place::{Place, no_limit};
use super::window::Load;
use super::{Book, Meter, not_reconciled};
use crate::money::Amount;
use crate::policy::limits::Share;
use crate::policy::{Charge, Consulted, Counter, Denied, Moment, Rule};
use chrono::{DateTime, Utc};

impl Book {
    /// What each bound says of the charges, in the order in which they are enforced. Nothing changes.
    pub(crate) fn consult(&self, charges: &[Charge], now: Moment) -> Vec<Consulted> {
        let mut book = self.clone();
        book.roll(now.server_ms, now.wall_ms);
        let mut consulted = Vec::new();
        if book.is_unreconciled {
            consulted.push(Consulted::denied(not_reconciled()));
        }
        let share = book.share();
        for charge in charges {
            match book.places(charge) {
                Ok(places) => {
                    for place in places {
                        book.consult_place(place, charge, charges, share, &mut consulted);
                    }
                }
                Err(denied) => consulted.push(Consulted::denied(denied)),
            }
        }
        consulted
    }

    fn consult_place(
        &self,
        place: Place,
        charge: &Charge,
        charges: &[Charge],
        share: Share,
        consulted: &mut Vec<Consulted>,
    ) {
        let asked = self.asked(place, charge, charges);
        let over = matches!(self.standing(place, charge, charges, share), Standing::Over(_));
        let refusal = || over.then(|| self.refusal(place, charge, charges, share));
        if let Place::Window(at) = place {
            let Some(window) = self.windows.get(at) else { return };
            let left = window.left_in_all().sum;
            let numbers = Consulted::met(Rule::Window);
            let numbers = numbers.counted(&charge.coin, asked, window.rule.sum, left);
            let resets_at = window.next_reset_at().and_then(time);
            consulted.push(Consulted { denied: refusal(), resets_at, ..numbers });
            return;
        }
        let Some(meter) = self.meter(place) else { return };
        let mut is_denied = false;
        for (rule, limit, left) in bounds(place, meter) {
            let over = limit.zip(left).filter(|(_, left)| asked > *left);
            let denied =
                over.map(|(limit, left)| Denied::over(rule, &charge.coin, asked, limit, left));
            is_denied |= denied.is_some();
            let numbers = Consulted::met(rule).counted(&charge.coin, asked, limit, left);
            consulted.push(Consulted { denied, ..numbers });
        }
        // Neither bound by itself, but a share of them, or what cannot be counted.
        consulted.extend(refusal().filter(|_| !is_denied).map(Consulted::denied));
    }

    /// Why a place does not allow what is asked of it.
    pub(super) fn refusal(
        &self,
        place: Place,
        charge: &Charge,
        charges: &[Charge],
        share: Share,
    ) -> Denied {
        let (asked, coin) = (self.asked(place, charge, charges), &charge.coin);
        if let Place::Window(at) = place {
            let Some(window) = self.windows.get(at) else { return no_limit(coin) };
            let left = window.left_in_all();
            let resets_at = window.fits_at(Load::one(asked)).and_then(time);
            let sum = left.sum.unwrap_or(Amount::MAX);
            return Denied::over_window(&window.rule, asked, sum, left.count, resets_at);
        }
        let Some(meter) = self.meter(place) else { return no_limit(coin) };
        if !meter.can_count(asked) {
            return Denied::new(Rule::Limit, "more was spent than can be counted");
        }
        let fits = |left: Option<Amount>| left.is_none_or(|left| asked <= left);
        let bounds = bounds(place, meter);
        let strict = bounds.into_iter().filter(|(_, _, left)| !fits(*left)).min_by_key(|b| b.2);
        match strict {
            Some((rule, limit, left)) => {
                let (limit, left) = (limit.unwrap_or_default(), left.unwrap_or_default());
                Denied::over(rule, coin, asked, limit, left)
            }
            // Each bound as it stands would allow it: a share of it does not.
            None => {
                let (cap, left) = (meter.counter.cap(), meter.left(share));
                let (cap, left) = (cap.unwrap_or_default(), left.unwrap_or_default());
                Denied::over(Rule::Decay, coin, asked, cap, left)
            }
        }
    }
}

type Bound = (Rule, Option<Amount>, Option<Amount>);

/// BitGo's limit and the total, each with what is left of it by itself.
fn bounds(place: Place, meter: &Meter) -> [Bound; 2] {
    let counter = meter.counter;
    let limit = Counter { total: None, ..counter }.left();
    let total = Counter { limit: None, ..counter }.left();
    let rule = match place {
        Place::Pool => Rule::Erc20Pool,
        _ => Rule::Limit,
    };
    [(rule, counter.limit, limit), (Rule::Total, counter.total, total)]
}

fn time(ms: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(ms)
}
