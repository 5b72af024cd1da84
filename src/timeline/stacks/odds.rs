//! How likely a difference is by chance alone: Student's t, and which of many tests to believe.
//!
//! Must not: know profiles.

/// Logarithm of the gamma function, for x > 0: Stirling's series (DLMF 5.11.1) from 10 on, and
/// the recurrence Γ(x + 1) = x Γ(x) below.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 10.0 {
        below += x.ln();
        x += 1.0;
    }
    let squared = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * squared)) / squared) / squared) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - below
}

/// The regularised incomplete beta function, for a, b > 0 and 0 ≤ x ≤ 1: the continued fraction of
/// DLMF 8.17.22, from its front by the method of Lentz as Thompson and Barnett state it.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // It converges fast up to here (DLMF 8.17(v)); beyond, by its symmetry.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = a * x.ln() + b * (1.0 - x).ln() - (ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)) - a.ln();
    const TINY: f64 = 1e-300;
    let not_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let (mut fraction, mut c, mut d) = (1.0f64, 1.0f64, 0.0f64);
    for n in 1..2000u32 {
        let m = f64::from(n / 2);
        let term = match n % 2 {
            0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        d = 1.0 / not_zero(1.0 + term * d);
        c = not_zero(1.0 + term / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (front.exp() / fraction).clamp(0.0, 1.0)
}

/// How likely it is by chance that Student's t with `freedom` degrees of freedom is as far from 0 as
/// `t`, on either side.
pub(super) fn student(t: f64, freedom: f64) -> f64 {
    if !t.is_finite() || freedom.is_nan() || freedom <= 0.0 {
        return if t.is_infinite() { 0.0 } else { 1.0 };
    }
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// Which of many tests to believe so that of those believed at most `level` are expected to be
/// chance: the procedure of Benjamini and Hochberg (J. R. Statist. Soc. B 57, 1995). `None`, a test
/// not made, is not believed and does not count.
pub(super) fn believed(tests: &[Option<f64>], level: f64) -> Vec<bool> {
    let mut made: Vec<f64> = tests.iter().flatten().copied().collect();
    made.sort_by(f64::total_cmp);
    let of = made.len() as f64;
    let passes = |(n, p): &(usize, &f64)| **p <= (*n as f64 + 1.0) / of * level;
    let bound = made.iter().enumerate().rfind(passes).map(|(_, &p)| p);
    tests.iter().map(|p| matches!((p, bound), (Some(p), Some(bound)) if *p <= bound)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_function_has_its_known_values() {
        for (x, want) in [(1.0, 0.0), (2.0, 0.0), (5.0, 24f64.ln()), (0.5, std::f64::consts::PI.ln() / 2.0)] {
            assert!((ln_gamma(x) - want).abs() < 1e-12, "{x}");
        }
        assert!((ln_gamma(101.0) - 363.739_375_555_563_5).abs() < 1e-9);
    }

    #[test]
    fn student_has_the_values_of_the_tables() {
        // Two-sided, from any table of t: NIST/SEMATECH e-Handbook, 1.3.6.7.2.
        for (t, freedom, want) in [
            (12.706_204_736, 1.0, 0.05),
            (2.228_138_852, 10.0, 0.05),
            (3.169_272_667, 10.0, 0.01),
            (4.586_893_859, 10.0, 0.001),
            (2.042_272_456, 30.0, 0.05),
            (1.959_963_985, 1e7, 0.05),
            (6.109_410_2, 1e7, 1e-9),
        ] {
            let p = student(t, freedom);
            assert!((p / want - 1.0).abs() < 1e-4, "{t} {freedom}: {p}");
            assert_eq!(p, student(-t, freedom));
        }
        assert_eq!((student(0.0, 5.0), student(f64::INFINITY, 5.0), student(f64::NAN, 5.0)), (1.0, 0.0, 1.0));
        // One degree of freedom is Cauchy's distribution, two have a closed form too.
        for t in [0.1f64, 1.0, 7.0, 300.0] {
            let cauchy = 1.0 - 2.0 * t.atan() / std::f64::consts::PI;
            assert!((student(t, 1.0) - cauchy).abs() < 1e-12, "{t}");
            assert!((student(t, 2.0) - (1.0 - t / (2.0 + t * t).sqrt())).abs() < 1e-12, "{t}");
        }
    }

    #[test]
    fn of_many_tests_those_below_a_rising_bound_are_believed() {
        let tests = [Some(0.001), Some(0.9), None, Some(0.03), Some(0.02), Some(0.2)];
        assert_eq!(believed(&tests, 0.05), [true, false, false, true, true, false]);
        assert_eq!(believed(&[Some(0.04), Some(0.6)], 0.05), [false, false]);
        assert_eq!(believed(&[None], 0.05), [false]);
        assert!(believed(&[], 0.05).is_empty());
    }
}
