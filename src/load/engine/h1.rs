//! The `h1` engine: raw HTTP/1.1 over one current-thread runtime per worker.
//!
//! One task per connection: take a request, write its bytes, read the response to its end,
//! count. One read buffer per connection, made once; a request allocates nothing.
//!
//! Must not: keep response bodies, or read the clock more often than the numbers need.

use super::{Bad, Engine, Response, Worker};
use crate::clock::Clock;
use crate::load::queue::{Queue, Seat, Ticket};
use crate::load::record::{Ended, Recorder};
use crate::load::{Control, Plan};
use crate::model::{At, Interval, Outcome, Phase};
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

/// See the top of the file.
pub(super) struct H1;

/// Read buffer of a connection, bytes: the longest response head there may be.
const BUFFER: usize = 32 * 1024;
/// How long requests under way are waited for after a run was ended.
const GRACE: Duration = Duration::from_secs(2);
/// Longest pause between attempts of a connection that can't be established in a closed
/// loop, where failing at once would burn the recording and the CPU.
const BACK_OFF: Duration = Duration::from_millis(100);

impl Engine for H1 {
    fn name(&self) -> &'static str {
        "h1"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, keep-alive or a connection per request, one thread per worker"
    }

    fn work(&self, worker: Worker) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let Some(start) = worker.gate.arrive() else { return };
        match runtime {
            Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, run(worker, start)),
            Err(e) => {
                // Out of descriptors before the first request: the run has one worker less.
                let _ = worker.out.send(crate::model::Event::Fault(crate::model::Fault {
                    at: start,
                    place: format!("load/worker {}", worker.index),
                    what: format!("the worker could not start: {e}"),
                    mend: Some("ulimit -n 65536".into()),
                }));
            }
        }
    }
}

/// What the tasks of one worker share.
struct Shared {
    plan: Arc<Plan>,
    clock: Clock,
    control: Arc<Control>,
    queue: Queue,
    recorder: RefCell<Recorder>,
    live: Cell<u32>,
    all_ended: Notify,
}

async fn run(worker: Worker, start: At) {
    let Worker { index, plan, supply, clock, out, control, .. } = worker;
    let shared = Rc::new(Shared {
        queue: Queue::new(&plan, index, supply, start, clock.clone()),
        recorder: RefCell::new(Recorder::new(index, start, out)),
        live: Cell::new(0),
        all_ended: Notify::new(),
        plan,
        clock,
        control,
    });
    let mine = share(shared.plan.connections, shared.plan.threads, u32::from(index));
    let seats: Vec<Rc<Seat>> = (0..mine).map(|_| Rc::default()).collect();
    shared.live.set(mine);
    for seat in &seats {
        tokio::task::spawn_local(connection(shared.clone(), seat.clone()));
    }
    let supplier = tokio::task::spawn_local({
        let shared = shared.clone();
        async move {
            if shared.plan.pace.is_open() {
                let mut timer = Timer::new();
                let origin = shared.clock.origin_monotonic_ns();
                shared.queue.pace(async |at: At| timer.until(origin, at, &shared.clock).await).await;
            } else {
                shared.queue.supply_closed_loop().await;
            }
        }
    });
    let ticker = tokio::task::spawn_local(tick(shared.clone()));
    let sweeper = tokio::task::spawn_local(sweep(shared.clone(), seats, start));
    // Ends when the recording does, or some time after the run was ended.
    let (mut waited, step) = (Duration::ZERO, GRACE / 20);
    while shared.live.get() > 0 && waited < GRACE {
        if tokio::time::timeout(step, shared.all_ended.notified()).await.is_err() && shared.queue.is_closed() {
            waited += step;
        }
    }
    if shared.plan.duration.is_some_and(|d| shared.clock.now() >= start + d) {
        shared.control.out_of_time.store(true, Ordering::Relaxed);
    }
    supplier.abort();
    ticker.abort();
    sweeper.abort();
    shared.hand_over(true);
}

/// The `index`-th worker's share of `all`.
fn share(all: u32, workers: u32, index: u32) -> u32 {
    all / workers + u32::from(index < all % workers)
}

