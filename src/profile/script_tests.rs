//! Tests of the reader of `perf script`: a real recording cut down, the hard names, any bytes.

use super::*;
use proptest::prelude::*;

const ALL_CPUS: &str = include_str!("fixtures/all-cpus.txt");
const HEAD: &str = "nginx 7/8 [003] 2.000000005: 10101010 cpu-clock: \n";

fn read(text: &[u8]) -> (Batch, Counts) {
    let mut script = Script::new(1_000_000_000);
    text.split_inclusive(|&b| b == b'\n').for_each(|line| script.line(line));
    script.finish()
}

/// The stack of a sample from the outermost frame to the innermost.
fn names(batch: &Batch, sample: usize) -> Vec<String> {
    let Some(stack) = batch.samples[sample].stack else { return Vec::new() };
    let mut names: Vec<_> =
        batch.table.walk(stack).map(|f| batch.table.frames[f.0 as usize].symbol.to_string()).collect();
    names.reverse();
    names
}

fn one_frame(line: &str) -> (String, String, bool) {
    let (batch, counts) = read(format!("{HEAD}\t{line}\n").as_bytes());
    assert_eq!((batch.samples.len(), counts.unreadable), (1, 0), "{line}");
    let f = &batch.table.frames[0];
    (f.symbol.to_string(), f.module.to_string(), f.kind.is_kernel())
}

fn comm_of(head: &str) -> (String, u32, u32) {
    let (batch, _) = read(format!("{head}\n\t1 f (/x)\n\n").as_bytes());
    assert_eq!(batch.samples.len(), 1, "{head}");
    (batch.samples[0].comm.to_string(), batch.samples[0].pid, batch.samples[0].tid)
}

#[test]
fn a_recording_of_all_cpus_is_read_whole() {
    let (batch, counts) = read(ALL_CPUS.as_bytes());
    let heads = ALL_CPUS.lines().filter(|l| l.contains("cpu-clock")).count();
    assert_eq!(batch.samples.len(), heads);
    assert_eq!((counts.lost, counts.lost_samples, counts.unreadable), (5, 0, 0));
    assert_eq!((counts.event.as_deref(), &*counts.unit), (Some("cpu-clock"), "ns"));
    let first = &batch.samples[0];
    assert_eq!((first.pid, first.tid, first.cpu, first.weight), (10407, 10407, 0, 333_333));
    assert_eq!(first.at, At(1_834_136_619_179));
    assert_eq!(names(&batch, 0)[..3], ["__libc_start_call_main", "[perf]", "[perf]"]);
    assert_eq!(names(&batch, 0).last().map(String::as_str), Some("unix_stream_read_generic"));
    let last = batch.samples.last().unwrap();
    assert_eq!((last.pid, &*last.comm), (0, "swapper"));
    assert!(batch.samples.iter().any(|s| &*s.comm == "a: b [c/d] (e)"));
    // Kernel frames lie above user frames, and only [kernel.kallsyms] is the kernel here.
    for frame in &batch.table.frames {
        assert_eq!(frame.kind.is_kernel(), &*frame.module == "[kernel.kallsyms]", "{frame:?}");
    }
}

#[test]
fn a_thread_may_be_called_anything() {
    let tail = "7/8 [000] 2.000000000: 1 cycles: ";
    for comm in [
        "nginx: worker p",
        "kworker/0:1-mm",
        "[x]",
        "a: b [c/d] (e)",
        "1/2 [003] 4.5:",
        "9",
        "-1/-1",
        "é✓",
        "a;b",
        "x 1/1 [0] 1.0:",
        ":812",
        "",
    ] {
        assert_eq!(comm_of(&format!("{comm} {tail}")), (comm.trim().to_string(), 7, 8), "{comm}");
        assert_eq!(comm_of(&format!("{comm}      {tail}")).0, comm.trim());
    }
    assert_eq!(comm_of(&format!("new\nline {tail}")).0, "new\nline");
    assert_eq!(comm_of(&format!("\n\nx {tail}")).0, "x");
    assert_eq!(comm_of(&format!("a\n\nx {tail}")).0, "a\n\nx");
    assert_eq!(comm_of("x    -1/-1    [000] 2.000000000: 1 cycles: ").1, u32::MAX);
    // Recorded for a process without --sample-cpu.
    assert_eq!(comm_of("x  7/8  2.000000000: 1 cycles: "), ("x".into(), 7, 8));
}

