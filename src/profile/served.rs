//! Profiles that the target itself serves over HTTP, as Go's net/http/pprof does: fetched while a
//! capture is being taken, as further stacks of it, on a thread of their own.
//!
//! What grows from the program's start (allocations, waits for locks) is asked for as the difference
//! over the capture, which Go gives since 1.16 (`?seconds=N`); of what does not know that, the difference
//! is made here, of a profile at the start and one at the end.
//!
//! Must not: ask a host that the user has not named, follow it elsewhere, or touch the load.

use super::import::{self, Imported, Input, MISSING};
use super::{Obstacle, Stage};
use crate::clock::Clock;
use crate::model::{At, CaptureId, CaptureNews, CaptureState, Event, Fault, Span, Stacks, clean};
use reqwest::{Client, StatusCode, Url};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::task::JoinSet;

/// Where Go's net/http/pprof puts its profiles.
const USUAL: &str = "/debug/pprof/";
/// Bytes of an answer at the most, packed as it comes.
const BODY: usize = 64 << 20;
/// Time for everything that is not the capture itself: connecting, and what the target takes to write.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(3);
/// How often a waiting thread looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// A profile that is served.
struct Served {
    /// Its name in the path.
    name: &'static str,
    /// How it is asked for.
    how: How,
    /// The sample types that are kept; empty for all.
    types: &'static [&'static str],
    /// What is put before their names, where two profiles have the same ones.
    prefix: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// For the time of the capture.
    Sampled,
    /// As the difference over the capture: it counts from the program's start.
    Growing,
    /// As it is at the end.
    Present,
}

/// The profiles asked for (pkg.go.dev/net/http/pprof, pkg.go.dev/runtime/pprof#Profile).
static SERVED: &[Served] = &[
    Served { name: "profile", how: How::Sampled, types: &[], prefix: "" },
    Served { name: "allocs", how: How::Growing, types: &["alloc_space", "alloc_objects"], prefix: "" },
    Served { name: "heap", how: How::Present, types: &["inuse_space", "inuse_objects"], prefix: "" },
    // Both count contentions and delay.
    Served { name: "mutex", how: How::Growing, types: &[], prefix: "mutex_" },
    Served { name: "block", how: How::Growing, types: &[], prefix: "block_" },
    Served { name: "goroutine", how: How::Present, types: &[], prefix: "" },
];

/// Where profiles are served.
#[derive(Clone, Debug)]
pub struct Server {
    base: Url,
    tls: Option<ClientConfig>,
}

