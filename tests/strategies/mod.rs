//! Proptest strategies for every kind of event, for any test that states a law about events.
//!
//! Must not: make what no room could make: tables are built through their own methods,
//! distributions are encoded, floats are finite, spans are ordered.

#![allow(dead_code)] // each test crate that includes this uses a part of it

use perfbench::model::*;
use proptest::prelude::*;
use std::sync::Arc;

/// Text as it comes from outside: any characters, NUL and controls among them.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z/_.0-9]{0,12}",
        2 => prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        1 => Just("a\0b\u{1b}[2J'\"\\;--\u{202e}".to_owned()),
    ]
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

/// Counts and lengths: mostly small, now and then at an end of their range.
pub fn count() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0u64..100_000,
        2 => any::<u64>(),
        1 => prop::sample::select(vec![0, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]),
    ]
}

/// Instants, mostly within an hour.
pub fn at() -> impl Strategy<Value = At> {
    prop_oneof![9 => 0u64..3_600_000_000_000, 1 => any::<u64>()].prop_map(At)
}

/// Ordered stretches.
pub fn span() -> impl Strategy<Value = Span> {
    (at(), at()).prop_map(|(a, b)| Span::new(a, b))
}

/// Distributions with and without values.
pub fn latency() -> impl Strategy<Value = Latency> {
    (prop::collection::vec(0u64..4_000_000_000_000, 0..20), any::<bool>()).prop_map(|(values, route)| {
        let mut dense = if route { new_route_histogram() } else { new_histogram() };
        for v in values {
            dense.saturating_record(v);
        }
        Latency::encode(&dense)
    })
}

/// Every way a request can end.
pub fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<u16>().prop_map(Outcome::Status),
        (100u16..600).prop_map(Outcome::Status),
        any::<i32>().prop_map(Outcome::Errno),
        (1i32..134).prop_map(Outcome::Errno),
        prop::sample::select(vec![
            Outcome::Timeout(Phase::Connect),
            Outcome::Timeout(Phase::FirstByte),
            Outcome::Timeout(Phase::Body),
            Outcome::TimeoutHead,
            Outcome::EndlessBody,
            Outcome::Malformed,
            Outcome::Flawed(Flaw::Length),
            Outcome::Closed(Reached::Chunks),
            Outcome::Reset(Reached::Head),
            Outcome::HeadTooLarge,
            Outcome::ClosedEarly,
            Outcome::Unresolved,
            Outcome::Tls,
            Outcome::Timeout(Phase::Tls),
            Outcome::Check(CheckKind::Json),
            Outcome::Check(CheckKind::Recorded),
        ]),
    ]
}

/// A session's beginning.
pub fn opening() -> impl Strategy<Value = Opening> {
    let rate = || prop::option::of(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO);
    let more = (text(), text(), prop::collection::vec(text(), 0..3), prop::option::of(text()));
    let load = (text(), text(), rate(), rate(), any::<[u32; 2]>(), text(), prop::option::of(any::<u64>()), more)
        .prop_map(|(engine, mode, rate_per_s, speed, [connections, threads], connection, duration_ns, more)| {
            LoadPlan {
                capture_if: vec![],
                phases: more.0.clone(),
                arrivals: more.1.clone(),
                overload: more.1.clone(),
                engine_why: more.1,
                fail_if: more.2.clone(),
                stop_if: more.2,
                find_max: more.3,
                peak_over_ns: duration_ns,
                probe_ns: duration_ns,
                engine,
                mode,
                rate_per_s,
                speed,
                connections,
                threads,
                connection,
                duration_ns,
            }
        });
    let host = (text(), text(), any::<u32>(), any::<u64>(), any::<u32>()).prop_map(
        |(name, kernel, cpus, memory_bytes, ticks_per_s)| HostFacts { name, kernel, cpus, memory_bytes, ticks_per_s },
    );
    (text(), any::<i64>(), any::<u64>(), text(), text(), prop::collection::vec(text(), 0..4), load, host).prop_map(
        |(perfbench, started_unix_ns, monotonic_ns, target, target_address, traffic, load, host)| Opening {
            perfbench,
            started_unix_ns,
            monotonic_ns,
            target,
            target_address,
            traffic,
            load,
            host,
        },
    )
}

/// A worker's bucket.
pub fn interval() -> impl Strategy<Value = Interval> {
    let outcomes =
        prop::collection::vec((outcome(), count()).prop_map(|(outcome, count)| OutcomeCount { outcome, count }), 0..6);
    let routes = prop::collection::vec(
        (shared(), count(), count(), count(), count(), latency()).prop_map(
            |(route, requests, failed, server_errors, mismatched, response_time)| RouteInterval {
                route,
                requests,
                failed,
                server_errors,
                mismatched,
                response_time,
            },
        ),
        0..5,
    );
    let exemplars = prop::collection::vec(
        (at(), count(), count(), shared(), outcome()).prop_map(|(due, response_ns, service_ns, route, outcome)| {
            Exemplar { due, response_ns, service_ns, route, outcome }
        }),
        0..4,
    );
    (
        (any::<u16>(), span()),
        prop::collection::vec(count(), 12),
        prop::collection::vec(latency(), 8),
        outcomes,
        routes,
        exemplars,
    )
        .prop_map(|((worker, span), n, l, outcomes, routes, exemplars)| Interval {
            worker,
            span,
            offered: n[0],
            sent: n[1],
            completed: n[2],
            failed: n[3],
            dropped: n[4],
            retried: n[5],
            in_flight: n[6],
            queued: n[7],
            connections_opened: n[8],
            received_bytes: n[9],
            sent_bytes: n[10],
            grown: n[11],
            remarks: Remarks { surplus_bytes: n[0], length_and_chunks: n[3], interim_responses: n[7] },
            response_time: l[0].clone(),
            service_time: l[1].clone(),
            send_lag: l[2].clone(),
            phases: PhaseTimes::of(|p| l[3 + p as usize].clone()),
            outcomes,
            routes,
            exemplars,
        })
}

