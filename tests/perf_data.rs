//! Recordings of the machine's own perf, read here and through `perf script`: the same samples, the same
//! stacks, the same weights.
//!
//! Must not: sample for long, or leave a process behind.

mod programs;
#[macro_use]
mod screen_support;

use perfbench::model::{Frame, Sample};
use perfbench::profile::import::{Imported, Input, import};
use programs::{PROGRAMS, make, tool};
use screen_support::perf_lacks;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything of a sample, its stack from the innermost frame.
fn rows(imported: &Imported) -> Vec<(&Sample, &str, Vec<&Frame>)> {
    let mut all = Vec::new();
    for stacks in &imported.stacks {
        for s in &stacks.samples {
            let frames = s.stack.map(|id| stacks.table.walk(id).map(|f| &stacks.table.frames[f.0 as usize]).collect());
            all.push((s, &*stacks.event, frames.unwrap_or_default()));
        }
    }
    all.sort_by_key(|(s, ..)| (s.at, s.cpu, s.tid));
    all
}

/// Whether two names are of one function: ours has a C++ function's arguments, what it returns and what was
/// cloned of it, perf's has the version of a symbol.
fn is_same(ours: &str, theirs: &str) -> bool {
    ours == theirs || bare(ours) == bare(theirs)
}

/// A function's name without arguments, template arguments, what it returns, versions and clones.
fn bare(name: &str) -> String {
    let name = name.replace("(anonymous namespace)", "{anonymous}").replace("operator()", "operator{}");
    let name = name.replace("->", "{arrow}").replace("operator<", "operator{less}");
    let name = name.split(" [clone").next().unwrap_or_default();
    let name = if name.ends_with("@plt") { name } else { name.split('@').next().unwrap_or_default() };
    let mut plain = String::new();
    let mut depth = 0;
    for c in name.chars() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let plain = plain.trim_end_matches(" const").rsplit(' ').next().unwrap_or_default();
    let end = [".constprop", ".isra", ".part", ".cold", ".warm", ".llvm", ".lto_priv"]
        .iter()
        .filter_map(|e| plain.find(e))
        .min();
    // Of several names of one address each takes another: of libc's, `__GI___libc_write` is `write`.
    let plain = plain[..end.unwrap_or(plain.len())].trim_start_matches('_');
    let plain = plain.trim_start_matches("GI_").trim_start_matches('_').trim_start_matches("libc_");
    plain.trim_start_matches("vdso_").to_owned()
}

/// Addresses of symbols by [`bare`] name: of a file and what was split off it, or of the kernel.
fn addresses(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if path == "[kernel.kallsyms]" {
        for line in std::fs::read_to_string("/proc/kallsyms").unwrap_or_default().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            all.entry(bare(words[2])).or_default().insert(words[0].into());
        }
        return all;
    }
    let said = |words: &[&str]| {
        let said = Command::new("readelf").args(words).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let notes = said(&["-n", path]);
    let id = notes.lines().find_map(|l| l.split("Build ID: ").nth(1)).unwrap_or("  ").trim().to_owned();
    let split = format!("/usr/lib/debug/.build-id/{}/{}.debug", id.get(..2).unwrap_or(""), id.get(2..).unwrap_or(""));
    for file in [path, &split] {
        for line in said(&["-sWC", file]).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.len() >= 8 {
                all.entry(bare(&words[7..].join(" "))).or_default().insert(words[1].into());
            }
        }
    }
    all
}

/// What perf says, read as its text: the profile, names of callers that a call returns to the first byte of,
/// and paths of files by their last parts.
struct Perf {
    profile: Imported,
    at_start: BTreeSet<String>,
    paths: BTreeMap<String, String>,
}

