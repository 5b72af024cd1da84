//! Folding of `perf script` text against inferno's collapse, line by line: on the recorded text and on what
//! perf says here of C, Rust, Java, Node and Python programs.
//!
//! Where we fold otherwise on purpose, each with its reason, is in [`for_inferno`] (the text that inferno gets)
//! and [`as_inferno`] (our line written its way), and nowhere else; everything else must be equal.
//!
//! Must not: sample for long, or leave a process behind.

mod programs;
mod screen_support;

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder as Inferno, Options};
use perfbench::model::{CaptureId, Stacks};
use perfbench::profile::script::{Counts, Script};
use perfbench::timeline::stacks::{Profile, StackFilter};
use programs::{PROGRAMS, make, tool, within};
use screen_support::{perf_lacks, skipped};
use std::collections::BTreeMap;
use std::path::Path;

/// Weight by stack.
type Folded = BTreeMap<String, u64>;

fn ours(text: &[u8]) -> (Vec<String>, Counts) {
    let mut script = Script::new(0);
    text.split_inclusive(|b| *b == b'\n').for_each(|line| script.line(line));
    let (batch, counts) = script.finish();
    let mut profile = Profile::default();
    profile.apply(&Stacks {
        at: Default::default(),
        capture: CaptureId(1),
        event: counts.event.clone().unwrap_or_default(),
        unit: counts.unit.clone(),
        table: batch.table,
        samples: batch.samples,
        lost: 0,
    });
    (profile.folded(&StackFilter { idle: true, ..StackFilter::default() }, true), counts)
}

fn theirs(text: &str) -> Folded {
    let mut options = Options::default();
    (options.annotate_jit, options.annotate_kernel) = (true, true);
    let mut folded = Vec::new();
    Inferno::from(options).collapse(text.as_bytes(), &mut folded).unwrap();
    // It says `[[kernel.kallsyms]]` of an unnamed frame of the kernel; brackets once are enough.
    let folded = String::from_utf8(folded).unwrap().replace("[[", "[").replace("]]", "]").replace("_[i]", "");
    added_up(folded.lines().map(str::to_owned))
}

fn added_up(lines: impl Iterator<Item = String>) -> Folded {
    let mut sums = Folded::new();
    for line in lines {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        *sums.entry(stack.into()).or_default() += weight.parse::<u64>().unwrap();
    }
    sums
}

