//! The fold: every event of a session, applied one by one, and the read side of it.
//!
//! A [`Timeline`] holds raw values; rates, percentages and percentiles are computed when a
//! [`View`] asks for them, so that a better rule judges an old session.
//!
//! Must not: read clocks or files, or know whether events come from a live run or a session.

mod block;
mod client;
mod host;
mod load;
pub mod objective;
mod routes;
mod series;
pub mod stacks;
pub mod steer;
mod view;

pub use client::{ClientLateness, ClientUse, FULL_PERCENT, ON_TIME_MISSING, ON_TIME_P50_NS, ON_TIME_P99_NS, ThreadUse};
pub use host::{CpuSplit, DiskUse, InterfaceUse, MemoryUse, Moved, PortUse, ProcessUse};
pub use load::{LoadSum, LoadTrack, Slot};
pub use routes::RouteSum;
pub use series::{Rate, Series};
pub use view::{Band, Cursor, Selection, View};

use crate::model::{
    At, CaptureId, CaptureNews, CaptureState, Closing, Event, Fault, Instance, Mark, MarkKind, Metric, Opening, Span,
    TrafficCounts,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything known of one session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    opening: Opening,
    load: LoadTrack,
    host: BTreeMap<(Metric, Instance), Series>,
    sampling_cost: BTreeMap<Arc<str>, Series>,
    profile: stacks::Profile,
    captures: BTreeMap<CaptureId, Vec<CaptureNews>>,
    traffic: Vec<TrafficCounts>,
    marks: Vec<Mark>,
    faults: Vec<Fault>,
    closing: Option<Closing>,
    end: At,
}

impl Timeline {
    /// A timeline without events.
    pub fn new() -> Timeline {
        Timeline::default()
    }

    /// Folds one event in. Events of one kind come in the order of their instants, or
    /// nearly so; late ones are sorted in.
    pub fn apply(&mut self, event: &Event) {
        self.end = self.end.max(event.at());
        match event {
            Event::Opening(e) => self.opening = (**e).clone(),
            Event::Interval(e) => self.load.apply(e),
            Event::Readings(e) => {
                let cost = self.sampling_cost.entry(e.sampler.clone()).or_default();
                cost.push(e.at, i64::try_from(e.took_ns).unwrap_or(i64::MAX));
                // It has a reading of each time the sampler read.
                let alike = cost.last_times();
                for r in &e.values {
                    let series = self.host.entry((r.metric, r.instance.clone())).or_default();
                    series.push_alike(e.at, r.value, alike.as_ref());
                    series.set_sampler(&e.sampler);
                }
            }
            Event::Stacks(e) => self.profile.apply(e),
            Event::Capture(e) => {
                if let CaptureState::Done { span, .. } = e.state {
                    self.profile.told(e.id, span);
                }
                self.captures.entry(e.id).or_default().push(e.clone());
            }
            Event::Traffic(e) => self.keep_traffic(e),
            Event::Mark(e) => {
                self.load.mark(e.at);
                // What is judged of a probe begins and ends apart from its marks.
                if let Some(probe_ns) = self.opening.load.probe_ns.filter(|_| e.kind == MarkKind::Phase) {
                    let judged = steer::Probe::judged(e.at, probe_ns);
                    self.load.mark(judged.from);
                    self.load.mark(judged.to);
                }
                self.marks.push(e.clone());
            }
            Event::Fault(e) => self.faults.push(e.clone()),
            Event::Closing(e) => self.closing = Some(e.clone()),
        }
    }

    /// Keeps counts that differ, and of a stretch in which they stood still its two ends.
    fn keep_traffic(&mut self, e: &TrafficCounts) {
        let same = |t: &TrafficCounts| *e == (TrafficCounts { at: e.at, ..t.clone() });
        if let [.., a, b] = self.traffic.as_mut_slice()
            && a.at <= b.at
            && b.at <= e.at
            && same(a)
            && same(b)
        {
            b.at = e.at;
        } else {
            self.traffic.push(e.clone());
        }
    }

    /// What the session is of.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The load by time.
    pub fn load(&self) -> &LoadTrack {
        &self.load
    }

    /// The values of one metric of one instance.
    pub fn series(&self, metric: Metric, instance: &str) -> Option<&Series> {
        // The key owns its instance, so a lookup builds one; it is far from any hot path.
        self.host.get(&(metric, Instance::from(instance)))
    }

