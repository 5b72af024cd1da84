//! Plain data that every room shares: what crosses from the producing rooms
//! (traffic, load, host, profile) to the rest, and the words for it.
//!
//! Must not: read clocks, files or sockets, or import another room.

mod answer;
mod event;
mod finding;
mod interval;
mod latency;
mod metric;
pub mod pprof;
mod reading;
mod recorded_status;
mod request;
mod stacks;
mod text;
mod time;

pub use answer::{Answer, CheckKind};
pub use event::{
    ALL_CPUS, CaptureId, CaptureNews, CaptureState, Closing, Event, Fault, HostFacts, LoadPlan, Mark, MarkKind,
    Opening, Skipped, TrafficCounts,
};
pub use finding::{Evidence, Finding, Severity};
pub use interval::{
    Exemplar, Flaw, Interval, Outcome, OutcomeCount, PerPhase, Phase, PhaseTimes, Reached, Remarks, RouteInterval,
};
pub use latency::{Latency, LatencyError, Quantiles, new_histogram, new_route_histogram};
pub use metric::{Kind, Metric, Scope, Unit};
pub use reading::{Instance, Reading, Readings};
pub use recorded_status::RecordedStatus;
pub use request::{Body, Method, Request, Route};
pub use stacks::{
    FastMap, Frame, FrameId, FrameKind, IDLE_WAIT, OFF_CPU, Sample, SourceLine, StackId, StackTable, Stacks, is_idle,
    is_on_cpu, is_waiting,
};
pub use text::{clean, is_obeyed};
pub use time::{At, Span};