impl Server {
    /// The server at `http://host:6060`, or at the folder of its profiles when they are not in the
    /// usual place. `tls`: how https is spoken; needed for that only.
    ///
    /// # Errors
    /// What is wrong with the address, in one line.
    pub fn new(address: &str, tls: Option<ClientConfig>) -> Result<Server, String> {
        let shown = clean(address, 100);
        let mut base =
            Url::parse(address).map_err(|e| format!("`{shown}` is no address like http://host:6060: {e}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(format!("`{shown}` is no address like http://host:6060"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(format!("`{shown}`: give the folder of the profiles, without a query"));
        }
        let path =
            if base.path() == "/" { USUAL.to_owned() } else { format!("{}/", base.path().trim_end_matches('/')) };
        base.set_path(&path);
        Ok(Server { base, tls })
    }

    /// The host's name, for its certificate.
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// Whether TLS is spoken with it.
    pub fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The same server, with how TLS is spoken.
    pub fn with_tls(self, tls: ClientConfig) -> Server {
        Server { tls: Some(tls), ..self }
    }

    /// Its address as shown, without a user's name and password.
    fn shown(&self) -> String {
        let mut url = self.base.clone();
        // Neither can fail for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        clean(url.as_str(), 200)
    }

    /// Fetches what is served over the time of a capture. Its stacks and what failed come over `out`,
    /// and at the end `Done` of that capture with what was fetched, when anything was.
    pub fn fetch(&self, id: CaptureId, length: Duration, clock: Clock, out: SyncSender<Event>) -> Fetch {
        let stage = Stage::new(id, clock, out);
        let (server, mine) = (self.clone(), stage.clone());
        let thread = std::thread::Builder::new().name("profile-served".into()).spawn(move || {
            if let Err(o) = server.run(length, &mine) {
                fault(&mine, &server, &o);
            }
        });
        if let Err(e) = &thread {
            fault(&stage, self, &Obstacle::new(format!("no thread to fetch profiles: {e}"), None));
        }
        Fetch { stage, thread: thread.ok() }
    }

    fn run(&self, length: Duration, stage: &Stage) -> Result<(), Obstacle> {
        let client = self.client()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Obstacle::new(format!("profiles can't be fetched: {e}"), None))?;
        let from = stage.now();
        let mut fetched = Fetched { server: self, stage, from, faults: BTreeMap::new(), notes: Vec::new(), samples: 0 };
        runtime.block_on(async {
            let mut under_way = JoinSet::new();
            for served in SERVED {
                let clock = stage.clock();
                let end = At(from.0.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)));
                let asking = Asking { client: client.clone(), base: self.base.clone(), served, length, clock, end };
                under_way.spawn(asking.ask());
            }
            loop {
                match tokio::time::timeout(GLANCE, under_way.join_next()).await {
                    Ok(None) => return,
                    Ok(Some(Ok((served, answer)))) => fetched.take(served, answer),
                    Ok(Some(Err(e))) => fetched.failed("", Obstacle::new(format!("fetching broke off: {e}"), None)),
                    Err(_) if stage.stopped() => {
                        let what = "what was not there yet was given up: the run was stopped before the capture's end";
                        fetched.failed("", Obstacle::new(what, None));
                        return;
                    }
                    Err(_) => {}
                }
            }
        });
        fetched.end();
        Ok(())
    }

    fn client(&self) -> Result<Client, Obstacle> {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None if self.is_https() => return Err(Obstacle::new("no certificates to speak https with", None)),
            // Not used, but without one reqwest would look for a provider of its own.
            None => ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|e| Obstacle::new(e.to_string(), None))?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
        };
        // What it leads to elsewhere, the user has not named; nor has anybody a proxy.
        let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().connect_timeout(CONNECT);
        let client = builder.http1_only().tls_backend_preconfigured(tls).build();
        client.map_err(|e| Obstacle::new(format!("profiles can't be fetched: {}", in_words(&e)), None))
    }
}

/// Profiles under way. Dropping it gives them up and waits for their thread, which takes
/// milliseconds.
#[derive(Debug)]
pub struct Fetch {
    stage: Stage,
    thread: Option<JoinHandle<()>>,
}

impl Fetch {
    /// Gives up what is not there yet.
    pub fn stop(&self) {
        self.stage.stop();
    }

    /// Whether its last event was sent.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.stage.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was told there.
            let _ = thread.join();
        }
    }
}

/// What was answered: a profile, or two whose difference is meant.
enum Answer {
    One(Box<Imported>),
    /// At the start and at the end.
    Two(Box<Imported>, Box<Imported>),
}

/// One profile being asked for.
struct Asking {
    client: Client,
    base: Url,
    served: &'static Served,
    length: Duration,
    clock: Clock,
    /// When the capture ends.
    end: At,
}

impl Asking {
    async fn ask(self) -> (&'static Served, Result<Answer, Obstacle>) {
        let answer = self.answer().await;
        (self.served, answer)
    }

    async fn answer(&self) -> Result<Answer, Obstacle> {
        let seconds = self.length.as_secs_f64().ceil().max(1.0) as u64;
        match self.served.how {
            How::Sampled => Ok(Answer::One(Box::new(self.get(Some(seconds)).await?))),
            How::Present => {
                self.until_the_end().await;
                Ok(Answer::One(Box::new(self.get(None).await?)))
            }
            How::Growing => {
                let first = self.get(Some(seconds)).await?;
                // A difference has a length; who does not know of differences gives what there is, at once.
                if first.length_ns > 0 {
                    return Ok(Answer::One(Box::new(first)));
                }
                self.until_the_end().await;
                Ok(Answer::Two(Box::new(first), Box::new(self.get(None).await?)))
            }
        }
    }

