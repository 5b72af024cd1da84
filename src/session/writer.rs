//! [`Writer`]: events into a session file, whole or not at all.
//!
//! WAL mode, so that readers never wait for the writer nor it for them. `synchronous` is
//! NORMAL: a commit hands its pages to the kernel without waiting for the disk, which is all
//! that `kill -9` asks for, and after a power failure the file is whole and at worst lacks
//! its last seconds. Only the checkpoint (about every 4 MB) waits for the disk; therefore
//! the workbench gives the writer a thread of its own.
//!
//! Must not: be called from a thread that must not wait, or read a clock.

use super::error::SessionError;
use super::file;
use super::schema::Number;
use crate::model::{
    At, CaptureNews, CaptureState, Event, Exemplar, Instance, Interval, Metric, OutcomeCount, Readings, RouteInterval,
    StackTable, Stacks, TrafficCounts,
};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Event time after which what is written is committed, ns.
const COMMIT_AFTER_NS: u64 = 250_000_000;
/// How long the last step waits for readers to let go of the file.
const FINISH_TIMEOUT: Duration = Duration::from_millis(300);

/// Writes one session.
///
/// Dropping it without [`Writer::finish`] commits what was written and leaves the file as a
/// crash would: complete, and readable. A session was ended cleanly when it holds
/// [`Event::Closing`]; that is an event as any other and never added here.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    last_seq: i64,
    names: Names,
    /// The latest event time written, and that of the last commit.
    latest: At,
    committed: At,
    pending: bool,
    /// Whether the file names this process as its writer.
    named: bool,
    failure: Option<SessionError>,
}

/// The numbers that names were given.
#[derive(Debug, Default)]
struct Names {
    series: HashMap<(Metric, Instance), i64>,
    routes: HashMap<Arc<str>, i64>,
    threads: HashMap<Arc<str>, i64>,
    /// Every frame and stack written so far: their numbers are those in the file.
    stacks: StackTable,
}

impl Writer {
    /// Makes a new session file at `path`.
    ///
    /// An existing file is replaced only with `overwrite`, and even then only when it is a
    /// perfbench session (or empty) that no running perfbench writes; its `-wal`, `-shm` and
    /// `-journal` go with it.
    ///
    /// Errors: the folder is missing, the file exists, is no session or in use, or the system
    /// refuses.
    pub fn create(path: &Path, overwrite: bool) -> Result<Writer, SessionError> {
        let path = file::absolute(path)?;
        file::claim(&path, overwrite)?;
        let opened = file::lay_out(&path).and_then(|connection| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => Ok(Writer {
                path,
                connection,
                last_seq: 0,
                names: Names::default(),
                latest: At::START,
                committed: At::START,
                pending: false,
                named: true,
                failure: None,
            }),
            Err(e) => {
                // A claimed name without tables helps nobody; the file is ours and empty.
                for suffix in ["-journal", "-wal", "-shm", ""] {
                    let _ = std::fs::remove_file(file::companion(&path, suffix));
                }
                Err(SessionError::from_sqlite(&path, &e))
            }
        }
    }

