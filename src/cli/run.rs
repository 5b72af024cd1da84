//! A run: `perfbench [TARGET] --replay FILE...`, with the screen or with `--record`.
//!
//! Must not: hold logic that a room could hold.

use super::args::{Connection, OverloadName, RunArgs};
use super::connect::Found;
use super::progress::Progress;
use super::scenario::{self, Cast, Leaves};
use super::target::{self, Target};
use super::{Failure, engine, failed, print, signals, tell, usage};
use crate::clock::Clock;
use crate::load::RateCurve;
use crate::model::{At, Event, Fault, LoadPlan, Opening, Request, TrafficCounts};
use crate::profile::served::Server;
use crate::session::Writer;
use crate::timeline::{Cursor, Selection, Timeline, View};
use crate::traffic::scenario::{Drive, Scenario};
use crate::traffic::{self, Reader, Source};
use crate::workbench::{Feed, Interrupt, Live, LiveParts, Profiling, Recorder, Workbench, run_headless};
use crate::{diagnosis, host, lab, load, report, ui};
use anyhow::{Context as _, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Descriptors that are needed besides connections.
const OTHER_FDS: u64 = 200;

/// Runs, and says how it went.
pub(super) fn run(mut args: RunArgs) -> Result<(), Failure> {
    // `--replay a.log http://target`: the list of files has swallowed the target.
    let is_url = |p: &PathBuf| p.to_str().is_some_and(|p| p.starts_with("http://") || p.starts_with("https://"));
    if args.target.is_none() && args.replay.len() > 1 && args.replay.last().is_some_and(is_url) {
        args.target = args.replay.pop().and_then(|p| p.into_os_string().into_string().ok());
    }
    if args.record.is_none() && !super::play::has_terminal() {
        return Err(usage(anyhow!("there is no terminal to draw on; give --record FILE to run without a screen")));
    }
    if args.target.is_some() && args.replay.is_empty() && args.script.scenario.is_none() {
        return Err(usage(anyhow!(
            "give --replay FILE or --scenario FILE: a target of yours is sent nothing but what you name"
        )));
    }
    let source = Traffic::open(&mut args)?;
    let judge = args.checks.judge()?;
    args.check_pace().map_err(usage)?;
    if let Some(server) = args.profile.pprof.take() {
        args.profile.pprof = Some(args.connect.served(server).map_err(usage)?);
    }
    if args.record.is_some() {
        args.profile.check_without_screen().map_err(usage)?;
    }
    let profiling = args.profile.profiling().map_err(usage)?;
    let curve = args.pace.scale_to.map(|_| Replay::rate_curve(&args)).transpose().map_err(usage)?;
    let (target, Found { way, address }, lab) = find_target(&args)?;

    let clock = Clock::start();
    let opening = opening(&args, &clock, &target, address, &source, curve.as_ref());
    let mut early_faults = raise_fd_limit(u64::from(most_connections(&args)));
    let mut workbench = Workbench::new();
    if let Some(path) = &args.record {
        let writer = Writer::create(path, args.overwrite).map_err(usage)?;
        workbench = Workbench::recording(Recorder::start(writer).map_err(failed)?);
    } else if !args.no_session {
        match keep_beside_screen(&clock) {
            Ok(recorder) => workbench = Workbench::recording(recorder),
            Err(e) => early_faults.push(format!("this session is not kept: {e:#}")),
        }
    }
    let plan = load::Plan { judge, ..plan(&args, &opening.load, &target, way, curve.as_ref(), &source) };
    workbench.ingest(Event::from(opening));
    for what in early_faults {
        workbench.ingest(Event::Fault(Fault { at: clock.now(), place: "start".into(), what, mend: None }));
    }
    let interrupt = Interrupt::default();
    if args.record.is_some() {
        signals::watch(&interrupt).map_err(failed)?; // before there is anything to end in good order
    }
    let mut live = start(&args, profiling, plan, source, &clock, address, lab.as_ref()).map_err(failed)?;

    if args.record.is_some() {
        headless(&args, &interrupt, &mut workbench, &mut live)
    } else {
        on_screen(&args, &mut workbench, &mut live)
    }
}

fn headless(args: &RunArgs, interrupt: &Interrupt, workbench: &mut Workbench, live: &mut Live) -> Result<(), Failure> {
    let length = workbench.timeline().opening().load.duration_ns.map(std::time::Duration::from_nanos);
    let mut progress = Progress::new(length);
    run_headless(workbench, live, interrupt, |w| progress.show(w));
    progress.show(workbench);
    progress.clear();
    let kept = workbench.finish();
    let form = if args.json { "json" } else { "text" };
    print(&render(form, workbench.timeline()))?;
    match kept {
        Ok(Some(path)) => tell("session", &path),
        Ok(None) => return Err(failed(anyhow!("the session is incomplete; see the faults above"))),
        Err(why) => return Err(failed(anyhow!(why))),
    }
    verdict(workbench.timeline())
}

fn on_screen(args: &RunArgs, workbench: &mut Workbench, feed: &mut dyn Feed) -> Result<(), Failure> {
    let options =
        ui::Options { capture_length: args.profile.capture_length, ..super::play::options(&args.screen, None) };
    let shown = ui::run(workbench, feed, options);
    if matches!(shown, Ok(ui::Exit::Quit)) && workbench.timeline().closing().is_none() {
        say_err!("ending the run; ctrl-c leaves at once");
    }
    // Whatever ended the screen, what was under way is ended and the session closed; a signal
    // from here on leaves at once.
    let interrupt = Interrupt::raised();
    signals::watch(&interrupt).map_err(failed)?;
    run_headless(workbench, feed, &interrupt, |_| {});
    match workbench.finish() {
        Ok(Some(path)) => tell("session", &path),
        Ok(None) => {}
        Err(why) => say_err!("perfbench: {}", crate::model::clean(&why, 500)),
    }
    super::play::left(shown.map_err(failed)?)?;
    let load = &workbench.timeline().opening().load;
    // Leaving the screen is no verdict, unless one was asked for.
    if load.fail_if.is_empty() && load.find_max.is_none() { Ok(()) } else { verdict(workbench.timeline()) }
}

/// The report of that name, with what is found over the whole run.
pub(super) fn render(form: &str, timeline: &Timeline) -> String {
    let selection = Selection { span: Some(report::run_span(timeline)), ..Selection::default() };
    let view = View { timeline, cursor: Cursor::Follow, selection: &selection, window_ns: timeline.end().0 };
    let findings = diagnosis::check(&view);
    let form = report::REPORTS.iter().find(|(name, _)| *name == form);
    form.map_or_else(String::new, |(_, render)| render(timeline, &findings))
}

/// A run that completed nothing has failed, and so has one that broke its objectives.
fn verdict(t: &Timeline) -> Result<(), Failure> {
    let sum = t.load().counts(t.whole());
    if sum.completed > 0 {
        return super::pace::judge(t).map_err(failed);
    }
    let most = sum.outcomes.iter().max_by_key(|o| o.count);
    let why = most.map_or("none was sent".into(), |o| format!("{} of {} ended in {}", o.count, sum.failed, o.outcome));
    Err(failed(anyhow!("no request was completed: {why}")))
}

fn find_target(args: &RunArgs) -> Result<(Target, Found, Option<lab::Target>), Failure> {
    match &args.target {
        Some(text) => {
            let target = target::parse(text).map_err(usage)?;
            engine::check(args, &target).map_err(usage)?;
            let proxy = args.engine.proxy.as_ref();
            let besides = proxy.is_some() || args.profile.pprof.as_ref().is_some_and(Server::is_https);
            let tls = args.connect.tls(&target, besides).map_err(usage)?;
            let found = match proxy {
                Some(proxy) => args.connect.find_behind(proxy, &target, tls),
                None => args.connect.find(&target, tls),
            };
            let found = found.map_err(failed)?;
            Ok((target, found, None))
        }
        None => {
            let program = std::env::current_exe().map_err(failed)?;
            let lab = lab::Target::start(&program).context("the demo target did not start").map_err(failed)?;
            let address = lab.address();
            engine::check(args, &Target::at(address)).map_err(usage)?;
            if args.engine.proxy.is_some() {
                return Err(usage(anyhow!("--proxy needs a target: the demo target is not looked for behind a proxy")));
            }
            Ok((Target::at(address), Found { way: address.into(), address: Some(address) }, Some(lab)))
        }
    }
}

fn opening(
    args: &RunArgs,
    clock: &Clock,
    target: &Target,
    address: Option<SocketAddr>,
    source: &Traffic,
    curve: Option<&RateCurve>,
) -> Opening {
    let half = std::thread::available_parallelism().map_or(1, |n| n.get() as u32 / 2);
    let threads = args.threads.unwrap_or(half.clamp(1, 8)).min(args.connections);
    let (engine, engine_why) = args.engine.chosen();
    let load = LoadPlan {
        engine: engine.into(),
        engine_why,
        connections: args.connections,
        threads,
        connection: if args.connection == Connection::Close { "close" } else { "keepalive" }.into(),
        overload: overload(args).name().into(),
        ..LoadPlan::default()
    };
    Opening {
        perfbench: env!("CARGO_PKG_VERSION").into(),
        started_unix_ns: clock.origin_unix_ns(),
        monotonic_ns: clock.origin_monotonic_ns(),
        target: target.shown.clone(),
        target_address: address.map(|a| a.to_string()).unwrap_or_default(),
        traffic: source.names.clone(),
        load: args.describe(curve, load),
        host: host::facts(),
    }
}

fn plan(
    args: &RunArgs,
    load: &LoadPlan,
    target: &Target,
    way: load::Way,
    curve: Option<&RateCurve>,
    source: &Traffic,
) -> load::Plan {
    let close = args.connection == Connection::Close;
    let script = source.scenario.as_ref();
    load::Plan {
        engine: args.engine.chosen().0,
        way,
        http: args.engine.http(),
        rendering: load::Rendering {
            authority: target.authority.clone(),
            host: args.host.clone(),
            base_path: target.base_path.clone(),
            headers: args.headers.clone(),
            close,
        },
        schedule: Arc::new(args.schedule(curve)),
        max_recorded_gap: args.max_recorded_gap(),
        repeat: args.repeats(),
        duration: args.length(curve),
        requests: args.requests,
        connections: args.connections,
        threads: load.threads,
        close,
        timeout: args.timeout,
        connect_timeout: args.connect_timeout,
        queue: args.queue,
        policy: load::Policy {
            requests_per_connection: args.requests_per_connection,
            ramp: args.connection_ramp,
            think: args.think.unwrap_or_default(),
            overload: overload(args),
            sessions: args.sessions,
        },
        scripts: script.map(|s| Arc::new(Cast { scenario: s.clone(), seed: args.seed }) as Arc<dyn load::Scripts>),
        judge: None,
        body_bound: script.map_or(traffic::scenario::BODY_BOUND, |s| s.body_bound()),
    }
}

fn overload(args: &RunArgs) -> load::Overload {
    match args.overload {
        OverloadName::Queue => load::Overload::Queue,
        OverloadName::Drop => load::Overload::Drop,
        OverloadName::Grow => load::Overload::Grow { most: most_connections(args) },
    }
}

/// Connections that a run may come to have.
fn most_connections(args: &RunArgs) -> u32 {
    match args.overload {
        OverloadName::Grow => args.max_connections.unwrap_or(args.connections.saturating_mul(10)).max(args.connections),
        _ => args.connections,
    }
}

fn start(
    args: &RunArgs,
    profiling: Profiling,
    plan: load::Plan,
    source: Traffic,
    clock: &Clock,
    address: Option<SocketAddr>,
    lab: Option<&lab::Target>,
) -> anyhow::Result<Live> {
    let channel = Live::channel();
    let config = host::Config { target: address, pid: args.pid.or(lab.map(lab::Target::pid)), period: args.period };
    let watch = host::Watch::start(config, clock.clone(), channel.0.clone());
    let run = load::Run::start(plan, source.source, clock, &channel.0).context("the load could not start")?;
    let parts = LiveParts { clock: clock.clone(), run, watch, profiling, control: args.control() };
    Ok(Live::new(parts, channel))
}

/// Lets this process open as many files as the run needs and the host allows.
fn raise_fd_limit(connections: u64) -> Vec<String> {
    let need = connections + OTHER_FDS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= need) {
        return vec![];
    }
    // The flight recorder takes a share of what there is: some more, where it may be had.
    let wanted = need + need / 10;
    let raised = Rlimit { current: Some(limit.maximum.map_or(wanted, |hard| hard.min(wanted))), ..limit };
    let enough = limit.maximum.is_none_or(|hard| hard >= need);
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) if enough => vec![],
        _ => vec![format!(
            "{connections} connections may need {need} file descriptors and the limit is {}: then some end in EMFILE; \
             raise it with `ulimit -n {need}` as root",
            limit.maximum.map_or("unknown".into(), |n| n.to_string())
        )],
    }
}

