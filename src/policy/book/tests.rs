//! Each bound by itself. All together stand against a plain model in test_util/ledger_model.rs.

use super::super::Moment;
use super::{Book, Draw, Drawn, Drift, Sample};
use crate::id::TokenId;
use crate::money::{Amount, Coin};
use crate::policy::{Charge, CoinRules, Counter, LocalRules, Outcome, Purpose, Rule, WindowRule};
use crate::token::{SpendingLimit, TokenInfo};
use std::time::Duration;

fn coin(name: &str) -> Coin {
    Coin::new(name).unwrap()
}

fn charge(name: &str, units: u128) -> Charge {
    let is_erc20 = ["terc", "tusdc"].contains(&name);
    Charge { is_erc20, ..Charge::withdrawal(coin(name), Amount::new(units)) }
}

fn limit(most: u128) -> SpendingLimit {
    SpendingLimit { limit: Some(Amount::new(most)), spent: Amount::ZERO }
}

fn info(limits: &[(&str, u128)], pool: Option<u128>) -> TokenInfo {
    let limits = limits.iter().map(|(name, most)| (coin(name), limit(*most)));
    let info = TokenInfo::of_limits(TokenId::from_bytes([1; 16]), limits.collect());
    TokenInfo { erc20_limit: pool.map(limit), ..info }
}

fn total(name: &str, most: u128) -> LocalRules {
    let bounds = CoinRules { total: Some(Amount::new(most)), ..CoinRules::default() };
    LocalRules { coins: [(coin(name), bounds)].into(), ..LocalRules::default() }
}

/// A moment so long after the one before that it is no burst.
fn later(secs: u64) -> Moment {
    Moment { monotonic: Duration::from_secs(secs), server_ms: 1_000_000, wall_ms: 0 }
}

fn draw(book: &mut Book, charges: &[Charge], now: Moment) -> Result<Draw, Rule> {
    match book.draw(charges, now).map_err(|denied| denied.rule())? {
        Drawn::Done(draw) => Ok(draw),
        Drawn::Taken(take) => {
            book.land(&take);
            Ok(take.draw)
        }
        Drawn::Wait => panic!("nothing is in flight"),
    }
}

fn counter(book: &Book, name: &str) -> Counter {
    book.counters()[&coin(name)]
}

#[test]
fn all_charges_are_drawn_or_none() {
    let mut book = Book::begin(&info(&[("tbtc", 100), ("teth", 10)], None), &LocalRules::default());
    let both = [charge("tbtc", 50), charge("teth", 11)];
    assert_eq!(draw(&mut book, &both, later(0)), Err(Rule::Limit));
    assert_eq!(
        counter(&book, "tbtc"),
        Counter { reserved: Amount::ZERO, ..counter(&book, "tbtc") }
    );
    let none = draw(&mut book, &[charge("tsol", 1)], later(0));
    assert_eq!(none, Err(Rule::NoLimit));
    assert!(draw(&mut book, &[charge("tbtc", 50), charge("teth", 10)], later(0)).is_ok());
}

#[test]
fn erc20_coins_without_a_limit_of_their_own_share_one() {
    let mut book = Book::begin(&info(&[("tusdc", 5)], Some(100)), &total("terc", 60));
    assert_eq!(draw(&mut book, &[charge("tusdc", 6)], later(0)), Err(Rule::Limit), "its own");
    assert_eq!(draw(&mut book, &[charge("tusdc", 5)], later(0)).map(drop), Ok(()));
    assert_eq!(draw(&mut book, &[charge("terc", 61)], later(0)), Err(Rule::Total), "ours as well");
    let sixty = draw(&mut book, &[charge("terc", 60)], later(0)).unwrap();
    let other = Charge { is_erc20: true, ..charge("tweth", 41) };
    assert_eq!(draw(&mut book, std::slice::from_ref(&other), later(0)), Err(Rule::Erc20Pool));
    book.settle(&[charge("terc", 60)], sixty, Outcome::Rejected);
    assert_eq!(draw(&mut book, &[other], later(0)).map(drop), Ok(()));
    // Two coins of one request ask the pool for their sum.
    let two = [charge("terc", 30), Charge { is_erc20: true, ..charge("tweth", 30) }];
    assert_eq!(draw(&mut book, &two, later(0)), Err(Rule::Erc20Pool));
    // A coin that is no ERC-20 one has no share in it.
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], later(0)), Err(Rule::NoLimit));
}

