//! The intake: lines of a file, what becomes of each, and the window they wait in.
//!
//! Must not: hand out requests, or choose between files.

use super::arena::{AGENT, Arena, HOST, Held, PATH, REFERER, Ticket};
use super::distinct::stable_hash;
use super::envelope::Envelope;
use super::filter::Parts;
use super::framed::{Filled, Frames, Framing, Resync, Step};
use super::input::{Lines, MAX_LINE_BYTES, Next, Source};
use super::ledger::{Ledger, Reason};
use super::methods::MethodFilter;
use super::order::Window;
use super::record::{Asked, Format, Mismatch, Record, TimeIs};
use super::request_line::{RequestLine, is_host, is_token, understand};
use super::rewrite::Rewrite;
use super::sieve::{Case, Sifter};
use super::summary::Gathering;
use super::time::Stamp;
use super::values::is_printable;
use std::collections::{HashMap, VecDeque};

/// Path, host, referer and user agent of nearly all requests have room in so many bytes.
const MOST_TEXT_BYTES: usize = 2 << 10;

/// Durations longer than a day are a broken clock's and are not believed.
const LONGEST_NS: u64 = 86_400_000_000_000;

/// One recording and where its reading is.
pub(super) struct Stream {
    /// Where it comes from.
    pub(super) source: Source,
    /// What messages call it.
    pub(super) name: String,
    /// The format it is in.
    pub(super) format: Box<dyn Format>,
    /// Whether something stands around its lines.
    pub(super) enveloped: bool,
    /// Whether its requests have times of their own.
    pub(super) timed: bool,
    /// No request of it lies before this, as far as its first lines tell.
    pub(super) starts_ns: i64,
    /// Open only while it is being read.
    pub(super) input: Option<Input>,
    /// Whether `input` was opened in this pass.
    pub(super) started: bool,
    /// Where its requests wait.
    pub(super) window: Window,
    /// Time of its last line.
    pub(super) previous_ns: Option<i64>,
    /// Requests of it whose responses may come.
    pub(super) unanswered: Unanswered,
    /// Decides moments within seconds for lines that the window cannot spread.
    pub(super) rng: fastrand::Rng,
}

/// Requests of a capture that wait for the status of their responses: the last so many.
#[derive(Default)]
pub(super) struct Unanswered {
    by_id: HashMap<u64, Ticket>,
    order: VecDeque<u64>,
}

/// Most of them: about as many as the reorder window holds in a busy capture.
const MAX_UNANSWERED: usize = 65_536;

impl Unanswered {
    fn add(&mut self, id: u64, ticket: Ticket) {
        if self.order.len() >= MAX_UNANSWERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        if self.by_id.insert(id, ticket).is_none() {
            self.order.push_back(id);
        }
    }

    fn take(&mut self, id: u64) -> Option<Ticket> {
        // Its place in the order stays until it is the oldest: removing nothing does no harm.
        self.by_id.remove(&id)
    }
}

/// A recording that is open.
pub(super) enum Input {
    /// Its records are its lines.
    Lines(Lines),
    /// They are cut out of its text.
    Frames(Frames, Box<dyn Framing>),
}

/// What all streams share while their lines are read.
pub(super) struct Intake {
    /// Takes off what stands around lines.
    pub(super) envelope: Envelope,
    /// The texts of the requests that wait.
    pub(super) arena: Arena,
    /// What becomes of lines.
    pub(super) book: Book,
    /// What waiting requests cost besides their texts, bytes.
    pub(super) overhead_bytes: usize,
    /// How much all that waits may take, bytes.
    pub(super) max_bytes: usize,
    /// How many streams share that.
    pub(super) streams: usize,
    /// Requests without times so far: each has a millisecond of its own.
    pub(super) untimed: i64,
}

/// Between two requests without times, ns.
const UNTIMED_NS: i64 = 1_000_000;

