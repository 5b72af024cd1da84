//! pprof's protocol buffer, as Go's runtime/pprof, gperftools, and the agents of many languages
//! write it (github.com/google/pprof, proto/profile.proto).
//!
//! The outermost message is taken apart field by field and only its parts are decoded one by one:
//! samples come before the names they need, and a whole decoded profile is many times its bytes.
//!
//! Must not: keep a sample that was added up.

use super::addresses::{self, Mapping};
use super::fold::{Fold, Thread, Type};
use super::{Head, Imported, Importer, Input, Obstacle, UNKNOWN, name, wrong};
use crate::model::pprof::{Function, Label, Line, Location, Mapping as WireMapping, Sample, ValueType};
use crate::model::{Frame, FrameId, FrameKind, SourceLine};
use prost::Message;
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of one part of a profile at the most: a sample of 65 536 frames is half of it.
const PART: usize = 1 << 20;
/// Strings, functions or locations at the most.
const MOST_NAMES: usize = 1 << 22;
/// Sample types at the most; a heap has four.
const MOST_TYPES: usize = 64;
/// Labels of a sample that are looked at.
const MOST_LABELS: usize = 32;

/// See the top of the file.
pub(super) struct Pprof;

impl Importer for Pprof {
    fn name(&self) -> &'static str {
        "pprof"
    }

    fn about(&self) -> &'static str {
        "protocol buffer of pprof (.pb, .pb.gz): Go's net/http/pprof and runtime/pprof, gperftools, py-spy, async-profiler, ..."
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        let mut seen = [false; 16];
        for field in Fields::of(head.bytes) {
            match field {
                Ok((number @ 1..=6, Value::Bytes(bytes))) => {
                    let fine = match number {
                        1 => ValueType::decode(bytes).is_ok(),
                        2 => bytes.len() <= PART && Sample::decode(bytes).is_ok(),
                        _ => true,
                    };
                    fine.then(|| seen[number as usize] = true)?;
                }
                Ok((7..=10 | 12..=14, Value::Number(_))) | Ok((11 | 13 | 15, Value::Bytes(_))) => {}
                Ok((15, Value::Number(_))) => {}
                Ok(_) => return None,
                // The head may end within a field.
                Err(_) if !head.whole => break,
                Err(_) if seen[1] => break,
                Err(_) => return None,
            }
        }
        // Some writers put the samples first, which may fill the head.
        (seen[1] || seen[2] && !head.whole)
            .then(|| "it begins with sample types or samples as a pprof protocol buffer has them".to_owned())
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        read(&input.whole()?)
    }
}

/// The parts of a profile but for its samples.
#[derive(Default)]
struct Parts<'a> {
    strings: Vec<&'a [u8]>,
    types: Vec<ValueType>,
    mappings: HashMap<u64, WireMapping>,
    locations: HashMap<u64, Location>,
    functions: HashMap<u64, Function>,
    numbers: [u64; 16],
    period_type: Option<ValueType>,
}

