//! Allotments, windows, totals and reconciliation, against a BitGo whose own limit is off.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin, options, passphrase, told, withdrawal};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    Alarm, Amount, Clock, CoinRules, Decay, Error, Event, LocalRules, Outcome, Purpose, Rule,
    Vault, WindowRule,
};
use std::io::{Write, stderr};
use std::time::Duration;

const LIMIT: u128 = 100_000;
/// As long as a signed request may be on its way, and a moment more.
const ON_ITS_WAY: Duration = Duration::from_secs(601);
/// The vault reckons its clock a thousandth slow: after an hour it frees some seconds late.
const SLOW: u64 = 5;

async fn desk() -> Desk {
    let desk = Desk::with(Emulator::builder().without_limits()).await;
    desk.issue("bot", LIMIT).await;
    desk
}

async fn spend(desk: &Desk, amount: u128) -> Result<Outcome, String> {
    let sent = desk.vault.send("bot", &desk.withdrawal(amount)).await;
    sent.map(|answer| answer.outcome()).map_err(|error| told(&error))
}

fn denied(error: Error) -> (Rule, u128) {
    let Error::Denied(denied) = error else { panic!("{error}") };
    (denied.rule(), denied.left().unwrap_or_default().base_units())
}

/// A spend whose answer is lost: whether BitGo took it is not known here.
async fn spend_unheard(desk: &Desk, amount: u128, taken: bool) {
    let fault = match taken {
        true => FaultKind::DropAfterEffect,
        false => FaultKind::Status(503, "{}".into()),
    };
    desk.bitgo.inject(Fault::new(fault).on("POST", "/tx/initiate"));
    let _ = spend(desk, amount).await;
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_burst_is_allotted_ahead_and_a_clean_close_returns_it() {
    let desk = desk().await;
    let request = desk.withdrawal(10);
    let leases: Vec<_> = (0..40).map(|_| desk.vault.lease("bot", &request).unwrap()).collect();
    let spare = desk.counter("bot").allotted;
    assert!(spare > Amount::ZERO && spare <= Amount::new(LIMIT / 16), "{spare}");
    drop(leases);
    let counter = desk.counter("bot");
    assert_eq!((counter.used(), counter.reserved), (Some(Amount::ZERO), Amount::ZERO));
    assert_eq!(counter.allotted, Amount::new(spare.base_units() + 400));
    assert_eq!(counter.left(), Some(Amount::new(LIMIT)), "it may be spent here");

    let desk = desk.reopened().await;
    let counter = desk.counter("bot");
    assert_eq!((counter.allotted, counter.used()), (Amount::ZERO, Some(Amount::ZERO)));
    assert_eq!(spend(&desk, LIMIT).await, Ok(Outcome::Accepted), "to the last unit");
    assert_eq!(spend(&desk, 1).await, Err("denied by limit".into()));
}

#[tokio::test]
async fn what_others_spend_counts_at_once_and_is_told() {
    let desk = desk().await;
    assert_eq!(spend(&desk, 1000).await, Ok(Outcome::Accepted));
    // The same token in another vault: it has a ledger of its own.
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup");
    desk.vault.back_up(&backup).await.unwrap();
    let path = elsewhere.path().join("vault");
    let other = options(&path, desk.bitgo.environment(), &desk.clock);
    let other = other.restore(&backup, passphrase()).await.unwrap();
    pass(ON_ITS_WAY).await;
    other.reconcile("bot").await.unwrap();
    assert_eq!(other.status("bot").unwrap().counters[&coin()].foreign, Amount::new(1000));
    other.send("bot", &withdrawal(desk.wallet, 400)).await.unwrap();
    other.close().await.unwrap();

    let mut events = desk.vault.events();
    let counter = desk.vault.reconcile("bot").await.unwrap().counters[&coin()];
    assert_eq!((counter.accepted, counter.foreign), (Amount::new(1000), Amount::new(400)));
    assert_eq!(counter.left(), Some(Amount::new(LIMIT - 1400)));
    let Some(Event::Alarm { alarm: Alarm::SpentByOthers { drift, .. }, .. }) = events.next().await
    else {
        panic!("no alarm");
    };
    assert_eq!((drift.counted, drift.accepted), (Amount::new(1400), Amount::new(1000)));
    assert!(matches!(events.next().await, Some(Event::Drift { .. })));
}

#[tokio::test]
async fn an_unheard_answer_is_resolved_once_nothing_can_be_on_its_way() {
    let desk = desk().await;
    pass(ON_ITS_WAY).await;
    spend_unheard(&desk, 1000, true).await;
    spend_unheard(&desk, 300, false).await;
    assert_eq!(desk.counter("bot").uncertain, Amount::new(1300));

    // Too early it only tightens: what BitGo took may be what is uncertain, or somebody else's.
    let early = desk.vault.reconcile("bot").await.unwrap().counters[&coin()];
    assert_eq!((early.uncertain, early.foreign), (Amount::new(1300), Amount::new(1000)));

    pass(ON_ITS_WAY).await;
    let late = desk.vault.reconcile("bot").await.unwrap().counters[&coin()];
    assert_eq!((late.uncertain, late.foreign), (Amount::ZERO, Amount::new(1000)));
    assert_eq!(spend(&desk, LIMIT - 1000).await, Ok(Outcome::Accepted), "what was refused is free");
    assert_eq!(desk.spent(), LIMIT);
}

#[tokio::test]
async fn what_waits_for_an_outcome_keeps_uncertain_what_is() {
    let desk = desk().await;
    spend_unheard(&desk, 300, false).await;
    let request = desk.withdrawal(50);
    let signed = desk.vault.lease("bot", &request).unwrap().sign().unwrap();
    pass(ON_ITS_WAY).await;
    let counter = desk.vault.reconcile("bot").await.unwrap().counters[&coin()];
    assert_eq!((counter.uncertain, counter.reserved), (Amount::new(300), Amount::new(50)));
    drop(signed);
    pass(ON_ITS_WAY).await;
    let counter = desk.vault.reconcile("bot").await.unwrap().counters[&coin()];
    assert_eq!(counter.used(), Some(Amount::ZERO), "both were never sent: {counter:?}");
}

#[tokio::test]
async fn the_vault_reconciles_by_itself() {
    let desk = desk().await;
    let options = desk.options().reconcile_every(Duration::from_secs(60));
    let desk = desk.reopened_with(options).await;
    spend_unheard(&desk, 300, false).await;
    assert_eq!(desk.counter("bot").uncertain, Amount::new(300));
    for _ in 0..15 {
        pass(ON_ITS_WAY).await;
        // Its question has this long to be answered, in true time.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if desk.counter("bot").uncertain == Amount::ZERO {
                return;
            }
        }
    }
    panic!("{:?}", desk.counter("bot"));
}

