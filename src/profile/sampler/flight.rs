//! The flight recorder's thread: drains, thins out, keeps, and serves captures.
//!
//! One event per CPU serves both streams: it samples densely (see `density`), and evenly picked ones of a CPU's samples
//! (all, where the kernel allows no more) go into the thin stream with the weight of all. So the sums of both agree, and
//! the timer costs once.
//!
//! Must not: wait for the channel's reader, or keep more than its bounds.

use super::built_in::BATCH;
use super::density::dense_hz;
use super::quality::Tally;
use super::recorder::{Order, RecorderRequest, Signs};
use super::{Sampling, Taken, join_idle};
use crate::clock::Clock;
use crate::model::{At, CaptureId, CaptureNews, CaptureState, Event, Span};
use crate::profile::jit::MapJobs;
use crate::profile::{Obstacle, Plan, inspect_built_in};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

/// How often the thin stream is sent.
const EVERY: Duration = Duration::from_secs(1);
/// Samples kept densely at the most, and waiting of the thin stream.
const MOST_DENSE: usize = 1_000_000;
const MOST_THIN: usize = 100_000;
/// Places named after each drain while a capture runs.
const NAMED_AHEAD: usize = 500;
/// How long the target's processes may stay unknown before that is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the reader has at the end of a run.
const LAST_TURN: Duration = Duration::from_millis(5);
const LAST_TURNS: usize = 100;
/// How often the list of CPUs is looked at.
const CPUS_EVERY: Duration = Duration::from_secs(10);

/// Events on their way, in order; never waits.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    out: SyncSender<Event>,
    waiting: VecDeque<Event>,
    signs: Arc<Signs>,
}

impl Outbox {
    pub(super) fn new(out: SyncSender<Event>, signs: Arc<Signs>) -> Outbox {
        Outbox { out, waiting: VecDeque::new(), signs }
    }

    pub(super) fn news(&mut self, at: At, id: CaptureId, state: CaptureState) {
        self.send(Event::Capture(CaptureNews { at, id, state }));
    }

    pub(super) fn send(&mut self, event: Event) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Sends what is left, the reader having some time to take it.
    pub(super) fn end(&mut self) {
        for _ in 0..LAST_TURNS {
            if self.flush() {
                return;
            }
            std::thread::sleep(LAST_TURN);
        }
        self.flush();
    }

    /// Sends what there is room for; whether nothing waits any more.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(event) = self.waiting.pop_front() {
            let last = matches!(&event, Event::Capture(CaptureNews { id, state, .. }) if *id != CaptureId::RECORDER
                && matches!(state, CaptureState::Done { .. } | CaptureState::Failed { .. }));
            match self.out.try_send(event) {
                Err(TrySendError::Full(back)) => {
                    self.waiting.push_front(back);
                    return false;
                }
                // Nobody listens any more: as good as sent.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            }
            if last {
                // Saturating: a fault of ours may have set it to 0 before.
                let _ = self.signs.under_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            }
        }
        true
    }
}

/// Picks as many of each CPU's samples as the thin stream has, evenly, with the weight of all since the last.
#[derive(Debug)]
struct Thinning {
    thin_hz: u32,
    dense_hz: u32,
    /// How far the next one is, in parts of `dense_hz`, and the weight since the last.
    by_cpu: HashMap<u32, (u64, u64)>,
}

impl Thinning {
    /// All of them where no more than the thin stream has are taken.
    fn new(thin_hz: u32, dense_hz: u32) -> Thinning {
        let dense_hz = dense_hz.max(1);
        Thinning { thin_hz: thin_hz.clamp(1, dense_hz), dense_hz, by_cpu: HashMap::new() }
    }

    fn pick(&mut self, taken: &Taken) -> Option<Taken> {
        let (passed, weight) = self.by_cpu.entry(taken.cpu).or_default();
        *passed += u64::from(self.thin_hz);
        *weight = weight.saturating_add(taken.weight);
        *passed = passed.checked_sub(u64::from(self.dense_hz))?;
        Some(Taken { weight: std::mem::take(weight), ..taken.clone() })
    }

