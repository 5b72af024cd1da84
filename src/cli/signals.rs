//! Signals that ask a run without a screen to end, or tell it that it was stopped.
//!
//! Must not: be used beside the screen, which has its own.

use crate::workbench::Interrupt;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Counts SIGINT, SIGTERM and SIGHUP in `interrupt` from now on, and tells it of SIGCONT.
///
/// # Errors
/// When the handlers can't be set.
pub(super) fn watch(interrupt: &Interrupt) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCONT])?;
    let interrupt = interrupt.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            signals.forever().for_each(|signal| match signal {
                SIGCONT => interrupt.go_on(),
                _ => interrupt.raise(),
            });
        })
        .map(drop)
}