/// A session file under the XDG state folder for a run with the screen.
fn keep_beside_screen(clock: &Clock) -> anyhow::Result<Recorder> {
    let state = match (std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")) {
        (Some(dir), _) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
        (_, Some(home)) => Path::new(&home).join(".local/state"),
        _ => return Err(anyhow!("neither XDG_STATE_HOME nor HOME is set")),
    };
    let folder = state.join("perfbench");
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder {} can't be made", folder.display()))?;
    let started = jiff::Timestamp::from_nanosecond(i128::from(clock.origin_unix_ns())).unwrap_or_default();
    let name = format!("{}-{}.perfbench", started.strftime("%Y%m%dT%H%M%SZ"), std::process::id());
    Ok(Recorder::start(Writer::create(&folder.join(name), false)?)?)
}

/// What is sent: recorded or described.
struct Traffic {
    source: Box<dyn load::RequestSource>,
    names: Vec<String>,
    scenario: Option<Arc<Scenario>>,
}

impl Traffic {
    /// Opens the traffic; a scenario sets the options that follow from it.
    fn open(args: &mut RunArgs) -> Result<Traffic, Failure> {
        let Some(scenario) = scenario::open(&args.script, args.arrivals_given())? else {
            let replay = Replay::open(args).map_err(usage)?;
            return Ok(Traffic { names: replay.names.clone(), source: Box::new(replay), scenario: None });
        };
        match scenario.drive() {
            Drive::Users { count, .. } => args.connections = u32::try_from(count).unwrap_or(u32::MAX),
            Drive::Arrivals { .. } if args.arrivals_given().is_some() => {}
            Drive::Arrivals { per_s } => args.rate = Some(per_s),
        }
        let has_end = scenario.has_end() || args.has_end();
        if args.record.is_some() && !has_end {
            return Err(usage(anyhow!("{}: a scenario has no end; give --duration or --requests", scenario.name())));
        }
        Ok(Traffic {
            source: Box::new(Leaves::new()),
            names: vec![format!("scenario {}", scenario.name())],
            scenario: Some(scenario),
        })
    }
}

