//! When requests are sent and how a run is steered: the options, and what comes of them for the
//! load engine, the session and the live feed.
//!
//! Must not: read the recording; it is handed its rate curve.

use super::args::{RunArgs, duration, positive};
use crate::load::{Arrivals, Change, Phases, RateCurve, Schedule};
use crate::model::{LoadPlan, clean};
use crate::timeline::Timeline;
use crate::timeline::objective::{self, Judged, Lasting, Objective};
use crate::timeline::steer::{Found, Probe};
use crate::workbench::{Control, FindMax, Searching};
use anyhow::anyhow;
use clap::{ArgAction, ValueEnum};
use std::time::Duration;

/// Rate of the demo: enough for every pane to move, not enough to make a laptop hot.
const DEMO_RATE: f64 = 800.0;
/// Where a search begins unless told, requests per second.
const START_RATE: f64 = 200.0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ArrivalsName {
    /// Evenly
    #[default]
    Uniform,
    /// As independent users come: exponentially distributed gaps, from --seed
    Poisson,
}

/// Options of pacing and steering.
#[derive(Debug, clap::Args)]
pub(super) struct PaceArgs {
    /// Phases one after another, which are the run's length: const(RATE,TIME)
    /// line(FROM,TO,TIME) step(FROM,TO,BY,TIME) pause(TIME)
    #[arg(long, value_name = "PHASES", value_parser = Phases::parse, conflicts_with_all = ["rate", "speed", "duration", "scale_to"], help_heading = "Pace")]
    pub(super) load: Option<Phases>,
    /// How the requests of a rate are spread over time
    #[arg(long, value_enum, default_value_t, help_heading = "Pace")]
    pub(super) arrivals: ArrivalsName,
    /// Follow the recording's own rate over time, its peak scaled to this; reads it once before.
    /// With --speed its time passes that many times as fast
    #[arg(long, value_name = "PER_S", allow_negative_numbers = true, value_parser = positive, conflicts_with = "rate", help_heading = "Pace")]
    pub(super) scale_to: Option<f64>,
    /// With --speed or --scale-to: longest wait without a request, in the time of the replay;
    /// longer ones are cut to it
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Pace")]
    pub(super) max_gap: Option<Duration>,

    /// Search the highest rate that keeps this, like `p99<50ms,errors<1%`; begins at --rate
    #[arg(long, value_name = "OBJECTIVE", value_parser = probed, conflicts_with_all = ["load", "speed", "scale_to", "duration", "requests"], help_heading = "Objectives")]
    pub(super) find_max: Option<Objective>,
    /// How near the rate found must be to one that does not keep the objective
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent, requires = "find_max", help_heading = "Objectives")]
    pub(super) find_max_precision: f64,
    /// Length of each probe of the search; its first fifth is not judged
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = probe, requires = "find_max", help_heading = "Objectives")]
    pub(super) find_max_probe: Duration,
    /// Fail the run (exit code 1) when this is true of it as a whole, like `p99>50ms`; with
    /// `for 10s`, when it was true so long anywhere. May be given several times
    #[arg(long, value_name = "CONDITION", action = ArgAction::Append, help_heading = "Objectives")]
    pub(super) fail_if: Vec<Objective>,
    /// End the run when this has been true second by second for so long, like
    /// `errors>5% for 10s`. May be given several times
    #[arg(long, value_name = "CONDITION", action = ArgAction::Append, help_heading = "Objectives")]
    pub(super) stop_if: Vec<Objective>,
}

/// The objective of a search: a probe has its own length.
fn probed(text: &str) -> Result<Objective, String> {
    let objective: Objective = text.parse().map_err(|e: objective::ObjectiveError| e.to_string())?;
    match objective.conditions().iter().find(|c| c.for_ns() > 0) {
        Some(c) => Err(format!("`{c}`: leave `for` out; --find-max-probe says how long a probe is")),
        None => Ok(objective),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim_end().parse::<f64>() {
        Ok(x) if (0.1..=100.0).contains(&x) => Ok(x / 100.0),
        _ => Err("give a share like 5%, 0.1% to 100%".into()),
    }
}

fn probe(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        d if d < Duration::from_secs(1) => Err("a probe takes a second at least".into()),
        d => Ok(d),
    }
}

