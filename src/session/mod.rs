//! The session room: a run kept as one SQLite file, written while it goes on and read back
//! as exactly the events that were written, in exactly their order.
//!
//! [`Writer`] takes each [`Event`](crate::model::Event) and commits at least every 250 ms of
//! event time; [`Reader`] gives them back in batches, also while the file is still being
//! written. Tables and columns are described in `docs/session-schema.md`; they hold raw
//! values, so that `sqlite3 FILE` is as good a reader as ours.
//!
//! The law: reading gives back the same events, every field, in the order of writing. What a
//! file from elsewhere holds beyond that is refused ([`SessionError`]) or skipped and
//! counted ([`Unread`]), never guessed.
//!
//! Must not: read clocks (event time decides when to commit), redact (done before events
//! come here), derive rates or percentiles, or open a session's file by any way but SQLite:
//! closing such a descriptor would drop the locks SQLite holds in this process.

mod error;
mod file;
mod owner;
mod reader;
mod rows;
mod schema;
mod stacks;
mod writer;

pub use error::SessionError;
pub use reader::Reader;
pub use rows::Unread;
pub use schema::{APPLICATION_ID, SCHEMA_VERSION};
pub use writer::Writer;
