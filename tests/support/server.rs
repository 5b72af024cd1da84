//! A server that does what a test says, byte by byte, and keeps account of what it was asked.
//!
//! Must not: follow HTTP any further than to find where a request ends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// One thing to do on a connection.
#[derive(Clone, Debug)]
pub enum Do {
    Send(Vec<u8>),
    Wait(Duration),
    /// Send the bytes again and again until the client is gone.
    Flood(Vec<u8>),
    /// End the connection with FIN.
    Close,
    /// End our direction with FIN, and go on reading until the client ends its own.
    HalfClose,
    /// End it with RST.
    Reset,
    /// Read this many bytes of what comes, no further than they are there in one piece.
    Read(usize),
    /// Neither read nor close.
    Ignore,
    /// Neither answer nor close.
    Hang,
    /// Take no more connections, and refuse new ones.
    StopListening,
}

impl Do {
    pub fn send(bytes: impl AsRef<[u8]>) -> Do {
        Do::Send(bytes.as_ref().to_vec())
    }

    pub fn wait_ms(ms: u64) -> Do {
        Do::Wait(Duration::from_millis(ms))
    }
}

/// A plain 200 with a body of two bytes.
pub fn ok() -> Vec<Do> {
    vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Number of its connection, from 0, in the order of their first requests.
    pub connection: usize,
    /// Number of the request on its connection, from 0.
    pub on_connection: usize,
    /// Number of the request on the server, from 0.
    pub nth: usize,
    /// Its head.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
    /// When it was whole.
    pub at: Instant,
}

impl Asked {
    /// The path it asks for.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Values of a header field.
    pub fn field(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|l| l.split_once(": "));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }
}

type Script = dyn Fn(&Asked) -> Vec<Do> + Send + Sync;
type Greeting = dyn Fn(usize) -> Vec<Do> + Send + Sync;

struct Shared {
    greeting: Box<Greeting>,
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    connections: Mutex<usize>,
    closed: AtomicBool,
    stall: (Mutex<bool>, Condvar),
}

/// A listening server; it takes no more connections when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts a server that answers each request by what `script` says.
    pub fn start(script: impl Fn(&Asked) -> Vec<Do> + Send + Sync + 'static) -> Server {
        Server::greeting(|_| Vec::new(), script)
    }

    /// The same, and carries out what `greeting` says on each connection before anything was
    /// asked; it is given the connection's number in the order they were accepted, from 0. The
    /// first one of a run is its look whether anybody is there, and carries no request.
    pub fn greeting(
        greeting: impl Fn(usize) -> Vec<Do> + Send + Sync + 'static,
        script: impl Fn(&Asked) -> Vec<Do> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            greeting: Box::new(greeting),
            script: Box::new(script),
            asked: Mutex::default(),
            accepted: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
            stall: Default::default(),
        });
        let mine = shared.clone();
        std::thread::spawn(move || {
            while !mine.closed.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let mine = mine.clone();
                        let number = mine.accepted.fetch_add(1, Ordering::SeqCst);
                        std::thread::spawn(move || {
                            mine.converse(stream, number);
                            mine.ended.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Server { address, shared }
    }

    /// A server that answers everything with [`ok`].
    pub fn answering() -> Server {
        Server::start(|_| ok())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in the order they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.shared.asked.lock().unwrap().len() as u64
    }

    /// How many connections have carried a request.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// How many connections were accepted, with or without a request.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Takes no more connections, and waits until those that were accepted have ended.
    pub fn wait_for_ends(&self) {
        let started = Instant::now();
        self.shared.closed.store(true, Ordering::SeqCst);
        self.stall(false);
        while self.shared.ended.load(Ordering::SeqCst) < self.accepted() {
            assert!(started.elapsed() < Duration::from_secs(20), "connections without an end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits until `n` requests have come.
    pub fn wait_for(&self, n: u64) {
        let started = Instant::now();
        while self.requests() < n {
            assert!(started.elapsed() < Duration::from_secs(20), "{} requests in 20 s", self.requests());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops answering, or goes on.
    pub fn stall(&self, on: bool) {
        *self.shared.stall.0.lock().unwrap() = on;
        self.shared.stall.1.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.stall(false);
    }
}

impl Shared {
    fn converse(&self, mut stream: TcpStream, number: usize) {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        for step in (self.greeting)(number) {
            if !self.carry_out(step, &mut stream) {
                return;
            }
        }
        let (mut held, mut piece) = (Vec::new(), [0u8; 4096]);
        let (mut connection, mut on_connection) = (None, 0);
        loop {
            let head_length = loop {
                if let Some(n) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                    break n + 4;
                }
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => held.extend_from_slice(&piece[..n]),
                    _ => return,
                }
            };
            let head = String::from_utf8_lossy(&held[..head_length]).into_owned();
            held.drain(..head_length);
            let is_length = |l: &&str| l.to_ascii_lowercase().starts_with("content-length:");
            let length = head.lines().find(is_length).map_or(0, |l| l[15..].trim().parse().unwrap());
            while held.len() < length {
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => held.extend_from_slice(&piece[..n]),
                    _ => return,
                }
            }
            let body = held.drain(..length).collect();
            let asked = {
                let mut all = self.asked.lock().unwrap();
                let connection = *connection.get_or_insert_with(|| {
                    let mut n = self.connections.lock().unwrap();
                    *n += 1;
                    *n - 1
                });
                let nth = all.len();
                all.push(Asked { connection, on_connection, nth, head, body, at: Instant::now() });
                all.last().unwrap().clone()
            };
            on_connection += 1;
            let mut stalled = self.stall.0.lock().unwrap();
            while *stalled {
                stalled = self.stall.1.wait(stalled).unwrap();
            }
            drop(stalled);
            for step in (self.script)(&asked) {
                if !self.carry_out(step, &mut stream) {
                    return;
                }
            }
        }
    }

    /// Whether the connection goes on.
    fn carry_out(&self, step: Do, stream: &mut TcpStream) -> bool {
        match step {
            Do::Send(bytes) => stream.write_all(&bytes).is_ok(),
            Do::Wait(time) => {
                std::thread::sleep(time);
                true
            }
            Do::Flood(bytes) => {
                // Not as fast as can be: other tests run beside this one.
                while stream.write_all(&bytes).is_ok() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                false
            }
            Do::Close => false,
            Do::HalfClose => {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
                false
            }
            Do::Read(n) => stream.read(&mut vec![0; n]).is_ok(),
            Do::Ignore => {
                let mut waits = self.stall.0.lock().unwrap();
                while !self.closed.load(Ordering::SeqCst) {
                    waits = self.stall.1.wait(waits).unwrap();
                }
                false
            }
            Do::Reset => {
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                false
            }
            Do::Hang => {
                let _ = stream.read_to_end(&mut Vec::new());
                false
            }
            Do::StopListening => {
                self.closed.store(true, Ordering::SeqCst);
                true
            }
        }
    }
}