#[test]
fn a_function_may_be_called_anything() {
    let user = |s: &str, m: &str| (s.to_string(), m.to_string(), false);
    let kernel = |s: &str, m: &str| (s.to_string(), m.to_string(), true);
    for (line, want) in [
        ("55d0 main (/usr/bin/app)", user("main", "app")),
        ("55d0 main+0x1f (/usr/bin/app)", user("main", "app")),
        ("55d0 operator+0xzz (/usr/bin/app)", user("operator+0xzz", "app")),
        (
            "55d0 operator()(int, char (*)(void)) (/opt/a b/libx (y).so)",
            user("operator()(int, char (*)(void))", "libx (y).so"),
        ),
        (
            "55d0 std::map<int, std::less<int> >::find(int const&) const (/x/app (deleted))",
            user("std::map<int, std::less<int> >::find(int const&) const", "app"),
        ),
        ("55d0 Lcom/x/Foo;::bar (/tmp/perf-77.map)", user("Lcom/x/Foo;::bar", "perf-77.map")),
        ("55d0 [unknown] (/usr/sbin/nginx)", user("[nginx]", "nginx")),
        ("55d0 [unknown] ([unknown])", user("[unknown]", "")),
        ("55d0 [unknown] ([heap])", user("[heap]", "[heap]")),
        ("7ffc __vdso_clock_gettime ([vdso])", user("__vdso_clock_gettime", "[vdso])".trim_end_matches(')'))),
        ("ffffffffff600000 [unknown] ([vsyscall])", user("[vsyscall]", "[vsyscall]")),
        ("55d0 [unknown] ([stack:12])", user("[stack:12]", "[stack:12]")),
        ("55d0 [unknown] (//anon)", user("[anon]", "anon")),
        ("55d0 hop (inlined)", user("hop", "")),
        ("55d0 odd (/tmp/a)b)", user("odd", "a)b")),
        ("55d0 odd (/tmp/a(b)", user("odd", "a(b")),
        ("55d0 no module", user("no module", "")),
        ("ffffffff820cae82 tcp_sendmsg ([kernel.kallsyms])", kernel("tcp_sendmsg", "[kernel.kallsyms]")),
        ("ffffffff820cae82 [unknown] ([kernel.kallsyms])", kernel("[kernel.kallsyms]", "[kernel.kallsyms]")),
        ("ffffffffc0001000 nf_hook ([nf_conntrack])", kernel("nf_hook", "[nf_conntrack]")),
        ("ffffffffc0001000 nf_hook (/lib/modules/6.1/nf_conntrack.ko.xz)", kernel("nf_hook", "nf_conntrack.ko.xz")),
        ("ffffffffc0001000 bpf_prog_12ab_x (bpf_prog_12ab_x)", kernel("bpf_prog_12ab_x", "bpf_prog_12ab_x")),
        ("ffffffff81000000 [unknown] ([unknown])", kernel("[unknown]", "")),
        ("81000000 x ([guest.kernel.kallsyms])", kernel("x", "[guest.kernel.kallsyms]")),
    ] {
        assert_eq!(one_frame(line), want, "{line}");
    }
}

#[test]
fn a_sample_needs_neither_a_blank_line_nor_a_stack() {
    let (batch, counts) = read(format!("{HEAD}\n{HEAD}{HEAD}\t1 f (/x)\n\t2 g (/x)").as_bytes());
    assert_eq!((batch.samples.len(), counts.without_stack), (3, 2));
    assert_eq!(batch.samples[1].stack, None);
    assert_eq!(names(&batch, 2), ["g", "f"]);
    // Recorded without -g: the one frame stands on the head line.
    let (batch, _) = read(b"a b 7/8 [003] 2.000000005: 5 cycles:   ffffffff81 do_idle ([kernel.kallsyms])\n");
    assert_eq!(names(&batch, 0), ["do_idle"]);
}

#[test]
fn times_before_the_session_are_its_start() {
    let (batch, _) = read(b"x 7/8 [0] 0.999999999: 1 cycles: \n\n");
    assert_eq!(batch.samples[0].at, At::START);
}

#[test]
fn events_of_one_unit_are_added_up_and_others_are_told() {
    let text = "x 7/8 [0] 2.000000000: 1 cpu_core/cycles/: \n\nx 7/8 [0] 2.000000001: 1 cpu_atom/cycles/: \n\n\
                x 7/8 [0] 2.000000002: 1 page-faults:u: \n\t1 f (/x)\n\n";
    let (batch, counts) = read(text.as_bytes());
    assert_eq!((batch.samples.len(), &*counts.unit, counts.other_units), (2, "cycles", 1));
    assert_eq!(counts.other_event.as_deref(), Some("page-faults"));
    assert!(batch.table.frames.is_empty(), "frames of a sample that is not kept");
    let (_, counts) = read(b"x 7/8 [0] 2.000000000: 1 cpu-clock:uppp: \n");
    assert_eq!((counts.event.as_deref(), &*counts.unit), (Some("cpu-clock"), "ns"));
}