#[test]
fn a_burst_takes_twice_as_much_each_time_and_a_sixteenth_at_most() {
    let mut book = Book::begin(&info(&[("tbtc", 16_000)], None), &LocalRules::default());
    let mut takes = 0;
    for _ in 0..1000 {
        if let Drawn::Taken(take) = book.draw(&[charge("tbtc", 1)], later(0)).unwrap() {
            book.land(&take);
            takes += 1;
        }
        assert!(counter(&book, "tbtc").allotted <= Amount::new(1000));
    }
    assert!((8..=12).contains(&takes), "{takes} takes for 1000 draws");
    // What comes now and then takes what it needs.
    book.give_back();
    for secs in [100, 200] {
        assert!(draw(&mut book, &[charge("tbtc", 1)], later(secs)).is_ok());
        assert_eq!(counter(&book, "tbtc").allotted, Amount::ZERO);
    }
}

#[test]
fn what_is_in_flight_is_waited_for_and_not_refused() {
    let mut book = Book::begin(&info(&[("tbtc", 160)], None), &LocalRules::default());
    for _ in 0..6 {
        draw(&mut book, &[charge("tbtc", 1)], later(0)).unwrap();
    }
    book.give_back();
    let Ok(Drawn::Taken(take)) = book.draw(&[charge("tbtc", 1)], later(0)) else {
        panic!("it is taken")
    };
    let in_flight = counter(&book, "tbtc").allotted.base_units();
    assert!(in_flight > 0);
    let rest = 160 - 7;
    assert!(matches!(book.draw(&[charge("tbtc", rest)], later(0)), Ok(Drawn::Wait)));
    assert!(book.draw(&[charge("tbtc", rest + 1)], later(0)).is_err());
    let mut failed = book.clone();
    book.land(&take);
    assert!(draw(&mut book, &[charge("tbtc", rest)], later(0)).is_ok());
    failed.undo(&take);
    assert_eq!(counter(&failed, "tbtc").reserved, Amount::new(6), "as if it had not been drawn");
    assert!(draw(&mut failed, &[charge("tbtc", rest + 1)], later(0)).is_ok());
}

#[test]
fn what_is_taken_under_former_rules_does_not_land() {
    let mut book = Book::begin(&info(&[("tbtc", 1600)], None), &LocalRules::default());
    for _ in 0..4 {
        draw(&mut book, &[charge("tbtc", 1)], later(0)).unwrap();
    }
    book.give_back();
    let Ok(Drawn::Taken(take)) = book.draw(&[charge("tbtc", 1)], later(0)) else {
        panic!("it is taken")
    };
    book.apply(&total("tbtc", 10));
    book.land(&take);
    assert_eq!(counter(&book, "tbtc").allotted, Amount::ZERO);
    assert_eq!(draw(&mut book, &[charge("tbtc", 6)], later(0)), Err(Rule::Total));
    assert!(draw(&mut book, &[charge("tbtc", 5)], later(0)).is_ok());
}

#[test]
fn a_successor_shares_the_total_and_gives_back_what_its_former_was_refused() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let spent = draw(&mut book, &[charge("tbtc", 30)], later(0)).unwrap();
    book.settle(&[charge("tbtc", 30)], spent, Outcome::Accepted);
    let open = draw(&mut book, &[charge("tbtc", 20)], later(0)).unwrap();
    book.succeed(&info(&[("tbtc", 100)], None), &LocalRules::default(), 0);
    assert_eq!(draw(&mut book, &[charge("tbtc", 51)], later(0)), Err(Rule::Total));
    book.settle(&[charge("tbtc", 20)], open, Outcome::Rejected);
    let counted = counter(&book, "tbtc");
    assert_eq!((counted.carried, counted.used()), (Amount::new(30), Some(Amount::ZERO)));
    assert!(draw(&mut book, &[charge("tbtc", 70)], later(0)).is_ok());
    book.renew_budget();
    assert_eq!(draw(&mut book, &[charge("tbtc", 31)], later(0)), Err(Rule::Limit), "bitgo's own");
    assert!(draw(&mut book, &[charge("tbtc", 30)], later(0)).is_ok());
}

