//! The command line, as declarations; `--help` and the README's option list come from here.
//!
//! Must not: open files or resolve names.

use super::pace::PaceArgs;
use super::scenario::{CheckArgs, ScenarioArgs, ScriptArgs};
use super::select_args::SelectArgs;
use crate::load::Think;
use crate::traffic::{MethodFilter, NOTATIONS, Options};
use crate::ui::THEMES;
use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Where does the time go? Replays recorded HTTP traffic at a target, watches the machine on
/// the same clock, takes profiles, and records all of it.
///
/// Without a target and without traffic it shows itself: it starts a demo target on loopback
/// and replays a bundled log at it.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) sub: Option<Sub>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Sub {
    /// Show a recorded session on the same screen, or follow one being recorded
    Play(PlayArgs),
    /// Print what a session comes to
    Report(ReportArgs),
    /// Draw the stacks of a session as an SVG flame graph, or print them folded
    Flamegraph(super::flamegraph::FlamegraphArgs),
    /// Print the functions of a session's stacks by what they cost, of any sample type
    Profile(super::profile::PrintArgs),
    /// Make a session of profiles that others took: pprof, perf, folded stacks, speedscope
    Import(super::import::ImportArgs),
    /// Compare the stacks of two sessions, or of two parts of one: what costs more, what less, what is noise
    Diff(Box<DiffArgs>),
    /// Write a session's stacks for other tools: pprof, speedscope, Firefox Profiler, folded, SVG
    Export(super::export::ExportArgs),
    /// Tell what this host permits and what will bite, with the commands that change it
    Doctor(DoctorArgs),
    /// Look at recorded traffic without sending anything
    Traffic(Box<TrafficArgs>),
    /// Look at a scenario without sending anything, or list the examples
    Scenario(ScenarioArgs),
    /// A demo target; perfbench starts it itself
    #[command(hide = true)]
    Lab {
        /// Which
        name: LabName,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LabName {
    Demo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Connection {
    /// Many requests on each connection
    Keepalive,
    /// A connection for each request
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OverloadName {
    Queue,
    Drop,
    Grow,
}

/// Options of a run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// What to load: http://HOST[:PORT][/PREFIX] or https://...; without it, a demo target on loopback
    pub(super) target: Option<String>,

    /// Recorded traffic to replay, plain or compressed with gzip or zstd; - for stdin
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Traffic")]
    pub(super) replay: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) source: TrafficSourceArgs,
    #[command(flatten)]
    pub(super) script: ScriptArgs,
    #[command(flatten)]
    pub(super) checks: CheckArgs,
    /// Seed of all that is random: the spreading of whole-second times, arrivals, what a scenario draws
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Traffic")]
    pub(super) seed: u64,

    /// Send at a constant rate, whether or not responses come (open loop)
    #[arg(long, value_name = "PER_S", allow_negative_numbers = true, conflicts_with = "speed", value_parser = positive, help_heading = "Pace")]
    pub(super) rate: Option<f64>,
    /// Send at the recorded times, this many times as fast (open loop)
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive, help_heading = "Pace")]
    pub(super) speed: Option<f64>,
    /// Start the recording again at its end until the run is stopped
    #[arg(long = "loop", help_heading = "Pace")]
    pub(super) repeat: bool,
    /// Offer requests for this long: 10s, 2m, 500ms; without --speed the recording repeats to fill it
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Pace")]
    pub(super) duration: Option<Duration>,
    /// Offer this many requests; without --speed the recording repeats to fill them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Pace")]
    pub(super) requests: Option<u64>,
    /// Requests that may wait for a connection in an open loop before more are dropped
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Pace")]
    pub(super) queue: u64,
    #[command(flatten)]
    pub(super) pace: PaceArgs,

    /// What becomes of requests that are due when no connection is free: they wait (--queue), are
    /// dropped, or have more connections opened (--max-connections); each is counted
    #[arg(long, value_enum, value_name = "WHAT", default_value = "queue", help_heading = "Pace")]
    pub(super) overload: OverloadName,
    /// Pause of a connection after each response, in a closed loop: 100ms, uniform(50ms,150ms), exp(100ms)
    #[arg(long, value_name = "TIME", value_parser = think, help_heading = "Pace")]
    pub(super) think: Option<Think>,
    /// With --speed: requests of one recorded client go out one after the other, each when it is due and
    /// the one before it was answered
    #[arg(long, requires = "speed", help_heading = "Pace")]
    pub(super) sessions: bool,

    /// Connections, all threads together
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Connections")]
    pub(super) connections: u32,
    /// Load threads; by default half the CPUs, 8 at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "Connections")]
    pub(super) threads: Option<u32>,
    /// Whether a connection carries many requests
    #[arg(long, value_enum, default_value = "keepalive", help_heading = "Connections")]
    pub(super) connection: Connection,
    /// Requests that a connection carries before it is closed and another is opened
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Connections")]
    pub(super) requests_per_connection: Option<u32>,
    /// Open the connections evenly over this time, not all at once
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, help_heading = "Connections")]
    pub(super) connection_ramp: Duration,
    /// Most connections there may be with --overload grow; by default ten times --connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Connections")]
    pub(super) max_connections: Option<u32>,
    /// Time limit of a request, from its first byte sent to the last byte of the response
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Connections")]
    pub(super) timeout: Duration,
    /// Time limit of establishing a connection
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration, help_heading = "Connections")]
    pub(super) connect_timeout: Duration,

    #[command(flatten)]
    pub(super) connect: super::connect::ConnectArgs,
    #[command(flatten)]
    pub(super) engine: super::engine::EngineArgs,

    /// Header field to send with every request, in place of a recorded one of that name
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, action = ArgAction::Append, help_heading = "Requests")]
    pub(super) headers: Vec<(String, String)>,
    /// Host to name in every request, in place of the recorded one
    #[arg(long, value_name = "HOST", value_parser = host, help_heading = "Requests")]
    pub(super) host: Option<String>,

    /// The target's process; by default the one that listens on its port, when it is local
    #[arg(long, value_name = "PID", help_heading = "Watch")]
    pub(super) pid: Option<u32>,
    /// Time between two readings of the host
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration, help_heading = "Watch")]
    pub(super) period: Duration,
    #[command(flatten)]
    pub(super) profile: super::profile_args::ProfileArgs,

    /// Run without a screen and record the session to FILE
    #[arg(long, value_name = "FILE", help_heading = "Session")]
    pub(super) record: Option<PathBuf>,
    /// Replace FILE if it is an earlier session
    #[arg(long, requires = "record", help_heading = "Session")]
    pub(super) overwrite: bool,
    /// With --record: print the summary as JSON
    #[arg(long, requires = "record", help_heading = "Session")]
    pub(super) json: bool,
    /// With the screen: keep no session file
    #[arg(long, conflicts_with = "record", help_heading = "Session")]
    pub(super) no_session: bool,

    #[command(flatten)]
    pub(super) screen: ScreenArgs,
}

