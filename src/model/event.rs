//! [`Event`]: the only thing that crosses from the producing rooms to the rest.
//!
//! Must not: hold anything that another process or a later reader could not use.

use super::{At, Interval, Readings, Span, Stacks};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that can happen in a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The session begins: what is run against what, on which machine.
    Opening(Box<Opening>),
    /// A worker's bucket of load.
    Interval(Interval),
    /// A sampler's values.
    Readings(Readings),
    /// Samples of a capture.
    Stacks(Stacks),
    /// A capture's life.
    Capture(CaptureNews),
    /// What the traffic reader has seen so far; the last one counts.
    Traffic(TrafficCounts),
    /// A labelled instant.
    Mark(Mark),
    /// Something could not be read, kept or done; the run goes on.
    Fault(Fault),
    /// The session was ended and closed.
    Closing(Closing),
}

impl From<Opening> for Event {
    fn from(opening: Opening) -> Event {
        Event::Opening(Box::new(opening))
    }
}

impl Event {
    /// The instant of the event; for a stretch, its end.
    pub fn at(&self) -> At {
        match self {
            Event::Opening(_) => At::START,
            Event::Interval(e) => e.span.to,
            Event::Readings(e) => e.at,
            Event::Stacks(e) => e.at,
            Event::Capture(e) => e.at,
            Event::Traffic(e) => e.at,
            Event::Mark(e) => e.at,
            Event::Fault(e) => e.at,
            Event::Closing(e) => e.at,
        }
    }
}

/// What a session is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Version of perfbench that made it.
    pub perfbench: String,
    /// Wall time at [`At::START`], ns since the Unix epoch.
    pub started_unix_ns: i64,
    /// CLOCK_MONOTONIC at [`At::START`], ns: what perf's time stamps are compared with.
    pub monotonic_ns: u64,
    /// The target as shown: scheme, host, port.
    pub target: String,
    /// The target's socket address, for ports per destination; empty when unresolved.
    pub target_address: String,
    /// Names of the traffic files.
    pub traffic: Vec<String>,
    /// How load is made.
    pub load: LoadPlan,
    /// The machine.
    pub host: HostFacts,
}

/// How load is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Engine: `h1` or `reqwest`.
    pub engine: String,
    /// The options that only this engine serves, for which it was chosen: `--http2`; empty when it
    /// is the default or was asked for.
    #[serde(default)]
    pub engine_why: String,
    /// `closed`, `rate`, `speed`, `phases`, `scale` or `find-max`.
    pub mode: String,
    /// Requests per second, of mode `rate`.
    pub rate_per_s: Option<f64>,
    /// Factor on the recorded timing, of mode `speed`.
    pub speed: Option<f64>,
    /// Connections at the most.
    pub connections: u32,
    /// Worker threads.
    pub threads: u32,
    /// `keepalive` or `close`.
    pub connection: String,
    /// Length of the run, ns, when it was given.
    pub duration_ns: Option<u64>,
    /// The phases of mode `phases` as they were given: `const(1000,30s) line(1000,5000,2m)`.
    #[serde(default)]
    pub phases: String,
    /// How requests of a rate arrive: `uniform` or `poisson`; empty without a rate.
    #[serde(default)]
    pub arrivals: String,
    /// What happens to requests that are due when no connection is free: `queue`, `drop`, `grow`.
    #[serde(default)]
    pub overload: String,
    /// Objectives whose breach fails the run, as they were given.
    #[serde(default)]
    pub fail_if: Vec<String>,
    /// Objectives whose breach ends the run, as they were given.
    #[serde(default)]
    pub stop_if: Vec<String>,
    /// Conditions that take a profile, as they were given.
    #[serde(default)]
    pub capture_if: Vec<String>,
    /// The objective that mode `find-max` keeps.
    #[serde(default)]
    pub find_max: Option<String>,
    /// Of mode `scale`: the stretch of recorded time over which the recording's highest rate is the mean, ns.
    #[serde(default)]
    pub peak_over_ns: Option<u64>,
    /// Length of each probe of mode `find-max`, ns.
    #[serde(default)]
    pub probe_ns: Option<u64>,
}