impl Shared {
    fn hand_over(&self, last: bool) {
        let now = self.clock.now();
        let dealt = std::mem::take(&mut *self.queue.dealt.borrow_mut());
        let mut r = self.recorder.borrow_mut();
        r.offered += dealt.offered;
        r.dropped += dealt.dropped;
        r.hand_over(now, self.queue.waiting(), last);
    }
}

/// Hands an interval over at every tick of the session's clock, all workers at the same one.
async fn tick(shared: Rc<Shared>) {
    loop {
        let now = shared.clock.now().0;
        tokio::time::sleep(Duration::from_nanos(Interval::TICK_NS - now % Interval::TICK_NS)).await;
        shared.hand_over(false);
    }
}

/// Ends what has run out of time: requests, and the run.
async fn sweep(shared: Rc<Shared>, seats: Vec<Rc<Seat>>, start: At) {
    let shortest = shared.plan.timeout.min(shared.plan.connect_timeout);
    let mut every = tokio::time::interval((shortest / 20).clamp(Duration::from_millis(1), Duration::from_millis(50)));
    let end = shared.plan.duration.map(|d| start + d);
    loop {
        every.tick().await;
        let now = shared.clock.now();
        seats.iter().for_each(|s| s.sweep(now));
        if shared.control.stopped() || end.is_some_and(|end| now >= end) {
            shared.queue.close();
        }
    }
}

/// One connection's life: request after request, each on this connection or a new one.
async fn connection(shared: Rc<Shared>, seat: Rc<Seat>) {
    let _leaving = Leaving(&shared);
    let mut buffer = vec![0u8; BUFFER].into_boxed_slice();
    let mut stream: Option<TcpStream> = None;
    let mut failures = 0u32;
    let mut last_end = None;
    while let Some(ticket) = shared.queue.take(&seat, last_end.take()).await {
        let exchange = Exchange { shared: &shared, seat: &seat, ticket: &ticket };
        let (outcome, end) = exchange.run(&mut stream, &mut buffer).await;
        if outcome.is_completed() || shared.plan.pace.is_open() {
            failures = 0;
            last_end = Some(end);
        } else {
            failures += 1;
            let pause = Duration::from_millis(1 << failures.min(10)).min(BACK_OFF);
            if stream.is_none() && !shared.queue.is_closed() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Counts a connection out when it ends, however it ends: the run must not wait for one that
/// has panicked.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get() - 1);
        if self.0.live.get() == 0 {
            self.0.all_ended.notify_one();
        }
    }
}

/// One request and its response.
struct Exchange<'a> {
    shared: &'a Shared,
    seat: &'a Seat,
    ticket: &'a Ticket,
}

/// A request failed.
struct Failed {
    outcome: Outcome,
    /// Nothing of a response had been read.
    unanswered: bool,
}

