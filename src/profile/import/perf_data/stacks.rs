//! What was read of a recording as stacks with names: of every event by itself, in batches.
//!
//! Must not: read bytes.

use super::Stop;
use super::features::event_name;
use super::names;
use super::read::{Reading, Row};
use crate::model::{At, CaptureId, Frame, FrameId, Sample, StackId, StackTable, Stacks};
use crate::profile::import::{Imported, wrong};
use crate::profile::script;
use std::sync::Arc;

/// Samples that are given together.
const BATCH: usize = 20_000;
/// `CLOCK_MONOTONIC`, time.h.
const MONOTONIC: i32 = 1;

/// Names what was read.
pub(super) fn named(mut reading: Reading) -> Result<Imported, Stop> {
    if reading.rows.is_empty() {
        return Err(Stop::Wrong(wrong("there is not one sample in it")));
    }
    let rows = std::mem::take(&mut reading.rows);
    let (frames, named) = names::frames(&reading.tasks, &reading.features, reading.kernel.take(), &reading.sites);
    let first_ns = rows.iter().map(|r| r.time_ns).min().unwrap_or(0);
    let mut by_event: Vec<(u32, Vec<Row>)> = Vec::new();
    let mut without_stack = 0;
    for row in rows {
        without_stack += u64::from(row.stack.is_none());
        match by_event.iter_mut().find(|(event, _)| *event == row.event) {
            Some((_, rows)) => rows.push(row),
            None => by_event.push((row.event, vec![row])),
        }
    }
    let mut stacks = Vec::new();
    for (event, rows) in &by_event {
        let (name, unit) = event_and_unit(&reading, *event);
        for rows in rows.chunks(BATCH) {
            let (table, samples) = batch(&reading.table, &frames, rows, first_ns);
            let (event, unit) = (name.clone(), unit.clone());
            stacks.push(Stacks { at: At::START, capture: CaptureId(1), event, unit, table, samples, lost: 0 });
        }
    }
    stacks[0].lost = reading.lost.max(reading.lost_samples);
    let mut notes = vec!["read here, not by perf".to_owned()];
    notes.extend(of_samples(&reading, &by_event, without_stack));
    notes.extend(named);
    let event = &reading.header.events[by_event[0].0 as usize];
    let is_monotonic = event.clock.is_none_or(|c| c == MONOTONIC);
    Ok(Imported {
        length_ns: Imported::length_of(&stacks),
        stacks,
        started_unix_ns: reading.features.wall.and_then(|(wall, clock)| wall_at(wall, clock, first_ns)),
        monotonic_ns: (is_monotonic && first_ns > 0).then_some(first_ns),
        hz: event.hz.and_then(|hz| u32::try_from(hz).ok()),
        program: String::new(),
        notes,
    })
}

/// Wall time at the first sample.
fn wall_at(wall: u64, clock: u64, first_ns: u64) -> Option<i64> {
    i64::try_from(i128::from(wall) - i128::from(clock) + i128::from(first_ns)).ok()
}

/// Its name without modifiers, and the unit of its weights.
fn event_and_unit(reading: &Reading, event: u32) -> (Arc<str>, Arc<str>) {
    let told = reading.features.events.get(event as usize).filter(|n| !n.is_empty());
    let name = told.cloned().unwrap_or_else(|| event_name(reading.header.events[event as usize].kind));
    let name = script::event_name(&name);
    (name.into(), script::unit_of(name).into())
}

/// What the reader should know of samples: what they do not tell.
fn of_samples(reading: &Reading, by_event: &[(u32, Vec<Row>)], without_stack: u64) -> Vec<String> {
    use super::header::sample;
    let lacking = |bit: u64| -> u64 {
        let of = by_event.iter().filter(|(e, _)| reading.header.events[*e as usize].sample_type & bit == 0);
        of.map(|(_, rows)| rows.len() as u64).sum()
    };
    let mut notes = Vec::new();
    let mut note = |n: u64, what: &str| {
        if n > 0 {
            notes.push(format!("{n} {what}"));
        }
    };
    note(reading.foreign, "samples are of no event that is in it");
    note(without_stack, "samples came without a stack");
    note(lacking(sample::TIME), "samples have no time: all stand at the start");
    note(lacking(sample::TID), "samples do not tell their process");
    note(lacking(sample::CPU), "samples do not tell their CPU and are shown on CPU 0: perf record --sample-cpu");
    if reading.header.data_size.is_none() {
        notes.push("its recording was broken off: read as far as it goes".into());
    }
    notes
}

/// Samples with a table of their own, in order of time.
fn batch(sites: &StackTable, frames: &[Frame], rows: &[Row], first_ns: u64) -> (StackTable, Vec<Sample>) {
    let mut table = StackTable::default();
    let mut nodes: Vec<Option<StackId>> = vec![None; sites.nodes.len()];
    let mut ids: Vec<Option<FrameId>> = vec![None; frames.len()];
    let mut path = Vec::new();
    let mut samples = Vec::with_capacity(rows.len());
    for row in rows {
        let mut next = row.stack;
        let mut caller = None;
        while let Some(id) = next {
            if let Some(known) = nodes[id.0 as usize] {
                caller = Some(known);
                break;
            }
            path.push(id);
            next = sites.nodes[id.0 as usize].0;
        }
        while let Some(id) = path.pop() {
            let site = sites.nodes[id.0 as usize].1.0 as usize;
            let frame = *ids[site].get_or_insert_with(|| table.frame(frames[site].clone()));
            caller = Some(table.push(caller, frame));
            nodes[id.0 as usize] = caller;
        }
        samples.push(Sample {
            at: At(row.time_ns.saturating_sub(first_ns)),
            cpu: row.cpu,
            pid: row.pid,
            tid: row.tid,
            comm: row.comm.clone(),
            stack: caller,
            weight: row.weight,
        });
    }
    samples.sort_by_key(|s| s.at);
    (table, samples)
}
