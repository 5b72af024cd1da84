//! Scenarios: load that is described rather than recorded. A TOML file tells which requests
//! there are, with values drawn from ranges, lists and CSV files or captured from responses,
//! and how many users send them or how many arrive. `docs/scenarios.md` is its reference.
//!
//! ```text
//! file, place     TOML -> a Scenario, everything in it validated; errors with line and column
//! notation        50ms, 64KiB, 50/s, zipf(1.1)
//! source, draw    what a variable can be; which of it is taken (zipf: any keyspace, no table)
//! template        texts with {{name}}, compiled
//! capture, check  what is taken from a response, what is expected of it (jsonpath)
//! user            one virtual user: the next request, what its answer means
//! ```
//!
//! Must not: send, wait or read a clock; pauses are told, not made.

mod capture;
mod check;
mod draw;
mod error;
mod file;
mod jsonpath;
mod notation;
mod place;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod think;
mod user;
mod zipf;

pub use check::{Judge, JudgeOptions, Statuses, Wants};
pub use error::ScenarioError;
pub use think::Think;
pub use user::{Next, User};

use crate::model::{Answer, CheckKind, Method, Request, Route};
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// What a response body may be long before the rest of it is not kept, bytes, unless the file
/// says otherwise.
pub const BODY_BOUND: usize = 1 << 20;

/// The scenarios that come with perfbench: name and file.
pub static EXAMPLES: &[(&str, &str)] = &[
    ("minimal", include_str!("../../../assets/scenarios/minimal.toml")),
    ("transfers-random", include_str!("../../../assets/scenarios/transfers-random.toml")),
    ("transfers-point-to-point", include_str!("../../../assets/scenarios/transfers-point-to-point.toml")),
    ("login", include_str!("../../../assets/scenarios/login.toml")),
    ("arrivals", include_str!("../../../assets/scenarios/arrivals.toml")),
];

/// What drives the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drive {
    /// A closed loop: so many users, each waits for its answers.
    Users {
        /// How many, at least 1.
        count: u64,
        /// They start evenly over this time, ns.
        ramp_ns: u64,
    },
    /// An open loop: so many users arrive per second, each goes through the flow once.
    Arrivals {
        /// How many per second, above 0.
        per_s: f64,
    },
}

/// A scenario, opened and validated. Shared by all users; what differs between them is in
/// [`User`].
#[derive(Debug)]
pub struct Scenario {
    name: String,
    about: String,
    drive: Drive,
    /// Passes through the flow per user, as the file says.
    repeat: Option<u64>,
    /// The same, in force.
    passes: Option<u64>,
    variables: Vec<draw::Variable>,
    captures: Vec<Captures>,
    steps: Vec<Step>,
    /// Steps sent once per user, before the flow.
    once: Vec<usize>,
    /// The others.
    flow: Vec<usize>,
    order: Order,
    /// The last value of `{{seq}}`.
    seq: AtomicU64,
    body_bound: usize,
}

/// A name that is filled from responses.
#[derive(Debug)]
struct Captures {
    name: Box<str>,
    default: Option<Box<str>>,
}

/// How the steps of the flow follow each other.
#[derive(Debug)]
enum Order {
    /// As written; a pass goes through all of them.
    InTurn,
    /// Drawn by weight; a pass is one of them. Sums of the weights up to and with each.
    Weights(Vec<u64>),
}

/// One request of a scenario.
#[derive(Debug)]
struct Step {
    route: Route,
    method: Method,
    path: template::Template,
    host: Option<template::Template>,
    headers: Vec<(Box<str>, template::Template)>,
    body: Content,
    /// Variables it uses, those first that others are to differ from.
    draws: Vec<u16>,
    uses_seq: bool,
    uses_uuid: bool,
    think: Think,
    repeat: u32,
    expected: check::Expectation,
    captures: Vec<capture::Capture>,
    wants: Wants,
}

#[derive(Debug)]
enum Content {
    None,
    Bytes(Box<[u8]>),
    Text(template::Template),
}

