//! Rows back into events.
//!
//! A session may come from anywhere and may be damaged, so each value is checked for its type
//! and range. An event that holds one wrong value is skipped whole and counted, because half
//! an event would be believed; the exceptions are a metric or an outcome whose name a newer
//! perfbench knows, which are skipped alone.
//!
//! Must not: panic on anything a file holds, or read without a bound.

use super::schema::Kind;
use super::stacks;
use crate::model::{
    At, CaptureId, CaptureNews, CaptureState, Closing, Event, Exemplar, Fault, Instance, Interval, Latency, Mark,
    MarkKind, Metric, Opening, Outcome, OutcomeCount, Phase, PhaseTimes, Reading, Readings, Remarks, RouteInterval,
    Skipped, Span, TrafficCounts,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Rows of one event in one table at the most; a capture of 1000 Hz on 256 CPUs for a minute
/// has 15 million samples.
const ROWS_MAX: i64 = 1 << 24;
/// Distinct short texts (samplers, thread names) remembered so that they are kept once.
const TEXTS_MAX: usize = 4096;

/// What was in a session and could not be understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Events skipped because a value in them is wrong.
    pub events: u64,
    /// Single values skipped because this perfbench does not know their name.
    pub values: u64,
    /// The first thing skipped and why, made safe to show.
    pub first: Option<String>,
}

impl Unread {
    pub(super) fn event(&mut self, kind: Kind, seq: i64, why: &str) {
        self.events += 1;
        self.first.get_or_insert_with(|| crate::model::clean(&format!("event {seq} ({kind:?}): {why}"), 200));
    }

    fn unknown(&mut self, name: &str) {
        self.first.get_or_insert_with(|| crate::model::clean(&format!("`{name}` is not known here"), 200));
    }
}

/// Why an event could not be read.
pub(super) enum Trouble {
    /// SQLite cannot go on.
    Sqlite(rusqlite::Error),
    /// This one event is wrong.
    Wrong(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(e)
    }
}

pub(super) type Read<T> = Result<T, Trouble>;

pub(super) fn wrong<T>(what: impl Into<String>) -> Read<T> {
    Err(Trouble::Wrong(what.into()))
}

/// The names that numbers stand for, as far as they were met.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// `None`: a metric that this perfbench does not know.
    series: HashMap<i64, Option<(Metric, Instance)>>,
    routes: HashMap<i64, Arc<str>>,
    texts: HashSet<Arc<str>>,
    /// Whether every event of stacks has frames and stacks of its own, as up to version 2.
    own_stacks: bool,
    pub(super) stacks: stacks::Known,
    pub unread: Unread,
}

/// One column of a row, checked.
pub(super) trait Columns {
    fn text(&self, column: usize) -> Read<&str>;
    fn integer(&self, column: usize) -> Read<i64>;
    fn count(&self, column: usize) -> Read<u64>;
    fn is_null(&self, column: usize) -> Read<bool>;
    fn latency(&self, column: usize) -> Read<Latency>;

    fn at(&self, column: usize) -> Read<At> {
        self.count(column).map(At)
    }

    fn small(&self, column: usize) -> Read<u32> {
        let n = self.integer(column)?;
        u32::try_from(n).or_else(|_| wrong(format!("{n} is out of range")))
    }

    fn small_or_null(&self, column: usize) -> Read<Option<u32>> {
        if self.is_null(column)? { Ok(None) } else { self.small(column).map(Some) }
    }

    fn string(&self, column: usize) -> Read<String> {
        self.text(column).map(str::to_owned)
    }

    fn string_or_null(&self, column: usize) -> Read<Option<String>> {
        if self.is_null(column)? { Ok(None) } else { self.string(column).map(Some) }
    }

    fn outcome(&self, column: usize) -> Read<Result<Outcome, &str>> {
        let text = self.text(column)?;
        Ok(text.parse().map_err(|_| text))
    }
}