impl Exchange<'_> {
    /// Carries the request out and counts it; tells how it ended and when.
    async fn run(&self, stream: &mut Option<TcpStream>, buffer: &mut [u8]) -> (Outcome, At) {
        let plan = &*self.shared.plan;
        // In a closed loop due is now; reading the clock again would only add to the lag.
        let on_schedule = plan.pace.is_open();
        let begun = if on_schedule { self.shared.clock.now() } else { self.ticket.due };
        self.shared.recorder.borrow_mut().begun(on_schedule.then(|| begun.since_ns(self.ticket.due)));
        // What an idle connection has to read is its end, or an answer to nothing.
        if let Some(open) = stream
            && !matches!(open.try_read(&mut buffer[..1]), Err(e) if e.kind() == ErrorKind::WouldBlock)
        {
            *stream = None;
        }
        let reused = stream.is_some();
        let mut sent = None;
        let mut result = self.attempt(stream, buffer, begun, &mut sent).await;
        if let Err(Failed { outcome: Outcome::ClosedEarly | Outcome::Errno(ECONNRESET | EPIPE), unanswered: true }) =
            result
            && reused
            && self.ticket.item().is_idempotent
        {
            // The target closed an idle connection while the request was on its way
            // (RFC 9112 section 9.3.1): once more on a fresh one.
            *stream = None;
            let now = self.shared.clock.now();
            result = self.attempt(stream, buffer, now, &mut sent).await;
        }
        let outcome = match result {
            Ok(response) => {
                if !response.keep_alive || plan.close {
                    *stream = None;
                }
                Outcome::Status(response.status)
            }
            Err(failed) => {
                *stream = None;
                failed.outcome
            }
        };
        self.seat.unlimit();
        let end = self.shared.clock.now();
        let mut r = self.shared.recorder.borrow_mut();
        r.ended(&Ended { outcome, due: self.ticket.due, sent, end, route: &self.ticket.item().route });
        (outcome, end)
    }

    async fn attempt(
        &self,
        stream: &mut Option<TcpStream>,
        buffer: &mut [u8],
        now: At,
        sent: &mut Option<At>,
    ) -> Result<Response, Failed> {
        let mut now = now;
        let stream = match stream {
            Some(open) => open,
            None => {
                let open = self.connect(now).await?;
                let was = std::mem::replace(&mut now, self.shared.clock.now());
                self.shared.recorder.borrow_mut().connected(now.since_ns(was));
                stream.insert(open)
            }
        };
        self.seat.limit(now + self.shared.plan.timeout);
        self.write(stream, now, sent).await?;
        self.read(stream, buffer).await
    }

    async fn connect(&self, now: At) -> Result<TcpStream, Failed> {
        let failed = |outcome| Failed { outcome, unanswered: false };
        let address = self.shared.plan.address;
        let socket =
            if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(|e| failed(named(&e)))?;
        let _ = socket.set_nodelay(true); // a request goes out in one write; only bodies could wait
        self.seat.limit(now + self.shared.plan.connect_timeout);
        let mut connecting = pin!(socket.connect(address));
        poll_fn(|cx| {
            if self.seat.poll_expired(cx) {
                return Poll::Ready(Err(failed(Outcome::Timeout(Phase::Connect))));
            }
            connecting.as_mut().poll(cx).map_err(|e| failed(named(&e)))
        })
        .await
        .and_then(|open| {
            if is_to_itself(&open, address) { Err(failed(Outcome::Errno(ECONNREFUSED))) } else { Ok(open) }
        })
    }

    async fn write(&self, stream: &mut TcpStream, now: At, sent: &mut Option<At>) -> Result<(), Failed> {
        let mut left = self.ticket.wire();
        while !left.is_empty() {
            let n = poll_fn(|cx| {
                if self.seat.poll_expired(cx) {
                    return Poll::Ready(Err(Failed { outcome: Outcome::Timeout(Phase::FirstByte), unanswered: true }));
                }
                Pin::new(&mut *stream).poll_write(cx, left).map_err(|e| Failed { outcome: named(&e), unanswered: true })
            })
            .await?;
            let mut r = self.shared.recorder.borrow_mut();
            r.sent_bytes += n as u64;
            if left.len() == self.ticket.wire().len() {
                match sent {
                    None => r.sent += 1,
                    Some(_) => r.retried += 1,
                }
                sent.get_or_insert(now);
            }
            left = &left[n..];
        }
        Ok(())
    }

    async fn read(&self, stream: &mut TcpStream, buffer: &mut [u8]) -> Result<Response, Failed> {
        let mut response = Response::to(self.ticket.item().is_head);
        let mut filled = 0;
        loop {
            let n = poll_fn(|cx| {
                if self.seat.poll_expired(cx) {
                    let phase = if response.is_started() { Phase::Body } else { Phase::FirstByte };
                    return Poll::Ready(Err(Outcome::Timeout(phase)));
                }
                let mut room = ReadBuf::new(&mut buffer[filled..]);
                match ready!(Pin::new(&mut *stream).poll_read(cx, &mut room)) {
                    Ok(()) => Poll::Ready(Ok(room.filled().len())),
                    Err(e) => Poll::Ready(Err(named(&e))),
                }
            })
            .await
            .map_err(|outcome| Failed { outcome, unanswered: !response.is_started() })?;
            if n == 0 {
                if response.end_of_stream() {
                    return Ok(response);
                }
                return Err(Failed { outcome: Outcome::ClosedEarly, unanswered: !response.is_started() });
            }
            self.shared.recorder.borrow_mut().received_bytes += n as u64;
            filled += n;
            let used = response
                .advance(&buffer[..filled])
                .map_err(|bad| match bad {
                    Bad::Malformed => Outcome::Malformed,
                    Bad::TooLarge => Outcome::HeadTooLarge,
                })
                .map_err(|outcome| Failed { outcome, unanswered: false })?;
            if response.is_done() {
                // Bytes behind the response answer nothing that was asked.
                response.keep_alive &= used == filled;
                return Ok(response);
            }
            if used > 0 {
                buffer.copy_within(used..filled, 0);
                filled -= used;
            } else if filled == buffer.len() {
                return Err(Failed { outcome: Outcome::HeadTooLarge, unanswered: false });
            }
        }
    }
}

