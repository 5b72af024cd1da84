//! perfbench: a terminal workbench for one question, where does the time go?
//!
//! The rooms, in import order (`tests/layering.rs` holds the table of who may import whom):
//!
//! ```text
//! model      plain data that crosses between rooms: Event, Interval, Readings, Stacks, ...
//! clock      the only reader of clocks
//! traffic    recorded bytes -> Request
//! load       Request -> wire; one Interval per worker per tick
//! host       the kernel's counters -> Readings
//! profile    perf -> Stacks
//! session    events <-> one SQLite file
//! timeline   the fold of all events, and the View that everybody reads through
//! diagnosis  rules over a View -> Finding
//! report     a timeline as text, JSON, SVG
//! workbench  Workbench::ingest, the only door; Feeds: live and playback
//! lab        targets with a known bottleneck
//! ui         the screen
//! cli        arguments -> a resolved plan; joins the rooms
//! ```
//!
//! One path: the producing rooms (traffic, load, host, profile) make [`model::Event`]s, a
//! [`workbench::Feed`] brings them to [`workbench::Workbench::ingest`], which folds them into a
//! [`timeline::Timeline`] and keeps them in a session. Live, headless and playback differ in
//! the feed and in nothing else.

pub mod model;

pub mod clock;

pub mod traffic;

pub mod load;

pub mod host;

pub mod profile;

pub mod session;

pub mod timeline;

pub mod diagnosis;

pub mod report;

pub mod workbench;

pub mod lab;

pub mod ui;

pub mod cli;
