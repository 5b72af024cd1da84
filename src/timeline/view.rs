//! A [`View`]: the timeline as seen from one cursor with one selection. Panes, rules and
//! reports read through it, so that all of them speak of the same stretch.
//!
//! Must not: change anything.

use super::Timeline;
use super::stacks::{Pattern, Ring, StackFilter};
use crate::model::{At, Span};
use std::sync::Arc;

/// Where on the time axis one looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// At the latest event, moving with it.
    #[default]
    Follow,
    /// At this instant.
    Pinned(At),
}

/// What all panes are narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A stretch of time.
    pub span: Option<Span>,
    /// A route.
    pub route: Option<Arc<str>>,
    /// A process, by its id.
    pub process: Option<u32>,
    /// A CPU.
    pub cpu: Option<u32>,
    /// Threads of this name.
    pub thread: Option<Arc<str>>,
    /// A symbol, or parts of names as [`Pattern`] has them: stacks that hold one.
    pub symbol: Option<String>,
    /// Stacks that end in the kernel, or in user space.
    pub ring: Option<Ring>,
    /// When requests with such response times were under way.
    pub band: Option<Band>,
}

/// Response times from one to another: cells of a heat map of latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The shortest, ns.
    pub low_ns: u64,
    /// The longest, ns; `u64::MAX` for no bound.
    pub high_ns: u64,
}

impl Band {
    /// Whether a response time lies in it.
    pub fn contains(self, ns: u64) -> bool {
        (self.low_ns..=self.high_ns).contains(&ns)
    }
}

/// The timeline seen from a cursor with a selection.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What is looked at.
    pub timeline: &'a Timeline,
    /// From where.
    pub cursor: Cursor,
    /// Narrowed to what.
    pub selection: &'a Selection,
    /// How much time the axes show, ns.
    pub window_ns: u64,
}

impl<'a> View<'a> {
    /// The instant at the right edge.
    pub fn now(&self) -> At {
        match self.cursor {
            Cursor::Follow => self.timeline.end(),
            Cursor::Pinned(at) => at,
        }
    }

    /// The stretch the time axes show. Its length is constant, so that a chart fills from
    /// the right instead of changing its scale: `from` may be 0 while `to` is less than the
    /// window.
    pub fn window(&self) -> Span {
        Span::ending(self.now(), self.window_ns)
    }

    /// The stretch that sums, percentiles and profiles are of: what is selected, else what
    /// the axes show.
    pub fn focus(&self) -> Span {
        self.selection.span.unwrap_or_else(|| self.window())
    }

    /// The stretch that present values (rates, CPU shares) are of: what is selected, else
    /// the second before now.
    pub fn recent(&self) -> Span {
        self.selection.span.unwrap_or_else(|| Span::ending(self.now(), 1_000_000_000))
    }

    /// The stretch of present load values: like [`View::recent`], but ending where load is
    /// known, so that a tick under way does not read as a dip. Load that ended more than a
    /// second ago is not present: nothing is known of the stretch then.
    pub fn recent_load(&self) -> Span {
        self.selection.span.unwrap_or_else(|| {
            let tick = crate::model::Interval::TICK_NS;
            // Workers hand over within a fraction of a tick; the slot before it is whole.
            let whole = At(self.now().0.saturating_sub(tick / 2) / tick * tick);
            let known = self.timeline.load().known_until();
            let end = if whole.since_ns(known) <= 1_000_000_000 { whole.min(known) } else { whole };
            Span::ending(end, 1_000_000_000)
        })
    }

    /// Which samples the selection means. `window`: the stretch when no time is selected; `None` for
    /// all there are. `rest`: those that it does not mean, of the same processes, CPUs and symbols:
    /// the other times of the session, or of the stretch when a band of response times is selected.
    pub fn stack_filter(&self, window: Option<Span>, rest: bool) -> StackFilter {
        let s = self.selection;
        let stretch = s.span.or(window);
        let mut filter = StackFilter {
            span: stretch,
            cpu: s.cpu,
            pid: s.process,
            comm: s.thread.as_deref().map(str::to_owned),
            symbol: s.symbol.as_deref().map(Pattern::new),
            ring: s.ring,
            outside: rest,
            ..StackFilter::default()
        };
        if let Some(band) = s.band {
            let whole = stretch.unwrap_or_else(|| self.timeline.whole());
            filter.within = Some(self.timeline.load().under_way(whole, band).into());
        } else if rest {
            filter.within = Some(stretch.into_iter().collect());
            filter.span = None;
        }
        filter
    }

    /// The instant that gauges (sockets, memory) are of: the end of what is selected, else
    /// now.
    pub fn instant(&self) -> At {
        self.selection.span.map_or_else(|| self.now(), |s| s.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Mark};

    #[test]
    fn one_cursor_and_one_selection_decide_every_stretch() {
        let mut t = Timeline::new();
        t.apply(&Event::Mark(Mark { at: At(90_000_000_000), kind: Default::default(), label: "x".into() }));
        let none = Selection::default();
        let v = View { timeline: &t, cursor: Cursor::Follow, selection: &none, window_ns: 60_000_000_000 };
        assert_eq!(v.window(), Span { from: At(30_000_000_000), to: At(90_000_000_000) });
        assert_eq!(v.recent().secs(), 1.0);
        let v = View { cursor: Cursor::Pinned(At(5)), ..v };
        assert_eq!(v.window(), Span { from: At(0), to: At(5) });
        let chosen = Selection { span: Some(Span { from: At(1), to: At(2) }), ..Selection::default() };
        let v = View { selection: &chosen, ..v };
        assert_eq!((v.focus(), v.recent(), v.instant()), (chosen.span.unwrap(), chosen.span.unwrap(), At(2)));
    }
}
