//! Switches put together by hand, and what their time must come to.

use super::*;

const MS: u64 = 1_000_000;

fn waits(least: u64) -> Waits {
    Waits::new(least, 0, 0)
}

fn step(w: &mut Waits, at: u64, tid: u32, step: Step) {
    w.step(&Who { at, cpu: 1, pid: 7, tid }, step, || format!("t{tid}").as_str().into());
}

fn named(name: &str) -> Place {
    Place::Function(name.into())
}

fn sampled(w: &mut Waits, at: u64, tid: u32, name: &str, period: u64) {
    step(w, at, tid, Step::Sampled { place: named(name), period });
    step(w, at + 1, tid, Step::Out { preempted: false });
}

fn sum(waits: &[Wait], kind: Kind, place: &Place) -> u64 {
    waits.iter().filter(|w| w.kind == kind && w.place == *place).map(|w| w.weight).sum()
}

fn total(waits: &[Wait], kind: Kind) -> u64 {
    waits.iter().filter(|w| w.kind == kind).map(|w| w.weight).sum()
}

#[test]
fn a_wait_lasts_from_leaving_to_coming_back() {
    let mut w = waits(0);
    sampled(&mut w, 100, 8, "lock", 1);
    step(&mut w, 100 + 5 * MS, 8, Step::In);
    step(&mut w, 10 * MS, 8, Step::Out { preempted: true });
    step(&mut w, 12 * MS, 8, Step::In);
    let all = w.close(1000 * MS, &HashMap::new());
    assert_eq!(sum(&all, Kind::Blocked, &named("lock")), 5 * MS - 1);
    assert_eq!(sum(&all, Kind::Runnable, &Place::NotSampled), 2 * MS);
    assert_eq!((all.len(), all[0].at, &*all[0].comm, all[0].cpu), (2, At(101), "t8", 1));
    assert_eq!(w.close(2000 * MS, &HashMap::new()), []);
}

#[test]
fn a_sample_stands_for_waits_of_its_length_and_nothing_is_lost() {
    let mut w = waits(0);
    let mut exact = 0;
    // A hundred short waits, one in ten sampled; one long one, not sampled.
    for n in 0..100u64 {
        let at = n * MS;
        match n % 10 {
            0 => sampled(&mut w, at - u64::from(n > 0), 8, if n < 50 { "a" } else { "b" }, 10),
            _ => step(&mut w, at, 8, Step::Out { preempted: false }),
        }
        let left = if n == 0 { 1 } else { at };
        step(&mut w, at + 50_000 + n, 8, Step::In);
        exact += at + 50_000 + n - left;
    }
    step(&mut w, 200 * MS, 8, Step::Out { preempted: false });
    step(&mut w, 700 * MS, 8, Step::In);
    let all = w.close(1000 * MS, &HashMap::new());
    assert_eq!(sum(&all, Kind::Blocked, &Place::NotSampled), 500 * MS);
    let (a, b) = (sum(&all, Kind::Blocked, &named("a")), sum(&all, Kind::Blocked, &named("b")));
    assert_eq!(a + b, exact);
    assert!(a.abs_diff(b) < exact / 50, "{a} {b}");
}

#[test]
fn in_a_turn_without_samples_the_latest_before_count() {
    let mut w = waits(0);
    sampled(&mut w, 0, 8, "a", 3);
    step(&mut w, 3 * MS + 1, 8, Step::In);
    sampled(&mut w, 10 * MS, 8, "b", 1);
    step(&mut w, 13 * MS + 1, 8, Step::In);
    assert_eq!(total(&w.close(1000 * MS, &HashMap::new()), Kind::Blocked), 6 * MS);
    step(&mut w, 2000 * MS, 8, Step::Out { preempted: false });
    step(&mut w, 2004 * MS, 8, Step::In);
    step(&mut w, 2100 * MS, 8, Step::Out { preempted: false });
    step(&mut w, 2200 * MS, 8, Step::In);
    let all = w.close(3000 * MS, &HashMap::new());
    let of = |place: &Place| sum(&all, Kind::Blocked, place);
    assert_eq!([of(&named("a")), of(&named("b")), of(&Place::NotSampled)], [3 * MS, MS, 100 * MS]);
}