#[test]
fn a_renewed_budget_counts_what_is_not_settled() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &total("tbtc", 50));
    for (units, outcome) in [(10, Outcome::Accepted), (20, Outcome::Uncertain)] {
        let drawn = draw(&mut book, &[charge("tbtc", units)], later(0)).unwrap();
        book.settle(&[charge("tbtc", units)], drawn, outcome);
    }
    book.renew_budget();
    assert_eq!(counter(&book, "tbtc").left(), Some(Amount::new(30)));
    // BitGo took nothing of it: that frees the limit and the total alike.
    let limits = [(coin("tbtc"), SpendingLimit { spent: Amount::new(10), ..limit(100) })].into();
    let sample = Sample { limits: &limits, pool: None, server_ms: 1_000_000, is_quiescent: true };
    let before = book.sampling();
    let drifts = book.sample(&before, &sample);
    assert_eq!(drifts.len(), 1);
    assert_eq!(drifts[0].resolved, Amount::new(20));
    assert!(!drifts[0].is_of_others() && !drifts[0].is_contradiction());
    assert_eq!(counter(&book, "tbtc").left(), Some(Amount::new(50)));
}

/// BitGo has counted `spent` by now, while something of ours is on its way.
fn sample(book: &mut Book, spent: u128, server_ms: i64) -> Vec<Drift> {
    let limits = [(coin("tbtc"), SpendingLimit { spent: Amount::new(spent), ..limit(100) })].into();
    let before = book.sampling();
    book.sample(&before, &Sample { limits: &limits, pool: None, server_ms, is_quiescent: false })
}

fn left(book: &Book) -> Option<Amount> {
    counter(book, "tbtc").left()
}

#[test]
fn a_spend_on_its_way_while_bitgo_counted_counts_once_when_it_counts_again() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let ours = draw(&mut book, &[charge("tbtc", 40)], later(0)).unwrap();
    let drifts = sample(&mut book, 40, 1);
    assert_eq!((drifts[0].in_doubt, left(&book)), (Amount::new(40), Some(Amount::new(20))));
    assert!(!drifts[0].is_of_others(), "who knows");
    book.settle(&[charge("tbtc", 40)], ours, Outcome::Accepted);
    // A bot that never rests has something on its way each time.
    let next = draw(&mut book, &[charge("tbtc", 10)], later(20)).unwrap();
    assert!(sample(&mut book, 40, 0).is_empty(), "an older one takes nothing back");
    let drifts = sample(&mut book, 50, 2);
    assert!(!drifts[0].is_of_others());
    book.settle(&[charge("tbtc", 10)], next, Outcome::Accepted);
    assert_eq!(sample(&mut book, 50, 3).len(), 1);
    assert_eq!(left(&book), Some(Amount::new(50)), "to the last unit");
    // What others spent is known as such, however much of ours is on its way.
    let open = draw(&mut book, &[charge("tbtc", 20)], later(40)).unwrap();
    let drifts = sample(&mut book, 50 + 20 + 5, 4);
    assert!(drifts[0].is_of_others());
    assert_eq!((drifts[0].foreign, drifts[0].in_doubt), (Amount::new(25), Amount::new(20)));
    book.settle(&[charge("tbtc", 20)], open, Outcome::Uncertain);
    assert!(sample(&mut book, 75, 5).is_empty(), "while it is uncertain it stays in doubt");
    assert_eq!(left(&book), Some(Amount::new(5)));
}

