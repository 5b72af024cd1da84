//! speedscope's file format (speedscope.app/file-format-schema.json): frames once, and any number
//! of profiles that are either sampled or made of events.
//!
//! A profile of events is turned into samples: between two events the stack that is open has that
//! time of its own.
//!
//! Must not: take a profile's times for those of another; each counts from its own start.

use super::fold::DEEPEST;
use super::{Head, Imported, Importer, Input, MOST_SAMPLES, Obstacle, UNKNOWN, wrong};
use crate::model::{At, CaptureId, Frame, FrameId, Sample, SourceLine, StackId, StackTable, Stacks};
use serde::Deserialize;
use serde_json::Number;
use std::borrow::Cow;
use std::sync::Arc;

/// See the top of the file.
pub(super) struct Speedscope;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    shared: Shared<'a>,
    #[serde(borrow)]
    profiles: Vec<Profile<'a>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default, rename = "activeProfileIndex")]
    active: Option<usize>,
}

#[derive(Deserialize)]
struct Shared<'a> {
    #[serde(borrow)]
    frames: Vec<WireFrame<'a>>,
}

#[derive(Deserialize)]
struct WireFrame<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    file: Option<Cow<'a, str>>,
    #[serde(default)]
    line: Option<f64>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Profile<'a> {
    Sampled(#[serde(borrow)] Sampled<'a>),
    Evented(#[serde(borrow)] Evented<'a>),
}

#[derive(Deserialize)]
struct Sampled<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    unit: Cow<'a, str>,
    samples: Vec<Vec<u32>>,
    weights: Vec<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Evented<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    unit: Cow<'a, str>,
    start_value: f64,
    end_value: f64,
    events: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    #[serde(rename = "type")]
    kind: TurnKind,
    frame: u32,
    at: f64,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
enum TurnKind {
    #[serde(rename = "O")]
    Open,
    #[serde(rename = "C")]
    Close,
}

impl Importer for Speedscope {
    fn name(&self) -> &'static str {
        "speedscope"
    }

    fn about(&self) -> &'static str {
        "speedscope JSON, sampled or of events, any number of profiles: py-spy, rbspy, speedscope itself, ..."
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        let text = head.bytes.trim_ascii_start();
        let holds = |word: &str| memchr::memmem::find(text, word.as_bytes()).is_some();
        match text.first() {
            Some(b'{') if holds("speedscope.app/file-format-schema.json") => {
                Some("it is JSON that names speedscope's schema".into())
            }
            Some(b'{') if holds("\"shared\"") && holds("\"frames\"") => {
                Some("it is JSON with frames shared by profiles, as speedscope has it".into())
            }
            _ => None,
        }
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        let bytes = input.whole()?;
        let file: File<'_> = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("no speedscope JSON: {e}")))?;
        read(&file)
    }
}

/// A unit: what it measures, its name here, and in how many of those one is.
fn unit_of(unit: &str) -> Result<(&'static str, &'static str, u64), Obstacle> {
    Ok(match unit {
        "nanoseconds" => ("time", "ns", 1),
        "microseconds" => ("time", "ns", 1_000),
        "milliseconds" => ("time", "ns", 1_000_000),
        "seconds" => ("time", "ns", 1_000_000_000),
        "bytes" => ("bytes", "bytes", 1),
        "none" | "" => ("samples", "count", 1),
        other => return Err(wrong(format!("`{}` is no unit of speedscope", crate::model::clean(other, 40)))),
    })
}

fn read(file: &File<'_>) -> Result<Imported, Obstacle> {
    let mut table = StackTable::default();
    let frames: Vec<FrameId> = file.shared.frames.iter().map(|f| table.frame(frame(f))).collect();
    let mut of_unit: Vec<Stacks> = Vec::new();
    let mut rounded = 0;
    let (mut kept, mut length_ns) = (0, 0);
    // The one that is to be looked at first comes first: it gives the default type.
    let active = file.active.filter(|&n| n < file.profiles.len()).unwrap_or(0);
    let order = std::iter::once(active).chain((0..file.profiles.len()).filter(|&n| n != active));
    for n in order {
        let Some(profile) = file.profiles.get(n) else { break };
        let (name, unit) = match profile {
            Profile::Sampled(p) => (&p.name, &p.unit),
            Profile::Evented(p) => (&p.name, &p.unit),
        };
        let (event, unit, scale) = unit_of(unit)?;
        let mut rows = Rows {
            frames: &frames,
            table: &mut table,
            comm: crate::model::clean(name, 200).into(),
            tid: u32::try_from(n).unwrap_or(UNKNOWN),
            timed: unit == "ns",
            samples: Vec::new(),
            room: MOST_SAMPLES - kept,
        };
        let at = |what: Obstacle| wrong(format!("profile {}: {}", n + 1, what.what));
        let end = match profile {
            Profile::Sampled(p) => rows.sampled(p, scale, &mut rounded),
            Profile::Evented(p) => rows.evented(p, scale),
        };
        length_ns = length_ns.max(if rows.timed { end.map_err(at)? } else { end.map_err(at).map(|_| 0)? });
        let samples = rows.samples;
        kept += samples.len();
        match of_unit.iter_mut().find(|s| *s.unit == *unit) {
            Some(stacks) => stacks.samples.extend(samples),
            None => of_unit.push(Stacks {
                at: At::START,
                capture: CaptureId(1),
                event: event.into(),
                unit: unit.into(),
                table: StackTable::default(),
                samples,
                lost: 0,
            }),
        }
    }
    for stacks in &mut of_unit {
        stacks.samples.sort_by_key(|s| s.at);
        stacks.table = table.clone();
        let sum = stacks.samples.iter().try_fold(0u64, |sum, s| sum.checked_add(s.weight));
        sum.ok_or_else(|| wrong(format!("its weights in {} add up to more than 64 bits hold", stacks.unit)))?;
    }
    if of_unit.is_empty() {
        return Err(wrong("there is no profile in it"));
    }
    let mut notes = Vec::new();
    if rounded > 0 {
        notes.push(format!("{rounded} weights are no whole numbers: they were rounded so that their sum is kept"));
    }
    let program = file.name.as_deref().map(|n| crate::model::clean(n, 200)).unwrap_or_default();
    Ok(Imported { stacks: of_unit, length_ns, program, notes, ..Imported::default() })
}