    /// All instances of a metric, in the order of their names (numbers in numeric order).
    pub fn instances(&self, metric: Metric) -> Vec<(&Instance, &Series)> {
        let from = (metric, Instance::from(""));
        let mut found: Vec<_> =
            self.host.range(from..).take_while(|((m, _), _)| *m == metric).map(|((_, i), s)| (i, s)).collect();
        found.sort_by_key(|(i, _)| (i.parse::<u64>().unwrap_or(u64::MAX), (*i).clone()));
        found
    }

    /// What each sampler's readings cost, ns of wall time.
    pub fn sampling_cost(&self) -> &BTreeMap<Arc<str>, Series> {
        &self.sampling_cost
    }

    /// The stacks of all captures.
    pub fn profile(&self) -> &stacks::Profile {
        &self.profile
    }

    /// The captures, each with the states it has gone through; without the flight recorder.
    pub fn captures(&self) -> impl Iterator<Item = (CaptureId, &[CaptureNews])> {
        let taken = self.captures.iter().filter(|(id, _)| **id != CaptureId::RECORDER);
        taken.map(|(id, news)| (*id, news.as_slice()))
    }

    /// The states the flight recorder has gone through; nothing when there was none.
    pub fn recorder(&self) -> &[CaptureNews] {
        self.captures.get(&CaptureId::RECORDER).map_or(&[], Vec::as_slice)
    }

    /// The stretch a finished capture sampled: of several sources, all of theirs.
    pub fn capture_span(&self, id: CaptureId) -> Option<Span> {
        let spans = self.captures.get(&id)?.iter().filter_map(|n| match n.state {
            CaptureState::Done { span, .. } => Some(span),
            _ => None,
        });
        spans.reduce(|a, b| Span { from: a.from.min(b.from), to: a.to.max(b.to) })
    }

    /// What the traffic reader had seen at an instant.
    pub fn traffic(&self, at: At) -> Option<&TrafficCounts> {
        self.traffic.iter().rev().find(|t| t.at <= at)
    }

    /// How often the recording had begun anew at an instant: as far as requests of it had fallen due,
    /// which the reader is ahead of.
    pub fn repeats(&self, at: At) -> u64 {
        let Some(t) = self.traffic(at).filter(|t| t.repeats > 0) else { return 0 };
        t.repeats.min(self.load.offered_until(at).saturating_sub(1) / t.requests.max(1))
    }

    /// The marks, in the order they were set.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The faults, in the order they occurred.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How the session was closed; `None` while it runs, or when it never was.
    pub fn closing(&self) -> Option<&Closing> {
        self.closing.as_ref()
    }

    /// The instant of the latest event.
    pub fn end(&self) -> At {
        self.end
    }

    /// From the start to the latest event.
    pub fn whole(&self) -> Span {
        Span { from: At::START, to: self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_repeated_as_often_as_its_requests_fell_due() {
        let mut t = Timeline::new();
        t.apply(&Event::Traffic(TrafficCounts { at: At(0), requests: 10, repeats: 45, ..TrafficCounts::default() }));
        for n in 1..=5 {
            t.apply(&Event::Interval(load::tests::interval(0, n * 200, &[1; 5])));
        }
        let at = |tick: u64| t.repeats(At(tick * 200_000_000));
        assert_eq!((at(1), at(2), at(3), at(5)), (0, 0, 1, 2));
    }

    #[test]
    fn traffic_that_stands_still_is_kept_by_its_ends() {
        let mut t = Timeline::new();
        let counts = |at: u64, lines: u64| TrafficCounts { at: At(at), lines, ..TrafficCounts::default() };
        for at in 1..=1000 {
            t.apply(&Event::Traffic(counts(at, if at < 500 { 7 } else { 8 })));
        }
        assert_eq!(t.traffic.iter().map(|c| c.at.0).collect::<Vec<_>>(), [1, 499, 500, 1000]);
        let lines = |at| t.traffic(At(at)).map(|c| c.lines);
        assert_eq!(
            [0, 1, 300, 499, 500, 999, 5000].map(lines),
            [None, Some(7), Some(7), Some(7), Some(8), Some(8), Some(8)]
        );
        assert_eq!(t.traffic(At(5000)).map(|c| c.at), Some(At(1000)));
    }
}