impl Intake {
    /// Reads lines until the stream's window has a request to hand out. `false` when there are
    /// no more.
    pub(super) fn fill(&mut self, stream: &mut Stream) -> bool {
        loop {
            let before = stream.window.overhead_bytes();
            let found = self.step(stream);
            self.overhead_bytes = self.overhead_bytes + stream.window.overhead_bytes() - before;
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Reads one line, or finds that none need be read (`true`) or can be read (`false`).
    fn step(&mut self, stream: &mut Stream) -> Option<bool> {
        let Stream { source, name, input, started, window, format, enveloped, .. } = stream;
        if window.has_next() || window.release_passed() || (self.is_full(window) && window.release_early()) {
            return Some(true);
        }
        let open = match input {
            Some(Input::Lines(lines)) => lines,
            Some(Input::Frames(..)) => {
                self.step_framed(stream);
                return None;
            }
            None if std::mem::replace(started, true) => return Some(window.release_rest()),
            None => {
                let framing = format.framing(source.folder());
                match (source.open(), framing) {
                    (Ok(opened), None) => *input = Some(Input::Lines(opened.into_lines(format.longest_line()))),
                    (Ok(opened), Some(framing)) => *input = Some(Input::Frames(opened.into_frames(), framing)),
                    (Err(_), _) => self.book.skip(Reason::Unreadable, || place(name, 0)),
                }
                return None;
            }
        };
        let compressed = open.is_compressed();
        let number = open.number() + 1;
        let skipped = match open.next() {
            Next::Line { bytes: b"", .. } => Reason::EmptyLine,
            Next::Line { bytes, whole, escaped } => {
                let inside = if *enveloped { self.envelope.open(bytes) } else { None };
                let bytes = inside.map_or(bytes, |(_, inner)| inner);
                let parsed = if escaped { format.parse(bytes) } else { format.parse_plain(bytes) };
                match &parsed {
                    Ok(record) => {
                        let at = began(record, &mut stream.rng);
                        let previous = stream.previous_ns.replace(at.unix_ns);
                        self.book.note_time(record, true);
                        match self.book.take(record, Some(at), previous, || place(name, number), &mut self.arena) {
                            Some(held) => self.book.note_order(window.push(at, held)),
                            None => window.pass(at),
                        }
                        return None;
                    }
                    Err(Mismatch::Time) => Reason::BadTime,
                    Err(Mismatch::Comment) => Reason::Comment,
                    Err(Mismatch::Shape) if whole => Reason::NoMatch,
                    Err(Mismatch::Shape) => Reason::CutShort,
                }
            }
            Next::TooLong if format.longest_line() > MAX_LINE_BYTES => Reason::RecordTooLong,
            Next::TooLong => Reason::LineTooLong,
            Next::Broken => broken(compressed),
            Next::End => {
                *input = None;
                return None;
            }
        };
        self.book.skip(skipped, || place(name, number));
        None
    }

    /// Takes one step of a recording whose records are not lines.
    fn step_framed(&mut self, stream: &mut Stream) {
        let Stream { name, input, window, previous_ns, rng, timed, unanswered, .. } = stream;
        let Some(Input::Frames(frames, framing)) = input else { return };
        let word = framing.record_word();
        let (number, line, compressed) = (frames.records + 1, frames.line(), frames.is_compressed());
        let place = || word.map_or_else(|| place(name, line), |word| format!("{name}:{word} {number}"));
        let (text, at_end) = frames.text();
        let step = if text.is_empty() {
            Step::More
        } else if frames.lost {
            match framing.resync(text, at_end) {
                Resync::At(n) => {
                    frames.consume(n);
                    frames.lost = false;
                    return;
                }
                Resync::Drop(n) => {
                    let held = text.len() - n.min(text.len());
                    frames.consume(n);
                    match frames.fill() {
                        Filled::Read => {}
                        Filled::Broken => self.book.skip(broken(compressed), place),
                        Filled::Full | Filled::End => frames.consume(held),
                    }
                    return;
                }
            }
        } else {
            framing.step(text, at_end)
        };
        let (used, skipped) = match step {
            Step::More => match frames.fill() {
                Filled::Read => return,
                Filled::End if frames.text().0.is_empty() => {
                    *input = None;
                    return;
                }
                // The framing is asked once more, knowing that nothing follows.
                Filled::End if !at_end => return,
                Filled::End => (frames.text().0.len(), Reason::CutShort),
                Filled::Broken => (0, broken(compressed)),
                Filled::Full => {
                    frames.lost = true;
                    (0, Reason::RecordTooLong)
                }
            },
            Step::Pass(n) => {
                frames.consume(n.max(1));
                return;
            }
            Step::Record(n, record) => {
                let absent = !*timed;
                let at = if absent { self.next_untimed() } else { began(&record, rng) };
                let previous = previous_ns.replace(at.unix_ns);
                self.book.note_time(&record, !absent);
                let known_at = Some(at).filter(|_| !absent);
                if let Some(held) = self.book.take(&record, known_at, previous, place, &mut self.arena) {
                    if framing.id() != 0 {
                        unanswered.add(framing.id(), self.arena.ticket(held));
                    }
                    if absent {
                        window.push_next(at.unix_ns, held);
                    } else {
                        let out_of_order = window.push(at, held);
                        self.book.note_order(out_of_order);
                    }
                } else if !absent {
                    window.pass(at);
                }
                frames.records += 1;
                frames.consume(n.max(1));
                return;
            }
            Step::Response(n, status) => {
                if let (Some(ticket), Some(status)) = (unanswered.take(framing.id()), status) {
                    self.arena.answer(ticket, status);
                    self.book.note_status(status);
                }
                (n.max(1), Reason::Response)
            }
            Step::Bad(n, reason) => (n.max(1), reason),
            Step::Lost(reason) => {
                frames.lost = true;
                (0, reason)
            }
        };
        self.book.skip(skipped, place);
        frames.records += 1;
        frames.consume(used);
    }

    /// The moment of the next request without a time: all files in their order, one after another.
    fn next_untimed(&mut self) -> Stamp {
        let unix_ns = self.untimed.saturating_mul(UNTIMED_NS);
        self.untimed += 1;
        Stamp { unix_ns, whole_second: false }
    }

    /// Whether `window` has to give something up. Near the bound each stream may fill a share of a
    /// quarter of it, so that one that is read late still has a window; the bound itself is hard.
    fn is_full(&self, window: &Window) -> bool {
        let waiting = self.waiting_bytes();
        let share = if self.streams <= 1 { self.max_bytes } else { self.max_bytes / 4 / self.streams };
        waiting > self.max_bytes || (waiting > self.max_bytes / 4 * 3 && window.waiting_bytes() > share)
    }

    /// Bytes that waiting requests take.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.arena.held_bytes() + self.overhead_bytes
    }
}

/// What becomes of lines, and the count of it.
#[derive(Default)]
pub(super) struct Book {
    /// Lines, requests, and what was skipped.
    pub(super) ledger: Ledger,
    /// What the recording holds.
    pub(super) gathering: Gathering,
    /// Which methods are replayed.
    methods: MethodFilter,
    /// Whether GET is one of them.
    allows_get: bool,
    /// Which of their requests are.
    sifter: Sifter,
    /// What becomes of their paths.
    rewrite: Rewrite,
    /// Path and host as recorded, when there is a sieve or rewriting.
    path: Vec<u8>,
    host: Vec<u8>,
    /// The recording was read to its end once: what comes now is a repetition, not counted again.
    pub(super) complete: bool,
}

impl Book {
    /// A book without entries.
    pub(super) fn new(methods: MethodFilter, rewrite: Rewrite) -> Book {
        Book { allows_get: methods.allows(b"GET"), methods, rewrite, ..Book::default() }
    }

