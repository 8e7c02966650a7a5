//! A busy vault, in a process of its own, and all that it puts out: whatever it is asked to do, and
//! whatever goes wrong, no secret and no piece of one is in it, and all is told as it is documented.
//!
//! Captured are the spans and events of every crate through `tracing`, the records of every crate
//! through `log` (sled, rustls, mio), every metric, what `Debug` and `Display` make of whatever a
//! caller gets, the vault's events, and the process's standard output and error.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use super::capture::{Seen, Series, begin, output, seen, show};
use super::day::{be_busy, taken};
use super::names::{documented, table};
use super::search::found;
use crate::memory::needles::{Needles, random_hex};
use metrics::Unit;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

const TEST: &str = "telemetry::busy::a_busy_vault_tells_no_secret";
/// Where the process that is busy leaves what it told, and what is not to be in it.
const CHILD: &str = "BITGO_VAULT_TELEMETRY_CHILD";
const OUTPUT: &str = "output";
const NEEDLES: &str = "needles";
/// A day that takes longer does not end.
const LONGEST: Duration = Duration::from_secs(240);

/// Events that the day cannot provoke, and what would have to happen.
const UNSEEN: [(&str, &str); 17] = [
    ("allotment.not_returned", "a ledger that cannot be sealed"),
    ("anchor.unlocked", "a file system without locks"),
    ("audit.segment_lost", "a damaged segment"),
    ("audit.waits", "a disk that takes what an opening writes first, and no more"),
    ("backup.left", "a directory that gives no file up"),
    ("control.stranger", "another user"),
    ("database.copied", "a damaged database"),
    ("database.copy_left", "a directory that gives no file up"),
    ("database.left", "a directory that gives no file up"),
    ("freeze.no_file", "a directory that takes no file, while its files are written"),
    ("rekey.failed", "a key that is near its last seal"),
    ("reserve.absent", "a disk that is full before the vault is made"),
    ("reserve.gone", "a disk that is full, and was before"),
    ("reserve.used", "a disk that is full"),
    ("settlement.kept_in_memory", "a ledger that cannot be sealed"),
    ("snapshot.passed_over", "a damaged snapshot"),
    ("ticker.panicked", "a panic"),
];

#[test]
fn a_busy_vault_tells_no_secret() {
    if let Some(dir) = env::var_os(CHILD) {
        return be_the_child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    // A write that a limit cuts off must fail, not end the process.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{told}{errors}");
    assert!(told.contains("1 passed"), "{told}");

    let needles = fs::read(dir.path().join(NEEDLES)).unwrap();
    let needles: Needles = serde_json::from_slice(&needles).unwrap();
    let output = fs::read(dir.path().join(OUTPUT)).unwrap();
    let all = [&output, b"\n".as_slice(), &child.stdout, b"\n", &child.stderr].concat();
    let planted: BTreeSet<_> =
        needles.keys().map(String::as_str).filter(|name| name.starts_with("planted")).collect();
    assert!(planted.len() == 6 && needles.len() > 100, "{} needles", needles.len());
    assert_eq!(found(&needles, &all), planted, "in {} bytes", all.len());
}

/// Leaves what was captured behind, however the day ends.
struct Leaving<'d>(&'d Path);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        fs::write(self.0.join(OUTPUT), output()).unwrap();
    }
}

