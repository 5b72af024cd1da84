//! Tests of the exports: what is written is read back, by us and by structure.

use super::*;
use crate::model::{
    At, CaptureId, Event, Frame, FrameKind, Mark, MarkKind, Metric, Opening, Reading, Readings, Sample, SourceLine,
    Stacks,
};
use crate::timeline::stacks::StackFilter;
use prost::Message as _;
use serde_json::Value;
use std::io::Read as _;

/// Two threads on a CPU, one of them in an inlined function, and an allocation.
fn session() -> Timeline {
    let mut t = Timeline::new();
    t.apply(&Event::from(Opening {
        started_unix_ns: 1_600_000_000_000_000_000,
        target: "<x>".into(),
        ..Opening::default()
    }));
    let mut table = StackTable::default();
    let line = |mut f: Frame, line| {
        f.line = Some(SourceLine { file: "/src/a.c".into(), line });
        f
    };
    let frames = [
        line(Frame::new("main", "app", FrameKind::User), 3),
        line(Frame::new("hot", "app", FrameKind::Inlined), 30),
        Frame::new("tcp_sendmsg", "[kernel.kallsyms]", FrameKind::Kernel),
        Frame::new("Foo.bar", "perf-7.map", FrameKind::Jit),
    ]
    .map(|f| table.frame(f));
    let main = table.push(None, frames[0]);
    let hot = table.push(Some(main), frames[1]);
    let send = table.push(Some(hot), frames[2]);
    let foo = table.push(Some(main), frames[3]);
    let sample = |at: u64, tid, comm: &str, stack, weight| Sample {
        at: At(at * 1_000_000),
        cpu: 1,
        pid: 7,
        tid,
        comm: comm.into(),
        stack,
        weight,
    };
    let of = |event: &str, unit: &str, samples| {
        Event::Stacks(Stacks {
            at: At(9_000_000),
            capture: CaptureId(1),
            event: event.into(),
            unit: unit.into(),
            table: table.clone(),
            samples,
            lost: 0,
        })
    };
    t.apply(&of(
        "cpu-clock",
        "ns",
        vec![
            sample(1, 7, "web", Some(send), 10_000_000),
            sample(2, 8, "gc", Some(foo), 10_000_000),
            sample(3, 7, "web", Some(send), 10_000_000),
            sample(4, 7, "web", None, 5_000_000),
        ],
    ));
    t.apply(&of("alloc_space", "bytes", vec![sample(5, 7, "web", Some(hot), 4096)]));
    t.apply(&Event::Mark(Mark { at: At(2_000_000), kind: MarkKind::User, label: "deploy".into() }));
    for (at, value) in [(1, 100), (3, 140), (5, 90)] {
        let values = vec![Reading { metric: Metric::TcpTimeWait, instance: "".into(), value }];
        t.apply(&Event::Readings(Readings { at: At(at * 1_000_000), sampler: "tcp".into(), took_ns: 0, values }));
    }
    t
}

fn write(name: &str, filter: &StackFilter) -> Result<Vec<u8>, ExportError> {
    let export = EXPORTS.iter().find(|e| e.name() == name).unwrap();
    export.write(&Chosen { timeline: &session(), filter })
}

fn json(name: &str, filter: &StackFilter) -> Value {
    serde_json::from_slice(&write(name, filter).unwrap()).unwrap()
}

#[test]
fn no_samples_are_no_file() {
    let none = StackFilter { cpu: Some(3), ..StackFilter::default() };
    for export in EXPORTS {
        assert!(write(export.name(), &none).is_err(), "{}", export.name());
    }
    let names: std::collections::BTreeSet<_> = EXPORTS.iter().flat_map(|e| [e.name(), e.ending()]).collect();
    assert!(names.len() > EXPORTS.len());
}

#[test]
fn pprof_has_every_type_and_what_was_inlined_in_one_location() {
    let packed = write("pprof", &StackFilter::default()).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let p = crate::model::pprof::Profile::decode(&bytes[..]).unwrap();
    let text = |n: i64| p.string_table[n as usize].as_str();
    let types: Vec<_> = p.sample_type.iter().map(|t| (text(t.kind), text(t.unit))).collect();
    assert_eq!(types, [("cpu-clock", "nanoseconds"), ("alloc_space", "bytes")]);
    assert_eq!(text(p.default_sample_type), "cpu-clock");
    let function = |id: u64| text(p.function.iter().find(|f| f.id == id).unwrap().name);
    let stack = |s: &crate::model::pprof::Sample| -> Vec<Vec<(&str, i64)>> {
        let location = |id: &u64| p.location.iter().find(|l| l.id == *id).unwrap();
        s.location_id
            .iter()
            .map(|id| location(id).line.iter().map(|l| (function(l.function_id), l.line)).collect())
            .collect()
    };
    let rows: Vec<_> = p.sample.iter().map(|s| (stack(s), s.value.clone())).collect();
    let inlined = vec![("hot", 30), ("main", 3)];
    assert_eq!(
        rows,
        [
            (vec![vec![("tcp_sendmsg", 0)], inlined.clone()], vec![20_000_000, 0]),
            (vec![vec![("Foo.bar", 0)], vec![("main", 3)]], vec![10_000_000, 0]),
            (vec![], vec![5_000_000, 0]),
            (vec![inlined], vec![0, 4096]),
        ]
    );
    let of =
        |s: &crate::model::pprof::Sample| s.label.iter().map(|l| (text(l.key), text(l.str), l.num)).collect::<Vec<_>>();
    assert_eq!(of(&p.sample[1]), [("thread", "gc", 0), ("thread_id", "", 8), ("process_id", "", 7)]);
    assert_eq!((p.time_nanos, p.duration_nanos), (1_600_000_000_000_000_000, 9_000_000));
}

