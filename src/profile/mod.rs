//! Profiles: a capture runs on its own thread and sends its life and its stacks as events.
//!
//! [`start`] takes the first source of [`PROFILERS`] that the host permits: the built-in sampler, or
//! the program perf. [`record`] samples all the time at a low rate and keeps the last seconds densely.
//! What is in the way of either is told by [`preflight`] without sampling.
//!
//! Must not: know what stacks are shown as, or touch the load.

mod capture;
pub mod import;
mod jit;
mod perf;
pub mod preflight;
mod sampler;
pub mod script;
pub mod served;
mod tool;

pub use capture::{CallGraph, Capture, CaptureRequest, Source, Stage, start};
pub use preflight::{Plan, Preflight, Scope, Surroundings, Want, inspect, inspect_built_in};
pub use sampler::{OffCpu, OffCpuRequest, Recorder, RecorderRequest, dense_hz, interrupt_ns, record, watch_off_cpu};

use crate::model::Span;

/// Something that stands in the way, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Obstacle {
    /// What and where.
    pub what: String,
    /// The command that mends it, if one does.
    pub mend: Option<String>,
}

impl Obstacle {
    /// An obstacle; control characters in `what` (it may quote a program) are replaced.
    pub fn new(what: impl AsRef<str>, mend: Option<String>) -> Obstacle {
        Obstacle { what: crate::model::clean(what.as_ref(), 400), mend }
    }
}

/// A source of stacks.
pub trait Profiler: Sync {
    /// Which one it is.
    fn source(&self) -> Source;

    /// Whether it can do what is asked here, without doing it.
    ///
    /// # Errors
    /// What is in the way.
    fn check(&self, request: &CaptureRequest) -> Result<Plan, Obstacle>;

    /// Samples and reads, announcing both on the stage and sending the stacks over it.
    ///
    /// # Errors
    /// Why there are no stacks.
    fn run(&self, plan: Plan, request: &CaptureRequest, stage: &Stage) -> Result<Done, Obstacle>;
}

/// The sources, the preferred one first.
pub static PROFILERS: &[&dyn Profiler] = &[&sampler::BuiltIn, &perf::Perf];

/// What a capture came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The stretch that was sampled.
    pub span: Span,
    /// Samples sent.
    pub samples: u64,
    /// Samples lost.
    pub lost: u64,
    /// What the reader should know.
    pub notes: Vec<String>,
}
