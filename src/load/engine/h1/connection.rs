//! One connection: what it does for the request it carries, step by step, as far as each
//! step goes without waiting.
//!
//! Kept small: twenty thousand of them are walked through at random, and what counts then is
//! how many cache lines each of them is.
//!
//! Must not: wait, or choose which request comes next.

use super::poll::Poll;
use super::resolver::{Answer, Resolver};
use super::tls_stream::{BROKEN, Prepared};
use super::transport::{Dialer, Stream};
use crate::clock::Clock;
use crate::load::Plan;
use crate::load::engine::dispatch::End;
use crate::load::engine::head::Heads;
use crate::load::engine::response::{Bad, Response};
use crate::load::queue::Ticket;
use crate::load::record::{Ended, Recorder};
use crate::load::stage::{Kept, Stage};
use crate::model::{At, Outcome, Phase, Reached};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::net::SocketAddr;
use std::sync::Arc;

/// The longest response head there may be, bytes.
const HEAD: usize = 32 * 1024;
/// Bytes read in one call at the most, unless part of a head lies before them.
const BUFFER: usize = 64 * 1024;
/// Reads of one connection before the others get their turn: an endless body is not to keep
/// a worker to itself.
const READS_IN_ONE_GO: u32 = 16;
/// Requests longer than this go out in more than one segment: the Ethernet MTU less headers.
const ONE_SEGMENT: usize = 1400;

/// What all connections of a worker work with.
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    /// Requests fall due whether or not a connection is free.
    pub(super) is_open: bool,
    pub(super) clock: Clock,
    pub(super) poll: Poll,
    pub(super) recorder: Recorder,
    dialer: Dialer,
    /// Where names are looked up, when they are for every connection.
    pub(super) resolver: Option<Resolver>,
    /// How many connections the plan has; those above were opened beyond it.
    planned: u32,
    /// The instant read last.
    pub(super) now: At,
    /// When each connection's time for what it does is up, by its number.
    pub(super) deadlines: Vec<At>,
    /// Those who decide what is sent and judge what comes back.
    pub(super) stage: Option<Stage>,
    heads: Heads,
    buffer: Box<[u8]>,
    /// Whether a fresh connection was last seen to be established at once.
    at_once: bool,
    /// Why the first TLS stream broke was told.
    told_reason: bool,
}

/// A deadline that never comes.
pub(super) const NEVER: At = At(u64::MAX);

impl Shared {
    pub(super) fn new(
        plan: Arc<Plan>,
        clock: Clock,
        poll: Poll,
        recorder: Recorder,
        dialer: Dialer,
        stage: Option<Stage>,
        planned: u32,
    ) -> Shared {
        let now = clock.now();
        let deadlines = vec![NEVER; planned as usize];
        let buffer = vec![0; HEAD + BUFFER].into_boxed_slice();
        let is_open = plan.schedule.is_open();
        Shared {
            plan,
            is_open,
            clock,
            poll,
            recorder,
            dialer,
            planned,
            resolver: None,
            now,
            deadlines,
            stage,
            heads: Heads::default(),
            buffer,
            at_once: true,
            told_reason: false,
        }
    }

    /// Reads the clock.
    pub(super) fn tell_time(&mut self) -> At {
        self.now = self.clock.now();
        self.now
    }
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Carries no request; may be open.
    Idle,
    /// Waits for the address of the target.
    Resolving,
    /// Waits to be established.
    Connecting,
    /// Is established and not ready for a request: TLS.
    Handshaking,
    /// The request is not wholly written.
    Writing,
    /// The response is not wholly read.
    Reading,
}

/// How far a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As far as it goes; an event will say when it goes on.
    Waits,
    /// There is more to read; it was the others' turn.
    More,
    /// The request has ended.
    Ended(End),
}