fn rules(change: impl FnOnce(&mut LocalRules)) -> LocalRules {
    let mut rules = LocalRules::default();
    change(&mut rules);
    rules
}

fn window(sum: Option<u128>, count: Option<u32>) -> WindowRule {
    let rule = WindowRule::new(Purpose::Withdrawal, &coin(), Duration::from_secs(3600));
    match (sum, count) {
        (Some(sum), _) => rule.sum(Amount::new(sum)),
        (None, count) => rule.count(count.unwrap()),
    }
}

#[tokio::test]
async fn a_window_frees_by_the_servers_time_and_by_no_other() {
    let desk = desk().await;
    let hourly = rules(|rules| rules.windows = vec![window(Some(1000), None)]);
    desk.vault.set_rules("bot", hourly, None).await.unwrap();
    assert_eq!(spend(&desk, 900).await, Ok(Outcome::Accepted));
    let error = desk.vault.send("bot", &desk.withdrawal(101)).await.unwrap_err();
    let Error::Denied(denied) = &error else { panic!("{error}") };
    assert_eq!((denied.rule(), denied.left()), (Rule::Window, Some(Amount::new(100))));
    let resets_at = denied.resets_at().unwrap();
    assert!(resets_at > desk.clock.now() + Duration::from_secs(3500));

    // A wall clock that jumps frees nothing, nor does being closed.
    desk.clock.jump(chrono::TimeDelta::seconds(100));
    let desk = desk.reopened().await;
    assert_eq!(spend(&desk, 101).await, Err("denied by window".into()));
    desk.clock.jump(chrono::TimeDelta::seconds(-100));
    assert_eq!(spend(&desk, 100).await, Ok(Outcome::Accepted));

    // What was spent since counts as of when the clock was ahead.
    pass(Duration::from_secs(3600 + 3600 / 64 + 101 + SLOW)).await;
    assert_eq!(spend(&desk, 1000).await, Ok(Outcome::Accepted));
}

#[tokio::test]
async fn a_window_holds_where_the_vault_was_closed_for_long() {
    let desk = desk().await;
    let hourly = rules(|rules| rules.windows = vec![window(Some(1000), None)]);
    desk.vault.set_rules("bot", hourly, None).await.unwrap();
    assert_eq!(spend(&desk, 1).await, Ok(Outcome::Accepted));
    tokio::time::pause();
    let options = desk.options();
    let desk = desk.reopened_later(options, Duration::from_secs(5 * 3600)).await;
    tokio::time::resume();
    // The first answer tells how late it is: what went out before it did so just now.
    assert_eq!(spend(&desk, 999).await, Ok(Outcome::Accepted));
    assert_eq!(spend(&desk, 2).await, Err("denied by window".into()));
    pass(Duration::from_secs(3600 + 3600 / 64 + 1 + SLOW)).await;
    assert_eq!(spend(&desk, 1000).await, Ok(Outcome::Accepted));
}

