//! Scenarios and checks: their options, the joining of the traffic room's users and judges to
//! the load engine, and `perfbench scenario`, which looks at one without sending.
//!
//! Must not: hold logic that a room could hold.

use super::{Failure, print, usage};
use crate::load;
use crate::model::{Answer, At, CheckKind, RecordedStatus, Request, TrafficCounts, clean};
use crate::traffic::Reader;
use crate::traffic::scenario::{Drive, EXAMPLES, Judge, JudgeOptions, Next, Scenario, User, Wants, example};
use anyhow::anyhow;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Most users: each has a connection of its own.
const MOST_USERS: u64 = 65_536;
/// Requests dealt in one pass as leave to send, all of them the same.
const LEAVES: u32 = 4096;

/// Options of a run that is described rather than recorded.
#[derive(Debug, clap::Args)]
pub(super) struct ScriptArgs {
    /// Send what a scenario file describes instead of a recording; example:NAME for one of those
    /// that `perfbench scenario` lists
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "format", "speed", "repeat", "scale_to", "think"], help_heading = "Traffic")]
    pub(super) scenario: Option<PathBuf>,
    /// Users of the scenario, each with a connection of its own (closed loop), whatever its file says
    #[arg(long, value_name = "N", requires = "scenario", conflicts_with_all = ["rate", "load", "find_max"],
          value_parser = clap::value_parser!(u64).range(1..=MOST_USERS), help_heading = "Traffic")]
    pub(super) users: Option<u64>,
}

/// Checks of answers; one that fails is an outcome of its own.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Expect these statuses: 200, 2xx, 200,304; or `recorded`: that in the recording
    #[arg(long, value_name = "LIST", help_heading = "Checks")]
    pub(super) check_status: Option<String>,
    /// Expect this text in the body; may be given several times, as the next three
    #[arg(long, value_name = "TEXT", help_heading = "Checks")]
    pub(super) check_body: Vec<String>,
    /// Expect the body to match this pattern
    #[arg(long, value_name = "REGEX", help_heading = "Checks")]
    pub(super) check_body_matches: Vec<String>,
    /// Expect a value in a JSON body: result.ok=true, or only data.items[0].id
    #[arg(long, value_name = "PATH=VALUE", help_heading = "Checks")]
    pub(super) check_json: Vec<String>,
    /// Expect a header field: `Content-Type: application/json`, or only ETag
    #[arg(long, value_name = "NAME: VALUE", help_heading = "Checks")]
    pub(super) check_header: Vec<String>,
}

impl CheckArgs {
    /// Who judges by these checks; nobody when there are none.
    pub(super) fn judge(&self) -> Result<Option<Arc<dyn load::Judge>>, Failure> {
        let options = JudgeOptions {
            status: self.check_status.clone(),
            body: self.check_body.clone(),
            body_matches: self.check_body_matches.clone(),
            json: self.check_json.clone(),
            header: self.check_header.clone(),
        };
        let judge = Judge::new(&options).map_err(usage)?;
        Ok((!judge.is_idle()).then(|| Arc::new(Checks(judge)) as Arc<dyn load::Judge>))
    }
}

/// The scenario of a run, driven as the options say: `arrivals` is the rate given, if any.
pub(super) fn open(args: &ScriptArgs, arrivals: Option<f64>) -> Result<Option<Arc<Scenario>>, Failure> {
    let Some(path) = &args.scenario else { return Ok(None) };
    let mut scenario = Scenario::named(path).map_err(usage)?;
    let ramp_ns = match scenario.drive() {
        Drive::Users { ramp_ns, .. } => ramp_ns,
        Drive::Arrivals { .. } => 0,
    };
    match (args.users, arrivals) {
        (Some(count), _) => scenario.set_drive(Drive::Users { count, ramp_ns }),
        (None, Some(per_s)) => scenario.set_drive(Drive::Arrivals { per_s }),
        (None, None) => {}
    }
    match scenario.drive() {
        Drive::Users { count, .. } if count > MOST_USERS => Err(usage(anyhow!(
            "{}: {count} users are more than the {MOST_USERS} that one run can have; give --users",
            scenario.name()
        ))),
        _ => Ok(Some(Arc::new(scenario))),
    }
}

/// A scenario's users, for all workers.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) scenario: Arc<Scenario>,
    pub(super) seed: u64,
}

impl load::Scripts for Cast {
    fn of_worker(&self, worker: u32, workers: u32) -> Box<dyn load::Script> {
        let (scenario, seed) = (self.scenario.clone(), self.seed);
        let step = u64::from(workers.max(1));
        Box::new(Users { scenario, seed, worker: u64::from(worker), step, arrived: 0, users: Vec::new() })
    }
}

/// The users of one worker.
struct Users {
    scenario: Arc<Scenario>,
    seed: u64,
    worker: u64,
    /// From one of the worker's users to its next: workers are dealt users in turn.
    step: u64,
    arrived: u64,
    users: Vec<Option<User>>,
}

impl Users {
    fn at(&mut self, place: u32) -> Option<(&Scenario, &mut User)> {
        self.users.get_mut(place as usize)?.as_mut().map(|user| (&*self.scenario, user))
    }
}

impl load::Script for Users {
    fn begin(&mut self, place: u32) {
        let nth = match self.scenario.drive() {
            Drive::Users { .. } => u64::from(place),
            Drive::Arrivals { .. } => self.arrived,
        };
        self.arrived += 1;
        let number = nth * self.step + self.worker;
        if self.users.len() <= place as usize {
            self.users.resize_with(place as usize + 1, || None);
        }
        match &mut self.users[place as usize] {
            Some(user) => self.scenario.renew(user, number, self.seed),
            none => *none = Some(self.scenario.user(number, self.seed)),
        }
    }

