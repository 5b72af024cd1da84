//! Plays a fault against perfbench itself, in each of the ways it makes connections, and holds
//! what it counted against what the row says and what the server saw.
//!
//! Must not: know a particular fault.

use super::support::{Bench, Do, Report, Running, Server, feed, line, server::Asked};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One way of making connections and offering requests.
pub struct Mode {
    pub name: &'static str,
    words: &'static str,
    /// Connections at a time.
    pub lanes: u64,
    /// A connection carries request after request.
    pub keeps: bool,
    pub paced: bool,
}

/// The ways that differ in the engine.
pub const MODES: [Mode; 4] = [
    Mode { name: "keep-alive", words: "--threads 1 --connections 1", lanes: 1, keeps: true, paced: false },
    Mode {
        name: "close",
        words: "--threads 1 --connections 1 --connection close",
        lanes: 1,
        keeps: false,
        paced: false,
    },
    Mode { name: "rate", words: "--threads 1 --connections 1", lanes: 1, keeps: true, paced: true },
    Mode { name: "2 threads", words: "--threads 2 --connections 2", lanes: 2, keeps: true, paced: false },
];

type Script = dyn Fn(&Asked) -> Vec<Do> + Send + Sync;
type Greeting = dyn Fn() -> Vec<Do> + Send + Sync;

/// What is at the other end.
enum Target {
    /// Does something on each request.
    Says(Arc<Script>),
    /// Does something on each connection, whatever comes.
    Greets(Arc<Greeting>),
    /// Listens until perfbench has looked whether it is there.
    Gone,
    /// Accepts nobody from then on, and its queue is full.
    Full,
}