/// How recorded traffic is read, by a run and by `perfbench traffic` alike.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TrafficSourceArgs {
    /// Format of the recording instead of guessing it: see `perfbench traffic --formats`
    #[arg(long, value_name = "NAME", help_heading = "Traffic")]
    pub(super) format: Option<String>,
    /// Log format as the server's configuration has it: nginx's log_format ($variables) or Apache's
    /// LogFormat (%directives)
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["format", "log_format_from", "field"], help_heading = "Traffic")]
    pub(super) log_format: Option<String>,
    /// Log format out of an nginx.conf; without NAME the one that its access_log uses
    #[arg(long, value_name = "FILE[:NAME]", conflicts_with_all = ["format", "field"], help_heading = "Traffic")]
    pub(super) log_format_from: Option<String>,
    /// Keys of JSON lines: time=ts,uri=req.path; parts are time, method, uri, host, status, duration_ms, ...
    #[arg(long, value_name = "PART=KEY", value_delimiter = ',', value_parser = field, action = ArgAction::Append, conflicts_with = "format", help_heading = "Traffic")]
    pub(super) field: Vec<(String, String)>,
    /// Methods to replay, or `all`; others are skipped and counted
    #[arg(long, value_name = "LIST", default_value = "GET,HEAD", help_heading = "Traffic")]
    pub(super) methods: MethodFilter,
    #[command(flatten)]
    pub(super) select: SelectArgs,
}

