//! What is computed once and drawn many times: sums, columns of charts, flame graph. Kept
//! by what it depends on, so that a redraw costs what is new and not what the session holds.
//!
//! Must not: be filled while drawing.

use super::axis::Axis;
use super::stack_memo::{ProfileLook, StackMemo};
use crate::model::{At, Exemplar, Finding, Interval, Latency, Span};
use crate::timeline::{ClientUse, LoadSum, RouteSum, Timeline, View};
use crate::workbench::Workbench;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the panes on the screen ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// Load by column, over axes of so many columns.
    pub columns: Vec<usize>,
    /// The load by route.
    pub routes: bool,
    /// The slowest requests.
    pub slowest: bool,
    /// The distribution of response times.
    pub shape: bool,
    /// Hot symbols.
    pub hot: bool,
    /// The flame graph.
    pub flame: bool,
    /// Callers and callees of a function.
    pub peek: bool,
    /// Sums over patterns.
    pub sums: bool,
    /// Samples within each second, which is divided into so many parts; 0 for none.
    pub subsecond: u32,
    /// The client's ledger.
    pub client: bool,
}

impl Needs {
    /// Adds what another pane asks for.
    pub fn add(&mut self, more: Needs) {
        self.columns.extend(more.columns);
        self.routes |= more.routes;
        self.slowest |= more.slowest;
        self.shape |= more.shape;
        self.hot |= more.hot;
        self.flame |= more.flame;
        self.peek |= more.peek;
        self.sums |= more.sums;
        self.subsecond = self.subsecond.max(more.subsecond);
        self.client |= more.client;
    }
}

/// Buckets of a column: eight an octave from 512 ns to an hour.
const BUCKETS: usize = 272;

/// Counts by response time, eight buckets an octave.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape(Box<[u32; BUCKETS]>);

impl Default for Shape {
    fn default() -> Shape {
        Shape(Box::new([0; BUCKETS]))
    }
}

impl Shape {
    /// Adds all values of a distribution.
    pub fn add(&mut self, latency: &Latency) {
        // Checked when it came in, so a failure here adds what could be read.
        let _ = latency.for_each(|ns, n| {
            let ns = ns.max(512);
            let octave = ns.ilog2();
            let eighth = (ns >> (octave - 3)) & 7;
            let i = ((octave - 9) as usize * 8 + eighth as usize).min(BUCKETS - 1);
            self.0[i] = self.0[i].saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        });
    }

    /// Lower bound of a bucket, ns.
    fn low_ns(i: usize) -> f64 {
        (8 + i % 8) as f64 * 2f64.powi(9 + (i / 8) as i32 - 3)
    }

    /// The buckets with values: lower and upper bound in ns, and how many.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = (f64, f64, u32)> + '_ {
        self.0.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| (Shape::low_ns(i), Shape::low_ns(i + 1), *n))
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|n| u64::from(*n)).sum()
    }

    /// The value at a quantile, ns, to an eighth of an octave.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0u64;
        self.buckets().find_map(|(low, high, n)| {
            seen += u64::from(n);
            (seen >= rank).then(|| (low * high).sqrt())
        })
    }
}

/// The load of one column of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadColumn {
    /// Seconds of it that load is known of.
    pub covered_s: f64,
    /// Requests that fell due; not known by route.
    pub offered: Option<f64>,
    /// Requests with a whole response.
    pub completed: f64,
    /// Requests without one.
    pub failed: f64,
    /// Responses with a 5xx status.
    pub server_errors: f64,
    /// Connections opened.
    pub opened: f64,
    /// Response times.
    pub shape: Shape,
}

impl LoadColumn {
    /// A count per second; `None` where nothing is known.
    pub fn per_s(&self, count: f64) -> Option<f64> {
        (self.covered_s > 0.0).then(|| count / self.covered_s)
    }
}

