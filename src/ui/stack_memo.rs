//! What is computed of the stacks once and drawn many times: hot symbols, the flame graph, sums,
//! the difference. All of it is made of the same samples and made anew when those are others.
//!
//! Must not: be filled while drawing.

use super::memo::{Needs, steady};
use super::profile_state::{Held, ProfileState};
use super::units;
use crate::model::{Metric, Span};
use crate::timeline::stacks::diff::{self, Change, Comparison, DiffRow, Per, Side, SideSum, Which};
use crate::timeline::stacks::{
    FlameGraph, Hot, HotLine, Order, Pattern, Peek, Shortfall, StackFilter, Subsecond, Weights,
};
use crate::timeline::{Selection, Timeline, View};

/// Made of the samples that the view means.
#[derive(Debug, Default)]
pub struct StackMemo {
    /// Hot symbols, and what they are shares of.
    pub hot: Vec<Hot>,
    /// Weights of the samples in focus.
    pub weights: Weights,
    /// The CPU whose samples account the least for the time it worked, where one's don't.
    pub shortfall: Option<Shortfall>,
    /// Hot source lines, when those are looked at.
    pub lines: Vec<HotLine>,
    /// Callers and callees of a function, and its name; empty when there is none.
    pub peek: Peek,
    /// See [`StackMemo::peek`].
    pub peek_of: String,
    /// Patterns with the weight of the stacks they are in.
    pub sums: Vec<(String, u64)>,
    /// Samples within each second.
    pub subsecond: Subsecond,
    /// What is selected against something else, or why that can't be told.
    pub difference: Option<Result<Difference, String>>,
    /// What that is.
    pub with: With,
    /// The flame graph, callers above callees.
    pub flame: Option<FlameGraph>,
    /// What a weight of one nanosecond is per completed request, ns; `None` when that is not known.
    per_request: Option<f64>,
    key: Option<Key>,
    made: Made,
}

/// Which samples those are, and what else decides over what is made of them.
#[derive(Debug, PartialEq)]
struct Key {
    filter: StackFilter,
    samples: usize,
    /// News of captures: they tell in which time samples were taken.
    news: usize,
    /// Seconds of load, which costs and differences are divided by.
    seconds: u64,
    is_closed: bool,
}

/// What there is of these samples, and how it was asked for.
#[derive(Debug, Default)]
struct Made {
    flame: Option<bool>,
    lines: Option<bool>,
    peek_of: Option<String>,
    sums: Option<Vec<String>>,
    subsecond: Option<u32>,
    per_request: bool,
    difference: Option<(bool, Option<Held>)>,
}

/// What selected samples are compared with.
#[derive(Debug, Default)]
pub struct With {
    /// For a column: `rest`, `before`.
    pub column: &'static str,
    /// For a title (untrusted).
    pub name: String,
}

