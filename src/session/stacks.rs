//! Samples back into [`Stacks`]: of a session whose frames and stacks are kept once for all events,
//! and of one (up to version 2) in which every event has its own.
//!
//! Must not: panic on anything a file holds, read without a bound, or follow callers in a circle.

use super::rows::{Columns, Names, Read, each, one, wrong};
use crate::model::{CaptureId, FastMap, Frame, FrameId, FrameKind, Sample, SourceLine, StackId, StackTable, Stacks};
use rusqlite::Connection;
use std::sync::Arc;

/// What numbers of frames, stacks and threads stand for, as far as they were met.
#[derive(Debug, Default)]
pub(super) struct Known {
    threads: FastMap<i64, Arc<str>>,
    frames: FastMap<i64, FrameId>,
    nodes: FastMap<i64, StackId>,
    /// Rows of nodes that were read before they were asked for: the caller and the frame.
    ahead: FastMap<i64, (Option<i64>, i64)>,
    table: StackTable,
    /// By node of the table: what it became in the event that is being read; blank between events.
    used: Vec<Option<StackId>>,
}

/// The event of number `seq`, over a table of what its samples use.
pub(super) fn read(names: &mut Names, c: &Connection, seq: i64) -> Read<Stacks> {
    let mut e = head(names, c, seq)?;
    // Taken out, so that names can be asked for shared texts meanwhile.
    let mut known = std::mem::take(&mut names.stacks);
    let outcome = samples(names, &mut known, c, seq, &mut e);
    let mut used = std::mem::take(&mut known.used);
    used.resize(known.table.nodes.len(), None);
    let mut stacks = Vec::new();
    for sample in &mut e.samples {
        stacks.extend(sample.stack);
        sample.stack = sample.stack.and_then(|s| e.table.adopt(&known.table, &mut used, s));
    }
    // Made blank again where it was written on: the table is that of the whole session.
    for stack in stacks {
        let mut next = Some(stack);
        while let Some(id) = next.filter(|id| used.get_mut(id.0 as usize).is_some_and(|u| u.take().is_some())) {
            next = known.table.nodes[id.0 as usize].0;
        }
    }
    known.used = used;
    names.stacks = known;
    outcome.map(|()| e)
}

fn head(names: &mut Names, c: &Connection, seq: i64) -> Read<Stacks> {
    let sql = "SELECT at_ns, capture, event, unit, lost FROM stacks WHERE seq = ?1";
    one(c, sql, seq, |row| {
        Ok(Stacks {
            at: row.at(0)?,
            capture: CaptureId(row.small(1)?),
            event: names.shared(row.text(2)?),
            unit: names.shared(row.text(3)?),
            table: Default::default(),
            samples: Vec::new(),
            lost: row.count(4)?,
        })
    })
}

fn samples(names: &mut Names, known: &mut Known, c: &Connection, seq: i64, e: &mut Stacks) -> Read<()> {
    let sql = "SELECT at_ns, cpu, pid, tid, thread_id, node, weight FROM samples WHERE seq = ?1 ORDER BY n LIMIT ?2";
    each(c, sql, seq, |row| {
        let stack = match row.is_null(5)? {
            true => None,
            false => Some(known.stack(names, c, row.integer(5)?)?),
        };
        let comm = known.thread(names, c, row.integer(4)?)?;
        let (at, cpu, pid, tid) = (row.at(0)?, row.small(1)?, row.small(2)?, row.small(3)?);
        e.samples.push(Sample { at, cpu, pid, tid, comm, stack, weight: row.count(6)? });
        Ok(())
    })
}

impl Known {
    fn thread(&mut self, names: &mut Names, c: &Connection, id: i64) -> Read<Arc<str>> {
        if let Some(known) = self.threads.get(&id) {
            return Ok(known.clone());
        }
        let comm = one(c, "SELECT comm FROM threads WHERE id = ?1", id, |row| Ok(names.shared(row.text(0)?)))?;
        self.threads.insert(id, comm.clone());
        Ok(comm)
    }

    fn frame(&mut self, names: &mut Names, c: &Connection, id: i64) -> Read<FrameId> {
        if let Some(&known) = self.frames.get(&id) {
            return Ok(known);
        }
        let sql = "SELECT symbol, module, kind, file, line FROM frames WHERE id = ?1";
        let frame = one(c, sql, id, |row| {
            let kind = match usize::try_from(row.integer(2)?).ok().and_then(|n| FrameKind::ALL.get(n)) {
                Some(&kind) => kind,
                None => return wrong("a frame of an unknown kind"),
            };
            let line = match row.is_null(3)? {
                true => None,
                false => Some(SourceLine { file: names.shared(row.text(3)?), line: row.small(4)? }),
            };
            Ok(Frame { symbol: row.text(0)?.into(), module: names.shared(row.text(1)?), kind, line })
        })?;
        let frame = self.table.frame(frame);
        self.frames.insert(id, frame);
        Ok(frame)
    }