/// How all requests of a run end.
pub enum Comes {
    /// Without a whole response, each on a connection of its own.
    Fails(&'static str),
    /// Before anything was sent.
    Unsent(&'static str),
    /// With this status, and the connection goes on.
    Keeps(&'static str),
    /// With this status, each on a connection of its own.
    Leaves(&'static str),
    /// In another way: outcome and connection as docs/faults.md has them, and the counts.
    Own(&'static str, &'static str, fn(&Mode, u64) -> Counts),
}

/// What a run must have counted.
pub struct Counts {
    outcomes: Vec<(&'static str, u64)>,
    sent: RangeInclusive<u64>,
    opened: RangeInclusive<u64>,
    retried: RangeInclusive<u64>,
    /// The server may not have read all that was sent.
    unseen: bool,
}

impl Counts {
    /// All `n` end in `outcome`, each sent on a connection of its own.
    pub fn fail(outcome: &'static str, n: u64) -> Counts {
        Counts { outcomes: vec![(outcome, n)], sent: n..=n, opened: n..=n, retried: 0..=0, unseen: false }
    }

    /// All `n` are answered with `status`, over one connection.
    pub fn complete(status: &'static str, n: u64) -> Counts {
        Counts { opened: 1..=1, ..Counts::fail(status, n) }
    }

    pub fn and(mut self, outcome: &'static str, n: u64) -> Counts {
        self.outcomes.push((outcome, n));
        self
    }

    pub fn sent(self, sent: RangeInclusive<u64>) -> Counts {
        Counts { sent, ..self }
    }

    pub fn opened(self, opened: RangeInclusive<u64>) -> Counts {
        Counts { opened, ..self }
    }

    pub fn retried(self, retried: RangeInclusive<u64>) -> Counts {
        Counts { retried, ..self }
    }

    pub fn unseen(self) -> Counts {
        Counts { unseen: true, ..self }
    }
}

/// A row of the table.
pub struct Fault {
    /// What the target does.
    pub name: &'static str,
    pub comes: Comes,
    target: Target,
    method: &'static str,
    /// The option that gives the time limit which runs out.
    limit: Option<&'static str>,
    requests: u64,
    /// Requests per second where they are paced; the only way then, if `only_paced`.
    rate: u32,
    only_paced: bool,
    big: bool,
    tls: bool,
    /// What is counted besides, of every response.
    remark: Option<&'static str>,
}

impl Fault {
    fn new(name: &'static str, target: Target, comes: Comes) -> Fault {
        Fault {
            name,
            comes,
            target,
            method: "GET",
            limit: None,
            requests: 6,
            rate: 200,
            only_paced: false,
            big: false,
            tls: false,
            remark: None,
        }
    }

    /// A server that does this on each request.
    pub fn says(name: &'static str, script: impl Fn(&Asked) -> Vec<Do> + Send + Sync + 'static) -> Fault {
        Fault::new(name, Target::Says(Arc::new(script)), Comes::Keeps("200"))
    }

    /// A server that does this on each connection, asked or not.
    pub fn greets(name: &'static str, greeting: impl Fn() -> Vec<Do> + Send + Sync + 'static) -> Fault {
        Fault::new(name, Target::Greets(Arc::new(greeting)), Comes::Keeps("200"))
    }

    pub fn gone(name: &'static str, outcome: &'static str) -> Fault {
        Fault::new(name, Target::Gone, Comes::Unsent(outcome))
    }

    pub fn full(name: &'static str, outcome: &'static str) -> Fault {
        Fault::new(name, Target::Full, Comes::Unsent(outcome))
    }

    pub fn fails(self, outcome: &'static str) -> Fault {
        Fault { comes: Comes::Fails(outcome), ..self }
    }

    pub fn keeps(self, status: &'static str) -> Fault {
        Fault { comes: Comes::Keeps(status), ..self }
    }

    pub fn leaves(self, status: &'static str) -> Fault {
        Fault { comes: Comes::Leaves(status), ..self }
    }

    pub fn own(self, outcome: &'static str, connection: &'static str, counts: fn(&Mode, u64) -> Counts) -> Fault {
        Fault { comes: Comes::Own(outcome, connection, counts), ..self }
    }

    /// Asked by another method than GET.
    pub fn asked(self, method: &'static str) -> Fault {
        Fault { method, ..self }
    }

    /// Ends when the time limit of this option is up.
    pub fn limited_by(self, option: &'static str) -> Fault {
        Fault { limit: Some(option), ..self }
    }

    /// Fewer requests: each takes its time.
    pub fn few(self) -> Fault {
        Fault { requests: 2, ..self }
    }

    /// Of interest between requests only, which come at this rate.
    pub fn only_paced(self, rate: u32) -> Fault {
        Fault { rate, only_paced: true, ..self }
    }

    /// By requests of 800 kB, in a network whose socket buffers are far smaller.
    pub fn big(self) -> Fault {
        Fault { big: true, ..self }
    }

    /// By https.
    pub fn tls(self) -> Fault {
        Fault { tls: true, ..self }
    }

    /// Ended before the request was sent.
    pub fn unsent(self, outcome: &'static str) -> Fault {
        Fault { comes: Comes::Unsent(outcome), ..self }
    }

    /// Whole, and counted as odd under this name.
    pub fn remarked(self, remark: &'static str) -> Fault {
        Fault { remark: Some(remark), ..self }
    }

    /// What is counted besides the outcome.
    pub fn remark(&self) -> Option<&'static str> {
        self.remark
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it needs a network of its own.
    pub fn is_big(&self) -> bool {
        self.big
    }

    /// Whether it waits for a time limit.
    pub fn is_slow(&self) -> bool {
        self.requests < 6
    }

    pub fn plays_in(&self, mode: &Mode) -> bool {
        mode.paced || !self.only_paced
    }

    /// What must be counted in `mode`.
    fn counts(&self, mode: &Mode) -> Counts {
        let n = self.requests;
        let counts = match self.comes {
            Comes::Fails(outcome) => Counts::fail(outcome, n),
            Comes::Unsent(outcome) => {
                let opened = if self.tls { n } else { 0 };
                Counts::fail(outcome, n).sent(0..=0).opened(opened..=opened)
            }
            Comes::Leaves(status) => Counts::complete(status, n).opened(n..=n),
            Comes::Keeps(status) => {
                let opened = if mode.keeps { mode.lanes } else { n };
                Counts::complete(status, n).opened(opened..=opened)
            }
            Comes::Own(_, _, counts) => counts(mode, n),
        };
        if matches!(self.target, Target::Greets(_)) { counts.unseen() } else { counts }
    }

    fn log(&self) -> String {
        (0..self.requests).map(|i| line(0, self.method, &format!("/r{i}"))).collect()
    }

    fn words(&self, mode: &Mode, limit_ms: u32) -> String {
        // The host is of no interest: a dozen runs that all look through /proc, at each other too,
        // keep the kernel busier than the faults do.
        let unwatched = format!("--period 1m --pid {}", std::process::id());
        let mut words = format!("{} {unwatched} --requests {}", mode.words, self.requests);
        if let Some(option) = self.limit {
            words += &format!(" {option} {limit_ms}ms");
        }
        if self.method == "POST" {
            words += " --methods POST";
        }
        if mode.paced {
            words += &format!(" --rate {}", self.rate);
        }
        if self.tls {
            words += " --insecure";
        }
        if self.big {
            for i in 0..8 {
                words += &format!(" -H X-{i}:{}", "b".repeat(100_000));
            }
        }
        words
    }

    /// Plays it in `mode`; how the requests ended, for the printed table. What is to be ended by
    /// a time limit gets a longer one when the machine was too busy to come so far.
    pub fn play(&self, mode: &Mode) -> String {
        if self.limit.is_some() {
            for limit_ms in [300, 1500] {
                if let Ok(ended) = catch_unwind(AssertUnwindSafe(|| self.play_within(mode, limit_ms))) {
                    return ended;
                }
            }
        }
        self.play_within(mode, 6000)
    }

    fn play_within(&self, mode: &Mode, limit_ms: u32) -> String {
        let counts = self.counts(mode);
        let report = match &self.target {
            Target::Says(script) => {
                let script = script.clone();
                self.play_at(mode, limit_ms, &counts, Vec::new, move |asked| script(asked))
            }
            Target::Greets(greeting) => {
                let greeting = greeting.clone();
                self.play_at(mode, limit_ms, &counts, move || greeting(), |_| Vec::new())
            }
            Target::Gone => play_at_nobody("127.0.0.1", &self.words(mode, limit_ms), |_, keeps_port| keeps_port),
            Target::Full => play_at_nobody("127.0.0.1", &self.words(mode, limit_ms), |listener, keeps_port| {
                let address = listener.local_addr().unwrap().as_socket().unwrap();
                let mut held = Vec::new();
                while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                    held.push(stream);
                    assert!(held.len() < 50, "the queue does not fill");
                }
                (listener, keeps_port, held)
            }),
        };
        if matches!(self.comes, Comes::Unsent(_)) {
            assert_eq!(report.json["service_time_us"]["count"], 0, "nothing was sent that could have been served");
        }
        let expected = counts.outcomes.iter().copied().filter(|(_, n)| *n > 0).collect();
        assert_eq!(report.outcomes(), expected, "{}", report.ended.stderr);
        assert_eq!((report.n("offered"), report.n("dropped"), report.n("in_flight")), (self.requests, 0, 0));
        for (what, n, range) in [
            ("sent", report.n("sent"), &counts.sent),
            ("opened", opened(&report), &counts.opened),
            ("retried", report.n("retried"), &counts.retried),
        ] {
            assert!(range.contains(&n), "{what} is {n} and not in {range:?}");
        }
        // What comes behind the last response of a connection may come when the run has ended.
        let unseen = if self.only_paced { mode.lanes } else { 0 };
        for (name, n) in report.json["remarks"].as_object().unwrap() {
            let most = if self.remark == Some(name) { report.n("completed") } else { 0 };
            let least = if self.remark == Some(name) { most - unseen } else { 0 };
            assert!((least..=most).contains(&n.as_u64().unwrap()), "{name}: {n}");
        }
        let exit = i32::from(report.n("completed") == 0);
        assert_eq!(report.ended.status.code(), Some(exit), "{}", report.ended.stderr);
        let outcomes: Vec<String> = report.outcomes().iter().map(|(name, n)| format!("{name} {n}")).collect();
        outcomes.join(", ")
    }

    /// Against a server, whose own account must agree.
    fn play_at(
        &self,
        mode: &Mode,
        limit_ms: u32,
        counts: &Counts,
        greeting: impl Fn() -> Vec<Do> + Send + Sync + 'static,
        script: impl Fn(&Asked) -> Vec<Do> + Send + Sync + 'static,
    ) -> Report {
        let (held, port) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicU64::new(0)));
        let (last, seen) = (self.requests as usize, (held.clone(), port.clone()));
        let server = Server::greeting(
            move |number| {
                // Connection 0 is the look whether anybody is there. By the last one, all that
                // a client has not closed has piled up.
                if number == last {
                    *seen.0.lock().unwrap() = held_open_to(seen.1.load(Ordering::SeqCst));
                }
                if number == 0 { Vec::new() } else { greeting() }
            },
            script,
        );
        port.store(u64::from(server.port()), Ordering::SeqCst);
        let url = if self.tls { server.url().replace("http:", "https:") } else { server.url() };
        let report = Bench::new().run(&url, &self.log(), &self.words(mode, limit_ms));
        server.wait_for_ends();
        let held = held.lock().unwrap();
        assert!(held.len() as u64 <= mode.lanes, "{held:?} held open where there are to be {}", mode.lanes);
        let accepted = server.accepted() as u64 - 1;
        let told = opened(&report);
        // One that failed before its first byte was written is not known to be open.
        assert!(told == accepted || (counts.sent.start() < counts.sent.end() && told < accepted), "{told} {accepted}");
        if !counts.unseen {
            assert_eq!(server.requests(), report.n("sent") + report.n("retried"), "requests the server has seen");
        }
        report
    }
}

/// Plays requests at a listener at `host`, by which 127.0.0.1 is meant, that, once it was looked for, becomes what `then` makes of it
/// and of the socket that keeps its port. A run looks at its target when it has read its first
/// request, and begins when it has read some more: those are given when the listener has changed.
pub fn play_at_nobody<T>(host: &str, words: &str, then: impl FnOnce(Socket, Socket) -> T) -> Report {
    let socket = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket
    };
    // Bound and not listening: the port stays ours when the listener is gone.
    let (keeps_port, listener) = (socket(), socket());
    keeps_port.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = keeps_port.local_addr().unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let bench = Bench::new();
    let url = format!("http://{host}:{}", address.as_socket().unwrap().port());
    let mut running = Running::start(bench.command(&bench.words(&url, Path::new("-"), words)));
    let mut stdin = running.stdin();
    // Enough to tell the format by, of a method that is not replayed, and far enough apart for
    // the first line to be the first for certain.
    feed(&mut stdin, &(line(0, "GET", "/r") + &line(3000, "GET", "/r") + &line(3000, "POST", "/r").repeat(300)));
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap(); // accept(2) keeps to it too
    let (mut looks, _) = listener.accept().expect("a look whether anybody listens");
    let _ = looks.read_to_end(&mut Vec::new()); // whoever closes first keeps the port for a while
    drop(looks);
    let became = then(listener, keeps_port);
    feed(&mut stdin, &line(3000, "GET", "/r").repeat(10));
    drop(stdin);
    let report = running.report();
    drop(became);
    report
}

/// Connections that the run has opened.
fn opened(report: &Report) -> u64 {
    report.json["phases_us"]["connect"]["count"].as_u64().unwrap()
}

/// Our ends of the connections of this host to `port` that are open, or asked for: proc(5),
/// /proc/net/tcp. One that was closed on the client's side is in another state.
fn held_open_to(port: u64) -> BTreeSet<String> {
    const HOLDING: [&str; 3] = ["01", "02", "08"]; // ESTABLISHED, SYN_SENT, CLOSE_WAIT
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let held = |l: &str| {
        let mut fields = l.split_whitespace().skip(1);
        let (own, there, state) = (fields.next()?, fields.next()?, fields.next()?);
        let remote = u64::from_str_radix(there.rsplit(':').next()?, 16).ok()?;
        (remote == port && HOLDING.contains(&state)).then(|| own.to_owned())
    };
    // A set: the file is read in pieces, and a line may come again in the next one.
    sockets.lines().filter_map(held).collect()
}
