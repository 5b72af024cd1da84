//! `perfbench flamegraph FILE`: what `export --format svg` draws, in a word that everybody knows.
//!
//! Must not: draw.

use super::no_samples::why_none;
use super::stack_args::StackArgs;
use super::{Failure, export, failed, print, usage};
use crate::workbench::Playback;
use anyhow::anyhow;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct FlamegraphArgs {
    /// The session file
    file: PathBuf,
    /// Where the SVG goes; by default FILE with .svg for its ending, - for standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "folded")]
    output: Option<PathBuf>,
    /// Print folded stacks instead, without the marks of what kind a frame is of `export --format folded`
    #[arg(long)]
    folded: bool,
    #[command(flatten)]
    samples: StackArgs,
}

/// Draws or prints the stacks of a session.
pub(super) fn flamegraph(args: &FlamegraphArgs) -> Result<(), Failure> {
    if !args.folded {
        return export::write(&args.file, "svg", &args.samples, args.output.clone());
    }
    let workbench = Playback::load(&args.file).map_err(usage)?;
    let t = workbench.timeline();
    let filter = args.samples.filter(t)?;
    match t.profile().folded(&filter, false) {
        folded if folded.is_empty() => Err(failed(anyhow!(why_none(t, &filter)))),
        folded => print(&(folded.join("\n") + "\n")),
    }
}
