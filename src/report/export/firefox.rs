//! The Firefox Profiler's processed format, version 62 (github.com/firefox-devtools/profiler,
//! docs-developer/CHANGELOG-formats.md and src/types/profile.ts): a newer profiler takes it over by its
//! own upgraders, as it does every older one.
//!
//! Besides the stacks of each thread over time it has what perfbench knows besides: throughput, p99,
//! sockets in TIME_WAIT and local ports as counter tracks; slow and failed requests, marks, captures
//! and faults as markers, on a thread of their own.
//!
//! Times are milliseconds from the session's start, CPU time nanoseconds.
//!
//! Must not: leave a table of the format out because it is empty.

use super::{Chosen, Export, ExportError, Numbered, Thread};
use crate::model::{
    At, CaptureState, Exemplar, FrameId, FrameKind, Metric, Outcome, Span, StackId, StackTable, clean, new_histogram,
};
use crate::timeline::stacks::Taken;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Version of the format.
const VERSION: u32 = 62;
/// Slow requests that become markers; failed ones besides.
const SLOWEST: usize = 2000;
/// The process of perfbench's own tracks.
const OWN: &str = "perfbench";
/// Categories by number; the first grey one is the default (`Category` of types/profile.ts).
const CATEGORIES: [(&str, &str); 6] = [
    ("Other", "grey"),
    ("User", "yellow"),
    ("Kernel", "orange"),
    ("JIT", "green"),
    ("Inlined", "lightblue"),
    ("Idle", "transparent"),
];

/// See the top of the file.
pub(super) struct Firefox;

impl Export for Firefox {
    fn name(&self) -> &'static str {
        "firefox"
    }

    fn about(&self) -> &'static str {
        "Firefox Profiler JSON, with counter tracks and markers of the run: https://profiler.firefox.com"
    }

    fn ending(&self) -> &'static str {
        "firefox.json"
    }

    fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, ExportError> {
        let mut shared = Shared::default();
        let weights = chosen.timeline.profile().weights(chosen.filter);
        let mut of_thread: BTreeMap<Thread<'_>, Vec<Taken<'_>>> = BTreeMap::new();
        for s in chosen.samples() {
            of_thread.entry(Thread::of(&s)).or_default().push(s);
        }
        if of_thread.is_empty() {
            return Err(ExportError::Empty);
        }
        let mut threads = vec![own_thread(chosen, &mut shared)];
        for (thread, samples) in &of_thread {
            let table = samples_table(samples, &weights.unit, chosen.table(), &mut shared);
            let end = samples.last().map_or(At::START, |s| s.at);
            threads.push(json_thread(&thread.title(), thread, samples[0].at, end, table));
        }
        let file = json!({
            "meta": meta(chosen, &weights.unit),
            "libs": [],
            "counters": counters(chosen),
            "shared": shared.tables(),
            "threads": threads,
        });
        serde_json::to_vec(&file).map_err(|e| ExportError::Encoding(e.to_string()))
    }
}

fn ms(at: At) -> f64 {
    at.0 as f64 / 1e6
}

/// The tables that all threads share, column by column.
#[derive(Default)]
struct Shared<'a> {
    strings: Numbered<String>,
    string_array: Vec<String>,
    /// Function names with the module and the file they are in.
    funcs: Numbered<(&'a str, &'a str, &'a str)>,
    func_name: Vec<usize>,
    func_resource: Vec<i64>,
    func_source: Vec<Option<usize>>,
    resources: Numbered<&'a str>,
    resource_name: Vec<usize>,
    sources: Numbered<&'a str>,
    source_filename: Vec<usize>,
    frames: Numbered<FrameId>,
    frame_func: Vec<usize>,
    frame_category: Vec<usize>,
    frame_depth: Vec<u32>,
    frame_line: Vec<Option<u32>>,
    stacks: Numbered<StackId>,
    stack_frame: Vec<usize>,
    stack_prefix: Vec<Option<usize>>,
}

impl<'a> Shared<'a> {
    fn string(&mut self, text: &str) -> usize {
        let (n, is_new) = self.strings.number(text.to_owned());
        if is_new {
            self.string_array.push(text.to_owned());
        }
        n
    }

    /// The number of a stack, all its callers before it.
    fn stack(&mut self, table: &'a StackTable, stack: StackId) -> Option<usize> {
        let mut path = Vec::new();
        let mut next = Some(stack);
        let mut above = None;
        while let Some(id) = next {
            if let Some(&known) = self.stacks.index.get(&id) {
                above = Some(known);
                break;
            }
            let &(caller, frame) = table.nodes.get(id.0 as usize)?;
            path.push((id, frame));
            next = caller;
        }
        for (id, frame) in path.into_iter().rev() {
            let frame = self.frame(table, frame);
            let (n, _) = self.stacks.number(id);
            self.stack_frame.push(frame);
            self.stack_prefix.push(above);
            above = Some(n);
        }
        above
    }