    /// How many of the thin stream so many stand for.
    fn thinned(&self, dense: u64) -> u64 {
        let thin = u128::from(dense) * u128::from(self.thin_hz);
        u64::try_from(thin.div_ceil(u128::from(self.dense_hz))).unwrap_or(u64::MAX)
    }

    /// How many were taken for so many of the thin stream.
    fn dense(&self, thin: u64) -> u64 {
        thin.saturating_mul(u64::from(self.dense_hz)) / u64::from(self.thin_hz)
    }
}

/// How many samples were lost until when.
#[derive(Debug, Default)]
struct Losses(VecDeque<(At, u64)>);

impl Losses {
    fn note(&mut self, at: At, lost: u64) {
        if lost > 0 {
            self.0.push_back((at, lost));
        }
    }

    fn forget_before(&mut self, at: At) {
        self.0.retain(|(until, _)| *until >= at);
    }

    /// Lost in a stretch that ends now. What was lost across its beginning counts as a whole.
    fn since(&self, from: At) -> u64 {
        self.0.iter().filter(|(until, _)| *until >= from).fold(0, |n, (_, lost)| n.saturating_add(*lost))
    }
}

/// A capture under way.
#[derive(Debug)]
struct Under {
    id: CaptureId,
    span: Span,
    /// Samples that were lost in it, when sampling is over.
    lost: u64,
    /// Java processes are writing their maps; sampling is over.
    maps: Option<MapJobs>,
}

/// What the recorder samples with at present.
#[derive(Debug)]
struct Running {
    sampling: Sampling,
    plan: Plan,
    since: At,
    thinning: Thinning,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Flight {
    request: RecorderRequest,
    clock: Clock,
    outbox: Outbox,
    signs: Arc<Signs>,
    running: Option<Running>,
    /// Why nothing is sampled.
    obstacle: Option<Obstacle>,
    /// When that is told.
    tell_at: Option<At>,
    dense: VecDeque<Taken>,
    /// As far back as the dense ones are kept.
    losses: Losses,
    thin: Vec<Taken>,
    /// Dense samples that were lost since the last batch of the thin stream.
    lost: u64,
    thin_due: At,
    cpus_due: At,
    under: Option<Under>,
}

impl Flight {
    pub(super) fn new(request: RecorderRequest, clock: Clock, outbox: Outbox, signs: Arc<Signs>) -> Flight {
        let now = clock.now();
        Flight {
            request,
            clock,
            outbox,
            signs,
            running: None,
            obstacle: None,
            tell_at: None,
            dense: VecDeque::new(),
            losses: Losses::default(),
            thin: Vec::new(),
            lost: 0,
            thin_due: now + EVERY,
            cpus_due: now + CPUS_EVERY,
            under: None,
        }
    }

    /// Records until nobody can give orders any more.
    pub(super) fn run(&mut self, orders: &Receiver<Order>) {
        self.open();
        loop {
            match orders.recv_timeout(self.wait()) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.step();
        }
        self.cancel();
        self.drain();
        self.send_thin();
        self.outbox.end();
    }

    /// How long nothing is to be done.
    fn wait(&self) -> Duration {
        let usual = self.running.as_ref().map_or(EVERY, |r| r.sampling.interval());
        match &self.under {
            Some(Under { maps: Some(_), .. }) => crate::profile::jit::GLANCE,
            // Until the end of the capture, and its last samples are in the rings.
            Some(under) => {
                let left = under.span.to.since_ns(self.clock.now()) + 2 * super::MARGIN_NS;
                usual.min(Duration::from_nanos(left))
            }
            None if !self.outbox.waiting.is_empty() => usual.min(Duration::from_millis(50)),
            None => usual,
        }
    }

