//! How a run's load was steered, as its marks tell: the rate changed, the load paused, a phase
//! begun, a probe of the search for the highest rate and its verdict. Here is the one place that
//! knows how such marks are labelled: what a live run writes, any later reader understands.
//!
//! Must not: steer.

use super::Timeline;
use crate::model::{At, Interval, Mark, MarkKind, Span};

/// The label of the mark when the load is paused.
pub const PAUSED: &str = "paused";
/// The label of the mark when it goes on.
pub const GOING_ON: &str = "going on";

/// What was to be offered at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many requests per second.
    Rate(f64),
    /// Recorded times, this many times as fast.
    Speed(f64),
    /// What was planned, times this.
    Scaled(f64),
}

impl Target {
    /// The label of a mark that says so.
    pub fn label(self) -> String {
        match self {
            Target::Rate(per_s) => format!("rate {}/s", short(per_s)),
            Target::Speed(speed) => format!("speed {}×", short(speed)),
            Target::Scaled(by) => format!("plan × {}", short(by)),
        }
    }

    fn read(label: &str) -> Option<Target> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
        if let Some(rest) = label.strip_prefix("rate ") {
            return Some(Target::Rate(number(rest.strip_suffix("/s")?)?));
        }
        if let Some(rest) = label.strip_prefix("speed ") {
            return Some(Target::Speed(number(rest.strip_suffix('×')?)?));
        }
        Some(Target::Scaled(number(label.strip_prefix("plan × ")?)?))
    }
}

/// A number with four digits that count.
fn short(x: f64) -> String {
    if x <= 0.0 || !x.is_finite() {
        return "0".into();
    }
    let step = 10f64.powi(x.log10().floor() as i32 - 3);
    let rounded = (x / step).round() * step;
    if step >= 1.0 {
        format!("{rounded:.0}")
    } else {
        trimmed(format!("{rounded:.*}", (-step.log10()).round() as usize))
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// How the load was steered at an instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steered {
    /// What was to be offered; `None` in a closed loop and while phases are as they were planned.
    pub target: Option<Target>,
    /// Whether nothing was, for a while.
    pub paused: bool,
    /// The phase or probe under way.
    pub phase: Option<String>,
}

impl Steered {
    /// From the plan of a session and its marks up to an instant.
    pub fn at(t: &Timeline, at: At) -> Steered {
        let load = &t.opening().load;
        let target = match (load.mode.as_str(), load.rate_per_s, load.speed) {
            ("closed" | "phases" | "scale" | "find-max", ..) => None,
            (_, Some(per_s), _) => Some(Target::Rate(per_s)),
            (_, _, Some(speed)) => Some(Target::Speed(speed)),
            _ => None,
        };
        let mut now = Steered { target, ..Steered::default() };
        for m in t.marks().iter().filter(|m| m.at <= at) {
            match m.kind {
                MarkKind::Rate => now.target = Target::read(&m.label).or(now.target),
                MarkKind::Pause => now.paused = m.label == PAUSED,
                MarkKind::Phase => now.phase = Some(m.label.clone()),
                MarkKind::User | MarkKind::Verdict | MarkKind::Trigger => {}
            }
        }
        now
    }
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The objective was kept.
    Kept,
    /// It was not.
    Broken,
    /// The load client could not offer the rate, whatever the target does.
    ByClient,
}

/// How verdicts are called in marks.
const VERDICTS: [(Verdict, &str); 3] =
    [(Verdict::Kept, "kept"), (Verdict::Broken, "not kept"), (Verdict::ByClient, "limited by the client")];

impl Verdict {
    /// Its name in marks and reports.
    pub fn name(&self) -> &'static str {
        VERDICTS.iter().find(|(v, _)| v == self).map_or("", |(_, name)| name)
    }
}

/// Share of a probe that is not judged: connections open, caches warm up, what waited drains.
const WARM_UP: f64 = 0.2;

/// One rate tried in the search for the highest.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Its number, from 1.
    pub number: u32,
    /// Requests per second.
    pub per_s: f64,
    /// From its first request to its verdict; to the last event when there is none.
    pub span: Span,
    /// How it ended and what was measured; `None` when the run was ended before.
    pub verdict: Option<(Verdict, String)>,
}

impl Probe {
    /// The label of the mark at its start.
    pub fn label(number: u32, per_s: f64) -> String {
        format!("probe {number}: {per_s}/s")
    }

    /// The label of the mark at its end.
    pub fn verdict_label(number: u32, per_s: f64, verdict: &Verdict, why: &str) -> String {
        format!("{} {}: {why}", Probe::label(number, per_s), verdict.name())
    }

