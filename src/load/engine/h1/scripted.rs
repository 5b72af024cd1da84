//! The loop's turns when users decide what is sent.
//!
//! In a closed loop every connection is one user's; the queue only gives leave to send, so
//! that the end of the run, the number of requests and pauses hold as for recorded traffic. On a
//! schedule what falls due is a user who arrives and takes a free connection for all of its
//! requests: those after the first fall due when the answer before them is there.
//!
//! Must not: know what a user sends.

use super::{BEGUN_IN_ONE_GO, Loop, NEVER};
use crate::load::stage::{Cue, Stage};
use crate::model::At;
use std::cmp::Reverse;

impl Loop {
    /// Whether users decide what is sent.
    pub(super) fn is_scripted(&self) -> bool {
        self.shared.stage.as_ref().is_some_and(Stage::is_scripted)
    }

    /// In a closed loop every user is there from the start.
    pub(super) fn seat_users(&mut self) {
        if self.shared.is_open {
            return;
        }
        let places = self.connections.len();
        if let Some(stage) = self.shared.stage.as_mut().filter(|s| s.is_scripted()) {
            (0..places).for_each(|place| stage.begin(place as u32));
        }
    }

    /// Begins what users on free connections do next; true: there is more to begin.
    pub(super) fn begin_scripted(&mut self) -> bool {
        let is_open_loop = self.shared.is_open;
        for _ in 0..BEGUN_IN_ONE_GO {
            if is_open_loop && self.queue.waiting() == 0 {
                return false;
            }
            if !is_open_loop && self.idle.is_empty() && self.closed.is_empty() {
                return false; // users are as many as they are: connections don't grow
            }
            let Some(number) = self.free() else { return false };
            if is_open_loop {
                self.arrive(number);
            } else if !self.go_on(number) {
                return false; // no leave to send at present: not for the others either
            }
        }
        true
    }

    /// A user arrives at a free connection.
    fn arrive(&mut self, number: u32) {
        let Some(arrival) = self.queue.take(self.shared.now) else { return self.set_free(number) };
        let now = self.shared.tell_time();
        let Some(stage) = &mut self.shared.stage else { return };
        stage.begin(number);
        match stage.cue(number, now) {
            Cue::Send => match stage.ticket(number, arrival.due) {
                Some(ticket) => self.begin(number, ticket),
                None => self.set_free(number),
            },
            Cue::Rest(at) => {
                // Who arrives to pause sends nothing now, and its requests are counted when they come.
                self.queue.dealt.dropped += 1;
                self.rest(number, at);
            }
            Cue::Left => {
                self.queue.dealt.dropped += 1;
                self.set_free(number);
            }
        }
    }

    /// The user of a connection goes on; false when it may not send at present.
    pub(super) fn go_on(&mut self, number: u32) -> bool {
        let now = self.shared.now;
        let is_open_loop = self.shared.is_open;
        let Some(stage) = &mut self.shared.stage else { return true };
        if is_open_loop && self.queue.is_past_end(now) {
            stage.leave(number);
        }
        let cue = stage.cue(number, now);
        // Judging the answer before and rendering the request took the client's time, not the target's.
        let now = self.shared.tell_time();
        match cue {
            Cue::Rest(at) => self.rest(number, at),
            Cue::Send if is_open_loop => {
                if let Some(ticket) = self.shared.stage.as_mut().and_then(|s| s.ticket(number, now)) {
                    self.queue.dealt.offered += 1;
                    self.begin(number, ticket);
                }
            }
            Cue::Send => match self.queue.take(now) {
                Some(leave) => {
                    if let Some(ticket) = self.shared.stage.as_mut().and_then(|s| s.ticket(number, leave.due)) {
                        self.begin(number, ticket);
                    }
                }
                None => {
                    self.set_free(number);
                    return false;
                }
            },
            Cue::Left if is_open_loop => self.set_free(number),
            Cue::Left => {
                self.shared.deadlines[number as usize] = NEVER;
                self.connections[number as usize].hang_up();
            }
        }
        true
    }

    /// The connection does nothing before `at`.
    pub(super) fn rest(&mut self, number: u32, at: At) {
        self.shared.deadlines[number as usize] = NEVER;
        self.resting.push(Reverse((at, number)));
    }

    /// The connection can take whatever comes next.
    pub(super) fn set_free(&mut self, number: u32) {
        self.shared.deadlines[number as usize] = NEVER;
        let is_open = self.connections[number as usize].is_open();
        if is_open { &mut self.idle } else { &mut self.closed }.push(number);
    }

    /// Whether users are still at it: in a closed loop until all have left, on a schedule
    /// until those have who have arrived.
    pub(super) fn users_are_done(&self) -> bool {
        self.shared.stage.as_ref().is_none_or(|s| !s.is_scripted() || s.playing() == 0)
    }
}