impl TrafficSourceArgs {
    /// What the traffic room takes; everything that is no option of both is left at its default.
    pub(super) fn options(&self) -> Options {
        let options = Options {
            format: self.format.clone(),
            log_format: self.log_format.clone(),
            log_format_from: self.log_format_from.clone(),
            fields: self.field.clone(),
            methods: self.methods.clone(),
            ..Options::default()
        };
        self.select.apply(options)
    }
}

/// Options of the screen.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ScreenArgs {
    /// Colours; NO_COLOR in the environment means mono
    #[arg(long, value_name = "NAME", default_value = THEMES[0], value_parser = PossibleValuesParser::new(THEMES), help_heading = "Screen")]
    pub(super) theme: String,
    /// Draw with ASCII characters only
    #[arg(long, help_heading = "Screen")]
    pub(super) ascii: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlayArgs {
    /// The session file
    pub(super) file: PathBuf,
    /// Speed of playback
    #[arg(long, value_name = "X", default_value = "1", value_parser = positive)]
    pub(super) speed: f64,
    /// Start at this time of the session: 12.5s, 2m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) at: Option<Duration>,
    /// Show the stacks as their difference to those of this session; v changes between both views
    #[arg(long, value_name = "FILE")]
    pub(super) against: Option<PathBuf>,
    #[command(flatten)]
    pub(super) screen: ScreenArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The session file
    pub(super) file: PathBuf,
    /// Form of the report
    #[arg(long, value_name = "FORM", default_value = crate::report::REPORTS[0].0,
          value_parser = PossibleValuesParser::new(crate::report::REPORTS.iter().map(|r| r.0)))]
    pub(super) format: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PerName {
    /// Completed requests
    Request,
    /// Seconds in which samples were taken
    Second,
    /// Nothing
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SideName {
    A,
    B,
}

/// From when to when; without an end, to the end of the session.
pub(super) type Range = (Duration, Option<Duration>);

#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// The session before
    #[arg(value_name = "A")]
    pub(super) before: PathBuf,
    /// The session after; without it, two parts of A are compared
    #[arg(value_name = "B")]
    pub(super) after: Option<PathBuf>,
    /// Of A only the samples of this time: 10s-20s, 10s-, -20s
    #[arg(long = "a", value_name = "FROM-TO", value_parser = range, allow_hyphen_values = true, help_heading = "Samples")]
    pub(super) a_range: Option<Range>,
    /// Of B only the samples of this time
    #[arg(long = "b", value_name = "FROM-TO", value_parser = range, allow_hyphen_values = true, help_heading = "Samples")]
    pub(super) b_range: Option<Range>,
    /// Of A only this capture; 0 for the flight recorder
    #[arg(long, value_name = "N", help_heading = "Samples")]
    pub(super) a_capture: Option<u32>,
    /// Of B only this capture
    #[arg(long, value_name = "N", help_heading = "Samples")]
    pub(super) b_capture: Option<u32>,
    /// What was sampled: cpu-clock, alloc_space, ...; by default time on a CPU, when there is some
    #[arg(long, value_name = "NAME", help_heading = "Samples")]
    pub(super) event: Option<String>,
    /// Only this process; two when it has another number in B: 812,1203
    #[arg(long, value_name = "PID[,PID]", value_parser = processes, help_heading = "Samples")]
    pub(super) process: Option<(u32, u32)>,
    /// Only threads of this name
    #[arg(long, value_name = "NAME", help_heading = "Samples")]
    pub(super) thread: Option<String>,
    /// Only stacks with a function whose name holds one of these parts: useragent|ua_parser
    #[arg(long, value_name = "PATTERN", help_heading = "Samples")]
    pub(super) symbol: Option<String>,
    /// Idle CPUs too
    #[arg(long, help_heading = "Samples")]
    pub(super) idle: bool,
    /// What weights are divided by; by default completed requests when both sides have some, else seconds
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) per: Option<PerName>,
    /// Also the sum over all stacks with such a function, each stack once; may be given several times
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append)]
    pub(super) sum: Vec<String>,
    /// Functions to show in each table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) top: usize,
    /// Print JSON, with every function
    #[arg(long)]
    pub(super) json: bool,
    /// Draw a difference flame graph as well
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// The side that its boxes are as wide as; what is gone in B shows with A
    #[arg(long, value_enum, value_name = "SIDE", default_value = "b", requires = "svg", ignore_case = true)]
    pub(super) widths: SideName,
    /// Keep threads of different names apart in it
    #[arg(long, requires = "svg")]
    pub(super) by_thread: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// What will be loaded: what does not bound a run at it is left out
    pub(super) target: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct TrafficArgs {
    /// Recorded traffic; - for stdin
    #[arg(required_unless_present = "formats")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) source: TrafficSourceArgs,
    /// List the formats
    #[arg(long)]
    pub(super) formats: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Speed to tell the replay's duration for
    #[arg(long, value_name = "X", default_value = "1", value_parser = positive)]
    pub(super) speed: f64,
    /// Seed of the spreading of whole-second times and of --sample, as a run has it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// Routes and hosts to show, the most frequent first
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub(super) top: usize,
    /// Draw with ASCII characters only
    #[arg(long)]
    pub(super) ascii: bool,

    /// Write the requests to FILE, in time order, filtered and rewritten; packed when it ends in .gz
    /// or .zst; - for standard output, without the look
    #[arg(long, value_name = "FILE", help_heading = "Write")]
    pub(super) write: Option<PathBuf>,
    /// Format to write
    #[arg(long, value_name = "FORMAT", default_value = NOTATIONS[0].name, requires = "write",
          value_parser = PossibleValuesParser::new(NOTATIONS.iter().map(|n| n.name)), help_heading = "Write")]
    pub(super) write_format: String,
    /// Host of requests that recorded none, where the format needs one
    #[arg(long, value_name = "HOST", requires = "write", value_parser = host, help_heading = "Write")]
    pub(super) write_host: Option<String>,
    /// Replace FILE if it exists
    #[arg(long, requires = "write", help_heading = "Write")]
    pub(super) overwrite: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (part, key) = text.split_once('=').ok_or("give it as PART=KEY, like uri=req.path")?;
    Ok((part.trim().into(), key.trim().into()))
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 && x <= 1e9 => Ok(x),
        _ => Err("give a number above 0".into()),
    }
}

