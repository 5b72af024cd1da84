//! Tests of the profile's fold: the laws that hold for any samples, and the cases by hand.

use super::*;
use crate::model::{Sample, SourceLine};
use proptest::prelude::*;

pub(super) fn batch(capture: u32, unit: &str, samples: &[(u64, u32, &str, &str, u64)]) -> Stacks {
    let mut table = StackTable::default();
    let samples = samples
        .iter()
        .map(|&(at, pid, comm, stack, weight)| {
            let mut id = None;
            for symbol in stack.split(';').filter(|s| !s.is_empty()) {
                let kind = if symbol.starts_with("k_") { FrameKind::Kernel } else { FrameKind::User };
                let frame = table.frame(Frame::new(symbol, "m", kind));
                id = Some(table.push(id, frame));
            }
            Sample { at: At(at), cpu: pid % 2, pid, tid: pid, comm: comm.into(), stack: id, weight }
        })
        .collect();
    let event = if unit == "ns" { "cpu-clock" } else { unit };
    let (event, unit) = (event.into(), unit.into());
    Stacks { at: At(9), capture: CaptureId(capture), event, unit, table, samples, lost: 1 }
}

pub(super) fn profile(samples: &[(u64, u32, &str, &str, u64)]) -> Profile {
    let mut profile = Profile::default();
    profile.apply(&batch(1, "ns", samples));
    profile
}

/// Stacks of `function:line` in `src/x.c`, with their weights.
pub(super) fn with_lines(samples: &[(&str, u64)]) -> Profile {
    let mut stacks = batch(1, "ns", &[]);
    for (n, &(stack, weight)) in (0..).zip(samples) {
        let mut id = None;
        for part in stack.split(';') {
            let (symbol, line) = part.split_once(':').map_or((part, None), |(s, l)| (s, l.parse().ok()));
            let line = line.map(|line| SourceLine { file: "src/x.c".into(), line });
            let frame = stacks.table.frame(Frame { line, ..Frame::new(symbol, "m", FrameKind::User) });
            id = Some(stacks.table.push(id, frame));
        }
        stacks.samples.push(Sample { at: At(n), cpu: 0, pid: 1, tid: 1, comm: "x".into(), stack: id, weight });
    }
    let mut profile = Profile::default();
    profile.apply(&stacks);
    profile
}

const SERVER: &[(u64, u32, &str, &str, u64)] = &[
    (10, 1, "web", "main;serve;parse", 3),
    (20, 1, "web", "main;serve;send;k_write;k_tcp", 5),
    (30, 2, "log", "main;flush", 2),
    (40, 0, "swapper/0", "k_start;do_idle;k_x;pv_native_safe_halt", 7),
    (50, 0, "swapper/0", "k_start;do_idle;k_irq;k_net_rx", 4),
    (60, 2, "log", "", 1),
];

#[test]
fn the_tree_adds_up_and_can_be_walked() {
    let p = profile(SERVER);
    let g = p.flame(&StackFilter::default(), Order::Name, true);
    assert_eq!((g.weights.total, g.weights.samples, g.weights.idle), (15, 5, 7));
    assert_eq!(&*g.weights.unit, "ns");
    let names = |id| g.children(id).map(|c| g.node(c).symbol.to_string()).collect::<Vec<_>>();
    assert_eq!(names(FlameGraph::ROOT), ["log", "swapper/0", "web"]);
    let step = |s: &str| Step { symbol: s.into(), kind: FrameKind::User };
    let path = [step("web"), step("main"), step("serve")];
    let serve = g.find(&path).unwrap();
    assert_eq!((g.node(serve).total, g.node(serve).self_weight, g.node(serve).depth), (8, 0, 3));
    assert_eq!((g.path(serve), names(serve)), (path.to_vec(), vec!["parse".to_string(), "send".into()]));
    let lost = [&path[..], &[step("gone")]].concat();
    assert_eq!((g.find(&lost), g.nearest(&lost)), (None, serve));
    assert_eq!(g.node(g.parent(serve).unwrap()).symbol, "main".into());
    let by_weight = p.flame(&StackFilter::default(), Order::Weight, true);
    assert_eq!(by_weight.node(by_weight.children(FlameGraph::ROOT).next().unwrap()).symbol, "web".into());
    let merged = p.flame(&StackFilter::default(), Order::Name, false);
    assert_eq!(merged.node(merged.find(&[step("main")]).unwrap()).total, 10);
    assert_eq!(merged.node(FlameGraph::ROOT).self_weight, 1);
}