    /// Lets through only what `sifter` does.
    pub(super) fn sift(&mut self, sifter: Sifter) {
        self.sifter = sifter;
    }

    /// The sieve at work.
    pub(super) fn sifter(&self) -> &Sifter {
        &self.sifter
    }

    /// The recording begins again: what was counted stays if that was all of it.
    pub(super) fn begin_again(&mut self) {
        self.sifter.begin_again();
        if !self.complete {
            (self.ledger, self.gathering) = Default::default();
        }
    }

    /// Makes a request of a record, which then waits in `arena`, or counts why it is none.
    fn take(
        &mut self,
        record: &Record<'_>,
        at: Option<Stamp>,
        previous: Option<i64>,
        place: impl FnOnce() -> String,
        arena: &mut Arena,
    ) -> Option<Held> {
        let count = !self.complete;
        let client = record.client_hash.unwrap_or_else(|| record.client.map_or(0, stable_hash));
        if count {
            self.gathering.note(record, at, previous, client);
        }
        let understood = understand(record.asked);
        let request = match &understood {
            Ok(request) => request,
            Err(reason) => {
                self.skip(*reason, place);
                return None;
            }
        };
        if count {
            self.ledger.lines += 1;
            self.gathering.note_method(request);
        }
        let allows = if request.is_get { self.allows_get } else { self.methods.allows(request.method) };
        if !allows {
            if count {
                self.ledger.skip_method(request.method, place);
            }
            return None;
        }
        let is_plain = self.sifter.is_empty() && self.rewrite.is_empty();
        if !is_plain && self.is_sifted_out(record, request, client, at, place) {
            return None;
        }
        self.ledger.requests += u64::from(count);
        let mut draft = arena.draft(MOST_TEXT_BYTES + record.fields.len() + record.body.len());
        (draft.client, draft.status) = (client, record.status.unwrap_or(0));
        draft.method(if request.is_get { b"" } else { request.method });
        if is_plain {
            request.push_path(draft.text());
        } else {
            self.rewrite.rewrite_into(&self.path, draft.text());
        }
        draft.close(PATH);
        push_host(record, request.host, draft.text());
        draft.close(HOST);
        let mut left_out = 0u64;
        for (n, value) in [(REFERER, record.referer), (AGENT, record.user_agent)] {
            match value.map(<[u8]>::trim_ascii) {
                Some(value) if is_field_value(value) => draft.text().extend_from_slice(value),
                Some(_) => left_out += 1,
                None => {}
            }
            draft.close(n);
        }
        let others = if record.fields.len() > 0 { Some(record.fields.iter()) } else { None };
        for (name, value) in others.into_iter().flatten().filter(|(name, _)| !is_framing(name)) {
            let value = value.trim_ascii();
            let fits = is_token(name) && is_field_value(value) && draft.field(name, value);
            left_out += u64::from(!fits);
        }
        let held = draft.keep(record.body);
        if count && left_out > 0 {
            self.gathering.note_headers_left_out(left_out);
        }
        Some(held)
    }