impl RunArgs {
    fn is_demo(&self) -> bool {
        self.target.is_none() && self.replay.is_empty() && self.script.scenario.is_none()
    }

    /// The constant rate, if the run has one.
    fn constant_rate(&self) -> Option<f64> {
        let p = &self.pace;
        let paced = p.load.is_some() || p.scale_to.is_some() || p.find_max.is_some() || self.speed.is_some();
        let other = paced || self.think.is_some();
        if p.find_max.is_some() { None } else { self.rate.or((self.is_demo() && !other).then_some(DEMO_RATE)) }
    }

    /// Whether requests fall due by their number.
    fn has_rate(&self) -> bool {
        let p = &self.pace;
        self.constant_rate().is_some() || p.load.is_some() || p.scale_to.is_some() || p.find_max.is_some()
    }

    /// The rate given at which users of a scenario arrive; a nominal one when it changes.
    pub(super) fn arrivals_given(&self) -> Option<f64> {
        self.rate.or((self.pace.load.is_some() || self.pace.find_max.is_some()).then_some(1.0))
    }

    /// Whether options end the run.
    pub(super) fn has_end(&self) -> bool {
        let p = &self.pace;
        self.duration.is_some() || self.requests.is_some() || p.load.is_some() || p.find_max.is_some()
    }

    /// What options can't be together for reasons that clap does not know.
    pub(super) fn check_pace(&self) -> anyhow::Result<()> {
        if self.pace.arrivals == ArrivalsName::Poisson && !self.has_rate() {
            return Err(anyhow!("--arrivals poisson needs a rate: --rate, --load, --scale-to or --find-max"));
        }
        if self.think.is_some() && (self.has_rate() || self.speed.is_some()) {
            return Err(anyhow!(
                "--think is the pause of users in a closed loop: leave it out, or --rate, --load, --speed, --scale-to \
                 and --find-max, which say when requests are sent"
            ));
        }
        if self.pace.scale_to.is_some() && self.replay.iter().any(|file| file.as_os_str() == "-") {
            return Err(anyhow!("--scale-to reads the recording twice: give --replay a file"));
        }
        if self.pace.max_gap.is_some() && self.speed.is_none() && self.pace.scale_to.is_none() {
            return Err(anyhow!("--max-gap needs recorded times: --speed or --scale-to"));
        }
        Ok(())
    }

    /// The length of the run, when it is known beforehand.
    pub(super) fn length(&self, curve: Option<&RateCurve>) -> Option<Duration> {
        if let Some(phases) = &self.pace.load {
            return Some(Duration::from_nanos(phases.length_ns()));
        }
        let once = curve.filter(|_| !self.repeat).and_then(|c| self.scaled(c).length_ns());
        self.duration.or(once.map(Duration::from_nanos))
    }

    fn scaled(&self, curve: &RateCurve) -> crate::load::Course {
        let peak = self.pace.scale_to.unwrap_or(1.0);
        curve.course(peak, self.speed.unwrap_or(1.0), self.pace.max_gap)
    }

    /// When requests fall due.
    pub(super) fn schedule(&self, curve: Option<&RateCurve>) -> Schedule {
        let arrivals = match self.pace.arrivals {
            ArrivalsName::Uniform => Arrivals::Uniform,
            ArrivalsName::Poisson => Arrivals::Poisson,
        };
        let planned = |course| Schedule::planned(course, arrivals).seeded(self.shared_seed());
        if self.pace.find_max.is_some() {
            // One a second; the search multiplies it.
            let schedule = planned(crate::load::Course::constant(1.0));
            schedule.change(crate::model::At::START, Change::Factor(self.start_rate()));
            return schedule;
        }
        match (&self.pace.load, curve, self.constant_rate(), self.speed) {
            (Some(phases), ..) => planned(phases.course()),
            (_, Some(curve), ..) => {
                let course = self.scaled(curve);
                planned(if self.repeat || self.duration.is_some() { course.repeated() } else { course })
            }
            (_, _, Some(per_s), _) => planned(crate::load::Course::constant(per_s)),
            (_, _, _, Some(speed)) => Schedule::recorded(speed),
            _ => Schedule::closed(),
        }
    }

