//! The watch over waiting threads, with programs whose waits are known.
//!
//! Must not: watch for long, or leave a process behind.

mod profiling;

use perfbench::clock::Clock;
use perfbench::model::{CaptureId, CaptureState, Event, OFF_CPU};
use perfbench::profile::{OffCpuRequest, Scope, Surroundings, Want, inspect_built_in, watch_off_cpu};
use perfbench::timeline::stacks::{Pattern, Profile, StackFilter};
use profiling::{Place, Running, Told, skip, user_id};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// A thread holds a lock 50 ms of every 100; others wait for it, sleep, read a pipe, poll, or work.
const WAITS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];
static void until(struct timespec *t, long ns) {
    t->tv_nsec += ns;
    if (t->tv_nsec >= 1000000000) { t->tv_nsec -= 1000000000; t->tv_sec++; }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, t, 0);
}
__attribute__((noinline)) void take_the_lock(void) { pthread_mutex_lock(&lock); }
__attribute__((noinline)) void needs_the_lock(void) { take_the_lock(); pthread_mutex_unlock(&lock); }
static void *holder(void *x) {
    prctl(PR_SET_NAME, "holder");
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
    for (;;) { pthread_mutex_lock(&lock); until(&t, 50000000); pthread_mutex_unlock(&lock); until(&t, 50000000); }
}
static void *waiter(void *x) {
    prctl(PR_SET_NAME, "waiter");
    for (;;) { needs_the_lock(); usleep(1000); }
}
static void *writer(void *x) {
    prctl(PR_SET_NAME, "writer");
    for (;;) { usleep(20000); if (write(ends[1], "x", 1) < 0) return 0; }
}
static void *reader(void *x) {
    prctl(PR_SET_NAME, "reader");
    char c;
    while (read(ends[0], &c, 1) > 0);
    return 0;
}
static void *poller(void *x) {
    prctl(PR_SET_NAME, "poller");
    struct epoll_event e;
    int set = epoll_create1(0);
    for (;;) epoll_wait(set, &e, 1, 100);
}
int main(void) {
    prctl(PR_SET_PDEATHSIG, 9);
    pthread_t t;
    void *(*all[])(void *) = {holder, waiter, writer, reader, poller};
    if (pipe(ends)) return 1;
    for (int n = 0; n < 5; n++) pthread_create(&t, 0, all[n], 0);
    prctl(PR_SET_NAME, "sleeper");
    sleep(60);
    return 0;
}
"#;