/// What a sampler read; series come again, also within one reading.
pub fn readings() -> impl Strategy<Value = Readings> {
    let reading = (prop::sample::select(Metric::ALL), shared(), any::<i64>())
        .prop_map(|(metric, instance, value)| Reading { metric, instance, value });
    (at(), shared(), count(), prop::collection::vec(reading, 0..12))
        .prop_map(|(at, sampler, took_ns, values)| Readings { at, sampler, took_ns, values })
}

/// Samples of a capture with their table.
pub fn stacks() -> impl Strategy<Value = Stacks> {
    let line = prop::option::of((shared(), any::<u32>()).prop_map(|(file, line)| SourceLine { file, line }));
    let frame = (shared(), shared(), prop::sample::select(&FrameKind::ALL[..]), line)
        .prop_map(|(symbol, module, kind, line)| Frame { symbol, module, kind, line });
    let frames = prop::collection::vec(frame, 1..6);
    // Stacks as paths over the frames; a sample takes one of them, or none.
    let paths = prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..6), 0..6);
    let samples = prop::collection::vec(
        (at(), any::<[u32; 3]>(), shared(), prop::option::of(any::<prop::sample::Index>()), count()),
        0..12,
    );
    ((at(), any::<u32>(), shared(), shared(), count()), frames, paths, samples).prop_map(
        |((at, capture, event, unit, lost), frames, paths, samples)| {
            let mut table = StackTable::default();
            let frames: Vec<FrameId> = frames.into_iter().map(|frame| table.frame(frame)).collect();
            for path in &paths {
                path.iter().fold(None, |caller, i| Some(table.push(caller, *i.get(&frames))));
            }
            let samples = samples
                .into_iter()
                .map(|(at, [cpu, pid, tid], comm, stack, weight)| {
                    let nodes = table.nodes.len();
                    let stack = stack.filter(|_| nodes > 0).map(|i| StackId(i.index(nodes) as u32));
                    Sample { at, cpu, pid, tid, comm, stack, weight }
                })
                .collect();
            // A session keeps what samples use.
            Stacks { at, capture: CaptureId(capture), event, unit, table, samples, lost }.tidy()
        },
    )
}

/// A capture's new state.
pub fn capture() -> impl Strategy<Value = CaptureNews> {
    let state = prop_oneof![
        (count(), any::<u32>(), text()).prop_map(|(for_ns, hz, how)| CaptureState::Sampling { for_ns, hz, how }),
        Just(CaptureState::Reading),
        (span(), count(), count(), prop::collection::vec(text(), 0..3))
            .prop_map(|(span, samples, lost, notes)| CaptureState::Done { span, samples, lost, notes }),
        (text(), prop::option::of(text())).prop_map(|(what, mend)| CaptureState::Failed { what, mend }),
    ];
    (at(), any::<u32>(), state).prop_map(|(at, id, state)| CaptureNews { at, id: CaptureId(id), state })
}

/// What the traffic reader counted.
pub fn traffic() -> impl Strategy<Value = TrafficCounts> {
    let skipped = (shared(), count(), text()).prop_map(|(reason, count, first)| Skipped { reason, count, first });
    (at(), text(), prop::collection::vec(count(), 5), prop::collection::vec(skipped, 0..4)).prop_map(
        |(at, format, n, skipped)| TrafficCounts {
            at,
            format,
            lines: n[0],
            requests: n[1],
            skipped,
            out_of_order: n[2],
            outside_window: n[3],
            repeats: n[4],
        },
    )
}

/// Any event.
pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => opening().prop_map(Event::from),
        4 => interval().prop_map(Event::Interval),
        4 => readings().prop_map(Event::Readings),
        2 => stacks().prop_map(Event::Stacks),
        2 => capture().prop_map(Event::Capture),
        2 => traffic().prop_map(Event::Traffic),
        2 => (at(), prop::sample::select(MarkKind::ALL.to_vec()), text())
            .prop_map(|(at, kind, label)| Event::Mark(Mark { at, kind, label })),
        2 => (at(), text(), text(), prop::option::of(text()))
            .prop_map(|(at, place, what, mend)| Event::Fault(Fault { at, place, what, mend })),
        1 => (at(), text()).prop_map(|(at, why)| Event::Closing(Closing { at, why })),
    ]
}

/// Any events in any order.
pub fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 0..24)
}
