//! Bytes to requests: recorded traffic is opened, split into lines, understood, and handed
//! out as [`crate::model::Request`]s in time order.
//!
//! The path of a line, and the file that is about it:
//!
//! ```text
//! input          files, stdin, .gz, .zst  ->  lines of bounded length
//! formats        which notation is it     ->  pattern (literal) / one parser each
//! framed         records that are not lines: captures, HAR, ammo, targets, lists
//! record         a line's fields, borrowed from the line
//! request_line   "GET /x HTTP/1.1"        ->  method, path, host, or a Reason why not
//! order, arena   a window per file puts late lines back into time order
//! intake         a line or a Reason to skip  ->  waits in its window
//! sieve, rewrite which requests are replayed, and how they are changed first
//! route          /product/17              ->  /product/{}
//! reader         joins them, merges the files, counts everything
//! scenario       load that is described rather than recorded
//! ```
//!
//! look (rates, chart, missing) and write (notation) are what `perfbench traffic` shows and writes.
//!
//! What is skipped is counted by [`Reason`]; what is in a recording at all is
//! in [`Summary`]. `docs/formats.md` explains it to users.
//!
//! Must not: import another room, send anything, read clocks, or hold more of a log than
//! the window's bound.

mod alb;
mod apache;
mod arena;
mod chart;
mod distinct;
mod envelope;
mod error;
mod filter;
mod formats;
mod framed;
mod glob;
mod guess;
mod haproxy;
mod input;
mod intake;
mod json;
mod json_keys;
mod ledger;
mod literal;
mod look;
mod methods;
mod missing;
mod nginx_conf;
mod notation;
mod order;
mod pattern;
mod rates;
mod reader;
mod record;
mod request_line;
mod rewrite;
mod route;
pub mod scenario;
mod sieve;
mod slice;
mod strftime;
mod summary;
mod time;
mod top;
mod values;
mod variables;
mod w3c;
mod write;

pub use chart::{chart, per_s};
pub use error::TrafficError;
pub use filter::Filter;
pub use formats::{FormatRow, formats};
pub use input::{MAX_LINE_BYTES, Source};
pub use ledger::Reason;
pub use look::{Look, is_secret_field};
pub use methods::MethodFilter;
pub use missing::{Missing, missing};
pub use notation::{NOTATIONS, Notation};
pub use rates::Rates;
pub use reader::{Choice, Options, Reader};
pub use rewrite::{Prefix, QueryField, Rewrite};
pub use route::{OTHER_ROUTES, RoutePattern};
pub use sieve::{Sample, Sieve};
pub use slice::Moment;
pub use summary::Summary;
pub use top::Frequent;
pub use write::{WriteError, Writer, Written};

/// The log that comes with perfbench, gzip-compressed: a small shop, ten minutes, made by
/// `assets/demo/make.py`. Open it with [`Source::Bytes`].
pub const DEMO_LOG: &[u8] = include_bytes!("../../assets/demo/access.log.gz");
