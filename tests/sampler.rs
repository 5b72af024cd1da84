//! The built-in sampler and the flight recorder over the real kernel, with programs whose functions
//! and shares are known.
//!
//! Must not: sample for long, or leave a process behind.

mod profiling;

use perfbench::clock::Clock;
use perfbench::model::{At, CaptureId, CaptureState, Event, FrameKind, Stacks};
use perfbench::profile::{
    CallGraph, CaptureRequest, Recorder, RecorderRequest, Source, Surroundings, Want, inspect_built_in, record,
};
use perfbench::timeline::stacks::{Profile, StackFilter};
use profiling::{Place, Running, Told, burns, skip, user_id};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Spends two thirds of its time in one function and a third in another.
const SHARES: &str = r#"
#include <sys/prctl.h>
#include <time.h>
volatile unsigned long sink;
static unsigned long now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1000000000ul + t.tv_nsec; }
__attribute__((noinline)) void spin(unsigned long ns) { unsigned long end = now() + ns; while (now() < end) for (int i = 0; i < 1000; i++) sink += i; }
__attribute__((noinline)) void two_thirds(void) { spin(2000000); sink++; }
__attribute__((noinline)) void one_third(void) { spin(1000000); sink++; }
__attribute__((noinline)) void deep(int n) { if (n) { deep(n - 1); sink++; } else spin(300000000); }
int main(int count, char **argument) {
    prctl(PR_SET_PDEATHSIG, 9);
    if (count > 1 && argument[1][0] == 'd') { for (;;) deep(300); }
    for (time_t end = time(0) + 20; time(0) < end;) { two_thirds(); one_third(); }
    return 0;
}
"#;

/// Runs 25 ms of machine code of its own in memory it has made itself, and tells its map of it.
const COMPILED: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    prctl(PR_SET_PDEATHSIG, 9);
    /* push rbp; mov rbp,rsp; mov rcx,0x2000000; 1: dec rcx; jnz 1b; pop rbp; ret */
    unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xc7, 0xc1, 0, 0, 0, 2, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0x5d, 0xc3};
    unsigned char *m = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(m, code, sizeof code);
    char name[64];
    sprintf(name, "/tmp/perf-%d.map", getpid());
    FILE *f = fopen(name, "w");
    fprintf(f, "%lx %zx made up<>& at run time\ntorn", (unsigned long)m, sizeof code);
    fclose(f);
    for (int i = 0; i < 2000; i++) ((void (*)(void))m)();
    return 0;
}
"#;

fn build(place: &Place, name: &str, source: &str) -> PathBuf {
    let (from, to) = (place.path().join(format!("{name}.c")), place.path().join(name));
    std::fs::write(&from, source).unwrap();
    let cc = Command::new("cc").args(["-O0", "-fno-omit-frame-pointer", "-o"]).args([&to, &from]).status();
    assert!(cc.is_ok_and(|s| s.success()), "cc builds the program to be sampled");
    to
}

fn start(program: &Path, arguments: &[&str]) -> Running {
    Running(Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap())
}

fn request(place: &Place, millis: u64, pids: Vec<u32>, want: Want) -> CaptureRequest {
    CaptureRequest { source: Source::BuiltIn, want, ..place.request(millis, pids) }
}

/// One test at a time: together they leave none of them enough of a small machine.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the kernel lets the built-in sampler do as much as the test wants; says when not.
fn permits(pids: &[u32], want: Want) -> bool {
    let around = Surroundings::here();
    match inspect_built_in(&around).plan(&around, pids, want) {
        Ok(_) => true,
        Err(obstacle) => {
            skip(&format!("a kernel that lets us sample ({obstacle})"));
            false
        }
    }
}

fn of_pid(pid: u32) -> StackFilter {
    StackFilter { pid: Some(pid), ..StackFilter::default() }
}