/// `10s`, `1.5m`, `500ms`, `2h`; a bare number is seconds. At most a year.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a time like 10s, 500ms, 2m or 1h".into()),
    };
    match text[..digits].parse::<f64>() {
        Ok(n) if n * unit <= 366.0 * 86_400.0 => Ok(Duration::from_secs_f64(n * unit)),
        Ok(_) => Err("that is more than a year".into()),
        Err(_) => Err("give a time like 10s, 500ms, 2m or 1h".into()),
    }
}

fn think(text: &str) -> Result<Think, String> {
    let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(mean) = inside("exp") {
        return Ok(Think::Exponential(duration(mean.trim())?));
    }
    if let Some(both) = inside("uniform") {
        let (a, b) = both.split_once(',').ok_or("give two times: uniform(50ms,150ms)")?;
        return Ok(Think::Uniform(duration(a.trim())?, duration(b.trim())?));
    }
    duration(text).map(Think::Fixed).map_err(|_| "give 100ms, uniform(50ms,150ms) or exp(100ms)".into())
}

/// `10s-20s`, `10s-`, `-20s`.
fn range(text: &str) -> Result<Range, String> {
    let (from, to) = text.split_once('-').ok_or("give from when to when, like 10s-20s, 10s- or -20s")?;
    let from = if from.is_empty() { Duration::ZERO } else { duration(from)? };
    let to = if to.is_empty() { None } else { Some(duration(to)?) };
    if to.is_some_and(|to| to <= from) { Err("its end is not after its beginning".into()) } else { Ok((from, to)) }
}

