//! The dispatcher's turns when users decide what is sent.
//!
//! In a closed loop every lane is one user's; the queue only gives leave to send, so that the end
//! of the run, the number of requests and pauses hold as for recorded traffic. On a schedule what
//! falls due is a user who arrives and keeps a free lane for all of its requests: those after the
//! first fall due when the answer before them is there.
//!
//! Must not: know what a user sends.

use super::{BEGUN_IN_ONE_GO, Dispatcher, Lanes};
use crate::load::stage::Cue;

impl<L: Lanes> Dispatcher<L> {
    /// In a closed loop every user is there from the start.
    pub(super) fn seat_users(&mut self) {
        let lanes = self.lanes.count();
        if let Some(stage) = self.lanes.stage().filter(|s| s.is_scripted())
            && !self.is_open
        {
            (0..lanes).for_each(|lane| stage.begin(lane as u32));
        }
    }

    /// Begins what users on free lanes do next; true: there is more to begin.
    pub(super) fn begin_scripted(&mut self) -> bool {
        for _ in 0..BEGUN_IN_ONE_GO {
            let nothing = match self.is_open {
                true => self.queue.waiting() == 0,
                // Users are as many as they are: lanes don't grow.
                false => self.idle.is_empty() && self.closed.is_empty(),
            };
            if nothing {
                return false;
            }
            let Some(lane) = self.free() else { return false };
            if self.is_open {
                self.arrive(lane);
            } else if !self.go_on(lane) {
                return false; // no leave to send at present: not for the others either
            }
        }
        true
    }

    /// A user arrives at a free lane.
    fn arrive(&mut self, lane: u32) {
        let Some(arrival) = self.queue.take(self.lanes.now()) else { return self.set_free(lane) };
        let now = self.lanes.tell_time();
        let Some(stage) = self.lanes.stage() else { return };
        stage.begin(lane);
        match stage.cue(lane, now) {
            Cue::Send => match stage.ticket(lane, arrival.due) {
                Some(ticket) => self.begin(lane, ticket),
                None => self.set_free(lane),
            },
            Cue::Rest(at) => {
                // Who arrives to pause sends nothing now, and its requests are counted when they come.
                self.queue.dealt.dropped += 1;
                self.rest(lane, at);
            }
            Cue::Left => {
                self.queue.dealt.dropped += 1;
                self.set_free(lane);
            }
        }
    }

    /// The user of a lane goes on; false when it may not send at present.
    pub(super) fn go_on(&mut self, lane: u32) -> bool {
        let now = self.lanes.now();
        let goes_home = self.is_open && self.queue.is_past_end(now);
        let Some(stage) = self.lanes.stage() else { return true };
        if goes_home {
            stage.leave(lane);
        }
        let cue = stage.cue(lane, now);
        // Judging the answer before and rendering the request took the client's time, not the target's.
        let now = self.lanes.tell_time();
        match cue {
            Cue::Rest(at) => self.rest(lane, at),
            Cue::Send if self.is_open => {
                if let Some(ticket) = self.lanes.stage().and_then(|s| s.ticket(lane, now)) {
                    self.queue.dealt.offered += 1;
                    self.begin(lane, ticket);
                }
            }
            Cue::Send => match self.queue.take(now) {
                Some(leave) => {
                    if let Some(ticket) = self.lanes.stage().and_then(|s| s.ticket(lane, leave.due)) {
                        self.begin(lane, ticket);
                    }
                }
                None => {
                    self.set_free(lane);
                    return false;
                }
            },
            Cue::Left if self.is_open => self.set_free(lane),
            Cue::Left => {
                self.lanes.has_nothing_to_do(lane);
                self.lanes.hang_up(lane);
            }
        }
        true
    }

    /// Whether users are still at it: in a closed loop until all have left, on a schedule
    /// until those have who have arrived.
    pub(super) fn users_are_done(&mut self) -> bool {
        self.lanes.stage().is_none_or(|s| !s.is_scripted() || s.playing() == 0)
    }
}