impl Columns for Row<'_> {
    fn text(&self, column: usize) -> Read<&str> {
        match self.get_ref(column)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).or_else(|_| wrong("a text that is not UTF-8")),
            other => wrong(format!("{} where a text belongs", other.data_type())),
        }
    }

    fn integer(&self, column: usize) -> Read<i64> {
        match self.get_ref(column)? {
            ValueRef::Integer(n) => Ok(n),
            other => wrong(format!("{} where an integer belongs", other.data_type())),
        }
    }

    /// Reads what [`super::schema::Number`] writes.
    fn count(&self, column: usize) -> Read<u64> {
        match self.get_ref(column)? {
            ValueRef::Integer(n) => u64::try_from(n).or_else(|_| wrong(format!("a count of {n}"))),
            ValueRef::Blob(bytes) => match bytes.try_into().map(u64::from_be_bytes) {
                Ok(n) if i64::try_from(n).is_err() => Ok(n),
                _ => wrong("a blob where a count belongs"),
            },
            other => wrong(format!("{} where a count belongs", other.data_type())),
        }
    }

    fn is_null(&self, column: usize) -> Read<bool> {
        Ok(self.get_ref(column)? == ValueRef::Null)
    }

    fn latency(&self, column: usize) -> Read<Latency> {
        match self.get_ref(column)? {
            ValueRef::Blob(bytes) => Latency::from_bytes(bytes).or_else(|e| wrong(e.to_string())),
            other => wrong(format!("{} where a distribution belongs", other.data_type())),
        }
    }
}

