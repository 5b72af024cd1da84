//! perfbench: a terminal workbench for one question, where does the time go?
//!
//! The rooms in import order; `tests/layering.rs` holds the table of who may import whom.
//! [`model::Event`] is the only thing that crosses from the producing rooms (traffic, load,
//! host, profile) to the rest, and `workbench::Workbench::ingest` is its only door.

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
