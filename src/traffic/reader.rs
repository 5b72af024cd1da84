//! [`Reader`]: several recordings, one stream of requests in time order.
//!
//! Files are merged by the times of their next requests. A file is opened only when the merge
//! comes near its first line, and all windows share one bound of memory, so that a folder of
//! rotated logs costs no more than one log.
//!
//! Must not: hold more waiting requests than [`Options::window_bytes`]; end a run for what a
//! line contains.

use super::arena::{AGENT_NAME, Arena, REFERER_NAME};
use super::envelope::Envelope;
use super::error::{TrafficError, shown_line};
use super::formats::{Formats, names};
use super::framed::survey;
use super::guess::guess;
use super::input::Source;
use super::intake::{Book, Input, Intake, Stream, Unanswered, began};
use super::methods::MethodFilter;
use super::order::{Due, Window};
use super::record::Record;
use super::rewrite::Rewrite;
use super::route::{Namer, RoutePattern, Router};
use super::sieve::{Sieve, Sifter};
use super::summary::Summary;
use crate::model::{At, Body, Method, Request, Route, TrafficCounts};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

/// Strings kept for requests to come: as many as requests with many header fields need.
const MAX_SPARE: usize = 64;

/// How recordings are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the log format, or a pattern of `$variables`; `None` to guess from the content.
    pub format: Option<String>,
    /// A format in the notation of nginx's `log_format` or Apache's `LogFormat`; outranks `format`.
    pub log_format: Option<String>,
    /// `FILE[:NAME]`: a `log_format` of an nginx configuration; outranks `log_format`.
    pub log_format_from: Option<String>,
    /// What holds which part of a request in JSON lines: part and key, as in `uri` and `req.path`.
    /// Any makes the recording one of JSON lines.
    pub fields: Vec<(String, String)>,
    /// Which methods are replayed.
    pub methods: MethodFilter,
    /// Length of the reorder window in log time, ns.
    pub window_ns: u64,
    /// Most memory that waiting requests may take, over all files, bytes. Each file that is open may
    /// exceed it by the chunk of 64 KiB that its next request lies in.
    pub window_bytes: usize,
    /// Decides where within its second a request of a whole-second log lies.
    pub seed: u64,
    /// Which requests of those methods are replayed.
    pub sieve: Sieve,
    /// How their paths are changed.
    pub rewrite: Rewrite,
    /// Routes by pattern, the first that matches; all other paths are normalised.
    pub routes: Vec<RoutePattern>,
    /// Most routes that are told apart.
    pub max_routes: usize,
}

impl Default for Options {
    /// GET and HEAD, 90 s, 64 MiB, 200 routes.
    ///
    /// 90 s: a line is late by as long as the server held it back. nginx with `flush=1m` holds
    /// lines up to 60 s; Apache writes a line under its start time when the request ends, and 60 s
    /// is the usual limit of a request behind a proxy. Half as much again is margin.
    fn default() -> Self {
        Options {
            format: None,
            log_format: None,
            log_format_from: None,
            fields: Vec::new(),
            methods: MethodFilter::default(),
            window_ns: 90_000_000_000,
            window_bytes: 64 << 20,
            seed: 0,
            sieve: Sieve::default(),
            rewrite: Rewrite::default(),
            routes: Vec::new(),
            max_routes: 200,
        }
    }
}

/// Which format a recording is taken to be in, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The recording.
    pub source: String,
    /// Name of the format; `none: empty` for a recording without a line.
    pub format: String,
    /// Whether it was named by the user rather than guessed.
    pub named: bool,
    /// How many of the lines or records looked at are in the format.
    pub matched: u64,
    /// How many were looked at; of lines not empty ones, 200 at most.
    pub looked_at: u64,
    /// What was looked at: `lines` or `records`.
    pub unit: &'static str,
    /// Whether its requests have times. Those without any are an order: they come before all that
    /// have times, 1 ms apart from the Unix epoch on, which means nothing.
    pub timed: bool,
    /// What stands around the lines and is taken off: a container runtime's prefix, syslog.
    pub envelope: Option<&'static str>,
    /// Other formats that lines are in: name, how many lines, and why it was not chosen.
    pub others: Vec<(String, u64, &'static str)>,
}

