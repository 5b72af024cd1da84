//! How connections are used: requests each carries, their ramp, pauses, clients in order, and
//! what happens when none is free.
//!
//! Must not: depend on how fast the machine is, beyond that it gets a turn now and then.

mod support;

use perfbench::clock::Clock;
use perfbench::load::{Plan, Policy, RequestSource, Run, Schedule, SourceError};
use perfbench::model::{At, Event, Interval, Request, TrafficCounts};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use support::{Bench, Do, Server, gets, ok};

/// Forty requests of two clients in turn, all recorded at once.
struct TwoClients(u64);

impl RequestSource for TwoClients {
    fn next(&mut self, into: &mut Request) -> Result<bool, SourceError> {
        let n = self.0;
        self.0 += 1;
        (into.client, into.path) = (1 + n % 2, format!("/{}/{}", n % 2, n / 2));
        Ok(n < 40)
    }

    fn restart(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn counts(&self, at: At) -> TrafficCounts {
        TrafficCounts { at, ..TrafficCounts::default() }
    }
}

#[test]
fn a_connection_carries_as_many_requests_as_it_may() {
    let server = Server::answering();
    let report = Bench::new().run(&server.url(), &gets(5), "--requests 60 --connections 3 --requests-per-connection 7");
    assert_eq!((report.n("completed"), report.n("retried")), (60, 0));
    let mut carried: BTreeMap<usize, usize> = BTreeMap::new();
    server.asked().iter().for_each(|a| *carried.entry(a.connection).or_default() += 1);
    assert!(carried.values().all(|n| *n <= 7), "{carried:?}");
    assert!(carried.values().filter(|n| **n < 7).count() <= 3, "only the last of each: {carried:?}");
    assert_eq!(report.json["phases_us"]["connect"]["count"], carried.len());
}

#[test]
fn connections_are_opened_evenly_over_the_ramp() {
    for threads in [1, 2] {
        // Held, so that each connection is seen once.
        let server = Server::start(|_| [vec![Do::wait_ms(1500)], ok()].concat());
        let more = format!("--duration 1200ms --connections 20 --connection-ramp 1s --threads {threads}");
        Bench::new().run(&server.url(), &gets(5), &more);
        let asked = server.asked();
        assert_eq!(asked.len(), 20);
        let (first, last) = (asked.iter().map(|a| a.at).min().unwrap(), asked.iter().map(|a| a.at).max().unwrap());
        // 0.95 s apart by the plan; a busy machine may have been late with the first.
        assert!(last - first > Duration::from_millis(500), "{:?} from first to last", last - first);
        let half = asked.iter().filter(|a| a.at - first < (last - first) / 2).count();
        assert!((5..=15).contains(&half), "{half} of 20 in the first half, {threads} threads");
    }
}

#[test]
fn users_think_between_a_response_and_their_next_request() {
    for think in ["100ms", "uniform(90ms,110ms)", "exp(100ms)"] {
        let server = Server::answering();
        let more = format!("--duration 1s --connections 10 --threads 1 --think {think}");
        let report = Bench::new().run(&server.url(), &gets(5), &more);
        // Ten users, ten requests a second each, and a first one at once.
        assert!((40..=170).contains(&report.n("completed")), "{think}: {}", report.n("completed"));
        assert!(report.ms("response_time_us", "p50") < 50.0, "a pause is no response time");
    }
    let server = Server::answering();
    let report = Bench::new().run(&server.url(), &gets(5), "--requests 11 --connections 1 --think 30ms");
    let asked = server.asked();
    assert_eq!((report.n("completed"), server.connections()), (11, 1), "one user has one connection");
    assert!(asked.windows(2).all(|w| w[1].at - w[0].at >= Duration::from_millis(30)));
}

#[test]
fn a_client_is_answered_before_it_asks_again() {
    for threads in [1, 2] {
        let server = Server::start(|_| [vec![Do::wait_ms(10)], ok()].concat());
        let address: SocketAddr = server.url()["http://".len()..].parse().unwrap();
        let plan = Plan {
            schedule: Arc::new(Schedule::recorded(1.0)),
            threads,
            timeout: Duration::from_secs(5),
            policy: Policy { sessions: true, ..Policy::default() },
            ..Plan::to(address)
        };
        let (out, events) = sync_channel(100);
        let run = Run::start(plan, Box::new(TwoClients(0)), &Clock::start(), &out).unwrap();
        run.join();
        let intervals: Vec<Interval> =
            events.try_iter().filter_map(|e| if let Event::Interval(i) = e { Some(i) } else { None }).collect();
        let sum = |of: fn(&Interval) -> u64| intervals.iter().map(of).sum::<u64>();
        assert_eq!((sum(|i| i.offered), sum(|i| i.completed), sum(|i| i.dropped)), (40, 40, 0));
        let asked = server.asked();
        for client in ["0", "1"] {
            let own: Vec<_> = asked.iter().filter(|a| a.path()[1..].starts_with(client)).collect();
            let wanted: Vec<String> = (0..20).map(|n| format!("/{client}/{n}")).collect();
            assert_eq!(own.iter().map(|a| a.path()).collect::<Vec<_>>(), wanted, "in order");
            assert!(own.windows(2).all(|w| w[1].at - w[0].at >= Duration::from_millis(10)), "after the answer");
        }
        // Twenty answers of 10 ms each, all due at the start: the last waited for nineteen.
        let slowest = intervals.iter().flat_map(|i| &i.exemplars).max_by_key(|e| e.response_ns).unwrap();
        assert!(slowest.response_ns >= 190_000_000 && slowest.service_ns < slowest.response_ns / 2, "{slowest:?}");
    }
}

#[test]
fn what_finds_no_connection_is_dropped_if_so_asked() {
    let server = Server::start(|_| vec![Do::Hang]);
    let more = "--rate 100 --duration 500ms --connections 2 --threads 1 --overload drop";
    let report = Bench::new().run(&server.url(), &gets(5), more);
    assert_eq!((report.n("in_flight"), report.n("dropped")), (2, report.n("offered") - 2));
    // Dropped when it fell due, not at the end.
    let server = Server::start(|_| [vec![Do::wait_ms(400)], ok()].concat());
    let more = "--rate 100 --duration 1s --connections 1 --threads 1 --overload drop";
    let report = Bench::new().run(&server.url(), &gets(5), more);
    assert!((2..=3).contains(&report.n("completed")), "{:?}", report.outcomes());
    assert!(report.ms("send_lag_us", "max") < 200.0, "nobody waits: {}", report.json["send_lag_us"]);
}

#[test]
fn more_connections_are_opened_if_so_asked_up_to_a_bound() {
    let server = Server::start(|_| vec![Do::Hang]);
    let more = "--rate 100 --duration 500ms --connections 2 --threads 1 --overload grow --max-connections 10";
    let report = Bench::new().run(&server.url(), &gets(5), more);
    assert_eq!((report.n("in_flight"), report.n("connections_grown")), (10, 8), "{}", report.json["requests"]);
    assert_eq!(report.n("dropped"), report.n("offered") - 10, "what waited when the run ended");
    assert_eq!(report.json["load"]["overload"], "grow");
}
