//! A session made up the same way every time: a load like nginx's under replay, with a
//! stall, a port range that fills, a capture, a mark and a fault. For tests of the screen,
//! its benchmark, and pictures of it.
//!
//! Must not: use the network, the host or a clock.

#![allow(dead_code)] // the tests, the benchmark and the example each use a part

mod host;

use perfbench::model::*;
use std::collections::HashMap;
use std::sync::Arc;

/// What is made up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// CPUs of the host.
    pub cpus: u32,
    /// Requests a second.
    pub rate: f64,
    /// When the target stalls, s, and for how long.
    pub stall: (f64, f64),
    /// When a capture is taken, s, and for how long.
    pub capture: (u64, u64),
    /// Whether names are hostile: escape sequences, right-to-left marks, wide and endless ones.
    pub hostile: bool,
    /// Whether load is made in a closed loop, which one busy thread limits.
    pub closed: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { cpus: 4, rate: 5000.0, stall: (52.0, 1.6), capture: (60, 5), hostile: false, closed: false }
    }
}

/// A session under way, tick by tick.
pub struct Synthetic {
    plan: Plan,
    tick: u64,
    random: fastrand::Rng,
    counters: HashMap<(Metric, String), f64>,
    routes: Vec<Arc<str>>,
    dense: [hdrhistogram::Histogram<u64>; 2],
    by_route: Vec<(u64, u64, hdrhistogram::Histogram<u64>)>,
    backlog: f64,
}

/// Thread, process, user frames, kernel frames, samples.
type Path<'a> = (&'a str, u32, &'a [&'a str], &'a [&'a str], u64);

const TICK: u64 = Interval::TICK_NS;
const ROUTES: [&str; 14] = [
    "/",
    "/cart",
    "/product/{id}",
    "/search",
    "/api/v1/session",
    "/api/v1/prices",
    "/static/{file}",
    "/image/{id}/productModel/{w}x{h}",
    "/login",
    "/checkout/payment",
    "/api/v1/recommendations",
    "/robots.txt",
    "/filter/{a}/{b}/{c}",
    "/health",
];
const HOSTILE: [&str; 4] = [
    "\x1b[2J\x1b[31mowned\x07",
    "/\u{202e}gnp.exe\u{2066}/日本語の長い経路名前です/とても長い",
    "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "/\r\n\t\u{9b}5n\u{0}e\u{301}\u{301}\u{301}\u{301}👩‍👩‍👧‍👦",
];

impl Synthetic {
    /// A session at its start.
    pub fn new(plan: Plan) -> Synthetic {
        let mut names: Vec<String> = ROUTES.iter().map(|r| r.to_string()).collect();
        if plan.hostile {
            names.extend(HOSTILE.iter().map(|r| r.to_string()));
        }
        names.sort();
        let by_route = names.iter().map(|_| (0, 0, new_route_histogram())).collect();
        Synthetic {
            plan,
            tick: 0,
            random: fastrand::Rng::with_seed(7),
            counters: HashMap::new(),
            routes: names.into_iter().map(Into::into).collect(),
            dense: [new_histogram(), new_histogram()],
            by_route,
            backlog: 0.0,
        }
    }

    /// The end of the last tick that was made.
    pub fn now(&self) -> At {
        At(self.tick * TICK)
    }

    /// All events up to so many seconds.
    pub fn upto(plan: Plan, seconds: u64) -> Vec<Event> {
        let mut s = Synthetic::new(plan);
        let mut all = vec![];
        while s.now().0 < seconds * 1_000_000_000 {
            all.extend(s.next_tick());
        }
        all
    }

    /// The events of the next tick.
    pub fn next_tick(&mut self) -> Vec<Event> {
        let mut events = vec![];
        if self.tick == 0 {
            events.push(self.opening());
            events.extend(self.readings());
        }
        self.tick += 1;
        let (now, s) = (self.now(), self.now().0 / 1_000_000_000);
        events.extend([self.interval(0), self.interval(1)]);
        if self.tick.is_multiple_of(5) {
            events.extend(self.readings());
            events.push(Event::Traffic(TrafficCounts {
                at: now,
                format: "combined".into(),
                // A recording of 24 seconds; the reader is ahead of what is due.
                lines: s.min(24) * 5100,
                requests: s.min(24) * 5000,
                skipped: vec![
                    Skipped {
                        reason: "method POST not asked for".into(),
                        count: s * 71,
                        first: "access.log:17".into(),
                    },
                    Skipped { reason: "not a request".into(), count: s * 2, first: "access.log:1034".into() },
                ],
                out_of_order: s * 2400,
                outside_window: s / 9,
                repeats: s / 24 + 2,
            }));
            events.extend(self.once_in_a_while(s));
        }
        events
    }