impl Choice {
    /// The choice and the reason for it, in one line: `caddy: 200 of 200 lines; also fit: json 200 (made
    /// for any)`.
    pub fn why(&self) -> String {
        let mut text = format!("{}: {} of {} {}", self.format, self.matched, self.looked_at, self.unit);
        if self.named {
            text += ", as named";
        }
        if let Some(envelope) = self.envelope {
            text = format!("{text}, inside {envelope}");
        }
        let others: Vec<String> = self.others.iter().map(|(name, n, why)| format!("{name} {n} ({why})")).collect();
        if others.is_empty() { text } else { format!("{text}; also fit: {}", others.join(", ")) }
    }
}

/// Requests of one or more recordings in time order. Never goes backwards in time.
pub struct Reader {
    options: Options,
    intake: Intake,
    streams: Vec<Stream>,
    choices: Vec<Choice>,
    first_line: String,
    /// Names of the formats that recordings were tried in.
    tried: String,
    /// The streams with requests left, by a time before which their next one cannot lie.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    router: Router,
    last_ns: i64,
    /// Whether the last one had a time.
    timed: bool,
    /// Strings that a request had no use for.
    spare: Vec<String>,
    repeats: u64,
}

impl Reader {
    /// Opens files, `-` being standard input, and finds out their formats. Reads no further than
    /// the first 200 lines of each.
    ///
    /// # Errors
    /// All of [`TrafficError`] but `NoRequest` and `CannotReopen`: whatever is wrong with the input
    /// as a whole shows here.
    pub fn open(paths: &[PathBuf], options: Options) -> Result<Reader, TrafficError> {
        if paths.iter().filter(|p| p.as_os_str() == "-").count() > 1 {
            return Err(TrafficError::StdinTwice);
        }
        Reader::open_sources(paths.iter().map(|p| Source::named(p)).collect(), options)
    }

