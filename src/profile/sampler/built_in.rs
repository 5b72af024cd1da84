//! One capture by the built-in sampler.
//!
//! Must not: sample before or after its time; that is the recorder's.

use super::quality::Tally;
use super::{Sampling, Taken, join_idle};
use crate::model::{CaptureState, Event, Span};
use crate::profile::capture::{cancelled, nothing_sampled};
use crate::profile::jit::{self, MapJobs};
use crate::profile::{
    CallGraph, CaptureRequest, Done, Obstacle, Plan, Profiler, Scope, Source, Stage, inspect_built_in,
};
use std::time::Duration;

/// Samples sent together at the most.
pub(super) const BATCH: usize = 20_000;
/// Samples of a capture at the most: 72 bytes each until they are named.
const MOST: usize = 2_000_000;

/// The sampler of this crate, over perf_event_open(2).
pub(in crate::profile) struct BuiltIn;

impl Profiler for BuiltIn {
    fn source(&self) -> Source {
        Source::BuiltIn
    }

    fn check(&self, request: &CaptureRequest) -> Result<Plan, Obstacle> {
        if request.call_graph == CallGraph::Dwarf {
            return Err(Obstacle::new("call graphs by DWARF need the program perf", None));
        }
        inspect_built_in(&request.around).plan(&request.around, &request.pids, request.want)
    }

    fn run(&self, plan: Plan, request: &CaptureRequest, stage: &Stage) -> Result<Done, Obstacle> {
        let mut sampling = Sampling::open(&plan, request.hz, &request.around.root, stage.origin_ns())?;
        let from = stage.now();
        let for_ns = u64::try_from(request.length.as_nanos()).unwrap_or(u64::MAX);
        let hz = sampling.events.hz;
        stage.news(CaptureState::Sampling { for_ns, hz, how: sampling.how() });

        let due = from + request.length;
        let (mut samples, mut batch, mut gone) = (Vec::new(), Vec::new(), false);
        let mut next = from + sampling.interval();
        while stage.now() < due && !stage.stopped() && !gone && samples.len() < MOST {
            let until = next.min(due);
            stage.pause(Duration::from_nanos(until.since_ns(stage.now()).max(1)));
            if stage.now() >= next {
                sampling.drain(stage.now(), |t| batch.push(t));
                join_idle(&mut batch);
                samples.append(&mut batch);
                gone = sampling.target_is_gone();
                next = stage.now() + sampling.interval();
            }
        }
        let to = stage.now();
        if stage.cancelled() {
            return Err(cancelled());
        }
        stage.news(CaptureState::Reading);
        // What was written just now is there after the margin.
        stage.pause(Duration::from_millis(2));
        sampling.drain(stage.now() + Duration::from_millis(1), |t| batch.push(t));
        join_idle(&mut batch);
        samples.append(&mut batch);
        let lost = sampling.take_lost();
        let span = Span { from, to };
        samples.retain(|t| span.contains(t.at));

        let mut notes = plan.notes.clone();
        if gone && plan.scope != Scope::AllCpus {
            notes.push(format!("{} ended after {:.1} s of the capture", plan.scope.shown(), span.secs()));
        }
        if samples.len() >= MOST {
            notes.push(format!("ended after {:.1} s: it had {MOST} samples", span.secs()));
        }
        let jobs = MapJobs::start(sampling.jvms(&samples));
        while !jobs.is_finished() && !stage.cancelled() {
            stage.pause(jit::GLANCE);
        }
        notes.extend(jobs.end());
        // Maps were written since they were looked for.
        sampling.symbols.next_turn();
        if samples.is_empty() {
            return Err(nothing_sampled(&plan.scope, span, lost, gone));
        }
        let mut tally = Tally::default();
        let mut left = lost;
        for part in samples.chunks(BATCH) {
            if stage.cancelled() {
                return Err(cancelled());
            }
            let mut stacks = sampling.stacks(request.id, stage.now(), part, &mut tally);
            stacks.lost = std::mem::take(&mut left);
            stage.emit(Event::Stacks(stacks));
        }
        notes.extend(tally.notes(lost));
        Ok(Done { span, samples: tally.samples, lost, notes })
    }
}

impl Sampling {
    /// The Java processes among the samples, which write a map of their compiled code when asked.
    pub(super) fn jvms(&self, samples: &[Taken]) -> Vec<jit::Jvm> {
        let mut lives: Vec<u32> = samples
            .iter()
            .flat_map(|t| t.chain.iter())
            .filter_map(|s| if let super::Site::Anonymous { life, .. } = s { Some(*life) } else { None })
            .collect();
        lives.sort_unstable();
        lives.dedup();
        lives.into_iter().filter_map(|life| self.processes.jvm(life)).collect()
    }
}