    /// The file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one event. It is in the file after the next commit, which comes by itself with
    /// the event that is 250 ms of event time after the last one, and with every opening and
    /// closing.
    ///
    /// Errors: when the disk is full or anything else fails, nothing more is written: the
    /// event and those since the last commit are lost, those before stay readable, and every
    /// later call gives the same error at once.
    pub fn write(&mut self, event: &Event) -> Result<(), SessionError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.insert(event).map_err(|e| self.fail(&e))?;
        self.pending = true;
        self.latest = self.latest.max(event.at());
        let at_once = matches!(event, Event::Opening(_) | Event::Closing(_));
        if at_once || self.latest.since_ns(self.committed) >= COMMIT_AFTER_NS { self.commit() } else { Ok(()) }
    }

    /// Makes everything written so far readable by others and safe from a crash of this
    /// process. For the owner to call when no events come; does nothing when nothing is new.
    ///
    /// Errors: as [`Writer::write`].
    pub fn commit(&mut self) -> Result<(), SessionError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if !self.pending {
            return Ok(());
        }
        // The next transaction begins at once and so keeps everybody else from writing.
        self.connection.execute_batch("COMMIT; BEGIN IMMEDIATE").map_err(|e| self.fail(&e))?;
        self.pending = false;
        self.committed = self.latest;
        Ok(())
    }

    /// Commits and leaves one file without companions, which can be opened read-only from a
    /// read-only folder. While a reader still follows it, the companions stay until that
    /// reader closes. Writes nothing of its own.
    ///
    /// Errors: as [`Writer::write`]. What was committed stays readable.
    pub fn finish(mut self) -> Result<(), SessionError> {
        self.commit()?;
        self.connection.execute_batch("ROLLBACK").map_err(|e| self.fail(&e))?;
        self.disown().map_err(|e| self.fail(&e))?;
        // From here on nothing can be lost: what fails leaves the -wal, which is read as well.
        let tidied = self.connection.busy_timeout(FINISH_TIMEOUT).and_then(|()| {
            self.connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
        });
        self.connection.flush_prepared_statement_cache();
        match tidied.map_err(|e| SessionError::from_sqlite(&self.path, &e)) {
            Ok(_) | Err(SessionError::Locked { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Takes the writer's name out of the file: nobody writes it any more.
    fn disown(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("DELETE FROM meta WHERE key >= 'writer_' AND key < 'writer`'")?;
        self.named = false;
        Ok(())
    }

    /// Gives up what is not committed and remembers why.
    fn fail(&mut self, e: &rusqlite::Error) -> SessionError {
        let failure = SessionError::from_sqlite(&self.path, e);
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.pending = false;
        self.failure = Some(failure.clone());
        failure
    }

    fn insert(&mut self, event: &Event) -> rusqlite::Result<()> {
        self.last_seq += 1;
        let (c, seq) = (&self.connection, self.last_seq);
        match event {
            Event::Opening(e) => {
                let json = serde_json::to_string(e).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
                put(c, "INSERT INTO openings VALUES (?1, ?2)", params![seq, json])
            }
            Event::Interval(e) => put_interval(c, &mut self.names, seq, e),
            Event::Readings(e) => put_readings(c, &mut self.names, seq, e),
            Event::Stacks(e) => put_stacks(c, &mut self.names, seq, e),
            Event::Capture(e) => put_capture(c, seq, e),
            Event::Traffic(e) => put_traffic(c, seq, e),
            Event::Mark(e) => put(
                c,
                "INSERT INTO marks VALUES (?1, ?2, ?3, ?4)",
                params![seq, Number(e.at.0), e.label, e.kind.name()],
            ),
            Event::Fault(e) => put(
                c,
                "INSERT INTO faults VALUES (?1, ?2, ?3, ?4, ?5)",
                params![seq, Number(e.at.0), e.place, e.what, e.mend],
            ),
            Event::Closing(e) => {
                put(c, "INSERT INTO closings VALUES (?1, ?2, ?3)", params![seq, Number(e.at.0), e.why])
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("COMMIT");
        }
        if self.named {
            let _ = self.disown();
        }
    }
}

fn put(c: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
    c.prepare_cached(sql)?.execute(values).map(drop)
}

/// The position of a value within its event.
fn position(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Names {
    fn series(&mut self, c: &Connection, metric: Metric, instance: &Instance) -> rusqlite::Result<i64> {
        let key = (metric, instance.clone());
        if let Some(&id) = self.series.get(&key) {
            return Ok(id);
        }
        let id = position(self.series.len()) + 1;
        put(c, "INSERT INTO series VALUES (?1, ?2, ?3)", params![id, metric.name(), instance])?;
        self.series.insert(key, id);
        Ok(id)
    }

    fn route(&mut self, c: &Connection, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(&id) = self.routes.get(name) {
            return Ok(id);
        }
        let id = position(self.routes.len()) + 1;
        put(c, "INSERT INTO routes VALUES (?1, ?2)", params![id, name])?;
        self.routes.insert(name.clone(), id);
        Ok(id)
    }

    fn thread(&mut self, c: &Connection, comm: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(&id) = self.threads.get(comm) {
            return Ok(id);
        }
        let id = position(self.threads.len()) + 1;
        put(c, "INSERT INTO threads VALUES (?1, ?2)", params![id, comm])?;
        self.threads.insert(comm.clone(), id);
        Ok(id)
    }
}

fn put_readings(c: &Connection, names: &mut Names, seq: i64, e: &Readings) -> rusqlite::Result<()> {
    put(
        c,
        "INSERT INTO samplings VALUES (?1, ?2, ?3, ?4)",
        params![seq, Number(e.at.0), e.sampler, Number(e.took_ns)],
    )?;
    let mut insert = c.prepare_cached("INSERT INTO readings VALUES (?1, ?2, ?3, ?4)")?;
    for (n, reading) in e.values.iter().enumerate() {
        let series = names.series(c, reading.metric, &reading.instance)?;
        insert.execute((seq, position(n), series, reading.value))?;
    }
    Ok(())
}

fn put_interval(c: &Connection, names: &mut Names, seq: i64, e: &Interval) -> rusqlite::Result<()> {
    put(
        c,
        "INSERT INTO intervals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
         ?18, ?19, ?20, ?21, ?22)",
        params![
            seq,
            e.worker,
            Number(e.span.from.0),
            Number(e.span.to.0),
            Number(e.offered),
            Number(e.sent),
            Number(e.completed),
            Number(e.failed),
            Number(e.dropped),
            Number(e.retried),
            Number(e.in_flight),
            Number(e.queued),
            Number(e.connections_opened),
            Number(e.received_bytes),
            Number(e.sent_bytes),
            e.response_time.bytes(),
            e.service_time.bytes(),
            e.send_lag.bytes(),
            Number(e.grown),
            Number(e.remarks.surplus_bytes),
            Number(e.remarks.length_and_chunks),
            Number(e.remarks.interim_responses),
        ],
    )?;
    for (n, (phase, time)) in e.phases.iter().filter(|(_, time)| !time.is_empty()).enumerate() {
        put(
            c,
            "INSERT INTO phase_times VALUES (?1, ?2, ?3, ?4)",
            params![seq, position(n), phase.name(), time.bytes()],
        )?;
    }
    for (n, OutcomeCount { outcome, count }) in e.outcomes.iter().enumerate() {
        let values = params![seq, position(n), outcome.to_string(), Number(*count)];
        put(c, "INSERT INTO outcomes VALUES (?1, ?2, ?3, ?4)", values)?;
    }
    for (n, r) in e.routes.iter().enumerate() {
        let RouteInterval { route, requests, failed, server_errors, mismatched, response_time } = r;
        let route = names.route(c, route)?;
        put(
            c,
            "INSERT INTO route_intervals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                seq,
                position(n),
                route,
                Number(*requests),
                Number(*failed),
                Number(*server_errors),
                response_time.bytes(),
                Number(*mismatched)
            ],
        )?;
    }
    for (n, x) in e.exemplars.iter().enumerate() {
        let Exemplar { due, response_ns, service_ns, route, outcome } = x;
        let route = names.route(c, route)?;
        put(
            c,
            "INSERT INTO exemplars VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                seq,
                position(n),
                Number(due.0),
                Number(*response_ns),
                Number(*service_ns),
                route,
                outcome.to_string()
            ],
        )?;
    }
    Ok(())
}

fn put_stacks(c: &Connection, names: &mut Names, seq: i64, e: &Stacks) -> rusqlite::Result<()> {
    put(
        c,
        "INSERT INTO stacks VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![seq, Number(e.at.0), e.capture.0, e.event, e.unit, Number(e.lost)],
    )?;
    let (frames, nodes) = (names.stacks.frames.len(), names.stacks.nodes.len());
    let mut known = vec![None; e.table.nodes.len()];
    let mut insert = c.prepare_cached("INSERT INTO samples VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    for (n, s) in e.samples.iter().enumerate() {
        let node = s.stack.and_then(|stack| names.stacks.adopt(&e.table, &mut known, stack)).map(|stack| stack.0);
        let thread = names.thread(c, &s.comm)?;
        insert.execute((seq, position(n), Number(s.at.0), s.cpu, s.pid, s.tid, thread, node, Number(s.weight)))?;
    }
    let mut insert = c.prepare_cached("INSERT INTO frames VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for (id, f) in names.stacks.frames.iter().enumerate().skip(frames) {
        let (file, line) = f.line.as_ref().map(|l| (&l.file, l.line)).unzip();
        insert.execute((position(id), &f.symbol, &f.module, f.kind as i64, file, line))?;
    }
    let mut insert = c.prepare_cached("INSERT INTO nodes VALUES (?1, ?2, ?3)")?;
    for (id, (caller, frame)) in names.stacks.nodes.iter().enumerate().skip(nodes) {
        insert.execute((position(id), caller.map(|stack| stack.0), frame.0))?;
    }
    Ok(())
}

fn put_capture(c: &Connection, seq: i64, e: &CaptureNews) -> rusqlite::Result<()> {
    let (at, id) = (Number(e.at.0), e.id.0);
    match &e.state {
        CaptureState::Sampling { for_ns, hz, how } => put(
            c,
            "INSERT INTO captures(seq, at_ns, capture, state, for_ns, hz, how)
             VALUES (?1, ?2, ?3, 'sampling', ?4, ?5, ?6)",
            params![seq, at, id, Number(*for_ns), hz, how],
        ),
        CaptureState::Reading => put(
            c,
            "INSERT INTO captures(seq, at_ns, capture, state) VALUES (?1, ?2, ?3, 'reading')",
            params![seq, at, id],
        ),
        CaptureState::Done { span, samples, lost, notes } => {
            let notes = serde_json::to_string(notes).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
            put(
                c,
                "INSERT INTO captures(seq, at_ns, capture, state, from_ns, to_ns, samples, lost, notes)
                 VALUES (?1, ?2, ?3, 'done', ?4, ?5, ?6, ?7, ?8)",
                params![seq, at, id, Number(span.from.0), Number(span.to.0), Number(*samples), Number(*lost), notes],
            )
        }
        CaptureState::Failed { what, mend } => put(
            c,
            "INSERT INTO captures(seq, at_ns, capture, state, what, mend) VALUES (?1, ?2, ?3, 'failed', ?4, ?5)",
            params![seq, at, id, what, mend],
        ),
    }
}

fn put_traffic(c: &Connection, seq: i64, e: &TrafficCounts) -> rusqlite::Result<()> {
    put(
        c,
        "INSERT INTO traffic VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            seq,
            Number(e.at.0),
            e.format,
            Number(e.lines),
            Number(e.requests),
            Number(e.out_of_order),
            Number(e.outside_window),
            Number(e.repeats)
        ],
    )?;
    for (n, s) in e.skipped.iter().enumerate() {
        put(
            c,
            "INSERT INTO skipped VALUES (?1, ?2, ?3, ?4, ?5)",
            params![seq, position(n), s.reason, Number(s.count), s.first],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Closing, Mark};
    use crate::session::Reader;

    fn mark(ms: u64, label: impl Into<String>) -> Event {
        Event::Mark(Mark { at: At(ms * 1_000_000), kind: crate::model::MarkKind::User, label: label.into() })
    }

    #[test]
    fn a_full_disk_is_said_once_and_for_all_and_loses_nothing_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.perfbench");
        let mut writer = Writer::create(&path, false).unwrap();
        let pages: i64 = writer.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        writer.connection.pragma_update_and_check(None, "max_page_count", pages + 20, |_| Ok(())).unwrap();
        let mut written = Vec::new();
        let failure = loop {
            let event = mark(written.len() as u64 * 100, "x".repeat(3000));
            match writer.write(&event) {
                Ok(()) => written.push(event),
                Err(e) => break e,
            }
            assert!(written.len() < 1000, "the limit does not bite");
        };
        assert!(matches!(failure, SessionError::DiskFull { .. }), "{failure}");
        assert_eq!(writer.write(&mark(0, "later")), Err(failure.clone()));
        assert_eq!(writer.commit(), Err(failure.clone()));
        let read = |path: &Path| Reader::open(path).unwrap().next_batch(10_000).unwrap();
        let there = read(&path);
        assert!(
            there.len() + 3 >= written.len() && there == written[..there.len()],
            "{} of {}",
            there.len(),
            written.len()
        );
        assert_eq!(writer.finish(), Err(failure));
        assert_eq!(read(&path), there);
    }

    #[test]
    fn commits_come_with_event_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.perfbench");
        let mut writer = Writer::create(&path, false).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut more = || reader.next_batch(100).unwrap().len();
        writer.write(&mark(100, "a")).unwrap();
        assert_eq!(more(), 0);
        writer.write(&mark(249, "b")).unwrap();
        assert_eq!(more(), 0);
        writer.write(&mark(250, "c")).unwrap();
        assert_eq!(more(), 3);
        writer.write(&mark(260, "late ones wait")).unwrap();
        writer.write(&mark(100, "out of order")).unwrap();
        assert_eq!(more(), 0);
        writer.commit().unwrap();
        assert_eq!(more(), 2);
        writer.write(&Event::Closing(Closing { at: At(261), why: "end".into() })).unwrap();
        assert_eq!(more(), 1);
    }

    #[test]
    fn the_log_is_reused_also_when_a_reader_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.perfbench");
        let mut writer = Writer::create(&path, false).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let (mut read, mut longest) = (0, 0);
        for n in 0..4000u64 {
            writer.write(&mark(n * 250, "x".repeat(10_000))).unwrap();
            read += reader.next_batch(100).unwrap().len();
            longest = longest.max(std::fs::metadata(file::companion(&path, "-wal")).unwrap().len());
        }
        assert!(read > 3990 && std::fs::metadata(&path).unwrap().len() > 30_000_000);
        assert!(longest < 8_000_000, "the log grew to {longest} bytes");
    }

    #[test]
    fn nobody_else_can_write_while_a_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.perfbench");
        let mut writer = Writer::create(&path, false).unwrap();
        let other = Connection::open(&path).unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        assert!(other.execute_batch("DELETE FROM meta").is_err());
        writer.write(&mark(1000, "a")).unwrap();
        assert!(other.execute_batch("DELETE FROM meta").is_err());
    }
}
