//! Tests of the importers: files made by us in every format, damaged ones, and arbitrary bytes.

use super::*;
use crate::model::pprof as wire;
use crate::model::{FrameKind, StackId};
use proptest::prelude::*;
use prost::Message as _;
use std::io::Write as _;

fn read(bytes: &[u8], format: Option<&str>) -> Result<(Imported, Guess), Obstacle> {
    import(Input::of_bytes("test", bytes.to_vec())?, format)
}

fn fine(bytes: &[u8], format: &str) -> Imported {
    let (imported, guess) = read(bytes, None).unwrap();
    assert_eq!(guess.format, format, "{}", guess.why);
    imported
}

#[track_caller]
fn refused(bytes: &[u8], format: Option<&str>, part: &str) {
    let o = read(bytes, format).map(|(i, g)| (i.stacks, g)).unwrap_err();
    assert!(o.what.contains(part) && !o.what.contains('\n'), "no `{part}` in: {}", o.what);
}

/// `event/unit` and per sample `outermost;…;innermost weight @ns`, kinds as suffixes, lines behind a colon.
fn shown(stacks: &Stacks) -> (String, Vec<String>) {
    let frame = |f: crate::model::FrameId| {
        let f = &stacks.table.frames[f.0 as usize];
        let line = f.line.as_ref().map(|l| format!(":{}:{}", l.file, l.line)).unwrap_or_default();
        format!("{}{}{line}", f.symbol, f.kind.suffix())
    };
    let path = |stack: Option<StackId>| {
        let mut path: Vec<String> = stack.into_iter().flat_map(|s| stacks.table.walk(s)).map(frame).collect();
        path.reverse();
        path.join(";")
    };
    let rows = stacks.samples.iter().map(|s| format!("{} {} @{}", path(s.stack), s.weight, s.at.0)).collect();
    (format!("{}/{}", stacks.event, stacks.unit), rows)
}