impl Scenario {
    /// Opens a scenario file, and the files it names, which are found from its folder.
    ///
    /// # Errors
    /// When a file can't be read, or anything in it is wrong: with line and column.
    pub fn open(path: &Path) -> Result<Scenario, ScenarioError> {
        file::open(path)
    }

    /// Opens a file, or an example when it is written `example:NAME`.
    ///
    /// # Errors
    /// As [`Scenario::open`]; or when there is no such example.
    pub fn named(path: &Path) -> Result<Scenario, ScenarioError> {
        match path.to_str().and_then(|p| p.strip_prefix("example:")) {
            Some(name) => file::parse(example(name)?, &format!("example:{name}"), Path::new(".")),
            None => Scenario::open(path),
        }
    }

    /// A scenario from its text; `path` is what messages call it, files it names are found
    /// from the current folder.
    ///
    /// # Errors
    /// As [`Scenario::open`].
    pub fn parse(text: &str, path: &str) -> Result<Scenario, ScenarioError> {
        file::parse(text, path, Path::new("."))
    }

    /// What messages call it, cleaned.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says it is, cleaned; empty when it says nothing.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// What drives it.
    pub fn drive(&self) -> Drive {
        self.drive
    }

    /// Drives it in another way than the file says.
    pub fn set_drive(&mut self, drive: Drive) {
        self.drive = drive;
        // One who arrives goes through the flow once; a user goes on until the run ends.
        self.passes = self.repeat.or(matches!(drive, Drive::Arrivals { .. }).then_some(1));
    }

    /// Whether its users come to an end by themselves.
    pub fn has_end(&self) -> bool {
        let stops = |v: &draw::Variable| matches!(v.draw, draw::Draw::Sequential { ends: true, .. });
        matches!(self.drive, Drive::Users { .. }) && (self.passes.is_some() || self.variables.iter().any(stops))
    }

    /// How much of a response's body is kept for checks and captures, bytes.
    pub fn body_bound(&self) -> usize {
        self.body_bound
    }

    /// The names that requests count under, by the number of their route.
    pub fn routes(&self) -> Vec<&str> {
        let mut names: Vec<(u32, &str)> = self.steps.iter().map(|s| (s.route.id, &*s.route.name)).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// A user that begins. The same number and seed make the same choices; only sequences
    /// (`draw = "sequential"`, `{{seq}}`) are shared with the other users.
    pub fn user(&self, number: u64, seed: u64) -> User {
        User::new(self, number, seed)
    }

    /// Makes another user of one, in its memory.
    pub fn renew(&self, user: &mut User, number: u64, seed: u64) {
        user.renew(self, number, seed);
    }

    /// What a user does next; a request is put into `into`, reusing its memory.
    pub fn next(&self, user: &mut User, into: &mut Request) -> Next {
        user.next(self, into)
    }

    /// A response came to the user's last request: it is checked, and what later requests
    /// need is taken from it. When that is not to be had, the user's flow starts over; an
    /// arrival ends.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn answered(&self, user: &mut User, answer: &Answer<'_>) -> Result<(), CheckKind> {
        user.answered(self, answer)
    }

    /// No response came to the user's last request.
    pub fn unanswered(&self, user: &mut User) {
        user.unanswered(self);
    }

    /// The user's last request was only looked at: what it would have captured is called by
    /// its name.
    pub fn rehearsed(&self, user: &mut User) {
        user.rehearsed(self);
    }

    /// What has to be kept of the response to the user's last request.
    pub fn wants(&self, user: &User) -> Wants {
        user.wants(self)
    }
}

/// The file of an example.
///
/// # Errors
/// When there is none of this name.
pub fn example(name: &str) -> Result<&'static str, ScenarioError> {
    let found = EXAMPLES.iter().find(|(n, _)| *n == name);
    found.map(|(_, text)| *text).ok_or_else(|| ScenarioError::NoExample {
        name: crate::model::clean(name, 60),
        known: EXAMPLES.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
    })
}