/// How long a process's first thread was on a CPU so far, ns (/proc/PID/schedstat).
fn on_cpu_ns(pid: u32) -> u64 {
    let schedstat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// The share of a process's weight in stacks with a function of that name.
fn share(profile: &Profile, pid: u32, symbol: &str) -> f64 {
    let total = profile.weights(&of_pid(pid)).total;
    let hot = profile.hot(&of_pid(pid));
    let of = hot.iter().filter(|h| &*h.symbol == symbol).map(|h| h.total).sum::<u64>();
    of as f64 / total.max(1) as f64
}

#[test]
fn known_functions_have_their_names_and_shares() {
    let _alone = alone();
    let place = Place::new();
    let program = build(&place, "shares", SHARES);
    let running = start(&program, &[]);
    if !permits(&[running.pid()], Want::AllCpus) {
        return;
    }
    let mut request = request(&place, 3000, vec![running.pid()], Want::AllCpus);
    request.hz = 299;
    let clock = Clock::start();
    let before = (on_cpu_ns(running.pid()), clock.now());
    let told = Told::by(request, &clock);
    let (span, samples, lost, notes) = told.done();
    assert!(told.how().starts_with("built-in sampler, all CPUs, c"), "{}", told.how());
    assert!(matches!(told.states[1].1, CaptureState::Reading), "{:?}", told.states);
    assert_eq!((told.samples().count() as u64, lost), (samples, 0));
    assert!((2.9..3.5).contains(&span.secs()) && told.samples().all(|s| span.contains(s.at)), "{span:?}");
    assert!(told.stacks.iter().all(|s| s.samples.is_sorted_by_key(|s| s.at)));
    let profile = told.profile();
    let (two, one) = (share(&profile, running.pid(), "two_thirds"), share(&profile, running.pid(), "one_third"));
    assert!((0.57..0.77).contains(&two) && (0.23..0.43).contains(&one), "{two} {one} {notes:?}");
    let hot = profile.hot(&of_pid(running.pid()));
    let main = hot.iter().find(|h| &*h.symbol == "main").unwrap();
    assert!(&*main.module == "shares" && main.kind == FrameKind::User && main.self_weight * 20 < main.total);
    assert!(hot.iter().any(|h| h.symbol.contains("libc_start")), "libc's names, too: {hot:?}");
    // Folding keeps every weight, idle ones included.
    let sum: u64 = told.samples().map(|s| s.weight).sum();
    let everything = StackFilter { idle: true, ..StackFilter::default() };
    let folded: u64 =
        profile.folded(&everything, false).iter().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!((folded, profile.weights(&everything).total), (sum, sum));
    // Kernel functions have names when the list of them has addresses.
    if user_id() == 0 {
        let named = |h: &&perfbench::timeline::stacks::Hot| h.kind == FrameKind::Kernel && !h.symbol.starts_with('[');
        assert!(profile.hot(&everything).iter().filter(named).count() > 3);
    }
    if &*told.stacks[0].event == "cpu-clock" {
        // As much as the kernel's own account says it had.
        let share = on_cpu_ns(running.pid()).saturating_sub(before.0) as f64 / clock.now().since_ns(before.1) as f64;
        let ratio = profile.weights(&of_pid(running.pid())).total as f64 / (span.len_ns() as f64 * share);
        assert!((0.7..1.3).contains(&ratio), "{ratio} {share} {notes:?}");
        let idle: Vec<_> = told.samples().filter(|s| s.pid == 0).collect();
        assert!(idle.len() < samples as usize && profile.weights(&StackFilter::default()).total <= sum);
    }
}

/// Else whoever works for what one interrupt holds up is idle when the next CPU's comes.
#[test]
fn timers_of_different_cpus_do_not_go_off_together() {
    let _alone = alone();
    let place = Place::new();
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    if !permits(&[], Want::AllCpus) {
        return;
    }
    if cpus < 2 {
        return skip("two CPUs");
    }
    let program = build(&place, "shares", SHARES);
    let _running: Vec<Running> = (0..cpus).map(|_| start(&program, &[])).collect();
    let mut request = request(&place, 1500, vec![], Want::AllCpus);
    request.hz = 99;
    let told = Told::by(request, &Clock::start());
    if &*told.stacks[0].event != "cpu-clock" {
        return skip("a machine without a counter of cycles");
    }
    // Where in its period a CPU's timer goes off, in the middle of all its samples.
    let period = 1_000_000_000 / 99;
    let first = |cpu| told.samples().find(|s| s.cpu == cpu && s.pid != 0).map(|s| s.at.0);
    let begun = first(0).unwrap();
    let phase = |cpu| {
        let busy = told.samples().filter(|s| s.cpu == cpu && s.pid != 0);
        let mut phases: Vec<u64> = busy.map(|s| (s.at.0 + 2 * period - begun % period) % period).collect();
        phases.sort_unstable();
        *phases.get(phases.len() / 2).unwrap_or_else(|| panic!("no sample of CPU {cpu}"))
    };
    let apart = phase(1).abs_diff(phase(0) % period);
    let apart = apart.min(period - apart);
    assert!(apart > period / u64::from(cpus) / 4, "{apart} of {period} ns");
}

#[test]
fn a_process_alone_keeps_its_names_after_its_end_and_its_program_may_be_deleted() {
    let _alone = alone();
    let place = Place::new();
    let program = build(&place, "shares", SHARES);
    let mut running = start(&program, &[]);
    if !permits(&[running.pid()], Want::Processes) {
        return;
    }
    let request = request(&place, 20_000, vec![running.pid()], Want::Processes);
    let pid = running.pid();
    let (send, receive) = sync_channel(64);
    let capture = perfbench::profile::start(request, Clock::start(), send);
    std::thread::sleep(Duration::from_millis(600));
    std::fs::remove_file(&program).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    running.0.kill().unwrap();
    let told = Told::of(receive);
    capture.wait();
    running.0.wait().unwrap();
    let (span, _, _, notes) = told.done();
    assert!(span.secs() < 10.0 && notes.iter().any(|n| n.contains("ended after")), "{span:?} {notes:?}");
    assert!(told.how().starts_with(&format!("built-in sampler, process {pid}")), "{}", told.how());
    // Of a thread in its last moments the kernel has no number any more.
    let of: Vec<u32> = told.samples().map(|s| s.pid).filter(|&p| p != u32::MAX).collect();
    assert!(of.len() > 5 && of.iter().all(|&p| p == pid), "{pid} in {of:?}");
    let (two, one) = (share(&told.profile(), pid, "two_thirds"), share(&told.profile(), pid, "one_third"));
    assert!(two > 0.5 && one > 0.2, "{two} {one}: {:?}", told.profile().hot(&of_pid(pid)));
}

#[test]
fn programs_that_live_for_milliseconds_have_names() {
    let _alone = alone();
    let place = Place::new();
    if !permits(&[], Want::AllCpus) {
        return;
    }
    // A new process every 30 ms or so: most are gone before the rings are drained.
    let source = SHARES.replace("for (time_t end = time(0) + 20; time(0) < end;)", "for (int n = 0; n < 10; n++)");
    let program = build(&place, "brief", &source);
    let script = format!("while :; do {}; done", program.display());
    let mut shell = Running(Command::new("sh").args(["-c", &script]).spawn().unwrap());
    let mut request = request(&place, 2500, vec![], Want::AllCpus);
    request.hz = 499;
    let told = Told::by(request, &Clock::start());
    shell.0.kill().unwrap();
    shell.0.wait().unwrap();
    let profile = told.profile();
    let all = |comm: &str| -> u64 { told.samples().filter(|s| s.comm.starts_with(comm)).map(|s| s.weight).sum() };
    let named =
        profile.matched(&StackFilter::default(), &perfbench::timeline::stacks::Pattern::new("two_thirds|one_third"));
    let of = all("brief");
    assert!(
        of > 0 && named as f64 > 0.6 * of as f64,
        "{named} of {of}: {:?}",
        profile.folded(&StackFilter::default(), false)
    );
}

#[test]
fn compiled_code_is_named_by_its_map() {
    let _alone = alone();
    if !cfg!(target_arch = "x86_64") {
        return skip("x86-64");
    }
    let place = Place::new();
    let program = build(&place, "compiled", COMPILED);
    let running = start(&program, &[]);
    let map = PathBuf::from(format!("/tmp/perf-{}.map", running.pid()));
    if !permits(&[running.pid()], Want::Processes) {
        return;
    }
    let told = Told::by(request(&place, 1000, vec![running.pid()], Want::Processes), &Clock::start());
    let _ = std::fs::remove_file(map);
    let profile = told.profile();
    let hot = profile.hot(&of_pid(running.pid()));
    let made = hot.iter().find(|h| &*h.symbol == "made up<>& at run time").unwrap_or_else(|| panic!("{hot:?}"));
    let total = profile.weights(&of_pid(running.pid())).total;
    assert!(made.kind == FrameKind::Jit && made.self_weight * 10 > total * 8, "{hot:?}");
    assert!(hot.iter().any(|h| &*h.symbol == "main" && h.total * 10 > total * 8), "its caller: {hot:?}");
}

#[test]
fn stacks_deeper_than_the_kernel_copies_say_so() {
    let _alone = alone();
    let place = Place::new();
    let program = build(&place, "shares", SHARES);
    let running = start(&program, &["d"]);
    if !permits(&[running.pid()], Want::Processes) {
        return;
    }
    let told = Told::by(request(&place, 800, vec![running.pid()], Want::Processes), &Clock::start());
    let profile = told.profile();
    let cut = profile.matched(&of_pid(running.pid()), &perfbench::timeline::stacks::Pattern::new("[truncated]"));
    let total = profile.weights(&of_pid(running.pid())).total;
    assert!(total > 0 && cut * 10 > total * 8, "{cut} of {total}");
    let (.., notes) = told.done();
    assert!(notes.iter().any(|n| n.contains("[truncated]") && n.contains("perf_event_max_stack")), "{notes:?}");
    assert!(share(&profile, running.pid(), "deep") > 0.8);
}

#[test]
fn dwarf_is_left_to_perf_and_auto_says_so() {
    let _alone = alone();
    let place = Place::new();
    let burn = place.burn("9");
    if !permits(&[burn.pid()], Want::Processes) || !profiling_has_perf() {
        return skip("perf");
    }
    let mut wanted = request(&place, 800, vec![burn.pid()], Want::Processes);
    wanted.call_graph = CallGraph::Dwarf;
    let refused = Told::by(wanted.clone(), &Clock::start());
    assert!(refused.failed().0.contains("DWARF need the program perf"), "{refused:?}");
    wanted.source = Source::Auto;
    let told = Told::by(wanted, &Clock::start());
    let (.., notes) = told.done();
    assert!(
        told.how().starts_with("perf, process") && notes[0].starts_with("not by builtin: call graphs"),
        "{notes:?}"
    );
    assert!(notes.iter().any(|n| n.starts_with("call graphs by DWARF: 8192 bytes")), "{notes:?}");
    burns(&told, burn.pid());
    let plain = Told::by(
        CaptureRequest { source: Source::Auto, ..request(&place, 500, vec![burn.pid()], Want::Processes) },
        &Clock::start(),
    );
    assert!(plain.how().starts_with("built-in sampler, process"), "{}", plain.how());
}

fn profiling_has_perf() -> bool {
    perfbench::profile::inspect(&Surroundings::here()).perf.is_ok()
}

/// Samples per second that the kernel allows.
fn most_hz() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate").unwrap().trim().parse().unwrap()
}