    /// The stretch that is judged of a probe of `probe_ns` that began at an instant: whole ticks
    /// behind its warm-up.
    pub fn judged(since: At, probe_ns: u64) -> Span {
        let tick = Interval::TICK_NS;
        let warm = (probe_ns as f64 * WARM_UP) as u64;
        let from = At(since.0.saturating_add(warm).div_ceil(tick) * tick);
        Span { from, to: At(since.0.saturating_add(probe_ns) / tick * tick).max(from) }
    }

    /// The probes of a session.
    pub fn all(t: &Timeline) -> Vec<Probe> {
        let mut found: Vec<Probe> = Vec::new();
        for Mark { at, kind, label } in t.marks() {
            let Some((number, per_s, rest)) = Probe::read(label) else { continue };
            match kind {
                MarkKind::Phase if rest.is_empty() => {
                    let span = Span { from: *at, to: t.end() };
                    found.push(Probe { number, per_s, span, verdict: None });
                }
                MarkKind::Verdict => {
                    let Some(p) = found.iter_mut().rev().find(|p| p.number == number && p.verdict.is_none()) else {
                        continue;
                    };
                    p.span = Span { to: (*at).max(p.span.from), ..p.span };
                    p.verdict = VERDICTS.iter().find_map(|(v, name)| {
                        let why = rest.strip_prefix(' ')?.strip_prefix(name)?.strip_prefix(": ")?;
                        Some((v.clone(), why.to_owned()))
                    });
                }
                _ => {}
            }
        }
        found
    }

    /// Number and rate in a label, and what is behind them.
    fn read(label: &str) -> Option<(u32, f64, &str)> {
        let (number, rest) = label.strip_prefix("probe ")?.split_once(": ")?;
        let (per_s, rest) = rest.split_once("/s")?;
        let per_s = per_s.parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0)?;
        Some((number.parse().ok()?, per_s, rest))
    }
}

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The highest rate that kept the objective, requests per second; `None`: none did.
    pub per_s: Option<f64>,
    /// When the probe began that it was found by.
    pub since: Option<At>,
    /// The lowest rate above it that did not.
    pub not_at: Option<f64>,
    /// Whether it was the load client that could not offer that one.
    pub by_client: bool,
    /// Probes that were finished, and those of them that the client limited.
    pub probes: usize,
    /// See [`Found::probes`].
    pub late: usize,
}

impl Found {
    /// From the probes: of a rate that was tried again, the last verdict counts.
    pub fn of(probes: &[Probe]) -> Found {
        let mut last: Vec<(&Probe, &Verdict)> = Vec::new();
        for p in probes {
            let Some((verdict, _)) = &p.verdict else { continue };
            last.retain(|(before, _)| before.per_s != p.per_s);
            last.push((p, verdict));
        }
        let by_rate = |a: &&(&Probe, &Verdict), b: &&(&Probe, &Verdict)| a.0.per_s.total_cmp(&b.0.per_s);
        let kept = last.iter().filter(|(_, v)| **v == Verdict::Kept).max_by(by_rate).map(|(p, _)| *p);
        let above = last.iter().filter(|(p, v)| **v != Verdict::Kept && kept.is_none_or(|k| p.per_s > k.per_s));
        let broken = above.min_by(by_rate);
        Found {
            per_s: kept.map(|p| p.per_s),
            since: kept.map(|p| p.span.from),
            not_at: broken.map(|(p, _)| p.per_s),
            by_client: broken.is_some_and(|(_, v)| **v == Verdict::ByClient),
            probes: probes.iter().filter(|p| p.verdict.is_some()).count(),
            late: probes.iter().filter(|p| matches!(p.verdict, Some((Verdict::ByClient, _)))).count(),
        }
    }

    /// The stretch by which the highest rate was judged; `None` when there is none, or the session
    /// does not say how long its probes were.
    pub fn judged(&self, t: &Timeline) -> Option<Span> {
        Some(Probe::judged(self.since?, t.opening().load.probe_ns?))
    }

