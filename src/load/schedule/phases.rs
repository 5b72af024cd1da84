//! The phases of `--load`: `const(1000,30s) line(1000,5000,2m) step(1000,5000,500,10s) pause(5s)`.
//!
//! Must not: know what the phases are sent to.

use super::course::{Course, Leg};
use std::time::Duration;
use thiserror::Error;

/// Phases that a load may have, the steps of a staircase counted each.
const MOST: usize = 10_000;
/// Highest rate, requests per second.
const MOST_PER_S: f64 = 1e9;
/// Longest phase, s: a year.
const MOST_SECONDS: f64 = 366.0 * 86_400.0;

/// Why text is no load: what, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("at character {at}, `{near}`: {what}")]
pub struct PhaseError {
    /// Number of the character at which it goes wrong, from 1.
    pub at: usize,
    /// What is written there.
    pub near: String,
    /// What is wrong and what is wanted.
    pub what: String,
}

/// One phase at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// As it is called in marks: `line(1000,5000,2m)`, `step 1500/s`.
    pub label: String,
    /// When it begins, ns after the load's start.
    pub from_ns: u64,
    /// What it is.
    pub leg: Leg,
}

/// See the top of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Phases {
    all: Vec<Planned>,
    text: String,
}

/// What a phase is called and which arguments it takes.
const KINDS: &[(&str, &str, usize)] = &[
    ("const", "const(RATE,TIME)", 2),
    ("line", "line(FROM,TO,TIME)", 3),
    ("step", "step(FROM,TO,BY,TIME)", 4),
    ("pause", "pause(TIME)", 1),
];

impl Phases {
    /// Reads phases written one after another, with blanks between them if one likes. Rates are
    /// requests per second, 0 to 1e9; times like `30s`, `2m`, `500ms`, `1h`, a bare number is
    /// seconds. `step` goes from one rate to another by so much, staying at each for the time
    /// given, the last one included.
    ///
    /// # Errors
    /// With the place and what is wanted there.
    pub fn parse(text: &str) -> Result<Phases, PhaseError> {
        let mut phases = Phases { all: Vec::new(), text: crate::model::clean(text.trim(), 4000) };
        let mut rest = Rest { text, at: 0 };
        rest.blanks();
        while !rest.left().is_empty() {
            let begin = rest.at;
            let name = rest.word();
            let Some((name, form, count)) = KINDS.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name)) else {
                return Err(rest
                    .wrong(begin, "give const(RATE,TIME), line(FROM,TO,TIME), step(FROM,TO,BY,TIME) or pause(TIME)"));
            };
            rest.expect('(', form)?;
            let mut arguments = Vec::new();
            for n in 0..*count {
                if n > 0 {
                    rest.expect(',', form)?;
                }
                arguments.push(rest.argument());
            }
            rest.expect(')', form)?;
            let label: String = text[begin..rest.at].split_whitespace().collect();
            let rate = |n: usize| rest.rate(arguments[n]);
            let time = |n: usize| rest.time(arguments[n]);
            match *name {
                "const" => phases.push(label, Leg::constant(rate(0)?, Some(time(1)?))),
                "line" => {
                    phases.push(label, Leg { from_per_s: rate(0)?, to_per_s: rate(1)?, length: Some(time(2)?) });
                }
                "pause" => phases.push(label, Leg::constant(0.0, Some(time(0)?))),
                _ => {
                    let (from, to, by, length) = (rate(0)?, rate(1)?, rate(2)?, time(3)?);
                    if by <= 0.0 {
                        return Err(rest.wrong(arguments[2].0, "a step goes up or down by more than 0"));
                    }
                    let steps = ((to - from).abs() / by - 1e-9).ceil().max(0.0);
                    if steps >= MOST as f64 {
                        return Err(rest.wrong(arguments[2].0, "that makes more than 10000 steps"));
                    }
                    for n in 0..=steps as u32 {
                        let gone = f64::from(n) * by;
                        let at = if to >= from { (from + gone).min(to) } else { (from - gone).max(to) };
                        phases.push(format!("step {at}/s"), Leg::constant(at, Some(length)));
                    }
                }
            }
            if phases.all.len() > MOST {
                return Err(rest.wrong(begin, "that makes more than 10000 phases"));
            }
            rest.blanks();
        }
        if phases.all.iter().all(|p| p.leg.from_per_s <= 0.0 && p.leg.to_per_s <= 0.0) {
            return Err(rest.wrong(0, "that offers nothing; give a rate above 0"));
        }
        Ok(phases)
    }

    fn push(&mut self, label: String, leg: Leg) {
        let from_ns = self.length_ns();
        self.all.push(Planned { label, from_ns, leg });
    }

    /// As they were written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phases in order.
    pub fn all(&self) -> &[Planned] {
        &self.all
    }

    /// The length of all phases together, ns.
    pub fn length_ns(&self) -> u64 {
        self.all.last().map_or(0, |p| {
            let length = p.leg.length.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
            p.from_ns.saturating_add(length)
        })
    }

    /// The phases as a course.
    pub fn course(&self) -> Course {
        Course::of(self.all.iter().map(|p| p.leg))
    }
}

