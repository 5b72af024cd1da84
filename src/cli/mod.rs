//! Arguments to a resolved plan; one file per subcommand. Joins the rooms: traffic to load,
//! host and profile to the live feed, feeds to the screen or to a headless run.
//!
//! Exit codes: 0 done, 1 a run failed, 2 wrong use (arguments or files), 128 and a signal's number
//! when it ended the screen. A run without a screen is ended by a signal in good order: 0.
//!
//! Must not: hold logic that a room could hold.

/// `eprintln!` that does not panic when nobody reads standard error any more.
macro_rules! say_err {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}

mod args;
mod connect;
mod diff;
mod doctor;
mod engine;
mod export;
mod flamegraph;
mod import;
mod no_samples;
mod pace;
mod play;
mod profile;
mod profile_args;
mod progress;
mod report;
mod run;
mod scenario;
mod select_args;
mod signals;
mod stack_args;
mod target;
mod traffic;
mod traffic_json;
mod traffic_text;

use args::{Args, Sub};
use clap::Parser as _;
use std::process::ExitCode;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
enum Failure {
    /// Wrong arguments or files: exit code 2.
    Usage(anyhow::Error),
    /// The run itself failed: exit code 1.
    Run(anyhow::Error),
    /// A signal of this number ended the screen: exit code 128 and that, as a shell tells it.
    Signal(u8),
}

/// Wrong use, in one line.
fn usage(e: impl Into<anyhow::Error>) -> Failure {
    Failure::Usage(e.into())
}

/// A failed run, in one line.
fn failed(e: impl Into<anyhow::Error>) -> Failure {
    Failure::Run(e.into())
}

/// Reads the arguments, does what they ask, and tells the exit code.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) if e.use_stderr() => return say(&anyhow::anyhow!(in_a_line(&e.to_string())), 2),
        Err(help) => help.exit(),
    };
    let done = match args.sub {
        None => run::run(args.run),
        Some(Sub::Play(a)) => play::play(&a),
        Some(Sub::Report(a)) => report::report(&a),
        Some(Sub::Diff(a)) => diff::diff(&a),
        Some(Sub::Flamegraph(a)) => flamegraph::flamegraph(&a),
        Some(Sub::Profile(a)) => profile::profile(&a),
        Some(Sub::Export(a)) => export::export(&a),
        Some(Sub::Import(a)) => import::import(&a),
        Some(Sub::Doctor(a)) => doctor::doctor(&a),
        Some(Sub::Scenario(a)) => scenario::look(&a),
        Some(Sub::Traffic(a)) => traffic::traffic(&a),
        Some(Sub::Lab { .. }) => crate::lab::serve().map_err(failed),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(e)) => say(&e, 2),
        Err(Failure::Run(e)) => say(&e, 1),
        Err(Failure::Signal(number)) => ExitCode::from(number.saturating_add(128)),
    }
}

/// What clap says of wrong arguments: what is wrong and its tips, without the usage, which `--help` has.
fn in_a_line(told: &str) -> String {
    let about = told.split("\nUsage:").next().unwrap_or(told);
    let about = about.split("\nFor more information").next().unwrap_or(about);
    let about = about.strip_prefix("error: ").unwrap_or(about);
    let parts = about.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    format!("{}; --help says what there is", parts.join("; "))
}

fn say(e: &anyhow::Error, code: u8) -> ExitCode {
    // One line: messages may quote lines of files, which are cleaned of line breaks here.
    say_err!("perfbench: {}", crate::model::clean(&format!("{e:#}"), 1000));
    ExitCode::from(code)
}

/// Says on stderr where something was written. The name may hold anything that a name may.
fn tell(what: &str, path: &std::path::Path) {
    say_err!("{what}: {}", crate::model::clean(&path.display().to_string(), 4096));
}

/// Writes to stdout; a reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(failed(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clap_says_fits_a_line() {
        for (words, told) in [
            (
                &["--bogus"][..],
                "unexpected argument '--bogus' found; tip: to pass '--bogus' as a value, use '-- --bogus'",
            ),
            (&["--replay"], "a value is required for '--replay <FILE>...' but none was supplied"),
            (&["diff"], "the following required arguments were not provided: <A>"),
            (&["--rate", "x"], "invalid value 'x' for '--rate <PER_S>': give a number above 0"),
            (&["play", "x", "--format", "a"], "unexpected argument '--format' found"),
        ] {
            let e = Args::try_parse_from(std::iter::once("perfbench").chain(words.iter().copied())).unwrap_err();
            let line = in_a_line(&e.to_string());
            assert!(line.starts_with(told) && line.ends_with("; --help says what there is"), "{line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }
}