    /// In one line.
    pub fn line(&self, objective: &str) -> String {
        let client = match (self.by_client, self.late) {
            (true, _) => "; limited by the client, not by the target".to_owned(),
            (false, 0) => String::new(),
            (false, late) => {
                format!("; the client limited {late} of {} probes: it was too busy to say more", self.probes)
            }
        };
        match (self.per_s, self.not_at) {
            (Some(kept), Some(not)) => {
                let within = (not / kept - 1.0) * 100.0;
                format!(
                    "highest rate that keeps {objective}: {kept}/s, not kept at {not}/s ({within:.1} % above){client}"
                )
            }
            (Some(kept), None) => format!("{kept}/s keeps {objective}; no rate was found that does not"),
            (None, Some(not)) => format!("no rate was found that keeps {objective}, down to {not}/s{client}"),
            (None, None) => format!("no probe for {objective} was finished"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, LoadPlan, Opening};
    use proptest::prelude::*;

    fn mark(s: u64, kind: MarkKind, label: impl Into<String>) -> Event {
        Event::Mark(Mark { at: At(s * 1_000_000_000), kind, label: label.into() })
    }

    #[test]
    fn marks_tell_how_the_load_was_steered() {
        let mut t = Timeline::new();
        let load = LoadPlan { mode: "rate".into(), rate_per_s: Some(1000.0), ..LoadPlan::default() };
        t.apply(&Event::from(Opening { load, ..Opening::default() }));
        t.apply(&mark(5, MarkKind::Rate, Target::Rate(1100.0).label()));
        t.apply(&mark(7, MarkKind::Pause, PAUSED));
        t.apply(&mark(8, MarkKind::User, "rate 5/s"));
        t.apply(&mark(9, MarkKind::Pause, GOING_ON));
        let at = |s: u64| {
            let now = Steered::at(&t, At(s * 1_000_000_000));
            (now.target, now.paused)
        };
        assert_eq!(at(4), (Some(Target::Rate(1000.0)), false));
        assert_eq!(at(5), (Some(Target::Rate(1100.0)), false));
        assert_eq!(at(8), (Some(Target::Rate(1100.0)), true));
        assert_eq!(at(9), (Some(Target::Rate(1100.0)), false));
    }

    #[test]
    fn probes_and_what_they_come_to_are_read_from_marks() {
        let mut t = Timeline::new();
        let probes = [
            (100.0, Verdict::Kept),
            (200.0, Verdict::Broken),
            (200.0, Verdict::Kept),
            (400.0, Verdict::ByClient),
            (300.0, Verdict::Kept),
        ];
        for (n, (per_s, verdict)) in probes.iter().enumerate() {
            let number = n as u32 + 1;
            t.apply(&mark(n as u64 * 10, MarkKind::Phase, Probe::label(number, *per_s)));
            let label = Probe::verdict_label(number, *per_s, verdict, "p99 3.00 ms: fine");
            t.apply(&mark(n as u64 * 10 + 9, MarkKind::Verdict, label));
        }
        t.apply(&mark(60, MarkKind::Phase, Probe::label(6, 350.0)));
        t.apply(&mark(61, MarkKind::User, "probe 6: 350/s kept: by hand"));
        let found = Probe::all(&t);
        assert_eq!(found.len(), 6);
        assert_eq!(found[3].verdict, Some((Verdict::ByClient, "p99 3.00 ms: fine".into())));
        assert_eq!((found[1].span.secs(), found[5].verdict.clone()), (9.0, None));
        let end = Found::of(&found);
        let since = Some(At(40_000_000_000));
        assert_eq!(end, Found { per_s: Some(300.0), since, not_at: Some(400.0), by_client: true, probes: 5, late: 1 });
        assert!(end.line("p99<5ms").starts_with("highest rate that keeps p99<5ms: 300/s, not kept at 400/s (33.3 %"));
        let busy = Found { late: 2, by_client: false, ..end };
        assert!(busy.line("p99<5ms").ends_with("; the client limited 2 of 5 probes: it was too busy to say more"));
        assert_eq!(Found::of(&found[1..2]), Found { not_at: Some(200.0), probes: 1, ..Found::default() });
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 1100.0, 1234.5, 0.99999, 0.001_234_9, 12.0, 98_765_432.0].map(short);
        assert_eq!(shown, ["0", "1100", "1235", "1", "0.001235", "12", "98770000"]);
    }

    proptest! {
        #[test]
        fn what_a_label_says_is_read(x in prop_oneof![0.001..10.0f64, 1.0..1e9f64], kind in 0..3) {
            let target = [Target::Rate, Target::Speed, Target::Scaled][kind as usize](x);
            let (Some(Target::Rate(y) | Target::Speed(y) | Target::Scaled(y)), label) = (Target::read(&target.label()), target.label()) else {
                return Err(TestCaseError::fail("not read"));
            };
            prop_assert!((y / x - 1.0).abs() < 1e-3, "{label}");
        }

        #[test]
        fn any_mark_is_read_or_passed_over(label in "\\PC{0,40}", probe in "probe [0-9.]{0,4}: [0-9.e-]{0,8}/s( kept: | not kept: )?.{0,5}") {
            let mut t = Timeline::new();
            for kind in MarkKind::ALL {
                t.apply(&mark(1, kind, label.clone()));
                t.apply(&mark(1, kind, probe.clone()));
            }
            Found::of(&Probe::all(&t)).line("x");
            Steered::at(&t, At(u64::MAX));
        }
    }
}
