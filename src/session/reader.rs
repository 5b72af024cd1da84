//! [`Reader`]: a session file back as events, also while it is still being written.
//!
//! Must not: change what a file holds, or hold a read transaction between two batches, which
//! would keep the writer's log from being reused.

use super::error::SessionError;
use super::file;
use super::rows::{self, Names, Trouble, Unread};
use super::schema::{Kind, LAST_INSTANTS, NEXT_EVENTS};
use crate::model::{At, Event, Opening};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::path::{Path, PathBuf};

/// Events of one batch at the most.
const BATCH_MAX: usize = 1 << 16;

/// Reads one session from its first event to its last.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    last_seq: i64,
    names: Names,
}

impl Reader {
    /// Opens the session at `path`: finished, crashed or being recorded.
    ///
    /// A finished one needs only read permission. Of a crashed one, whose last events are
    /// still in its `-wal`, they are moved into the file when the reader closes.
    ///
    /// Errors: no such file, no session, a newer schema, damage, or a crashed session in a
    /// folder that cannot be written.
    pub fn open(path: &Path) -> Result<Reader, SessionError> {
        let connection = file::open_to_read(path)?;
        connection.set_prepared_statement_cache_capacity(64);
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|e| SessionError::from_sqlite(path, &e))?;
        let names = Names::of_version(version);
        Ok(Reader { path: path.to_owned(), connection, last_seq: 0, names })
    }

    /// The next events in the order they were written, at most `limit` (of 1 to 65536) of
    /// them; empty when there are no more yet. Called again later it goes on where it was, so
    /// a session that is being recorded can be followed. Only whole, committed events come.
    ///
    /// Errors: the file is damaged or cannot be read here. Events before the damage were
    /// given by earlier calls, and every further call gives the error again.
    pub fn next_batch(&mut self, limit: usize) -> Result<Vec<Event>, SessionError> {
        let path = self.path.clone();
        let failed = |e: &rusqlite::Error| SessionError::from_sqlite(&path, e);
        self.connection.execute_batch("BEGIN").map_err(|e| failed(&e))?;
        let batch = self.read(limit.clamp(1, BATCH_MAX));
        // Nothing was written, so ending it either way is the same, also after an error.
        let ended = self.connection.execute_batch("ROLLBACK");
        let batch = batch?;
        ended.map_err(|e| failed(&e))?;
        Ok(batch)
    }

    fn read(&mut self, limit: usize) -> Result<Vec<Event>, SessionError> {
        let mut events = Vec::new();
        // Skipped events leave a batch empty though more follow: empty means the end.
        while events.is_empty() {
            let next = match self.next_numbers(limit) {
                Ok(next) if next.is_empty() => break,
                Ok(next) => next,
                Err(e) => return Err(SessionError::from_sqlite(&self.path, &e)),
            };
            for (seq, kind) in next {
                // Also what ends the loop above: the numbers of a damaged file may go round.
                if seq <= self.last_seq {
                    let what = format!("event {seq} comes after event {}", self.last_seq);
                    return given_or(events, SessionError::Corrupt { path: self.path.clone(), what });
                }
                match self.names.event(&self.connection, kind, seq) {
                    Ok(event) => events.push(event),
                    Err(Trouble::Wrong(why)) => self.names.unread.event(kind, seq, &why),
                    Err(Trouble::Sqlite(e)) => return given_or(events, SessionError::from_sqlite(&self.path, &e)),
                }
                self.last_seq = seq;
            }
        }
        Ok(events)
    }

    fn next_numbers(&self, limit: usize) -> rusqlite::Result<Vec<(i64, Kind)>> {
        let mut statement = self.connection.prepare_cached(NEXT_EVENTS)?;
        let mut rows = statement.query((self.last_seq, i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut next = Vec::with_capacity(limit.min(1024));
        while let Some(row) = rows.next()? {
            if let (ValueRef::Integer(seq), ValueRef::Integer(kind)) = (row.get_ref(0)?, row.get_ref(1)?)
                && let Some(&kind) = usize::try_from(kind).ok().and_then(|kind| Kind::ALL.get(kind))
            {
                next.push((seq, kind));
            }
        }
        Ok(next)
    }

    /// What the session is of, without reading up to it.
    ///
    /// Errors: [`SessionError::NoOpening`] when it was stopped before that was written, or
    /// damage.
    pub fn opening(&self) -> Result<Opening, SessionError> {
        let sqlite = |e: rusqlite::Error| SessionError::from_sqlite(&self.path, &e);
        let sql = "SELECT opening FROM openings ORDER BY seq LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql).map_err(sqlite)?;
        let mut rows = statement.query([]).map_err(sqlite)?;
        match rows.next().map_err(sqlite)? {
            Some(row) => rows::opening(row).map_err(|trouble| match trouble {
                Trouble::Sqlite(e) => sqlite(e),
                Trouble::Wrong(what) => SessionError::Corrupt {
                    path: self.path.clone(),
                    what: crate::model::clean(&format!("its opening: {what}"), 200),
                },
            }),
            None => Err(SessionError::NoOpening { path: self.path.clone() }),
        }
    }

    /// The time of the latest event committed so far, for the length of a session before all
    /// of it is read; [`At::START`] when nothing can be read.
    pub fn last_at(&self) -> At {
        let read = || -> rusqlite::Result<At> {
            let mut statement = self.connection.prepare_cached(LAST_INSTANTS)?;
            let mut rows = statement.query([])?;
            let mut last = At::START;
            while let Some(row) = rows.next()? {
                if let ValueRef::Integer(ns) = row.get_ref(0)? {
                    last = last.max(At(u64::try_from(ns).unwrap_or(0)));
                }
            }
            Ok(last)
        };
        read().unwrap_or_default()
    }

    /// Whether the session was ended cleanly: whether it holds a closing.
    pub fn is_closed(&self) -> bool {
        let mut statement = match self.connection.prepare_cached("SELECT 1 FROM closings LIMIT 1") {
            Ok(statement) => statement,
            Err(_) => return false,
        };
        statement.exists([]).unwrap_or(false)
    }

    /// Whether a perfbench on this machine (and in this pid namespace) is writing the file now.
    ///
    /// To follow a session to its end ask this first and read then: when it says no, the
    /// batches up to the next empty one are the last.
    pub fn is_being_recorded(&self) -> bool {
        file::owner(&self.connection).is_some_and(|owner| owner.is_alive())
    }

    /// What was skipped so far because it could not be understood.
    pub fn unread(&self) -> &Unread {
        &self.names.unread
    }
}

/// What was read before an error is given first; the next batch meets the error again.
fn given_or(events: Vec<Event>, e: SessionError) -> Result<Vec<Event>, SessionError> {
    if events.is_empty() { Err(e) } else { Ok(events) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Latency, MarkKind, Phase, new_histogram};
    use crate::session::APPLICATION_ID;
    use crate::session::schema::schema;

    #[test]
    fn stacks_of_version_2_read_as_if_they_were_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.perfbench");
        {
            let c = Connection::open(&path).unwrap();
            let kind = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 2;");
            c.execute_batch(&(kind + &schema(2))).unwrap();
            for seq in 1..3 {
                c.execute_batch(&format!(
                    "INSERT INTO stacks VALUES ({seq}, 9, 1, 'cpu-clock', 'ns', 0);
                     INSERT INTO frames VALUES ({seq}, 0, 'main', 'web', 0), ({seq}, 1, 'tcp_ack', '', 1);
                     INSERT INTO nodes VALUES ({seq}, 0, NULL, 0), ({seq}, 1, 0, 1);
                     INSERT INTO samples VALUES ({seq}, 0, 7, 1, 2, 3, 'web', 1, 500);"
                ))
                .unwrap();
            }
        }
        let mut reader = Reader::open(&path).unwrap();
        let events = reader.next_batch(10).unwrap();
        assert_eq!((reader.unread(), events.len()), (&Unread::default(), 2));
        for event in &events {
            let Event::Stacks(s) = event else { panic!("{event:?}") };
            let frame = |f: crate::model::FrameId| &s.table.frames[f.0 as usize];
            let stack = s.table.walk(s.samples[0].stack.unwrap());
            let names: Vec<_> = stack.map(|f| (&*frame(f).symbol, frame(f).kind.name())).collect();
            assert_eq!(names, [("tcp_ack", "kernel"), ("main", "user")]);
        }
    }

    #[test]
    fn a_session_of_version_1_reads_as_if_it_were_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.perfbench");
        let mut dense = new_histogram();
        dense.record(7_000).unwrap();
        let (connect, none) = (Latency::encode(&dense), Latency::default());
        {
            let c = Connection::open(&path).unwrap();
            let kind = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;");
            c.execute_batch(&(kind + &schema(1))).unwrap();
            let interval = "INSERT INTO intervals VALUES (1,0,0,200,1,1,1,0,0,0,0,0,1,9,9,?1,?1,?1,?2)";
            c.execute(interval, (none.bytes(), connect.bytes())).unwrap();
            c.execute("INSERT INTO routes VALUES (1, '/a')", ()).unwrap();
            c.execute("INSERT INTO route_intervals VALUES (1,0,1,1,0,0,?1)", [none.bytes()]).unwrap();
            c.execute("INSERT INTO marks VALUES (2, 5, 'here')", ()).unwrap();
        }
        let mut reader = Reader::open(&path).unwrap();
        let events = reader.next_batch(10).unwrap();
        assert_eq!(reader.unread(), &Unread::default());
        let [Event::Interval(i), Event::Mark(m)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&i.phases[Phase::Connect], &i.phases[Phase::Tls], i.grown), (&connect, &none, 0));
        assert_eq!((&*i.routes[0].route, i.routes[0].mismatched), ("/a", 0));
        assert_eq!((m.kind, m.label.as_str()), (MarkKind::User, "here"));
    }
}