    fn frame(&mut self, table: &'a StackTable, id: FrameId) -> usize {
        let (n, is_new) = self.frames.number(id);
        if !is_new {
            return n;
        }
        let f = &table.frames[id.0 as usize];
        let (file, line) = f.line.as_ref().map_or(("", 0), |l| (&*l.file, l.line));
        let (func, is_new) = self.funcs.number((&f.symbol, &f.module, file));
        if is_new {
            let name = self.string(&f.symbol);
            let resource = if f.module.is_empty() { -1 } else { self.resource(&f.module) };
            let source = (!file.is_empty()).then(|| self.source(file));
            self.func_name.push(name);
            self.func_resource.push(resource);
            self.func_source.push(source);
        }
        let category = match f.kind {
            FrameKind::User => 1,
            FrameKind::Kernel => 2,
            FrameKind::Jit => 3,
            FrameKind::Inlined => 4,
        };
        self.frame_func.push(func);
        self.frame_category.push(category);
        // How deep is known of none: deeper than its caller is all that is meant.
        self.frame_depth.push(u32::from(f.kind == FrameKind::Inlined));
        self.frame_line.push((line > 0).then_some(line));
        n
    }

    fn resource(&mut self, module: &'a str) -> i64 {
        let (n, is_new) = self.resources.number(module);
        if is_new {
            let name = self.string(module);
            self.resource_name.push(name);
        }
        n as i64
    }

    fn source(&mut self, file: &'a str) -> usize {
        let (n, is_new) = self.sources.number(file);
        if is_new {
            let name = self.string(file);
            self.source_filename.push(name);
        }
        n
    }

    fn tables(self) -> Value {
        let all = |n: usize, value: Value| vec![value; n];
        let nothing = |n: usize| all(n, Value::Null);
        let (funcs, frames) = (self.func_name.len(), self.frame_func.len());
        let (sources, resources) = (self.source_filename.len(), self.resource_name.len());
        json!({
            "stringArray": self.string_array,
            "sources": {
                "id": nothing(sources), "filename": self.source_filename, "startLine": all(sources, json!(1)),
                "startColumn": all(sources, json!(1)), "sourceMapURL": nothing(sources), "length": sources,
            },
            // ResourceType.Library is 1.
            "resourceTable": {
                "lib": nothing(resources), "name": self.resource_name, "host": nothing(resources),
                "type": all(resources, json!(1)), "length": resources,
            },
            "nativeSymbols": { "libIndex": [], "address": [], "name": [], "functionSize": [], "length": 0 },
            "funcTable": {
                "name": self.func_name, "isJS": all(funcs, json!(false)), "relevantForJS": all(funcs, json!(false)),
                "resource": self.func_resource, "source": self.func_source, "lineNumber": nothing(funcs),
                "columnNumber": nothing(funcs), "length": funcs,
            },
            "frameTable": {
                "address": all(frames, json!(-1)), "inlineDepth": self.frame_depth, "category": self.frame_category,
                "subcategory": all(frames, json!(0)), "func": self.frame_func, "nativeSymbol": nothing(frames),
                "innerWindowID": all(frames, json!(0)), "line": self.frame_line, "column": nothing(frames), "length": frames,
            },
            "stackTable": { "length": self.stack_frame.len(), "frame": self.stack_frame, "prefix": self.stack_prefix },
        })
    }
}

/// The samples of a thread. Time on a CPU is told as that too, from which the profiler draws the track.
fn samples_table<'a>(samples: &[Taken<'a>], unit: &str, table: &'a StackTable, shared: &mut Shared<'a>) -> Value {
    let stacks: Vec<Option<usize>> = samples.iter().map(|s| shared.stack(table, s.stack?)).collect();
    let (weights, weight_type): (Vec<Value>, &str) = match unit {
        "ns" => (samples.iter().map(|s| json!(s.weight as f64 / 1e6)).collect(), "tracing-ms"),
        "bytes" => (samples.iter().map(|s| json!(s.weight)).collect(), "bytes"),
        "samples" => (vec![json!(1); samples.len()], "samples"),
        _ => (samples.iter().map(|s| json!(s.weight)).collect(), "samples"),
    };
    let mut all = json!({
        "stack": stacks, "time": samples.iter().map(|s| ms(s.at)).collect::<Vec<_>>(), "weight": weights,
        "weightType": weight_type, "length": samples.len(),
    });
    if unit == "ns" && samples.iter().all(|s| s.sample_type.is_on_cpu()) {
        all["threadCPUDelta"] = samples.iter().map(|s| s.weight).collect();
    }
    all
}