/// The text without what inferno reads wrongly.
fn for_inferno(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        // It takes the line of lost records for a sample's head, and the sample behind it for its frames.
        if line.contains(": PERF_RECORD_") {
            continue;
        }
        let mut line = line.to_string();
        if line.starts_with('\t') {
            // To it everything in brackets is the kernel, also what the kernel maps into processes.
            for part in ["vdso", "vsyscall", "heap", "stack", "anon"] {
                line = line.replace(&format!("([{part}])"), &format!("({part})"));
            }
            // It takes the last word for the file.
            line = line.replace(" (deleted))", ")");
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// One of our lines as inferno would have written it; `None` for samples without a stack, which it drops.
fn as_inferno(line: &str) -> Option<String> {
    let (stack, weight) = line.rsplit_once(' ')?;
    let (comm, frames) = stack.split_once(';')?;
    // Blanks of thread names it makes `_`, since it separates by blanks.
    let comm = comm.replace(' ', "_");
    let mut shown = vec![comm.clone()];
    for frame in frames.split(';') {
        // It marks what a JIT has inlined, and nothing else; so of inlining the marks are not compared.
        let frame = frame.replace("_[i]", "");
        let (name, mark) = ["_[k]", "_[j]"]
            .iter()
            .find_map(|mark| frame.strip_suffix(mark).map(|name| (name, *mark)))
            .unwrap_or((&frame, ""));
        // It drops what begins with a parenthesis: C++'s `(anonymous namespace)::f`.
        if name.starts_with('(') {
            continue;
        }
        // It calls only what has a kernel's file the kernel's, not an address in the upper half.
        let mark = if name == "[unknown]" { "" } else { mark };
        // It takes `->` for Java's inlining, also in C++'s `operator->`.
        for (n, part) in name.split("->").enumerate() {
            let mark = if n == 0 { mark } else { "" };
            let mut part = without_arguments(part).to_string();
            // Of Java's classes it takes the `L` off.
            if comm.starts_with("java") && part.starts_with('L') && part.contains('/') {
                part.remove(0);
            }
            shown.push(part + mark);
        }
    }
    Some(format!("{} {weight}", shown.join(";")))
}

/// It cuts the arguments of functions off; we keep them, as overloads are different functions. Not
/// cut are parentheses inside of other brackets, behind a dot (Go's methods), and those of C++'s
/// anonymous namespace.
fn without_arguments(name: &str) -> &str {
    let mut depth = 0;
    for (at, c) in name.char_indices() {
        match c {
            '<' | '{' | '[' => depth += 1,
            '>' | '}' | ']' | ')' => depth -= 1,
            '(' => {
                let kept = name[..at].ends_with('.') || name[at..].starts_with("(anonymous namespace)");
                if depth == 0 && !kept {
                    return &name[..at];
                }
                depth += 1;
            }
            _ => {}
        }
    }
    name
}

/// Both fold the text to the same lines; gives ours, as they are, and how many samples.
fn agree(text: &[u8], what: &str) -> (Vec<String>, u64) {
    let (lines, counts) = ours(text);
    let text = String::from_utf8_lossy(text);
    // Not one sample and not one nanosecond is lost or made.
    let heads = text.lines().filter(|l| !l.starts_with('\t') && l.contains(": ") && !l.contains(": PERF_RECORD_"));
    assert_eq!(counts.samples, heads.count() as u64, "{what}");
    assert_eq!(counts.unreadable, 0, "{what}");
    let (mine, other) = (added_up(lines.iter().filter_map(|l| as_inferno(l))), theirs(&for_inferno(&text)));
    let differs = |a: &Folded, b: &Folded| -> Vec<String> {
        a.iter().filter(|(k, w)| b.get(*k) != Some(w)).map(|(k, w)| format!("{k} {w}")).take(5).collect()
    };
    let (only_mine, only_other) = (differs(&mine, &other), differs(&other, &mine));
    assert!(mine == other, "{what}: only ours {only_mine:#?}\nonly inferno's {only_other:#?}");
    (lines, counts.samples)
}

#[test]
fn the_recorded_text_folds_as_inferno_folds_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/profile/fixtures/all-cpus.txt");
    let text = std::fs::read(path).unwrap();
    let (lines, samples) = agree(&text, "all-cpus.txt");
    assert!(samples >= 8 && lines.iter().any(|l| l.contains("burn_inner")), "{samples} {lines:?}");
}

#[test]
fn what_perf_may_say_folds_as_inferno_folds_it_but_for_what_is_named() {
    let text = b"\
java 24636/25607 [000]  1.000000001:   10 cpu-clock: \n\
\t7f722d142778 Ljava/io/PrintStream;::print (/tmp/perf-24636.map)\n\
\t7f722d142779 Lorg/a/B;::call(Lorg/a/C;)V->Lorg/a/D;::f (/tmp/perf-24636.map)\n\
\t    55d0c1a2 JavaCalls::call_helper(JavaValue*, methodHandle const&) (/usr/lib/jvm/libjvm.so)\n\n\
V8 Worker 7/9 [001]  1.000000002:   20 cpu-clock:uhpppH: \n\
\t    1 operator()(int) (/opt/a)\n\
\t    2 std::_Function<void (int)>::_M_invoke(int&&) (/opt/a)\n\
\t    3 std::unique_ptr<A>::operator->() const (/opt/a)\n\
\t    4 (anonymous namespace)::hidden(int) (/opt/a)\n\
\t    5 net/http.(*Client).Do (/opt/go)\n\
\t    6 <T as core::ops::Fn<(A,)>>::call::{{closure}} (/opt/rust (deleted))\n\
\t    7 small (inlined)\n\
\t    8 [unknown] (/opt/lib/liba.so)\n\
\t    9 [unknown] ([unknown])\n\
\tffffffffffffffff [unknown] ([unknown])\n\n\
V8 Worker 7/9 [001]  1.000000003:   30 cpu-clock:uhpppH: \n\
\tffffffff81000000 do_nat+0x7f ([nf_nat])\n\
\tffffffff81000001 [unknown] ([kernel.kallsyms])\n\
\tffffffff81000002 ext4_write (/lib/modules/6.1.0/kernel/fs/ext4/ext4.ko)\n\
\t    7fff1 __vdso_clock_gettime ([vdso])\n\
\t    1 main (/opt/a)\n\n\
x 7/9 [001]  1.000000004:   40 cpu-clock:uhpppH: \n\n\
x 7/9 [001]  1.000000005: PERF_RECORD_LOST lost 3\n\
last 8/8 [001]  1.000000006:   50 cpu-clock:uhpppH: \n\
\t    1 main (/opt/a)";
    // One event name, as inferno compares them with their modifiers.
    let text = String::from_utf8_lossy(text).replace(":uhpppH", "");
    let (lines, samples) = agree(text.as_bytes(), "by hand");
    assert_eq!(samples, 5);
    assert_eq!(lines.last().unwrap(), "x 40", "a sample without a stack is kept");
    assert!(lines.contains(&"last;main 50".to_string()), "no blank line behind it: {lines:?}");
    let weight: u64 = lines.iter().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(weight, 150);
}

/// Removes the maps that virtual machines left of processes of this text, which have ended.
fn forget_maps(text: &[u8]) {
    let mut script = Script::new(0);
    text.split_inclusive(|b| *b == b'\n').for_each(|line| script.line(line));
    let pids: std::collections::BTreeSet<u32> = script.finish().0.samples.iter().map(|s| s.pid).collect();
    for pid in pids.into_iter().filter(|pid| *pid > 0) {
        let _ = std::fs::remove_file(std::env::temp_dir().join(format!("perf-{pid}.map")));
    }
}

#[test]
fn what_perf_says_of_real_programs_folds_as_inferno_folds_it() {
    if let Some(lacks) = perf_lacks() {
        return skipped(&lacks);
    }
    for program in PROGRAMS {
        let Some(tool) = tool(program) else {
            // Not even Debian 12 has a Python that writes maps; everything else can be had anywhere.
            match program.name {
                "Python" => println!("left out: python3 of 3.12 or newer"),
                name => skipped(&format!("{} (for {name})", program.needs)),
            }
            continue;
        };
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), program, &tool);
        let within = |words: &[&str]| within(folder.path(), program, &tool, words);
        let record = "perf record -q -F 499 -g -e cpu-clock --sample-cpu -k CLOCK_MONOTONIC -o p.data --";
        let record: Vec<&str> = record.split(' ').collect();
        let script = "perf script -i p.data --force --ns -F comm,pid,tid,cpu,time,event,period,ip,sym,dso";
        let script: Vec<&str> = script.split(' ').collect();
        // perf misses the mapping of Python's trampolines now and then, and with it all of its map.
        for _ in 0..5 {
            let recorded = within(&[&record[..], program.run].concat());
            assert!(recorded.status.success(), "{}: {}", program.name, String::from_utf8_lossy(&recorded.stderr));
            let read = within(&[&script[..], &["--no-inline"]].concat());
            if memchr::memmem::find(&read.stdout, program.frame.trim_start_matches(';').as_bytes()).is_some() {
                break;
            }
        }
        let folds = |inlining: &[&str]| {
            let read = within(&[&script[..], inlining].concat());
            assert!(read.status.success(), "{}: {}", program.name, String::from_utf8_lossy(&read.stderr));
            let (lines, samples) = agree(&read.stdout, program.name);
            assert!(samples > 100, "{}: {samples}", program.name);
            forget_maps(&read.stdout);
            assert!(lines.iter().any(|l| l.contains(program.frame)), "{}: {lines:#?}", program.name);
            lines
        };
        folds(&["--no-inline"]);
        // It takes minutes where debug information is large.
        if program.name == "C" {
            // perf 6.1 resolves what was inlined only of stacks that it unwinds itself.
            let record: Vec<&str> = record.iter().map(|w| if *w == "-g" { "--call-graph=dwarf" } else { w }).collect();
            assert!(within(&[&record[..], program.run].concat()).status.success());
            let lines = folds(&[]);
            assert!(lines.iter().any(|l| l.contains("burn;small_[i]")), "{lines:#?}");
        }
    }
}