    /// Begins to sample, or samples anew with what is asked for now.
    fn open(&mut self) {
        // By the tables they were taken with, which are gone when the new ones can't be had.
        self.send_thin();
        let around = &self.request.around;
        let plan = inspect_built_in(around).plan(around, &self.request.pids, self.request.want);
        let opened = plan.and_then(|plan| {
            let thin_hz = self.request.hz.max(1);
            let dense_hz = self.request.dense_hz.unwrap_or_else(|| dense_hz(thin_hz, plan.event)).max(thin_hz);
            let (sampling, since) = match self.running.take() {
                Some(Running { mut sampling, since, .. }) => {
                    sampling.reopen(&plan, dense_hz)?;
                    (sampling, since)
                }
                None => {
                    let sampling = Sampling::open(&plan, dense_hz, &around.root, self.clock.origin_monotonic_ns())?;
                    (sampling, self.clock.now())
                }
            };
            // The kernel may allow fewer than were asked for.
            let thinning = Thinning::new(self.request.hz, sampling.events.hz);
            Ok(Running { sampling, plan, since, thinning })
        });
        match opened {
            Ok(running) => {
                let hz = running.thinning.thin_hz;
                let how = running.sampling.how();
                self.running = Some(running);
                (self.obstacle, self.tell_at) = (None, None);
                self.signs.sampling.store(true, Ordering::SeqCst);
                let state = CaptureState::Sampling { for_ns: 0, hz, how };
                self.outbox.news(self.clock.now(), CaptureId::RECORDER, state);
            }
            Err(obstacle) => {
                self.signs.sampling.store(false, Ordering::SeqCst);
                // Whom to sample is often known only when the target has answered.
                let wait = if self.request.pids.is_empty() { PATIENCE } else { Duration::ZERO };
                self.tell_at = Some(self.clock.now() + wait);
                self.obstacle = Some(obstacle);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Capture { id, asked, before, after } => self.begin(id, asked, before, after),
            Order::Stop => {
                if let Some(under) = self.under.as_mut().filter(|u| u.maps.is_none()) {
                    under.span.to = under.span.to.min(self.clock.now()).max(under.span.from);
                }
            }
            Order::Cancel => self.cancel(),
            Order::Pids(pids) if pids != self.request.pids => {
                self.request.pids = pids;
                let all = self.running.as_ref().is_some_and(|r| r.plan.scope == crate::profile::Scope::AllCpus);
                if !all {
                    self.drain();
                    self.open();
                }
            }
            Order::Pids(_) => {}
        }
    }

    fn begin(&mut self, id: CaptureId, asked: At, before: Duration, after: Duration) {
        let now = self.clock.now();
        let refuse = |what: &str, mend| CaptureState::Failed { what: what.into(), mend };
        if self.under.is_some() {
            return self.outbox.news(now, id, refuse("a capture is under way; wait for it to end", None));
        }
        let Some(running) = &self.running else {
            let obstacle =
                self.obstacle.clone().unwrap_or_else(|| Obstacle::new("the flight recorder has ended", None));
            return self.outbox.news(now, id, refuse(&obstacle.what, obstacle.mend));
        };
        let before = before.min(self.request.keep);
        let from = Span::ending(asked, u64::try_from(before.as_nanos()).unwrap_or(u64::MAX)).from;
        let (from, to) = (from.max(running.since), (asked + after).max(running.since));
        let span = Span { from, to };
        self.under = Some(Under { id, span, lost: 0, maps: None });
        let for_ns = span.to.since_ns(now);
        let (hz, how) = (running.sampling.events.hz, running.sampling.how());
        self.outbox.news(now, id, CaptureState::Sampling { for_ns, hz, how });
    }

    fn cancel(&mut self) {
        if let Some(under) = self.under.take() {
            let state = CaptureState::Failed { what: "the capture was cancelled".into(), mend: None };
            self.outbox.news(self.clock.now(), under.id, state);
        }
    }

    fn step(&mut self) {
        let now = self.clock.now();
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            if let Some(Obstacle { what, mend }) = self.obstacle.clone() {
                self.outbox.news(now, CaptureId::RECORDER, CaptureState::Failed { what, mend });
            }
        }
        self.drain();
        if now >= self.cpus_due {
            self.cpus_due = now + CPUS_EVERY;
            let changed = |r: &Running| r.sampling.events.cpus != super::events::online(&self.request.around.root);
            if self.running.as_ref().is_some_and(changed) {
                self.open();
            }
        }
        if now >= self.thin_due {
            self.thin_due = now + EVERY;
            // What waits longer is gathered; the reader has a queue to work off.
            if self.outbox.flush() {
                self.send_thin();
            }
        }
        self.outbox.flush();
        self.finish_capture();
    }