    /// Puts path and host as recorded into their places, and tells whether the sieve holds the
    /// request back, which is counted.
    fn is_sifted_out(
        &mut self,
        record: &Record<'_>,
        request: &RequestLine<'_>,
        client: u64,
        at: Option<Stamp>,
        place: impl FnOnce() -> String,
    ) -> bool {
        self.path.clear();
        request.push_path(&mut self.path);
        if self.sifter.is_empty() {
            return false;
        }
        self.host.clear();
        push_host(record, request.host, &mut self.host);
        let (method, status) = (request.method, record.status);
        let parts = Parts { method, path: &self.path, host: &self.host, status, route: "" };
        let Some(n) = self.sifter.judge(Case { parts, unix_ns: at.map(|t| t.unix_ns), client }) else { return false };
        if !self.complete {
            self.ledger.skip_sifted(n, &self.sifter.labels()[n], place);
        }
        true
    }

    fn note_time(&mut self, record: &Record<'_>, timed: bool) {
        if !self.complete {
            self.gathering.note_time(record, timed);
        }
    }

    /// Counts a line that is no request.
    fn skip(&mut self, reason: Reason, place: impl FnOnce() -> String) {
        if !self.complete {
            self.ledger.lines += 1;
            self.ledger.skip(reason, place);
        }
    }

    fn note_status(&mut self, status: u16) {
        if !self.complete {
            self.gathering.note_status(status);
        }
    }

