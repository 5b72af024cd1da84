//! One worker's users, each at the place of one connection, and what is kept of responses for
//! those who judge them.
//!
//! In a closed loop a place is one user's for the whole run. On a schedule what falls due is
//! a user who arrives, takes a free place for all of its requests, and leaves.
//!
//! Must not: know sockets, or allocate once every place has had its longest request.

use super::arena::{Arena, Item};
use super::queue::Ticket;
use super::script::{Judge, Next, Script, Wants};
use super::{Plan, Rendering};
use crate::model::{Answer, At, Body, Method, Outcome, Request, Route};
use std::sync::Arc;

/// What the user at a place does next.
pub(crate) enum Cue {
    /// Its request is rendered: [`Stage::ticket`].
    Send,
    /// Nothing before this instant.
    Rest(At),
    /// It has left.
    Left,
}

/// See the top of the file.
pub(crate) struct Stage {
    script: Option<Box<dyn Script>>,
    judge: Option<Arc<dyn Judge>>,
    rendering: Rendering,
    body_bound: usize,
    places: Vec<Place>,
    request: Request,
    /// Users who have not left.
    playing: usize,
}

#[derive(Default)]
struct Place {
    /// The user's present request; nobody else holds it once that has ended.
    arena: Arc<Arena>,
    is_taken: bool,
    /// A request is rendered and not begun.
    is_ready: bool,
}

/// What is kept of a response.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    wants: Wants,
    bound: usize,
    head: Vec<u8>,
    body: Vec<u8>,
    is_cut: bool,
}

impl Kept {
    /// Begins with the next response.
    pub(crate) fn clear(&mut self, wants: Wants, bound: usize) {
        self.wants = wants;
        self.bound = bound;
        self.head.clear();
        self.body.clear();
        self.is_cut = false;
    }

    /// The head of the response; of an earlier one nothing is kept.
    pub(crate) fn head(&mut self, bytes: &[u8]) {
        if self.wants.head {
            self.head.clear();
            self.head.extend_from_slice(bytes);
        }
    }

    /// A piece of its content.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        if self.wants.body {
            let room = self.bound - self.body.len().min(self.bound);
            self.is_cut |= bytes.len() > room;
            self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

impl Stage {
    /// The stage of a worker with so many connections; none when nobody plays or judges.
    pub(crate) fn new(plan: &Plan, worker: u16, connections: usize) -> Option<Stage> {
        let script = plan.scripts.as_ref().map(|s| s.of_worker(u32::from(worker), plan.threads));
        if script.is_none() && plan.judge.is_none() {
            return None;
        }
        let places = if script.is_some() { connections } else { 0 };
        Some(Stage {
            script,
            judge: plan.judge.clone(),
            rendering: plan.rendering.clone(),
            body_bound: plan.body_bound,
            places: (0..places).map(|_| Place::default()).collect(),
            request: blank(),
            playing: 0,
        })
    }

    /// Whether users decide what is sent.
    pub(crate) fn is_scripted(&self) -> bool {
        self.script.is_some()
    }

    /// How many users have not left.
    pub(crate) fn playing(&self) -> usize {
        self.playing
    }

    /// A user arrives at a place.
    pub(crate) fn begin(&mut self, place: u32) {
        let Some(script) = &mut self.script else { return };
        if self.places.len() <= place as usize {
            self.places.resize_with(place as usize + 1, Place::default);
        }
        let Some(at) = self.places.get_mut(place as usize) else { return };
        script.begin(place);
        self.playing += usize::from(!at.is_taken);
        (at.is_taken, at.is_ready) = (true, false);
    }

    /// The user at a place leaves, whatever it still had to do.
    pub(crate) fn leave(&mut self, place: u32) {
        if let Some(at) = self.places.get_mut(place as usize).filter(|p| p.is_taken) {
            (at.is_taken, at.is_ready) = (false, false);
            self.playing -= 1;
        }
    }