/// See the top of the file.
pub(super) struct Connection {
    stream: Option<Stream>,
    /// Its number among the connections of its worker.
    number: u32,
    /// Counts the streams it has had, so that what is told of an earlier one is known as that.
    generation: u32,
    state: State,
    /// The stream had carried a request before this one.
    reused: bool,
    /// Its stream reports room to write.
    watches_writable: bool,
    registered: bool,
    hurried: bool,
    /// The stream is at its end behind what there is to read.
    gone: bool,
    ticket: Option<Ticket>,
    /// Requests the stream has carried.
    carried: u32,
    /// Bytes of the request that were written.
    written: usize,
    /// When connecting began.
    dialled: At,
    /// When the first byte of the request was written, the first time.
    sent: Option<At>,
    /// When the first bytes of the response had come.
    answered: Option<At>,
    response: Response,
    /// The beginning of a head whose end has not come yet.
    begun_head: Vec<u8>,
    /// What is kept of the response for those who want to see it.
    kept: Option<Box<Kept>>,
}

/// A request failed.
struct Failed {
    outcome: Outcome,
    /// Nothing of a response had been read.
    unanswered: bool,
}

impl Connection {
    pub(super) fn new(number: u32) -> Connection {
        Connection {
            stream: None,
            number,
            generation: 0,
            state: State::Idle,
            reused: false,
            watches_writable: false,
            registered: false,
            hurried: false,
            gone: false,
            ticket: None,
            carried: 0,
            written: 0,
            dialled: At::START,
            sent: None,
            answered: None,
            response: Response::to(false),
            begun_head: Vec::new(),
            kept: None,
        }
    }

    /// The number of the connection that an event's token names.
    pub(super) fn number_of(token: u64) -> usize {
        (token & 0xffff_ffff) as usize
    }