#[test]
fn what_was_in_doubt_is_not_carried_over_twice() {
    let spend = [charge("tbtc", 40)];
    for (spent, outcome, is_settled_before, carried) in [
        (40, Outcome::Accepted, true, 40),
        (40, Outcome::Accepted, false, 40),
        (40, Outcome::Uncertain, true, 40),
        (70, Outcome::Accepted, true, 70),
        (70, Outcome::Accepted, false, 70),
        // Refused, it was not among what BitGo counted: others spent that.
        (40, Outcome::Rejected, true, 40),
        (40, Outcome::Rejected, false, 40),
        (0, Outcome::Rejected, false, 0),
        (30, Outcome::Rejected, false, 30),
        (30, Outcome::Accepted, false, 40),
    ] {
        let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
        let ours = draw(&mut book, &spend, later(0)).unwrap();
        sample(&mut book, spent, 1);
        if is_settled_before {
            book.settle(&spend, ours, outcome);
        }
        book.succeed(&info(&[("tbtc", 100)], None), &LocalRules::default(), 2);
        if !is_settled_before {
            book.settle(&spend, ours, outcome);
        }
        let told = format!("{spent} {outcome:?} {is_settled_before}");
        assert_eq!(counter(&book, "tbtc").carried, Amount::new(carried), "{told}");
    }
}

#[test]
fn a_budget_that_begins_anew_forgives_nothing_twice() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let ours = draw(&mut book, &[charge("tbtc", 40)], later(0)).unwrap();
    sample(&mut book, 40, 1);
    book.renew_budget();
    book.settle(&[charge("tbtc", 40)], ours, Outcome::Accepted);
    book.succeed(&info(&[("tbtc", 100)], None), &LocalRules::default(), 2);
    assert_eq!(counter(&book, "tbtc").carried, Amount::new(40));

    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    sample(&mut book, 40, 1);
    book.renew_budget();
    let ours = draw(&mut book, &[charge("tbtc", 10)], later(0)).unwrap();
    sample(&mut book, 50, 2);
    book.settle(&[charge("tbtc", 10)], ours, Outcome::Accepted);
    sample(&mut book, 50, 3);
    let counted = counter(&book, "tbtc");
    assert_eq!((counted.foreign, counted.renewed), (Amount::new(40), Amount::new(40)));
    assert_eq!(counted.used_of_total(), Some(Amount::new(10)), "what was forgiven stays so");
}

#[test]
fn a_server_that_counts_less_than_it_accepted_contradicts() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let drawn = draw(&mut book, &[charge("tbtc", 10)], later(0)).unwrap();
    book.settle(&[charge("tbtc", 10)], drawn, Outcome::Accepted);
    let limits = [(coin("tbtc"), limit(100))].into();
    let sample = Sample { limits: &limits, pool: None, server_ms: 1_000_000, is_quiescent: true };
    let before = book.sampling();
    let drifts = book.sample(&before, &sample);
    assert!(drifts[0].is_contradiction());
    assert_eq!(counter(&book, "tbtc").used(), Some(Amount::new(10)), "what it accepted counts");
}

#[test]
fn orders_draw_on_their_own_windows_and_on_no_limit() {
    let day = Duration::from_secs(86_400);
    let rule = WindowRule::new(Purpose::Trade, &coin("tbtc"), day).sum(Amount::new(50));
    let rules = LocalRules { windows: vec![rule], ..LocalRules::default() };
    let mut book = Book::begin(&info(&[("tbtc", 10)], None), &rules);
    let order = |units| [Charge { purpose: Purpose::Trade, ..charge("tbtc", units) }];
    assert!(draw(&mut book, &order(50), later(0)).is_ok());
    assert_eq!(draw(&mut book, &order(1), later(0)), Err(Rule::Window));
    assert!(draw(&mut book, &[charge("tbtc", 10)], later(0)).is_ok(), "a withdrawal is none");
    // Without the server's time nobody knows what a window holds.
    let mut book = Book::begin(&info(&[], None), &rules);
    let unknown = Moment { server_ms: 0, ..later(0) };
    assert_eq!(draw(&mut book, &order(1), unknown), Err(Rule::Unreconciled));
}