/// What a recorder sent.
#[derive(Default)]
struct Sent {
    thin: Vec<Stacks>,
    dense: Vec<Stacks>,
    states: Vec<(CaptureId, At, CaptureState)>,
}

impl Sent {
    fn take(&mut self, events: &Receiver<Event>) {
        for event in events.try_iter() {
            match event {
                Event::Stacks(s) if s.capture == CaptureId::RECORDER => self.thin.push(s),
                Event::Stacks(s) => self.dense.push(s),
                Event::Capture(n) => self.states.push((n.id, n.at, n.state)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes what comes until the recorder has no capture under way.
    fn until_done(&mut self, recorder: &Recorder, events: &Receiver<Event>) {
        let began = Instant::now();
        while recorder.has_capture_under_way() {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", self.states);
            self.take(events);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.take(events);
    }

    fn last_of(&self, id: CaptureId) -> &CaptureState {
        &self.states.iter().rev().find(|s| s.0 == id).unwrap_or_else(|| panic!("{:?}", self.states)).2
    }

    fn folded(stacks: &[Stacks]) -> Profile {
        let mut profile = Profile::default();
        stacks.iter().for_each(|s| profile.apply(s));
        profile
    }
}

fn recorder(clock: &Clock, pids: Vec<u32>, want: Want) -> (Recorder, Receiver<Event>) {
    let (send, receive) = sync_channel(1024);
    (record(RecorderRequest { want, ..RecorderRequest::new(pids) }, clock.clone(), send), receive)
}

#[test]
fn the_recorder_keeps_what_ran_before_the_key() {
    let _alone = alone();
    let place = Place::new();
    if !permits(&[], Want::AllCpus) {
        return;
    }
    let clock = Clock::start();
    let (recorder, events) = recorder(&clock, vec![], Want::AllCpus);
    let mut sent = Sent::default();
    std::thread::sleep(Duration::from_millis(700));
    let program = build(&place, "shares", SHARES);
    let mut running = start(&program, &[]);
    let pid = running.pid();
    std::thread::sleep(Duration::from_millis(1500));
    let on_cpu = on_cpu_ns(pid);
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    std::fs::remove_file(&program).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // It is gone. Now the key.
    let pressed = clock.now();
    recorder.capture(CaptureId(1), Duration::from_millis(2000), Duration::from_millis(1500));
    assert!(recorder.has_capture_under_way());
    recorder.capture(CaptureId(2), Duration::ZERO, Duration::ZERO);
    sent.until_done(&recorder, &events);
    assert!(recorder.is_sampling());
    let CaptureState::Failed { what, .. } = sent.last_of(CaptureId(2)) else { panic!("{:?}", sent.states) };
    assert!(what.contains("under way"));
    let CaptureState::Done { span, samples, lost: 0, notes } = sent.last_of(CaptureId(1)) else {
        panic!("{:?}", sent.states)
    };
    assert!(span.from < pressed && span.to > pressed && (3.4..3.6).contains(&span.secs()), "{span:?}");
    assert_eq!(*samples, sent.dense.iter().map(|s| s.samples.len() as u64).sum::<u64>());
    let profile = Sent::folded(&sent.dense);
    let ran = profile.weights(&of_pid(pid)).total;
    let (two, one) = (share(&profile, pid, "two_thirds"), share(&profile, pid, "one_third"));
    assert!(two > 0.5 && one > 0.2, "{two} {one} of {ran} ns, {notes:?}");
    // As much as the kernel's own account says it had.
    let ratio = ran as f64 / on_cpu as f64;
    assert!((0.7..1.3).contains(&ratio), "{ran} of {on_cpu} ns: {notes:?}");
    let names: Vec<_> = sent.states.iter().filter(|s| s.0 == CaptureId(1)).map(|s| &s.2).collect();
    let CaptureState::Sampling { for_ns: ..=1_500_000_000, hz, how } = names[0] else { panic!("{names:?}") };
    // As interrupts are dear or cheap here, or as the kernel allows.
    assert!(([53, 98, 196].contains(hz) || *hz == most_hz()) && how.starts_with("built-in"), "{names:?}");
    assert!(matches!(names[1], CaptureState::Reading) && names.len() == 3, "{names:?}");
    let first = &sent.states[0];
    assert!(
        first.0 == CaptureId::RECORDER && matches!(&first.2, CaptureState::Sampling { for_ns: 0, hz: 49, .. }),
        "{first:?}"
    );
    place.is_clean();
}

#[test]
fn the_thin_stream_stands_for_the_same_time_as_the_dense_one() {
    let _alone = alone();
    let place = Place::new();
    let burn = place.burn("9");
    if !permits(&[], Want::AllCpus) {
        return;
    }
    // As many as are cheap here, and as many as were asked for.
    [None, Some(250)].into_iter().for_each(|dense_hz| thin_and_dense_agree(dense_hz, burn.pid()));
}

fn thin_and_dense_agree(dense_hz: Option<u32>, burning: u32) {
    let clock = Clock::start();
    let (send, events) = sync_channel(1024);
    let request = RecorderRequest { want: Want::AllCpus, dense_hz, ..RecorderRequest::new(vec![]) };
    let recorder = record(request, clock.clone(), send);
    let mut sent = Sent::default();
    std::thread::sleep(Duration::from_millis(3000));
    recorder.capture(CaptureId(1), Duration::from_secs(30), Duration::ZERO);
    sent.until_done(&recorder, &events);
    drop(recorder);
    sent.take(&events);
    let CaptureState::Done { span, .. } = sent.last_of(CaptureId(1)).clone() else { panic!("{:?}", sent.states) };
    // Idle samples are joined over a second of the one and a quarter of the other.
    let at_work = |stacks: &[Stacks]| -> u64 {
        let all = stacks.iter().flat_map(|s| &s.samples);
        all.filter(|s| s.pid != 0 && span.contains(s.at)).map(|s| s.weight).sum()
    };
    let ratio = at_work(&sent.thin) as f64 / at_work(&sent.dense) as f64;
    assert!((0.8..1.2).contains(&ratio), "{ratio}");
    assert!(sent.thin.len() >= 2 && sent.thin.len() <= 6, "one a second: {}", sent.thin.len());
    let rows = |stacks: &[Stacks]| {
        let all = stacks.iter().flat_map(|s| &s.samples);
        all.filter(|s| s.pid != 0 && span.contains(s.at)).count() as f64
    };
    let hz = sent.states.iter().find_map(|s| match &s.2 {
        CaptureState::Sampling { hz, .. } if s.0 == CaptureId(1) => Some(f64::from(*hz)),
        _ => None,
    });
    let hz = hz.expect("a capture that sampled");
    assert!(dense_hz.is_none_or(|asked| hz == f64::from(asked.min(most_hz()))), "{hz} Hz");
    let times = hz / f64::from(most_hz().min(49));
    let ratio = rows(&sent.dense) / rows(&sent.thin).max(1.0);
    assert!((0.86..1.17).contains(&(ratio / times)), "{ratio} dense ones for one, not {times}");
    let shares = [&sent.thin, &sent.dense].map(|s| share(&Sent::folded(s), burning, "burn_inner"));
    assert!(shares.iter().all(|s| *s > 0.8), "{shares:?}");
}

#[test]
fn a_recorder_whose_reader_sleeps_waits_for_nobody_and_ends_at_once() {
    let _alone = alone();
    if !permits(&[], Want::AllCpus) {
        return;
    }
    let (send, events) = sync_channel(1);
    let recorder = record(RecorderRequest::new(vec![]), Clock::start(), send);
    std::thread::sleep(Duration::from_millis(1500));
    recorder.capture(CaptureId(1), Duration::from_secs(1), Duration::from_secs(60));
    std::thread::sleep(Duration::from_millis(600));
    recorder.stop_capture();
    std::thread::sleep(Duration::from_millis(600));
    assert!(recorder.has_capture_under_way(), "its news can't have been sent");
    let mut sent = Sent::default();
    sent.until_done(&recorder, &events);
    assert!(matches!(sent.last_of(CaptureId(1)), CaptureState::Done { samples: 1.., .. }), "{:?}", sent.states);
    recorder.capture(CaptureId(2), Duration::from_secs(1), Duration::from_secs(60));
    recorder.cancel_captures();
    sent.until_done(&recorder, &events);
    let CaptureState::Failed { what, .. } = sent.last_of(CaptureId(2)) else { panic!("{:?}", sent.states) };
    assert!(what.contains("cancelled"));
    recorder.capture(CaptureId(3), Duration::from_secs(1), Duration::from_secs(60));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    drop(recorder);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    println!("a recorder took {took:?} to end");
}

/// The part of this file that runs in a process of its own, when a test below starts it.
#[test]
fn in_a_process_of_its_own() {
    let Some(place) = std::env::var_os("PERFBENCH_TEST_PLACE").map(PathBuf::from) else { return };
    let running = start(&place.join("shares"), &[]);
    let clock = Clock::start();
    let mut wanted = CaptureRequest::new(CaptureId(3), Duration::from_millis(800), vec![running.pid()]);
    wanted.source = Source::BuiltIn;
    let told = Told::by(wanted, &clock);
    let (_, _, _, notes) = told.done();
    assert!(share(&told.profile(), running.pid(), "two_thirds") > 0.5);
    println!("told: {} | {}", told.how(), notes.join(" | "));
    // The recorder is told later whom to sample.
    let (recorder, events) = recorder(&clock, vec![], Want::Widest);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!recorder.is_sampling());
    recorder.capture(CaptureId(1), Duration::from_secs(1), Duration::ZERO);
    recorder.set_pids(vec![running.pid()]);
    std::thread::sleep(Duration::from_millis(2600));
    assert!(recorder.is_sampling());
    recorder.capture(CaptureId(2), Duration::from_secs(1), Duration::from_millis(200));
    let mut sent = Sent::default();
    sent.until_done(&recorder, &events);
    let CaptureState::Failed { what, .. } = sent.last_of(CaptureId(1)) else { panic!("{:?}", sent.states) };
    println!("before: {what}");
    assert!(matches!(sent.last_of(CaptureId(2)), CaptureState::Done { samples: 10.., .. }), "{:?}", sent.states);
    assert!(share(&Sent::folded(&sent.dense), running.pid(), "two_thirds") > 0.5);
    assert!(!sent.thin.is_empty() && sent.thin.iter().flat_map(|s| &s.samples).all(|s| s.pid == running.pid()));
}

#[test]
fn a_user_without_privileges_samples_his_own_process() {
    let _alone = alone();
    let place = Place::new();
    if inspect_built_in(&Surroundings::here()).paranoid != Some(2) {
        return skip("kernel.perf_event_paranoid = 2");
    }
    build(&place, "shares", SHARES);
    // Where another user may run it.
    let me = place.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &me).unwrap();
    std::fs::set_permissions(&me, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = match user_id() {
        0 if Command::new("setpriv").arg("--version").output().is_err() => return skip("setpriv"),
        0 => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&me);
            command
        }
        _ => Command::new(&me),
    };
    command.args(["--exact", "in_a_process_of_its_own", "--nocapture"]).env("PERFBENCH_TEST_PLACE", place.path());
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let told = text.lines().find(|l| l.contains("told: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(
        told.contains("built-in sampler, process") && told.contains("in user space") && told.contains(":u"),
        "{told}"
    );
    assert!(told.contains("all CPUs are not permitted (kernel.perf_event_paranoid is 2"), "{told}");
    let before = text.lines().find(|l| l.contains("before: ")).unwrap();
    assert!(before.contains("process is not known"), "{before}");
}
