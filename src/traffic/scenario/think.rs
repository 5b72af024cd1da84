//! Think time: how long a user pauses after an answer, fixed or drawn.
//!
//! Must not: wait.

use super::notation::{call, time_ns};
use std::str::FromStr;

/// Longest pause a distribution with a tail may draw, in means: e^-20 of an exponential one
/// would be longer.
const MOST_MEANS: f64 = 20.0;

/// How long a user pauses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Think {
    /// Not at all.
    #[default]
    None,
    /// Always this long, ns.
    Fixed(u64),
    /// Between these two, each length as likely, ns.
    Uniform(u64, u64),
    /// Exponentially distributed around this mean, ns: the pauses of a Poisson process.
    Exp(u64),
    /// Normally distributed: mean and standard deviation, ns; never below 0.
    Normal(u64, u64),
}

impl Think {
    /// One pause, ns.
    pub fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        match *self {
            Think::None => 0,
            Think::Fixed(ns) => ns,
            Think::Uniform(low, high) => random.u64(low..=high),
            Think::Exp(mean) => {
                let drawn = -(1.0 - random.f64()).ln();
                (drawn.min(MOST_MEANS) * mean as f64) as u64
            }
            Think::Normal(mean, deviation) => {
                // G. E. P. Box, M. E. Muller: A Note on the Generation of Random Normal Deviates, 1958.
                let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
                let drawn = radius * (std::f64::consts::TAU * random.f64()).cos();
                (mean as f64 + drawn * deviation as f64).max(0.0) as u64
            }
        }
    }

    /// Its mean, ns, before what falls below 0 is cut off.
    pub fn mean_ns(&self) -> u64 {
        match *self {
            Think::None => 0,
            Think::Fixed(ns) | Think::Exp(ns) | Think::Normal(ns, _) => ns,
            Think::Uniform(low, high) => low / 2 + high / 2,
        }
    }
}

impl FromStr for Think {
    type Err = String;

    /// `100ms`, `uniform(50ms, 150ms)`, `exp(100ms)`, `normal(100ms, 20ms)`, `none`.
    fn from_str(text: &str) -> Result<Think, String> {
        let wrong = || {
            format!("'{text}' is no think time; write 100ms, uniform(50ms, 150ms), exp(100ms) or normal(100ms, 20ms)")
        };
        let (name, args) = call(text).ok_or_else(wrong)?;
        let times = args.iter().map(|t| time_ns(t)).collect::<Result<Vec<_>, _>>()?;
        match (name, times.as_slice()) {
            ("none", []) => Ok(Think::None),
            (_, []) => Ok(match time_ns(name).map_err(|_| wrong())? {
                0 => Think::None,
                ns => Think::Fixed(ns),
            }),
            ("fixed", [ns]) => Ok(Think::Fixed(*ns)),
            ("uniform", [low, high]) if low <= high => Ok(Think::Uniform(*low, *high)),
            ("uniform", [_, _]) => Err(format!("'{text}': the shorter time comes first")),
            ("exp", [mean]) => Ok(Think::Exp(*mean)),
            ("normal", [mean, deviation]) => Ok(Think::Normal(*mean, *deviation)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_deviation(think: &str) -> (f64, f64) {
        let think: Think = think.parse().unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let drawn: Vec<f64> = (0..200_000).map(|_| think.draw(&mut random) as f64 / 1e6).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn pauses_have_the_mean_and_the_spread_they_are_named_for() {
        for (think, mean, deviation) in [
            ("100ms", 100.0, 0.0),
            ("uniform(50ms, 150ms)", 100.0, 100.0 / 12f64.sqrt()),
            ("exp(100ms)", 100.0, 100.0),
            ("normal(100ms, 20ms)", 100.0, 20.0),
            ("0", 0.0, 0.0),
        ] {
            let (m, d) = mean_and_deviation(think);
            assert!((m - mean).abs() <= 0.01 * mean && (d - deviation).abs() <= 0.02 * deviation, "{think}: {m} {d}");
        }
    }

    #[test]
    fn what_is_no_think_time_is_refused() {
        for wrong in ["", "soon", "exp()", "exp(1)", "uniform(2s,1s)", "normal(1s)", "exp(1s", "uniform(1s,2s,3s)"] {
            assert!(wrong.parse::<Think>().is_err(), "{wrong}");
        }
    }
}