impl StackMemo {
    /// Computes what is needed and new.
    pub(super) fn prepare(&mut self, view: &View<'_>, look: ProfileLook<'_>, needs: &Needs) {
        let ProfileLook { state, pointed: of, other } = look;
        if !needs.hot && !needs.flame {
            return;
        }
        let profile = view.timeline.profile();
        // Without the flight recorder captures are stretches of their own: all of them are shown until
        // time is selected.
        let window = profile.is_recorded_throughout().then(|| steady(view));
        let filter_of = |rest| StackFilter { event: state.event.clone(), ..view.stack_filter(window, rest) };
        let filter = filter_of(state.rest);
        let key = Key {
            filter: filter.clone(),
            samples: profile.len(),
            news: view.timeline.captures().map(|(_, news)| news.len()).sum(),
            seconds: view.timeline.load().known_until().0 / 1_000_000_000,
            is_closed: view.timeline.closing().is_some(),
        };
        if self.key.as_ref() != Some(&key) {
            let mut hot = profile.hot(&filter);
            hot.truncate(KEPT_HOT);
            let short = view.timeline.shortfalls(&filter);
            let shortfall = short.into_iter().min_by(|a, b| a.percent().total_cmp(&b.percent()));
            let weights = profile.weights(&filter);
            *self = StackMemo { hot, weights, shortfall, key: Some(key), ..StackMemo::default() };
        }
        let after = Side { timeline: view.timeline, filter: filter.clone() };
        let is_compared = needs.flame && state.against;
        let other = other.filter(|_| state.held.is_none());
        if self.made.difference.replace((is_compared, state.held)) != Some((is_compared, state.held)) {
            self.made.flame = None;
            let selected = view.selection;
            // While slow requests were under way hardly any ended: what the machine did is asked, by
            // the second.
            let band = selected.band.or(state.held.and_then(|h| h.band));
            let compare = |column, name: String, before: Result<Side<'_>, String>| {
                let told = before.and_then(|b| Difference::new(b, &after, band.map(|_| Per::Second)));
                (With { column, name }, told)
            };
            let told = is_compared.then(|| match (state.held, other) {
                (Some(held), _) => compare(
                    "before",
                    held.name(),
                    kept(view, held, &filter).map(|filter| Side { filter, ..after.clone() }),
                ),
                (None, Some(other)) => {
                    let before = counterpart(view.timeline, other, &filter);
                    let before = before.map(|filter| Side { timeline: other, filter });
                    compare("before", other.opening().target.clone(), before)
                }
                (None, None) => {
                    compare("rest", "the rest".into(), Ok(Side { filter: filter_of(true), ..after.clone() }))
                }
            });
            (self.with, self.difference) = told.map_or_else(Default::default, |(with, told)| (with, Some(told)));
        }
        if needs.flame && self.made.flame.replace(state.merged) != Some(state.merged) {
            self.flame = match &mut self.difference {
                Some(Ok(d)) => d.flame(other.unwrap_or(view.timeline), &after, !state.merged),
                _ => Some(profile.flame(&filter, Order::Name, !state.merged)),
            };
        }
        // Adds up all there is once more, so only where there is room for it.
        if needs.flame && !std::mem::replace(&mut self.made.per_request, true) {
            let is_time = &*self.weights.unit == "ns" && self.weights.total > 0;
            let whole = is_time.then(|| diff::costs(&after, Some(Per::Request)).ok()).flatten();
            self.per_request = whole.map(|c| c.whole / self.weights.total as f64);
        }
        if needs.subsecond > 0 && self.made.subsecond.replace(needs.subsecond) != Some(needs.subsecond) {
            self.subsecond = profile.subsecond(&filter, needs.subsecond);
        }
        if self.made.lines.replace(state.by_line) != Some(state.by_line) {
            self.lines = if state.by_line { profile.lines(&filter) } else { Vec::new() };
            self.lines.truncate(KEPT_HOT);
        }
        if needs.peek {
            let hottest = || self.hot.first().map(|h| h.symbol.to_string());
            let of = of.or_else(hottest).unwrap_or_default();
            if self.made.peek_of.as_ref() != Some(&of) {
                let is_name = self.hot.iter().any(|h| *h.symbol == *of);
                self.peek = match () {
                    () if of.is_empty() => Peek::default(),
                    () if is_name => profile.peek_symbol(&filter, &of),
                    // A part of a name, or several.
                    () => profile.peek(&filter, &Pattern::new(&of)),
                };
                self.peek_of.clone_from(&of);
                self.made.peek_of = Some(of);
            }
        }
        if needs.sums && self.made.sums.as_ref() != Some(&state.sums) {
            let patterns: Vec<Pattern> = state.sums.iter().map(|p| Pattern::new(p)).collect();
            self.sums = state.sums.iter().cloned().zip(profile.sums(&filter, &patterns)).collect();
            self.made.sums = Some(state.sums.clone());
        }
    }

    /// A weight in CPU time per completed request, as text; `None` where that is not known.
    pub fn us_per_request(&self, weight: u64) -> Option<String> {
        self.per_request.map(|one| if weight == 0 { "0".into() } else { units::time(weight as f64 * one) })
    }
}

/// What is selected against something else.
#[derive(Debug)]
pub struct Difference {
    /// What costs are divided by.
    pub per: Per,
    /// The rest, and what is selected.
    pub sides: [SideSum; 2],
    /// Everything together.
    pub whole: Change,
    /// By function, what is certain first.
    pub rows: Vec<DiffRow>,
    /// By node of the flame graph.
    pub changes: Vec<Change>,
    /// Which samples the selected are compared with.
    before: StackFilter,
}

impl Difference {
    fn new(before: Side<'_>, after: &Side<'_>, per: Option<Per>) -> Result<Difference, String> {
        let c = Comparison::new(&before, after, per).map_err(|e| e.to_string())?;
        let mut rows = c.rows();
        let certain = |r: &DiffRow| (r.own.is_noise, r.total.is_noise);
        rows.sort_by(|x, y| {
            let (own, total) = (diff::order(&x.own, &y.own), diff::order(&x.total, &y.total));
            certain(x).cmp(&certain(y)).then(if x.own.is_noise { total } else { own })
        });
        rows.truncate(KEPT_HOT);
        let (sides, whole) = (c.sides().map(Clone::clone), c.whole());
        Ok(Difference { per: c.per(), sides, whole, rows, changes: vec![], before: before.filter })
    }