#[tokio::test]
async fn requests_are_counted_as_well() {
    let desk = desk().await;
    let few = rules(|rules| rules.windows = vec![window(None, Some(3))]);
    desk.vault.set_rules("bot", few, None).await.unwrap();
    for _ in 0..3 {
        assert_eq!(spend(&desk, 1).await, Ok(Outcome::Accepted));
    }
    assert_eq!(spend(&desk, 1).await, Err("denied by window".into()));
    // A refused one is given back.
    pass(Duration::from_secs(3700)).await;
    desk.bitgo.inject(Fault::new(FaultKind::Status(400, "{}".into())).on("POST", "/tx/initiate"));
    assert_eq!(spend(&desk, 1).await, Ok(Outcome::Rejected));
    for _ in 0..3 {
        assert_eq!(spend(&desk, 1).await, Ok(Outcome::Accepted));
    }
    assert_eq!(spend(&desk, 1).await, Err("denied by window".into()));
}

#[tokio::test]
async fn a_tightened_total_holds_at_once_and_a_budget_is_renewed_by_the_passphrase() {
    let desk = desk().await;
    // Much is allotted when the rule comes.
    let request = desk.withdrawal(10);
    let leases: Vec<_> = (0..30).map(|_| desk.vault.lease("bot", &request).unwrap()).collect();
    drop(leases);
    assert!(desk.counter("bot").allotted >= Amount::new(300));
    let mut total = CoinRules::default();
    total.total = Some(Amount::new(50));
    let tight = rules(|rules| rules.coins = [(coin(), total)].into());
    desk.vault.set_rules("bot", tight, None).await.unwrap();
    assert_eq!(desk.counter("bot").allotted, Amount::ZERO, "returned first");
    let error = desk.vault.send("bot", &desk.withdrawal(51)).await.unwrap_err();
    assert_eq!(denied(error), (Rule::Total, 50));
    assert_eq!(spend(&desk, 50).await, Ok(Outcome::Accepted));
    assert_eq!(spend(&desk, 1).await, Err("denied by total".into()));

    let wrong = bitgo_vault::Passphrase::new("wrong");
    assert!(desk.vault.renew_budget("bot", wrong).await.is_err());
    assert_eq!(spend(&desk, 1).await, Err("denied by total".into()));
    desk.vault.renew_budget("bot", passphrase()).await.unwrap();
    let desk = desk.reopened().await;
    assert_eq!(spend(&desk, 50).await, Ok(Outcome::Accepted));
    assert_eq!(spend(&desk, 1).await, Err("denied by total".into()));
}

#[tokio::test]
async fn less_may_be_spent_while_bitgo_confirms_nothing() {
    let desk = desk().await;
    let decay = Decay::new(Duration::from_secs(1800), Duration::from_secs(3600));
    let rule = rules(|rules| rules.decay = Some(decay));
    desk.vault.set_rules("bot", rule, None).await.unwrap();
    desk.vault.reconcile("bot").await.unwrap();
    pass(Duration::from_secs(1800 + 1800)).await;
    let error = desk.vault.send("bot", &desk.withdrawal(LIMIT * 6 / 10)).await.unwrap_err();
    assert_eq!(denied(error).0, Rule::Decay);
    assert_eq!(spend(&desk, LIMIT * 4 / 10).await, Ok(Outcome::Accepted));
    desk.vault.reconcile("bot").await.unwrap();
    assert_eq!(spend(&desk, LIMIT * 6 / 10).await, Ok(Outcome::Accepted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_use_a_limit_up_exactly() {
    let desk = desk().await;
    let leases = std::env::var("BITGO_VAULT_LEASES").map_or(LEASES, |n| n.parse().unwrap());
    for threads in [2u32, 8, 64] {
        let label = format!("crowd-{threads}");
        let (each, amount) = (leases / threads, 7);
        let limit = u128::from(leases / 2) * amount + 3;
        desk.issue(&label, limit).await;
        let vault = desk.vault.clone();
        let request = desk.withdrawal(amount);
        let signed =
            tokio::task::spawn_blocking(move || crowd(&vault, &label, &request, threads, each));
        assert_eq!(signed.await.unwrap(), leases / 2, "{threads} threads");
    }
    // Past libtest, which keeps the words of tests that pass to itself.
    let told =
        format!("of {leases} leases each, by 2, 8 and 64 threads, {} were given\n", leases / 2);
    stderr().write_all(told.as_bytes()).unwrap();
}

/// Leases that are asked for by each number of threads, of which half fit: a million in all.
/// `.ci/full` asks for 64 times as many.
const LEASES: u32 = 349_952;

/// How many of the leases that so many threads ask for are signed.
fn crowd(
    vault: &Vault,
    label: &str,
    request: &bitgo_vault::Request,
    threads: u32,
    each: u32,
) -> u32 {
    std::thread::scope(|scope| {
        let one = || {
            let leases = (0..each).map(|_| vault.lease(label, request));
            let signed = leases.map(|lease| match lease {
                Ok(lease) => u32::from(lease.sign().is_ok()),
                Err(error) => {
                    assert_eq!(told(&error), "denied by limit");
                    0
                }
            });
            signed.sum::<u32>()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
