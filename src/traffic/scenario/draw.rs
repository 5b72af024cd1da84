//! Variables: which of its values one takes, how likely each is, and how long it is kept.
//!
//! Must not: spell values, or hold what a user has drawn.

use super::source::Source;
use super::zipf::Zipf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws before a variable that must differ from another is moved on by one instead.
const REDRAWS: u32 = 32;

/// A variable of a scenario.
#[derive(Debug)]
pub(super) struct Variable {
    /// What templates call it.
    pub(super) name: Box<str>,
    /// What it can be.
    pub(super) source: Source,
    /// How its values are taken.
    pub(super) draw: Draw,
    /// How long a value is kept.
    pub(super) each: Each,
    /// Another variable that it is never equal to.
    pub(super) except: Option<u16>,
}

/// How a value is taken.
#[derive(Debug)]
pub(super) enum Draw {
    /// Every value as likely.
    Uniform,
    /// The first value most, the k-th in proportion to k^-s.
    Zipf(Zipf),
    /// The first value with this probability, else any of the others.
    Hot(f64),
    /// One after the other, whichever user asks; from the first again after the last, unless
    /// users are to end there.
    Sequential { next: AtomicU64, ends: bool },
    /// User n always takes the n-th, from the first again when there are more users.
    PerUser,
}

/// How long a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// Drawn anew for each request.
    Request,
    /// Drawn once per pass through the flow.
    Flow,
    /// Drawn once per user.
    User,
}

impl Variable {
    /// The index of a value for user `user`, different from those that `is_taken`; `None`
    /// when a sequence that ends has come to its end.
    pub(super) fn index(&self, user: u64, random: &mut fastrand::Rng, is_taken: impl Fn(u64) -> bool) -> Option<u64> {
        let size = self.source.size();
        let mut index = self.draw.index(size, user, random)?;
        if self.except.is_some() {
            let mut draws = 1;
            while is_taken(index) && draws < REDRAWS {
                index = self.draw.index(size, user, random)?;
                draws += 1;
            }
            if is_taken(index) {
                index = (index + 1) % size;
            }
        }
        Some(index)
    }
}

impl Draw {
    fn index(&self, size: u64, user: u64, random: &mut fastrand::Rng) -> Option<u64> {
        Some(match self {
            _ if size < 2 && !matches!(self, Draw::Sequential { ends: true, .. }) => 0,
            Draw::Uniform => random.u64(0..size),
            Draw::Zipf(zipf) => zipf.draw(random) - 1,
            Draw::Hot(probability) => match random.f64() < *probability {
                true => 0,
                false => random.u64(1..size),
            },
            Draw::Sequential { next, ends } => {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if *ends && n >= size {
                    return None;
                }
                n % size
            }
            Draw::PerUser => user % size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Numbers;
    use super::*;

    fn variable(size: u64, draw: Draw) -> Variable {
        let source = Source::Range(Numbers { low: 0, size, decimals: 0, digits: 0 });
        Variable { name: "v".into(), source, draw, each: Each::Request, except: None }
    }

    fn counts(v: &Variable, draws: usize) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(5);
        let mut counts = vec![0.0; v.source.size() as usize];
        for user in 0..draws as u64 {
            counts[v.index(user, &mut random, |_| false).unwrap() as usize] += 1.0 / draws as f64;
        }
        counts
    }

    #[test]
    fn each_way_of_drawing_has_its_frequencies() {
        let near = |got: Vec<f64>, want: [f64; 4]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.01), "{got:?} {want:?}");
        };
        near(counts(&variable(4, Draw::Uniform), 100_000), [0.25; 4]);
        near(counts(&variable(4, Draw::Hot(0.7)), 100_000), [0.7, 0.1, 0.1, 0.1]);
        near(counts(&variable(4, Draw::Zipf(Zipf::new(4, 1.0))), 100_000), [0.48, 0.24, 0.16, 0.12]);
        let sequential = || Draw::Sequential { next: AtomicU64::new(0), ends: false };
        near(counts(&variable(4, sequential()), 8), [0.25; 4]);
        near(counts(&variable(4, Draw::PerUser), 8), [0.25; 4]);
        assert_eq!(counts(&variable(1, Draw::Hot(0.5)), 9).len(), 1, "one value is always that one");
    }

    #[test]
    fn a_sequence_that_ends_gives_each_value_once() {
        let v = variable(3, Draw::Sequential { next: AtomicU64::new(0), ends: true });
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<_> = (0..5).map(|_| v.index(0, &mut random, |_| false)).collect();
        assert_eq!(drawn, [Some(0), Some(1), Some(2), None, None]);
    }

    #[test]
    fn a_variable_differs_from_the_one_it_must_whatever_is_drawn() {
        for draw in [Draw::Uniform, Draw::Hot(1.0), Draw::PerUser] {
            let v = Variable { except: Some(0), ..variable(2, draw) };
            let mut random = fastrand::Rng::with_seed(9);
            for user in 0..1000 {
                for other in [0, 1] {
                    assert_eq!(v.index(user, &mut random, |i| i == other), Some(1 - other));
                }
            }
        }
    }
}