/// Computed for the view that is drawn next.
#[derive(Debug, Default)]
pub struct Memo {
    /// Load of the present second.
    pub recent: Arc<LoadSum>,
    /// Load of what is in focus.
    pub focus: Arc<LoadSum>,
    /// The routes of what is in focus, most requests first.
    pub routes: Arc<Vec<RouteSum>>,
    /// The stretch those are of.
    pub routes_span: Span,
    /// The slowest requests in focus.
    pub slowest: Vec<Exemplar>,
    /// Response times of what is in focus.
    pub shape: Shape,
    /// The findings.
    pub findings: Vec<Finding>,
    /// The client's ledger of what is in focus.
    pub client: ClientUse,
    /// What was made of the stacks.
    pub stacks: StackMemo,
    /// The right edge of the time axes.
    pub edge: At,
    /// Whether the edge moves with the latest event.
    pub moving: bool,
    charts: HashMap<(u64, Option<Arc<str>>), Chart>,
    seen: Seen,
}

/// Columns by their number, with whether nothing that belongs to them is still on its way.
type Chart = BTreeMap<i64, (LoadColumn, bool)>;

/// A stretch, and until when events of it were known when that may change.
type Stretch = (Span, At);

/// What the kept values were computed from.
#[derive(Debug, Default)]
struct Seen {
    recent: Option<Stretch>,
    focus: Option<Stretch>,
    routes: Option<Stretch>,
    slowest: Option<(Stretch, Option<Arc<str>>)>,
    shape: Option<(Stretch, Option<Arc<str>>)>,
    findings: Option<(Stretch, At)>,
    client: Option<(Stretch, At)>,
}

impl Memo {
    /// Computes what is needed and new.
    pub fn prepare(
        &mut self,
        workbench: &Workbench,
        view: &View<'_>,
        look: ProfileLook<'_>,
        edge: At,
        moving: bool,
        needs: &Needs,
    ) {
        (self.edge, self.moving) = (edge, moving);
        let timeline = view.timeline;
        let recent = view.recent_load();
        if self.seen.recent.replace((recent, timeline.end())) != Some((recent, timeline.end())) {
            self.recent = timeline.load().sum(recent).into();
        }
        let span = steady(view);
        // A selected stretch that ends where events still come in is added up again with them.
        let settled = view.selection.span.is_none() || span.to.0.saturating_add(SETTLED_NS) <= timeline.end().0;
        let focus = (span, if settled { At::START } else { timeline.end() });
        if self.seen.focus.replace(focus) != Some(focus) {
            self.focus = timeline.load().sum(span).into();
        }
        if needs.routes && self.seen.routes.replace(focus) != Some(focus) {
            self.routes = timeline.load().routes(span).into();
            self.routes_span = timeline.load().routes_span(span);
        }
        let route = view.selection.route.clone();
        if needs.slowest && self.seen.slowest.replace((focus, route.clone())) != Some((focus, route.clone())) {
            let of_route = |e: &&&Exemplar| route.as_ref().is_none_or(|r| e.route == *r);
            let all = timeline.load().slowest(span, if route.is_some() { usize::MAX } else { KEPT_SLOWEST });
            self.slowest = all.iter().filter(of_route).take(KEPT_SLOWEST).map(|e| (*e).clone()).collect();
        }
        if needs.shape && self.seen.shape.replace((focus, route.clone())) != Some((focus, route.clone())) {
            self.shape = Shape::default();
            match &route {
                None => timeline.load().slots(span).for_each(|(_, s)| self.shape.add(&s.response)),
                Some(r) => timeline.load().route(span, r).for_each(|(_, r)| self.shape.add(&r.response_time)),
            }
        }
        // A rule may look at anything, so findings are asked for once a second of the session.
        let second = At(timeline.end().0 / 1_000_000_000);
        if self.seen.findings.replace((focus, second)) != Some((focus, second)) {
            self.findings = workbench.findings(view);
        }
        if needs.client && self.seen.client.replace((focus, second)) != Some((focus, second)) {
            self.client = timeline.client(span);
        }
        self.stacks.prepare(view, look, needs);
        self.prepare_charts(timeline, view, needs);
    }