fn sum(stacks: &Stacks) -> u64 {
    stacks.samples.iter().map(|s| s.weight).sum()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A profile of two types: main called work, into which hot and below it hottest were inlined; and
/// an address without a name.
fn profile() -> wire::Profile {
    let strings = [
        "",
        "alloc_objects",
        "count",
        "alloc_space",
        "bytes",
        "main",
        "work",
        "hot",
        "hottest",
        "/src/a.c",
        "/opt/app",
        "thread",
        "io",
        "size",
    ];
    let function = |id, name| wire::Function { id, name, filename: 9, ..Default::default() };
    let line = |function_id, line| wire::Line { function_id, line };
    wire::Profile {
        sample_type: vec![wire::ValueType { kind: 1, unit: 2 }, wire::ValueType { kind: 3, unit: 4 }],
        sample: vec![
            wire::Sample { location_id: vec![2, 1], value: vec![3, 4096], label: vec![] },
            wire::Sample { location_id: vec![2, 1], value: vec![1, 8], label: vec![] },
            wire::Sample {
                location_id: vec![3, 1],
                value: vec![0, 7],
                label: vec![
                    wire::Label { key: 11, str: 12, ..Default::default() },
                    wire::Label { key: 13, num: 48, ..Default::default() },
                ],
            },
        ],
        mapping: vec![wire::Mapping {
            id: 1,
            memory_start: 0x40_0000,
            memory_limit: 0x50_0000,
            file_offset: 0x1000,
            filename: 10,
            ..Default::default()
        }],
        location: vec![
            wire::Location { id: 1, mapping_id: 1, address: 0x40_0010, line: vec![line(1, 3)] },
            wire::Location {
                id: 2,
                mapping_id: 1,
                address: 0x40_0020,
                line: vec![line(4, 40), line(3, 30), line(2, 20)],
            },
            wire::Location { id: 3, mapping_id: 1, address: 0x40_0030, line: vec![] },
        ],
        function: vec![function(1, 5), function(2, 6), function(3, 7), function(4, 8)],
        string_table: strings.iter().map(|s| s.to_string()).collect(),
        time_nanos: 1_600_000_000_000_000_000,
        duration_nanos: 5_000_000_000,
        ..Default::default()
    }
}

#[test]
fn pprof_keeps_every_type_the_inlined_lines_and_the_time() {
    let p = fine(&gzip(&profile().encode_to_vec()), "pprof");
    // The last type is the default, when none is named.
    let inlined = "main:/src/a.c:3;work:/src/a.c:20;hot_[i]:/src/a.c:30;hottest_[i]:/src/a.c:40";
    assert_eq!(
        p.stacks.iter().map(shown).collect::<Vec<_>>(),
        [
            (
                "alloc_space/bytes".into(),
                vec![format!("{inlined} 4104 @0"), "main:/src/a.c:3;[app]+0x1030 7 @0".into()]
            ),
            ("alloc_objects/count".into(), vec![format!("{inlined} 4 @0")]),
        ]
    );
    let comms: Vec<&str> = p.stacks[0].samples.iter().map(|s| &*s.comm).collect();
    assert_eq!((comms, &*p.program, &*p.stacks[0].table.frames[0].module), (vec!["app", "io"], "app", "app"));
    assert_eq!((p.started_unix_ns, p.length_ns), (Some(1_600_000_000_000_000_000), 5_000_000_000));
    assert_eq!(p.notes, ["numbers beside the samples were not kept: size"]);
    let named = wire::Profile { default_sample_type: 1, ..profile() };
    assert_eq!(&*fine(&named.encode_to_vec(), "pprof").stacks[0].event, "alloc_objects");
}

#[test]
fn pprof_leaves_out_frames_it_is_told_to_with_what_they_call() {
    let mut p = profile();
    p.string_table.push("hot|main".into());
    p.drop_frames = 14;
    // main is outermost: nothing would be above it.
    let rows = shown(&fine(&p.encode_to_vec(), "pprof").stacks[0]).1;
    assert_eq!(rows, ["main:/src/a.c:3;work:/src/a.c:20 4104 @0", "main:/src/a.c:3;[app]+0x1030 7 @0"]);
    p.string_table.push("h.t".into());
    p.keep_frames = 15;
    assert!(shown(&fine(&p.encode_to_vec(), "pprof").stacks[0]).1[0].contains(";hottest_[i]"));
}

#[test]
fn what_is_wrong_in_a_pprof_is_said_in_one_line() {
    let with = |change: &dyn Fn(&mut wire::Profile)| {
        let mut p = profile();
        change(&mut p);
        p.encode_to_vec()
    };
    for (bytes, part) in [
        (with(&|p| p.sample[1].location_id = vec![77]), "sample 2 names location 77"),
        (with(&|p| p.location[1].line[0].function_id = 99), "names function 99"),
        (with(&|p| p.location[1].mapping_id = 9), "names mapping 9"),
        (with(&|p| p.function[0].name = 99), "names string 99 of 14"),
        (with(&|p| p.function[0].name = -1), "names string -1"),
        (with(&|p| p.function[1].id = 1), "two functions have the id 1"),
        (with(&|p| p.location[0].id = 0), "has the id 0"),
        (with(&|p| p.sample[0].value = vec![1]), "sample 1 has 1 values for 2 sample types"),
        (with(&|p| p.string_table[0] = "x".into()), "first string is not empty"),
        (with(&|p| p.sample_type.clear()), "no sample type"),
        (with(&|p| (0..3).for_each(|n| p.sample[n].value = vec![1, i64::MAX])), "more than 64 bits"),
        (with(&|p| p.sample[0].location_id = vec![1; 1 << 20]), "more than any real one"),
    ] {
        refused(&bytes, Some("pprof"), part);
    }
    let negative = with(&|p| p.sample[0].value = vec![-3, 5]);
    let p = fine(&negative, "pprof");
    assert_eq!((sum(&p.stacks[0]), sum(&p.stacks[1])), (20, 1));
    assert!(p.notes[0].starts_with("1 values below zero"), "{:?}", p.notes);
}

#[test]
fn a_profile_that_was_cut_off_is_never_taken_for_a_whole_one() {
    let whole = profile().encode_to_vec();
    let mut cut_within = 0;
    for end in 0..whole.len() {
        if let Ok((p, _)) = read(&whole[..end], Some("pprof")) {
            // Only between its parts: then it is a shorter profile that is whole itself.
            assert!(sum(&p.stacks[0]) <= 4111);
        } else {
            cut_within += 1;
        }
    }
    assert!(cut_within > whole.len() / 2);
    let packed = gzip(&whole);
    for end in 3..packed.len() {
        assert!(read(&packed[..end], None).is_err(), "{end} of {}", packed.len());
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let zeros = vec![0; 1 << 20];
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..300).for_each(|_| packed.write_all(&zeros).unwrap());
    let bomb = packed.finish().unwrap();
    for format in ["pprof", "speedscope", "pprof-legacy"] {
        refused(&bomb, Some(format), "more than 256 MB unpacked");
    }
    refused(&bomb, None, "no profile of a format known");
}

#[test]
fn folded_lines_keep_their_sum_and_the_kinds_of_frames() {
    let text =
        b"# comment\nweb;main;hot_[i];write_[k] 5\r\nweb;a b;lambda_[j] 3\n\nweb;main;hot_[i];write_[k] 4\nweb\t1";
    let p = fine(text, "folded");
    assert_eq!(p.stacks.len(), 1);
    assert_eq!(
        shown(&p.stacks[0]),
        (
            "samples/count".into(),
            vec!["web;main;hot_[i];write_[k] 9 @0".into(), "web;a b;lambda_[j] 3 @0".into(), "web 1 @0".into()]
        )
    );
    let kinds: Vec<FrameKind> = p.stacks[0].table.frames.iter().map(|f| f.kind).collect();
    use FrameKind::{Inlined, Jit, Kernel, User};
    assert_eq!(kinds, [User, User, Inlined, Kernel, User, Jit]);
    refused(b"a;b 1 2\na;c 3 4\n", None, "difference of two profiles");
    let p = read(b"a;b 1\nno weight\n", Some("folded")).unwrap().0;
    assert_eq!((sum(&p.stacks[0]), p.notes.len()), (1, 1));
    refused(b"no weight\n", Some("folded"), "no line is a stack");
    refused(b"a 18446744073709551615\na 1\n", None, "more than 64 bits");
}

#[test]
fn speedscope_is_read_sampled_and_of_events() {
    let text = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","name":"both","activeProfileIndex":1,
      "shared":{"frames":[{"name":"main","file":"a.py","line":3},{"name":"f"},{"name":"g","col":1}]},
      "profiles":[
       {"type":"sampled","name":"w","unit":"milliseconds","startValue":0,"endValue":1,"samples":[[0,1],[0],[]],"weights":[0.25,1,2]},
       {"type":"evented","name":"e","unit":"microseconds","startValue":10,"endValue":30,"events":[
         {"type":"O","frame":0,"at":10},{"type":"O","frame":2,"at":12.5},{"type":"C","frame":2,"at":20},{"type":"C","frame":0,"at":29}]},
       {"type":"sampled","name":"b","unit":"bytes","startValue":0,"endValue":9,"samples":[[1],[1,1]],"weights":[0.5,0.5]}]}"#;
    let p = fine(text, "speedscope");
    let shown: Vec<_> = p.stacks.iter().map(shown).collect();
    let times = [
        "main:a.py:3;f 250000 @0",
        "main:a.py:3 2500 @0",
        "main:a.py:3;g 7500 @2500",
        "main:a.py:3 9000 @10000",
        "main:a.py:3 1000000 @250000",
        " 2000000 @1250000",
    ];
    let mut of_time = shown[0].1.clone();
    of_time.sort();
    let mut wanted: Vec<String> = times.iter().map(|t| t.to_string()).collect();
    wanted.sort();
    assert_eq!((shown[0].0.as_str(), of_time), ("time/ns", wanted));
    // Half bytes: the sum is kept.
    assert_eq!((shown[1].0.as_str(), sum(&p.stacks[1])), ("bytes/bytes", 1));
    assert_eq!((p.length_ns, &*p.program), (3_250_000, "both"));
    let with = |from: &str, to: &str| String::from_utf8_lossy(text).replace(from, to).into_bytes();
    refused(&with(r#"{"type":"C","frame":2"#, r#"{"type":"C","frame":0"#), None, "profile 2: event 3 closes frame 0");
    refused(&with(r#""at":20}"#, r#""at":2}"#), None, "event 3 lies before");
    refused(&with("[0,1]", "[0,9]"), None, "frame 9 of 3 is not there");
    refused(&with("[0.25,1,2]", "[0.25,1]"), None, "3 samples and 2 weights");
    refused(&with("[0.25,1,2]", "[0.25,-1,2]"), None, "weight 2 is -1");
    refused(&with("milliseconds", "weeks"), None, "`weeks` is no unit");
    refused(&text[..text.len() - 9], None, "no speedscope JSON");
}

/// A legacy CPU profile in words of a machine.
fn legacy(bytes: usize, big: bool, records: &[&[u64]], maps: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let words = [&[0, 3, 0, 10_000, 0][..]].into_iter().chain(records.iter().copied()).chain([&[0, 1, 0][..]]);
    for &w in words.flatten() {
        let eight = if big { w.to_be_bytes() } else { w.to_le_bytes() };
        all.extend_from_slice(if big { &eight[8 - bytes..] } else { &eight[..bytes] });
    }
    all.extend_from_slice(maps.as_bytes());
    all
}

#[test]
fn a_legacy_profile_is_read_in_every_kind_of_word() {
    let maps = "00400000-00500000 r-xp 00000000 08:01 12  /opt/app\n60000000-60001000 r-xp 00002000 08:01 13  /lib/libc.so.6\n";
    let records: [&[u64]; 3] = [&[2, 2, 0x6000_0010, 0x40_0021], &[1, 1, 0x40_0020], &[3, 2, 0x7000_0000, 0x40_0021]];
    for (bytes, big) in [(8, false), (4, false), (8, true), (4, true)] {
        let p = fine(&legacy(bytes, big, &records, maps), "pprof-legacy");
        let of = |n: usize| shown(&p.stacks[n]);
        let rows = |scale: u64| -> Vec<String> {
            let rows =
                [("[app]+0x20;[libc.so.6]+0x2010", 2), ("[app]+0x20", 1), ("[app]+0x20;[unknown]+0x70000000", 3)];
            rows.iter().map(|(stack, n)| format!("{stack} {} @0", n * scale)).collect()
        };
        assert_eq!((of(0), of(1)), (("cpu/ns".into(), rows(10_000_000)), ("samples/count".into(), rows(1))));
        assert_eq!((p.hz, &*p.program), (Some(100), "app"));
    }
    let whole = legacy(8, false, &records, maps);
    for end in 40..whole.len() - maps.len() {
        refused(&whole[..end], Some("pprof-legacy"), "");
    }
    refused(&legacy(8, false, &[&[1, 0]], maps), None, "record 1 has 0 frames");
    refused(&legacy(8, false, &[&[1, u64::MAX / 4]], maps), None, "it is damaged");
}

#[test]
fn perf_script_is_read_with_its_default_fields_and_every_event() {
    let text = "# captured on: x\nnginx 812 [001] 100.000002:     250000 cpu-clock:pppH: \n\tffffffff81000000 tcp_sendmsg+0x1f ([kernel.kallsyms])\n  tcp.c:1234\n\t    55d0 main+0x1 (/usr/sbin/nginx)\n\n\
        nginx 812 [001] 100.000003:          1 page-faults:u: \n\t    55d0 main+0x1 (/usr/sbin/nginx)\n\n\
        swapper     0 [000] 100.000001:     250000 cpu-clock:pppH: \n\tffffffff81000000 default_idle ([kernel.kallsyms])\n\
        x 7/8 [003] 100.5: PERF_RECORD_LOST lost 3\n";
    let p = fine(text.as_bytes(), "perf-script");
    assert_eq!(
        p.stacks.iter().map(shown).collect::<Vec<_>>(),
        [
            (
                "cpu-clock/ns".into(),
                vec!["default_idle_[k] 250000 @0".into(), "main;tcp_sendmsg_[k] 250000 @1000".into()]
            ),
            ("page-faults/page-faults".into(), vec!["main 1 @2000".into()]),
        ]
    );
    let s = &p.stacks[0].samples;
    assert_eq!((s[0].pid, s[0].tid, s[1].pid, s[1].tid, s[1].cpu), (0, 0, UNKNOWN, 812, 1));
    assert_eq!((p.lost(), p.monotonic_ns, p.length_ns), (3, Some(100_000_001_000), 2000));
    // Without times, periods and CPUs each sample counts one.
    let p = fine(b"java 25607/25608 cycles: \n\t 7f01 Foo.bar (/tmp/perf-25607.map)\n\njava 25607/25609 cycles: \n\t 7f01 Foo.bar (/tmp/perf-25607.map)", "perf-script");
    assert_eq!(
        shown(&p.stacks[0]),
        ("cycles/count".into(), vec!["Foo.bar_[j] 1 @0".into(), "Foo.bar_[j] 1 @0".into()])
    );
    assert!(p.notes.iter().any(|n| n.contains("no time")) && p.monotonic_ns.is_none(), "{:?}", p.notes);
}

#[test]
fn the_texts_that_captures_are_read_from_give_the_same_samples_here() {
    let text = include_bytes!("../fixtures/all-cpus.txt");
    let mut script = crate::profile::script::Script::new(0);
    text.split_inclusive(|b| *b == b'\n').for_each(|line| script.line(line));
    let (batch, counts) = script.finish();
    let p = fine(text, "perf-script");
    assert_eq!((p.samples(), sum(&p.stacks[0])), (counts.samples, batch.samples.iter().map(|s| s.weight).sum()));
    let (mine, theirs) = (&p.stacks[0], &batch.samples);
    let first = theirs[0].at.0;
    for (a, b) in mine.samples.iter().zip(theirs) {
        assert_eq!(
            (a.at.0, a.cpu, a.pid, a.tid, &a.comm, a.weight),
            (b.at.0 - first, b.cpu, b.pid, b.tid, &b.comm, b.weight)
        );
    }
}

#[test]
fn what_is_no_profile_is_refused() {
    refused(b"", None, "is empty");
    refused(b"GET / HTTP/1.1\r\n\r\n", None, "no profile of a format known");
    refused(b"{\"a\":1}", None, "no profile of a format known");
    refused(&[0; 4096], None, "no profile of a format known");
    refused(b"PERFILE2 but not from a file", None, "give its path");
    refused(b"x", Some("nonsense"), "there is no format `nonsense`");
    let bytes = profile().encode_to_vec();
    for format in ["folded", "speedscope", "pprof-legacy", "perf-script"] {
        assert!(read(&bytes, Some(format)).is_err(), "{format}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for importer in IMPORTERS {
            let _ = read(&bytes, Some(importer.name()));
        }
        let _ = read(&bytes, None);
    }

    #[test]
    fn a_damaged_profile_is_read_without_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut bytes = profile().encode_to_vec();
        let n = bytes.len();
        bytes[at % n] = byte;
        let _ = read(&bytes, Some("pprof"));
        let _ = read(&bytes[..cut % n], Some("pprof"));
        let _ = read(&gzip(&bytes), None);
    }

    #[test]
    fn sums_are_kept(values in prop::collection::vec((0i64..1 << 40, 0i64..1 << 50, prop::collection::vec(1u64..4, 0..6)), 1..40)) {
        let sample = |(a, b, stack): &(i64, i64, Vec<u64>)| wire::Sample { location_id: stack.clone(), value: vec![*a, *b], label: vec![] };
        let p = wire::Profile { sample: values.iter().map(sample).collect(), ..profile() };
        let read = read(&p.encode_to_vec(), Some("pprof")).unwrap().0;
        let total = |of: fn(&(i64, i64, Vec<u64>)) -> i64| values.iter().map(of).sum::<i64>() as u64;
        prop_assert_eq!((sum(&read.stacks[1]), sum(&read.stacks[0])), (total(|v| v.0), total(|v| v.1)));
    }
}