    fn token(&self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.number)
    }

    /// Whether it has an open stream.
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Closes the stream of a connection that carries no request.
    pub(super) fn hang_up(&mut self) {
        if self.state == State::Idle {
            self.close();
        }
    }

    fn close(&mut self) {
        self.stream = None;
        self.begun_head = Vec::new();
    }

    /// Takes a request and carries it as far as it goes. The instant in `shared` is that of
    /// the beginning.
    pub(super) fn begin(&mut self, ticket: Ticket, shared: &mut Shared) -> Progress {
        // In a closed loop due is now, and there is no schedule to lag behind.
        let lag_ns = shared.is_open.then(|| shared.now.since_ns(ticket.due));
        shared.recorder.begun(lag_ns);
        self.ticket = Some(ticket);
        self.sent = None;
        self.reused = self.stream.is_some();
        match self.attempt(shared) {
            Ok(progress) => progress,
            Err(failed) => self.fail(failed, shared),
        }
    }

    /// What has happened to the socket that `token` names.
    pub(super) fn on_event(&mut self, token: u64, flags: EventFlags, shared: &mut Shared) -> Progress {
        if token != self.token() || self.stream.is_none() {
            return Progress::Waits;
        }
        self.gone |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let readable = self.gone || flags.contains(EventFlags::IN);
        let went = match self.state {
            State::Idle => {
                // What an idle connection has to read is its end, or an answer to nothing.
                let read = if readable { self.receive(shared, 0) } else { Err(Errno::AGAIN) };
                shared.recorder.remarks.surplus_bytes += u64::from(read.is_ok_and(|n| n > 0));
                if read != Err(Errno::AGAIN) {
                    self.close();
                }
                return Progress::Waits;
            }
            State::Resolving => return Progress::Waits,
            State::Connecting | State::Handshaking | State::Writing => {
                shared.tell_time();
                match self.write(shared) {
                    // An answer before the end of the request: a refusal of what is still to come.
                    Ok(Progress::Waits) if readable && matches!(self.state, State::Writing | State::Reading) => {
                        self.read(shared, false)
                    }
                    went => went,
                }
            }
            State::Reading => match self.flush() {
                Ok(()) if readable => self.read(shared, false),
                Ok(()) => return Progress::Waits,
                Err(e) => self.cut_off(e, shared),
            },
        };
        went.unwrap_or_else(|failed| self.fail(failed, shared))
    }

    /// Goes on reading after [`Progress::More`].
    pub(super) fn read_on(&mut self, shared: &mut Shared) -> Progress {
        if !matches!(self.state, State::Writing | State::Reading) {
            return Progress::Waits;
        }
        self.read(shared, true).unwrap_or_else(|failed| self.fail(failed, shared))
    }

    /// The time for what it does is up.
    pub(super) fn time_out(&mut self, shared: &mut Shared) -> Progress {
        let outcome = match self.state {
            State::Idle => return Progress::Waits,
            State::Resolving => Outcome::Timeout(Phase::Dns),
            State::Connecting => Outcome::Timeout(Phase::Connect),
            State::Handshaking => Outcome::Timeout(Phase::Tls),
            State::Writing | State::Reading => match self.response.reached() {
                Reached::Handshake | Reached::BeforeHead => Outcome::Timeout(Phase::FirstByte),
                Reached::Head => Outcome::TimeoutHead,
                Reached::Body | Reached::Chunks if self.response.is_endless() => Outcome::EndlessBody,
                Reached::Body | Reached::Chunks => Outcome::Timeout(Phase::Body),
            },
        };
        self.fail(Failed { outcome, unanswered: false }, shared)
    }

    /// Sends the request, over a fresh stream if there is none.
    fn attempt(&mut self, shared: &mut Shared) -> Result<Progress, Failed> {
        self.written = 0;
        self.answered = None;
        self.response = Response::to(self.ticket.as_ref().is_some_and(|t| t.item().is_head));
        if let Some(stage) = &shared.stage {
            stage.keep(self.number, &mut self.kept);
        }
        if self.stream.is_some() {
            shared.deadlines[self.number as usize] = shared.now + shared.plan.timeout;
            self.state = State::Writing;
            return self.write(shared);
        }
        shared.deadlines[self.number as usize] = shared.now + shared.plan.connect_timeout;
        self.generation = self.generation.wrapping_add(1);
        if let Some(resolver) = &shared.resolver {
            self.state = State::Resolving;
            resolver.ask(self.token());
            return Ok(Progress::Waits);
        }
        self.dial(None, shared)
    }

    /// The target's name was looked up.
    pub(super) fn resolved(&mut self, answer: &Answer, shared: &mut Shared) -> Progress {
        if answer.token != self.token() || self.state != State::Resolving {
            return Progress::Waits; // too late
        }
        shared.tell_time();
        shared.recorder.phase(Phase::Dns, answer.took_ns);
        let went = match answer.address {
            Some(address) => self.dial(Some(address), shared),
            None => Err(Failed { outcome: Outcome::Unresolved, unanswered: false }),
        };
        went.unwrap_or_else(|failed| self.fail(failed, shared))
    }

    /// Opens a stream and writes to it if it is likely to take it.
    fn dial(&mut self, found: Option<SocketAddr>, shared: &mut Shared) -> Result<Progress, Failed> {
        self.state = State::Connecting;
        (self.watches_writable, self.registered, self.hurried, self.gone) = (false, false, false, false);
        self.carried = 0;
        self.dialled = shared.now;
        self.stream = Some(shared.dialer.dial(found).map_err(|e| failed(e, false))?);
        if shared.at_once {
            shared.tell_time();
            self.write(shared)
        } else {
            self.watch(shared, true)
        }
    }

    /// Registers the stream, or has it report room to write as well.
    fn watch(&mut self, shared: &mut Shared, writable: bool) -> Result<Progress, Failed> {
        let token = self.token();
        let Some(stream) = &self.stream else { return Ok(Progress::Waits) };
        if !self.registered {
            shared.poll.add(stream, token, writable).map_err(|e| failed(e, false))?;
            (self.registered, self.watches_writable) = (true, writable);
        } else if writable && !self.watches_writable {
            shared.poll.add_writable(stream, token).map_err(|e| failed(e, false))?;
            self.watches_writable = true;
        }
        Ok(Progress::Waits)
    }

    /// Writes what is left of the request. The instant in `shared` is that of the call.
    fn write(&mut self, shared: &mut Shared) -> Result<Progress, Failed> {
        if self.stream.as_ref().is_some_and(Stream::is_unprepared) && !self.prepare(shared)? {
            let writable = self.state == State::Connecting || self.stream.as_ref().is_some_and(Stream::is_unflushed);
            return self.watch(shared, writable);
        }
        let (Some(stream), Some(ticket)) = (&mut self.stream, &self.ticket) else { return Ok(Progress::Waits) };
        let wire = ticket.wire();
        if wire.len() > ONE_SEGMENT && !self.hurried {
            stream.hurry();
            self.hurried = true;
        }
        loop {
            match stream.send(&wire[self.written..]) {
                Ok(n) => {
                    if self.state == State::Connecting {
                        shared.recorder.connected(shared.now.since_ns(self.dialled));
                        shared.recorder.grown += u64::from(self.number >= shared.planned);
                        shared.deadlines[self.number as usize] = shared.now + shared.plan.timeout;
                        shared.at_once = !self.registered;
                    }
                    shared.recorder.sent_bytes += n as u64;
                    if self.written == 0 {
                        match self.sent {
                            None => shared.recorder.sent += 1,
                            Some(_) => shared.recorder.retried += 1,
                        }
                        self.sent.get_or_insert(shared.now);
                    }
                    self.written += n;
                    if self.written >= wire.len() {
                        self.state = State::Reading;
                        let unflushed = stream.is_unflushed();
                        return if self.registered && !unflushed {
                            Ok(Progress::Waits)
                        } else {
                            self.watch(shared, unflushed)
                        };
                    }
                    self.state = State::Writing;
                }
                Err(Errno::AGAIN | Errno::NOTCONN) => {
                    if self.state == State::Connecting {
                        shared.at_once = false;
                    }
                    return self.watch(shared, true);
                }
                Err(e) => return self.cut_off(e, shared),
            }
        }
    }

    /// Carries greeting and handshake as far as they go; true: requests can be written.
    fn prepare(&mut self, shared: &mut Shared) -> Result<bool, Failed> {
        let Some(stream) = self.stream.take() else { return Ok(false) };
        let (mut stream, mut went) = stream.prepare();
        shared.tell_time();
        if went == Ok(Prepared::Connected) {
            self.established(shared);
            (stream, went) = stream.prepare();
            shared.tell_time();
        }
        let established = match went {
            Ok(Prepared::Ready | Prepared::Connected) => true,
            Ok(Prepared::Waits { connected }) => connected,
            // One that was made and failed in one go was made all the same.
            Err(_) => stream.is_connected(),
        };
        if established && self.state == State::Connecting {
            self.established(shared);
        } else if !established && went.is_ok() {
            shared.at_once = false;
        }
        match went {
            Ok(Prepared::Waits { .. } | Prepared::Connected) => {
                self.stream = Some(stream);
                Ok(false)
            }
            Ok(Prepared::Ready) => {
                if matches!(stream, Stream::Tls(_)) {
                    shared.recorder.phase(Phase::Tls, shared.now.since_ns(self.dialled));
                }
                self.stream = Some(stream.prepared());
                self.state = State::Writing;
                shared.deadlines[self.number as usize] = shared.now + shared.plan.timeout;
                Ok(true)
            }
            Err(_) if stream.is_to_itself() => Err(failed(Errno::CONNREFUSED, false)),
            Err(e) => {
                if let Some(reason) = stream.take_reason().filter(|_| !std::mem::replace(&mut shared.told_reason, true))
                {
                    shared.recorder.tell_fault(shared.now, format!("the TLS handshake failed: {reason}"));
                }
                Err(failed(e, false))
            }
        }
    }

    /// The connection is there, and what goes before its first request is not.
    fn established(&mut self, shared: &mut Shared) {
        shared.recorder.connected(shared.now.since_ns(self.dialled));
        shared.recorder.grown += u64::from(self.number >= shared.planned);
        shared.at_once = !self.registered;
        // From here on the handshake's time counts.
        self.dialled = shared.now;
        self.state = State::Handshaking;
    }

    /// Sends what the stream has taken and not sent.
    fn flush(&mut self) -> Result<(), Errno> {
        match &mut self.stream {
            Some(stream) if stream.is_unflushed() => stream.flush(),
            _ => Ok(()),
        }
    }

    /// The request can't be written any further. What the target said before it left, that the
    /// request is too large say, is the answer, and still to be read (RFC 9112 section 9.5).
    fn cut_off(&mut self, e: Errno, shared: &mut Shared) -> Result<Progress, Failed> {
        let cut = failed(e, self.state != State::Connecting);
        // What lies there before a first byte was written answers nothing.
        if self.written == 0 || !matches!(e, Errno::PIPE | Errno::CONNRESET) {
            return Err(cut);
        }
        self.gone = true;
        match self.read(shared, true) {
            Ok(Progress::Waits) => Err(cut),
            Err(_) if !self.response.is_started() => Err(cut),
            went => went,
        }
    }

    /// Reads what has come of the response. `untold`: no event will tell of what is left.
    fn read(&mut self, shared: &mut Shared, untold: bool) -> Result<Progress, Failed> {
        for _ in 0..READS_IN_ONE_GO {
            let held = self.begun_head.len();
            let n = match self.receive(shared, held) {
                Ok(n) => n,
                Err(Errno::AGAIN) => return Ok(Progress::Waits),
                Err(e) => return Err(failed(e, !self.response.is_started())),
            };
            if n == 0 {
                if self.response.end_of_stream() && !self.stream.as_ref().is_some_and(Stream::is_cut) {
                    shared.tell_time();
                    return Ok(self.complete(shared));
                }
                return Err(Failed { outcome: Outcome::ClosedEarly, unanswered: !self.response.is_started() });
            }
            shared.recorder.received_bytes += n as u64;
            let at_first = self.answered.is_none();
            if at_first {
                self.answered = Some(shared.tell_time());
            }
            shared.buffer[..held].copy_from_slice(&self.begun_head);
            let have = &shared.buffer[..held + n];
            let used = match self.response.advance_keeping(have, &mut shared.heads, self.kept.as_deref_mut()) {
                Ok(used) => used,
                Err(bad) => return Err(self.misread(bad)),
            };
            if self.response.is_done() {
                // Bytes behind the response answer nothing that was asked, but for another protocol's.
                self.response.surplus_bytes = used < have.len() && self.response.status != 101;
                self.response.keep_alive &= used == have.len() && !self.gone && self.state == State::Reading;
                self.begun_head.clear();
                if !at_first {
                    shared.tell_time();
                }
                return Ok(self.complete(shared));
            }
            let rest = &have[used..];
            if rest.len() >= HEAD {
                return Err(Failed { outcome: Outcome::HeadTooLarge, unanswered: false });
            }
            self.begun_head.clear();
            self.begun_head.extend_from_slice(rest);
            if n < BUFFER && !self.gone && !untold {
                return Ok(Progress::Waits);
            }
        }
        Ok(Progress::More)
    }

    fn misread(&self, bad: Bad) -> Failed {
        let to_itself = || self.stream.as_ref().is_some_and(Stream::is_to_itself);
        let outcome = match bad {
            Bad::TooLarge => Outcome::HeadTooLarge,
            // It was our own request.
            Bad::Malformed(_) if to_itself() => Outcome::Errno(Errno::CONNREFUSED.raw_os_error()),
            Bad::Malformed(flaw) => Outcome::Flawed(flaw),
        };
        Failed { outcome, unanswered: false }
    }

    /// Reads into the shared buffer behind the first `held` bytes.
    fn receive(&mut self, shared: &mut Shared, held: usize) -> Result<usize, Errno> {
        let into = &mut shared.buffer[held..held + BUFFER];
        let stream = self.stream.as_mut().ok_or(Errno::NOTCONN)?;
        let n = stream.recv(into);
        self.gone |= stream.is_ended();
        n
    }

    fn complete(&mut self, shared: &mut Shared) -> Progress {
        self.carried = self.carried.saturating_add(1);
        if let Some(remarks) = self.response.remarks() {
            shared.recorder.remarks.add(remarks);
        }
        let enough = shared.plan.policy.requests_per_connection.is_some_and(|most| self.carried >= most);
        if !self.response.keep_alive || shared.plan.close || enough {
            if let Some(stream) = &mut self.stream {
                stream.say_goodbye();
            }
            self.close();
        }
        let outcome = match (&mut shared.stage, &self.ticket) {
            (Some(stage), Some(ticket)) => {
                stage.answered(self.number, self.response.status, ticket.item(), self.kept.as_deref())
            }
            _ => Outcome::Status(self.response.status),
        };
        self.end(outcome, shared)
    }

    /// The same outcome with how far the response had come, where its connection was closed or reset.
    fn placed(&self, outcome: Outcome, shared: &Shared) -> Outcome {
        let reached = match self.state {
            State::Handshaking => Reached::Handshake,
            State::Connecting if shared.plan.way.tls.is_some() => Reached::Handshake,
            _ => self.response.reached(),
        };
        outcome.placed(reached)
    }

    fn fail(&mut self, failed: Failed, shared: &mut Shared) -> Progress {
        let placed = self.placed(failed.outcome, shared);
        self.close();
        shared.tell_time();
        let Failed { outcome, unanswered } = failed;
        let idle_closed = matches!(outcome, Outcome::ClosedEarly)
            || [Errno::CONNRESET, Errno::PIPE].iter().any(|e| outcome == Outcome::Errno(e.raw_os_error()));
        let may_repeat = self.ticket.as_ref().is_some_and(|t| t.item().is_idempotent);
        if idle_closed && unanswered && may_repeat && std::mem::take(&mut self.reused) {
            // The target closed an idle connection while the request was on its way
            // (RFC 9112 section 9.3.1): once more on a fresh one.
            return match self.attempt(shared) {
                Ok(progress) => progress,
                Err(again) => {
                    let placed = self.placed(again.outcome, shared);
                    self.close();
                    shared.tell_time();
                    self.end(placed, shared)
                }
            };
        }
        self.end(placed, shared)
    }

    /// Counts the end of the request: at the instant in `shared`, which was just read.
    fn end(&mut self, outcome: Outcome, shared: &mut Shared) -> Progress {
        self.state = State::Idle;
        let was_answered = matches!(outcome, Outcome::Status(_) | Outcome::Check(_));
        if let Some(stage) = shared.stage.as_mut().filter(|_| !was_answered) {
            stage.unanswered(self.number);
        }
        let mut client = 0;
        if let Some(ticket) = self.ticket.take() {
            let item = ticket.item();
            let (due, sent, answered, end) = (ticket.due, self.sent, self.answered, shared.now);
            client = item.client;
            let (route, recorded_status) = (&item.route, item.recorded_status);
            shared.recorder.ended(&Ended { outcome, due, sent, answered, end, route, recorded_status });
        }
        Progress::Ended(End { answered: was_answered, client })
    }
}

fn failed(e: Errno, unanswered: bool) -> Failed {
    let outcome = if e == BROKEN { Outcome::Tls } else { Outcome::Errno(e.raw_os_error()) };
    Failed { outcome, unanswered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        assert!(size_of::<Connection>() <= 256, "{} bytes", size_of::<Connection>());
    }
}