    fn once_in_a_while(&mut self, s: u64) -> Vec<Event> {
        let now = self.now();
        let id = CaptureId(1);
        let (at, length) = self.plan.capture;
        let mut out = vec![];
        if s == at {
            let how = "perf, all CPUs, cpu-clock".into();
            let state = CaptureState::Sampling { for_ns: length * 1_000_000_000, hz: 99, how };
            out.push(Event::Capture(CaptureNews { at: now, id, state }));
        }
        if s == at + length {
            out.push(Event::Capture(CaptureNews { at: now, id, state: CaptureState::Reading }));
        }
        if s == at + length + 1 {
            let from = At(at * 1_000_000_000);
            let span = Span { from, to: At((at + length) * 1_000_000_000) };
            let stacks = self.stacks(id, span);
            let samples = stacks.samples.len() as u64;
            out.push(Event::Stacks(stacks));
            let notes = vec!["no hardware cycles on this machine: cpu-clock was used".into()];
            out.push(Event::Capture(CaptureNews {
                at: now,
                id,
                state: CaptureState::Done { span, samples, lost: 3, notes },
            }));
        }
        if s == at + length + 6 {
            let id = CaptureId(2);
            let state = CaptureState::Failed {
                what: "perf_event_paranoid is 3: no profile of other processes".into(),
                mend: Some("sudo sysctl kernel.perf_event_paranoid=1".into()),
            };
            out.push(Event::Capture(CaptureNews { at: now, id, state }));
        }
        for (second, kind, label) in [
            (1, MarkKind::Phase, "const(5000,40s)"),
            (38, MarkKind::Verdict, "p99<50ms kept: 12.1 ms"),
            (41, MarkKind::Phase, "const(5000,60s)"),
            (66, MarkKind::Rate, "rate 5500/s"),
            (70, MarkKind::Rate, "rate 5000/s"),
            (74, MarkKind::Pause, "paused"),
            (75, MarkKind::Pause, "going on"),
        ] {
            if s == second {
                out.push(Event::Mark(Mark { at: now, kind, label: label.into() }));
            }
        }
        if s == 44 {
            let label = if self.plan.hostile { HOSTILE[0].into() } else { "cache warmed".into() };
            out.push(Event::Mark(Mark { at: now, kind: MarkKind::User, label }));
        }
        if s == 30 {
            out.push(Event::Fault(Fault {
                at: now,
                place: "host/process".into(),
                what: if self.plan.hostile {
                    HOSTILE.join(" ")
                } else {
                    "open files of 4711 nginx cannot be counted: permission denied".into()
                },
                mend: Some("run perfbench as the user of the process, or with CAP_SYS_PTRACE".into()),
            }));
        }
        out
    }

    fn opening(&self) -> Event {
        Event::from(Opening {
            perfbench: "0.1.0".into(),
            started_unix_ns: 1_700_000_000_000_000_000,
            monotonic_ns: 0,
            target: if self.plan.hostile { format!("http://{}/", HOSTILE[0]) } else { "http://10.0.0.7:8081".into() },
            target_address: "10.0.0.7:8081".into(),
            traffic: vec!["/var/log/nginx/access.log".into()],
            load: LoadPlan {
                engine: "h1".into(),
                mode: if self.plan.closed { "closed" } else { "rate" }.into(),
                rate_per_s: (!self.plan.closed).then_some(self.plan.rate),
                connections: 64,
                threads: 2,
                connection: "close".into(),
                ..LoadPlan::default()
            },
            host: HostFacts {
                name: "loadbox".into(),
                kernel: "6.18.0".into(),
                cpus: self.plan.cpus,
                memory_bytes: 16 << 30,
                ticks_per_s: 100,
            },
        })
    }

