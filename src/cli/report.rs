//! `perfbench report FILE`.
//!
//! Must not: change the file.

use super::args::ReportArgs;
use super::{Failure, print, usage};
use crate::workbench::Playback;

/// Prints what a session comes to.
pub(super) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let workbench = Playback::load(&args.file).map_err(usage)?;
    print(&super::run::render(&args.format, workbench.timeline()))
}