    fn prepare_charts(&mut self, timeline: &Timeline, view: &View<'_>, needs: &Needs) {
        let route = view.selection.route.clone();
        let axes: Vec<Axis> =
            needs.columns.iter().map(|n| Axis::new(view.window_ns, *n, self.edge, self.moving)).collect();
        self.charts.retain(|(step, r), _| *r == route && axes.iter().any(|a| a.step_ns == *step));
        for axis in axes {
            let chart = self.charts.entry((axis.step_ns, route.clone())).or_default();
            let last = axis.first.saturating_add(axis.columns as i64);
            chart.retain(|n, _| (axis.first..last).contains(n));
            for (n, span) in axis.spans().filter(|(_, s)| !s.is_empty()) {
                if chart.get(&n).is_some_and(|(_, settled)| *settled) {
                    continue;
                }
                // Settled: nothing that belongs to it is still on its way.
                let settled = span.to.0.saturating_add(SETTLED_NS) <= timeline.end().0;
                let column = match &route {
                    None => column(timeline, span),
                    Some(r) => route_column(timeline, span, r),
                };
                chart.insert(n, (column, settled));
            }
        }
    }

    /// The load by column of an axis that was asked for; `None` where nothing is known.
    pub fn columns(&self, axis: &Axis, route: Option<&Arc<str>>) -> Vec<Option<&LoadColumn>> {
        let chart = self.charts.get(&(axis.step_ns, route.cloned()));
        axis.spans().map(|(n, _)| chart?.get(&n).map(|(c, _)| c).filter(|c| c.covered_s > 0.0)).collect()
    }
}

/// How many of the slowest requests are kept.
const KEPT_SLOWEST: usize = 100;
/// Events that are later than this are rare enough to be missed by a chart, ns.
const SETTLED_NS: u64 = 2_000_000_000;

/// What is in focus, its moving end held still for a sixtieth of the window: numbers over a
/// minute that change once a second can be read, and an hour is not added up ten times a
/// second.
pub fn steady(view: &View<'_>) -> Span {
    let focus = view.focus();
    if view.selection.span.is_some() {
        return focus;
    }
    // Workers hand over within a tick; when the session is closed nothing is on its way.
    let late = if view.timeline.closing().is_some() { 0 } else { Interval::TICK_NS };
    let grain = super::axis::step_ns(view.window_ns).max(1);
    let known = At(view.timeline.load().known_until().0.saturating_sub(late));
    let end = if focus.to > known { At(known.0 / grain * grain) } else { At(focus.to.0 / grain * grain) };
    let end = if late == 0 && focus.to >= known { known } else { end };
    if end.0 == 0 { focus } else { Span::ending(end, view.window_ns) }
}

fn column(timeline: &Timeline, span: Span) -> LoadColumn {
    let mut c = LoadColumn { offered: Some(0.0), ..LoadColumn::default() };
    for (of, slot) in timeline.load().slots(span).filter(|(_, s)| s.covers_ns > 0) {
        let overlap = of.to.min(span.to).since_ns(of.from.max(span.from)) as f64;
        let part = overlap / of.len_ns() as f64;
        c.covered_s += overlap / 1e9;
        c.offered = c.offered.map(|o| o + slot.offered as f64 * part);
        c.completed += slot.completed as f64 * part;
        c.failed += slot.failed as f64 * part;
        c.opened += slot.connections_opened as f64 * part;
        let server_errors = slot.outcomes.iter().filter(|o| o.outcome.is_server_error()).map(|o| o.count as f64);
        c.server_errors += server_errors.sum::<f64>() * part;
        c.shape.add(&slot.response);
    }
    c
}

