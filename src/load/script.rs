//! What the load engine asks of those who decide, answer by answer, what is sent next
//! ([`Script`]) or whether an answer is good ([`Judge`]); cli joins the traffic room to these.
//!
//! Must not: know what a scenario is, or how requests are sent.

use crate::model::{Answer, CheckKind, RecordedStatus, Request};
use std::fmt::Debug;

/// What a user does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It sends the request that was filled in.
    Send,
    /// It pauses this long, ns, and is asked again.
    Think(u64),
    /// It is done.
    Ended,
}

/// What of a response has to be kept until it is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Status line and fields.
    pub head: bool,
    /// The content, up to the plan's bound.
    pub body: bool,
}

impl Wants {
    /// Whether it is anything at all.
    pub fn any(self) -> bool {
        self.head || self.body
    }

    /// What either wants.
    pub fn or(self, other: Wants) -> Wants {
        Wants { head: self.head || other.head, body: self.body || other.body }
    }
}

/// The users of one worker. Each of its connections is the place of one user at a time.
pub trait Script: Send {
    /// A user begins at a place; who was there before is gone.
    fn begin(&mut self, place: u32);

    /// What the user at a place does next; a request is put into `into`, reusing its memory.
    /// Never two pauses in a row, so that asking again comes to something.
    fn next(&mut self, place: u32, into: &mut Request) -> Next;

    /// The user's request was answered.
    ///
    /// # Errors
    /// What of the answer was not as expected.
    fn answered(&mut self, place: u32, answer: &Answer<'_>) -> Result<(), CheckKind>;

    /// The user's request ended without a whole response.
    fn unanswered(&mut self, place: u32);

    /// What has to be kept of the response to the user's request.
    fn wants(&self, place: u32) -> Wants;
}

/// Gives each worker its script.
pub trait Scripts: Send + Sync + Debug {
    /// The script of worker `worker` of `workers`.
    fn of_worker(&self, worker: u32, workers: u32) -> Box<dyn Script>;
}

/// Judges answers to requests of any source.
pub trait Judge: Send + Sync + Debug {
    /// What of each response it has to see.
    fn wants(&self) -> Wants;

    /// Whether an answer is as expected; `recorded`: the status that the request was recorded
    /// with, if it was with one.
    ///
    /// # Errors
    /// What of the answer was not as expected.
    fn check(&self, recorded: Option<RecordedStatus>, answer: &Answer<'_>) -> Result<(), CheckKind>;
}