    async fn until_the_end(&self) {
        tokio::time::sleep(Duration::from_nanos(self.end.since_ns(self.clock.now()))).await;
    }

    async fn get(&self, seconds: Option<u64>) -> Result<Imported, Obstacle> {
        let name = self.served.name;
        let wrong = |what: String| Obstacle::new(format!("{name}: {what}"), None);
        let mut url = self.base.join(name).map_err(|e| wrong(e.to_string()))?;
        if let Some(seconds) = seconds {
            url.set_query(Some(&format!("seconds={seconds}")));
        }
        let patience = PATIENCE + Duration::from_secs(seconds.unwrap_or(0));
        let fetched = tokio::time::timeout(patience, async {
            let mut response = self.client.get(url).send().await.map_err(|e| {
                let what = if e.is_connect() { format!("{UNREACHABLE}{}", in_words(&e)) } else { in_words(&e) };
                Obstacle::new(if e.is_connect() { what } else { format!("{name}: {what}") }, None)
            })?;
            let status = response.status();
            let mut body: Vec<u8> = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(|e| wrong(in_words(&e)))? {
                if body.len() + piece.len() > BODY {
                    return Err(wrong(format!("the answer is more than {} MB", BODY >> 20)));
                }
                body.extend_from_slice(&piece);
            }
            match status {
                StatusCode::OK => Ok(body),
                _ => {
                    let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
                    let said = said.lines().find(|l| !l.trim().is_empty()).unwrap_or("").trim().to_owned();
                    Err(wrong(format!("{status}{}{said}", if said.is_empty() { "" } else { ": " })))
                }
            }
        });
        let body = fetched.await.map_err(|_| wrong(format!("no answer within {} s", patience.as_secs())))??;
        // Whatever comes is to be a pprof protocol buffer: a page of HTML is none.
        import::import(Input::of_bytes(name, body)?, Some("pprof")).map(|(imported, _)| imported)
    }
}

const UNREACHABLE: &str = "it can't be reached: ";

/// What came of one capture's profiles.
struct Fetched<'a> {
    server: &'a Server,
    stage: &'a Stage,
    from: At,
    /// What failed, and for which profiles.
    faults: BTreeMap<String, Option<String>>,
    notes: Vec<String>,
    samples: u64,
}