fn by_perf(folder: &Path, data: &Path) -> Perf {
    let mut text = Vec::new();
    // Recordings of one program do not tell the CPU.
    for fields in
        ["comm,pid,tid,cpu,time,event,period,ip,sym,symoff,dso", "comm,pid,tid,time,event,period,ip,sym,symoff,dso"]
    {
        let mut perf = Command::new("perf");
        perf.args(["script", "--force", "--ns", "--no-inline", "--show-lost-events", "-F", fields, "-i"]).arg(data);
        let said = perf.output().unwrap();
        if said.status.success() {
            text = said.stdout;
            break;
        }
    }
    let (mut at_start, mut paths) = (BTreeSet::new(), BTreeMap::new());
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((_, frame)) = line.trim().split_once(' ') else { continue };
        let Some((symbol, path)) = frame.strip_suffix(')').and_then(|f| f.rsplit_once(" (")) else { continue };
        symbol.strip_suffix("+0x0").map(|s| at_start.insert(s.to_owned()));
        paths.insert(path.rsplit('/').next().unwrap_or(path).to_owned(), path.to_owned());
    }
    let file = folder.join("script.txt");
    std::fs::write(&file, text).unwrap();
    let (profile, _) = import(Input::open(&file).unwrap(), Some("perf-script")).unwrap();
    Perf { profile, at_start, paths }
}

/// How two readings differ.
#[derive(Debug, Default)]
struct Differences {
    /// In anything but a function's name.
    samples: Vec<String>,
    names: Vec<String>,
    /// Frames that were compared.
    frames: usize,
}

/// Where the two differ otherwise than on purpose. On purpose:
///
/// - A caller is looked up one byte before where the call returns to. perf looks there, which is the next
///   function, or none, when the call was the last thing a function does.
/// - Stubs of a PLT are made up by perf (`malloc@plt`); here they are `[file]`, as they have no symbol.
/// - perf gives a whole chain up when there is rubbish in it that looks like a mark; here it ends there.
/// - What was lost last is in no record of the rings, only in the sum at the end, which perf 6.1 does not print.
/// - Of several symbols at one address each takes another.
/// - C++'s thunks are written otherwise.
/// - An exec ends what was mapped, also while the call itself is still on the stack.
/// - Labels of assembler without type or size: perf takes some for functions that here belong to the one
///   before, and V8's within a function are taken here.
fn differences(ours: &Imported, perf: &Perf) -> Differences {
    let theirs = &perf.profile;
    let mut differ = Differences::default();
    let mut say = |what: String| differ.samples.push(what);
    let mut symbols: BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    if ours.samples() != theirs.samples() || ours.lost() < theirs.lost() {
        say(format!("{} samples, {} lost; {}, {}", ours.samples(), ours.lost(), theirs.samples(), theirs.lost()));
    }
    for ((s, event, mine), (t, other, perfs)) in rows(ours).iter().zip(&rows(theirs)) {
        let head = |s: &Sample| (s.at, s.cpu, s.pid, s.tid, s.comm.clone(), s.weight);
        if (head(s), event) != (head(t), other) {
            say(format!("sample {s:?} {event}, {t:?} {other}"));
        }
        if perfs.is_empty() && !mine.is_empty() {
            continue;
        }
        if mine.len() != perfs.len() {
            say(format!("{} frames, {}: {:?}, {:?}", mine.len(), perfs.len(), mine.last(), perfs.last()));
        }
        for (depth, (x, y)) in mine.iter().zip(perfs).enumerate() {
            let on_purpose = || {
                let unnamed = *y.symbol == *format!("[{}]", y.module);
                (depth > 0 && (unnamed || perf.at_start.contains(&*y.symbol)))
                    || (x.symbol.contains("thunk") && y.symbol.contains("thunk"))
                    || (y.symbol.ends_with("@plt") && *x.symbol == *format!("[{}]", x.module))
                    || LABELS.contains(&&*y.symbol)
                    || x.symbol.ends_with("_deopt_addr")
                    || (&*x.symbol == "[unknown]" && y.symbol.contains("exec"))
            };
            let mut alias = || {
                let path = perf.paths.get(&*y.module).map_or("", |p| p);
                let of = symbols.entry(path).or_insert_with(|| addresses(path));
                let at = |name: &str| of.get(&bare(name));
                at(&x.symbol).zip(at(&y.symbol)).is_some_and(|(a, b)| !a.is_disjoint(b))
            };
            // Rubbish that is taken for an address may be the last one of a half.
            let nowhere = &*x.symbol == "[unknown]";
            let placed = (x.module == y.module && x.kind == y.kind) || nowhere;
            differ.frames += 1;
            if !placed {
                say(format!("{x:?}, {y:?}"));
            } else if !(is_same(&x.symbol, &y.symbol) || on_purpose() || alias()) {
                differ.names.push(format!(
                    "{} ({}) {:?} | {} ({}) {:?}",
                    x.symbol, x.module, x.kind, y.symbol, y.module, y.kind
                ));
            }
        }
    }
    differ
}