    fn next(&mut self, place: u32, into: &mut Request) -> load::Next {
        match self.at(place).map(|(scenario, user)| scenario.next(user, into)) {
            Some(Next::Send) => load::Next::Send,
            Some(Next::Think(ns)) => load::Next::Think(ns),
            Some(Next::Ended) | None => load::Next::Ended,
        }
    }

    fn answered(&mut self, place: u32, answer: &Answer<'_>) -> Result<(), CheckKind> {
        self.at(place).map_or(Ok(()), |(scenario, user)| scenario.answered(user, answer))
    }

    fn unanswered(&mut self, place: u32) {
        if let Some((scenario, user)) = self.at(place) {
            scenario.unanswered(user);
        }
    }

    fn wants(&self, place: u32) -> load::Wants {
        let user = self.users.get(place as usize).and_then(Option::as_ref);
        user.map_or(load::Wants::default(), |user| of_load(self.scenario.wants(user)))
    }
}

/// The checks of the command line.
#[derive(Debug)]
struct Checks(Judge);

impl load::Judge for Checks {
    fn wants(&self) -> load::Wants {
        of_load(self.0.wants())
    }

    fn check(&self, recorded: Option<RecordedStatus>, answer: &Answer<'_>) -> Result<(), CheckKind> {
        self.0.check(recorded, answer)
    }
}

fn of_load(wants: Wants) -> load::Wants {
    load::Wants { head: wants.head, body: wants.body }
}

/// What the engine is fed when users decide what is sent: so many leaves to send.
pub(super) struct Leaves(u32);

impl Leaves {
    pub(super) fn new() -> Leaves {
        Leaves(LEAVES)
    }
}

impl load::RequestSource for Leaves {
    fn next(&mut self, into: &mut Request) -> Result<bool, load::SourceError> {
        *into = Reader::blank();
        let is_one = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        Ok(is_one)
    }

    fn restart(&mut self) -> Result<bool, load::SourceError> {
        self.0 = LEAVES;
        Ok(true)
    }

    fn counts(&self, at: At) -> TrafficCounts {
        TrafficCounts { at, ..TrafficCounts::default() }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ScenarioArgs {
    /// The scenario file, or example:NAME; without it, the examples are listed
    file: Option<PathBuf>,
    /// Print the file of an example, to begin your own with
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    example: Option<String>,
    /// Show so many of a user's requests
    #[arg(long, value_name = "N", default_value_t = 5)]
    show: u32,
    /// Which user's, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    user: u64,
    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Looks at a scenario without sending anything.
pub(super) fn look(args: &ScenarioArgs) -> Result<(), Failure> {
    if let Some(name) = &args.example {
        return print(example(name).map_err(usage)?);
    }
    let Some(path) = &args.file else {
        let list = EXAMPLES.iter().fold(String::new(), |mut all, (name, text)| {
            let about = Scenario::parse(text, name).map(|s| s.about().to_owned()).unwrap_or_default();
            let _ = writeln!(all, "example:{name:<26} {about}");
            all
        });
        return print(&list);
    };
    let scenario = Scenario::named(path).map_err(usage)?;
    print(&describe(&scenario, args))
}

fn describe(scenario: &Scenario, args: &ScenarioArgs) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "scenario  {}", scenario.name());
    if !scenario.about().is_empty() {
        let _ = writeln!(out, "about     {}", scenario.about());
    }
    let _ = match scenario.drive() {
        Drive::Users { count: 1, .. } => writeln!(out, "load      closed loop, 1 user"),
        Drive::Users { count, ramp_ns: 0 } => writeln!(out, "load      closed loop, {count} users"),
        Drive::Users { count, ramp_ns } => {
            writeln!(out, "load      closed loop, {count} users, started over {} s", ramp_ns as f64 / 1e9)
        }
        Drive::Arrivals { per_s } => writeln!(out, "load      open loop, {per_s} arrivals a second"),
    };
    let routes: Vec<String> = scenario.routes().iter().map(|r| clean(r, 120)).collect();
    let _ = writeln!(out, "routes    {}", routes.join("  "));
    let mut user = scenario.user(args.user - 1, args.seed);
    let mut request = Reader::blank();
    let _ = writeln!(out, "\nuser {}, captured values named in place of what a target would answer:", args.user);
    let mut shown = 0;
    while shown < args.show {
        match scenario.next(&mut user, &mut request) {
            Next::Send => {
                shown += 1;
                let _ = writeln!(out, "\n{} {}", request.method, clean(&request.path, 2000));
                if let Some(host) = &request.host {
                    let _ = writeln!(out, "Host: {}", clean(host, 200));
                }
                for (name, value) in &request.headers {
                    let _ = writeln!(out, "{}: {}", clean(name, 200), clean(value, 2000));
                }
                let body = &request.body.0[..request.body.0.len().min(2000)];
                for line in String::from_utf8_lossy(body).lines() {
                    let _ = writeln!(out, "  {}", clean(line, 2000));
                }
                scenario.rehearsed(&mut user);
            }
            Next::Think(ns) => {
                let _ = writeln!(out, "\n(pauses {:.1} ms)", ns as f64 / 1e6);
            }
            Next::Ended => {
                let _ = writeln!(out, "\n(is done)");
                break;
            }
        }
    }
    out
}