fn json_thread(name: &str, thread: &Thread<'_>, from: At, to: At, samples: Value) -> Value {
    let number = |n: u32| if n == u32::MAX { "unknown".to_owned() } else { n.to_string() };
    json!({
        "processType": "default", "processStartupTime": 0, "processShutdownTime": null,
        "registerTime": ms(from), "unregisterTime": ms(to), "pausedRanges": [],
        "name": name, "isMainThread": thread.pid == thread.tid, "processName": clean(thread.comm, 200),
        "pid": number(thread.pid), "tid": if thread.tid == u32::MAX { json!(name) } else { json!(thread.tid) },
        "samples": samples,
        "markers": { "data": [], "name": [], "startTime": [], "endTime": [], "phase": [], "category": [], "length": 0 },
    })
}

/// Markers of one thread.
#[derive(Default)]
struct Markers {
    rows: Vec<Marker>,
}

/// Start and end, ms, the name's number, and what is said.
type Marker = (f64, Option<f64>, usize, Value);

impl Markers {
    /// An instant, or a stretch when it has an end.
    fn push(&mut self, from: At, to: Option<At>, name: usize, data: Value) {
        self.rows.push((ms(from), to.map(ms), name, data));
    }

    fn table(mut self) -> Value {
        self.rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let column = |of: &dyn Fn(&Marker) -> Value| self.rows.iter().map(of).collect::<Vec<_>>();
        json!({
            "data": column(&|r| r.3.clone()), "name": column(&|r| json!(r.2)), "startTime": column(&|r| json!(r.0)),
            "endTime": column(&|r| json!(r.1)),
            // Instant 0, interval 1 (constants.ts).
            "phase": column(&|r| json!(u8::from(r.1.is_some()))), "category": column(&|_| json!(0)),
            "length": self.rows.len(),
        })
    }
}

/// The thread of the run itself: requests, marks, captures and faults.
fn own_thread(chosen: &Chosen<'_>, shared: &mut Shared<'_>) -> Value {
    let t = chosen.timeline;
    let span = chosen.span();
    let mut markers = Markers::default();
    for e in t.load().slowest(span, SLOWEST) {
        let name = shared.string(if is_failure(&e.outcome) { "failed request" } else { "slow request" });
        markers.push(e.due, Some(At(e.due.0.saturating_add(e.response_ns))), name, request(e));
    }
    let said = |text: &str| json!({ "type": "Text", "name": clean(text, 300) });
    for m in t.marks().iter().filter(|m| span.contains(m.at)) {
        let name = shared.string(&format!("mark: {}", m.kind.name()));
        markers.push(m.at, None, name, said(&m.label));
    }
    for f in t.faults().iter().filter(|f| span.contains(f.at)) {
        let name = shared.string("fault");
        markers.push(f.at, None, name, said(&format!("{}: {}", f.place, f.what)));
    }
    for (id, news) in t.captures() {
        for n in news {
            if let CaptureState::Done { span: of, samples, lost, .. } = &n.state {
                let name = shared.string("capture");
                markers.push(
                    of.from,
                    Some(of.to),
                    name,
                    said(&format!("capture {}: {samples} samples, {lost} lost", id.0)),
                );
            }
        }
    }
    let none = json!({ "stack": [], "time": [], "weight": null, "weightType": "samples", "length": 0 });
    let own = Thread { pid: u32::MAX, tid: u32::MAX, comm: OWN };
    let mut thread = json_thread("the run", &own, span.from, span.to, none);
    thread["pid"] = json!(OWN);
    thread["tid"] = json!(OWN);
    thread["isMainThread"] = json!(true);
    thread["showMarkersInTimeline"] = json!(true);
    thread["markers"] = markers.table();
    thread
}

fn is_failure(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Status(status) if *status < 400)
}

fn request(e: &Exemplar) -> Value {
    json!({
        "type": "request", "route": clean(&e.route, 200), "outcome": clean(&e.outcome.to_string(), 60),
        "service": e.service_ns as f64 / 1e6,
    })
}

