//! Why no sample of a session is meant by what was asked, and what there is instead: one answer for
//! every command that takes samples.
//!
//! Must not: print.

use crate::model::{CaptureId, CaptureState, clean};
use crate::timeline::Timeline;
use crate::timeline::stacks::{Ring, StackFilter, Taken};
use std::collections::BTreeMap;

/// What there is instead is told of so many at most.
const TOLD: usize = 6;

/// Why a filter lets no sample of a session through, and what to do, in one line.
pub(super) fn why_none(t: &Timeline, filter: &StackFilter) -> String {
    let profile = t.profile();
    let Some(all) = profile.span() else { return why_no_stacks(t) };
    let types = profile.sample_types();
    if let Some(event) = filter.event.as_ref().filter(|e| types.iter().all(|t| t.event != **e)) {
        let known: Vec<String> = types.iter().map(|t| clean(&t.event, 60)).collect();
        return format!("nothing was sampled by {}, but by {}", clean(event, 60), known.join(", "));
    }
    // Each thing that was asked for, alone: the first that nothing was sampled of is why.
    let any = StackFilter { event: filter.event.clone(), idle: true, ..StackFilter::default() };
    let is_none = |only: StackFilter| profile.samples(&only).next().is_none();
    let most = |name: fn(&Taken<'_>) -> (String, String)| most_sampled(profile.samples(&any), name);
    match filter {
        StackFilter { capture: Some(id), .. } if is_none(StackFilter { capture: filter.capture, ..any.clone() }) => {
            let known = most(|s| (s.capture.0.to_string(), String::new()));
            format!("there is no capture {} with such samples, but {known}", id.0)
        }
        StackFilter { pid: Some(pid), .. } if is_none(StackFilter { pid: Some(*pid), ..any.clone() }) => {
            format!("no sample is of process {pid}; most are of {}", most(|s| numbered(s.pid, s.comm)))
        }
        StackFilter { tid: Some(tid), .. } if is_none(StackFilter { tid: Some(*tid), ..any.clone() }) => {
            format!("no sample is of thread {tid}; most are of {}", most(|s| numbered(s.tid, s.comm)))
        }
        StackFilter { comm: Some(comm), .. } if is_none(StackFilter { comm: Some(comm.clone()), ..any.clone() }) => {
            let comm = clean(comm, 60);
            format!("no sample is of a thread named {comm}; most are of {}", most(|s| (named(s.comm), String::new())))
        }
        StackFilter { cpu: Some(cpu), .. } if is_none(StackFilter { cpu: Some(*cpu), ..any.clone() }) => {
            format!("no sample is of CPU {cpu}; most are of {}", most(|s| (format!("CPU {}", s.cpu), String::new())))
        }
        StackFilter { symbol: Some(p), .. } if is_none(StackFilter { symbol: Some(p.clone()), ..any.clone() }) => {
            let text = clean(p.text(), 200);
            format!("no stack has a function like {text}; `perfbench profile` lists those there are")
        }
        StackFilter { span: Some(_), .. } if is_none(StackFilter { span: filter.span, ..any.clone() }) => {
            format!("no stacks in that stretch; the session has some from {} to {}", all.from, all.to)
        }
        StackFilter { ring: Some(ring), .. } if is_none(StackFilter { ring: Some(*ring), ..any.clone() }) => {
            let place = if *ring == Ring::Kernel { "in the kernel" } else { "in user space" };
            format!("no sample was taken {place}")
        }
        StackFilter { outside: true, within, .. }
            if is_none(StackFilter { outside: true, within: within.clone(), ..any.clone() }) =>
        {
            format!("nothing is left of the session's samples ({} to {}) outside of that stretch", all.from, all.to)
        }
        _ if is_none(StackFilter { idle: true, ..filter.clone() }) => {
            "there are samples of each thing asked for, but none of all of them together".into()
        }
        _ => "all samples that are meant are of idle CPUs; --idle shows them".into(),
    }
}

/// The name of a thread.
fn named(comm: &str) -> String {
    if comm.is_empty() { "[unnamed]".into() } else { clean(comm, 30) }
}

/// A process or thread with its name.
fn numbered(id: u32, comm: &str) -> (String, String) {
    let id = if id == u32::MAX { "no known number".into() } else { id.to_string() };
    (id, format!(" ({})", named(comm)))
}

/// Who has the most samples, each with the first of what else it was called.
fn most_sampled<'a>(samples: impl Iterator<Item = Taken<'a>>, name: fn(&Taken<'_>) -> (String, String)) -> String {
    let mut counts: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for sample in samples {
        let (who, more) = name(&sample);
        counts.entry(who).or_insert((0, more)).0 += 1;
    }
    let mut names: Vec<(String, (u64, String))> = counts.into_iter().collect();
    names.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    names.truncate(TOLD);
    names.into_iter().map(|(who, (_, more))| who + &more).collect::<Vec<_>>().join(", ")
}

/// Why a session has no stacks at all.
fn why_no_stacks(t: &Timeline) -> String {
    let news: Vec<_> = t.captures().flat_map(|(_, news)| news).chain(t.recorder()).collect();
    let failure = news.iter().find_map(|n| match &n.state {
        CaptureState::Failed { what, mend } => Some((n.id, what, mend)),
        _ => None,
    });
    match failure {
        Some((id, what, mend)) => {
            let who = if id == CaptureId::RECORDER { "the flight recorder" } else { "its capture" };
            let mend = mend.as_ref().map(|m| format!("; {m}")).unwrap_or_default();
            format!("the session has no stacks, {who} failed: {what}{mend}")
        }
        None if !news.is_empty() && t.closing().is_none() => {
            "the session has no stacks: it was cut off before a capture was done".into()
        }
        None if !news.is_empty() => {
            "the session has no stacks: its captures and its flight recorder brought none".into()
        }
        None => "the session has no stacks: it was recorded without the flight recorder and without a capture \
                 (--capture AT,FOR, or c on the screen)"
            .into(),
    }
}
