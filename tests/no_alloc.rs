//! A request of the `h1` engine allocates nothing: a counting allocator looks on while runs of
//! different lengths are made, and the longer one must not have allocated more.
//!
//! Counted are all threads but those that say they are not meant: the test's own, its server's
//! and the feeder. What is left are the load workers.
//!
//! Must not: run more than one test, or their allocations would mix.

use perfbench::clock::Clock;
use perfbench::load::{Plan, Rendering, RequestSource, Run, Schedule, SourceError};
use perfbench::model::{At, Event, Request, TrafficCounts};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static NOT_MEANT: Cell<bool> = const { Cell::new(false) };
}

/// This thread is not a load worker.
fn not_meant() {
    NOT_MEANT.set(true);
}

fn count() {
    // A thread that is ending has no such value any more, and is no worker in its loop.
    if NOT_MEANT.try_with(|n| !n.get()).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[allow(unsafe_code, reason = "an allocator can only be made so; it passes everything on to the system's")]
// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A hundred requests for ten routes.
struct Hundred(u64);

impl RequestSource for Hundred {
    fn next(&mut self, into: &mut Request) -> Result<bool, SourceError> {
        not_meant(); // the feeder's thread calls
        let n = self.0;
        self.0 += 1;
        into.path = format!("/{n}");
        into.route = perfbench::model::Route { id: (n % 10) as u32, name: format!("/{}", n % 10).into() };
        into.recorded_status = Some(200);
        Ok(n < 100)
    }

    fn restart(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn counts(&self, at: At) -> TrafficCounts {
        TrafficCounts { at, ..TrafficCounts::default() }
    }
}

fn serve(mut stream: TcpStream) {
    not_meant();
    let mut piece = [0u8; 4096];
    let mut filled = 0;
    while let Ok(n) = stream.read(&mut piece[filled..]) {
        filled += n;
        if n == 0 {
            return;
        }
        if piece[..filled].ends_with(b"\r\n\r\n") {
            let close = piece[..filled].windows(17).any(|w| w == b"Connection: close");
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_err() || close {
                return;
            }
            filled = 0;
        }
    }
}

/// Allocations of the workers of a run.
fn allocations(address: SocketAddr, clock: &Clock, schedule: Schedule, requests: u64, close: bool) -> u64 {
    let plan = Plan {
        rendering: Rendering { authority: "t".into(), close, ..Rendering::default() },
        schedule: Arc::new(schedule),
        repeat: true,
        requests: Some(requests),
        connections: 4,
        close,
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(30),
        queue: u64::MAX, // a machine that stands still for a while is not to drop any
        ..Plan::to(address)
    };
    let (out, events) = sync_channel(10_000);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    Run::start(plan, Box::new(Hundred(0)), clock, &out).unwrap().join();
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    let completed: u64 = events.try_iter().map(|e| if let Event::Interval(i) = e { i.completed } else { 0 }).sum();
    assert_eq!(completed, requests);
    after - before
}

#[test]
fn a_request_allocates_nothing() {
    not_meant();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        not_meant();
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            std::thread::Builder::new().stack_size(64 * 1024).spawn(|| serve(stream)).unwrap();
        }
    });
    // A clock that stands still: no tick comes, so nothing is handed over before the end.
    let still = || (Clock::manual(), Schedule::closed());
    for (what, close, few, many) in [("keep-alive", false, 20_000, 120_000), ("close", true, 1_000, 6_000)] {
        let ((few_clock, few_schedule), (clock, schedule)) = (still(), still());
        let few_made = allocations(address, &few_clock, few_schedule, few, close);
        let many_made = allocations(address, &clock, schedule, many, close);
        assert!(few_made > 0, "the counter counts nothing");
        // The channel's own bookkeeping differs by how often somebody had to wait (18 on a machine
        // with four runnable threads a CPU); a request that allocated would be seen 5000 times.
        let more = many_made.saturating_sub(few_made);
        assert!(more <= 64, "{what}: {few_made} allocations for {few} requests, {many_made} for {many}");
    }
    // On a schedule, with a clock that goes: what there is belongs to hand-overs, a few a second.
    let made = allocations(address, &Clock::start(), Schedule::rate(10_000.0), 20_000, false);
    assert!(made < 2_000, "{made} allocations for 20000 requests in two seconds of ticks");
}