    /// The flame graph of what is selected, with the changes by node kept here.
    fn flame(&mut self, rest: &Timeline, after: &Side<'_>, by_thread: bool) -> Option<FlameGraph> {
        let before = Side { timeline: rest, filter: self.before.clone() };
        let comparison = Comparison::new(&before, after, Some(self.per)).ok()?;
        let both = comparison.flame(Which::After, Order::Name, by_thread);
        self.changes = both.changes;
        Some(both.graph)
    }
}

/// How the stacks are looked at.
#[derive(Debug)]
pub struct ProfileLook<'a> {
    /// As the user has set it.
    pub state: &'a ProfileState,
    /// The symbol that is pointed at.
    pub pointed: Option<String>,
    /// The session that the stacks are compared with, if not with the rest of their own.
    pub other: Option<&'a Timeline>,
}

/// How many hot symbols are kept.
const KEPT_HOT: usize = 5000;

/// The samples of the time that was kept, of the same processes, CPUs and symbols.
fn kept(view: &View<'_>, held: Held, filter: &StackFilter) -> Result<StackFilter, String> {
    // Whatever else they are narrowed to: samples of one instant are no evidence against themselves.
    if let Some(both) = filter.span.map_or(Some(held.span), |span| span.common(held.span)) {
        let Span { from, to } = both;
        return Err(format!("{from}–{to} is in both sides: select a stretch apart from the one that is kept"));
    }
    let selection = Selection { span: Some(held.span), band: held.band, ..view.selection.clone() };
    let view = View { selection: &selection, ..*view };
    Ok(StackFilter { event: filter.event.clone(), ..view.stack_filter(None, false) })
}

/// The samples of all of another session that these are compared with. A process has another id there and
/// is found by its name.
fn counterpart(own: &Timeline, other: &Timeline, filter: &StackFilter) -> Result<StackFilter, String> {
    let named = |t: &Timeline| -> Vec<(u32, String)> {
        let split = |i: &str| i.split_once(' ').and_then(|(pid, name)| Some((pid.parse().ok()?, name.to_owned())));
        t.instances(Metric::ProcUser).into_iter().filter_map(|(i, _)| split(i)).collect()
    };
    let find = |pid: u32| {
        let name = named(own).into_iter().find(|(id, _)| *id == pid).map(|(_, name)| name);
        let name =
            name.ok_or_else(|| format!("process {pid} can't be told in the other session: its name is not known"))?;
        let there: Vec<u32> = named(other).into_iter().filter(|(_, n)| *n == name).map(|(id, _)| id).collect();
        match there[..] {
            [id] => Ok(id),
            [] => Err(format!("there is no process {name} in the other session: drop that filter")),
            _ => Err(format!("the other session has {} processes {name}: drop that filter", there.len())),
        }
    };
    let pid = filter.pid.map(find).transpose()?;
    Ok(StackFilter { span: None, within: None, outside: false, pid, ..filter.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{At, Event, Reading, Readings};

    fn session(processes: &[&str]) -> Timeline {
        let read = |p: &&str| Reading { metric: Metric::ProcUser, instance: (*p).into(), value: 1 };
        let values = processes.iter().map(read).collect();
        let mut t = Timeline::new();
        t.apply(&Event::Readings(Readings { at: At(1), sampler: "processes".into(), took_ns: 1, values }));
        t
    }

    #[test]
    fn a_process_of_another_session_is_found_by_its_name_or_it_is_said_why_not() {
        let own = session(&["7 nginx", "8 api server", "9 gone", "self"]);
        let other = session(&["7 postgres", "70 nginx", "71 nginx", "80 api server"]);
        let find = |pid| {
            let filter = StackFilter { pid: Some(pid), span: Some(Default::default()), ..StackFilter::default() };
            counterpart(&own, &other, &filter).map(|f| (f.pid, f.span))
        };
        assert_eq!(find(8), Ok((Some(80), None)));
        for (pid, why) in [(7, "has 2 processes nginx"), (9, "no process gone"), (10, "process 10 can't be told")] {
            let told = find(pid).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