    fn start_rate(&self) -> f64 {
        self.rate.unwrap_or(START_RATE)
    }

    fn shared_seed(&self) -> u64 {
        self.seed
    }

    /// The longest gap of recorded time that is kept.
    pub(super) fn max_recorded_gap(&self) -> Option<Duration> {
        let speed = self.speed.filter(|_| !self.has_rate())?;
        self.pace.max_gap.map(|gap| Duration::from_secs_f64((gap.as_secs_f64() * speed).min(1e9)))
    }

    /// Whether the recording is started again at its end.
    pub(super) fn repeats(&self) -> bool {
        let bounded = self.duration.is_some() || self.requests.is_some();
        let p = &self.pace;
        let by_number = p.load.is_some() || p.scale_to.is_some() || p.find_max.is_some();
        self.repeat
            || self.is_demo()
            || self.script.scenario.is_some()
            || by_number
            || (bounded && self.speed.is_none())
    }

    /// What the session says of pacing and objectives.
    pub(super) fn describe(&self, curve: Option<&RateCurve>, plan: LoadPlan) -> LoadPlan {
        let p = &self.pace;
        let mode = match (&p.find_max, &p.load, p.scale_to, self.constant_rate(), self.speed) {
            (Some(_), ..) => "find-max",
            (_, Some(_), ..) => "phases",
            (_, _, Some(_), ..) => "scale",
            (.., Some(_), _) => "rate",
            (.., Some(_)) => "speed",
            _ => "closed",
        };
        let texts = |all: &[Objective]| {
            all.iter().flat_map(|o| o.conditions()).map(|c| c.text().to_owned()).collect::<Vec<String>>()
        };
        let arrivals = match p.arrivals {
            _ if !self.has_rate() => "",
            ArrivalsName::Uniform => "uniform",
            ArrivalsName::Poisson => "poisson",
        };
        LoadPlan {
            mode: mode.into(),
            rate_per_s: self.constant_rate().or(p.scale_to),
            speed: self.speed,
            duration_ns: self.length(curve).map(|d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
            phases: p.load.as_ref().map(|l| l.text().to_owned()).unwrap_or_default(),
            arrivals: arrivals.into(),
            fail_if: texts(&p.fail_if),
            stop_if: texts(&p.stop_if),
            capture_if: texts(&self.profile.capture_if),
            find_max: p.find_max.as_ref().map(ToString::to_string),
            peak_over_ns: curve.map(RateCurve::width_ns),
            probe_ns: p.find_max.as_ref().and_then(|_| u64::try_from(p.find_max_probe.as_nanos()).ok()),
            overload: if mode == "closed" { String::new() } else { plan.overload.clone() },
            ..plan
        }
    }

    /// What steers the run.
    pub(super) fn control(&self) -> Control {
        let p = &self.pace;
        let phases = p.load.iter().flat_map(|l| l.all()).map(|p| (p.from_ns, p.label.clone())).collect();
        let stop_if = p.stop_if.iter().flat_map(|o| o.conditions()).cloned().map(Lasting::new).collect();
        let search = p.find_max.as_ref().map(|objective| {
            Searching::new(FindMax {
                objective: objective.clone(),
                start_per_s: self.start_rate(),
                precision: p.find_max_precision,
                probe_ns: u64::try_from(p.find_max_probe.as_nanos()).unwrap_or(u64::MAX / 4),
                connections: self.connections,
                random: p.arrivals == ArrivalsName::Poisson,
            })
        });
        let mut control = Control::none();
        (control.phases, control.stop_if, control.search) = (phases, stop_if, search);
        (control.triggers, control.captures_left) = (self.profile.triggers(), self.profile.capture_most);
        control
    }
}

/// Says which objectives of a run held and which did not, in one line on standard error; what
/// to end with when one did not.
pub(super) fn judge(t: &Timeline) -> anyhow::Result<()> {
    let load = &t.opening().load;
    let judged = objective::judge(t.load(), &load.fail_if);
    let list = |held: fn(&Judged) -> bool| {
        let all: Vec<String> = judged.iter().filter(|j| held(j)).map(|j| format!("{} ({})", j.text, j.shown)).collect();
        all.join(", ")
    };
    let (kept, broken) = (list(|j| j.held == Some(true)), list(|j| j.held != Some(true)));
    let kept = if kept.is_empty() { "none".into() } else { kept };
    if let Some(objective) = &load.find_max {
        let found = Found::of(&Probe::all(t));
        if found.per_s.is_none() {
            return Err(anyhow!("{}", clean(&found.line(objective), 500)));
        }
        say_err!("{}", clean(&found.line(objective), 500));
    }
    if broken.is_empty() {
        if !judged.is_empty() {
            say_err!("not true of this run, as it should be: {kept}");
        }
        return Ok(());
    }
    Err(anyhow!("the run fails: true or not measured: {broken}; not true, as it should be: {kept}"))
}

#[cfg(test)]
mod tests {
    use super::super::args::Args;
    use super::*;
    use clap::Parser as _;