    /// What the user at a place does next.
    pub(crate) fn cue(&mut self, place: u32, now: At) -> Cue {
        let (Some(script), Some(at)) = (&mut self.script, self.places.get_mut(place as usize)) else {
            return Cue::Left;
        };
        if !at.is_taken {
            return Cue::Left;
        }
        if at.is_ready {
            return Cue::Send;
        }
        match script.next(place, &mut self.request) {
            Next::Send => {
                // Held by nobody else, but for a request that was given up in mid-air.
                if Arc::get_mut(&mut at.arena).is_none() {
                    at.arena = Arc::default();
                }
                if let Some(arena) = Arc::get_mut(&mut at.arena) {
                    arena.clear();
                    arena.push(&self.request, 0, &self.rendering);
                }
                at.is_ready = true;
                Cue::Send
            }
            Next::Think(ns) => Cue::Rest(At(now.0.saturating_add(ns.max(1)))),
            Next::Ended => {
                at.is_taken = false;
                self.playing -= 1;
                Cue::Left
            }
        }
    }

    /// The request that is ready at a place, due at `due`.
    pub(crate) fn ticket(&mut self, place: u32, due: At) -> Option<Ticket> {
        let at = self.places.get_mut(place as usize).filter(|p| p.is_ready)?;
        at.is_ready = false;
        Some(Ticket::of(at.arena.clone(), due))
    }

    /// Readies `kept` for the response to the request of a connection; not at all when nobody
    /// wants to see anything.
    pub(crate) fn keep(&self, place: u32, kept: &mut Option<Box<Kept>>) {
        let judged = self.judge.as_ref().map_or(Wants::default(), |j| j.wants());
        let wants = self.script.as_ref().map_or(judged, |s| judged.or(s.wants(place)));
        if wants.any() || kept.is_some() {
            kept.get_or_insert_default().clear(wants, self.body_bound);
        }
    }

    /// What a whole response to `asked` comes to.
    pub(crate) fn answered(&mut self, place: u32, status: u16, asked: &Item, kept: Option<&Kept>) -> Outcome {
        let answer = Answer {
            status,
            head: kept.map_or(&[], |k| &k.head),
            body: kept.map_or(&[], |k| &k.body),
            is_cut: kept.is_some_and(|k| k.is_cut),
            is_of_head: asked.is_head,
        };
        // Both are told: a script has to take from the answer what later requests need.
        let scripted = self.script.as_mut().map_or(Ok(()), |s| s.answered(place, &answer));
        let judged = self.judge.as_ref().map_or(Ok(()), |j| j.check(asked.recorded_status, &answer));
        match scripted.and(judged) {
            Ok(()) => Outcome::Status(status),
            Err(kind) => Outcome::Check(kind),
        }
    }

    /// A request ended without a whole response.
    pub(crate) fn unanswered(&mut self, place: u32) {
        if let Some(script) = &mut self.script {
            script.unanswered(place);
        }
    }
}

fn blank() -> Request {
    Request {
        recorded_unix_ns: 0,
        method: Method::Get,
        path: String::new(),
        host: None,
        headers: Vec::new(),
        body: Body::default(),
        route: Route { id: 0, name: "".into() },
        client: 0,
        recorded_status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_body_its_beginning_is_kept_and_that_it_was_longer() {
        let mut kept = Kept::default();
        kept.clear(Wants { head: false, body: true }, 5);
        kept.head(b"HTTP/1.1 200 OK\r\n");
        kept.body(b"abc");
        kept.body(b"de");
        assert!(!kept.is_cut);
        kept.body(b"f");
        kept.body(b"g");
        assert_eq!((&*kept.head, &*kept.body, kept.is_cut), (&b""[..], &b"abcde"[..], true));
        kept.clear(Wants { head: true, body: false }, 5);
        kept.body(b"x");
        kept.head(b"one");
        kept.head(b"two");
        assert_eq!((&*kept.head, &*kept.body, kept.is_cut), (&b"two"[..], &b""[..], false));
    }
}