#[test]
fn lost_records_are_counted_in_both_spellings() {
    let text = "a b 7/8 [0] 2.000000000: PERF_RECORD_LOST lost 12\nx 7/8 [0] 2.000000000: PERF_RECORD_LOST_SAMPLES lost 3\n\
                x 7/8 [0] 2.000000000: PERF_RECORD_THROTTLE\n";
    let (batch, counts) = read(text.as_bytes());
    assert_eq!((batch.samples.len(), counts.lost, counts.lost_samples, counts.unreadable), (0, 12, 3, 0));
}

#[test]
fn a_batch_taken_in_the_middle_of_a_sample_leaves_it_whole() {
    let mut script = Script::new(0);
    for line in [HEAD, "\t1 a (/x)\n", "\n", HEAD, "\t2 b (/x)\n"] {
        script.line(line.as_bytes());
    }
    let first = script.take();
    script.line(b"\t1 a (/x)\n");
    let (second, counts) = script.finish();
    assert_eq!((names(&first, 0), names(&second, 0)), (vec!["a".to_string()], vec!["a".to_string(), "b".to_string()]));
    assert_eq!(counts.samples, 2);
}

#[test]
fn a_stack_of_four_thousand_frames_is_kept() {
    let mut text = HEAD.to_string();
    (0..4000).for_each(|n| text.push_str(&format!("\t{n:x} f{} (/x)\n", n % 7)));
    let (batch, _) = read(text.as_bytes());
    assert_eq!((names(&batch, 0).len(), batch.table.frames.len(), batch.table.nodes.len()), (4000, 7, 4000));
}

#[derive(Clone, Debug)]
struct Printed {
    comm: String,
    pid: u32,
    cpu: u32,
    at: u64,
    weight: u64,
    stack: Vec<(String, String)>,
}

fn printed() -> impl Strategy<Value = Printed> {
    let symbol = "[A-Za-z_~][A-Za-z0-9_:<>,;*& ]{0,20}[a-z](\\([a-z, ]{0,6}\\))?";
    let dso = "/[a-z]{1,8}/[a-z][a-z0-9 .]{0,8}(\\([a-z]{1,3}\\))?[a-z]";
    // Up to 15 characters, as a thread name is; outer blanks are not told apart from the columns.
    let comm = "[ -~]{0,15}".prop_map(|s| s.trim_matches(' ').to_string());
    (comm, 0u32..4_000_000, 0u32..512, 0u64..u64::MAX / 4, any::<u64>(), prop::collection::vec((symbol, dso), 0..30))
        .prop_map(|(comm, pid, cpu, at, weight, stack)| Printed { comm, pid, cpu, at, weight, stack })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn any_mix_of_its_own_pieces_is_read_without_panic(pieces in prop::collection::vec(prop::sample::select(vec![
        "x", " ", "/", "7/8", " [003] ", "2.000000005", ":", ": ", "\n", "\t", "(", ")", " (", "[", "]", "-", "+0x", "1",
        "cycles:", "PERF_RECORD_LOST lost ", "99999999999999999999", "ffffffff81000000 ", "é", "\u{0}", HEAD,
    ]), 0..60)) {
        read(pieces.concat().as_bytes());
    }

    #[test]
    fn what_is_printed_is_read_back(all in prop::collection::vec(printed(), 1..12)) {
        let mut text = String::new();
        for p in &all {
            let (s, ns) = (p.at / 1_000_000_000, p.at % 1_000_000_000);
            text.push_str(&format!("{} {:>7}/{:<7} [{:03}] {s:>5}.{ns:09}: {:>10} cpu-clock: \n", p.comm, p.pid, p.pid, p.cpu, p.weight));
            for (symbol, dso) in p.stack.iter().rev() {
                text.push_str(&format!("\t{:>16x} {symbol} ({dso})\n", 0x55d0));
            }
            text.push('\n');
        }
        let mut script = Script::new(0);
        text.split_inclusive('\n').for_each(|line| script.line(line.as_bytes()));
        let (batch, counts) = script.finish();
        prop_assert_eq!(counts.unreadable, 0);
        let mut all = all;
        all.sort_by_key(|p| p.at);
        prop_assert_eq!(batch.samples.len(), all.len());
        for (n, (read, p)) in batch.samples.iter().zip(&all).enumerate() {
            prop_assert_eq!((&*read.comm, read.pid, read.cpu, read.at.0, read.weight), (&*p.comm, p.pid, p.cpu, p.at, p.weight));
            prop_assert_eq!(names(&batch, n), p.stack.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>());
            let modules: Vec<_> = read.stack.iter().flat_map(|&s| batch.table.walk(s)).map(|f| batch.table.frames[f.0 as usize].module.to_string()).collect();
            let mut want: Vec<_> = p.stack.iter().map(|(_, d)| d.rsplit('/').next().unwrap_or_default().to_string()).collect();
            want.reverse();
            prop_assert_eq!(modules, want);
        }
    }
}