fn processes(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| "give a process number, or two: 812,1203".to_string());
    let (a, b) = text.split_once(',').unwrap_or((text, text));
    Ok((number(a)?, number(b)?))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("give it as `Name: value`")?;
    let (name, value) = (name.trim(), value.trim());
    // RFC 9110 section 5.6.2 and 5.5: what could end the line or the head stays out.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("`{}` is no header name", crate::model::clean(name, 40)));
    }
    if ["content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("{name} is written by perfbench, as the body is"));
    }
    if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
        return Err("a header value holds no control characters".into());
    }
    Ok((name.into(), value.into()))
}

fn host(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\".contains(&b));
    if fine { Ok(text.into()) } else { Err("give HOST or HOST:PORT".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_declarations_hold_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_read_as_written() {
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for wrong in ["", "s", "-1s", "1x", "1.2.3s", "1e9h", "99999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_and_processes_read_as_written() {
        let s = Duration::from_secs;
        assert_eq!(range("10s-1m"), Ok((s(10), Some(s(60)))));
        assert_eq!((range("10-"), range("-20")), (Ok((s(10), None)), Ok((s(0), Some(s(20))))));
        for wrong in ["", "10s", "5s-5s", "9s-3s", "a-b", "1s-2s-3s"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
        assert_eq!((processes("7"), processes("7,9")), (Ok((7, 7)), Ok((7, 9))));
        assert!(processes("7,").is_err() && processes("web").is_err());
        let a = Args::try_parse_from(["perfbench", "diff", "x", "--a", "-20s", "--b", "40s-"]).unwrap();
        assert!(matches!(a.sub, Some(Sub::Diff(d)) if d.after.is_none() && d.b_range == Some((s(40), None))));
    }

    #[test]
    fn pauses_read_as_written() {
        let ms = Duration::from_millis;
        assert_eq!(think("100ms"), Ok(Think::Fixed(ms(100))));
        assert_eq!(think("exp(2s)"), Ok(Think::Exponential(ms(2000))));
        assert_eq!(think("uniform(50ms, 150ms)"), Ok(Think::Uniform(ms(50), ms(150))));
        for wrong in ["", "soon", "exp", "exp()", "exp(1", "uniform(1s)", "normal(1s)", "uniform(1s,2s,3s)"] {
            assert!(think(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_frames_a_request_is_not_given_as_a_header() {
        assert!(header("content-Length: 3").is_err() && header("Transfer-Encoding: chunked").is_err());
    }

    #[test]
    fn a_header_can_not_smuggle_another() {
        assert_eq!(header("X-A:  b c "), Ok(("X-A".into(), "b c".into())));
        for wrong in ["no colon", ": x", "a b: c", "A: b\r\nC: d"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_and_a_subcommand_are_told_apart() {
        let a = Args::try_parse_from(["perfbench", "http://127.0.0.1:1", "--replay", "a.log", "b.log", "--rate", "5"]);
        let a = a.unwrap();
        assert_eq!((a.run.replay.len(), a.run.rate, a.sub.is_none()), (2, Some(5.0), true));
        assert!(Args::try_parse_from(["perfbench", "play", "x"]).unwrap().sub.is_some());
        assert!(Args::try_parse_from(["perfbench", "http://h", "--rate", "5", "--speed", "2"]).is_err());
        assert!(Args::try_parse_from(["perfbench", "http://h", "--json"]).is_err());
    }
}
