//! The thread of the watch: ends turns, keeps what they brought, thins it out, serves captures.
//!
//! Must not: wait for the channel's reader, or keep more than its bounds.

use super::naming::ByMarker;
use super::sight::{HZ, LOOK, Sight, Way};
use super::waits::{Kind, Wait};
use super::{OffCpuRequest, PLACE, classes};
use crate::clock::Clock;
use crate::model::{At, CaptureId, CaptureState, Event, Fault, Span};
use crate::profile::Obstacle;
use crate::profile::sampler::flight::Outbox;
use crate::profile::sampler::recorder::Order;
use crate::profile::sampler::{MARGIN_NS, built_in::BATCH, events::MOST_SWITCHES};
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long the target's processes may stay unknown before perfbench itself is watched.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a turn is.
const TURN: Duration = Duration::from_secs(1);
/// Waits kept at the most, 100 bytes each.
const MOST: usize = 500_000;
/// Samples of the thin stream that may wait for a busy reader.
const MOST_WAITING: usize = 50_000;

struct Under {
    id: CaptureId,
    span: Span,
    lost: u64,
    floods: u32,
}

/// See the top of the file.
pub(super) struct Watcher {
    request: OffCpuRequest,
    clock: Clock,
    outbox: Outbox,
    sight: Option<Sight>,
    /// When the thread did, and when it was opened.
    began: At,
    since: At,
    kept: VecDeque<(Way, Wait)>,
    thin: Vec<(Way, Wait)>,
    turn_due: At,
    /// When turns began.
    turns: VecDeque<At>,
    under: Option<Under>,
    /// What was told of what is in the way.
    told: Option<Obstacle>,
}

impl Watcher {
    pub(super) fn new(request: OffCpuRequest, clock: Clock, outbox: Outbox) -> Watcher {
        let now = clock.now();
        Watcher {
            request,
            clock,
            outbox,
            sight: None,
            began: now,
            since: now,
            kept: VecDeque::new(),
            thin: Vec::new(),
            turn_due: now + TURN,
            turns: VecDeque::new(),
            under: None,
            told: None,
        }
    }

    /// Watches until nobody can give orders any more.
    pub(super) fn run(&mut self, orders: &Receiver<Order>) {
        if self.request.throughout && !self.request.pids.is_empty() {
            self.open();
        }
        loop {
            match orders.recv_timeout(self.pause()) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.step();
        }
        self.close_turn();
        self.send_thin();
        self.outbox.end();
    }

    /// Whose waits are meant.
    fn pids(&self) -> Vec<u32> {
        if self.request.pids.is_empty() { vec![std::process::id()] } else { self.request.pids.clone() }
    }

    fn open(&mut self) {
        let least = u64::try_from(self.request.least.as_nanos()).unwrap_or(u64::MAX);
        let sight = Sight::open(&self.request.around, &self.pids(), least, &self.clock);
        self.since = self.clock.now();
        self.turn_due = self.since + TURN;
        self.sight = Some(sight);
        self.tell();
    }

    /// Says once what keeps it from seeing all.
    fn tell(&mut self) {
        let why = self.sight.as_ref().and_then(|s| s.why.clone());
        if why.is_some() && why != self.told {
            let Obstacle { what, mend } = why.clone().unwrap_or_else(|| Obstacle::new("", None));
            let what = format!("off-CPU time by looks at /proc only: {what}");
            let fault = Fault { at: self.clock.now(), place: PLACE.into(), what, mend };
            self.outbox.send(Event::Fault(fault));
        }
        self.told = why;
    }

