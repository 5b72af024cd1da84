//! Captures with the real perf, and with stand-ins for a perf that misbehaves.
//!
//! Must not: sample for long, or leave a process behind.

mod profiling;

use perfbench::clock::Clock;
use perfbench::model::{CaptureId, CaptureState, Event};
use perfbench::profile::{Capture, CaptureRequest, Scope, Source, Surroundings, Want, inspect, start};
use profiling::{Place, Running, Told, burns, skip, user_id};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Whether perf is there and permits as much as the test wants; says what is missing.
fn permits(pids: &[u32], want: Want) -> bool {
    let around = Surroundings::here();
    match inspect(&around).plan(&around, pids, want) {
        // A container's seccomp profile refuses what the plan takes for permitted.
        Ok(plan) => {
            let mut trial = Command::new(plan.perf.unwrap());
            trial.args(["record", "-o", "/dev/null", "-e", "cpu-clock:u", "--", "true"]);
            let works = trial.output().is_ok_and(|o| o.status.success());
            if !works {
                skip("a kernel that lets perf sample");
            }
            works
        }
        Err(obstacle) => {
            skip(&format!("perf ({obstacle})"));
            false
        }
    }
}

#[test]
fn a_burning_process_is_found_in_a_capture_of_all_cpus() {
    let place = Place::new();
    let burn = place.burn("9");
    if !permits(&[burn.pid()], Want::AllCpus) {
        return;
    }
    let clock = Clock::start();
    let before = clock.now();
    let told = Told::by(place.request(1000, vec![burn.pid()]), &clock);
    let (span, samples, _, notes) = told.done();
    assert!(told.how().starts_with("perf, all CPUs, c"), "{}", told.how());
    assert!(matches!(told.states[1].1, CaptureState::Reading), "{:?}", told.states);
    assert_eq!(told.samples().count() as u64, samples);
    assert!(span.from >= before && span.to <= clock.now() && (0.95..1.6).contains(&span.secs()), "{span:?}");
    assert!(told.samples().all(|s| span.contains(s.at)), "{span:?}");
    let ours: Vec<_> = told.samples().filter(|s| s.pid == burn.pid()).collect();
    assert!(ours.len() >= 10 && ours.iter().all(|s| &*s.comm == "burn: (x) [y/1]" && s.tid == s.pid), "{}", ours.len());
    burns(&told, burn.pid());
    assert!(notes.iter().all(|n| !n.contains("understood")), "{notes:?}");
    place.is_clean();
}

#[test]
fn a_process_alone_can_be_sampled() {
    let place = Place::new();
    let burn = place.burn("9");
    if !permits(&[burn.pid()], Want::Processes) {
        return;
    }
    let mut request = place.request(800, vec![burn.pid()]);
    request.want = Want::Processes;
    let told = Told::by(request, &Clock::start());
    let (span, ..) = told.done();
    assert!(told.how().starts_with(&format!("perf, process {}", burn.pid())), "{}", told.how());
    assert!(told.samples().all(|s| s.pid == burn.pid() && span.contains(s.at)));
    burns(&told, burn.pid());
    place.is_clean();
}

#[test]
fn a_sleeping_process_gives_no_samples_and_says_so() {
    let place = Place::new();
    let asleep = place.burn("sleep");
    std::thread::sleep(Duration::from_millis(200));
    if !permits(&[asleep.pid()], Want::Processes) {
        return;
    }
    let mut request = place.request(300, vec![asleep.pid()]);
    request.want = Want::Processes;
    let told = Told::by(request, &Clock::start());
    let (what, _) = told.failed();
    assert!(what.contains(&format!("no samples of process {}", asleep.pid())) && what.contains("no CPU"), "{what}");
    place.is_clean();
}

#[test]
fn a_target_that_ends_in_the_middle_leaves_what_it_did() {
    let place = Place::new();
    let burn = place.burn("4");
    if !permits(&[burn.pid()], Want::Processes) {
        return;
    }
    let mut request = place.request(20_000, vec![burn.pid()]);
    request.want = Want::Processes;
    let told = Told::by(request, &Clock::start());
    let (span, samples, _, notes) = told.done();
    assert!(samples > 0 && span.secs() < 10.0, "{span:?}");
    assert!(notes.iter().any(|n| n.contains("ended after")), "{notes:?}");
    burns(&told, burn.pid());
    place.is_clean();
}