#[test]
fn an_exposed_token_gives_nothing_back() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let open = draw(&mut book, &[charge("tbtc", 20)], later(0)).unwrap();
    book.expose(0);
    book.settle(&[charge("tbtc", 20)], open, Outcome::Rejected);
    assert_eq!(counter(&book, "tbtc").left(), Some(Amount::ZERO));
    let limits = [(coin("tbtc"), limit(100))].into();
    let sample = Sample { limits: &limits, pool: None, server_ms: 1_000_000, is_quiescent: true };
    let before = book.sampling();
    book.sample(&before, &sample);
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], later(0)), Err(Rule::Limit));
}

fn hourly(sum: u128) -> LocalRules {
    let hour = Duration::from_secs(3600);
    let rule = WindowRule::new(Purpose::Withdrawal, &coin("tbtc"), hour).sum(Amount::new(sum));
    LocalRules { windows: vec![rule], ..LocalRules::default() }
}

#[test]
fn what_comes_back_after_a_bound_was_tightened_does_not_outdo_it() {
    for (rules, rule) in [(total("tbtc", 50), Rule::Total), (hourly(50), Rule::Window)] {
        let mut book = Book::begin(&info(&[("tbtc", 100)], None), &hourly(100));
        let open = draw(&mut book, &[charge("tbtc", 80)], later(0)).unwrap();
        book.apply(&rules);
        book.settle(&[charge("tbtc", 80)], open, Outcome::Rejected);
        assert_eq!(draw(&mut book, &[charge("tbtc", 80)], later(0)), Err(rule));
        assert!(draw(&mut book, &[charge("tbtc", 50)], later(0)).is_ok());
        assert_eq!(draw(&mut book, &[charge("tbtc", 1)], later(0)), Err(rule));
    }
}

#[test]
fn an_exposed_tokens_window_is_full_as_of_now_whenever_it_was_last_used() {
    let day = 86_400_000;
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &hourly(50));
    draw(&mut book, &[charge("tbtc", 1)], Moment { server_ms: day, ..later(0) }).unwrap();
    book.is_exposed = false;
    book.expose(3 * day);
    book.coins.at_mut(0).unwrap().counter.uncertain = Amount::ZERO;
    let now = Moment { server_ms: 3 * day, ..later(1) };
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], now), Err(Rule::Window));
    // Where the time is not known it stays so.
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &hourly(50));
    book.expose(0);
    book.coins.at_mut(0).unwrap().counter.uncertain = Amount::ZERO;
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], now), Err(Rule::Window));
}

#[test]
fn a_refusal_gives_back_what_was_drawn_on_and_nothing_else() {
    // A coin with a limit of its own draws on that, and not on the pool.
    let mut book = Book::begin(&info(&[("terc", 300)], Some(1000)), &LocalRules::default());
    let other = [Charge { is_erc20: true, ..charge("tweth", 500) }];
    let spent = draw(&mut book, &other, later(0)).unwrap();
    book.settle(&other, spent, Outcome::Accepted);
    let own = [charge("terc", 300)];
    let open = draw(&mut book, &own, later(0)).unwrap();
    // Its successor has none, so that it would draw on the pool.
    book.succeed(&info(&[], Some(1000)), &LocalRules::default(), 0);
    book.settle(&own, open, Outcome::Rejected);
    assert_eq!(book.pool.unwrap().counter.carried, Amount::new(500));
}

#[test]
fn a_late_refusal_frees_nothing_of_a_renewed_budget() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let late = draw(&mut book, &[charge("tbtc", 100)], later(0)).unwrap();
    book.succeed(&info(&[("tbtc", 100)], None), &LocalRules::default(), 0);
    book.renew_budget();
    let spent = draw(&mut book, &[charge("tbtc", 50)], later(0)).unwrap();
    book.settle(&[charge("tbtc", 50)], spent, Outcome::Accepted);
    book.succeed(&info(&[("tbtc", 100)], None), &LocalRules::default(), 0);
    book.settle(&[charge("tbtc", 100)], late, Outcome::Rejected);
    assert_eq!(counter(&book, "tbtc").carried, Amount::new(50));
}