fn be_the_child(dir: &Path) {
    begin();
    let _leaving = Leaving(dir);
    thread::spawn(|| {
        thread::sleep(LONGEST);
        eprintln!("the day does not end");
        std::process::abort();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut needles = runtime.block_on(be_busy());
    check_telling(&seen());
    check_metrics(&seen());
    check_gauges(&seen());
    check_counts(&seen());
    needles.extend(plant());
    fs::write(dir.join(NEEDLES), serde_json::to_vec(&needles).unwrap()).unwrap();
}

/// Puts a secret out by each way that is captured.
fn plant() -> Needles {
    let [traced, spanned, logged, shown, printed, complained] = [(); 6].map(|()| random_hex(12));
    tracing::trace!(name: "planted", traced);
    tracing::trace_span!("planted", spanned);
    log::trace!("{:?}", logged.as_bytes());
    metrics::counter!("planted", "label" => format!("..{}", &shown[3..])).increment(1);
    show(&shown);
    stdout().write_all(printed.to_uppercase().as_bytes()).unwrap();
    eprintln!("{complained}");
    let named = [
        ("planted by tracing", traced),
        ("planted by a span", spanned),
        ("planted by log", logged),
        ("planted by a label", shown),
        ("planted in standard output", printed),
        ("planted in standard error", complained),
    ];
    named.map(|(name, value)| (name.to_owned(), value.into_bytes())).into()
}

/// Each span and event that is documented was told, at its level and with its fields.
fn check_telling(seen: &Seen) {
    let (spans, events) = (documented("span"), documented("event"));
    assert_eq!(seen.spans, spans);
    let unseen: BTreeSet<_> =
        events.keys().map(String::as_str).filter(|name| seen.count(name) == 0).collect();
    assert_eq!(
        unseen,
        UNSEEN.map(|(name, _)| name).into(),
        "events that are documented and were not told"
    );
    for (name, (told, _)) in &seen.events {
        let documented = &events[name];
        assert!(told.levels.is_subset(&documented.levels), "{name}: {told:?}");
        assert_eq!(told.fields, documented.fields, "{name}");
    }
    for target in ["log sled", "log rustls", "log reqwest", "tracing h2", "tracing hyper_util"] {
        assert!(seen.targets.contains(target), "{:?}", seen.targets);
    }
}

/// Each metric that is documented was described and told, with its labels, and no other.
fn check_metrics(seen: &Seen) {
    let rows = table("metric");
    let used: BTreeSet<_> = seen.series.keys().map(|Series(name, _)| name).collect();
    assert_eq!(used, rows.keys().collect());
    for (name, cells) in &rows {
        let unit = if cells[1] == "seconds" { Unit::Seconds } else { Unit::Count };
        let (kind, described) = &seen.described[name];
        assert_eq!((*kind, *described), (cells[0].as_str(), Some(unit)), "{name}");
        let labels = labels(&cells[2]);
        for Series(_, told) in seen.series.keys().filter(|Series(other, _)| other == name) {
            assert!(told.keys().eq(labels.keys()), "{name}: {told:?}");
            for (label, value) in told {
                let values = &labels[label];
                assert!(values.is_empty() || values.contains(value), "{name}: {label}={value}");
            }
        }
    }
}

/// By now every vault is closed: no number stands still as if its token lived on.
fn check_gauges(seen: &Seen) {
    for (Series(name, labels), number) in &seen.series {
        let is_gauge = seen.described[name].0 == "gauge";
        assert!(!is_gauge || number.is_nan(), "{name} {labels:?}: {number}");
    }
}

/// The labels of a row, and the values of each where they are listed.
fn labels(cell: &str) -> BTreeMap<String, BTreeSet<String>> {
    let labels = cell.split(';').flat_map(|part| match part.split_once(':') {
        Some((name, values)) if !values.contains("as in") && !values.contains('…') => {
            vec![(name, values.split(',').map(word).collect())]
        }
        Some((name, _)) => vec![(name, BTreeSet::new())],
        None => part.split(',').map(|name| (name, BTreeSet::new())).collect(),
    });
    labels.map(|(name, values)| (word(name), values)).filter(|(name, _)| !name.is_empty()).collect()
}

fn word(text: &str) -> String {
    text.trim().trim_matches('`').to_owned()
}

/// What is counted is what happened.
fn check_counts(seen: &Seen) {
    let told = |event: &str| f64::from(seen.count(event));
    for (what, times) in taken() {
        let metric = if what.starts_with("kind=") { "leases" } else { "denials" };
        let metric = format!("bitgo_vault_{metric}_total");
        assert_eq!(seen.sum(&metric, &what), times, "{metric} {what}");
    }
    for (metric, event) in [
        ("denials", "request.denied"),
        ("renewals", "renewal.done"),
        ("renewal_failures", "renewal.failed"),
    ] {
        let metric = format!("bitgo_vault_{metric}_total");
        assert_eq!(seen.sum(&metric, ""), told(event), "{metric}");
    }
    for (alarm, event) in [
        ("spent-by-others", "reconcile.spent_by_others"),
        ("counted-less", "reconcile.counted_less"),
        ("pool-unreadable", "reconcile.pool_unreadable"),
        ("ending", "token.ending"),
        ("ended", "token.ended"),
        ("needs-human", "renewal.needs_human"),
        ("refused", "token.refused"),
        ("orphan", "token.orphaned"),
        ("former-alive", "token.former_alive"),
        ("locking", "token.locking"),
    ] {
        let told = told(event);
        let counted = seen.sum("bitgo_vault_alarms_total", &format!("alarm={alarm}"));
        assert!(told > 0.0 && counted == told, "{alarm}: {counted}, told {told} times");
    }
    for way in ["extend", "internal-token", "oauth", "reissue"] {
        let sum = |metric: &str| seen.sum(metric, &format!("way={way}"));
        let renewals = sum("bitgo_vault_renewals_total");
        let failures = sum("bitgo_vault_renewal_failures_total");
        assert!(renewals > 0.0, "{way}");
        assert_eq!(sum("bitgo_vault_renewal_seconds"), renewals + failures, "{way}");
    }
    let (leases, taken) = (seen.sum("bitgo_vault_leases_total", ""), taken());
    let by_kind = taken.iter().filter(|(what, _)| what.starts_with("kind="));
    assert_eq!(leases, by_kind.map(|(_, times)| times).sum::<f64>());
    assert_eq!(seen.sum("bitgo_vault_lease_seconds", ""), leases);
    let signed = seen.sum("bitgo_vault_sign_seconds", "");
    assert!(signed > 0.0 && signed < leases, "{signed} of {leases}");
}