fn read(bytes: &[u8]) -> Result<Imported, Obstacle> {
    let parts = Parts::read(bytes)?;
    let texts = Texts { strings: &parts.strings };
    if parts.types.is_empty() {
        return Err(wrong("it names no sample type: it is no pprof profile, or cut off"));
    }
    let mut scales = Vec::new();
    let mut types = Vec::new();
    for t in &parts.types {
        let (event, unit) = (texts.get(t.kind)?, texts.get(t.unit)?);
        let (unit, scale) = unit_of(&unit);
        types.push(Type { event: if event.is_empty() { "samples".into() } else { event }, unit });
        scales.push(scale);
    }
    let order = parts.order(&types, &texts)?;
    let mut reader = Reader { program: parts.program(&texts)?, drop: parts.drop(&texts), ..Reader::new(&parts, types) };
    for (n, field) in Fields::of(bytes).filter(|f| matches!(f, Ok((2, Value::Bytes(_))))).enumerate() {
        let (_, Value::Bytes(sample)) = field? else { continue };
        reader.sample(n + 1, part::<Sample>(sample, "sample", n + 1)?, &scales)?;
    }
    let signed = |n: usize| i64::from_ne_bytes(parts.numbers[n].to_ne_bytes());
    let length_ns = u64::try_from(signed(10)).unwrap_or(0);
    let hz = parts.hz(&texts)?;
    let (notes, program) = (reader.notes(), reader.program.to_string());
    let stacks = reader.fold.finish(&order)?;
    let started_unix_ns = Some(signed(9)).filter(|&ns| ns > 0);
    Ok(Imported { stacks, length_ns, started_unix_ns, monotonic_ns: None, hz, program, notes })
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Parts<'a>, Obstacle> {
        let mut p = Parts::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(b)) => p.types.push(part(b, "sample type", p.types.len() + 1)?),
                (3, Value::Bytes(b)) => {
                    let m: WireMapping = part(b, "mapping", p.mappings.len() + 1)?;
                    unique(p.mappings.insert(m.id, m).is_none(), "mapping", m.id)?;
                }
                (4, Value::Bytes(b)) => {
                    let l: Location = part(b, "location", p.locations.len() + 1)?;
                    let id = l.id;
                    unique(p.locations.insert(id, l).is_none(), "location", id)?;
                }
                (5, Value::Bytes(b)) => {
                    let f: Function = part(b, "function", p.functions.len() + 1)?;
                    unique(p.functions.insert(f.id, f).is_none(), "function", f.id)?;
                }
                (6, Value::Bytes(b)) => p.strings.push(b),
                (11, Value::Bytes(b)) => p.period_type = Some(part(b, "period type", 1)?),
                (n @ (7..=10 | 12 | 14), Value::Number(v)) => p.numbers[n as usize] = v,
                _ => {} // samples, comments, and what newer versions add
            }
            let names = [p.strings.len(), p.locations.len(), p.functions.len(), p.mappings.len()];
            if names.iter().any(|&n| n > MOST_NAMES) || p.types.len() > MOST_TYPES {
                return Err(wrong("it has more names or sample types than any program"));
            }
        }
        if p.strings.first().is_some_and(|s| !s.is_empty()) {
            return Err(wrong("its first string is not empty, as it must be"));
        }
        Ok(p)
    }

    /// The types, the default one first: the one named, or else the last one, as pprof has it.
    fn order(&self, types: &[Type], texts: &Texts<'_>) -> Result<Vec<usize>, Obstacle> {
        let named = texts.get(i64::from_ne_bytes(self.numbers[14].to_ne_bytes()))?;
        let first = types.iter().position(|t| !named.is_empty() && t.event == named).unwrap_or(types.len() - 1);
        Ok(std::iter::once(first).chain((0..types.len()).filter(|&n| n != first)).collect())
    }

    /// The program's name: that of the first file mapped.
    fn program(&self, texts: &Texts<'_>) -> Result<Arc<str>, Obstacle> {
        let first = self.mappings.values().min_by_key(|m| m.id);
        let file = first.map(|m| texts.get(m.filename)).transpose()?.unwrap_or_default();
        Ok(super::base_name(&file).into())
    }

    /// The frames that are to be left out with what they call, and those to be kept of them. pprof
    /// takes an expression that it can't read for a fault; here it leaves nothing out.
    fn drop(&self, texts: &Texts<'_>) -> Option<(Regex, Option<Regex>)> {
        let expression = |n: usize| {
            let text = texts.get(i64::from_ne_bytes(self.numbers[n].to_ne_bytes())).ok().filter(|t| !t.is_empty())?;
            RegexBuilder::new(&format!("^(?:{text})$")).size_limit(1 << 20).build().ok()
        };
        Some((expression(7)?, expression(8)))
    }

    /// Samples per second, of a profile of the CPU.
    fn hz(&self, texts: &Texts<'_>) -> Result<Option<u32>, Obstacle> {
        let Some(t) = self.period_type else { return Ok(None) };
        let (kind, unit) = (texts.get(t.kind)?, texts.get(t.unit)?);
        let (unit, scale) = unit_of(&unit);
        let period_ns = self.numbers[12].saturating_mul(scale);
        let of_cpu = kind == "cpu" && unit == "ns" && period_ns > 0;
        Ok(of_cpu.then(|| u32::try_from(1_000_000_000 / period_ns).unwrap_or(0)).filter(|&hz| hz > 0))
    }
}

fn unique(new: bool, what: &str, id: u64) -> Result<(), Obstacle> {
    match (id, new) {
        (0, _) => Err(wrong(format!("a {what} has the id 0, which means none"))),
        (_, false) => Err(wrong(format!("two {what}s have the id {id}"))),
        _ => Ok(()),
    }
}

fn part<M: Message + Default>(bytes: &[u8], what: &str, n: usize) -> Result<M, Obstacle> {
    if bytes.len() > PART {
        return Err(wrong(format!("{what} {n} has {} bytes: more than any real one", bytes.len())));
    }
    M::decode(bytes).map_err(|e| wrong(format!("{what} {n} can't be read: {e}")))
}

/// Times in ns; every other unit as it is. With what values are multiplied by.
fn unit_of(unit: &str) -> (String, u64) {
    match unit {
        "nanoseconds" | "ns" => ("ns".into(), 1),
        "microseconds" | "us" => ("ns".into(), 1_000),
        "milliseconds" | "ms" => ("ns".into(), 1_000_000),
        "seconds" | "s" => ("ns".into(), 1_000_000_000),
        "" => ("count".into(), 1),
        other => (other.into(), 1),
    }
}

