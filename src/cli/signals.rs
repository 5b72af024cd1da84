//! Signals that ask a run without a screen to end.
//!
//! Must not: be used beside the screen, which has its own.

use crate::workbench::Interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Counts SIGINT, SIGTERM and SIGHUP in `interrupt` from now on.
///
/// # Errors
/// When the handlers can't be set.
pub(super) fn watch(interrupt: &Interrupt) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let interrupt = interrupt.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || signals.forever().for_each(|_| interrupt.raise()))
        .map(drop)
}