#[test]
fn stop_keeps_what_there_is() {
    let place = Place::new();
    let burn = place.burn("9");
    if !permits(&[burn.pid()], Want::Processes) {
        return;
    }
    let mut request = place.request(60_000, vec![burn.pid()]);
    request.want = Want::Processes;
    let (send, receive) = sync_channel(64);
    let capture = start(request, Clock::start(), send);
    let first = receive.recv().unwrap();
    assert!(matches!(&first, Event::Capture(n) if matches!(n.state, CaptureState::Sampling { .. })), "{first:?}");
    std::thread::sleep(Duration::from_millis(500));
    capture.stop();
    let told = Told::of(receive);
    assert!(told.done().1 > 0 && told.done().0.secs() < 20.0);
    capture.wait();
    place.is_clean();
}

fn sampling(place: &Place, pids: Vec<u32>) -> (Capture, Receiver<Event>) {
    let mut request = place.request(60_000, pids);
    request.want = Want::Processes;
    let (send, receive) = sync_channel(1);
    let capture = start(request, Clock::start(), send);
    let first = receive.recv().unwrap();
    assert!(matches!(&first, Event::Capture(n) if matches!(n.state, CaptureState::Sampling { .. })), "{first:?}");
    assert!(!place.processes().is_empty(), "perf runs");
    (capture, receive)
}

#[test]
fn cancel_and_drop_leave_no_process_behind() {
    let place = Place::new();
    let burn = place.burn("9");
    if !permits(&[burn.pid()], Want::Processes) {
        return;
    }
    let (capture, receive) = sampling(&place, vec![burn.pid()]);
    capture.cancel();
    let told = Told::of(receive);
    assert!(told.failed().0.contains("cancelled"));
    assert!(!capture.is_finished() || place.processes().is_empty());
    capture.wait();
    place.is_clean();

    // Nobody takes events any more, and the channel is full.
    let (capture, receive) = sampling(&place, vec![burn.pid()]);
    drop(capture);
    place.is_clean();
    drop(receive);
    let (capture, receive) = sampling(&place, vec![burn.pid()]);
    drop(receive);
    capture.stop();
    capture.wait();
    place.is_clean();
}

#[test]
fn a_missing_perf_is_told_before_anything_is_sampled() {
    let place = Place::new();
    let mut request = place.request(100, vec![]);
    request.around.perf = Some("/nonexistent".into());
    let told = Told::by(request.clone(), &Clock::start());
    assert!(told.failed().0.contains("PERFBENCH_PERF names /nonexistent"), "{told:?}");
    assert_eq!(told.states.len(), 1);
    (request.around.perf, request.around.path) = (None, "/nonexistent".into());
    let told = Told::by(request, &Clock::start());
    let (what, mend) = told.failed();
    assert!(what.contains("no perf in PATH") && mend.is_some_and(|m| m.contains("install")), "{what} {mend:?}");
}

/// A request that a stand-in for perf is given whatever the machine permits.
fn with_stand_in(place: &Place, script: &str) -> CaptureRequest {
    let mut request = place.request(200, vec![]);
    request.around.perf = Some(place.stand_in(script));
    request.grace = Duration::from_millis(400);
    // A root directory of our own: a kernel that permits everything.
    let root = place.path().join("root");
    std::fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
    std::fs::write(root.join("proc/sys/kernel/perf_event_paranoid"), "-1\n").unwrap();
    request.around.root = root;
    request
}

#[test]
fn a_perf_that_dies_is_quoted() {
    let place = Place::new();
    let script = "echo 'Error:' >&2; printf 'the \\033[31mboard\\007 is on fire\\n' >&2; exit 255";
    let told = Told::by(with_stand_in(&place, script), &Clock::start());
    let (what, _) = told.failed();
    assert_eq!(what, "perf record ended with status 255: the ·[31mboard· is on fire");
    let refused = "echo 'Consider adjusting /proc/sys/kernel/perf_event_paranoid setting' >&2; exit 255";
    let told = Told::by(with_stand_in(&place, refused), &Clock::start());
    assert_eq!(told.failed().1, Some("sudo sysctl -w kernel.perf_event_paranoid=0"));
    place.is_clean();
}

/// Runs the workload behind `--` as perf does.
const WORKLOAD: &str = "while [ \"$1\" != -- ]; do shift; done; shift; ";

#[test]
fn a_perf_that_does_not_end_is_killed_with_all_it_started() {
    let place = Place::new();
    let script = format!("trap '' INT TERM; {WORKLOAD} \"$@\"; echo stuck >&2; while :; do sleep 1; done");
    let told = Told::by(with_stand_in(&place, &script), &Clock::start());
    let (what, _) = told.failed();
    assert!(what.contains("did not end within") && what.contains("killed: stuck"), "{what}");
    place.is_clean();
}

