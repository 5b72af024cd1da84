//! Where requests come from, as the load engine sees it.
//!
//! Must not: know a log format; cli joins the traffic room to this trait.

use crate::model::{At, Fault, Request, TrafficCounts};

/// Why a source gives no more requests although it is not at its end: one line that says
/// what, where and what to do.
pub type SourceError = String;

/// Recorded requests in the order of their times.
pub trait RequestSource: Send {
    /// Puts the next request into `into`, reusing its memory; false at the end.
    ///
    /// # Errors
    /// When the recording can't be read on.
    fn next(&mut self, into: &mut Request) -> Result<bool, SourceError>;

    /// Goes back to the first request; false when the recording can be read only once.
    ///
    /// # Errors
    /// When the recording can't be opened again.
    fn restart(&mut self) -> Result<bool, SourceError>;

    /// What has been read so far.
    fn counts(&self, at: At) -> TrafficCounts;

    /// What of it could not be kept as it was recorded; asked for once, at the end of the run or of
    /// the recording.
    fn faults(&self, at: At) -> Vec<Fault> {
        let _ = at;
        Vec::new()
    }
}
