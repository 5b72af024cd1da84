//! The law that lets a session stand for its run: fold(events) == fold(read(write(events))).
//!
//! Must not: compare less than whole timelines.

#[macro_use]
mod support;
mod strategies;

use perfbench::clock::Clock;
use perfbench::host;
use perfbench::load::{Plan, RequestSource, Run, Schedule, SourceError};
use perfbench::model::*;
use perfbench::session::Writer;
use perfbench::timeline::Timeline;
use perfbench::traffic::{Options, Reader, Source};
use perfbench::workbench::{Control, Feed, FeedState, Live, LiveParts, Playback, Profiling, Recorder, Workbench};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use support::{Do, Server, gets, ok};

fn keep(path: &std::path::Path) -> Workbench {
    Workbench::recording(Recorder::start(Writer::create(path, true).unwrap()).unwrap())
}

/// An own log as a source of requests.
struct Log(Reader);

impl Log {
    fn of(text: String) -> Log {
        let source = Source::Stream { name: "own".into(), stream: Box::new(std::io::Cursor::new(text)) };
        Log(Reader::open_sources(vec![source], Options::default()).unwrap())
    }
}

impl RequestSource for Log {
    fn next(&mut self, into: &mut Request) -> Result<bool, SourceError> {
        self.0.next(into).map_err(|e| e.to_string())
    }

    fn restart(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn counts(&self, at: At) -> TrafficCounts {
        TrafficCounts { at, ..self.0.counts() }
    }
}

#[test]
fn a_live_run_and_its_session_are_the_same_timeline() {
    let server = Server::start(|asked| match asked.nth % 9 {
        3 => vec![Do::send("HTTP/1.1 2"), Do::Reset], // in mid-answer: not to be tried again
        5 => vec![Do::send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")],
        _ => ok(),
    });
    let address = server.url()["http://".len()..].parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    let mut live = keep(&path);
    let clock = Clock::start();
    let load = LoadPlan { engine: "h1".into(), mode: "rate".into(), rate_per_s: Some(300.0), ..LoadPlan::default() };
    live.ingest(Event::from(Opening { target: server.url(), load, host: host::facts(), ..Opening::default() }));
    let channel = Live::channel();
    let config = host::Config { target: Some(address), pid: None, period: Duration::from_millis(100) };
    let watch = host::Watch::start(config, clock.clone(), channel.0.clone());
    let plan = Plan {
        schedule: Arc::new(Schedule::rate(300.0)),
        repeat: true,
        duration: Some(Duration::from_millis(1500)),
        connections: 6,
        threads: 2,
        timeout: Duration::from_secs(5),
        ..Plan::to(address)
    };
    let run = Run::start(plan, Box::new(Log::of(gets(20))), &clock, &channel.0).unwrap();
    let captures = vec![(At(100_000_000), Duration::from_millis(300))];
    let profiling = Profiling { captures, capture_hz: Some(49), ..Profiling::default() };
    let parts = LiveParts { clock, run, watch, profiling, control: Control::none() };
    let mut feed = Live::new(parts, channel);
    let mut marked = false;
    while feed.feed(&mut live, Duration::from_millis(20)) != FeedState::Ended {
        if !marked && feed.now() > At(400_000_000) {
            marked = feed.command(perfbench::workbench::Command::Mark("here".into())).is_ok();
        }
    }
    live.finish().unwrap();
    let read = Playback::load(&path).unwrap();
    same(live.timeline(), read.timeline());

    let sum = live.timeline().load().sum(live.timeline().whole());
    assert!(sum.offered.abs_diff(450) <= 1 && sum.completed > 0 && sum.failed > 0, "{sum:?}");
    assert_eq!(live.timeline().marks().len(), 1);
    assert!(live.timeline().captures().count() == 1 && live.timeline().instances(Metric::CpuUser).len() > 1);
}

/// Timelines by their parts first, so that a difference can be read.
fn same(live: &Timeline, read: &Timeline) {
    assert_eq!(live.opening(), read.opening());
    assert_eq!(live.faults(), read.faults());
    assert_eq!(live.closing(), read.closing());
    assert_eq!(live.load().sum(live.whole()), read.load().sum(read.whole()));
    assert!(live == read, "they differ in readings, stacks or the slots of the load");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_events_and_their_session_are_the_same_timeline(events in strategies::events()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.perfbench");
        let mut live = keep(&path);
        // Without a closing a session was cut off, which is said as a fault of its own.
        let closing = Event::Closing(Closing { at: At(u64::MAX), why: "end".into() });
        events.into_iter().map(tame).chain([closing]).for_each(|e| live.ingest(e));
        live.finish().unwrap();
        let read = Playback::load(&path).unwrap();
        same(live.timeline(), read.timeline());
    }
}

/// Counts as a run can have them, within an hour: sums of any u64 overflow, and there is a slot
/// for every tick.
fn tame(mut event: Event) -> Event {
    if let Event::Interval(i) = &mut event {
        let hour = |at: At| At(at.0 % 3_600_000_000_000);
        i.span = Span::new(hour(i.span.from), hour(i.span.to));
        let counts = [&mut i.offered, &mut i.sent, &mut i.completed, &mut i.failed, &mut i.dropped, &mut i.retried];
        let more = [
            &mut i.in_flight,
            &mut i.queued,
            &mut i.connections_opened,
            &mut i.received_bytes,
            &mut i.sent_bytes,
            &mut i.grown,
        ];
        let routes =
            i.routes.iter_mut().flat_map(|r| [&mut r.requests, &mut r.failed, &mut r.server_errors, &mut r.mismatched]);
        let outcomes = i.outcomes.iter_mut().map(|o| &mut o.count);
        counts
            .into_iter()
            .chain(more)
            .chain(i.remarks.all_mut())
            .chain(routes)
            .chain(outcomes)
            .for_each(|n| *n %= 1 << 50);
    }
    event
}