fn frame(f: &WireFrame<'_>) -> Frame {
    let mut frame = Frame::marked(&super::name(f.name.as_bytes()));
    let line = f.line.filter(|l| *l >= 0.0 && *l <= f64::from(u32::MAX)).unwrap_or(0.0) as u32;
    let file = f.file.as_deref().filter(|file| !file.is_empty());
    frame.line = file.map(|file| SourceLine { file: super::name(file.as_bytes()).into(), line });
    frame
}

/// The samples of one profile.
struct Rows<'a> {
    frames: &'a [FrameId],
    table: &'a mut StackTable,
    comm: Arc<str>,
    tid: u32,
    /// Whether weights are times.
    timed: bool,
    samples: Vec<Sample>,
    /// How many more are kept.
    room: usize,
}

impl Rows<'_> {
    fn frame(&self, n: u32) -> Result<FrameId, Obstacle> {
        let all = self.frames.len();
        self.frames.get(n as usize).copied().ok_or_else(|| wrong(format!("frame {n} of {all} is not there")))
    }

    fn push(&mut self, at: u64, stack: Option<StackId>, weight: u64) -> Result<(), Obstacle> {
        if self.samples.len() >= self.room {
            return Err(wrong(format!("it has more than {MOST_SAMPLES} samples")));
        }
        let at = if self.timed { At(at) } else { At::START };
        let (comm, tid) = (self.comm.clone(), self.tid);
        self.samples.push(Sample { at, cpu: 0, pid: UNKNOWN, tid, comm, stack, weight });
        Ok(())
    }

    /// Takes samples, which follow each other by their weights; gives back where they end.
    fn sampled(&mut self, p: &Sampled<'_>, scale: u64, rounded: &mut u64) -> Result<u64, Obstacle> {
        if p.samples.len() != p.weights.len() {
            let (samples, weights) = (p.samples.len(), p.weights.len());
            return Err(wrong(format!("it has {samples} samples and {weights} weights")));
        }
        let mut at = 0u64;
        // What rounding has left over so far.
        let mut over = 0.0;
        for (n, (frames, weight)) in p.samples.iter().zip(&p.weights).enumerate() {
            let bad = || wrong(format!("weight {} is {weight}", n + 1));
            let weight = match weight.as_u64().map(|w| w.checked_mul(scale)) {
                Some(weight) => weight.ok_or_else(bad)?,
                None => {
                    let exact = weight.as_f64().ok_or_else(bad)? * scale as f64 + over;
                    if !(-0.5..1e18).contains(&exact) {
                        return Err(bad());
                    }
                    let whole = exact.round();
                    over = exact - whole;
                    *rounded += u64::from(over != 0.0);
                    whole as u64
                }
            };
            let mut stack = None;
            for &frame in frames.iter().take(DEEPEST) {
                let frame = self.frame(frame)?;
                stack = Some(self.table.push(stack, frame));
            }
            if weight > 0 {
                self.push(at, stack, weight)?;
            }
            at = at.checked_add(weight).ok_or_else(|| wrong("its weights add up to more than 64 bits hold"))?;
        }
        Ok(at)
    }

    /// Takes what opens and closes; gives back where it ends.
    fn evented(&mut self, p: &Evented<'_>, scale: u64) -> Result<u64, Obstacle> {
        // Instants are rounded, not what lies between them: so the sum is that of the whole.
        let instant = |at: f64| {
            let at = (at - p.start_value) * scale as f64;
            (-0.5..1e18).contains(&at).then(|| at.round() as u64)
        };
        let end = instant(p.end_value).ok_or_else(|| wrong("it ends before it starts, or after centuries"))?;
        let mut open: Vec<(u32, StackId)> = Vec::new();
        let mut last = 0;
        for (n, turn) in p.events.iter().enumerate() {
            let n = n + 1;
            let at = instant(turn.at).filter(|&at| at >= last);
            let at = at.ok_or_else(|| wrong(format!("event {n} lies before the one above it, or the start")))?;
            self.close_up(&open, last, at)?;
            last = at;
            if turn.kind == TurnKind::Open {
                let frame = self.frame(turn.frame)?;
                if open.len() >= DEEPEST {
                    return Err(wrong(format!("event {n} opens frame {DEEPEST} of a stack")));
                }
                open.push((turn.frame, self.table.push(open.last().map(|(_, stack)| *stack), frame)));
            } else if open.pop().is_none_or(|(frame, _)| frame != turn.frame) {
                return Err(wrong(format!("event {n} closes frame {}, which is not the innermost one", turn.frame)));
            }
        }
        self.close_up(&open, last, end.max(last))?;
        Ok(end.max(last))
    }

    fn close_up(&mut self, open: &[(u32, StackId)], from: u64, to: u64) -> Result<(), Obstacle> {
        match open.last() {
            Some(&(_, stack)) if to > from => self.push(from, Some(stack), to - from),
            _ => Ok(()),
        }
    }
}