    fn pause(&self) -> Duration {
        let Some(sight) = &self.sight else { return TURN };
        let usual = sight.interval().min(TURN);
        match &self.under {
            Some(under) => {
                let left = under.span.to.since_ns(self.clock.now()) + 2 * MARGIN_NS;
                usual.min(Duration::from_nanos(left))
            }
            None => usual,
        }
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::Capture { id, asked, before, after } => {
                if self.sight.is_none() {
                    self.open();
                }
                let before = u64::try_from(before.min(self.request.keep).as_nanos()).unwrap_or(u64::MAX);
                self.close_turn();
                // What it took to open is not lost.
                let now = self.clock.now();
                let from = Span::ending(asked, before).from;
                // Whole turns, as the thin stream is of such: no time counts in both. The one that was
                // just ended is not meant when nothing of before is, however late this thread came to it.
                let is_meant = |t: &&At| before == 0 || **t <= from;
                let from = self.turns.iter().rev().find(is_meant).copied().unwrap_or(self.since);
                self.under = Some(Under { id, span: Span { from, to: now + after }, lost: 0, floods: 0 });
            }
            Order::Stop => {
                if let Some(under) = &mut self.under {
                    under.span.to = under.span.to.min(now).max(under.span.from);
                }
            }
            Order::Cancel => self.under = None,
            Order::Pids(pids) if pids != self.request.pids => {
                self.request.pids = pids;
                let pids = self.pids();
                if let Some(sight) = &mut self.sight {
                    sight.set_pids(&pids, now);
                }
                self.tell();
            }
            Order::Pids(_) => {}
        }
    }

    fn step(&mut self) {
        let now = self.clock.now();
        // The target is known when it has answered; until then nobody is taken for it.
        let known = !self.request.pids.is_empty() || now >= self.began + PATIENCE;
        if self.request.throughout && self.sight.is_none() && known {
            self.open();
        }
        if let Some(sight) = &mut self.sight {
            sight.step(now);
            if now >= self.turn_due || sight.is_flooded() {
                self.close_turn();
                self.tell();
                if self.outbox.flush() {
                    self.send_thin();
                }
            }
        }
        self.outbox.flush();
        if self.under.as_ref().is_some_and(|u| now.0 >= u.span.to.0.saturating_add(2 * MARGIN_NS)) {
            self.send_capture();
        }
    }

    /// Keeps what this turn has brought.
    fn close_turn(&mut self) {
        let Some(sight) = &mut self.sight else { return };
        let now = self.clock.now();
        sight.step(now);
        let flood = sight.is_flooded();
        // As it was during the turn.
        let way = if flood { Way::Recorded } else { sight.way };
        let waits = sight.close(now);
        self.turns.push_back(At(now.0.saturating_sub(MARGIN_NS)));
        let lost = std::mem::take(&mut sight.lost);
        self.turn_due = now + TURN;
        if let Some(under) = &mut self.under {
            under.lost += lost;
            under.floods += u32::from(flood || way == Way::Sampled);
        }
        if self.request.throughout {
            self.thin.extend(together(&waits).into_iter().map(|w| (way, w)));
            let over = self.thin.len().saturating_sub(MOST_WAITING);
            self.thin.drain(..over);
        }
        self.kept.extend(waits.into_iter().map(|w| (way, w)));
        let keep = u64::try_from(self.request.keep.as_nanos()).unwrap_or(u64::MAX);
        let from = Span::ending(now, keep).from;
        let from = self.under.as_ref().map_or(from, |u| u.span.from.min(from));
        while self.turns.get(1).is_some_and(|second| *second <= from) {
            self.turns.pop_front();
        }
        // A wait that began before may reach into what is kept: it ends within a turn.
        while self.kept.front().is_some_and(|(_, w)| w.at + TURN < from) || self.kept.len() > MOST {
            if self.kept.pop_front().is_some_and(|(_, w)| w.at >= from)
                && let Some(under) = &mut self.under
            {
                under.lost += 1;
            }
        }
    }

    fn send_thin(&mut self) {
        let Some(sight) = &mut self.sight else { return };
        let waits = std::mem::take(&mut self.thin);
        for stacks in sight.stacks(CaptureId::RECORDER, self.clock.now(), &waits, &mut ByMarker::new()) {
            self.outbox.send(Event::Stacks(stacks));
        }
    }

    fn send_capture(&mut self) {
        self.close_turn();
        let Some(under) = self.under.take() else { return };
        let Some(sight) = &mut self.sight else { return };
        let waits: Vec<(Way, Wait)> =
            self.kept.iter().filter_map(|(way, w)| Some((*way, cut(w, under.span)?))).collect();
        let (mut sums, mut left) = (ByMarker::new(), under.lost);
        for part in waits.chunks(BATCH) {
            for mut stacks in sight.stacks(under.id, self.clock.now(), part, &mut sums) {
                stacks.lost = std::mem::take(&mut left);
                self.outbox.send(Event::Stacks(stacks));
            }
        }
        let mut notes = vec![how(sight, under.floods)];
        notes.extend(summary(&sums));
        if under.lost > 0 {
            notes.push(format!("off-CPU: {} records were lost: rings were full", under.lost));
        }
        let (short, short_ns) = sight.waits.short;
        if short > 0 {
            notes.push(format!(
                "off-CPU: since its start {short} waits shorter than {:?}, {} together, are not shown",
                self.request.least,
                shown(short_ns)
            ));
        }
        if sight.waits.passed_over {
            notes.push("off-CPU: not all threads were followed, there are too many".into());
        }
        let samples = waits.len() as u64;
        let state = CaptureState::Done { span: under.span, samples, lost: under.lost, notes };
        self.outbox.news(self.clock.now(), under.id, state);
        if !self.request.throughout {
            self.sight = None;
            self.kept.clear();
        }
    }
}