    fn run(line: &str) -> Result<RunArgs, String> {
        let words = std::iter::once("perfbench").chain(line.split('|').filter(|w| !w.is_empty()));
        let args = Args::try_parse_from(words).map_err(|e| e.to_string())?.run;
        args.check_pace().map(|()| args).map_err(|e| e.to_string())
    }

    #[test]
    fn each_way_to_pace_has_its_mode() {
        for (line, mode, rate) in [
            ("http://h|--replay|a", "closed", None),
            ("", "rate", Some(DEMO_RATE)),
            ("http://h|--replay|a|--rate|5", "rate", Some(5.0)),
            ("http://h|--replay|a|--speed|2|--max-gap|2s", "speed", None),
            ("--load|const(5,1s) pause(1s)", "phases", None),
            ("http://h|--replay|a|--scale-to|100|--speed|10", "scale", Some(100.0)),
            ("--find-max|p99<5ms|--rate|7|--arrivals|poisson", "find-max", None),
        ] {
            let args = run(line).unwrap();
            let plan = args.describe(None, LoadPlan::default());
            assert_eq!((plan.mode.as_str(), plan.rate_per_s), (mode, rate), "{line}");
            assert_eq!(args.schedule(None).is_open() || mode == "scale", mode != "closed", "{line}");
        }
        let args = run("http://h|--replay|a|--speed|10|--max-gap|2s").unwrap();
        assert_eq!(args.max_recorded_gap(), Some(Duration::from_secs(20)));
        let args = run("--load|const(5,1s) pause(1s)").unwrap();
        assert_eq!((args.length(None), args.repeats()), (Some(Duration::from_secs(2)), true));
        assert_eq!(args.control().phases, [(0, "const(5,1s)".to_owned()), (1_000_000_000, "pause(1s)".to_owned())]);
    }

    #[test]
    fn what_can_not_be_together_is_refused() {
        for (line, why) in [
            ("--load|const(5,1s)|--rate|5", "cannot be used with"),
            ("--load|const(5;1s)", "at character 11"),
            ("--load|const(5,1s)|--duration|5s", "cannot be used with"),
            ("http://h|--replay|a|--arrivals|poisson", "needs a rate"),
            ("http://h|--replay|a|--speed|2|--arrivals|poisson", "needs a rate"),
            ("--rate|5|--max-gap|2s", "needs recorded times"),
            ("--find-max|p99<5ms for 3s", "leave `for` out"),
            ("--find-max|p99<5", "not a time"),
            ("--find-max|p99<5ms|--duration|5s", "cannot be used with"),
            ("--find-max|p99<5ms|--find-max-probe|1ms", "a second at least"),
            ("--find-max|p99<5ms|--find-max-precision|0%", "give a share"),
            ("--fail-if|p98>5ms", "not one of"),
            ("--find-max-probe|5s", "--find-max"),
        ] {
            let e = run(line).unwrap_err();
            assert!(e.contains(why), "{line}: {e}");
        }
    }

    #[test]
    fn conditions_may_be_given_together_or_apart() {
        let args = run("--fail-if|p99>5ms,errors>1%|--fail-if|dropped>0|--stop-if|errors>5% for 10s").unwrap();
        let plan = args.describe(None, LoadPlan::default());
        assert_eq!(plan.fail_if, ["p99>5ms", "errors>1%", "dropped>0"]);
        assert_eq!(plan.stop_if, ["errors>5% for 10s"]);
        assert_eq!(args.control().stop_if.len(), 1);
    }
}
