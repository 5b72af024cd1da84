//! Objectives: what a run must keep to, written `p99<50ms,errors<1%`, and their judgement over
//! the load of a stretch. `--fail-if` and `--stop-if` are written the other way round, with what
//! must not be: `p99>50ms`, `errors>5% for 10s`.
//!
//! Must not: act on what it finds.

use super::{LoadSum, LoadTrack};
use crate::model::{At, Interval, Span, clean};
use std::fmt;
use std::str::FromStr;

/// What the values of a quantity are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// A number of requests.
    Count,
    /// A share of requests, 0 to 1.
    Share,
    /// Requests per second.
    PerSecond,
}

/// Something of a load that can be bounded.
#[derive(Debug)]
pub struct Quantity {
    /// Its name in conditions.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A time, ns; `None` when there is no value.
    Time(fn(&LoadSum) -> Option<f64>),
    /// So many of so many.
    Part(fn(&LoadSum) -> (u64, u64)),
    /// A count that is bounded by its number per second.
    Rate(fn(&LoadSum) -> u64),
}

macro_rules! times {
    ($of:ident: $($value:ident),*) => { [$(Kind::Time(|s| (s.$of.count > 0).then_some(s.$of.$value as f64))),*] };
}

const RESPONSE: [Kind; 6] = times!(response: p50, p90, p99, p999, max, mean);
const SERVICE: [Kind; 6] = times!(service: p50, p90, p99, p999, max, mean);
const LAG: [Kind; 6] = times!(lag: p50, p90, p99, p999, max, mean);

macro_rules! quantities {
    ($($name:literal $kind:expr, $about:literal;)*) => {
        /// Every quantity there is.
        pub static QUANTITIES: &[Quantity] = &[$(Quantity { name: $name, about: $about, kind: $kind },)*];
    };
}

quantities! {
    "p50" RESPONSE[0], "median response time, from due to the last byte";
    "p90" RESPONSE[1], "90th percentile of the response time";
    "p99" RESPONSE[2], "99th percentile of the response time";
    "p99.9" RESPONSE[3], "99.9th percentile of the response time";
    "max" RESPONSE[4], "longest response time";
    "mean" RESPONSE[5], "mean response time";
    "service.p50" SERVICE[0], "median service time, from the first byte sent to the last one read";
    "service.p90" SERVICE[1], "90th percentile of the service time";
    "service.p99" SERVICE[2], "99th percentile of the service time";
    "service.p99.9" SERVICE[3], "99.9th percentile of the service time";
    "service.max" SERVICE[4], "longest service time";
    "service.mean" SERVICE[5], "mean service time";
    "lag.p50" LAG[0], "median send lag, from due to sent";
    "lag.p90" LAG[1], "90th percentile of the send lag";
    "lag.p99" LAG[2], "99th percentile of the send lag";
    "lag.p99.9" LAG[3], "99.9th percentile of the send lag";
    "lag.max" LAG[4], "longest send lag";
    "lag.mean" LAG[5], "mean send lag";
    "errors" Kind::Part(|s| (s.failed.saturating_add(s.server_errors()), s.completed.saturating_add(s.failed))),
        "requests that failed, a check refused, or were answered 5xx: a number, or with % of those that ended";
    "failed" Kind::Part(|s| (s.failed, s.completed.saturating_add(s.failed))),
        "requests without a whole response or refused by a check: a number, or with % of those that ended";
    "dropped" Kind::Part(|s| (s.dropped, s.offered)),
        "requests given up unsent: a number, or with % of those offered";
    "qps" Kind::Rate(|s| s.completed), "completed requests per second";
    "completed" Kind::Rate(|s| s.completed), "the same";
    "offered" Kind::Rate(|s| s.offered), "requests per second that fell due";
}

/// One bound on one quantity.
#[derive(Clone, Debug)]
pub struct Condition {
    quantity: &'static Quantity,
    unit: Unit,
    less: bool,
    or_equal: bool,
    limit: f64,
    /// For how long it must hold without a break to count, ns; 0 when none was given.
    for_ns: u64,
    text: String,
}

/// Why text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{near}`: {what}")]
pub struct ObjectiveError {
    /// The part that is wrong.
    pub near: String,
    /// What is wrong and what is wanted.
    pub what: String,
}

fn wrong(near: &str, what: impl Into<String>) -> ObjectiveError {
    ObjectiveError { near: clean(near, 60), what: what.into() }
}

