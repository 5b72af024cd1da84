//! The dispatcher's turns when users decide what is sent: a slot is the place of one user.
//!
//! In a closed loop the queue only gives leave to send. On a schedule what falls due is a user
//! who arrives and keeps a slot for all of its requests; those after the first fall due when
//! the answer before them is there.
//!
//! Must not: know what a user sends.

use super::{BEGUN_IN_ONE_GO, Loop};
use crate::load::stage::{Cue, Stage};
use std::cmp::Reverse;

impl Loop {
    /// Whether users decide what is sent.
    pub(super) fn is_scripted(&self) -> bool {
        self.stage.as_ref().is_some_and(Stage::is_scripted)
    }

    /// In a closed loop every user is there from the start.
    pub(super) fn seat_users(&mut self) {
        let places = self.slots.len();
        if let Some(stage) = self.stage.as_mut().filter(|s| s.is_scripted() && !self.is_open) {
            (0..places).for_each(|place| stage.begin(place as u32));
        }
    }

    /// Begins what users in free slots do next; true: there is more to begin.
    pub(super) fn begin_scripted(&mut self) -> bool {
        for _ in 0..BEGUN_IN_ONE_GO {
            let nothing = if self.is_open { self.queue.waiting() == 0 } else { self.free.is_empty() };
            if nothing {
                return false;
            }
            let Some(slot) = self.free_slot() else { return false };
            if self.is_open {
                self.arrive(slot);
            } else if !self.go_on(slot) {
                return false; // no leave to send at present: not for the others either
            }
        }
        true
    }

    /// A user arrives at a free slot.
    fn arrive(&mut self, slot: u32) {
        let now = self.tell_time();
        let Some(arrival) = self.queue.take(now) else { return self.free.push(slot) };
        let Some(stage) = &mut self.stage else { return };
        stage.begin(slot);
        match stage.cue(slot, now) {
            Cue::Send => match stage.ticket(slot, arrival.due) {
                Some(ticket) => self.begin(slot, ticket),
                None => self.free.push(slot),
            },
            Cue::Rest(at) => {
                // Who arrives to pause sends nothing now, and its requests are counted when they come.
                self.queue.dealt.dropped += 1;
                self.resting.push(Reverse((at, slot)));
            }
            Cue::Left => {
                self.queue.dealt.dropped += 1;
                self.free.push(slot);
            }
        }
    }

    /// The user of a slot goes on; false when it may not send at present.
    pub(super) fn go_on(&mut self, slot: u32) -> bool {
        let is_open = self.is_open;
        let Some(stage) = &mut self.stage else { return true };
        if is_open && self.queue.is_past_end(self.now) {
            stage.leave(slot);
        }
        let cue = stage.cue(slot, self.now);
        // Judging the answer before and rendering the request took the client's time, not the target's.
        let now = self.tell_time();
        match cue {
            Cue::Rest(at) => self.resting.push(Reverse((at, slot))),
            Cue::Send if is_open => {
                if let Some(ticket) = self.stage.as_mut().and_then(|s| s.ticket(slot, now)) {
                    self.queue.dealt.offered += 1;
                    self.begin(slot, ticket);
                }
            }
            Cue::Send => match self.queue.take(now) {
                Some(leave) => {
                    if let Some(ticket) = self.stage.as_mut().and_then(|s| s.ticket(slot, leave.due)) {
                        self.begin(slot, ticket);
                    }
                }
                None => {
                    self.free.push(slot);
                    return false;
                }
            },
            Cue::Left if is_open => self.free.push(slot),
            Cue::Left => {}
        }
        true
    }

    /// Whether users are still at it: in a closed loop until all have left, on a schedule
    /// until those have who have arrived.
    pub(super) fn users_are_done(&self) -> bool {
        self.stage.as_ref().is_none_or(|s| !s.is_scripted() || s.playing() == 0)
    }
}