    /// Takes what the rings have into both streams.
    fn drain(&mut self) {
        let Some(running) = &mut self.running else { return };
        let now = self.clock.now();
        let (mut batch, thin, thinning) = (Vec::new(), &mut self.thin, &mut running.thinning);
        running.sampling.drain(now, |taken| {
            thin.extend(thinning.pick(&taken));
            batch.push(taken);
        });
        join_idle(&mut batch);
        let lost = running.sampling.take_lost();
        self.lost = self.lost.saturating_add(lost);
        self.losses.note(now, lost);
        if self.under.is_some() {
            running.sampling.name_ahead(&batch, NAMED_AHEAD);
        }
        self.dense.extend(batch);
        let kept_from = Span::ending(now, u64::try_from(self.request.keep.as_nanos()).unwrap_or(u64::MAX)).from;
        let kept_from = self.under.as_ref().map_or(kept_from, |u| u.span.from.min(kept_from));
        let mut given_up = (At::START, 0);
        while self.dense.front().is_some_and(|t| t.at < kept_from) || self.dense.len() > MOST_DENSE {
            if let Some(oldest) = self.dense.pop_front().filter(|t| t.at >= kept_from) {
                given_up = (oldest.at, given_up.1 + 1);
            }
        }
        self.losses.note(given_up.0, given_up.1);
        self.losses.forget_before(kept_from);
        if self.thin.len() > MOST_THIN {
            let over = self.thin.len() - MOST_THIN / 2;
            self.thin.drain(..over);
            self.lost = self.lost.saturating_add(thinning.dense(over as u64));
        }
    }

    fn send_thin(&mut self) {
        let Some(running) = &mut self.running else { return };
        let mut samples = std::mem::take(&mut self.thin);
        let lost = running.thinning.thinned(std::mem::take(&mut self.lost));
        join_idle(&mut samples);
        if samples.is_empty() && lost == 0 {
            return;
        }
        let now = self.clock.now();
        let mut stacks = running.sampling.stacks(CaptureId::RECORDER, now, &samples, &mut Tally::default());
        stacks.lost = lost;
        self.outbox.send(Event::Stacks(stacks));
    }

    /// Ends the capture whose time is over.
    fn finish_capture(&mut self) {
        let Some(under) = &self.under else { return };
        let now = self.clock.now();
        if now.0 < under.span.to.0.saturating_add(super::MARGIN_NS) {
            return;
        }
        if self.running.is_none() {
            return self.cancel();
        }
        if under.maps.is_none() {
            self.outbox.news(now, under.id, CaptureState::Reading);
            // What was drained before may end before the capture does.
            self.drain();
            let (Some(running), Some(under)) = (&self.running, &mut self.under) else { return };
            let span = under.span;
            let samples: Vec<Taken> = self.dense.iter().filter(|t| span.contains(t.at)).cloned().collect();
            under.lost = self.losses.since(span.from);
            under.maps = Some(MapJobs::start(running.sampling.jvms(&samples)));
        }
        if self.under.as_ref().and_then(|u| u.maps.as_ref()).is_some_and(MapJobs::is_finished)
            && let Some(under) = self.under.take()
        {
            self.send_capture(under);
        }
    }

