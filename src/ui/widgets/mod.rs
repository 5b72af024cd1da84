//! What panes are painted with: text, bars, charts. Each knows shapes and nothing of
//! perfbench's readings.
//!
//! Must not: read a timeline, or paint outside its area.

mod bar;
mod braille;
mod canvas;
mod frame;
mod heat;
mod table;

pub use bar::{Gauge, spark, stacked};
pub use braille::Dots;
pub use canvas::Canvas;
pub use frame::Grid;
pub use heat::{Heat, HeatColumn};
pub use table::{Column, Row, Table};

pub(super) use canvas::to_ascii;
