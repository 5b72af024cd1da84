//! pprof's protocol buffer, packed with gzip: `go tool pprof` and what reads the same.
//!
//! Every sample type is a value of each sample. Frames that were inlined are lines of the location
//! that they were inlined into; there are no addresses.
//!
//! Must not: keep times or CPUs; the format has none.

use super::{Chosen, Export, ExportError, Numbered, Thread, outermost_first};
use crate::model::pprof::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
use crate::model::{Frame, FrameId, FrameKind, StackId};
use prost::Message as _;
use std::collections::HashMap;
use std::io::Write as _;

/// See the top of the file.
pub(super) struct Pprof;

impl Export for Pprof {
    fn name(&self) -> &'static str {
        "pprof"
    }

    fn about(&self) -> &'static str {
        "pprof's protocol buffer, packed: go tool pprof, Grafana, Polar Signals"
    }

    fn ending(&self) -> &'static str {
        "pb.gz"
    }

    fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, ExportError> {
        let profile = Writer::default().write(chosen)?;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let written = packed.write_all(&profile.encode_to_vec()).and_then(|()| packed.finish());
        written.map_err(|e| ExportError::Encoding(e.to_string()))
    }
}

#[derive(Default)]
struct Writer<'a> {
    profile: Profile,
    strings: HashMap<String, i64>,
    mappings: Numbered<&'a str>,
    functions: Numbered<(&'a str, &'a str)>,
    /// By the function that was called and those inlined into it, outermost first.
    locations: Numbered<Vec<FrameId>>,
    /// By stack its locations, innermost first.
    stacks: HashMap<StackId, Vec<u64>>,
}

impl<'a> Writer<'a> {
    fn write(mut self, chosen: &Chosen<'a>) -> Result<Profile, ExportError> {
        self.text("");
        let types = chosen.types();
        let mut sums: HashMap<(Thread<'a>, Option<StackId>), usize> = HashMap::new();
        let mut rows: Vec<(Thread<'a>, Option<StackId>, Vec<u64>)> = Vec::new();
        let profile = chosen.timeline.profile();
        for (n, t) in types.iter().enumerate() {
            let filter = chosen.of_type(t);
            for s in profile.samples(&filter).filter(|s| s.sample_type.unit == t.unit) {
                let (thread, stack, weight) = (Thread::of(&s), s.stack, s.weight);
                let row = *sums.entry((thread.clone(), stack)).or_insert_with(|| {
                    rows.push((thread, stack, vec![0; types.len()]));
                    rows.len() - 1
                });
                let sum = &mut rows[row].2[n];
                *sum = sum.checked_add(weight).ok_or_else(|| ExportError::TooHeavy(t.event.clone()))?;
            }
        }
        if rows.is_empty() {
            return Err(ExportError::Empty);
        }
        let keys = ["thread", "thread_id", "process_id"].map(|k| self.text(k));
        for (thread, stack, weights) in rows {
            let value = weights
                .iter()
                .zip(&types)
                .map(|(&w, t)| i64::try_from(w).map_err(|_| ExportError::TooHeavy(t.event.clone())));
            let value = value.collect::<Result<Vec<i64>, _>>()?;
            let location_id = stack.map(|s| self.locations_of(chosen, s)).unwrap_or_default();
            let mut label = Vec::new();
            if !thread.comm.is_empty() {
                label.push(Label { key: keys[0], str: self.text(thread.comm), ..Label::default() });
            }
            for (key, number) in [(keys[1], thread.tid), (keys[2], thread.pid)] {
                if number != u32::MAX {
                    label.push(Label { key, num: i64::from(number), ..Label::default() });
                }
            }
            self.profile.sample.push(Sample { location_id, value, label });
        }
        for t in &types {
            let unit = if &*t.unit == "ns" { "nanoseconds" } else { &t.unit };
            let kind = ValueType { kind: self.text(&t.event), unit: self.text(unit) };
            self.profile.sample_type.push(kind);
        }
        // The first one is what was looked at.
        self.profile.default_sample_type = types.first().map_or(0, |t| self.text(&t.event));
        let span = chosen.span();
        let start = i64::try_from(span.from.0).unwrap_or(0);
        self.profile.time_nanos = chosen.timeline.opening().started_unix_ns.saturating_add(start);
        self.profile.duration_nanos = i64::try_from(span.len_ns()).unwrap_or(i64::MAX);
        Ok(self.profile)
    }

    /// The number of a string.
    fn text(&mut self, text: &str) -> i64 {
        if let Some(&n) = self.strings.get(text) {
            return n;
        }
        let n = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), n);
        n
    }

    fn locations_of(&mut self, chosen: &Chosen<'a>, stack: StackId) -> Vec<u64> {
        if let Some(known) = self.stacks.get(&stack) {
            return known.clone();
        }
        let table = chosen.table();
        let path = outermost_first(table, Some(stack));
        let inlined = |f: &FrameId| table.frames[f.0 as usize].kind == FrameKind::Inlined;
        let mut ids = Vec::new();
        let mut from = 0;
        while from < path.len() {
            let to = (from + 1..path.len()).find(|&n| !inlined(&path[n])).unwrap_or(path.len());
            ids.push(self.location(&table.frames, &path[from..to]));
            from = to;
        }
        ids.reverse();
        self.stacks.insert(stack, ids.clone());
        ids
    }

    fn location(&mut self, frames: &'a [Frame], of: &[FrameId]) -> u64 {
        let (n, is_new) = self.locations.number(of.to_vec());
        let id = n as u64 + 1;
        if is_new {
            let mapping_id = self.mapping(&frames[of[0].0 as usize]);
            let line = of.iter().rev().map(|f| self.line(&frames[f.0 as usize])).collect();
            self.profile.location.push(Location { id, mapping_id, address: 0, line });
        }
        id
    }

    fn line(&mut self, frame: &'a Frame) -> Line {
        let (file, line) = frame.line.as_ref().map_or(("", 0), |l| (&*l.file, l.line));
        let (n, is_new) = self.functions.number((&frame.symbol, file));
        let id = n as u64 + 1;
        if is_new {
            let name = self.text(&frame.symbol);
            let filename = self.text(file);
            self.profile.function.push(Function { id, name, system_name: name, filename, start_line: 0 });
        }
        Line { function_id: id, line: i64::from(line) }
    }

    /// The file a frame is in; 0 when nothing is known of it.
    fn mapping(&mut self, frame: &'a Frame) -> u64 {
        let module = match &*frame.module {
            "" if frame.kind.is_kernel() => "[kernel.kallsyms]",
            "" => return 0,
            module => module,
        };
        let (n, is_new) = self.mappings.number(module);
        let id = n as u64 + 1;
        if is_new {
            let filename = self.text(module);
            // Names are all there: nobody is to look for them in the file.
            let (has_functions, has_filenames, has_line_numbers, has_inline_frames) = (true, true, true, true);
            self.profile.mapping.push(Mapping {
                id,
                filename,
                has_functions,
                has_filenames,
                has_line_numbers,
                has_inline_frames,
                ..Mapping::default()
            });
        }
        id
    }
}