#[test]
fn an_older_sample_frees_nothing_that_a_newer_one_has_counted() {
    let mut book = Book::begin(&info(&[("tbtc", 100)], None), &LocalRules::default());
    let before = book.sampling();
    for (spent, server_ms) in [(80, 2_000), (50, 1_000)] {
        let limits = [(coin("tbtc"), SpendingLimit { spent: Amount::new(spent), ..limit(100) })];
        let limits = limits.into();
        book.sample(
            &before,
            &Sample { limits: &limits, pool: None, server_ms, is_quiescent: true },
        );
    }
    assert_eq!(counter(&book, "tbtc").foreign, Amount::new(80));
}

#[test]
fn a_ledger_that_was_lost_has_its_windows_used_up_when_it_begins_anew() {
    let info = info(&[("tbtc", 100)], None);
    let mut book = Book { is_unreconciled: true, ..Book::default() };
    book.begin_anew(&info, &hourly(50), 1_000_000);
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], later(0)), Err(Rule::Window));
    let hours_later = Moment { server_ms: 10_000_000, ..later(0) };
    assert!(draw(&mut book, &[charge("tbtc", 50)], hours_later).is_ok());
}

#[test]
fn only_a_ledger_without_a_past_begins_when_its_token_is_verified() {
    let (rules, info) = (LocalRules::default(), info(&[("tbtc", 100)], None));
    let mut fresh = Book::default();
    fresh.verify(&info, &rules, 1_000_000);
    assert!(draw(&mut fresh, &[charge("tbtc", 100)], later(0)).is_ok());

    let mut restored = Book { is_unreconciled: true, ..Book::default() };
    restored.verify(&info, &rules, 1_000_000);
    assert_eq!(draw(&mut restored, &[charge("tbtc", 1)], later(0)), Err(Rule::Unreconciled));
    assert!(restored.is_counted(), "so that it is reconciled");

    // It was cut off by a crash; what is known of its token a repair took from a backup.
    let mut last = Book::begin(&info, &rules);
    assert!(draw(&mut last, &[charge("tbtc", 100)], later(0)).is_ok());
    let mut last = last.after_crash();
    last.verify(&info, &rules, 1_000_000);
    assert_eq!(draw(&mut last, &[charge("tbtc", 1)], later(0)), Err(Rule::Limit));
}

#[test]
fn what_is_drawn_after_a_long_silence_counts_as_of_then() {
    const HOUR: i64 = 3_600_000;
    let mut book = Book::begin(&info(&[("tbtc", 1000)], None), &hourly(50));
    // Closed or asleep for five hours: BitGo's time stood still, the machine's did not.
    let woken = Moment { wall_ms: 1_000_000 + 5 * HOUR, ..later(0) };
    assert!(draw(&mut book, &[charge("tbtc", 50)], woken).is_ok());
    let heard = |ms: i64| Moment { server_ms: 1_000_000 + 5 * HOUR + ms, ..later(1) };
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], heard(0)), Err(Rule::Window));
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], heard(HOUR - 1)), Err(Rule::Window));
    assert!(draw(&mut book, &[charge("tbtc", 50)], heard(HOUR + HOUR / 64)).is_ok());
}

#[test]
fn a_clock_far_ahead_puts_windows_off_until_bitgo_tells_its_time() {
    const HOUR: i64 = 3_600_000;
    let info = info(&[("tbtc", 1000)], None);
    let mut book = Book::begin(&info, &hourly(50));
    let ahead = Moment { wall_ms: 1_000_000 + 9000 * HOUR, ..later(0) };
    assert!(draw(&mut book, &[charge("tbtc", 50)], ahead).is_ok());
    let later = Moment { server_ms: 1_000_000 + 3 * HOUR, ..later(0) };
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], later), Err(Rule::Window));
    let (limits, server_ms) = (&info.spending_limits, 1_000_000 + 3 * HOUR);
    let before = book.sampling();
    book.sample(&before, &Sample { limits, pool: None, server_ms, is_quiescent: false });
    assert_eq!(draw(&mut book, &[charge("tbtc", 1)], later), Err(Rule::Window));
    let freed = Moment { server_ms: 1_000_000 + 4 * HOUR + HOUR / 8, ..later };
    assert!(draw(&mut book, &[charge("tbtc", 50)], freed).is_ok());
}