    fn note_order(&mut self, out_of_order: bool) {
        self.ledger.out_of_order += u64::from(out_of_order && !self.complete);
    }
}

fn broken(compressed: bool) -> Reason {
    if compressed { Reason::Damaged } else { Reason::Unreadable }
}

fn place(name: &str, line: u64) -> String {
    format!("{name}:{line}")
}

/// When a request began: the time stamp, less the duration where the stamp is the end.
pub(super) fn began(record: &Record<'_>, rng: &mut fastrand::Rng) -> Stamp {
    let at = record.time;
    let Some(duration) = record.duration_ns.filter(|d| record.time_is == TimeIs::End && (1..=LONGEST_NS).contains(d))
    else {
        return at;
    };
    let duration = i64::try_from(duration).unwrap_or(0);
    // Somewhere in its second it ended; where it began cannot be left to the window's spreading,
    // which would put every request that began in one second there in the order of their ends.
    let end = if at.whole_second { at.unix_ns + rng.i64(0..1_000_000_000) } else { at.unix_ns };
    Stamp { unix_ns: end - duration, whole_second: false }
}

/// Whether a header field is part of how the recorded request was framed, or is kept as its host:
/// a request is sent with a frame of its own.
fn is_framing(name: &[u8]) -> bool {
    ["host", "content-length", "transfer-encoding"].iter().any(|f| name.eq_ignore_ascii_case(f.as_bytes()))
}

/// Appends the Host of a request: that of an absolute target (RFC 9112 section 3.2.2), unless that is
/// a URL with a Host of its own, else the virtual host with its port unless it is a scheme's own, else that of its header.
fn push_host(record: &Record<'_>, of_target: Option<&[u8]>, out: &mut Vec<u8>) {
    if of_target.is_none() && record.host.is_none() && record.fields.len() == 0 {
        return;
    }
    // `_` and `*` are how configurations say "any", `-` is how logs say "none".
    let is_name = |h: &&[u8]| is_host(h) && !matches!(*h, b"_" | b"-");
    let mut fields = record.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let field = fields.next().map(|(_, host)| host.trim_ascii());
    // A URL without a request line says where to connect to: who is asked for says a Host beside it.
    let is_url = matches!(record.asked, Asked::Parts { .. });
    if let Some(host) = field.filter(|_| is_url).filter(is_name).or(of_target.filter(is_name)) {
        out.extend_from_slice(host);
        return;
    }
    let host = record.host.or(field);
    let Some(host) = host.filter(is_name) else { return };
    out.extend_from_slice(host);
    let has_port = host.last() != Some(&b']') && host.contains(&b':');
    if let Some(port) = record.port.filter(|p| !has_port && !matches!(p, 0 | 80 | 443)) {
        out.push(b':');
        out.extend_from_slice(port.to_string().as_bytes());
    }
}

/// Whether `value` can be sent in a header as it is: text without control characters but tab.
fn is_field_value(value: &[u8]) -> bool {
    if is_printable(value) {
        return true;
    }
    let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\t');
    value.iter().all(|b| plain(b) || !b.is_ascii()) && std::str::from_utf8(value).is_ok()
}

/// The Host that [`Book::take`] gives to a request, for the test over the format files.
#[cfg(test)]
pub(super) fn host_of(record: &Record<'_>, of_target: Option<&[u8]>) -> Option<String> {
    let mut host = Vec::new();
    push_host(record, of_target, &mut host);
    (!host.is_empty()).then(|| String::from_utf8_lossy(&host).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(unix_ns: i64, whole_second: bool, duration_ns: Option<u64>) -> Record<'static> {
        let time = Stamp { unix_ns, whole_second };
        Record { duration_ns, time_is: TimeIs::End, ..Record::new(time, Asked::Line(b"GET / HTTP/1.1")) }
    }

    #[test]
    fn a_request_began_its_duration_before_its_end() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut at = |r: &Record<'_>, time_is| began(&Record { time_is, ..*r }, &mut rng);
        let exact = record(5_250_000_000, false, Some(1_000_000_000));
        assert_eq!(at(&exact, TimeIs::End), Stamp { unix_ns: 4_250_000_000, whole_second: false });
        assert_eq!(at(&exact, TimeIs::Start), exact.time);
        let whole = at(&record(5_000_000_000, true, Some(2_000_000_000)), TimeIs::End);
        assert!((3_000_000_000..4_000_000_000).contains(&whole.unix_ns) && !whole.whole_second);
        let broken = record(5_000_000_000, true, Some(u64::MAX));
        assert_eq!(at(&broken, TimeIs::End), broken.time);
    }

    #[test]
    fn the_host_carries_a_port_of_its_own() {
        let host = |h: &'static [u8], p| host_of(&Record { host: Some(h), port: p, ..record(0, true, None) }, None);
        assert_eq!(host(b"a.example", Some(443)).as_deref(), Some("a.example"));
        assert_eq!(host(b"a.example", Some(8443)).as_deref(), Some("a.example:8443"));
        assert_eq!(host(b"a.example:81", Some(8443)).as_deref(), Some("a.example:81"));
        assert_eq!(host(b"[::1]", Some(81)).as_deref(), Some("[::1]:81"));
        assert_eq!((host(b"_", Some(81)), host(b"*", None)), (None, None));
        assert_eq!(host_of(&record(0, true, None), Some(b"-")), None);
        // Beside a request line's absolute target a Host does not count, beside a URL it does.
        let mut fields = super::super::record::Fields::default();
        fields.push(b"Host", b"shop.example");
        let line = Record { fields: &fields, ..record(0, true, None) };
        assert_eq!(host_of(&line, Some(b"10.0.0.1")).as_deref(), Some("10.0.0.1"));
        let url = Record { asked: Asked::Parts { method: b"GET", target: b"http://10.0.0.1/" }, ..line };
        assert_eq!(host_of(&url, Some(b"10.0.0.1")).as_deref(), Some("shop.example"));
    }
}
