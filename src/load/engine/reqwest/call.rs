//! One request from its beginning to its end, as a task: within its time limits, once more where
//! that does no harm, its body read and dropped.
//!
//! Must not: count; what came of it is handed to the worker.

use super::client::Client;
use super::link::Link;
use super::message::{self, Origin};
use super::verdict::{Failed, UNSENDABLE, failed};
use crate::clock::Clock;
use crate::load::Plan;
use crate::load::queue::Ticket;
use crate::load::stage::Kept;
use crate::model::{At, Outcome, Phase, Reached};
use ::reqwest::{Response, Version};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// A request to be made.
pub(super) struct Call {
    pub(super) slot: u32,
    pub(super) ticket: Ticket,
    pub(super) client: Arc<Client>,
    pub(super) origin: Arc<Origin>,
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Clock,
    /// When it was begun.
    pub(super) begun: At,
    /// What is kept of the response for those who want to see it.
    pub(super) kept: Option<Box<Kept>>,
}

/// What came of a request.
pub(super) struct Done {
    pub(super) slot: u32,
    /// A whole response's status, or how it failed.
    pub(super) outcome: Outcome,
    /// When it was sent, if it was.
    pub(super) sent: Option<At>,
    /// When the head of the response had come.
    pub(super) answered: Option<At>,
    pub(super) end: At,
    /// It was sent a second time.
    pub(super) retried: bool,
    pub(super) received_bytes: u64,
    /// Why it failed, where the outcome's name doesn't say enough.
    pub(super) why: Option<String>,
    pub(super) kept: Option<Box<Kept>>,
}

impl Call {
    /// Makes the request.
    pub(super) async fn make(mut self) -> Done {
        let mut done = Done {
            slot: self.slot,
            outcome: Outcome::ClosedEarly,
            sent: None,
            answered: None,
            end: self.begun,
            retried: false,
            received_bytes: 0,
            why: None,
            kept: self.kept.take(),
        };
        loop {
            let begun = self.client.link.begun();
            let went = self.attempt(&mut done).await;
            match went {
                Ok(status) => done.outcome = Outcome::Status(status),
                Err(failed) => {
                    let reused = self.client.link.begun() == begun;
                    if !done.retried && done.answered.is_none() && self.may_repeat(&failed, reused) {
                        done.retried = true;
                        continue;
                    }
                    (done.outcome, done.why) = (failed.outcome, failed.why);
                }
            }
            done.end = self.clock.now();
            return done;
        }
    }

    /// Whether it may be sent once more: it was not looked at, or the target closed an idle
    /// connection while the request was on its way (RFC 9112 section 9.3.1).
    fn may_repeat(&self, failed: &Failed, reused: bool) -> bool {
        const CONNRESET: Outcome = Outcome::Errno(104);
        const PIPE: Outcome = Outcome::Errno(32);
        let idle_closed = matches!(failed.outcome, Outcome::ClosedEarly | CONNRESET | PIPE);
        failed.refused || (reused && idle_closed && self.ticket.item().is_idempotent)
    }

    async fn attempt(&self, done: &mut Done) -> Result<u16, Failed> {
        let request = message::request(self.ticket.wire(), &self.origin).map_err(|why| Failed {
            outcome: Outcome::Errno(UNSENDABLE),
            refused: false,
            why: Some(why),
        })?;
        let link = &*self.client.link;
        self.client.home.asks_for(&request);
        let begun = if done.retried { self.clock.now() } else { self.begun };
        let answer = self.within(link, begun, self.client.reqwest.execute(request)).await;
        let now = self.clock.now();
        // Once its connection was there: before it or in between.
        let sent = link.established().map_or(begun, |made| made.max(begun));
        let mut response = match answer {
            None => {
                let phase = if link.is_under_way() { link.phase() } else { Phase::FirstByte };
                if phase == Phase::FirstByte {
                    done.sent.get_or_insert(sent);
                }
                return Err(Outcome::Timeout(phase).into());
            }
            Some(Err(e)) => {
                let failed = failed(&e, link.phase(), link.broken(), false);
                if !e.is_connect() && failed.outcome != Outcome::Errno(UNSENDABLE) {
                    done.sent.get_or_insert(sent);
                }
                return Err(failed);
            }
            Some(Ok(response)) => response,
        };
        let sent = *done.sent.get_or_insert(sent);
        done.answered = Some(now);
        done.received_bytes += self.head(&response, done.kept.as_deref_mut());
        let left = self.plan.timeout.saturating_sub(Duration::from_nanos(now.since_ns(sent)));
        let is_chunked = response.headers().contains_key("transfer-encoding");
        let reached = if is_chunked { Reached::Chunks } else { Reached::Body };
        match tokio::time::timeout(left, read(&mut response, done)).await {
            Ok(went) => went.map(|()| response.status().as_u16()).map_err(|failed| failed.behind_the_head(reached)),
            Err(_) => Err(Outcome::Timeout(Phase::Body).into()),
        }
    }

    /// What comes of `answer` within the time limit, which begins when the request was sent: the
    /// client has a limit of its own for connecting. None: the time is up.
    async fn within<F: Future>(&self, link: &Link, begun: At, answer: F) -> Option<F::Output> {
        let mut answer = pin!(answer);
        let mut left = self.plan.timeout;
        loop {
            if let Ok(answer) = tokio::time::timeout(left, answer.as_mut()).await {
                return Some(answer);
            }
            let now = self.clock.now();
            let sent = link.established().filter(|made| *made > begun).unwrap_or(begun);
            let (since_begun, since_sent) = (now.since_ns(begun), now.since_ns(sent));
            let all = self.plan.timeout + self.plan.connect_timeout;
            left = if link.is_under_way() {
                all.saturating_sub(Duration::from_nanos(since_begun))
            } else {
                self.plan.timeout.saturating_sub(Duration::from_nanos(since_sent))
            };
            if left.is_zero() {
                return None;
            }
            left = left.max(Duration::from_millis(1));
        }
    }

    /// Keeps the head of the response if somebody wants to see it; its length as HTTP/1.1 writes it.
    fn head(&self, response: &Response, kept: Option<&mut Kept>) -> u64 {
        let fields = response.headers();
        // "HTTP/1.1 200 OK\r\n" less the reason, and the empty line.
        let mut bytes = "HTTP/1.1 200 \r\n".len() + response.status().canonical_reason().map_or(0, str::len) + 2;
        bytes += fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
        if let Some(kept) = kept {
            let version = if response.version() == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
            let mut text = String::new();
            let reason = response.status().canonical_reason().unwrap_or_default();
            let _ = write!(text, "{version} {} {reason}\r\n", response.status().as_u16());
            let mut head = text.into_bytes();
            for (name, value) in fields {
                head.extend_from_slice(name.as_str().as_bytes());
                head.extend_from_slice(b": ");
                head.extend_from_slice(value.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            head.extend_from_slice(b"\r\n");
            kept.head(&head);
        }
        bytes as u64
    }
}

/// Reads the body to its end, piece by piece, and drops it.
async fn read(response: &mut Response, done: &mut Done) -> Result<(), Failed> {
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => {
                done.received_bytes += piece.len() as u64;
                if let Some(kept) = done.kept.as_deref_mut() {
                    kept.body(&piece);
                }
            }
            Ok(None) => return Ok(()),
            Err(e) => return Err(failed(&e, Phase::Body, None, true)),
        }
    }
}