/// The first row of a statement about event `seq`.
pub(super) fn one<T>(c: &Connection, sql: &str, seq: i64, read: impl FnOnce(&Row<'_>) -> Read<T>) -> Read<T> {
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query([seq])?;
    match rows.next()? {
        Some(row) => read(row),
        None => wrong("its row is missing"),
    }
}

/// Every row of a statement about event `seq`, in order.
pub(super) fn each(c: &Connection, sql: &str, seq: i64, mut read: impl FnMut(&Row<'_>) -> Read<()>) -> Read<()> {
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query((seq, ROWS_MAX + 1))?;
    let mut n = 0;
    while let Some(row) = rows.next()? {
        n += 1;
        if n > ROWS_MAX {
            return wrong(format!("more than {ROWS_MAX} values"));
        }
        read(row)?;
    }
    Ok(())
}

impl Names {
    /// Nothing met yet, of a session of that version.
    pub(super) fn of_version(version: i64) -> Names {
        Names { own_stacks: version <= 2, ..Names::default() }
    }

    /// One shared copy of a text that comes again and again.
    pub(super) fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        if self.texts.len() < TEXTS_MAX {
            self.texts.insert(new.clone());
        }
        new
    }

    fn series(&mut self, c: &Connection, id: i64) -> Read<Option<&(Metric, Instance)>> {
        // Looked up twice because a borrow returned early would last to the end.
        if !self.series.contains_key(&id) {
            let found = one(c, "SELECT metric, instance FROM series WHERE id = ?1", id, |row| {
                let name = row.text(0)?;
                match name.parse() {
                    Ok(metric) => Ok(Some((metric, row.text(1)?.into()))),
                    Err(_) => {
                        self.unread.unknown(name);
                        Ok(None)
                    }
                }
            });
            match found {
                Ok(series) => self.series.insert(id, series),
                Err(Trouble::Wrong(why)) => return wrong(format!("series {id}: {why}")),
                Err(e) => return Err(e),
            };
        }
        Ok(self.series.get(&id).and_then(Option::as_ref))
    }

    fn route(&mut self, c: &Connection, id: i64) -> Read<Arc<str>> {
        if let Some(name) = self.routes.get(&id) {
            return Ok(name.clone());
        }
        match one(c, "SELECT name FROM routes WHERE id = ?1", id, |row| row.text(0).map(Arc::<str>::from)) {
            Ok(name) => {
                self.routes.insert(id, name.clone());
                Ok(name)
            }
            Err(Trouble::Wrong(why)) => wrong(format!("route {id}: {why}")),
            Err(e) => Err(e),
        }
    }

    /// Event `seq`, which is of kind `kind`.
    pub fn event(&mut self, c: &Connection, kind: Kind, seq: i64) -> Read<Event> {
        Ok(match kind {
            Kind::Opening => Event::from(one(c, "SELECT opening FROM openings WHERE seq = ?1", seq, opening)?),
            Kind::Interval => Event::Interval(self.interval(c, seq)?),
            Kind::Readings => Event::Readings(self.readings(c, seq)?),
            Kind::Stacks if self.own_stacks => Event::Stacks(stacks::of_version_2(self, c, seq)?),
            Kind::Stacks => Event::Stacks(stacks::read(self, c, seq)?),
            Kind::Capture => Event::Capture(one(
                c,
                "SELECT at_ns, capture, state, for_ns, hz, how, from_ns, to_ns, samples, lost, notes, what, mend
                 FROM captures WHERE seq = ?1",
                seq,
                capture,
            )?),
            Kind::Traffic => Event::Traffic(self.traffic(c, seq)?),
            Kind::Mark => Event::Mark(one(c, "SELECT at_ns, label, kind FROM marks WHERE seq = ?1", seq, |row| {
                let kind = MarkKind::named(row.text(2)?).unwrap_or_default();
                Ok(Mark { at: row.at(0)?, kind, label: row.string(1)? })
            })?),
            Kind::Fault => {
                Event::Fault(one(c, "SELECT at_ns, place, what, mend FROM faults WHERE seq = ?1", seq, |row| {
                    let (at, place) = (row.at(0)?, row.string(1)?);
                    Ok(Fault { at, place, what: row.string(2)?, mend: row.string_or_null(3)? })
                })?)
            }
            Kind::Closing => Event::Closing(one(c, "SELECT at_ns, why FROM closings WHERE seq = ?1", seq, |row| {
                Ok(Closing { at: row.at(0)?, why: row.string(1)? })
            })?),
        })
    }

    fn readings(&mut self, c: &Connection, seq: i64) -> Read<Readings> {
        let mut e = one(c, "SELECT at_ns, took_ns, sampler FROM samplings WHERE seq = ?1", seq, |row| {
            let sampler = self.shared(row.text(2)?);
            Ok(Readings { at: row.at(0)?, took_ns: row.count(1)?, sampler, values: Vec::new() })
        })?;
        let sql = "SELECT series_id, value FROM readings WHERE seq = ?1 ORDER BY n LIMIT ?2";
        each(c, sql, seq, |row| {
            match self.series(c, row.integer(0)?)? {
                Some((metric, instance)) => {
                    let (metric, instance) = (*metric, instance.clone());
                    e.values.push(Reading { metric, instance, value: row.integer(1)? });
                }
                None => self.unread.values += 1,
            }
            Ok(())
        })?;
        Ok(e)
    }

    fn interval(&mut self, c: &Connection, seq: i64) -> Read<Interval> {
        let mut e = one(
            c,
            "SELECT worker, from_ns, to_ns, offered, sent, completed, failed, dropped, retried, in_flight, queued,
             connections_opened, received_bytes, sent_bytes, response_time, service_time, send_lag, grown,
             surplus_bytes, length_and_chunks, interim_responses
             FROM intervals WHERE seq = ?1",
            seq,
            |row| {
                let worker = row.integer(0)?;
                Ok(Interval {
                    worker: u16::try_from(worker).or_else(|_| wrong(format!("worker {worker}")))?,
                    span: span(row, 1)?,
                    offered: row.count(3)?,
                    sent: row.count(4)?,
                    completed: row.count(5)?,
                    failed: row.count(6)?,
                    dropped: row.count(7)?,
                    retried: row.count(8)?,
                    in_flight: row.count(9)?,
                    queued: row.count(10)?,
                    connections_opened: row.count(11)?,
                    received_bytes: row.count(12)?,
                    sent_bytes: row.count(13)?,
                    response_time: row.latency(14)?,
                    service_time: row.latency(15)?,
                    send_lag: row.latency(16)?,
                    grown: row.count(17)?,
                    remarks: Remarks {
                        surplus_bytes: row.count(18)?,
                        length_and_chunks: row.count(19)?,
                        interim_responses: row.count(20)?,
                    },
                    phases: PhaseTimes::default(),
                    outcomes: Vec::new(),
                    routes: Vec::new(),
                    exemplars: Vec::new(),
                })
            },
        )?;
        let sql = "SELECT outcome, count FROM outcomes WHERE seq = ?1 ORDER BY n LIMIT ?2";
        each(c, sql, seq, |row| {
            match row.outcome(0)? {
                Ok(outcome) => e.outcomes.push(OutcomeCount { outcome, count: row.count(1)? }),
                Err(name) => {
                    self.unread.values += 1;
                    self.unread.unknown(name);
                }
            }
            Ok(())
        })?;
        let sql = "SELECT phase, time FROM phase_times WHERE seq = ?1 ORDER BY n LIMIT ?2";
        each(c, sql, seq, |row| {
            match Phase::named(row.text(0)?) {
                Some(phase) => e.phases[phase] = row.latency(1)?,
                None => {
                    self.unread.values += 1;
                    self.unread.unknown(row.text(0)?);
                }
            }
            Ok(())
        })?;
        let sql = "SELECT route_id, requests, failed, server_errors, response_time, mismatched FROM route_intervals
                   WHERE seq = ?1 ORDER BY n LIMIT ?2";
        each(c, sql, seq, |row| {
            e.routes.push(RouteInterval {
                route: self.route(c, row.integer(0)?)?,
                requests: row.count(1)?,
                failed: row.count(2)?,
                server_errors: row.count(3)?,
                response_time: row.latency(4)?,
                mismatched: row.count(5)?,
            });
            Ok(())
        })?;
        let sql = "SELECT due_ns, response_ns, service_ns, route_id, outcome FROM exemplars
                   WHERE seq = ?1 ORDER BY n LIMIT ?2";
        each(c, sql, seq, |row| {
            match row.outcome(4)? {
                Ok(outcome) => e.exemplars.push(Exemplar {
                    due: row.at(0)?,
                    response_ns: row.count(1)?,
                    service_ns: row.count(2)?,
                    route: self.route(c, row.integer(3)?)?,
                    outcome,
                }),
                Err(name) => {
                    self.unread.values += 1;
                    self.unread.unknown(name);
                }
            }
            Ok(())
        })?;
        Ok(e)
    }

    fn traffic(&mut self, c: &Connection, seq: i64) -> Read<TrafficCounts> {
        let sql = "SELECT at_ns, format, lines, requests, out_of_order, outside_window, repeats
                   FROM traffic WHERE seq = ?1";
        let mut e = one(c, sql, seq, |row| {
            Ok(TrafficCounts {
                at: row.at(0)?,
                format: row.string(1)?,
                lines: row.count(2)?,
                requests: row.count(3)?,
                skipped: Vec::new(),
                out_of_order: row.count(4)?,
                outside_window: row.count(5)?,
                repeats: row.count(6)?,
            })
        })?;
        each(c, "SELECT reason, count, first FROM skipped WHERE seq = ?1 ORDER BY n LIMIT ?2", seq, |row| {
            e.skipped.push(Skipped { reason: row.text(0)?.into(), count: row.count(1)?, first: row.string(2)? });
            Ok(())
        })?;
        Ok(e)
    }
}

fn span(row: &Row<'_>, column: usize) -> Read<Span> {
    let span = Span { from: row.at(column)?, to: row.at(column + 1)? };
    if span.from <= span.to { Ok(span) } else { wrong("a stretch that ends before it begins") }
}

/// An opening out of its only column.
pub(super) fn opening(row: &Row<'_>) -> Read<Opening> {
    serde_json::from_str(row.text(0)?).or_else(|e| wrong(e.to_string()))
}

fn capture(row: &Row<'_>) -> Read<CaptureNews> {
    let state = match row.text(2)? {
        "sampling" => CaptureState::Sampling { for_ns: row.count(3)?, hz: row.small(4)?, how: row.string(5)? },
        "reading" => CaptureState::Reading,
        "done" => CaptureState::Done {
            span: span(row, 6)?,
            samples: row.count(8)?,
            lost: row.count(9)?,
            notes: serde_json::from_str(row.text(10)?).or_else(|e| wrong(e.to_string()))?,
        },
        "failed" => CaptureState::Failed { what: row.string(11)?, mend: row.string_or_null(12)? },
        other => return wrong(format!("a capture in state `{other}`")),
    };
    Ok(CaptureNews { at: row.at(0)?, id: CaptureId(row.small(1)?), state })
}
