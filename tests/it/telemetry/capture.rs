//! All that this process puts out through `tracing`, `log` and `metrics`, at every level and by every
//! crate, kept as text; and of the vault's own, how often what was told.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use super::names::Told;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

static OUTPUT: Mutex<String> = Mutex::new(String::new());
static SEEN: Mutex<Seen> = Mutex::new(Seen {
    spans: BTreeMap::new(),
    events: BTreeMap::new(),
    targets: BTreeSet::new(),
    described: BTreeMap::new(),
    series: BTreeMap::new(),
});

/// What was told so far.
pub(super) struct Seen {
    /// Spans and events of the vault, by name.
    pub(super) spans: BTreeMap<String, Told>,
    pub(super) events: BTreeMap<String, (Told, u32)>,
    /// The crates that told something, by how.
    pub(super) targets: BTreeSet<String>,
    /// Kinds and units of metrics, by name.
    pub(super) described: BTreeMap<String, (&'static str, Option<Unit>)>,
    /// Numbers by metric and labels: for a histogram, how often it was recorded.
    pub(super) series: BTreeMap<Series, f64>,
}

impl Told {
    /// What was told once.
    fn once(level: &str, fields: BTreeSet<String>) -> Self {
        Self { levels: [level.to_lowercase()].into(), fields }
    }

    fn add(&mut self, other: Self) {
        self.levels.extend(other.levels);
        self.fields.extend(other.fields);
    }
}

/// A metric's name, and its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series(pub(super) String, pub(super) BTreeMap<String, String>);

impl Seen {
    /// How often an event was told.
    pub(super) fn count(&self, event: &str) -> u32 {
        self.events.get(event).map_or(0, |(_, count)| *count)
    }

    /// The sum over all series of a metric that have this label, such as `kind=view`; over all, if it
    /// is empty.
    pub(super) fn sum(&self, metric: &str, label: &str) -> f64 {
        let has = |Series(name, labels): &Series| {
            let is_it = |(key, value): (&String, &String)| format!("{key}={value}") == label;
            name == metric && (label.is_empty() || labels.iter().any(is_it))
        };
        self.series.iter().filter(|(series, _)| has(series)).map(|(_, number)| number).sum()
    }
}

/// Captures from here on, for the whole process.
pub(super) fn begin() {
    tracing::subscriber::set_global_default(Traces(AtomicU64::new(1))).unwrap();
    log::set_logger(&Logs).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    metrics::set_global_recorder(Numbers).map_err(drop).unwrap();
}

pub(super) fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap()
}

/// Adds what a caller could print of a value.
pub(super) fn show(what: impl Debug) {
    add(format_args!("shown {what:?} {what:#?}"));
}

/// All of it so far.
pub(super) fn output() -> String {
    OUTPUT.lock().unwrap().clone()
}

fn add(line: fmt::Arguments<'_>) {
    // Written first: what prints itself may take locks of its own, under which others write.
    let line = line.to_string();
    writeln!(OUTPUT.lock().unwrap(), "{line}").unwrap();
}

struct Traces(AtomicU64);

/// Fields as text, and their names.
#[derive(Default)]
struct Fields {
    text: String,
    names: BTreeSet<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.text, " {field}={value:?}").unwrap();
        self.names.insert(field.name().to_owned());
    }

    // As it is, not as it is escaped.
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.text, " {field}={value}").unwrap();
        self.names.insert(field.name().to_owned());
    }
}

fn is_own(about: &tracing::Metadata<'_>) -> bool {
    about.target().starts_with("bitgo_vault")
}

impl Subscriber for Traces {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let (mut fields, about) = (Fields::default(), span.metadata());
        span.record(&mut fields);
        add(format_args!("span {} {}{}", about.target(), about.name(), fields.text));
        if is_own(about) {
            let told = Told::once(about.level().as_str(), fields.names);
            seen().spans.insert(about.name().to_owned(), told);
        }
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        add(format_args!("recorded{}", fields.text));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (mut fields, about) = (Fields::default(), event.metadata());
        event.record(&mut fields);
        add(format_args!("event {} {}{}", about.target(), about.name(), fields.text));
        let target = about.target().split("::").next().unwrap_or_default();
        let mut seen = seen();
        seen.targets.insert(format!("tracing {target}"));
        if is_own(about) {
            fields.names.remove("message");
            let told = Told::once(about.level().as_str(), fields.names);
            let (all, count) = seen.events.entry(about.name().to_owned()).or_default();
            all.add(told);
            *count += 1;
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Logs;

impl log::Log for Logs {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        add(format_args!("log {} {}", record.target(), record.args()));
        let target = record.target().split("::").next().unwrap_or_default();
        seen().targets.insert(format!("log {target}"));
    }

    fn flush(&self) {}
}

struct Numbers;

impl Series {
    fn of(key: &Key) -> Arc<Self> {
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
        Arc::new(Self(key.name().to_owned(), labels.collect()))
    }

    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let number = {
            let mut seen = seen();
            let number = seen.series.entry(self.clone()).or_default();
            *number = change(*number);
            *number
        };
        add(format_args!("metric {self:?} {number}"));
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.change(|before| before + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|before| before.max(value as f64));
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.change(|before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|before| before - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        assert!((0.0..3600.0).contains(&value), "{self:?} took {value} s");
        self.change(|before| before + 1.0);
    }
}

fn describe(kind: &'static str, key: &KeyName, unit: Option<Unit>, description: &SharedString) {
    add(format_args!("metric {} {unit:?} {description}", key.as_str()));
    let before = seen().described.insert(key.as_str().to_owned(), (kind, unit));
    assert!(before.is_none(), "{} is described twice", key.as_str());
}

impl Recorder for Numbers {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        describe("counter", &key, unit, &description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        describe("gauge", &key, unit, &description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        describe("histogram", &key, unit, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Series::of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Series::of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Series::of(key))
    }
}
