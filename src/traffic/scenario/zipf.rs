//! Zipf-distributed ranks over a keyspace of any size in constant memory and time:
//! W. Hörmann, G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
//! distributions", ACM Transactions on Modeling and Computer Simulation 6(3), 1996, 169-184.
//!
//! Must not: hold a table of the keyspace.

/// Draws are accepted at a rate above 90 %; a hundred in a row that are not would be a fault of
/// the random source, which must not hang a run.
const MOST_DRAWS: u32 = 100;

/// Ranks 1..=n with probability proportional to rank^-s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Zipf {
    n: u64,
    s: f64,
    /// H(3/2) - h(1), the lower end of the inverted integral.
    from: f64,
    /// H(n + 1/2), its upper end.
    to: f64,
    /// What is this near below a rank is that rank without a further look.
    near: f64,
}

impl Zipf {
    /// Over `n` ranks, at least 1, with exponent `s`, from 0 (uniform) to 20.
    pub(super) fn new(n: u64, s: f64) -> Zipf {
        let (n, s) = (n.max(1), s.clamp(0.0, 20.0));
        Zipf {
            n,
            s,
            from: integral(1.5, s) - 1.0,
            to: integral(n as f64 + 0.5, s),
            near: 2.0 - inverse(integral(2.5, s) - density(2.0, s), s),
        }
    }

    /// A rank, from 1 to n.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        for _ in 0..MOST_DRAWS {
            let u = self.to + random.f64() * (self.from - self.to);
            let x = inverse(u, self.s);
            // A float becomes an integer by saturating, so nothing wraps.
            let rank = ((x + 0.5) as u64).clamp(1, self.n);
            let k = rank as f64;
            if k - x <= self.near || u >= integral(k + 0.5, self.s) - density(k, self.s) {
                return rank;
            }
        }
        1
    }
}

/// h(x) = x^-s.
fn density(x: f64, s: f64) -> f64 {
    (-s * x.ln()).exp()
}

/// H(x), the integral of h: (x^(1-s) - 1) / (1-s), and ln x where s is 1.
fn integral(x: f64, s: f64) -> f64 {
    let ln = x.ln();
    let t = (1.0 - s) * ln;
    // exp_m1(t)/t by its series near 0, where the quotient loses all its digits.
    let quotient = if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t / 2.0 };
    quotient * ln
}

/// The inverse of H.
fn inverse(y: f64, s: f64) -> f64 {
    let t = (y * (1.0 - s)).max(-1.0);
    let quotient = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
    (quotient * y).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_those_of_the_formula() {
        for (n, s) in [(10, 1.0), (50, 0.5), (1000, 1.2), (5, 0.0), (3, 4.0), (1, 1.0)] {
            let zipf = Zipf::new(n, s);
            let mut random = fastrand::Rng::with_seed(11);
            let draws = 400_000;
            let mut counts = vec![0u64; n as usize];
            for _ in 0..draws {
                counts[zipf.draw(&mut random) as usize - 1] += 1;
            }
            let total: f64 = (1..=n).map(|k| (k as f64).powf(-s)).sum();
            for (i, count) in counts.iter().enumerate() {
                let p = ((i + 1) as f64).powf(-s) / total;
                let (mean, deviation) = (draws as f64 * p, (draws as f64 * p * (1.0 - p)).sqrt());
                // Five deviations: wrong by chance once in two million, and the seed is fixed.
                assert!(
                    (*count as f64 - mean).abs() <= 5.0 * deviation + 1.0,
                    "n {n} s {s} rank {}: {count} of {mean}",
                    i + 1
                );
            }
        }
    }

    #[test]
    fn a_keyspace_of_any_size_takes_no_memory_and_its_ends_can_be_drawn() {
        for n in [1_000_000_000, u64::MAX] {
            for s in [0.0, 0.9, 1.0, 1.0000000001, 2.0, 20.0] {
                let zipf = Zipf::new(n, s);
                let mut random = fastrand::Rng::with_seed(3);
                let ranks: Vec<u64> = (0..10_000).map(|_| zipf.draw(&mut random)).collect();
                assert!(ranks.iter().all(|k| (1..=n).contains(k)));
                if s == 0.0 {
                    assert!(*ranks.iter().max().unwrap() > n / 100 * 99);
                }
                if s >= 1.0 {
                    assert!(ranks.contains(&1), "{n} {s}");
                }
            }
        }
    }
}