#[test]
fn a_filter_gives_the_same_total_in_every_form() {
    let p = profile(SERVER);
    let all = StackFilter::default();
    let cases = [
        (all.clone(), 15),
        (StackFilter { idle: true, ..all.clone() }, 22),
        (StackFilter { span: Some(Span::new(At(20), At(30))), ..all.clone() }, 5),
        (StackFilter { span: Some(Span { from: At(90), to: At(20) }), ..all.clone() }, 0),
        (StackFilter { pid: Some(2), ..all.clone() }, 3),
        (StackFilter { tid: Some(1), ..all.clone() }, 8),
        (StackFilter { cpu: Some(0), ..all.clone() }, 7),
        (StackFilter { comm: Some("web".into()), ..all.clone() }, 8),
        (StackFilter { comm: Some("nobody".into()), ..all.clone() }, 0),
        (StackFilter { capture: Some(CaptureId(2)), ..all.clone() }, 0),
        (StackFilter { ring: Some(Ring::Kernel), ..all.clone() }, 9),
        (StackFilter { ring: Some(Ring::User), ..all.clone() }, 5),
        (StackFilter { symbol: Some(Pattern::new("serve")), ..all.clone() }, 8),
    ];
    for (filter, want) in cases {
        assert_eq!(p.weights(&filter).total, want, "{filter:?}");
        assert_eq!(p.flame(&filter, Order::Name, true).node(FlameGraph::ROOT).total, want, "{filter:?}");
        assert_eq!(folded_sum(&p.folded(&filter, true)), want, "{filter:?}");
    }
}

#[test]
fn recursion_counts_once_and_a_search_too() {
    let p = profile(&[(1, 1, "x", "a;b;a;b;a", 4), (2, 1, "x", "a;c", 1), (3, 1, "x", "b", 2)]);
    let hot = p.hot(&StackFilter::default());
    let of = |s: &str| hot.iter().find(|h| &*h.symbol == s).map(|h| (h.self_weight, h.total)).unwrap();
    assert_eq!((of("a"), of("b"), of("c")), ((4, 5), (2, 6), (1, 1)));
    assert_eq!(hot.iter().map(|h| &*h.symbol).collect::<Vec<_>>(), ["a", "b", "c"]);
    let all = StackFilter::default();
    assert_eq!(p.matched(&all, &Pattern::new("b")), 6);
    let g = p.flame(&all, Order::Name, true);
    let found = g.search(&Pattern::new("B"), FlameGraph::ROOT);
    assert!(found.nodes.is_empty(), "a capital asks for the exact case");
    let found = g.search(&Pattern::new("b"), FlameGraph::ROOT);
    assert_eq!((found.nodes.len(), found.weight), (3, 6));
    assert!((found.share - 6.0 / 7.0).abs() < 1e-9);
}

#[test]
fn folded_lines_keep_their_form_whatever_names_hold() {
    let mut table = StackTable::default();
    let f = table.frame(Frame::new("Lfoo;::bar\n\x1b[2J", "", FrameKind::User));
    let k = table.frame(Frame::new("tcp_ack", "", FrameKind::Kernel));
    let (outer, none) = (table.push(None, f), None);
    let inner = table.push(Some(outer), k);
    let sample = |stack, comm: &str| Sample { at: At(1), cpu: 0, pid: 1, tid: 1, comm: comm.into(), stack, weight: 2 };
    let mut stacks = batch(1, "ns", &[]);
    (stacks.table, stacks.samples) = (table, vec![sample(Some(inner), "a;b\n"), sample(none, "")]);
    let mut p = Profile::default();
    p.apply(&stacks);
    let all = StackFilter::default();
    assert_eq!(p.folded(&all, true), ["[unnamed] 2", "a:b·;Lfoo:::bar··[2J;tcp_ack_[k] 2"]);
    assert_eq!(p.folded(&all, false)[1], "a:b·;Lfoo:::bar··[2J;tcp_ack 2");
}