impl FromStr for Condition {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Condition, ObjectiveError> {
        let text = text.trim();
        let (bound, for_ns) = match text.rsplit_once(" for ") {
            Some((bound, time)) => (bound.trim(), time_ns(time.trim())? as u64),
            None => (text, 0),
        };
        let at = bound.find(['<', '>']).ok_or_else(|| wrong(text, "give QUANTITY<LIMIT or QUANTITY>LIMIT"))?;
        let name = bound[..at].trim();
        let quantity = QUANTITIES.iter().find(|q| q.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<&str> = QUANTITIES.iter().map(|q| q.name).filter(|n| !n.contains('.')).collect();
            wrong(name, format!("not one of {}, p99.9, service.p99, lag.p99, …", names.join(", ")))
        })?;
        let less = bound[at..].starts_with('<');
        let rest = &bound[at + 1..];
        let (or_equal, value) = rest.strip_prefix('=').map_or((false, rest), |r| (true, r));
        let value = value.trim();
        let (unit, limit) = match (quantity.kind, value.strip_suffix('%')) {
            (Kind::Time(_), _) => (Unit::Time, time_ns(value)?),
            (Kind::Part(_), Some(percent)) => (Unit::Share, number(percent.trim_end())? / 100.0),
            (Kind::Part(_), None) => (Unit::Count, number(value)?),
            (Kind::Rate(_), _) => (Unit::PerSecond, number(value.strip_suffix("/s").unwrap_or(value))?),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Condition { quantity, unit, less, or_equal, limit, for_ns, text: clean(&text, 200) })
    }
}

fn number(text: &str) -> Result<f64, ObjectiveError> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x >= 0.0 => Ok(x),
        _ => Err(wrong(text, "not a number of 0 or more")),
    }
}

/// `50ms` and the like in ns. A bare number is refused: seconds or milliseconds?
fn time_ns(text: &str) -> Result<f64, ObjectiveError> {
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[end..] {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return Err(wrong(text, "not a time like 50ms, 200us, 1.5s or 2m")),
    };
    let ns = number(&text[..end])? * unit;
    if ns <= 366.0 * 86_400e9 { Ok(ns) } else { Err(wrong(text, "that is more than a year")) }
}

impl Condition {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it bounds.
    pub fn quantity(&self) -> &'static Quantity {
        self.quantity
    }

    /// What its values are.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// For how long it must hold without a break, ns; 0 when that was not given.
    pub fn for_ns(&self) -> u64 {
        self.for_ns
    }

    /// Whether it bounds the response time.
    pub fn is_of_response_time(&self) -> bool {
        let name = self.quantity.name;
        matches!(self.quantity.kind, Kind::Time(_)) && !name.starts_with("service.") && !name.starts_with("lag.")
    }

    /// The value in a sum of load, in its unit; `None` when there is nothing to measure.
    pub fn measure(&self, sum: &LoadSum) -> Option<f64> {
        match self.quantity.kind {
            Kind::Time(of) => of(sum),
            Kind::Part(of) => {
                let (n, all) = of(sum);
                match self.unit {
                    Unit::Share => (all > 0).then(|| n as f64 / all as f64),
                    _ => (sum.slots > 0).then_some(n as f64),
                }
            }
            Kind::Rate(of) => (!sum.span.is_empty()).then(|| sum.per_s(of(sum))),
        }
    }

    /// What of the load of a stretch is needed to measure it.
    fn sum(&self, load: &LoadTrack, span: Span) -> LoadSum {
        if matches!(self.quantity.kind, Kind::Time(_)) { load.sum(span) } else { load.counts(span) }
    }

    /// Whether it is true of a value.
    pub fn is_true_of(&self, value: f64) -> bool {
        match (self.less, self.or_equal) {
            (true, false) => value < self.limit,
            (true, true) => value <= self.limit,
            (false, false) => value > self.limit,
            (false, true) => value >= self.limit,
        }
    }

    /// The quantity with a value, for people: `p99 63.2 ms`.
    pub fn shown(&self, value: Option<f64>) -> String {
        let name = self.quantity.name;
        let Some(value) = value else { return format!("{name} not measured") };
        match self.unit {
            Unit::Time if value < 1e3 => format!("{name} {value:.0} ns"),
            Unit::Time if value < 1e6 => format!("{name} {:.1} µs", value / 1e3),
            Unit::Time if value < 1e9 => format!("{name} {:.2} ms", value / 1e6),
            Unit::Time => format!("{name} {:.2} s", value / 1e9),
            Unit::Count => format!("{name} {value:.0}"),
            Unit::Share => format!("{name} {:.2} %", value * 100.0),
            Unit::PerSecond => format!("{name} {value:.1}/s"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.text == other.text
    }
}

/// Several conditions, written with commas between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective(Vec<Condition>);

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Objective, ObjectiveError> {
        let all = text.split(',').map(str::parse).collect::<Result<Vec<Condition>, _>>()?;
        if all.len() > 100 {
            return Err(wrong(text, "more than 100 conditions"));
        }
        Ok(Objective(all))
    }
}

impl Objective {
    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, c) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            f.write_str(&c.text)?;
        }
        Ok(())
    }
}

