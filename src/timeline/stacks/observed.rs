//! Over which stretches samples were taken, which a rate must be divided by: no more and no less.
//!
//! Must not: take the time between two samples for time without work, or the whole session for
//! the time of a capture.

use super::{CaptureSum, StackFilter};
use crate::model::{At, CaptureId, CaptureState, Span};
use crate::timeline::{LoadTrack, Timeline};
use std::collections::BTreeMap;

/// How late the flight recorder's samples may be at the latest.
const LATEST_NS: u64 = 2_000_000_000;

/// A stretch in which samples of one capture were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The capture.
    pub capture: CaptureId,
    /// From when to when.
    pub span: Span,
    /// Whether its samples have times. Those of a profile from elsewhere may all be of one instant
    /// and can't be divided.
    pub is_timed: bool,
}

impl Stretch {
    /// What of it is in whole slots of load: there it is known exactly how many requests were
    /// completed while it lasted. Samples without times can't be cut.
    pub(super) fn in_whole_slots(self, load: &LoadTrack) -> Option<Stretch> {
        if !self.is_timed {
            return Some(self);
        }
        let span = load.whole_slots_of(self.span);
        (span.from < span.to).then_some(Stretch { span, ..self })
    }
}

impl Timeline {
    /// The stretches in which samples were taken that a filter means: of each capture those it was
    /// sampling in, cut to the filter's time, and of the flight recorder those in which no capture
    /// takes its place. By capture and time. Two captures at once are two observations of one time.
    pub fn observed(&self, filter: &StackFilter) -> Vec<Stretch> {
        let profile = self.profile();
        let types = profile.types_meant(filter.event.as_deref());
        let mut sums: BTreeMap<CaptureId, CaptureSum> = BTreeMap::new();
        for ((id, number), sum) in &profile.captures {
            if types[*number as usize] && filter.capture.is_none_or(|c| c == *id) && sum.samples > 0 {
                let all = sums.entry(*id).or_insert_with(|| sum.clone());
                all.samples = all.samples.max(sum.samples);
                all.span = Span { from: all.span.from.min(sum.span.from), to: all.span.to.max(sum.span.to) };
            }
        }
        let covered = if filter.capture.is_none() { profile.covered(&types) } else { Vec::new() };
        let mut stretches = Vec::new();
        for (capture, sum) in sums {
            let mut spans = self.sampled(capture, &sum);
            let is_timed = sum.span.len_ns() > 1 || sum.samples == 1;
            if !is_timed {
                // All or nothing of it was selected.
                let is_in = |s: &Span| s.contains(sum.span.from) || s.to == sum.span.from;
                let meant = filter.span.is_none_or(|s| s.contains(sum.span.from))
                    && filter.within.as_deref().is_none_or(|w| super::is_within(w, sum.span.from) != filter.outside);
                spans.retain(|s| meant && is_in(s));
            } else {
                if capture == CaptureId::RECORDER {
                    spans = without(&spans, &covered);
                }
                if let Some(chosen) = filter.span {
                    spans = both(&spans, &[chosen]);
                }
                if let Some(within) = &filter.within {
                    spans = if filter.outside { without(&spans, within) } else { both(&spans, within) };
                }
            }
            stretches.extend(spans.into_iter().map(|span| Stretch { capture, span, is_timed }));
        }
        stretches
    }

