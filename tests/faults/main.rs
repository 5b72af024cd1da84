//! Targets and hosts that misbehave: each fault done by a real socket server, each outcome
//! under its own name, and sums that hold. The rows are in table.rs; this plays them.
//!
//!     cargo test --test faults -- --nocapture    prints the list
//!
//! Must not: depend on how fast the machine is.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod apart;
mod play;
mod secure;
mod table;

use play::{Fault, MODES, Mode};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs at a time. Each looks through /proc, the others being in it: a dozen at once made the kernel
/// spin in wait4() (`shrink_dcache_parent`) for longer than the faults take.
const AT_ONCE: usize = 3;

/// Plays `faults` in every mode, several at a time, the slow ones first; panics with all that
/// was wrong.
fn play_all(faults: &[Fault]) {
    let mut jobs: Vec<(usize, &Mode)> = (0..faults.len())
        .flat_map(|f| MODES.iter().map(move |m| (f, m)))
        .filter(|(f, m)| faults[*f].plays_in(m))
        .collect();
    jobs.sort_by_key(|(f, _)| !faults[*f].is_slow());
    let (next, ended) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((f, mode)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
            let went = catch_unwind(AssertUnwindSafe(|| faults[*f].play(mode)));
            let went = went.map_err(|e| {
                let text = e.downcast_ref::<String>().cloned();
                text.or_else(|| e.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
            });
            ended.lock().unwrap().push((*f, mode.name, went));
        }
    };
    std::thread::scope(|s| (0..AT_ONCE).for_each(|_| drop(s.spawn(work))));
    let ended = ended.into_inner().unwrap();
    assert_eq!(ended.len(), jobs.len());
    print(faults, &ended);
    let wrong = ended.iter().filter_map(|(f, mode, went)| {
        went.as_ref().err().map(|why| format!("it {} ({mode}): {why}\n", faults[*f].name))
    });
    let wrong: String = wrong.collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn print(faults: &[Fault], ended: &[(usize, &str, Result<String, String>)]) {
    let mut text = format!("{:<72}", "the target");
    MODES.iter().for_each(|m| write!(text, "{:<34}", m.name).unwrap());
    for (f, fault) in faults.iter().enumerate() {
        write!(text, "\n{:<72}", fault.name).unwrap();
        for mode in &MODES {
            let went = ended.iter().find(|(of, name, _)| *of == f && *name == mode.name).map(|(.., went)| went);
            let cell = match went {
                Some(Ok(outcomes)) => outcomes,
                Some(Err(_)) => "WRONG",
                None => "",
            };
            write!(text, "{cell:<34}").unwrap();
        }
    }
    println!("{text}");
}

#[test]
fn every_fault_is_counted_under_its_name_in_every_mode() {
    let all = || {
        let faults: Vec<Fault> = table::table().into_iter().filter(|f| !f.is_big()).collect();
        play_all(&faults);
    };
    // Where the sockets of others are not in the way: each run reads the table of all of them.
    if !apart::in_a_network_of_its_own("every_fault_is_counted_under_its_name_in_every_mode", all) {
        all();
    }
}

#[test]
fn the_documented_list_is_the_one_that_is_tested() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = std::fs::read_to_string(path).unwrap();
    let documented: Vec<&str> =
        page.lines().filter(|l| l.starts_with('|')).skip_while(|l| !l.starts_with("|---")).skip(1).collect();
    let tested: Vec<String> = table::rows().iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    assert_eq!(documented, tested, "docs/faults.md should hold:\n{}", tested.join("\n"));
    let mut names: Vec<String> = table::rows().into_iter().map(|[name, ..]| name).collect();
    names.sort();
    assert!(names.windows(2).all(|w| w[0] != w[1]), "two rows of one name");
}
