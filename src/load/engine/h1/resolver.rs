//! Names looked up beside a worker, whose loop must not wait for a name server: a few threads
//! that ask the system (getaddrinfo(3)) and ring the worker's bell with the answer.
//!
//! Must not: remember an answer; whoever asks for every connection wants to know what it costs.

use crate::clock::Clock;
use crate::load::doorbell::Doorbell;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Questions that are asked at the same time.
const THREADS: usize = 4;

/// See the top of the file. The threads end with it.
pub(super) struct Resolver {
    questions: Sender<u64>,
    answers: Receiver<Answer>,
}

/// What a name means.
pub(super) struct Answer {
    /// Whose question it was.
    pub(super) token: u64,
    /// The first address, none when the name has none.
    pub(super) address: Option<SocketAddr>,
    /// How long the system took, ns.
    pub(super) took_ns: u64,
}

impl Resolver {
    /// # Errors
    /// When no thread can be started.
    pub(super) fn new(host: &str, port: u16, clock: &Clock, bell: &Arc<Doorbell>) -> std::io::Result<Resolver> {
        let (questions, asked) = channel::<u64>();
        let (answer, answers) = channel();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..THREADS {
            let (asked, answer, host) = (asked.clone(), answer.clone(), host.to_owned());
            let (clock, bell) = (clock.clone(), bell.clone());
            std::thread::Builder::new().name("resolver".into()).spawn(move || {
                loop {
                    let question = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(token) = question else { return };
                    let began = clock.now();
                    let address = (host.as_str(), port).to_socket_addrs().ok().and_then(|mut all| all.next());
                    let took_ns = clock.now().since_ns(began);
                    if answer.send(Answer { token, address, took_ns }).is_err() {
                        return;
                    }
                    bell.ring();
                }
            })?;
        }
        Ok(Resolver { questions, answers })
    }

    /// Asks; the answer carries the token.
    pub(super) fn ask(&self, token: u64) {
        let _ = self.questions.send(token); // the threads live as long as this
    }

    /// An answer that has come.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
