//! The ui room (stub for building until the branch lands).
use crate::model::At;
use crate::workbench::*;
/// o
#[derive(Default)]
pub struct Options {
    /// t
    pub theme: Theme,
    /// t
    pub ascii: bool,
    /// t
    pub playback: Option<Playback>,
}
/// t
pub struct Playback {
    /// t
    pub speed: f64,
    /// t
    pub at: Option<At>,
}
/// t
#[derive(Default)]
pub struct Theme;
impl Theme {
    /// t
    pub fn pick(_: &str, _: bool, _: bool) -> Theme {
        Theme
    }
}
/// r
pub fn run(_w: &mut Workbench, _f: &mut dyn Feed, _o: Options) -> anyhow::Result<()> {
    Ok(())
}