/// Labels of the dynamic linker, of the kernel's table of thunks, and where libc's threads begin.
const LABELS: [&str; 3] = ["_dl_start_user", "__x86_indirect_thunk_rax", "__restore_rt"];

/// The same samples by both; gives ours. `strict`: of programs that are known, and so are their names.
fn agree(folder: &Path, data: &Path, what: &str, strict: bool) -> Imported {
    let (ours, _) = import(Input::open(data).unwrap(), None).unwrap();
    assert!(ours.notes[0].starts_with("read here"), "{what}: {:?}", ours.notes);
    let perf = by_perf(folder, data);
    let sum = |i: &Imported| rows(i).iter().map(|(s, ..)| s.weight).sum::<u64>();
    assert_eq!(sum(&ours), sum(&perf.profile), "{what}: not one nanosecond is lost or made");
    let differ = differences(&ours, &perf);
    assert!(differ.samples.is_empty(), "{what}: here and by perf: {:#?}", differ.samples);
    // Of whatever else a machine runs, demanglers write one name in a thousand otherwise; nobody knows what
    // another machine runs.
    let most = if strict { 0 } else { differ.frames / 50 };
    assert!(differ.names.len() <= most, "{what}: here and by perf, of {}: {:#?}", differ.frames, differ.names);
    ours
}

/// One test at a time: a runtime that ends writes its map between our reading and perf's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(folder: &Path, options: &[&str], command: &[&str]) -> PathBuf {
    let data = folder.join("perf.data");
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-o"]).arg(&data).args(options).arg("--").args(command).current_dir(folder);
    let said = perf.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    data
}

#[test]
fn recordings_of_programs_are_the_same_here_and_by_perf() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let _alone = alone();
    for program in PROGRAMS {
        let Some(tool) = tool(program) else {
            println!("left out: {}", program.name);
            continue;
        };
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), program, &tool);
        let words: Vec<&str> =
            program.run.iter().map(|w| if *w == program.needs { tool.to_str().unwrap() } else { w }).collect();
        let data = record(folder.path(), &["-F", "499", "-g", "-e", "cpu-clock", "--sample-cpu"], &words);
        let ours = agree(folder.path(), &data, program.name, true);
        let maps: BTreeSet<u32> = rows(&ours).iter().map(|(s, ..)| s.pid).filter(|pid| *pid > 0).collect();
        maps.iter().for_each(|pid| drop(std::fs::remove_file(format!("/tmp/perf-{pid}.map"))));
        assert!(ours.samples() > 100, "{}: {}", program.name, ours.samples());
        let name = program.frame.trim_start_matches(';');
        let named = rows(&ours).iter().any(|(.., frames)| frames.iter().any(|f| f.symbol.contains(name)));
        // perf misses the mapping of Python's trampolines now and then.
        assert!(named || program.name == "Python", "{}: no {name}", program.name);
    }
}

