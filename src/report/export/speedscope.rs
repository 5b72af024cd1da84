//! speedscope's JSON (speedscope.app/file-format-schema.json): one sampled profile per thread.
//!
//! Must not: mix sample types; the format has one unit per profile and adds nothing up.

use super::{Chosen, Export, ExportError, Numbered, Thread, outermost_first};
use crate::model::Frame;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// See the top of the file.
pub(super) struct Speedscope;

#[derive(Default)]
struct Of {
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
    total: u64,
}

impl Export for Speedscope {
    fn name(&self) -> &'static str {
        "speedscope"
    }

    fn about(&self) -> &'static str {
        "speedscope JSON, a profile per thread: https://www.speedscope.app"
    }

    fn ending(&self) -> &'static str {
        "speedscope.json"
    }

    fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, ExportError> {
        let table = chosen.table();
        let mut numbers = Numbered::default();
        let mut frames: Vec<Value> = Vec::new();
        let mut threads: BTreeMap<Thread<'_>, Of> = BTreeMap::new();
        let weights = chosen.timeline.profile().weights(chosen.filter);
        // Weights of different units are not added up: then each sample counts one.
        let counted = &*weights.unit == "samples";
        for s in chosen.samples() {
            let of = threads.entry(Thread::of(&s)).or_default();
            let mut path = Vec::new();
            for f in outermost_first(table, s.stack) {
                let (n, is_new) = numbers.number(f);
                if is_new {
                    frames.push(frame(&table.frames[f.0 as usize]));
                }
                path.push(n);
            }
            let weight = if counted { 1 } else { s.weight };
            of.samples.push(path);
            of.weights.push(weight);
            of.total = of.total.checked_add(weight).ok_or_else(|| ExportError::TooHeavy(weights.unit.clone()))?;
        }
        if threads.is_empty() {
            return Err(ExportError::Empty);
        }
        let unit = match &*weights.unit {
            "ns" => "nanoseconds",
            "bytes" => "bytes",
            _ => "none",
        };
        let heaviest = threads.values().enumerate().max_by_key(|(_, of)| of.total).map_or(0, |(n, _)| n);
        let profiles: Vec<Value> = threads
            .into_iter()
            .map(|(thread, of)| {
                json!({
                    "type": "sampled", "name": thread.title(), "unit": unit, "startValue": 0, "endValue": of.total,
                    "samples": of.samples, "weights": of.weights,
                })
            })
            .collect();
        let file = json!({
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": chosen.title(),
            "exporter": format!("perfbench@{}", env!("CARGO_PKG_VERSION")),
            "activeProfileIndex": heaviest,
            "shared": { "frames": frames },
            "profiles": profiles,
        });
        serde_json::to_vec(&file).map_err(|e| ExportError::Encoding(e.to_string()))
    }
}

fn frame(f: &Frame) -> Value {
    let mut frame = json!({ "name": format!("{}{}", f.symbol, f.kind.suffix()) });
    if let Some(line) = &f.line {
        frame["file"] = json!(*line.file);
        if line.line > 0 {
            frame["line"] = json!(line.line);
        }
    } else if !f.module.is_empty() {
        frame["file"] = json!(*f.module);
    }
    frame
}