/// Linux errno values; `include/uapi/asm-generic/errno{,-base}.h`.
const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const ECONNREFUSED: i32 = 111;

/// Whether a connection ends where it begins. Nobody listens on a loopback port of the
/// ephemeral range, the kernel picks that very port for our end, and the two SYNs cross
/// (RFC 9293 section 3.5): we would read our own request, and hold the port against the
/// target's return.
fn is_to_itself(stream: &TcpStream, peer: SocketAddr) -> bool {
    peer.ip().is_loopback() && stream.local_addr().is_ok_and(|own| own == peer)
}

fn named(e: &std::io::Error) -> Outcome {
    Outcome::Errno(e.raw_os_error().unwrap_or(5 /* EIO: the library made it up */))
}

/// Waits for instants to the microsecond: the runtime's own timer ticks once a millisecond,
/// which would send a thousand requests in bursts.
struct Timer(Option<AsyncFd<OwnedFd>>);

impl Timer {
    fn new() -> Timer {
        let fd = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK.union(TimerfdFlags::CLOEXEC),
        );
        #[allow(unsafe_code, reason = "the runtime has no safe call that watches a timerfd")]
        let watch = |fd: OwnedFd| {
            // SAFETY: an OwnedFd is open, always the same, and closed only when dropped.
            unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
        };
        Timer(fd.ok().and_then(|fd| watch(fd).ok()))
    }

    async fn until(&mut self, origin_ns: u64, at: At, clock: &Clock) {
        let ns = origin_ns.saturating_add(at.0);
        let when = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: when };
        if let Some(fd) = &self.0
            && rustix::time::timerfd_settime(fd.get_ref(), TimerfdTimerFlags::ABSTIME, &once).is_ok()
            && let Ok(mut guard) = fd.readable().await
        {
            let mut expirations = [0u8; 8];
            let _ = guard.try_io(|fd| rustix::io::read(fd.get_ref(), &mut expirations).map_err(Into::into));
            guard.clear_ready(); // or the next wait would end at once
            return;
        }
        // No descriptor left for a timer: the runtime's own.
        tokio::time::sleep(Duration::from_nanos(at.since_ns(clock.now()))).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    #[test]
    fn a_connection_to_itself_is_told_from_one_to_a_listener() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let there = listener.local_addr().unwrap();
            let open = TcpSocket::new_v4().unwrap().connect(there).await.unwrap();
            assert!(!super::is_to_itself(&open, there));
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let own = socket.local_addr().unwrap();
            let open = socket.connect(own).await.unwrap();
            assert!(super::is_to_itself(&open, own));
        });
    }

    #[test]
    fn connections_are_shared_out_evenly() {
        for (all, workers) in [(50, 4), (3, 3), (7, 2)] {
            let shares: Vec<u32> = (0..workers).map(|i| super::share(all, workers, i)).collect();
            assert_eq!(shares.iter().sum::<u32>(), all);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