/// Recorded traffic as the load engine takes it.
struct Replay {
    reader: Reader,
    first: Option<Request>,
    names: Vec<String>,
}

impl Replay {
    /// Opens the traffic and reads up to its first request: wrong input fails before
    /// anything is sent.
    fn open(args: &RunArgs) -> anyhow::Result<Replay> {
        args.source.select.check(&args.source.methods)?;
        let options = traffic::Options { seed: args.seed, ..args.source.options() };
        let sources = if args.replay.is_empty() {
            vec![Source::Bytes { name: "demo log", bytes: traffic::DEMO_LOG }]
        } else {
            args.replay.iter().map(|p| Source::named(p)).collect()
        };
        let names = sources.iter().map(|s| crate::model::clean(&s.name(), 200)).collect();
        let mut reader = Reader::open_sources(sources, options)?;
        if args.speed.is_some()
            && let Some(c) = reader.choices().iter().find(|c| !c.timed)
        {
            return Err(anyhow!(
                "{}: {} has no times, so there is nothing that --speed could keep to; give --rate N, or neither to \
                 send as fast as responses come",
                crate::model::clean(&c.source, 200),
                c.format
            ));
        }
        let mut first = Reader::blank();
        if !reader.next(&mut first)? {
            return Err(anyhow!("there is no request to replay"));
        }
        Ok(Replay { reader, first: Some(first), names })
    }
}