impl Fetched<'_> {
    fn take(&mut self, served: &Served, answer: Result<Answer, Obstacle>) {
        let name = served.name;
        let answer = match answer {
            Ok(answer) => answer,
            Err(o) => return self.failed(name, o),
        };
        let kept = |s: &Stacks| served.types.is_empty() || served.types.contains(&&*s.event);
        let (mut all, how): (Vec<Stacks>, String) = match answer {
            Answer::One(one) => {
                self.notes.extend(
                    one.notes.iter().filter(|n| !n.starts_with("numbers beside")).map(|n| format!("{name}: {n}")),
                );
                let how = match served.how {
                    How::Sampled => format!("sampled for {:.0} s", one.length_ns as f64 / 1e9),
                    How::Growing => {
                        format!("the difference over {:.0} s, as the target gave it", one.length_ns as f64 / 1e9)
                    }
                    How::Present => "as it was at the end".to_owned(),
                };
                (one.stacks.into_iter().filter(kept).collect(), how)
            }
            Answer::Two(first, last) => {
                let mut less = 0;
                let mut differences = Vec::new();
                for later in last.stacks.iter().filter(|s| kept(s)) {
                    match first.stacks.iter().find(|s| s.event == later.event && s.unit == later.unit) {
                        Some(earlier) => {
                            let (difference, fell) = import::minus(later, earlier);
                            less += fell;
                            differences.push(difference);
                        }
                        None => differences.push(later.clone()),
                    }
                }
                if less > 0 {
                    self.notes.push(format!("{name}: {less} stacks {MISSING}"));
                }
                (differences, "the difference of a profile at the start and one at the end".to_owned())
            }
        };
        let samples: u64 = all.iter().map(|s| s.samples.len() as u64).sum();
        let types: Vec<String> = all.iter().map(|s| format!("{}{}", served.prefix, s.event)).collect();
        self.notes.push(match samples {
            0 => format!("{name}: {how}; it is empty"),
            _ => format!("{name} ({}): {how}", clean(&types.join(", "), 120)),
        });
        self.samples += samples;
        let at = self.stage.now();
        for mut stacks in all.drain(..) {
            stacks.at = at;
            stacks.capture = self.stage.id();
            stacks.event = format!("{}{}", served.prefix, stacks.event).into();
            // They tell no times: all stand where the capture begins.
            stacks.samples.iter_mut().for_each(|s| s.at = self.from);
            self.stage.emit(Event::Stacks(stacks));
        }
    }

    fn failed(&mut self, name: &str, o: Obstacle) {
        // What can't be reached can't be for every profile.
        let what = if name.is_empty() || o.what.starts_with(UNREACHABLE) || o.what.starts_with(name) {
            o.what
        } else {
            format!("{name}: {}", o.what)
        };
        self.faults.insert(what, o.mend);
    }

    fn end(self) {
        for (what, mend) in self.faults {
            fault(self.stage, self.server, &Obstacle { what, mend });
        }
        if !self.notes.is_empty() {
            let span = Span { from: self.from, to: self.stage.now() };
            let notes = std::iter::once(format!("fetched from {}", self.server.shown())).chain(self.notes).collect();
            let state = CaptureState::Done { span, samples: self.samples, lost: 0, notes };
            self.stage.emit(Event::Capture(CaptureNews { at: span.to, id: self.stage.id(), state }));
        }
    }
}

fn fault(stage: &Stage, server: &Server, o: &Obstacle) {
    let what = clean(&format!("{}: {}", server.shown(), o.what), 400);
    stage.emit(Event::Fault(Fault { at: stage.now(), place: "profile/pprof".into(), what, mend: o.mend.clone() }));
}