/// What the run is known by over time.
fn counters(chosen: &Chosen<'_>) -> Vec<Value> {
    let t = chosen.timeline;
    let span = chosen.span();
    let ticks = || t.load().slots(span);
    let rate = |at: At, n: u64, covers: u64| (at, n as f64 * 1e9 / covers.max(1) as f64);
    let mut all = Vec::new();
    let mut add = |name: &str, about: &str, color: &str, values: Vec<(At, f64)>| {
        if !values.is_empty() {
            all.push(counter(name, about, color, &values));
        }
    };
    add(
        "QPS",
        "completed requests per second",
        "green",
        ticks().map(|(of, s)| rate(of.to, s.completed, s.covers_ns)).collect(),
    );
    let failed = ticks().map(|(of, s)| rate(of.to, s.failed, s.covers_ns));
    let failed: Vec<_> = failed.collect();
    if failed.iter().any(|f| f.1 > 0.0) {
        add("errors", "failed requests per second", "red", failed);
    }
    let p99 = ticks().filter(|(_, s)| !s.response.is_empty());
    let p99 = p99.map(|(of, s)| {
        let mut dense = new_histogram();
        s.response.add_to(&mut dense);
        (of.to, dense.value_at_quantile(0.99) as f64 / 1e6)
    });
    add("p99", "response time, 99th percentile, ms", "magenta", p99.collect());
    let gauge = |metric: Metric, instance: &str| -> Vec<(At, f64)> {
        let series = t.series(metric, instance);
        series.into_iter().flat_map(|s| s.window(span)).map(|(at, v)| (at, v as f64)).collect()
    };
    add("TIME_WAIT", "sockets in TIME_WAIT", "orange", gauge(Metric::TcpTimeWait, ""));
    for (instance, _) in t.instances(Metric::PortsUsed) {
        let name = format!("ports to {}", clean(instance, 60));
        add(&name, "local ports in use to the destination", "purple", gauge(Metric::PortsUsed, instance));
    }
    all
}

/// A track of a value: the format has what is added from sample to sample.
fn counter(name: &str, about: &str, color: &str, values: &[(At, f64)]) -> Value {
    let mut last = 0.0;
    let steps: Vec<f64> = values.iter().map(|(_, v)| v - std::mem::replace(&mut last, *v)).collect();
    json!({
        "name": name, "category": "perfbench", "description": about, "pid": OWN, "mainThreadIndex": 0,
        "samples": { "time": values.iter().map(|(at, _)| ms(*at)).collect::<Vec<_>>(), "count": steps, "length": values.len() },
        "display": {
            "graphType": "line-accumulated", "unit": "", "color": color, "markerSchemaLocation": null,
            "sortWeight": 10, "label": name,
        },
    })
}

fn meta(chosen: &Chosen<'_>, unit: &str) -> Value {
    let o = chosen.timeline.opening();
    let Span { from, to } = chosen.span();
    let categories: Vec<Value> = CATEGORIES
        .iter()
        .map(|(name, color)| json!({ "name": name, "color": color, "subcategories": ["Other"] }))
        .collect();
    let field = |key: &str, label: &str, format: &str| json!({ "key": key, "label": label, "format": format });
    let display = json!(["marker-chart", "marker-table", "timeline-overview"]);
    json!({
        "version": 30, "preprocessedProfileVersion": VERSION,
        "product": chosen.title(), "importedFrom": format!("perfbench {}", o.perfbench),
        "interval": 1, "startTime": o.started_unix_ns as f64 / 1e6, "profilingStartTime": ms(from), "profilingEndTime": ms(to),
        "processType": 0, "stackwalk": 1, "debug": false, "symbolicated": true, "symbolicationNotSupported": true,
        "oscpu": format!("Linux {}", clean(&o.host.kernel, 60)), "platform": "X11", "logicalCPUs": o.host.cpus,
        "mainMemory": o.host.memory_bytes, "usesOnlyOneStackType": true, "sourceCodeIsNotOnSearchfox": true,
        "keepProfileThreadOrder": true, "categories": categories,
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": if unit == "ns" { "ns" } else { "µs" } },
        "markerSchema": [
            {
                "name": "request", "display": display, "chartLabel": "{marker.data.route} {marker.data.outcome}",
                "tooltipLabel": "{marker.name}", "tableLabel": "{marker.data.route} {marker.data.outcome}",
                "fields": [field("route", "route", "string"), field("outcome", "outcome", "string"),
                           field("service", "service time", "duration")],
            },
            {
                "name": "Text", "display": display, "chartLabel": "{marker.data.name}", "tableLabel": "{marker.data.name}",
                "fields": [field("name", "said", "string")],
            },
        ],
    })
}