#[test]
fn captures_of_different_units_are_counted_in_samples() {
    let mut p = Profile::default();
    p.apply(&batch(1, "ns", &[(1, 1, "x", "a", 1000)]));
    p.apply(&batch(2, "cycles", &[(2, 1, "x", "a", 7), (3, 1, "x", "b", 9)]));
    let both = p.weights(&StackFilter::default());
    assert_eq!((both.total, &*both.unit), (3, "samples"));
    let one = p.weights(&StackFilter::of(CaptureId(2)));
    assert_eq!((one.total, &*one.unit), (16, "cycles"));
    let sum = p.captures().find(|(id, _)| *id == CaptureId(2)).unwrap().1;
    assert_eq!((sum.samples, sum.weight, sum.lost, sum.span), (2, 16, 1, Span::new(At(2), At(4))));
}

#[test]
fn a_lost_sample_stands_for_as_much_as_a_busy_one_and_not_for_idle_ones_that_were_joined() {
    let made_up = |samples: &[(u64, u32, &str, &str, u64)]| profile(samples).captures().next().unwrap().1.made_up();
    // Nine idle samples in one; one more was lost of eleven.
    assert_eq!(made_up(&[(1, 1, "x", "a", 10), (2, 0, "swapper", "", 90)]), 1.1);
    assert_eq!(made_up(&[(1, 1, "x", "a", 10), (2, 1, "x", "b", 10)]), 1.5);
    // With nothing busy the mean of what there is, and nothing of nothing.
    assert_eq!((made_up(&[(2, 0, "swapper", "", 90)]), made_up(&[(1, 1, "x", "a", 0)])), (2.0, 1.0));
}

#[test]
fn the_flight_recorder_counts_where_no_capture_was_taken() {
    let mut p = Profile::default();
    p.apply(&batch(0, "ns", &[(10, 1, "x", "a", 20), (30, 1, "x", "a", 20), (50, 1, "x", "b", 20)]));
    p.apply(&batch(1, "ns", &[(25, 1, "x", "a", 10), (30, 1, "x", "a", 10), (35, 1, "x", "a", 10)]));
    let of = |filter: &StackFilter| p.weights(filter).total;
    assert_eq!(of(&StackFilter::default()), 20 + 3 * 10 + 20);
    assert_eq!(of(&StackFilter::of(CaptureId::RECORDER)), 60);
    assert_eq!(of(&StackFilter::of(CaptureId(1))), 30);
}

#[test]
fn waits_idle_by_their_marker_and_the_recorders_count_where_no_capture_watched_waits() {
    let mut p = Profile::default();
    let of = |capture, event: &str, samples: &[(u64, u32, &str, &str, u64)]| Stacks {
        event: event.into(),
        ..batch(capture, "ns", samples)
    };
    p.apply(&of(1, "cpu-clock", &[(10, 7, "x", "a", 1), (60, 7, "x", "a", 1)]));
    let recorded = [(20, 7, "x", "a;[lock wait]", 5), (25, 7, "x", "a;[idle: epoll]", 7), (50, 0, "x", "[b]", 20)];
    p.apply(&of(0, "off-cpu:blocked", &recorded));
    let waits = StackFilter { event: Some("off-cpu:blocked".into()), ..StackFilter::default() };
    let sums = |p: &Profile, filter: &StackFilter| (p.weights(filter).total, p.weights(filter).idle);
    // A capture of what runs says nothing of waits.
    assert_eq!(sums(&p, &waits), (25, 7));
    assert_eq!(sums(&p, &StackFilter { idle: true, ..waits.clone() }), (32, 0));
    assert_eq!(sums(&p, &StackFilter::default()), (2, 0));
    p.apply(&of(2, "off-cpu:runnable", &[(15, 7, "x", "a;[preempted]", 3), (30, 7, "x", "a;[preempted]", 4)]));
    assert_eq!(sums(&p, &waits), (20, 0));
}