/// What became of a condition that fails a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The condition as it was written: what must not be.
    pub text: String,
    /// Whether the run kept clear of it; `None` when it could not be judged.
    pub held: Option<bool>,
    /// The value, in its unit.
    pub value: Option<f64>,
    /// The unit of the value.
    pub unit: Unit,
    /// For people: `p99 63.2 ms`, or why it could not be judged.
    pub shown: String,
}

/// Judges conditions that fail a run, written as `--fail-if` has them, over all of its load. One
/// that must hold for a time is true when it was for so long anywhere in the run.
pub fn judge(load: &LoadTrack, fail_if: &[String]) -> Vec<Judged> {
    if fail_if.is_empty() {
        return Vec::new();
    }
    let sum = load.sum(load.span());
    let mut judged = Vec::new();
    for text in fail_if {
        match text.parse::<Objective>() {
            Ok(objective) => judged.extend(objective.0.iter().map(|c| judge_one(c, load, &sum))),
            Err(e) => judged.push(Judged {
                text: clean(text, 200),
                held: None,
                value: None,
                unit: Unit::Count,
                shown: e.to_string(),
            }),
        }
    }
    judged
}

fn judge_one(c: &Condition, load: &LoadTrack, sum: &LoadSum) -> Judged {
    let value = c.measure(sum);
    let held = match (c.for_ns, value) {
        (_, None) => None,
        (0, Some(v)) => Some(!c.is_true_of(v)),
        (..) => Some(Lasting::new(c.clone()).look(load, load.known_until()).is_none()),
    };
    let shown = c.shown(value);
    Judged { text: c.text.clone(), held, value, unit: c.unit, shown }
}

/// Looks second by second whether a condition has become true for as long as it must.
#[derive(Clone, Debug)]
pub struct Lasting {
    condition: Condition,
    looked_until: Option<At>,
    true_since: Option<At>,
}

/// A condition was true for as long as it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// When.
    pub at: At,
    /// What was measured in the last second.
    pub shown: String,
}

impl Lasting {
    /// Nothing seen yet.
    pub fn new(condition: Condition) -> Lasting {
        Lasting { condition, looked_until: None, true_since: None }
    }

    /// The condition.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Whether it was true of the last second that was looked at.
    pub fn is_true(&self) -> bool {
        self.true_since.is_some()
    }