/// Puts the waits of one turn together that differ in time only.
fn together(waits: &[Wait]) -> Vec<Wait> {
    let mut places: HashMap<(u32, Kind, &super::waits::Place), usize> = HashMap::new();
    let mut sums: Vec<Wait> = Vec::new();
    for wait in waits {
        let n = *places.entry((wait.tid, wait.kind, &wait.place)).or_insert(sums.len());
        match sums.get_mut(n) {
            Some(sum) => {
                sum.weight = sum.weight.saturating_add(wait.weight);
                sum.at = sum.at.min(wait.at);
            }
            None => sums.push(wait.clone()),
        }
    }
    sums
}

/// What of a wait lies in a span.
fn cut(wait: &Wait, span: Span) -> Option<Wait> {
    let end = At(wait.at.0.saturating_add(wait.len_ns));
    let (from, to) = (wait.at.max(span.from), end.min(span.to));
    let ns = to.0.checked_sub(from.0).filter(|ns| *ns > 0)?;
    let weight = u128::from(wait.weight) * u128::from(ns) / u128::from(wait.len_ns.max(1));
    let weight = u64::try_from(weight).unwrap_or(u64::MAX);
    Some(Wait { at: from, len_ns: ns, weight, ..wait.clone() })
}

/// What was seen and how, as shown.
fn how(sight: &Sight, floods: u32) -> String {
    let whose = sight.shown();
    match sight.way {
        Way::Looked => {
            let why = sight.why.as_ref().map_or("", |w| &w.what);
            let mend = sight.why.as_ref().and_then(|w| w.mend.as_ref()).map_or(String::new(), |m| format!("; {m}"));
            format!(
                "off-CPU: {whose}, by {} looks a second at /proc (wchan, schedstat): {why}{mend}",
                1000 / LOOK.as_millis()
            )
        }
        _ if floods > 0 => format!(
            "off-CPU: {whose}, for {floods} s by samples of context switches only ({HZ} Hz) and the kernel's count of each thread's time: there were more than {MOST_SWITCHES}/s per CPU"
        ),
        _ => format!("off-CPU: {whose}, by every context switch, with stacks at up to {HZ} Hz per CPU"),
    }
}

/// The kinds and what they come to.
fn summary(sums: &ByMarker) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, name) in [(Kind::Blocked, "blocked"), (Kind::Runnable, "runnable but not running")] {
        let of_kind = |idle: bool| {
            let of: Vec<(&str, u64)> = sums
                .iter()
                .filter(|((k, marker), _)| *k == kind && classes::is_idle(marker) == idle)
                .map(|((_, marker), ns)| (*marker, *ns))
                .collect();
            (of.iter().map(|(_, ns)| ns).sum::<u64>(), of)
        };
        let ((busy, mut rows), (idle, _)) = (of_kind(false), of_kind(true));
        rows.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        if busy + idle > 0 {
            let rows: Vec<String> =
                rows.iter().take(4).map(|(marker, ns)| format!("{marker} {}", shown(*ns))).collect();
            let rows = if rows.is_empty() { String::new() } else { format!(" ({})", rows.join(", ")) };
            let idle = if idle > 0 { format!(", idle {}", shown(idle)) } else { String::new() };
            lines.push(format!("off-CPU: {name} {}{rows}{idle}", shown(busy)));
        }
    }
    if lines.is_empty() {
        lines.push("off-CPU: no thread waited".into());
    }
    lines
}

fn shown(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} us", ns / 1000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}