#[test]
fn stretches_and_their_complement_make_the_whole() {
    let p = profile(SERVER);
    let within: Arc<[Span]> = Arc::new([Span::new(At(10), At(11)), Span::new(At(20), At(40))]);
    let inside = StackFilter { within: Some(within), ..StackFilter::default() };
    let outside = StackFilter { outside: true, ..inside.clone() };
    assert_eq!((p.weights(&inside).total, p.weights(&outside).total), (10, 5));
    let none = StackFilter { within: Some(Arc::new([])), ..StackFilter::default() };
    assert_eq!(p.weights(&none).total, 0);
}

#[test]
fn weights_of_different_events_are_never_added_up() {
    let mut p = Profile::default();
    p.apply(&batch(1, "bytes", &[(1, 1, "x", "a", 4096)]));
    assert_eq!((p.weights(&StackFilter::default()).total, p.sample_types().len()), (4096, 1));
    p.apply(&batch(2, "ns", &[(1, 1, "x", "a", 7)]));
    assert_eq!(p.weights(&StackFilter::default()).total, 7, "on a CPU is what is meant when it is there");
    let bytes = StackFilter { event: Some("bytes".into()), ..StackFilter::default() };
    assert_eq!((p.weights(&bytes).total, &*p.weights(&bytes).unit), (4096, "bytes"));
    assert_eq!(p.sample_types().iter().map(|t| &*t.event).collect::<Vec<_>>(), ["cpu-clock", "bytes"]);
}

#[test]
fn a_damaged_table_costs_frames_and_nothing_else() {
    let mut stacks = batch(1, "ns", &[(1, 1, "x", "a;b", 1), (2, 1, "x", "a;c", 1)]);
    stacks.table.nodes[0] = (Some(StackId(1)), FrameId(77));
    stacks.table.nodes.push((Some(StackId(2)), FrameId(1)));
    stacks.samples[1].stack = Some(StackId(u32::MAX));
    stacks.samples.push(Sample { stack: Some(StackId(3)), ..stacks.samples[0].clone() });
    let mut p = Profile::default();
    p.apply(&stacks);
    assert_eq!(p.folded(&StackFilter::default(), false), ["x 1", "x;[unknown];b 1", "x;[unknown];c;b 1"]);
}

#[test]
fn deep_stacks_and_many_samples_fold_without_recursion() {
    let deep = (0..4000).map(|n| format!("f{}", n % 100)).collect::<Vec<_>>().join(";");
    let p = profile(&[(1, 1, "x", &deep, 3), (2, 1, "x", &deep[..deep.len() - 4], 1)]);
    let g = p.flame(&StackFilter::default(), Order::Name, true);
    assert_eq!((g.depth, g.weights.total), (4001, 4));
    let hot = p.hot(&StackFilter::default());
    assert!(hot.len() == 100 && hot.iter().all(|h| h.total == 4));
}