#[test]
fn speedscope_has_a_profile_per_thread_as_its_schema_wants() {
    let file = json("speedscope", &StackFilter::default());
    assert_eq!(file["$schema"], "https://www.speedscope.app/file-format-schema.json");
    let frames = file["shared"]["frames"].as_array().unwrap();
    assert!(frames.iter().all(|f| f["name"].is_string()));
    assert_eq!(frames[1], serde_json::json!({"name": "hot_[i]", "file": "/src/a.c", "line": 30}));
    let profiles = file["profiles"].as_array().unwrap();
    let shown: Vec<_> =
        profiles.iter().map(|p| (p["name"].as_str().unwrap(), p["endValue"].as_u64().unwrap())).collect();
    assert_eq!(shown, [("web (7)", 25_000_000), ("gc (8)", 10_000_000)]);
    for p in profiles {
        let (samples, weights) = (p["samples"].as_array().unwrap(), p["weights"].as_array().unwrap());
        assert_eq!((&p["type"], &p["unit"], &p["startValue"]), (&"sampled".into(), &"nanoseconds".into(), &0.into()));
        assert_eq!(samples.len(), weights.len());
        assert_eq!(weights.iter().map(|w| w.as_u64().unwrap()).sum::<u64>(), p["endValue"].as_u64().unwrap());
        let ids = samples.iter().flat_map(|s| s.as_array().unwrap());
        assert!(ids.map(|id| id.as_u64().unwrap()).all(|id| (id as usize) < frames.len()));
    }
    let bytes = StackFilter { event: Some("alloc_space".into()), ..StackFilter::default() };
    assert_eq!(json("speedscope", &bytes)["profiles"][0]["unit"], "bytes");
}

/// Fails unless every column of a table has its length, and gives it back.
fn length(table: &Value) -> u64 {
    let n = table["length"].as_u64().unwrap();
    for (name, column) in table.as_object().unwrap() {
        if let Some(column) = column.as_array() {
            assert_eq!(column.len() as u64, n, "{name}");
        }
    }
    n
}

#[test]
fn the_firefox_profiler_finds_every_table_whole() {
    let file = json("firefox", &StackFilter::default());
    let shared = &file["shared"];
    let strings = shared["stringArray"].as_array().unwrap().len() as u64;
    let n = |name: &str| length(&shared[name]);
    let (stacks, frames, funcs) = (n("stackTable"), n("frameTable"), n("funcTable"));
    let (resources, sources) = (n("resourceTable"), n("sources"));
    n("nativeSymbols");
    let within = |table: &str, column: &str, most: u64| {
        for v in shared[table][column].as_array().unwrap() {
            assert!(v.is_null() || v.as_i64() == Some(-1) || v.as_u64().unwrap() < most, "{table}.{column}: {v}");
        }
    };
    within("stackTable", "frame", frames);
    within("frameTable", "func", funcs);
    within("frameTable", "category", 6);
    within("funcTable", "name", strings);
    within("funcTable", "resource", resources);
    within("funcTable", "source", sources);
    within("resourceTable", "name", strings);
    within("sources", "filename", strings);
    for (n, prefix) in shared["stackTable"]["prefix"].as_array().unwrap().iter().enumerate() {
        assert!(prefix.is_null() || prefix.as_u64().unwrap() < n as u64, "a caller stands before its callees");
    }
    assert_eq!((stacks, frames), (4, 4));
    let threads = file["threads"].as_array().unwrap();
    let names: Vec<_> = threads.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["the run", "web (7)", "gc (8)"]);
    for t in threads {
        length(&t["samples"]);
        length(&t["markers"]);
    }
    let web = &threads[1]["samples"];
    assert_eq!(web["time"], serde_json::json!([1.0, 3.0, 4.0]));
    assert_eq!(web["weight"], serde_json::json!([10.0, 10.0, 5.0]));
    assert_eq!(web["threadCPUDelta"], serde_json::json!([10_000_000, 10_000_000, 5_000_000]));
    assert!(web["stack"][2].is_null());
    let marks = &threads[0]["markers"];
    assert_eq!((&marks["startTime"][0], &marks["data"][0]["name"]), (&2.0.into(), &"deploy".into()));
    // What is added from sample to sample.
    let counter = &file["counters"][0];
    assert_eq!(
        (&counter["name"], &counter["samples"]["count"]),
        (&"TIME_WAIT".into(), &serde_json::json!([100.0, 40.0, -50.0]))
    );
    length(&counter["samples"]);
    assert!(counter["display"]["graphType"].is_string());
    let meta = &file["meta"];
    assert_eq!(meta["preprocessedProfileVersion"], 62);
    assert!(meta["categories"].as_array().unwrap().iter().any(|c| c["color"] == "grey"));
}
