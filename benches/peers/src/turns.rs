//! Sides of one comparison, which take turns: a busy machine slows each of them.

use std::error::Error;
use std::time::{Duration, Instant};

pub type Failure = Box<dyn Error>;

/// One side, and how it spends a turn.
pub struct Side<'a> {
    pub name: String,
    turn: Turn<'a>,
}

/// Makes the calls of an order; answers how long they took.
type Turn<'a> = Box<dyn FnMut(&[usize]) -> Result<Duration, Failure> + 'a>;

impl<'a> Side<'a> {
    /// Whose calls are too short to be timed one by one.
    pub fn new(name: String, mut call: impl FnMut(usize) -> Result<(), Failure> + 'a) -> Self {
        let turn = move |order: &[usize]| {
            let begin = Instant::now();
            for &i in order {
                call(i)?;
            }
            Ok(begin.elapsed())
        };
        Self { name, turn: Box::new(turn) }
    }

    /// Whose calls say themselves how long they took.
    pub fn timed(
        name: String,
        mut call: impl FnMut(usize) -> Result<Duration, Failure> + 'a,
    ) -> Self {
        let turn = move |order: &[usize]| order.iter().map(|&i| call(i)).sum();
        Self { name, turn: Box::new(turn) }
    }
}

/// What a call took, in seconds, of each side in each turn.
pub struct Times(Vec<Vec<f64>>);

impl Times {
    /// Each side has the calls of `order` in each turn, the next ones in the next.
    pub fn take(
        sides: &mut [Side<'_>],
        turns: usize,
        calls: usize,
        mut order: impl Iterator<Item = usize>,
    ) -> Result<Self, Failure> {
        let mut times = vec![Vec::new(); sides.len()];
        // The first turn fills the caches.
        for turn in 0..=turns {
            let order: Vec<usize> = order.by_ref().take(calls).collect();
            for (side, times) in sides.iter_mut().zip(&mut times) {
                let took = (side.turn)(&order)?.as_secs_f64() / calls as f64;
                if turn > 0 {
                    times.push(took);
                }
            }
        }
        Ok(Self(times))
    }

    pub fn median(&self, side: usize) -> f64 {
        median(self.0[side].clone())
    }

    /// The median of what one side took by what another took in the same turn.
    pub fn ratio(&self, side: usize, by: usize) -> f64 {
        median(self.0[side].iter().zip(&self.0[by]).map(|(side, by)| side / by).collect())
    }
}

pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("times are numbers"));
    values[values.len() / 2]
}

/// All numbers below `n`, one after the other and again, in an order that no cache foresees: 7919
/// shares no divisor with `n`.
pub fn scattered(n: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |i| i * 7919 % n).cycle()
}