fn folded_sum(lines: &[String]) -> u64 {
    lines.iter().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// (time, process, thread name, stack, weight) as [`batch`] takes it.
pub(super) type Given = (u64, u32, String, String, u64);

pub(super) fn any_samples() -> impl Strategy<Value = Vec<Given>> {
    let stack = prop::collection::vec(prop::sample::select(vec!["a", "b", "k_c", "d"]), 0..6).prop_map(|v| v.join(";"));
    prop::collection::vec((0u64..100, 0u32..4, "[xy]", stack, 0u64..1000), 0..40)
}

pub(super) fn borrowed(samples: &[Given]) -> Vec<(u64, u32, &str, &str, u64)> {
    samples.iter().map(|(at, pid, comm, stack, w)| (*at, *pid, comm.as_str(), stack.as_str(), *w)).collect()
}

proptest! {
    #[test]
    fn weights_add_up_in_every_form(samples in any_samples(), idle: bool, from in 0u64..100, len in 0u64..100) {
        let p = profile(&borrowed(&samples));
        let span = Some(Span { from: At(from), to: At(from + len) });
        let filter = StackFilter { idle, span, ..StackFilter::default() };
        let total = p.weights(&filter).total;
        for by_thread in [true, false] {
            let g = p.flame(&filter, Order::Weight, by_thread);
            prop_assert_eq!(g.nodes[0].total, total);
            prop_assert_eq!(g.nodes.iter().map(|n| n.self_weight).sum::<u64>(), total);
            for id in g.subtree(FlameGraph::ROOT) {
                let n = g.node(id);
                let above: u64 = g.children(id).map(|c| g.node(c).total).sum();
                prop_assert_eq!(n.total, n.self_weight + above);
                let mut left = n.start;
                for c in g.children(id) {
                    prop_assert_eq!((g.node(c).start, g.parent(c)), (left, Some(id)));
                    left += g.node(c).total;
                }
                prop_assert_eq!(g.find(&g.path(id)), Some(id));
            }
        }
        prop_assert_eq!(folded_sum(&p.folded(&filter, true)), total);
        let hot = p.hot(&filter);
        let stackless: u64 = p.flame(&filter, Order::Name, false).nodes[0].self_weight;
        prop_assert_eq!(hot.iter().map(|h| h.self_weight).sum::<u64>() + stackless, total);
        for h in &hot {
            let name = Pattern::new(&h.symbol);
            let one: u64 = p.matched(&filter, &name);
            prop_assert!(h.self_weight <= h.total && h.total <= one);
            let g = p.flame(&filter, Order::Name, true);
            prop_assert_eq!(g.search(&name, FlameGraph::ROOT).weight, one);
        }
    }

    #[test]
    fn the_order_of_batches_changes_no_total(samples in any_samples(), cut in 0usize..40, flip: bool) {
        let all = borrowed(&samples);
        let (a, b) = all.split_at(cut.min(all.len()));
        let (mut parts, mut split) = (vec![batch(1, "ns", a), batch(1, "ns", b)], Profile::default());
        if flip {
            parts.reverse();
        }
        parts.iter().for_each(|part| split.apply(part));
        let whole = profile(&all);
        let filter = StackFilter { idle: true, ..StackFilter::default() };
        prop_assert_eq!(split.folded(&filter, true), whole.folded(&filter, true));
        prop_assert_eq!(split.hot(&filter), whole.hot(&filter));
        let mut graph = split.flame(&filter, Order::Name, true);
        let whole_graph = whole.flame(&filter, Order::Name, true);
        // Each batch of these tests has lost one.
        graph.weights.lost = whole_graph.weights.lost;
        prop_assert_eq!(graph, whole_graph);
        let times: Vec<_> = split.samples(&filter).map(|s| s.at).collect();
        prop_assert!(times.is_sorted());
    }

    #[test]
    fn how_a_batch_numbers_its_frames_does_not_matter(samples in any_samples()) {
        let mut given = borrowed(&samples);
        given.sort_by_key(|s| s.0);
        let plain = batch(1, "ns", &given);
        // The same samples over a table in which other stacks came first.
        let decoys = [(0, 1, "x", "d;k_c;b", 1), (0, 1, "x", "b;a;d", 1)];
        let mut other = batch(1, "ns", &[&decoys[..], &given].concat());
        other.samples.drain(..2);
        let (mut a, mut b) = (Profile::default(), Profile::default());
        a.apply(&plain);
        b.apply(&other);
        prop_assert_eq!(a, b);
    }
}