    /// When a capture sampled, in order and apart: as it told, or where it told nothing of it, from its
    /// first sample to its last.
    fn sampled(&self, id: CaptureId, sum: &CaptureSum) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut since = None;
        for news in self.captures.get(&id).into_iter().flatten() {
            match &news.state {
                // Told again when it goes on in another way.
                CaptureState::Sampling { .. } => {
                    since.get_or_insert(news.at);
                }
                CaptureState::Reading => {}
                CaptureState::Done { span, .. } => {
                    spans.push(*span);
                    since = None;
                }
                // The flight recorder's samples up to then are there.
                CaptureState::Failed { .. } => spans.extend(since.take().map(|from| Span { from, to: news.at })),
            }
        }
        // It is sampling still, or nobody told its end. A capture's last sample is the last that is known of
        // it; the flight recorder goes on to the session's end, and gives what it has every second.
        let known = match (id, &self.closing) {
            (CaptureId::RECORDER, Some(_)) => self.end,
            (CaptureId::RECORDER, None) => At(self.end.0.saturating_sub(LATEST_NS)),
            _ => At::START,
        };
        let to = sum.span.to.max(known);
        if let Some(at) = since.filter(|at| *at < to) {
            let from = if spans.is_empty() { at.min(sum.span.from) } else { at };
            spans.push(Span { from, to });
        }
        if spans.iter().all(|s| s.is_empty()) {
            return vec![sum.span];
        }
        // Several sources may serve one capture, each telling its own stretch. The flight recorder is told
        // again when it begins anew.
        match self.profile.own_stretch(id, sum.span).filter(|_| id != CaptureId::RECORDER) {
            Some(own) => vec![own],
            None => Span::joined(spans),
        }
    }
}

/// What lies in one of `a` and in one of `b`; each in order and apart.
fn both(a: &[Span], b: &[Span]) -> Vec<Span> {
    let (mut n, mut m, mut found) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(n), b.get(m)) {
        let span = Span { from: x.from.max(y.from), to: x.to.min(y.to) };
        if span.from < span.to {
            found.push(span);
        }
        if x.to <= y.to { n += 1 } else { m += 1 }
    }
    found
}

/// What lies in one of `a` and in none of `b`; each in order and apart.
fn without(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut rest = vec![Span { from: At::START, to: b.first().map_or(At(u64::MAX), |s| s.from) }];
    for (n, span) in b.iter().enumerate() {
        rest.push(Span { from: span.to, to: b.get(n + 1).map_or(At(u64::MAX), |next| next.from) });
    }
    both(a, &rest)
}

#[cfg(test)]
mod tests {
    use super::super::tests::batch;
    use super::*;
    use crate::model::{CaptureNews, Closing, Event, Mark, MarkKind};

    fn span(from: u64, to: u64) -> Span {
        Span { from: At(from), to: At(to) }
    }

    fn sampling(at: u64, id: u32) -> Event {
        let state = CaptureState::Sampling { for_ns: 1, hz: 99, how: "x".into() };
        Event::Capture(CaptureNews { at: At(at), id: CaptureId(id), state })
    }

    fn done(id: u32, from: u64, to: u64) -> Event {
        let state = CaptureState::Done { span: span(from, to), samples: 1, lost: 0, notes: vec![] };
        Event::Capture(CaptureNews { at: At(to + 1), id: CaptureId(id), state })
    }

    fn stacks(capture: u32, times: &[u64]) -> Event {
        let samples: Vec<_> = times.iter().map(|&at| (at, 1, "x", "a", 10)).collect();
        Event::Stacks(batch(capture, "ns", &samples))
    }

    fn told(t: &Timeline, filter: &StackFilter) -> Vec<(u32, u64, u64)> {
        t.observed(filter).iter().map(|s| (s.capture.0, s.span.from.0, s.span.to.0)).collect()
    }

    #[test]
    fn what_was_observed_is_what_the_captures_sampled_and_the_recorder_between() {
        let mut t = Timeline::new();
        assert_eq!(t.observed(&StackFilter::default()), []);
        t.apply(&sampling(5, 0));
        t.apply(&stacks(0, &[10, 30, 90]));
        t.apply(&done(1, 35, 50));
        t.apply(&stacks(1, &[36, 45]));
        let all = StackFilter::default();
        // The recorder has told no end: to its last sample. The capture counts in 35..50 in its place.
        assert_eq!(told(&t, &all), [(0, 5, 35), (0, 50, 91), (1, 35, 50)]);
        let recorder = StackFilter { capture: Some(CaptureId::RECORDER), ..all.clone() };
        assert_eq!(told(&t, &recorder), [(0, 5, 91)]);
        let some = StackFilter { span: Some(span(40, 60)), ..all.clone() };
        assert_eq!(told(&t, &some), [(0, 50, 60), (1, 40, 50)]);
        assert_eq!(told(&t, &StackFilter { span: Some(span(200, 300)), ..all.clone() }), []);
        let within: std::sync::Arc<[Span]> = vec![span(0, 10), span(44, 48)].into();
        let inside = StackFilter { within: Some(within), ..all.clone() };
        assert_eq!(told(&t, &inside), [(0, 5, 10), (1, 44, 48)]);
        let outside = StackFilter { outside: true, span: Some(span(0, 50)), ..inside };
        assert_eq!(told(&t, &outside), [(0, 10, 35), (1, 35, 44), (1, 48, 50)]);
        assert_eq!(told(&t, &StackFilter { event: Some("cycles".into()), ..all }), []);
    }