#[test]
fn what_goes_on_is_cut_at_every_turn_and_said_where_it_is() {
    let mut w = waits(0);
    step(&mut w, 100 * MS, 8, Step::Out { preempted: false });
    assert_eq!((w.without_place(100 * MS), w.without_place(101 * MS)), (vec![], vec![(7, 8)]));
    w.place(8, "pipe_read".into());
    let first = w.close(1000 * MS, &HashMap::new());
    let second = w.close(2000 * MS, &HashMap::new());
    step(&mut w, 2500 * MS, 8, Step::In);
    let third = w.close(3000 * MS, &HashMap::new());
    let of = |all: &[Wait]| (all[0].at.0 / MS, all[0].weight / MS, all.len());
    assert_eq!([of(&first), of(&second), of(&third)], [(100, 900, 1), (1000, 1000, 1), (2000, 500, 1)]);
    assert_eq!(third[0].place, named("pipe_read"));
    // It stands for no other wait.
    w.place(8, "x".into());
    step(&mut w, 3100 * MS, 8, Step::Out { preempted: false });
    step(&mut w, 3400 * MS, 8, Step::In);
    step(&mut w, 3500 * MS, 8, Step::Out { preempted: false });
    w.place(8, "y".into());
    let all = w.close(3900 * MS, &HashMap::new());
    assert_eq!(
        (sum(&all, Kind::Blocked, &named("y")), sum(&all, Kind::Blocked, &Place::NotSampled)),
        (400 * MS, 300 * MS)
    );
}

#[test]
fn who_was_there_before_waits_where_proc_says() {
    let mut w = waits(0);
    let who = |tid| Who { at: 5, cpu: 0, pid: 7, tid };
    w.find(&who(8), Some("ep_poll".into()), || "x".into());
    w.find(&who(9), None, || "y".into());
    // Written before it was looked at, and read after.
    step(&mut w, 3, 8, Step::In);
    sampled(&mut w, 4, 8, "lock", 1);
    let all = w.close(MS, &HashMap::new());
    assert_eq!(
        all.iter().map(|w| (w.tid, w.weight, w.place.clone())).collect::<Vec<_>>(),
        [(8, MS - 5, named("lock"))]
    );
}

#[test]
fn who_could_run_when_first_seen_did_when_it_leaves_and_did_not_when_it_comes() {
    let mut w = waits(0);
    let who = |tid| Who { at: 0, cpu: 0, pid: 7, tid };
    [8, 9, 10].into_iter().for_each(|tid| w.find(&who(tid), None, || "x".into()));
    [8, 9, 10].into_iter().for_each(|tid| w.begin(&who(tid), Times { on_cpu: 5, queued: 0 }, || "x".into()));
    step(&mut w, 4 * MS, 8, Step::In);
    sampled(&mut w, 4 * MS, 9, "lock", 1);
    step(&mut w, 5 * MS + 1, 9, Step::In);
    // The third had no CPU all the time.
    let times = [8, 9, 10].map(|tid| (tid, Times { on_cpu: if tid == 10 { 5 } else { 6 }, queued: 0 }));
    let mut all = w.close(10 * MS, &HashMap::from(times));
    all.sort_by_key(|w| w.tid);
    let rows: Vec<_> = all.iter().map(|w| (w.tid, w.kind, w.weight / MS)).collect();
    assert_eq!(rows, [(8, Kind::Runnable, 4), (9, Kind::Blocked, 1), (10, Kind::Runnable, 10)]);
}

#[test]
fn short_waits_are_summed_up_apart() {
    let mut w = waits(1000);
    for n in 0..10 {
        sampled(&mut w, n * MS, 8, "x", 1);
        step(&mut w, n * MS + 501, 8, Step::In);
    }
    // Too short at the end of the turn, and long enough at its end.
    sampled(&mut w, 1000 * MS - 101, 8, "y", 1);
    assert_eq!((w.close(1000 * MS, &HashMap::new()), w.short), (vec![], (10, 5000)));
    step(&mut w, 1001 * MS, 8, Step::In);
    let all = w.close(2000 * MS, &HashMap::new());
    assert_eq!((all.len(), all[0].weight), (1, MS + 100));
}

#[test]
fn after_being_woken_it_waits_for_a_cpu_as_the_kernel_counts() {
    let mut w = waits(0);
    let times = |queued: u64| HashMap::from([(8, Times { on_cpu: 0, queued })]);
    w.begin(&Who { at: 0, cpu: 0, pid: 7, tid: 8 }, Times { on_cpu: 0, queued: 1000 * MS }, || "x".into());
    sampled(&mut w, 0, 8, "lock", 1);
    step(&mut w, 100 * MS, 8, Step::In);
    step(&mut w, 200 * MS, 8, Step::Out { preempted: true });
    step(&mut w, 230 * MS, 8, Step::In);
    let all = w.close(1000 * MS, &times(1050 * MS));
    assert_eq!(sum(&all, Kind::Runnable, &Place::Queue), 20 * MS);
    assert_eq!(total(&all, Kind::Runnable), 50 * MS);
    assert_eq!(total(&all, Kind::Blocked), 80 * MS - 1);
    assert_eq!(w.close(2000 * MS, &times(1050 * MS)), []);
}