#[test]
fn recordings_of_all_cpus_several_events_and_lost_records_are_the_same() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let burn = ["sh", "-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; ls -R /usr/lib >/dev/null; true"];
    let all = record(folder.path(), &["-a", "-F", "999", "-g", "-e", "cpu-clock"], &burn);
    let ours = agree(folder.path(), &all, "all CPUs", false);
    assert!(ours.samples() > 100 && ours.hz == Some(999), "{:?}", ours.hz);
    let two = record(folder.path(), &["-F", "999", "-g", "-e", "cpu-clock,page-faults"], &burn);
    let ours = agree(folder.path(), &two, "two events", true);
    let units: BTreeSet<(&str, &str)> = ours.stacks.iter().map(|s| (&*s.event, &*s.unit)).collect();
    assert_eq!(units, BTreeSet::from([("cpu-clock", "ns"), ("page-faults", "page-faults")]));
    let flat = record(folder.path(), &["-F", "999", "-e", "cpu-clock", "-k", "CLOCK_MONOTONIC"], &burn);
    let ours = agree(folder.path(), &flat, "no call chains", true);
    assert!(ours.started_unix_ns.is_some_and(|ns| ns > 1_000_000_000_000_000_000), "{:?}", ours.started_unix_ns);
    let lost = record(folder.path(), &["-a", "-F", "19999", "-m", "1", "-g", "-e", "cpu-clock"], &burn);
    agree(folder.path(), &lost, "lost records", false);
}

#[test]
fn what_is_not_read_here_goes_through_perf_and_says_why() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let burn = ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"];
    let data = record(folder.path(), &["-F", "99", "--call-graph", "dwarf", "-e", "cpu-clock"], &burn);
    let (ours, _) = import(Input::open(&data).unwrap(), None).unwrap();
    let why = "read through perf script, since its stacks are copies that perf unwinds (--call-graph dwarf)";
    assert_eq!(ours.notes[0], why);
    // A fixed period is no field of its samples: perf can't print it, and it is what they stand for.
    let data = record(folder.path(), &["-c", "2000000", "-g", "-e", "cpu-clock"], &burn);
    let (ours, _) = import(Input::open(&data).unwrap(), None).unwrap();
    assert!(ours.stacks[0].samples.iter().all(|s| s.weight == 2_000_000), "{:?}", ours.stacks[0].samples[0]);
}

#[test]
fn a_program_that_was_replaced_has_no_names_and_that_is_said() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let program = &PROGRAMS[0];
    let Some(cc) = tool(program) else { skip!("cc") };
    make(folder.path(), program, &cc);
    // Not kept by perf, which has a store of what it saw.
    let data = record(folder.path(), &["-F", "199", "-g", "-e", "cpu-clock", "--no-buildid-cache"], &["./burn"]);
    let named = |imported: &Imported| rows(imported).iter().any(|(.., f)| f.iter().any(|f| &*f.symbol == "burn"));
    let (before, _) = import(Input::open(&data).unwrap(), None).unwrap();
    assert!(named(&before));
    let source = folder.path().join("burn.c");
    let text = std::fs::read_to_string(&source).unwrap().replace("100000", "100001");
    std::fs::write(&source, format!("int another(void) {{ return 1; }}\n{text}")).unwrap();
    let built = Command::new(&cc).args(["-g", "-O1", "burn.c", "-o", "burn"]).current_dir(folder.path()).status();
    assert!(built.unwrap().success());
    let (after, _) = import(Input::open(&data).unwrap(), None).unwrap();
    assert!(!named(&after));
    let said = after.notes.iter().any(|n| n.starts_with("without names: burn: not the files that were recorded"));
    assert!(said, "{:?}", after.notes);
    assert_eq!(before.samples(), after.samples());
}

#[test]
fn damaged_recordings_are_refused_in_one_line() {
    if let Some(lacks) = perf_lacks() {
        skip!(lacks);
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let burn = ["sh", "-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"];
    let whole = std::fs::read(record(folder.path(), &["-F", "499", "-g", "-e", "cpu-clock"], &burn)).unwrap();
    let read = |bytes: Vec<u8>| {
        let read = import(Input::of_bytes("damaged", bytes).unwrap(), Some("perf-data"));
        read.map_err(|o| assert!(!o.what.contains('\n') && o.what.len() < 600, "{}", o.what))
    };
    assert!(read(whole.clone()).is_ok());
    // What stands behind the records may be missing, records may not.
    let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap()) as usize;
    let end = word(40) + word(48);
    for n in (0..end).step_by(end / 60) {
        assert!(read(whole[..n].to_vec()).is_err(), "{n} bytes");
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            let at = if random.bool() { random.usize(..600) } else { random.usize(..bytes.len()) };
            bytes[at] = random.u8(..);
        }
        let _ = read(bytes);
    }
}