/// A place in the text.
struct Rest<'a> {
    text: &'a str,
    /// Bytes before it.
    at: usize,
}

/// An argument: where it begins, and how it is written.
type Argument<'a> = (usize, &'a str);

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let left = self.left();
        self.at += left.len() - left.trim_start().len();
    }

    fn word(&mut self) -> &'a str {
        let left = self.left();
        let end = left.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(left.len());
        self.at += end;
        &left[..end]
    }

    fn expect(&mut self, c: char, form: &str) -> Result<(), PhaseError> {
        self.blanks();
        if !self.left().starts_with(c) {
            return Err(self.wrong(self.at, &format!("a `{c}` is wanted: {form}")));
        }
        self.at += c.len_utf8();
        Ok(())
    }

    fn argument(&mut self) -> Argument<'a> {
        self.blanks();
        let left = self.left();
        let end = left.find([',', '(', ')']).unwrap_or(left.len());
        let begin = self.at;
        self.at += end;
        (begin, left[..end].trim_end())
    }

    fn rate(&self, (at, written): Argument<'a>) -> Result<f64, PhaseError> {
        let number = written.strip_suffix("/s").unwrap_or(written);
        match number.parse::<f64>() {
            Ok(x) if (0.0..=MOST_PER_S).contains(&x) => Ok(x),
            _ => Err(self.wrong(at, "give requests per second, 0 to 1000000000")),
        }
    }

    fn time(&self, (at, written): Argument<'a>) -> Result<Duration, PhaseError> {
        let digits = written.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(written.len());
        let unit = match &written[digits..] {
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => f64::NAN,
        };
        match written[..digits].parse::<f64>().map(|n| n * unit) {
            Ok(s) if (1e-9..=MOST_SECONDS).contains(&s) => Ok(Duration::from_secs_f64(s)),
            _ => Err(self.wrong(at, "give a time like 30s, 500ms, 2m or 1h")),
        }
    }

    fn wrong(&self, at: usize, what: &str) -> PhaseError {
        let near: String = crate::model::clean(&self.text[at..].chars().take(16).collect::<String>(), 16);
        let near = if near.is_empty() { "end".into() } else { near };
        PhaseError { at: self.text[..at].chars().count() + 1, near, what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legs(text: &str) -> Vec<(f64, f64, u64)> {
        let phases = Phases::parse(text).unwrap();
        let ms = |p: &Planned| p.leg.length.unwrap().as_millis() as u64;
        phases.all().iter().map(|p| (p.leg.from_per_s, p.leg.to_per_s, ms(p))).collect()
    }

    #[test]
    fn phases_read_as_written() {
        let text = "const(1000,30s) line(1000,5000,2m) step(1000,2000,500,10s) pause(5s)";
        assert_eq!(
            legs(text),
            [
                (1000.0, 1000.0, 30_000),
                (1000.0, 5000.0, 120_000),
                (1000.0, 1000.0, 10_000),
                (1500.0, 1500.0, 10_000),
                (2000.0, 2000.0, 10_000),
                (0.0, 0.0, 5_000)
            ]
        );
        let phases = Phases::parse(text).unwrap();
        let starts: Vec<u64> = phases.all().iter().map(|p| p.from_ns / 1_000_000_000).collect();
        assert_eq!(starts, [0, 30, 150, 160, 170, 180]);
        assert_eq!((phases.length_ns(), phases.course().length_ns()), (185_000_000_000, Some(185_000_000_000)));
        assert_eq!(phases.all()[1].label, "line(1000,5000,2m)");
        assert_eq!(phases.all()[3].label, "step 1500/s");
        // 30 000 + 360 000 + 45 000 requests.
        assert_eq!(phases.course().work_at(u64::MAX), 435_000.0);
    }

    #[test]
    fn blanks_case_and_odd_steps_are_fine() {
        assert_eq!(legs("CONST( 5 , 1 )pause(500ms)"), [(5.0, 5.0, 1_000), (0.0, 0.0, 500)]);
        let rates = |t: &str| legs(t).iter().map(|l| l.0).collect::<Vec<_>>();
        assert_eq!(rates("step(10,25,10,1s)"), [10.0, 20.0, 25.0]);
        assert_eq!(rates("step(25,10,10,1s)"), [25.0, 15.0, 10.0]);
        assert_eq!(rates("step(10,10,1,1s)"), [10.0]);
        assert_eq!(rates("step(0.1,0.3,0.1,1s)").len(), 3);
    }

    #[test]
    fn errors_point_at_the_place() {
        let error = |t: &str| {
            let e = Phases::parse(t).unwrap_err();
            (e.at, e.what)
        };
        assert_eq!(error("const(1000,30s) ramp(1,2,3s)").0, 17);
        assert_eq!(error("const(1000,30x)").0, 12);
        assert_eq!(error("const(1000;30s)"), (15, "a `,` is wanted: const(RATE,TIME)".into()));
        assert_eq!(error("const(1000)"), (11, "a `,` is wanted: const(RATE,TIME)".into()));
        assert_eq!(error("pause(5s").0, 9);
        assert_eq!(error("const(-1,5s)").0, 7);
        assert_eq!(error("const(é,5s)").0, 7);
        assert_eq!(error("pausé(1s) ").0, 1);
        assert_eq!(error("step(1,1e9,0.001,1s)").1, "that makes more than 10000 steps");
        assert!(error("pause(5s)").1.contains("offers nothing") && error("").1.contains("offers nothing"));
        let shown = Phases::parse("const(1,0s)").unwrap_err().to_string();
        assert_eq!(shown, "at character 9, `0s)`: give a time like 30s, 500ms, 2m or 1h");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}", glue in "[constlinepausept(),0-9.smh ]{0,60}") {
            for t in [text, glue] {
                match Phases::parse(&t) {
                    Ok(p) => prop_assert!(p.all().len() <= MOST && p.course().work_at(u64::MAX) > 0.0),
                    Err(e) => prop_assert!(e.at >= 1 && e.at <= t.chars().count() + 1),
                }
            }
        }

        #[test]
        fn what_is_written_is_what_is_offered(rates in prop::collection::vec((0.0..1e6f64, 0.0..1e6f64, 1u64..100_000), 1..20)) {
            let text: String = rates.iter().map(|(a, b, ms)| format!("line({a},{b},{ms}ms) ")).collect();
            let total: f64 = rates.iter().map(|(a, b, ms)| (a + b) / 2.0 * *ms as f64 / 1e3).sum();
            prop_assume!(total > 0.0);
            let p = Phases::parse(&text).unwrap();
            prop_assert_eq!(p.length_ns(), rates.iter().map(|r| r.2 * 1_000_000).sum::<u64>());
            let offered = p.course().work_at(u64::MAX);
            prop_assert!((offered - total).abs() <= 1e-9 * total, "{} {}", offered, total);
        }
    }
}
