//! `perfbench export FILE --format NAME`: a session's stacks for other tools.
//!
//! Must not: know a format.

use super::no_samples::why_none;
use super::stack_args::StackArgs;
use super::{Failure, failed, print, tell, usage};
use crate::report::export::{Chosen, EXPORTS, ExportError};
use crate::workbench::Playback;
use anyhow::{Context as _, anyhow};
use clap::builder::PossibleValuesParser;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The session file
    #[arg(required_unless_present = "formats")]
    file: Option<PathBuf>,
    /// Format to write
    #[arg(long, value_name = "NAME", required_unless_present = "formats",
          value_parser = PossibleValuesParser::new(EXPORTS.iter().map(|e| e.name())))]
    format: Option<String>,
    /// Where it goes; by default FILE with the format's ending, - for standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// List the formats
    #[arg(long)]
    formats: bool,
    #[command(flatten)]
    samples: StackArgs,
}

/// Writes a session's stacks.
pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let (Some(file), Some(format), false) = (&args.file, &args.format, args.formats) else {
        let list = EXPORTS.iter().map(|e| format!("{:10}  .{:15}  {}\n", e.name(), e.ending(), e.about()));
        return print(&list.collect::<String>());
    };
    write(file, format, &args.samples, args.output.clone())
}

/// Writes the samples that are meant in a format, by default beside the session.
pub(super) fn write(file: &Path, format: &str, samples: &StackArgs, output: Option<PathBuf>) -> Result<(), Failure> {
    let Some(export) = EXPORTS.iter().find(|e| e.name() == format) else {
        return Err(usage(anyhow!("there is no format `{format}`")));
    };
    let workbench = Playback::load(file).map_err(usage)?;
    let t = workbench.timeline();
    let filter = samples.filter(t)?;
    let bytes = export.write(&Chosen { timeline: t, filter: &filter }).map_err(|e| match e {
        ExportError::Empty => failed(anyhow!(why_none(t, &filter))),
        other => failed(other),
    })?;
    let output = output.unwrap_or_else(|| file.with_extension(export.ending()));
    if output.as_os_str() == "-" {
        return match std::io::stdout().lock().write_all(&bytes) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(failed(e)),
            _ => Ok(()),
        };
    }
    if matches!((output.canonicalize(), file.canonicalize()), (Ok(a), Ok(b)) if a == b) {
        return Err(usage(anyhow!("{} is the session itself; give -o OUT", output.display())));
    }
    std::fs::write(&output, bytes).with_context(|| format!("{} can't be written", output.display())).map_err(failed)?;
    tell(format, &output);
    Ok(())
}