    /// Looks at the seconds of load up to `until` that were not looked at yet. Each is measured by
    /// itself; one in which nothing could be measured (nobody answered) neither breaks nor begins
    /// the time.
    pub fn look(&mut self, load: &LoadTrack, until: At) -> Option<Met> {
        const SECOND: u64 = 1_000_000_000;
        let span = load.span();
        if span.is_empty() {
            return None; // nothing is known of when it began
        }
        // Whole ticks from the first one on, so that no slot counts twice.
        let first = At(load.first_tick() * Interval::TICK_NS);
        let mut from = *self.looked_until.get_or_insert(first);
        while from.0.saturating_add(SECOND) <= until.0 {
            // Seconds without any load are passed over: a file may hold an instant years ahead.
            let Some((of, _)) = load.slots(Span { from, to: until }).next() else { break };
            from.0 += of.from.since_ns(from) / SECOND * SECOND;
            if from.0.saturating_add(SECOND) > until.0 {
                break;
            }
            let second = Span { from, to: At(from.0 + SECOND) };
            from = second.to;
            self.looked_until = Some(from);
            let value = self.condition.measure(&self.condition.sum(load, second));
            match value.map(|v| self.condition.is_true_of(v)) {
                None => continue,
                Some(false) => self.true_since = None,
                Some(true) => {
                    let since = *self.true_since.get_or_insert(second.from);
                    if second.to.since_ns(since) >= self.condition.for_ns {
                        return Some(Met { at: second.to, shown: self.condition.shown(value) });
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::interval;
    use super::*;
    use proptest::prelude::*;

    fn condition(text: &str) -> Condition {
        text.parse().unwrap()
    }

    /// Ticks of 200 ms, each with so many answers of one response time, the last of them failed.
    fn load(ticks: &[(u64, u64, u64)]) -> LoadTrack {
        let mut t = LoadTrack::default();
        for (n, (answers, us, failed)) in ticks.iter().enumerate() {
            let mut i = interval(0, (n as u64 + 1) * 200, &vec![*us; *answers as usize]);
            i.failed = *failed;
            i.completed -= failed;
            t.apply(&i);
        }
        t
    }

    #[test]
    fn conditions_read_as_written() {
        let all: Objective = "p99<50ms, errors <= 1%,dropped<5,service.p99.9>200us for 10s,qps>1000/s".parse().unwrap();
        let c = all.conditions();
        assert_eq!((c[0].unit, c[0].limit, c[0].less), (Unit::Time, 50e6, true));
        assert_eq!((c[1].unit, c[1].limit, c[1].or_equal), (Unit::Share, 0.01, true));
        assert_eq!((c[2].unit, c[2].limit), (Unit::Count, 5.0));
        assert_eq!((c[3].quantity.name, c[3].for_ns, c[3].less), ("service.p99.9", 10_000_000_000, false));
        assert_eq!((c[4].unit, c[4].limit), (Unit::PerSecond, 1000.0));
        assert_eq!(all.to_string(), "p99<50ms,errors <= 1%,dropped<5,service.p99.9>200us for 10s,qps>1000/s");
        assert!(c[0].is_of_response_time() && !c[3].is_of_response_time());
        for (text, near) in [
            ("p98<5ms", "p98"),
            ("p99<5", "5"),
            ("p99=5ms", "p99=5ms"),
            ("", ""),
            ("p99<5ms,", ""),
            ("errors>x%", "x"),
            ("errors>5% for ever", "ever"),
            ("p99<-5ms", "-5ms"),
            ("errors<1e999", "1e999"),
            ("p99<99999h", "99999h"),
        ] {
            let e = text.parse::<Objective>().unwrap_err();
            assert_eq!(e.near, near, "{text}: {e}");
        }
    }

    #[test]
    fn what_is_judged_is_what_was_measured() {
        let t = load(&[(90, 1_000, 0), (10, 100_000, 3)]);
        let sum = t.sum(t.span());
        let value = |text: &str| condition(text).measure(&sum).unwrap();
        assert!((value("p50<1s") - 1e6).abs() < 1e4 && (value("p99<1s") - 1e8).abs() < 1e6);
        assert_eq!((value("errors<1%"), value("errors<1"), value("dropped<1%")), (0.03, 3.0, 0.0));
        assert!((value("qps>1") - 97.0 / 0.4).abs() < 1e-9);
        assert_eq!(condition("lag.p99<1s").measure(&sum), None, "nothing is said of what was not measured");
        let judged = judge(&t, &["p99>50ms,errors>5%".into(), "lag.p99>1ms".into(), "nonsense".into()]);
        assert_eq!(judged.iter().map(|j| j.held).collect::<Vec<_>>(), [Some(false), Some(true), None, None]);
        assert_eq!(judged[1].shown, "errors 3.00 %");
        assert!(judged[3].shown.contains("QUANTITY"), "{}", judged[3].shown);
        let nothing = judge(&LoadTrack::default(), &["errors>1%".into()]);
        assert_eq!(nothing[0].held, None);
    }

    #[test]
    fn a_condition_must_last_as_long_as_it_says() {
        let bad = (10, 1_000, 5);
        let good = (10, 1_000, 0);
        // Two bad seconds, a good one, three bad ones.
        let mut ticks = vec![bad; 10];
        ticks.extend([good; 5]);
        ticks.extend([bad; 15]);
        let t = load(&ticks);
        let met = |text: &str| Lasting::new(condition(text)).look(&t, At(u64::MAX)).map(|m| m.at.secs());
        assert_eq!(met("errors>5% for 2s"), Some(2.0));
        assert_eq!(met("errors>5% for 3s"), Some(6.0));
        assert_eq!(met("errors>5% for 4s"), None);
        assert_eq!(met("errors>5%"), Some(1.0));
        // Looked at as time goes by it is the same.
        let mut lasting = Lasting::new(condition("errors>5% for 3s"));
        let found: Vec<Option<f64>> =
            (0..14).map(|n| lasting.look(&t, At(n * 500_000_000)).map(|m| m.at.secs())).collect();
        assert_eq!(found.iter().position(Option::is_some), Some(12));
        assert_eq!(
            judge(&t, &["errors>5% for 3s".into(), "errors>5% for 4s".into()])
                .iter()
                .map(|j| j.held)
                .collect::<Vec<_>>(),
            [Some(false), Some(true)]
        );
    }

    #[test]
    fn silence_neither_breaks_nor_begins_the_time() {
        let mut ticks = vec![(10, 1_000, 5); 5];
        ticks.extend([(0, 0, 0); 5]);
        ticks.extend([(10, 1_000, 5); 5]);
        let t = load(&ticks);
        assert_eq!(Lasting::new(condition("errors>5% for 3s")).look(&t, At(u64::MAX)).map(|m| m.at.secs()), Some(3.0));
        // Years ahead in a file cost no years.
        let mut far = load(&ticks);
        far.apply(&interval(0, u64::MAX / 2_000_000, &[1]));
        assert!(Lasting::new(condition("errors>90%")).look(&far, far.known_until()).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", glue in "[p9errorsdpq.<>=,%0-9ms for]{0,40}") {
            for t in [text, glue] {
                if let Ok(o) = t.parse::<Objective>() {
                    prop_assert_eq!(o.to_string().parse::<Objective>().unwrap(), o);
                }
            }
        }
    }
}