/// Routes are handed over about once a second, so a column takes its share of each batch that
/// covers some of it.
fn route_column(timeline: &Timeline, span: Span, route: &str) -> LoadColumn {
    // A batch covers a second or so, long ago ten: one that begins in the column ends after it.
    const LONGEST_NS: u64 = 12_000_000_000;
    let load = timeline.load();
    let mut c = LoadColumn::default();
    let until = Span { from: span.from, to: At(span.to.0.saturating_add(LONGEST_NS)) };
    for (covers, r) in load.route(until, route) {
        let overlap = covers.to.min(span.to).since_ns(covers.from.max(span.from)) as f64;
        if overlap <= 0.0 {
            continue;
        }
        let part = overlap / covers.len_ns() as f64;
        c.completed += r.requests.saturating_sub(r.failed) as f64 * part;
        c.failed += r.failed as f64 * part;
        c.server_errors += r.server_errors as f64 * part;
        c.shape.add(&r.response_time);
    }
    let known = Span { from: load.span().from, to: load.routes_known_until() };
    c.covered_s = span.to.min(known.to).since_ns(span.from.max(known.from)) as f64 / 1e9;
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::new_histogram;

    #[test]
    fn a_shape_keeps_quantiles_to_an_eighth_of_an_octave() {
        let mut dense = new_histogram();
        for us in 1..=10_000u64 {
            dense.record(us * 1000).unwrap();
        }
        let mut shape = Shape::default();
        shape.add(&Latency::encode(&dense));
        assert_eq!(shape.count(), 10_000);
        for (q, want) in [(0.5, 5e6), (0.99, 9.9e6), (1.0, 1e7)] {
            let got = shape.quantile(q).unwrap();
            assert!((got / want - 1.0).abs() < 0.125, "{q}: {got}");
        }
        assert_eq!(Shape::default().quantile(0.5), None);
        let (low, high, _) = shape.buckets().next().unwrap();
        // The stored distribution tells 512 ns apart.
        assert!((512.0..=1000.0).contains(&low) && high < 1100.0, "{low} {high}");
    }

    #[test]
    fn a_steady_route_is_level_whatever_its_batches_cover() {
        use crate::model::{Event, RouteInterval};
        let mut t = Timeline::new();
        let mut from = 0;
        // Ten requests a tick, told after five ticks or six, one hand-over late.
        for (n, to) in [1000, 2200, 3200, 4430, 5400, 6600, 7600].into_iter().enumerate() {
            let span = Span { from: At(from * 1_000_000), to: At(to * 1_000_000) };
            let requests = (to - from) / 20;
            let route = RouteInterval {
                route: "/a".into(),
                requests,
                failed: 0,
                server_errors: 0,
                mismatched: 0,
                response_time: Latency::default(),
            };
            let interval = Interval { span, routes: vec![route], ..silent(n as u64) };
            t.apply(&Event::Interval(interval));
            from = to;
        }
        for second in 0..7u64 {
            let span = Span { from: At(second * 1_000_000_000), to: At((second + 1) * 1_000_000_000) };
            let c = route_column(&t, span, "/a");
            let rate = c.per_s(c.completed).unwrap();
            assert!((rate - 50.0).abs() < 1.0, "{second}: {rate}");
        }
        let late = route_column(&t, Span { from: At(9_000_000_000), to: At(10_000_000_000) }, "/a");
        assert_eq!(late.per_s(late.completed), None);
    }

    fn silent(offered: u64) -> Interval {
        Interval {
            worker: 0,
            span: Span::default(),
            offered,
            sent: 0,
            completed: 0,
            failed: 0,
            dropped: 0,
            retried: 0,
            in_flight: 0,
            queued: 0,
            connections_opened: 0,
            received_bytes: 0,
            sent_bytes: 0,
            response_time: Latency::default(),
            service_time: Latency::default(),
            send_lag: Latency::default(),
            phases: Default::default(),
            grown: 0,
            remarks: Default::default(),
            outcomes: vec![],
            routes: vec![],
            exemplars: vec![],
        }
    }
}