    /// One worker's interval: half of the load.
    fn interval(&mut self, worker: u16) -> Event {
        let to = self.now();
        let t = to.secs();
        let (stall, length) = self.plan.stall;
        let stalled = t >= stall && t < stall + length;
        let wave = 1.0 + 0.08 * (t / 7.0).sin() + 0.02 * (self.random.f64() - 0.5);
        let offered = (self.plan.rate * wave / 10.0) as u64;
        let room = if stalled { 0 } else { (self.plan.rate * 1.35 / 10.0) as u64 };
        self.backlog += if worker == 0 { 2.0 * offered as f64 } else { 0.0 };
        let ended = ((self.backlog / 2.0) as u64).min(room).max(if stalled { 0 } else { 1 });
        self.backlog -= ended as f64;
        let late = (self.backlog / self.plan.rate).max(0.0);
        let late = if late < 0.15 { 0.0 } else { late };
        self.dense.iter_mut().for_each(|d| d.reset());
        let mut left = ended;
        let mut exemplars = vec![];
        let times = |typical_ns: f64, spread: f64, n: u64, random: &mut fastrand::Rng| {
            let mut dense = new_route_histogram();
            for _ in 0..n.clamp(1, 40) {
                let ns = typical_ns * (spread * (random.f64() - 0.3)).exp();
                dense.saturating_record_n(ns as u64, n.div_ceil(40).max(1));
            }
            Latency::encode(&dense)
        };
        let opened = ended / 16;
        let phases = PhaseTimes::of(|phase| match phase {
            Phase::Dns => Latency::default(),
            Phase::Connect => times(if t > 45.0 { 400_000.0 } else { 60_000.0 }, 1.0, opened, &mut self.random),
            Phase::Tls => times(1_900_000.0, 1.2, opened, &mut self.random),
            Phase::FirstByte => times(900_000.0, 2.5, ended, &mut self.random),
            Phase::Body => times(210_000.0, 2.0, ended, &mut self.random),
        });
        let [response, service] = &mut self.dense;
        while left > 0 {
            let n = left.min(9);
            left -= n;
            let spread: f64 = (0..4).map(|_| self.random.f64() - 0.5).sum();
            let mut ms = 1.2 * (spread * 0.9).exp();
            if self.random.f64() < 0.03 {
                ms *= 9.0 + 30.0 * self.random.f64();
            }
            let felt = ms + late * 1000.0 * (0.9 + 0.1 * self.random.f64());
            service.saturating_record_n((ms * 1e6) as u64, n);
            response.saturating_record_n((felt * 1e6) as u64, n);
            let r = (self.random.f64().powi(2) * self.routes.len() as f64) as usize;
            let (count, _, by) = &mut self.by_route[r];
            *count += n;
            by.saturating_record_n((felt * 1e6) as u64, n);
            if felt > 25.0 && exemplars.len() < 3 {
                exemplars.push(Exemplar {
                    due: to.moved(-((felt * 1e6) as i64)),
                    response_ns: (felt * 1e6) as u64,
                    service_ns: (ms * 1e6) as u64,
                    route: self.routes[r].clone(),
                    outcome: Outcome::Status(200),
                });
            }
        }
        exemplars.sort_by_key(|e| std::cmp::Reverse(e.response_ns));
        let crowded = t > 70.0;
        let failed = if crowded { ended / 40 } else { 0 };
        let errors = if stalled { 0 } else { ended / 400 };
        let missing = ended / 60;
        let moved = ended / 25;
        let refused = ended / 250;
        let ok = ended - failed - errors - missing - moved - refused;
        let mut outcomes: Vec<OutcomeCount> = [
            (Outcome::Status(200), ok),
            (Outcome::Status(301), moved),
            (Outcome::Status(404), missing),
            (Outcome::Status(502), errors),
            (Outcome::Errno(99), failed),
            (Outcome::Check(CheckKind::Json), refused),
        ]
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(outcome, count)| OutcomeCount { outcome, count })
        .collect();
        outcomes.sort_by_key(|o| o.outcome);
        let mut lag = new_route_histogram();
        lag.saturating_record_n(40_000, ended.max(1));
        let routes = if self.tick.is_multiple_of(5) && worker == 1 {
            let all = self.routes.iter().zip(&mut self.by_route).filter(|(_, (n, ..))| *n > 0);
            all.map(|(route, (n, _, by))| {
                let share = RouteInterval {
                    route: route.clone(),
                    requests: *n,
                    failed: if crowded { *n / 40 } else { 0 },
                    server_errors: *n / 400,
                    mismatched: if &**route == "/api/v1/prices" { *n / 7 } else { *n / 90 },
                    response_time: Latency::encode(by),
                };
                *n = 0;
                by.reset();
                share
            })
            .collect()
        } else {
            vec![]
        };
        Event::Interval(Interval {
            worker,
            span: Span { from: At(to.0 - TICK), to },
            offered,
            sent: ended,
            completed: ended - failed - refused,
            failed: failed + refused,
            dropped: 0,
            retried: 0,
            in_flight: if stalled { 32 } else { 20 + self.random.u64(0..8) },
            queued: if late > 0.0 { (self.backlog / 2.0) as u64 } else { 0 },
            connections_opened: opened,
            grown: 0,
            remarks: Default::default(),
            received_bytes: ended * 9_300,
            sent_bytes: ended * 240,
            response_time: Latency::encode(&self.dense[0]),
            service_time: Latency::encode(&self.dense[1]),
            send_lag: if self.plan.closed { Latency::default() } else { Latency::encode(&lag) },
            phases,
            outcomes,
            routes,
            exemplars,
        })
    }

    fn stacks(&mut self, capture: CaptureId, span: Span) -> Stacks {
        const KERNEL: &[&str] = &["entry_SYSCALL_64_after_hwframe", "do_syscall_64"];
        let paths: [Path; 9] = [
            (
                "perfbench-w0",
                900,
                &[
                    "_start",
                    "std::sys::thread::start",
                    "perfbench::load::worker::run",
                    "tokio::runtime::block_on",
                    "perfbench::load::h1::connect",
                    "connect",
                ],
                &[
                    "__x64_sys_connect",
                    "tcp_v4_connect",
                    "inet_hash_connect",
                    "__inet_hash_connect",
                    "__inet_check_established",
                ],
                210,
            ),
            (
                "perfbench-w0",
                900,
                &[
                    "_start",
                    "std::sys::thread::start",
                    "perfbench::load::worker::run",
                    "tokio::runtime::block_on",
                    "perfbench::load::h1::connect",
                    "connect",
                ],
                &["__x64_sys_connect", "tcp_v4_connect", "inet_hash_connect", "__inet_hash_connect"],
                250,
            ),
            (
                "perfbench-w0",
                900,
                &[
                    "_start",
                    "std::sys::thread::start",
                    "perfbench::load::worker::run",
                    "tokio::runtime::block_on",
                    "perfbench::load::h1::read_head",
                    "recv",
                ],
                &["__x64_sys_recvfrom", "tcp_recvmsg", "skb_copy_datagram_iter"],
                60,
            ),
            (
                "perfbench-w0",
                900,
                &[
                    "_start",
                    "std::sys::thread::start",
                    "perfbench::load::worker::run",
                    "hdrhistogram::Histogram::record",
                ],
                &[],
                22,
            ),
            (
                "nginx",
                4711,
                &[
                    "_start",
                    "main",
                    "ngx_master_process_cycle",
                    "ngx_worker_process_cycle",
                    "ngx_process_events_and_timers",
                    "ngx_epoll_process_events",
                    "ngx_http_process_request",
                    "ngx_http_core_run_phases",
                    "ngx_http_static_handler",
                ],
                &["__x64_sys_openat", "do_filp_open", "path_openat", "link_path_walk"],
                90,
            ),
            (
                "nginx",
                4711,
                &[
                    "_start",
                    "main",
                    "ngx_master_process_cycle",
                    "ngx_worker_process_cycle",
                    "ngx_process_events_and_timers",
                    "ngx_epoll_process_events",
                    "ngx_http_process_request",
                    "ngx_http_core_run_phases",
                    "ngx_http_output_filter",
                    "ngx_linux_sendfile_chain",
                ],
                &[
                    "__x64_sys_sendfile64",
                    "do_splice_direct",
                    "tcp_sendmsg_locked",
                    "tcp_write_xmit",
                    "__dev_queue_xmit",
                ],
                180,
            ),
            (
                "nginx",
                4711,
                &[
                    "_start",
                    "main",
                    "ngx_master_process_cycle",
                    "ngx_worker_process_cycle",
                    "ngx_process_events_and_timers",
                    "ngx_epoll_process_events",
                    "ngx_http_process_request_line",
                    "ngx_http_parse_request_line",
                ],
                &[],
                55,
            ),
            (
                "nginx",
                4712,
                &[
                    "_start",
                    "main",
                    "ngx_master_process_cycle",
                    "ngx_worker_process_cycle",
                    "ngx_process_events_and_timers",
                    "ngx_event_accept",
                    "accept4",
                ],
                &["__x64_sys_accept4", "inet_csk_accept"],
                40,
            ),
            ("swapper", 0, &[], &["cpu_startup_entry", "do_idle", "default_idle"], 500),
        ];
        let mut table = StackTable::default();
        let mut samples = vec![];
        for (comm, pid, user, kernel, n) in paths {
            let mut stack = None;
            let symbol =
                |s: &str| -> Arc<str> { if self.plan.hostile && s == "main" { HOSTILE[0].into() } else { s.into() } };
            for s in user {
                let module = if pid == 900 { "perfbench" } else { "nginx" };
                let id = table.frame(Frame::new(symbol(s), module, FrameKind::User));
                stack = Some(table.push(stack, id));
            }
            let entry: &[&str] = if kernel.is_empty() || user.is_empty() { &[] } else { KERNEL };
            for s in entry.iter().chain(kernel) {
                let id = table.frame(Frame::new(symbol(s), "", FrameKind::Kernel));
                stack = Some(table.push(stack, id));
            }
            for i in 0..n {
                samples.push(Sample {
                    at: At(span.from.0 + span.len_ns() * i / n),
                    cpu: (i % u64::from(self.plan.cpus)) as u32,
                    pid,
                    tid: pid,
                    comm: comm.into(),
                    stack,
                    weight: 10_101_010,
                });
            }
        }
        samples.sort_by_key(|s| s.at);
        Stacks { at: self.now(), capture, event: "cpu-clock".into(), unit: "ns".into(), table, samples, lost: 3 }
    }
}