/// What lies beneath an error of reqwest's, which itself only repeats the URL.
fn in_words(e: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut next = std::error::Error::source(e);
    while let Some(e) = next {
        words.push(e.to_string());
        next = e.source();
    }
    words.dedup();
    clean(&if words.is_empty() { e.to_string() } else { words.join(": ") }, 300)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pprof as wire;
    use prost::Message as _;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::mpsc::Receiver;

    /// Answers every request by its path, on loopback, for as long as the test runs.
    fn serve(answer: impl Fn(&str) -> (u16, Vec<u8>) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut line = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                lines.read_line(&mut line).unwrap();
                while line.trim() != "" && lines.by_ref().lines().next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty()))
                {
                }
                let (status, body) = answer(line.split(' ').nth(1).unwrap_or_default());
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        format!("http://{address}")
    }

    /// A profile of one type with a function of that weight.
    fn profile(event: &str, weight: i64) -> Vec<u8> {
        let strings = ["", event, "bytes", "f"].map(str::to_owned).to_vec();
        wire::Profile {
            sample_type: vec![wire::ValueType { kind: 1, unit: 2 }],
            sample: vec![wire::Sample { location_id: vec![1], value: vec![weight], label: vec![] }],
            location: vec![wire::Location {
                id: 1,
                line: vec![wire::Line { function_id: 1, line: 7 }],
                ..Default::default()
            }],
            function: vec![wire::Function { id: 1, name: 3, ..Default::default() }],
            string_table: strings,
            ..Default::default()
        }
        .encode_to_vec()
    }

    fn fetched(address: &str, length: Duration) -> Vec<Event> {
        let (out, events) = std::sync::mpsc::sync_channel(64);
        let fetch = Server::new(address, None).unwrap().fetch(CaptureId(3), length, Clock::start(), out);
        all_of(&fetch, &events)
    }

    fn all_of(fetch: &Fetch, events: &Receiver<Event>) -> Vec<Event> {
        let mut all = Vec::new();
        for _ in 0..400 {
            let finished = fetch.is_finished();
            all.extend(events.try_iter());
            if finished {
                return all;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("no end; so far {all:?}");
    }

    #[test]
    fn what_counts_from_the_start_is_subtracted_when_the_target_does_not() {
        let asked = AtomicI64::new(0);
        let address = serve(move |path| match path {
            // 100 at the start, 130 at the end; no length, so it is no difference.
            "/debug/pprof/allocs?seconds=1" | "/debug/pprof/allocs" => {
                (200, profile("alloc_space", 100 + 30 * asked.fetch_add(1, Ordering::SeqCst)))
            }
            "/debug/pprof/heap" => (200, b"<html>no profile</html>".to_vec()),
            "/debug/pprof/goroutine" => (500, b"not today\nor ever".to_vec()),
            _ => (404, b"404 page not found\n".to_vec()),
        });
        let events = fetched(&address, Duration::from_millis(200));
        let stacks: Vec<_> =
            events.iter().filter_map(|e| if let Event::Stacks(s) = e { Some(s) } else { None }).collect();
        assert_eq!(stacks.len(), 1);
        assert_eq!(
            (&*stacks[0].event, stacks[0].samples[0].weight, stacks[0].capture),
            ("alloc_space", 30, CaptureId(3))
        );
        let mut faults: Vec<&str> =
            events.iter().filter_map(|e| if let Event::Fault(f) = e { Some(&*f.what) } else { None }).collect();
        faults.sort();
        let parts =
            ["block: 404", "goroutine: 500 Internal Server Error: not today", "heap: ", "mutex: 404", "profile: 404"];
        assert_eq!(faults.len(), parts.len(), "{faults:?}");
        for (fault, part) in faults.iter().zip(parts) {
            assert!(fault.starts_with("http://127.0.0.1:") && fault.contains(part) && !fault.contains('\n'), "{fault}");
        }
        let done = events.iter().find_map(|e| match e {
            Event::Capture(CaptureNews { state: CaptureState::Done { samples, notes, .. }, .. }) => {
                Some((*samples, notes.join("; ")))
            }
            _ => None,
        });
        let (samples, notes) = done.unwrap();
        assert!(
            samples == 1 && notes.contains("allocs (alloc_space): the difference of a profile at the start"),
            "{notes}"
        );
    }

    #[test]
    fn stopping_gives_up_what_is_not_there() {
        let (out, events) = std::sync::mpsc::sync_channel(64);
        let address = serve(|_| (200, profile("alloc_space", 1)));
        let fetch =
            Server::new(&address, None).unwrap().fetch(CaptureId(1), Duration::from_secs(60), Clock::start(), out);
        fetch.stop();
        let all = all_of(&fetch, &events);
        assert!(all.iter().any(|e| matches!(e, Event::Fault(f) if f.what.contains("given up"))), "{all:?}");
    }

    #[test]
    fn an_address_is_a_host_or_the_folder_of_the_profiles() {
        let base = |text: &str| Server::new(text, None).map(|s| s.base.to_string());
        assert_eq!(base("http://127.0.0.1:6060").as_deref(), Ok("http://127.0.0.1:6060/debug/pprof/"));
        assert_eq!(base("https://h/x/pprof").as_deref(), Ok("https://h/x/pprof/"));
        for wrong in ["", "127.0.0.1:6060", "ftp://h", "http://", "http://h/?seconds=3", "http://h/#x"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
        let secret = Server::new("http://ann:secret@h:1", None).unwrap();
        assert!(!secret.shown().contains("secret") && !secret.shown().contains("ann"), "{}", secret.shown());
    }
}