/// The table of strings.
struct Texts<'a> {
    strings: &'a [&'a [u8]],
}

impl Texts<'_> {
    fn get(&self, n: i64) -> Result<String, Obstacle> {
        let found = usize::try_from(n).ok().and_then(|n| self.strings.get(n));
        match found {
            Some(text) => Ok(name(text)),
            None if n == 0 => Ok(String::new()),
            None => Err(wrong(format!("it names string {n} of {}: it is damaged or cut off", self.strings.len()))),
        }
    }
}

/// The samples on their way into a fold.
struct Reader<'a> {
    parts: &'a Parts<'a>,
    texts: Texts<'a>,
    fold: Fold,
    program: Arc<str>,
    drop: Option<(Regex, Option<Regex>)>,
    /// By location its frames, outermost first.
    known: HashMap<u64, Vec<FrameId>>,
    /// By function its name and file.
    functions: HashMap<u64, (Arc<str>, Arc<str>)>,
    modules: HashMap<u64, Mapping>,
    /// By frame whether what it calls is left out.
    dropping: HashMap<FrameId, bool>,
    negative: u64,
    numbers_lost: Vec<String>,
    path: Vec<FrameId>,
}

impl<'a> Reader<'a> {
    fn new(parts: &'a Parts<'a>, types: Vec<Type>) -> Reader<'a> {
        Reader {
            parts,
            texts: Texts { strings: &parts.strings },
            fold: Fold::new(types),
            program: "".into(),
            drop: None,
            known: HashMap::new(),
            functions: HashMap::new(),
            modules: HashMap::new(),
            dropping: HashMap::new(),
            negative: 0,
            numbers_lost: Vec::new(),
            path: Vec::new(),
        }
    }

    fn sample(&mut self, n: usize, sample: Sample, scales: &[u64]) -> Result<(), Obstacle> {
        if sample.value.len() != scales.len() {
            let (has, types) = (sample.value.len(), scales.len());
            return Err(wrong(format!("sample {n} has {has} values for {types} sample types")));
        }
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        for id in sample.location_id.iter().rev() {
            if !self.known.contains_key(id) {
                let frames = self.location(*id, n)?;
                self.known.insert(*id, frames);
            }
            path.extend(self.known.get(id).into_iter().flatten());
        }
        if self.drop.is_some() {
            self.prune(&mut path);
        }
        let stack = self.fold.stack(&path)?;
        self.path = path;
        let thread = self.thread(&sample.label)?;
        let thread = self.fold.thread(thread);
        let mut weights = Vec::with_capacity(scales.len());
        for (&value, &scale) in sample.value.iter().zip(scales) {
            self.negative += u64::from(value < 0);
            let weight = u64::try_from(value).unwrap_or(0).checked_mul(scale);
            weights.push(weight.ok_or_else(|| wrong(format!("sample {n} has a value of more than 64 bits in ns")))?);
        }
        match weights.iter().any(|&w| w > 0) {
            true => self.fold.add(thread, stack, weights.into_iter()),
            false => Ok(()),
        }
    }

    /// The frames of a location, outermost first: the last of its lines was called, those before
    /// are inlined into it.
    fn location(&mut self, id: u64, sample: usize) -> Result<Vec<FrameId>, Obstacle> {
        let location = self.parts.locations.get(&id).ok_or_else(|| {
            wrong(format!("sample {sample} names location {id}, which is not there: it is damaged or cut off"))
        })?;
        let mapping = match location.mapping_id {
            0 => None,
            id => Some(self.mapping(id)?.clone()),
        };
        if location.line.is_empty() {
            let frame = mapping.map_or_else(|| addresses::nowhere(location.address), |m| m.frame(location.address));
            return Ok(vec![self.fold.table.frame(frame)]);
        }
        let (module, kind) = mapping.map_or(("".into(), FrameKind::User), |m| (m.module.clone(), m.kind()));
        let last = location.line.len() - 1;
        let mut frames = Vec::with_capacity(location.line.len());
        for (n, line) in location.line.iter().enumerate().rev() {
            let kind = if n < last && kind == FrameKind::User { FrameKind::Inlined } else { kind };
            let (symbol, line) = self.function(line, location.address, &module)?;
            frames.push(self.fold.table.frame(Frame { symbol, module: module.clone(), kind, line }));
        }
        Ok(frames)
    }

    fn function(
        &mut self,
        line: &Line,
        address: u64,
        module: &Arc<str>,
    ) -> Result<(Arc<str>, Option<SourceLine>), Obstacle> {
        let id = line.function_id;
        if id == 0 {
            return Ok((
                format!("[{}]+0x{address:x}", if module.is_empty() { "unknown" } else { module }).into(),
                None,
            ));
        }
        if !self.functions.contains_key(&id) {
            let f = self.parts.functions.get(&id).ok_or_else(|| {
                wrong(format!("a location names function {id}, which is not there: it is damaged or cut off"))
            })?;
            let mut symbol = self.texts.get(f.name)?;
            if symbol.is_empty() {
                symbol = self.texts.get(f.system_name)?;
            }
            if symbol.is_empty() {
                symbol = "[unknown]".into();
            }
            self.functions.insert(id, (symbol.into(), self.texts.get(f.filename)?.into()));
        }
        let (symbol, file) = &self.functions[&id];
        let at =
            (!file.is_empty()).then(|| SourceLine { file: file.clone(), line: u32::try_from(line.line).unwrap_or(0) });
        Ok((symbol.clone(), at))
    }

    fn mapping(&mut self, id: u64) -> Result<&Mapping, Obstacle> {
        if !self.modules.contains_key(&id) {
            let m = self.parts.mappings.get(&id).ok_or_else(|| {
                wrong(format!("a location names mapping {id}, which is not there: it is damaged or cut off"))
            })?;
            let file = self.texts.get(m.filename)?;
            self.modules.insert(id, Mapping::new(m.memory_start, m.memory_limit, m.file_offset, file));
        }
        Ok(&self.modules[&id])
    }

    /// Cuts a stack where a frame is to be left out with what it calls, unless nothing would be
    /// above it.
    fn prune(&mut self, path: &mut Vec<FrameId>) {
        let Some((drop, keep)) = &self.drop else { return };
        let table = &self.fold.table;
        let mut dropped = |&id: &FrameId| {
            *self.dropping.entry(id).or_insert_with(|| {
                let symbol = &table.frames[id.0 as usize].symbol;
                drop.is_match(symbol) && !keep.as_ref().is_some_and(|k| k.is_match(symbol))
            })
        };
        let kept = path.iter().position(|f| !dropped(f));
        let cut = kept.and_then(|from| Some(from + path[from..].iter().position(&mut dropped)?));
        path.truncate(cut.unwrap_or(path.len()));
    }

    /// The thread that labels tell of: its name, or the program's with what else is said in words.
    fn thread(&mut self, labels: &[Label]) -> Result<Thread, Obstacle> {
        if labels.is_empty() {
            return Ok(Thread { comm: self.program.clone(), pid: UNKNOWN, tid: UNKNOWN });
        }
        let (mut pid, mut tid, mut named) = (UNKNOWN, UNKNOWN, None);
        let mut words = Vec::new();
        for label in labels.iter().take(MOST_LABELS) {
            let key = self.texts.get(label.key)?;
            let number = u32::try_from(label.num);
            match (key.as_str(), label.str) {
                ("thread" | "thread_name" | "thread name" | "comm", s) if s != 0 => named = Some(self.texts.get(s)?),
                ("thread_id" | "thread id" | "tid", 0) => tid = number.unwrap_or(UNKNOWN),
                ("process_id" | "pid", 0) => pid = number.unwrap_or(UNKNOWN),
                (_, 0) => {
                    if self.numbers_lost.len() < 8 && !self.numbers_lost.contains(&key) {
                        self.numbers_lost.push(key);
                    }
                }
                (_, s) => words.push(format!("{key}={}", self.texts.get(s)?)),
            }
        }
        words.sort();
        let first = named.unwrap_or_else(|| self.program.to_string());
        let comm = std::iter::once(first).chain(words).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
        Ok(Thread { comm: comm.chars().take(200).collect::<String>().into(), pid, tid })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.negative > 0 {
            notes.push(format!(
                "{} values below zero were left out: it is the difference of two profiles",
                self.negative
            ));
        }
        if !self.numbers_lost.is_empty() {
            notes.push(format!("numbers beside the samples were not kept: {}", self.numbers_lost.join(", ")));
        }
        notes
    }
}

/// A field's content (protobuf.dev/programming-guides/encoding).
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// 32 or 64 bits, of which profiles have none.
    Fixed,
}

/// The fields of a message. After an error there are no more.
struct Fields<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes, length: bytes.len() }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for n in 0..10 {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(7 * n)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(n).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let n = self.varint()?;
                Value::Bytes(self.take(n)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        (key >> 3 > 0).then_some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Obstacle>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.length - self.rest.len();
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| wrong(format!("it is no pprof profile, or damaged or cut off, from byte {at} on"))))
    }
}