fn start(place: &Place) -> Running {
    let (source, program) = (place.path().join("waits.c"), place.path().join("waits"));
    std::fs::write(&source, WAITS).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-O0", "-fno-omit-frame-pointer", "-pthread", "-o"]).args([&program, &source]);
    assert!(cc.status().is_ok_and(|s| s.success()), "cc builds the program to be watched");
    // Ahead of all that is busy on this machine, where that is permitted: what its threads wait for is
    // known then.
    let ahead = Command::new("chrt").args(["-f", "5", "true"]).output().is_ok_and(|o| o.status.success());
    let mut command = if ahead { Command::new("chrt") } else { Command::new(&program) };
    if ahead {
        command.args(["-f", "5"]).arg(&program);
    }
    let running = Running(command.spawn().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    running
}

/// Whether switches may be recorded here; says what is missing.
fn permits() -> bool {
    let around = Surroundings::here();
    let plan = inspect_built_in(&around).plan(&around, &[std::process::id()], Want::Widest);
    let permits = plan.is_ok_and(|p| !matches!(p.scope, Scope::Processes { user_only: true, .. }));
    if !permits {
        skip("the right to sample the kernel");
    }
    permits
}

fn watched(request: OffCpuRequest, time: Duration) -> (Told, Vec<String>) {
    let (told, faults, _) = watched_with(request, time, || ());
    (told, faults)
}

/// And what `look` gives right before the capture and right after it.
fn watched_with<T>(request: OffCpuRequest, time: Duration, look: impl Fn() -> T) -> (Told, Vec<String>, [T; 2]) {
    let (send, receive) = sync_channel(4096);
    let warm = if request.throughout { Duration::from_millis(2500) } else { Duration::ZERO };
    let watch = watch_off_cpu(request, Clock::start(), send);
    // It takes its time to begin.
    std::thread::sleep(warm);
    let before = look();
    watch.capture(CaptureId(3), Duration::ZERO, time);
    while watch.has_capture_under_way() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let looks = [before, look()];
    drop(watch);
    let mut told = Told::default();
    let mut faults = Vec::new();
    for event in receive {
        match event {
            Event::Capture(news) => told.states.push((news.at, news.state)),
            Event::Stacks(stacks) => {
                assert!(stacks.event.starts_with(OFF_CPU) && &*stacks.unit == "ns", "{}", stacks.event);
                told.stacks.push(stacks);
            }
            Event::Fault(fault) => faults.push(fault.what),
            other => panic!("{other:?}"),
        }
    }
    (told, faults, looks)
}

/// Share of the capture that a thread waited in stacks with this name in them.
fn share(profile: &Profile, secs: f64, event: &str, comm: &str, pattern: &str) -> f64 {
    let filter = StackFilter {
        event: Some(event.into()),
        comm: Some(comm.into()),
        symbol: Some(Pattern::new(pattern)),
        idle: true,
        ..StackFilter::default()
    };
    profile.weights(&filter).total as f64 / 1e9 / secs
}

fn once(pids: Vec<u32>) -> OffCpuRequest {
    OffCpuRequest { throughout: false, ..OffCpuRequest::new(pids) }
}

#[test]
fn every_thread_waits_as_long_as_it_does_and_for_what_it_does() {
    if !permits() {
        return;
    }
    let place = Place::new();
    let program = start(&place);
    let (told, faults) = watched(once(vec![program.pid()]), Duration::from_millis(3000));
    assert_eq!(faults, Vec::<String>::new());
    let (span, samples, lost, notes) = told.done();
    assert!((2.99..3.3).contains(&span.secs()) && lost == 0, "{span:?} {lost}");
    assert_eq!(told.samples().count() as u64, samples);
    assert!(told.samples().all(|s| span.contains(s.at) && s.pid == program.pid()), "{span:?}");
    assert!(notes[0].contains("by every context switch") && notes[1].contains("[lock wait]"), "{notes:?}");
    let profile = told.profile();
    let of = |comm: &str, pattern: &str| share(&profile, span.secs(), "off-cpu:blocked", comm, pattern);
    let (locked, free) = (of("waiter", "[lock wait]"), of("waiter", "[sleep]"));
    // On a busy machine not every switch is sampled, and the first of ten a second may pass unseen.
    let unseen = of("waiter", "[not sampled]");
    assert!((0.46..0.52).contains(&(locked + unseen)) && locked > 0.3, "{locked} {unseen}");
    assert!((0.46..0.53).contains(&free), "{free}");
    assert!(of("waiter", "needs_the_lock") > 0.1, "{:?}", profile.hot(&StackFilter::default()));
    assert_eq!(of("holder", "[lock wait]") + of("waiter", "[pipe]"), 0.0);
    for (comm, marker) in
        [("holder", "[sleep]"), ("sleeper", "[sleep]"), ("reader", "[pipe]"), ("poller", "[idle: epoll]")]
    {
        assert!((0.93..1.005).contains(&of(comm, marker)), "{comm}: {}", of(comm, marker));
    }
    // Who waits for work is left out unless asked for.
    let filter = StackFilter { event: Some("off-cpu:blocked".into()), ..StackFilter::default() };
    let shown = profile.weights(&filter);
    assert!(profile.hot(&filter).iter().all(|h| !h.symbol.starts_with("[idle")));
    assert!((0.93..1.005).contains(&(shown.idle as f64 / 1e9 / span.secs())), "{shown:?}");
    let first = &profile.hot(&filter)[0];
    assert!(first.symbol.starts_with('[') && first.kind.is_kernel(), "{first:?}");
}

#[test]
fn all_time_of_a_thread_is_on_a_cpu_blocked_or_runnable() {
    if !permits() {
        return;
    }
    if Command::new("taskset").arg("--version").output().is_err() {
        return skip("taskset");
    }
    let place = Place::new();
    let burner = place.burner();
    let burn = |_| Running(Command::new("taskset").args(["-c", "0"]).arg(&burner).arg("9").spawn().unwrap());
    let both: Vec<Running> = (0..2).map(burn).collect();
    std::thread::sleep(Duration::from_millis(300));
    let pids: Vec<u32> = both.iter().map(Running::pid).collect();
    let times = || -> Vec<[f64; 2]> {
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            let mut words = text.split(' ').map(|w| w.trim().parse::<f64>().unwrap() / 1e9);
            [words.next().unwrap(), words.next().unwrap()]
        };
        pids.iter().map(of).collect()
    };
    let request = OffCpuRequest::new(pids.clone());
    let (told, _, [before, after]) = watched_with(request, Duration::from_millis(2000), times);
    let span = told.done().0.secs();
    let profile = told.profile();
    let mut all = 0.0;
    for (n, pid) in pids.iter().enumerate() {
        let filter = |event: &str| StackFilter {
            event: Some(event.into()),
            pid: Some(*pid),
            capture: Some(CaptureId(3)),
            idle: true,
            ..StackFilter::default()
        };
        let runnable = profile.weights(&filter("off-cpu:runnable")).total as f64 / 1e9;
        let blocked = profile.weights(&filter("off-cpu:blocked")).total as f64 / 1e9;
        let [on_cpu, queued] = [0, 1].map(|i| after[n][i] - before[n][i]);
        // What it is in the middle of waiting for is not counted by the kernel yet.
        assert!((runnable - queued).abs() < 0.1 * span, "{runnable} s, the kernel counts {queued} s");
        let sum = runnable + blocked + on_cpu;
        assert!((0.93 * span..1.1 * span).contains(&sum), "{runnable} + {blocked} + {on_cpu} of {span} s");
        assert!(blocked < 0.02 * span, "{blocked}");
        all += runnable;
    }
    // Two share one CPU: together they wait at least as long as the capture lasts.
    assert!(all > 0.93 * span, "{all} of {span} s");
    let filter =
        StackFilter { event: Some("off-cpu:runnable".into()), capture: Some(CaptureId(3)), ..StackFilter::default() };
    // Where it was preempted before the watch began nobody knows.
    let preempted = profile.matched(&filter, &Pattern::new("[preempted]"));
    assert!(preempted * 2 > profile.weights(&filter).total, "{:?}", profile.folded(&filter, false));
}