/// The machine a session was made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// CPUs online at the start.
    pub cpus: u32,
    /// Physical memory, bytes.
    pub memory_bytes: u64,
    /// Ticks per second of the CPU counters: sysconf(_SC_CLK_TCK).
    pub ticks_per_s: u32,
}

/// Numbers a capture within its session, from 1; 0 is the flight recorder, which samples all the
/// time at a low rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaptureId(
    /// The number.
    pub u32,
);

impl CaptureId {
    /// The flight recorder.
    pub const RECORDER: CaptureId = CaptureId(0);
}

/// A capture enters a new state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureNews {
    /// When.
    pub at: At,
    /// Which capture.
    pub id: CaptureId,
    /// Into which state.
    pub state: CaptureState,
}

/// The life of a capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CaptureState {
    /// Samples are being taken.
    Sampling {
        /// How long they will be, ns.
        for_ns: u64,
        /// Samples per second and CPU.
        hz: u32,
        /// What is sampled and with what, as shown: `perf, all CPUs, cpu-clock`.
        how: String,
    },
    /// Sampling is over, stacks are being read.
    Reading,
    /// The stacks are in the session.
    Done {
        /// The stretch that was sampled.
        span: Span,
        /// How many samples.
        samples: u64,
        /// How many were lost.
        lost: u64,
        /// What the reader should know: fallbacks taken, symbols missing.
        notes: Vec<String>,
    },
    /// There are no stacks.
    Failed {
        /// What went wrong and where.
        what: String,
        /// The command that mends it, if one does.
        mend: Option<String>,
    },
}

impl CaptureState {
    /// Whether it tells that all CPUs are sampled, and not some processes.
    pub fn is_of_all_cpus(&self) -> bool {
        matches!(self, CaptureState::Sampling { how, .. } if how.contains(ALL_CPUS))
    }
}

/// What [`CaptureState::Sampling::how`] says where all CPUs are sampled.
pub const ALL_CPUS: &str = "all CPUs";

/// A labelled instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: At,
    /// What set it.
    pub kind: MarkKind,
    /// The label.
    pub label: String,
}

/// What set a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkKind {
    /// The user.
    #[default]
    User,
    /// A phase of the load begins: of `--load`, or a probe of `--find-max`.
    Phase,
    /// The user changed the rate.
    Rate,
    /// The load was paused, or went on.
    Pause,
    /// An objective was judged while the load ran: a probe's, or one that ended the run.
    Verdict,
    /// A condition came true that takes a profile.
    Trigger,
}

impl MarkKind {
    /// Every kind.
    pub const ALL: [MarkKind; 6] =
        [MarkKind::User, MarkKind::Phase, MarkKind::Rate, MarkKind::Pause, MarkKind::Verdict, MarkKind::Trigger];

    /// Its name in sessions and JSON.
    pub fn name(self) -> &'static str {
        match self {
            MarkKind::User => "user",
            MarkKind::Phase => "phase",
            MarkKind::Rate => "rate",
            MarkKind::Pause => "pause",
            MarkKind::Verdict => "verdict",
            MarkKind::Trigger => "trigger",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<MarkKind> {
        MarkKind::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// Something could not be read, kept or done; the run goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: At,
    /// Room and part: `host/sockets`, `session`, …
    pub place: String,
    /// What, in one line.
    pub what: String,
    /// The command or option that mends it, if one does.
    pub mend: Option<String>,
}

/// What the traffic reader has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficCounts {
    /// When.
    pub at: At,
    /// Format of the recording, as guessed or named.
    pub format: String,
    /// Lines (records) read.
    pub lines: u64,
    /// Of them, requests to be replayed.
    pub requests: u64,
    /// Lines skipped, by reason.
    pub skipped: Vec<Skipped>,
    /// Requests whose time was before that of an earlier line.
    pub out_of_order: u64,
    /// Of them, those that came too late for the reorder window and were replayed late.
    pub outside_window: u64,
    /// How many times the recording was started again after its end.
    pub repeats: u64,
}

/// Lines skipped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The reason.
    pub reason: Arc<str>,
    /// How many lines.
    pub count: u64,
    /// Where the first one was: `file:line`.
    pub first: String,
}

/// The session was ended and closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// When.
    pub at: At,
    /// Why: `duration reached`, `recording ended`, `interrupted`, …
    pub why: String,
}