    fn send_capture(&mut self, under: Under) {
        let Some(running) = &mut self.running else { return };
        let Under { id, span, lost, maps } = under;
        let samples: Vec<Taken> = self.dense.iter().filter(|t| span.contains(t.at)).cloned().collect();
        let mut notes = running.plan.notes.clone();
        notes.extend(maps.map(MapJobs::end).unwrap_or_default());
        if samples.is_empty() {
            let obstacle = crate::profile::capture::nothing_sampled(&running.plan.scope, span, lost, false);
            let state = CaptureState::Failed { what: obstacle.what, mend: obstacle.mend };
            return self.outbox.news(self.clock.now(), id, state);
        }
        // Maps were written since they were looked for.
        running.sampling.symbols.next_turn();
        let (mut tally, mut left) = (Tally::default(), lost);
        for part in samples.chunks(BATCH) {
            let mut stacks = running.sampling.stacks(id, self.clock.now(), part, &mut tally);
            stacks.lost = std::mem::take(&mut left);
            self.outbox.send(Event::Stacks(stacks));
        }
        notes.extend(tally.notes(lost));
        let state = CaptureState::Done { span, samples: tally.samples, lost, notes };
        self.outbox.news(self.clock.now(), id, state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::taken;
    use super::*;
    use crate::model::{Mark, MarkKind};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn samples_are_picked_evenly_and_all_are_where_the_kernel_allows_no_more() {
        let picked = |thin_hz, dense_hz, of: u64| -> Vec<(u64, u64)> {
            let mut thinning = Thinning::new(thin_hz, dense_hz);
            let all = (0..of).map(|n| taken(n, 0, 7, 10));
            all.filter_map(|t| thinning.pick(&t)).map(|t| (t.at.0, t.weight)).collect()
        };
        assert_eq!(picked(2, 3, 7), [(1, 20), (2, 10), (4, 20), (5, 10)]);
        assert_eq!(picked(49, 61, 6100).len(), 4900);
        assert_eq!(picked(49, 20, 100).len(), 100);
        let thinning = Thinning::new(49, 61);
        assert_eq!(
            (thinning.thinned(61), thinning.thinned(1), thinning.thinned(0), thinning.dense(98)),
            (49, 1, 0, 122)
        );
    }

    #[test]
    fn the_thin_stream_has_every_nth_sample_of_a_cpu_and_all_the_weight() {
        let mut thinning = Thinning::new(10, 40);
        let all: Vec<Taken> = (0..40).map(|n| taken(n, (n % 2) as u32, 7, 10 + n)).collect();
        let picked: Vec<Taken> = all.iter().filter_map(|t| thinning.pick(t)).collect();
        assert_eq!(picked.len(), 10);
        assert_eq!(picked.iter().map(|t| t.weight).sum::<u64>(), all.iter().map(|t| t.weight).sum::<u64>());
        assert_eq!((picked[0].at, picked[0].cpu, picked[0].weight), (At(6), 0, 10 + 12 + 14 + 16));
    }

    #[test]
    fn what_was_lost_before_the_key_is_in_the_captures_count() {
        let mut losses = Losses::default();
        [(10, 3), (20, 0), (30, 5), (40, u64::MAX)].iter().for_each(|&(at, n)| losses.note(At(at), n));
        assert_eq!((losses.0.len(), losses.since(At(31))), (3, u64::MAX));
        losses.0.pop_back();
        assert_eq!((losses.since(At(5)), losses.since(At(10)), losses.since(At(11))), (8, 8, 5));
        losses.forget_before(At(11));
        assert_eq!((losses.since(At(0)), losses.0.len()), (5, 1));
    }

    fn mark(n: u64) -> Event {
        Event::Mark(Mark { at: At(n), kind: MarkKind::User, label: String::new() })
    }

    #[test]
    fn a_full_channel_is_not_waited_for_and_keeps_the_order() {
        let (out, events) = sync_channel(2);
        let signs = Arc::new(Signs::default());
        let mut outbox = Outbox::new(out, signs.clone());
        signs.under_way.store(1, Ordering::SeqCst);
        (0..5).for_each(|n| outbox.send(mark(n)));
        let end = CaptureState::Failed { what: String::new(), mend: None };
        outbox.news(At(5), CaptureId::RECORDER, end.clone());
        outbox.news(At(6), CaptureId(1), end);
        let mut seen = Vec::new();
        while !outbox.flush() {
            assert_eq!(signs.under_way.load(Ordering::SeqCst), 1, "its last news is not sent yet");
            seen.extend(events.try_iter().map(|e| e.at().0));
        }
        seen.extend(events.try_iter().map(|e| e.at().0));
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(signs.under_way.load(Ordering::SeqCst), 0);
        drop(events);
        outbox.send(mark(7));
        assert!(outbox.waiting.is_empty());
    }
}