#[test]
fn every_wait_gives_as_much_for_the_time_after_it_and_none_more_than_it_has() {
    let mut w = waits(0);
    let times = |queued: u64| HashMap::from([(8, Times { on_cpu: 0, queued })]);
    w.begin(&Who { at: 0, cpu: 0, pid: 7, tid: 8 }, Times::default(), || "x".into());
    // Ten sleeps of 2 ms that stand for themselves, a wait of 70 ms, and nothing else.
    for n in 0..10 {
        sampled(&mut w, n * 10 * MS, 8, "sleep", 1);
        step(&mut w, n * 10 * MS + 1 + 2 * MS, 8, Step::In);
    }
    sampled(&mut w, 200 * MS, 8, "lock", 1);
    step(&mut w, 270 * MS + 1, 8, Step::In);
    let all = w.close(1000 * MS, &times(11 * MS));
    assert_eq!(sum(&all, Kind::Blocked, &named("lock")), 69 * MS);
    assert_eq!(sum(&all, Kind::Blocked, &named("sleep")), 10 * MS);
    assert_eq!(sum(&all, Kind::Runnable, &Place::Queue), 11 * MS);
    sampled(&mut w, 2000 * MS, 8, "sleep", 1);
    step(&mut w, 2001 * MS + 1, 8, Step::In);
    sampled(&mut w, 2100 * MS, 8, "lock", 1);
    step(&mut w, 2110 * MS + 1, 8, Step::In);
    let all = w.close(3000 * MS, &times(19 * MS));
    assert_eq!(sum(&all, Kind::Blocked, &named("lock")), 3 * MS);
    assert_eq!((sum(&all, Kind::Blocked, &named("sleep")), total(&all, Kind::Runnable)), (0, 8 * MS));
}

#[test]
fn without_records_the_kernels_count_is_shared_out_by_samples() {
    let mut w = waits(0);
    let who = |at| Who { at, cpu: 0, pid: 7, tid: 8 };
    w.begin(&who(0), Times { on_cpu: MS, queued: MS }, || "x".into());
    w.look(&who(1), Kind::Blocked, named("a"), 30, || "x".into());
    w.look(&who(2), Kind::Blocked, named("b"), 10, || "x".into());
    w.look(&who(3), Kind::Runnable, named("c"), 5, || "x".into());
    let times = HashMap::from([(8, Times { on_cpu: 101 * MS, queued: 201 * MS })]);
    let all = w.close_by_count(1000 * MS, &times, None);
    assert_eq!(sum(&all, Kind::Blocked, &named("a")), 525 * MS);
    assert_eq!(sum(&all, Kind::Blocked, &named("b")), 175 * MS);
    assert_eq!(sum(&all, Kind::Runnable, &named("c")), 200 * MS);
    // Where the kernel does not count, looks do.
    w.look(&who(1001 * MS), Kind::Blocked, named("a"), 1, || "x".into());
    let all = w.close_by_count(2000 * MS, &HashMap::new(), Some(50 * MS));
    assert_eq!((all.len(), all[0].weight), (1, 50 * MS));
}

#[test]
fn who_ends_waits_no_more_and_a_number_may_be_used_again() {
    let mut w = waits(0);
    step(&mut w, 10, 8, Step::In);
    step(&mut w, 20, 8, Step::Ended);
    sampled(&mut w, 30, 8, "do_exit", 1);
    assert_eq!((w.close(MS, &HashMap::new()), w.tids().count()), (vec![], 0));
    step(&mut w, 2 * MS, 8, Step::In);
    sampled(&mut w, 3 * MS, 8, "a", 1);
    // Its way back was lost: of that wait nothing is known.
    sampled(&mut w, 5 * MS, 8, "b", 1);
    step(&mut w, 6 * MS + 1, 8, Step::In);
    let all = w.close(10 * MS, &HashMap::new());
    assert_eq!(all.iter().map(|w| (w.place.clone(), w.weight)).collect::<Vec<_>>(), [(named("b"), MS)]);
    step(&mut w, 11 * MS, 8, Step::Out { preempted: false });
    w.gone(8);
    assert_eq!((w.close(20 * MS, &HashMap::new()), w.tids().count()), (vec![], 0));
}