    #[test]
    fn a_recorder_that_paused_observed_nothing_meanwhile() {
        let mut t = Timeline::new();
        for event in [sampling(0, 0), done(0, 0, 40), sampling(60, 0), done(0, 60, 100), stacks(0, &[10, 30, 70])] {
            t.apply(&event);
        }
        assert_eq!(told(&t, &StackFilter::default()), [(0, 0, 40), (0, 60, 100)]);
    }

    #[test]
    fn a_recorder_is_on_until_it_fails_or_the_session_ends_however_idle_its_process() {
        let mut t = Timeline::new();
        let failed = CaptureState::Failed { what: "gone".into(), mend: None };
        let failed = Event::Capture(CaptureNews { at: At(50), id: CaptureId::RECORDER, state: failed });
        let s = 1_000_000_000;
        // Told twice, since a process more is sampled from 20 on.
        for event in [sampling(5, 0), sampling(20, 0), stacks(0, &[30]), failed, sampling(s, 0), stacks(0, &[2 * s])] {
            t.apply(&event);
        }
        assert_eq!(told(&t, &StackFilter::default()), [(0, 5, 50), (0, s, 2 * s + 1)]);
        t.apply(&Event::Mark(Mark { at: At(9 * s), kind: MarkKind::User, label: String::new() }));
        assert_eq!(told(&t, &StackFilter::default()), [(0, 5, 50), (0, s, 7 * s)], "its last samples may be to come");
        t.apply(&Event::Closing(Closing { at: At(9 * s), why: "done".into() }));
        assert_eq!(told(&t, &StackFilter::default()), [(0, 5, 50), (0, s, 9 * s)]);
    }

    #[test]
    fn each_source_of_a_capture_has_the_stretch_it_told() {
        let mut t = Timeline::new();
        for event in [done(1, 0, 100), done(1, 50, 105), stacks(1, &[10, 90])] {
            t.apply(&event);
        }
        t.apply(&Event::Stacks(batch(1, "bytes", &[(105, 1, "x", "a", 10), (105, 1, "x", "b", 5)])));
        let of = |event: &str| told(&t, &StackFilter { event: Some(event.into()), ..StackFilter::default() });
        assert_eq!((of("cpu-clock"), of("bytes")), (vec![(1, 0, 100)], vec![(1, 50, 105)]));
    }

    #[test]
    fn samples_of_one_instant_are_all_of_their_stretch() {
        let mut t = Timeline::new();
        t.apply(&done(1, 100, 900));
        t.apply(&stacks(1, &[900, 900]));
        let of = |from, to| t.observed(&StackFilter { span: Some(span(from, to)), ..StackFilter::default() });
        let whole = Stretch { capture: CaptureId(1), span: span(100, 900), is_timed: false };
        assert_eq!((of(850, 1000), of(0, 850)), (vec![whole], vec![]));
        assert_eq!(whole.in_whole_slots(&LoadTrack::default()), Some(whole));
    }

    #[test]
    fn whole_slots_lie_inside() {
        let tick = crate::model::Interval::TICK_NS;
        let of = |from, to| {
            let s = Stretch { capture: CaptureId(1), span: span(from, to), is_timed: true };
            s.in_whole_slots(&LoadTrack::default()).map(|s| (s.span.from.0, s.span.to.0))
        };
        assert_eq!(of(1, 3 * tick + 7), Some((tick, 3 * tick)));
        assert_eq!(of(tick, 2 * tick), Some((tick, 2 * tick)));
        assert_eq!(of(1, 2 * tick - 1), None);
        assert_eq!(of(0, u64::MAX), Some((0, u64::MAX / tick * tick)));
    }
}