#[test]
fn a_script_that_breaks_off_keeps_the_stacks_so_far_and_one_that_floods_is_bounded() {
    let place = Place::new();
    let sample = "x 7/7 [000] 5.000000000: 1 cpu-clock: \\n\\tffffffff81000000 f ([kernel.kallsyms])\\n\\n";
    let script = format!(
        "if [ \"$1\" = record ]; then {WORKLOAD} exec \"$@\"; fi\n\
         printf '{sample}'; head -c 3000000 /dev/zero; printf '\\n{sample}'; echo 'corrupt header' >&2; exit 1"
    );
    let told = Told::by(with_stand_in(&place, &script), &Clock::start());
    let (_, samples, _, notes) = told.done();
    assert_eq!(samples, 2);
    assert!(notes.iter().any(|n| n.contains("broke off") && n.contains("corrupt header")), "{notes:?}");
    assert!(notes.iter().any(|n| n.contains("1 lines of perf script were not understood")), "{notes:?}");
    place.is_clean();
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let place = Place::new();
    let mut request = with_stand_in(&place, "exit 0");
    request.around.temp = place.path().join("none");
    let told = Told::by(request, &Clock::start());
    assert!(told.failed().0.contains("no folder for perf's recording") && told.failed().1.unwrap().contains("TMPDIR"));
}

/// The part of this file that runs in a process of its own, when a test below starts it.
#[test]
fn in_a_process_of_its_own() {
    let Some(role) = std::env::var_os("PERFBENCH_TEST_ROLE") else { return };
    let temp = PathBuf::from(std::env::var_os("PERFBENCH_TEST_PLACE").unwrap());
    let burn = Running(Command::new(temp.join("burn")).arg("9").spawn().unwrap());
    let millis = if role == "killed" { 60_000 } else { 800 };
    let mut request = CaptureRequest::new(CaptureId(3), Duration::from_millis(millis), vec![burn.pid()]);
    (request.around.temp, request.source) = (temp, Source::Perf);
    let told = Told::by(request, &Clock::start());
    let (_, _, _, notes) = told.done();
    burns(&told, burn.pid());
    println!("told: {} | {}", told.how(), notes.join(" | "));
}

fn again(place: &Place, role: &str, prefix: &[&str]) -> Command {
    place.burner();
    let me = std::env::current_exe().unwrap();
    let mut words = prefix.iter().map(PathBuf::from).chain([me]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "in_a_process_of_its_own", "--nocapture"]);
    command.env("PERFBENCH_TEST_ROLE", role).env("PERFBENCH_TEST_PLACE", place.path());
    command
}

#[test]
fn perf_ends_when_perfbench_is_killed() {
    let place = Place::new();
    if !permits(&[std::process::id()], Want::Processes) {
        return;
    }
    let mut perfbench = again(&place, "killed", &[]).stdout(Stdio::null()).spawn().unwrap();
    let up = || place.processes().iter().any(|l| l.contains(" record "));
    (0..200).take_while(|_| !up()).for_each(|_| std::thread::sleep(Duration::from_millis(50)));
    assert!(up(), "perf runs");
    std::thread::sleep(Duration::from_millis(1000));
    perfbench.kill().unwrap();
    perfbench.wait().unwrap();
    (0..100).take_while(|_| up()).for_each(|_| std::thread::sleep(Duration::from_millis(50)));
    assert!(!up(), "perf outlived perfbench: {:?}", place.processes());
}

#[test]
fn a_user_without_privileges_samples_his_own_process() {
    let place = Place::new();
    let around = Surroundings::here();
    let level = inspect(&around).paranoid;
    if level != Some(2) {
        return skip("kernel.perf_event_paranoid = 2");
    }
    let prefix: &[&str] = match user_id() {
        0 if Command::new("setpriv").arg("--version").output().is_err() => return skip("setpriv"),
        0 => &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        _ => &[],
    };
    if !permits(&[std::process::id()], Want::Processes) {
        return;
    }
    let out = again(&place, "user", prefix).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let told = text.lines().find(|l| l.contains("told: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(told.contains("in user space") && told.contains(":u"), "{told}");
    assert!(told.contains("all CPUs are not permitted (kernel.perf_event_paranoid is 2"), "{told}");
    place.is_clean();
}

#[test]
fn the_scope_is_what_the_plan_says() {
    let around = Surroundings::here();
    let Ok(plan) = inspect(&around).plan(&around, &[std::process::id()], Want::Processes) else {
        return skip("perf");
    };
    assert!(matches!(plan.scope, Scope::Processes { pids, .. } if pids == [std::process::id()]));
}
