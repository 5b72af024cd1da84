//! Engines: how a request is put on the wire and its response read. One file and one row of
//! [`ENGINES`] each; pacing, stopping and recording come by themselves.
//!
//! Must not: decide when a request falls due.

mod dispatch;
mod h1;
mod head;
mod reqwest;
mod response;

pub use head::Heads;
pub use response::{Bad, Limits, Response};

use super::doorbell::Doorbell;
use super::gate::Gate;
use super::supply::Taker;
use super::{Control, Plan, share};
use crate::clock::Clock;
use crate::model::Event;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// A way to send requests.
pub trait Engine: Sync {
    /// Its name, as given on the command line.
    fn name(&self) -> &'static str;
    /// One line on what it is for.
    fn about(&self) -> &'static str;
    /// Runs one worker on the calling thread until its supply is at its end or the run is
    /// stopped. Arrives at the worker's gate once it could send, before its first request.
    fn work(&self, worker: Worker);
}

/// Every engine there is; the first is the default.
pub static ENGINES: &[&dyn Engine] = &[&h1::H1, &reqwest::Reqwest];

/// What a worker is given.
pub struct Worker {
    pub(crate) index: u16,
    pub(crate) plan: Arc<Plan>,
    pub(crate) supply: Taker,
    /// Rung when there is something to look at: requests, or the end of the run.
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) clock: Clock,
    pub(crate) out: SyncSender<Event>,
    pub(crate) control: Arc<Control>,
    pub(crate) gate: Arc<Gate>,
}

impl Worker {
    /// How many of the plan's connections are this worker's.
    fn lanes(&self) -> u32 {
        share(self.plan.connections, self.plan.threads, u32::from(self.index))
    }
}