    /// The same for sources of any kind.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_sources(sources: Vec<Source>, options: Options) -> Result<Reader, TrafficError> {
        if sources.is_empty() {
            return Err(TrafficError::NoFiles);
        }
        let intake = Intake {
            envelope: Envelope::default(),
            arena: Arena::default(),
            book: Book::new(options.methods.clone(), options.rewrite.clone()),
            overhead_bytes: 0,
            max_bytes: options.window_bytes,
            untimed: 0,
            streams: sources.len(),
        };
        let namer = Namer::new(options.routes.clone());
        let mut reader = Reader {
            tried: String::new(),
            intake,
            streams: Vec::with_capacity(sources.len()),
            choices: Vec::with_capacity(sources.len()),
            first_line: String::new(),
            next: BinaryHeap::new(),
            router: Router::new(namer.clone(), options.max_routes),
            last_ns: i64::MIN,
            timed: true,
            spare: Vec::new(),
            repeats: 0,
            options,
        };
        for source in sources {
            reader.add(source)?;
        }
        if reader.streams.is_empty() {
            return Err(TrafficError::Empty { paths: reader.column(|c| &c.source) });
        }
        let sifter = Sifter::new(&reader.options.sieve, &namer, reader.options.seed, reader.start_ns());
        reader.intake.book.sift(sifter);
        reader.queue_all();
        Ok(reader)
    }

    /// Looks at the first lines of a source, and keeps it if it has any.
    fn add(&mut self, mut source: Source) -> Result<(), TrafficError> {
        let name = source.name();
        let mut sniffed = source.open()?.sniff()?;
        let mut formats = Formats::candidates(&self.options)?;
        if self.tried.is_empty() {
            self.tried = names(&formats.all);
        }
        let mut found = guess(&name, &sniffed, source.folder(), &mut formats);
        // The first record of a capture may be larger than all of a log that is worth a look.
        if !matches!(found, Ok(Some(_))) && sniffed.read_more() {
            found = guess(&name, &sniffed, source.folder(), &mut formats);
        }
        let mut choice = Choice {
            source: name.clone(),
            format: "none: empty".to_owned(),
            named: formats.named,
            matched: 0,
            looked_at: 0,
            unit: "lines",
            timed: true,
            envelope: None,
            others: Vec::new(),
        };
        let Some(guess) = found? else {
            self.choices.push(choice);
            return Ok(());
        };
        // Each recording has a reader of its own: what `#Fields:` says in one holds for no other.
        let mut format = formats.all.swap_remove(guess.format);
        format.rewind();
        let framing = format.framing(source.folder());
        let timed = format.is_timed();
        choice.format = format.name().to_owned();
        (choice.matched, choice.looked_at, choice.envelope) = (guess.matched, guess.looked_at, guess.envelope);
        (choice.unit, choice.timed) = (if framing.is_some() { "records" } else { "lines" }, timed);
        choice.others = guess.others;
        self.choices.push(choice);
        if self.first_line.is_empty() {
            self.first_line = sniffed.lines().next().map(shown_line).unwrap_or_default();
        }
        let (window, mut rng) = self.window(self.streams.len());
        let (mut first_ns, (head, ended)) = (i64::MAX, sniffed.head());
        let mut see = |r: &Record<'_>| first_ns = first_ns.min(began(r, &mut rng).unix_ns);
        let mut envelope = Envelope::default();
        match format.framing(source.folder()) {
            Some(mut framing) => drop(survey(&mut *framing, head, ended, see)),
            None => sniffed.lines().for_each(|line| {
                let inside = if guess.envelope.is_some() { envelope.open(line) } else { None };
                if let Ok(record) = format.parse(inside.map_or(line, |(_, inner)| inner)) {
                    see(&record);
                }
            }),
        }
        format.rewind();
        let window_ns = i64::try_from(self.options.window_ns).unwrap_or(i64::MAX);
        let starts_ns = match (timed, first_ns) {
            // Before all that have times, in the order of the arguments.
            (false, _) => i64::MIN.saturating_add(i64::try_from(self.streams.len()).unwrap_or(i64::MAX)),
            (true, i64::MAX) => i64::MIN,
            (true, t) => t.saturating_sub(window_ns),
        };
        // What can be opened again is closed until its turn: of a month of hourly logs only a few
        // need be open at a time.
        let input = match (source.can_reopen(), framing) {
            (true, _) => None,
            (false, None) => Some(Input::Lines(sniffed.into_lines(format.longest_line()))),
            (false, Some(framing)) => Some(Input::Frames(sniffed.into_frames(), framing)),
        };
        self.streams.push(Stream {
            started: input.is_some(),
            timed,
            source,
            name,
            format,
            enveloped: guess.envelope.is_some(),
            starts_ns,
            input,
            window,
            previous_ns: None,
            unanswered: Unanswered::default(),
            rng,
        });
        Ok(())
    }

    /// When the recording starts, as far as the first lines of its files tell.
    fn start_ns(&self) -> i64 {
        let window_ns = i64::try_from(self.options.window_ns).unwrap_or(i64::MAX);
        let starts = self.streams.iter().filter(|s| s.timed).map(|s| s.starts_ns).filter(|s| *s > i64::MIN);
        starts.min().map_or(0, |s| s.saturating_add(window_ns))
    }

    /// A fresh window and its randomness for stream number `n`.
    fn window(&self, n: usize) -> (Window, fastrand::Rng) {
        // Distinct seeds, so that two hosts' logs are not spread alike.
        let seed = self.options.seed.wrapping_add((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (Window::new(self.options.window_ns, seed), fastrand::Rng::with_seed(!seed))
    }

    fn queue_all(&mut self) {
        self.next = self.streams.iter().enumerate().map(|(n, s)| Reverse((s.starts_ns, n))).collect();
    }

    /// Puts the next request into `into`, whose allocations are reused. `false` at the end.
    ///
    /// # Errors
    /// [`TrafficError::NoRequest`] when the end is reached and there was no request. What cannot
    /// be read or understood on the way is skipped and counted in [`Reader::counts`].
    pub fn next(&mut self, into: &mut Request) -> Result<bool, TrafficError> {
        if let Some(due) = self.next_due() {
            self.hand_out(due, into);
            return Ok(true);
        }
        self.intake.book.complete = true;
        if self.intake.book.ledger.requests == 0 {
            return Err(self.no_request());
        }
        Ok(false)
    }

    /// Takes the earliest request of all streams.
    fn next_due(&mut self) -> Option<Due> {
        loop {
            let is_only = self.next.len() == 1;
            let Reverse((key, n)) = *self.next.peek()?;
            let stream = &mut self.streams[n];
            if !stream.window.has_next() {
                // Lines are read only now that this file is the next one: a pipe that is slow
                // holds back nothing that was read already.
                if !self.intake.fill(stream) {
                    self.next.pop();
                } else if !is_only {
                    let next_ns = stream.window.peek().filter(|_| stream.timed).map(|d| d.unix_ns);
                    self.put_off(next_ns.unwrap_or(key));
                }
                continue;
            }
            // A recording without times is given whole before the next file's turn comes.
            if stream.timed
                && !is_only
                && let Some(due) = stream.window.peek().filter(|due| due.unix_ns > key)
            {
                self.put_off(due.unix_ns);
                continue;
            }
            let before = stream.window.overhead_bytes();
            let due = stream.window.pop();
            self.timed = stream.timed;
            self.intake.overhead_bytes = self.intake.overhead_bytes + stream.window.overhead_bytes() - before;
            return due;
        }
    }

    /// The next request of the stream whose turn it was comes no earlier than `unix_ns`.
    fn put_off(&mut self, unix_ns: i64) {
        if let Some(mut top) = self.next.peek_mut() {
            top.0.0 = unix_ns;
        }
    }

    fn hand_out(&mut self, due: Due, into: &mut Request) {
        if !self.intake.book.complete {
            // A file may turn out to reach back before what others have given already.
            self.intake.book.ledger.outside_window += u64::from(due.late || due.unix_ns < self.last_ns);
        }
        self.last_ns = self.last_ns.max(due.unix_ns);
        into.recorded_unix_ns = self.last_ns;
        let request = self.intake.arena.get(due.held);
        (into.client, into.recorded_status) = (request.client, request.status);
        let is_same = match (&into.method, request.method) {
            (Method::Get, "GET") => true,
            (method, token) => method.as_str() == token,
        };
        if !is_same {
            into.method = Method::parse(request.method.as_bytes()).unwrap_or(Method::Get);
        }
        set(&mut into.path, request.path);
        if request.host.is_empty() {
            if let Some(string) = into.host.take() {
                self.spare.push(string);
            }
        } else {
            let spare = || self.spare.pop().unwrap_or_default();
            set(into.host.get_or_insert_with(spare), request.host);
        }
        let mut headers = Headers { all: &mut into.headers, filled: 0, spare: &mut self.spare };
        for (name, value) in [(REFERER_NAME, request.referer), (AGENT_NAME, request.user_agent)] {
            if !value.is_empty() {
                headers.put(Ok(name), value);
            }
        }
        request.fields().for_each(|(name, value)| headers.put(name, value));
        headers.end();
        self.spare.truncate(MAX_SPARE);
        into.body.0.clear();
        into.body.0.extend_from_slice(request.body);
        self.router.route_into(request.path, !self.intake.book.complete, &mut into.route);
        self.intake.arena.release(due.held);
    }

    fn no_request(&self) -> TrafficError {
        let skipped = self.intake.book.ledger.skipped();
        let reasons: Vec<String> = skipped.iter().take(6).map(|s| format!("{} {}", s.count, s.reason)).collect();
        TrafficError::NoRequest {
            paths: self.column(|c| &c.source),
            lines: self.intake.book.ledger.lines,
            formats: format!("{}; tried: {}", self.column(|c| &c.format), self.tried),
            mend: match skipped.first().is_some_and(|s| s.reason.starts_with("method ")) {
                true => "; --methods all replays every method",
                false => "",
            },
            reasons: reasons.join(", "),
            line: self.first_line.clone(),
        }
    }

    /// A request without content, to be filled by [`Reader::next`].
    pub fn blank() -> Request {
        Request {
            recorded_unix_ns: 0,
            method: Method::Get,
            path: "/".to_owned(),
            host: None,
            headers: Vec::with_capacity(2),
            body: Body::default(),
            route: Route { id: 0, name: "/".into() },
            client: 0,
            recorded_status: None,
        }
    }

    /// What was read so far. `lines == requests + all skipped` holds at any time. Of a repeated
    /// recording the first reading counts. `at` is the start: the caller stamps it.
    pub fn counts(&self) -> TrafficCounts {
        let ledger = &self.intake.book.ledger;
        TrafficCounts {
            at: At::START,
            format: self.column(|c| &c.format),
            lines: ledger.lines,
            requests: ledger.requests,
            skipped: ledger.skipped(),
            out_of_order: ledger.out_of_order,
            outside_window: ledger.outside_window,
            repeats: self.repeats,
        }
    }

    /// What the recording holds, as far as it was read.
    pub fn summary(&self) -> Summary {
        let (folded_routes, more_folded_routes) = self.router.folded();
        Summary {
            folded_routes,
            more_folded_routes,
            folded_requests: self.router.folded_requests(),
            top_folded: self.router.top_folded(10),
            ..self.intake.book.gathering.summary()
        }
    }

    /// Whether the request handed out last has a time of its own: that of others is its place in
    /// their order.
    pub fn has_time(&self) -> bool {
        self.timed
    }

    /// Which format each recording is taken to be in, and why.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The slice of time that is replayed, from (inclusive) and to (exclusive), ns since the Unix
    /// epoch: [`Sieve::from`] and [`Sieve::to`] for this recording.
    pub fn slice(&self) -> (Option<i64>, Option<i64>) {
        self.intake.book.sifter().slice()
    }

    /// Memory that waiting requests take now, bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.intake.waiting_bytes()
    }

    /// Whether [`Reader::reopen`] can work: pipes cannot be read twice.
    pub fn can_reopen(&self) -> bool {
        self.streams.iter().all(|s| s.source.can_reopen())
    }

    /// Begins again at the start: the same requests at the same times, under the same routes.
    ///
    /// # Errors
    /// [`TrafficError::CannotReopen`] names what cannot be read again; nothing has changed then.
    pub fn reopen(&mut self) -> Result<(), TrafficError> {
        if let Some(s) = self.streams.iter().find(|s| !s.source.can_reopen()) {
            return Err(TrafficError::CannotReopen { path: s.name.clone() });
        }
        for n in 0..self.streams.len() {
            let (window, rng) = self.window(n);
            let s = &mut self.streams[n];
            s.unanswered = Unanswered::default();
            (s.input, s.started, s.window, s.previous_ns, s.rng) = (None, false, window, None, rng);
            s.format.rewind();
        }
        self.intake.arena = Arena::default();
        self.intake.overhead_bytes = 0;
        self.intake.untimed = 0;
        self.intake.book.begin_again();
        self.last_ns = i64::MIN;
        self.repeats += 1;
        self.queue_all();
        Ok(())
    }

    /// The different values of one column of the choices, at most eight.
    fn column(&self, value: impl Fn(&Choice) -> &String) -> String {
        let mut all: Vec<&str> = Vec::new();
        for choice in &self.choices {
            let one = value(choice).as_str();
            if !all.contains(&one) {
                all.push(one);
            }
        }
        let more = if all.len() > 8 { ", …" } else { "" };
        all.truncate(8);
        all.join(", ") + more
    }
}

