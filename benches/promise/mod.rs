//! What was promised of a figure, and whether it is kept.
//!
//! A verdict is printed as a row of BENCHMARKS.md's table of targets, which `benches/tables.py`
//! collects from what benches and peers have printed:
//!
//! ```text
//! | promise | target | measured | verdict |
//! ```
#![allow(dead_code, reason = "no bench makes promises of every kind")]

/// What a figure is held against.
pub(crate) struct Promise {
    what: String,
    bound: Bound,
    unit: &'static str,
    because: String,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Promise {
    pub(crate) fn at_most(bound: f64, what: impl Into<String>) -> Self {
        Self::new(Bound::AtMost(bound), what.into())
    }

    pub(crate) fn at_least(bound: f64, what: impl Into<String>) -> Self {
        Self::new(Bound::AtLeast(bound), what.into())
    }

    fn new(bound: Bound, what: String) -> Self {
        Self { what, bound, unit: "", because: String::new() }
    }

    /// What the figure counts, where it is no ratio.
    pub(crate) fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// What is known of why it is missed, should it be.
    pub(crate) fn missed_because(self, because: impl Into<String>) -> Self {
        Self { because: because.into(), ..self }
    }

    /// Prints the verdict.
    pub(crate) fn judge(self, measured: f64) {
        let Self { what, bound, unit, because } = self;
        let (is_met, target) = match bound {
            Bound::AtMost(bound) => (measured <= bound, format!("at most {bound}")),
            Bound::AtLeast(bound) => (measured >= bound, format!("at least {bound}")),
        };
        let verdict = match (is_met, because.as_str()) {
            (true, _) => "met".into(),
            (false, "") => "**missed**".into(),
            (false, because) => format!("**missed**: {because}"),
        };
        let decimals = if measured < 10.0 { 2 } else { usize::from(measured < 100.0) };
        println!("| {what} | {target}{unit} | {measured:.decimals$}{unit} | {verdict} |");
    }
}