    /// The caller and the frame of a node. Nodes are numbered in the order of their first use, so those
    /// around it are asked for next; a statement for each would be most of the work of opening a session.
    fn row(&mut self, c: &Connection, id: i64) -> Read<(Option<i64>, i64)> {
        if let Some(row) = self.ahead.remove(&id) {
            return Ok(row);
        }
        let read = |row: &rusqlite::Row<'_>, first: usize| -> Read<(Option<i64>, i64)> {
            let above = if row.is_null(first)? { None } else { Some(row.integer(first)?) };
            Ok((above, row.integer(first + 1)?))
        };
        let (nodes, ahead) = (&self.nodes, &mut self.ahead);
        let sql = "SELECT id, caller, frame FROM nodes WHERE id BETWEEN ?1 - 256 AND ?1 + 1024 LIMIT ?2";
        each(c, sql, id, |row| {
            // What is damaged is told when it is asked for.
            if let (Ok(n), Ok(there)) = (row.integer(0), read(row, 1))
                && !nodes.contains_key(&n)
            {
                ahead.insert(n, there);
            }
            Ok(())
        })?;
        match self.ahead.remove(&id) {
            Some(row) => Ok(row),
            None => one(c, "SELECT caller, frame FROM nodes WHERE id = ?1", id, |row| read(row, 0)),
        }
    }

    /// A stack with all its callers. A caller has a lower number than what it called, so this ends.
    fn stack(&mut self, names: &mut Names, c: &Connection, id: i64) -> Read<StackId> {
        let mut path = Vec::new();
        let mut caller = None;
        let mut next = Some(id);
        while let Some(id) = next {
            if let Some(&known) = self.nodes.get(&id) {
                caller = Some(known);
                break;
            }
            let (above, frame) = self.row(c, id)?;
            if above.is_some_and(|above| above >= id) {
                return wrong("a caller after its callee");
            }
            path.push((id, frame));
            next = above;
        }
        for (id, frame) in path.into_iter().rev() {
            let frame = self.frame(names, c, frame)?;
            let stack = self.table.push(caller, frame);
            self.nodes.insert(id, stack);
            caller = Some(stack);
        }
        match caller {
            Some(stack) => Ok(stack),
            None => wrong("a sample without its stack"),
        }
    }
}

/// The event of number `seq` of a session of version 1 or 2.
pub(super) fn of_version_2(names: &mut Names, c: &Connection, seq: i64) -> Read<Stacks> {
    let mut e = head(names, c, seq)?;
    // Positions are checked against the numbers the table gives: a gap, a repeated frame
    // or a caller that does not come before its callee (a cycle) makes them differ.
    let sql = "SELECT n, symbol, module, kernel FROM frames WHERE seq = ?1 ORDER BY n LIMIT ?2";
    each(c, sql, seq, |row| {
        let kind = match row.integer(3)? {
            0 => FrameKind::User,
            1 => FrameKind::Kernel,
            n => return wrong(format!("a frame with kernel = {n}")),
        };
        let frame = Frame::new(row.text(1)?, names.shared(row.text(2)?), kind);
        if e.table.frame(frame).0 == row.small(0)? { Ok(()) } else { wrong("frames out of order") }
    })?;
    let sql = "SELECT n, caller, frame FROM nodes WHERE seq = ?1 ORDER BY n LIMIT ?2";
    each(c, sql, seq, |row| {
        let (caller, frame) = (row.small_or_null(1)?.map(StackId), FrameId(row.small(2)?));
        if caller.is_some_and(|caller| caller.0 as usize >= e.table.nodes.len()) {
            return wrong("a caller after its callee");
        }
        if frame.0 as usize >= e.table.frames.len() {
            return wrong("a node without a frame");
        }
        if e.table.push(caller, frame).0 == row.small(0)? { Ok(()) } else { wrong("nodes out of order") }
    })?;
    let sql = "SELECT at_ns, cpu, pid, tid, comm, node, weight FROM samples WHERE seq = ?1 ORDER BY n LIMIT ?2";
    each(c, sql, seq, |row| {
        let stack = row.small_or_null(5)?.map(StackId);
        if stack.is_some_and(|stack| stack.0 as usize >= e.table.nodes.len()) {
            return wrong("a sample without its stack");
        }
        let (at, cpu, pid, tid) = (row.at(0)?, row.small(1)?, row.small(2)?, row.small(3)?);
        let comm = names.shared(row.text(4)?);
        e.samples.push(Sample { at, cpu, pid, tid, comm, stack, weight: row.count(6)? });
        Ok(())
    })?;
    Ok(e)
}