impl Replay {
    /// Reads the traffic once for its rate over time.
    fn rate_curve(args: &RunArgs) -> anyhow::Result<RateCurve> {
        let mut all = Replay::open(args)?;
        if !all.reader.can_reopen() {
            return Err(anyhow!("--scale-to reads the recording twice: give --replay a file"));
        }
        let mut curve = RateCurve::default();
        let mut request = Reader::blank();
        while load::RequestSource::next(&mut all, &mut request).map_err(|e| anyhow!(e))? {
            curve.push(request.recorded_unix_ns);
        }
        Ok(curve)
    }
}

impl load::RequestSource for Replay {
    fn next(&mut self, into: &mut Request) -> Result<bool, load::SourceError> {
        if let Some(first) = self.first.take() {
            *into = first;
            return Ok(true);
        }
        self.reader.next(into).map_err(|e| e.to_string())
    }

    fn restart(&mut self) -> Result<bool, load::SourceError> {
        if !self.reader.can_reopen() {
            return Ok(false);
        }
        self.reader.reopen().map(|()| true).map_err(|e| e.to_string())
    }

    fn counts(&self, at: At) -> TrafficCounts {
        TrafficCounts { at, ..self.reader.counts() }
    }

    fn faults(&self, at: At) -> Vec<Fault> {
        let s = self.reader.summary();
        if s.folded_routes == 0 {
            return Vec::new();
        }
        let more = if s.more_folded_routes { "more than " } else { "" };
        let mut what =
            format!("(other routes) are {more}{} routes with {} requests", s.folded_routes, s.folded_requests);
        for (n, often) in s.top_folded.iter().filter(|t| t.count > 1).take(3).enumerate() {
            what += if n == 0 { "; most frequent among them " } else { ", " };
            what += &format!("{} {}", crate::model::clean(&often.name, 60), often.count);
        }
        let mend = Some("--max-routes N tells more apart, --route PATTERN names them".into());
        vec![Fault { at, place: "traffic".into(), what, mend }]
    }
}
