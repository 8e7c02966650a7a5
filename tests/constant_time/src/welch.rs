//! Welch's t-test over two classes of timings, after dudect (Reparaz, Balasch, Verbauwhede: "Dude,
//! is my code constant time?", 2017).
//!
//! Both classes are drawn at random, one sample after the other, so that whatever else the machine
//! does meets both alike. Interrupts make a long tail: besides all samples, those below each of a
//! row of percentiles are tested, and the largest |t| counts.
#![expect(clippy::disallowed_methods, reason = "time is what it measures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Above this the classes definitely differ (dudect's bound).
pub const LEAKS: f64 = 10.0;
/// Above this more samples should be taken.
pub const SUSPICIOUS: f64 = 5.0;

const BATCH: usize = 2000;
const CROPS: usize = 40;

pub struct Verdict {
    pub samples: usize,
    /// The largest |t| of all crops.
    pub t: f64,
    /// Median time of the left class, in nanoseconds.
    pub median: f64,
}

/// Times `run` on inputs of two classes (`false` and `true`) for as long as told.
pub fn compare<I>(
    time: Duration,
    mut input: impl FnMut(bool) -> I,
    mut run: impl FnMut(&I),
) -> Verdict {
    let mut crops = [[Moments::default(); 2]; CROPS + 1];
    let (mut limits, mut median) = (Vec::new(), 0.0);
    let mut samples = 0;
    let start = Instant::now();
    while start.elapsed() < time {
        let inputs: Vec<(bool, I)> = (0..BATCH).map(|_| coin()).map(|c| (c, input(c))).collect();
        let timings: Vec<(bool, f64)> = inputs
            .iter()
            .map(|(class, input)| {
                let before = Instant::now();
                run(black_box(input));
                (*class, before.elapsed().as_secs_f64() * 1e9)
            })
            .collect();
        if limits.is_empty() {
            // The first batch warms caches up and sets the crops; it is not counted.
            let mut sorted: Vec<f64> = timings.iter().map(|(_, time)| *time).collect();
            sorted.sort_by(f64::total_cmp);
            let percentile =
                |crop: usize| 1.0 - 0.5_f64.powf(10.0 * (crop + 1) as f64 / CROPS as f64);
            let last = (sorted.len() - 1) as f64;
            limits = (0..CROPS).map(|crop| sorted[(percentile(crop) * last) as usize]).collect();
            median = sorted[sorted.len() / 2];
            continue;
        }
        samples += timings.len();
        for (class, time) in timings {
            crops[CROPS][usize::from(class)].add(time);
            for (crop, limit) in limits.iter().enumerate() {
                if time < *limit {
                    crops[crop][usize::from(class)].add(time);
                }
            }
        }
    }
    let t = crops.iter().map(|[a, b]| a.t(b).abs()).fold(0.0, f64::max);
    Verdict { samples, t, median }
}

fn coin() -> bool {
    random::<1>()[0] & 1 == 1
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

/// Count, mean and sum of squared differences, kept as samples come (Welford).
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let off = x - self.mean;
        self.mean += off / self.n;
        self.squares += off * (x - self.mean);
    }

    fn t(&self, other: &Self) -> f64 {
        // With fewer samples the statistic is none.
        if self.n.min(other.n) < 1000.0 {
            return 0.0;
        }
        let variance = |of: &Self| of.squares / (of.n - 1.0) / of.n;
        let both = variance(self) + variance(other);
        if both == 0.0 { 0.0 } else { (self.mean - other.mean) / both.sqrt() }
    }
}