/// The header fields of a request that is filled anew.
struct Headers<'a> {
    all: &'a mut Vec<(Cow<'static, str>, String)>,
    filled: usize,
    spare: &'a mut Vec<String>,
}

impl Headers<'_> {
    /// The next field; a name that is known needs no string.
    #[inline]
    fn put(&mut self, name: Result<&'static str, &str>, value: &str) {
        if self.filled == self.all.len() {
            self.all.push((Cow::Borrowed(""), self.spare.pop().unwrap_or_default()));
        }
        let slot = &mut self.all[self.filled];
        self.filled += 1;
        set(&mut slot.1, value);
        match name {
            Ok(known) if matches!(slot.0, Cow::Borrowed(name) if std::ptr::eq(name, known)) => {}
            Ok(known) => self.spare.extend(owned(std::mem::replace(&mut slot.0, Cow::Borrowed(known)))),
            Err(name) if slot.0 == name => {}
            Err(name) => {
                let old = std::mem::take(&mut slot.0);
                let mut string = owned(old).or_else(|| self.spare.pop()).unwrap_or_default();
                set(&mut string, name);
                slot.0 = Cow::Owned(string);
            }
        }
    }

    /// Those that are left from the request before are none.
    fn end(self) {
        while self.all.len() > self.filled
            && let Some((name, value)) = self.all.pop()
        {
            self.spare.push(value);
            self.spare.extend(owned(name));
        }
    }
}

/// The allocation of a name that has one.
fn owned(name: Cow<'static, str>) -> Option<String> {
    match name {
        Cow::Owned(string) => Some(string),
        Cow::Borrowed(_) => None,
    }
}

fn set(string: &mut String, to: &str) {
    string.clear();
    string.push_str(to);
}