#[test]
fn the_time_before_the_key_is_kept_and_a_thin_stream_agrees_with_it() {
    if !permits() {
        return;
    }
    let place = Place::new();
    let program = start(&place);
    let (send, receive) = sync_channel(4096);
    let clock = Clock::start();
    let watch = watch_off_cpu(OffCpuRequest::new(vec![program.pid()]), clock.clone(), send);
    std::thread::sleep(Duration::from_millis(2500));
    let pressed = clock.now();
    watch.capture(CaptureId(3), Duration::from_secs(1), Duration::from_millis(500));
    while watch.has_capture_under_way() {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(watch);
    let (mut profile, mut span) = (Profile::default(), None);
    for event in receive {
        match event {
            Event::Stacks(stacks) => profile.apply(&stacks),
            Event::Capture(news) => match news.state {
                CaptureState::Done { span: s, .. } => span = Some(s),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    let span = span.unwrap();
    assert!(pressed.since_ns(span.from) > 990_000_000 && (1.49..3.0).contains(&span.secs()), "{span:?}");
    let of = |capture, comm: &str| {
        let filter = StackFilter {
            event: Some("off-cpu:blocked".into()),
            capture: Some(CaptureId(capture)),
            comm: Some(comm.into()),
            ..StackFilter::default()
        };
        profile.weights(&filter).total as f64 / 1e9
    };
    let kept = of(3, "sleeper") / span.secs();
    assert!((0.95..1.005).contains(&kept), "{kept} of {span:?}");
    let secs = of(0, "sleeper");
    let locked = ["[lock wait]", "[not sampled]"].map(|m| share(&profile, secs, "off-cpu:blocked", "waiter", m));
    // All but the first moments were watched, and no second counts twice.
    assert!((2.3..3.3).contains(&of(0, "sleeper")), "{}", of(0, "sleeper"));
    assert!((0.44..0.56).contains(&(locked[0] + locked[1])) && locked[0] > 0.25, "{locked:?}");
}

/// The part of this file that runs in a process of its own, when the test below starts it.
#[test]
fn in_a_process_of_its_own() {
    let Some(temp) = std::env::var_os("PERFBENCH_TEST_PLACE").map(PathBuf::from) else { return };
    let program = Running(Command::new(temp.join("waits")).spawn().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let (told, faults) = watched(once(vec![program.pid()]), Duration::from_millis(3000));
    let (span, _, _, notes) = told.done();
    let profile = told.profile();
    let of = |comm: &str, pattern: &str| share(&profile, span.secs(), "off-cpu:wchan", comm, pattern);
    assert!(faults.len() == 1 && faults[0].contains("looks at /proc only"), "{faults:?}");
    assert!(notes[0].contains("20 looks a second at /proc (wchan, schedstat)"), "{notes:?}");
    assert!(notes[0].contains("sudo sysctl -w kernel.perf_event_paranoid="), "{notes:?}");
    let locked = of("waiter", "[lock wait]");
    assert!((0.38..0.62).contains(&locked), "{locked}");
    assert!(of("waiter", "futex_") == locked && of("poller", "[idle: epoll]") + of("poller", "[idle: poll]") > 0.93);
    for (comm, marker) in [("sleeper", "[sleep]"), ("reader", "[pipe]")] {
        assert!((0.93..1.005).contains(&of(comm, marker)), "{comm}: {}", of(comm, marker));
    }
    println!("told: {}", notes.join(" | "));
}

#[test]
fn a_user_without_privileges_sees_what_proc_shows_him() {
    let around = Surroundings::here();
    if inspect_built_in(&around).paranoid.is_none_or(|p| p < 2) {
        return skip("kernel.perf_event_paranoid = 2");
    }
    let mut command = match user_id() {
        0 if Command::new("setpriv").arg("--version").output().is_err() => return skip("setpriv"),
        0 => {
            let mut c = Command::new("setpriv");
            c.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(std::env::current_exe().unwrap());
            c
        }
        _ => Command::new(std::env::current_exe().unwrap()),
    };
    let place = Place::new();
    drop(start(&place));
    command.args(["--exact", "in_a_process_of_its_own", "--nocapture"]).env("PERFBENCH_TEST_PLACE", place.path());
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("told: off-CPU: process "), "{text}");
}
