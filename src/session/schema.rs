//! The schema of a session file, and how numbers are kept in it.
//!
//! Every event has a number `seq`, from 1, in the order of writing, and one row in the table
//! of its kind; what it holds many of is in further tables under `(seq, n)`. The reader
//! merges the tables by `seq` into the order they were written in. Times are kept once per
//! event. `docs/session-schema.md` describes each column and must be changed with this file.
//!
//! Changing it: another metric, outcome, sampler or route needs nothing. Another field of
//! `Opening` needs `#[serde(default)]` on the field. Another table or column needs a higher
//! [`SCHEMA_VERSION`] and a reader for both.
//!
//! Must not: hold derived values, except in views.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value};

/// `PRAGMA application_id` of a session: the bytes `PfBn`.
pub const APPLICATION_ID: i32 = 0x5066_426e;

/// `PRAGMA user_version` of a session made by this perfbench.
pub const SCHEMA_VERSION: i64 = 4;

/// The tables and views of an empty session of any version there was.
///
/// Up to version 3 nothing was told of what is odd about whole responses.
/// Version 1 had one column for the time to connect, and neither phases, mismatches nor kinds of
/// marks. Up to version 2 frames and nodes were kept anew with every event that used them.
pub(super) fn schema(version: i64) -> String {
    let mut schema = SCHEMA.to_owned();
    if version <= 3 {
        schema = schema.replace(REMARKS, "");
    }
    if version <= 2 {
        schema = schema.replace(STACK_TABLES, STACK_TABLES_2);
    }
    if version == 1 {
        for (now, then) in [
            (PHASE_TIMES, ""),
            ("  grown INTEGER NOT NULL);", "  connect_time BLOB NOT NULL);"),
            (" mismatched INTEGER NOT NULL,", ""),
            (" label TEXT NOT NULL,\n  kind TEXT NOT NULL", " label TEXT NOT NULL"),
        ] {
            schema = schema.replace(now, then);
        }
    }
    schema
}

/// Makes a session of an older version look like one of ours: views of the reading connection
/// alone, which go before the file's tables of the same names.
pub(super) fn as_if_new(version: i64) -> &'static str {
    match version {
        1 => {
            "CREATE TEMP VIEW intervals AS SELECT *, 0 AS grown, 0 AS surplus_bytes, 0 AS length_and_chunks,
               0 AS interim_responses FROM main.intervals;
             CREATE TEMP VIEW phase_times AS
               SELECT seq, 0 AS n, 'connect' AS phase, connect_time AS time FROM main.intervals;
             CREATE TEMP VIEW route_intervals AS SELECT *, 0 AS mismatched FROM main.route_intervals;
             CREATE TEMP VIEW marks AS SELECT *, 'user' AS kind FROM main.marks;"
        }
        2 | 3 => {
            "CREATE TEMP VIEW intervals AS SELECT *, 0 AS surplus_bytes, 0 AS length_and_chunks,
               0 AS interim_responses FROM main.intervals;"
        }
        _ => "",
    }
}

/// As it stands in [`SCHEMA`].
const REMARKS: &str = ",
  surplus_bytes INTEGER NOT NULL, length_and_chunks INTEGER NOT NULL, interim_responses INTEGER NOT NULL";

/// As it stands in [`SCHEMA`].
const STACK_TABLES: &str = "CREATE TABLE threads(id INTEGER PRIMARY KEY, comm TEXT NOT NULL);
CREATE TABLE frames(id INTEGER PRIMARY KEY, symbol TEXT NOT NULL, module TEXT NOT NULL,
  kind INTEGER NOT NULL, file TEXT, line INTEGER);
CREATE TABLE nodes(id INTEGER PRIMARY KEY, caller INTEGER, frame INTEGER NOT NULL);
CREATE TABLE samples(seq INTEGER NOT NULL, n INTEGER NOT NULL, at_ns INTEGER NOT NULL,
  cpu INTEGER NOT NULL, pid INTEGER NOT NULL, tid INTEGER NOT NULL, thread_id INTEGER NOT NULL,
  node INTEGER, weight INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
";

/// What version 2 had in its place.
const STACK_TABLES_2: &str = "CREATE TABLE frames(seq INTEGER NOT NULL, n INTEGER NOT NULL, symbol TEXT NOT NULL,
  module TEXT NOT NULL, kernel INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE TABLE nodes(seq INTEGER NOT NULL, n INTEGER NOT NULL, caller INTEGER,
  frame INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE TABLE samples(seq INTEGER NOT NULL, n INTEGER NOT NULL, at_ns INTEGER NOT NULL,
  cpu INTEGER NOT NULL, pid INTEGER NOT NULL, tid INTEGER NOT NULL, comm TEXT NOT NULL,
  node INTEGER, weight INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
";

/// As it stands in [`SCHEMA`].
const PHASE_TIMES: &str = "CREATE TABLE phase_times(seq INTEGER NOT NULL, n INTEGER NOT NULL, phase TEXT NOT NULL,
  time BLOB NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
";

/// The tables and views of an empty session.
///
/// Tables with a key of two columns are WITHOUT ROWID: the key is stored once and one event's
/// rows lie together. Measured on 2.2 million readings: 18 bytes a row, as with a rowid, and
/// no second index is needed to find an event's rows. With pages of 8 KiB an hour becomes 9 %
/// smaller, writing it 16 % slower and the log of a short run twice as long: left at 4 KiB.
pub(super) const SCHEMA: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE openings(seq INTEGER PRIMARY KEY, opening TEXT NOT NULL);
CREATE TABLE closings(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, why TEXT NOT NULL);

CREATE TABLE series(id INTEGER PRIMARY KEY, metric TEXT NOT NULL, instance TEXT NOT NULL);
CREATE TABLE samplings(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, sampler TEXT NOT NULL,
  took_ns INTEGER NOT NULL);
CREATE TABLE readings(seq INTEGER NOT NULL, n INTEGER NOT NULL, series_id INTEGER NOT NULL,
  value INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;

CREATE TABLE routes(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE intervals(seq INTEGER PRIMARY KEY, worker INTEGER NOT NULL,
  from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL,
  offered INTEGER NOT NULL, sent INTEGER NOT NULL, completed INTEGER NOT NULL,
  failed INTEGER NOT NULL, dropped INTEGER NOT NULL, retried INTEGER NOT NULL,
  in_flight INTEGER NOT NULL, queued INTEGER NOT NULL, connections_opened INTEGER NOT NULL,
  received_bytes INTEGER NOT NULL, sent_bytes INTEGER NOT NULL,
  response_time BLOB NOT NULL, service_time BLOB NOT NULL, send_lag BLOB NOT NULL,
  grown INTEGER NOT NULL,
  surplus_bytes INTEGER NOT NULL, length_and_chunks INTEGER NOT NULL, interim_responses INTEGER NOT NULL);
CREATE TABLE phase_times(seq INTEGER NOT NULL, n INTEGER NOT NULL, phase TEXT NOT NULL,
  time BLOB NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE TABLE outcomes(seq INTEGER NOT NULL, n INTEGER NOT NULL, outcome TEXT NOT NULL,
  count INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE TABLE route_intervals(seq INTEGER NOT NULL, n INTEGER NOT NULL, route_id INTEGER NOT NULL,
  requests INTEGER NOT NULL, failed INTEGER NOT NULL, server_errors INTEGER NOT NULL,
  response_time BLOB NOT NULL, mismatched INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;
CREATE TABLE exemplars(seq INTEGER NOT NULL, n INTEGER NOT NULL, due_ns INTEGER NOT NULL,
  response_ns INTEGER NOT NULL, service_ns INTEGER NOT NULL, route_id INTEGER NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;

CREATE TABLE captures(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, capture INTEGER NOT NULL,
  state TEXT NOT NULL, for_ns INTEGER, hz INTEGER, how TEXT, from_ns INTEGER, to_ns INTEGER,
  samples INTEGER, lost INTEGER, notes TEXT, what TEXT, mend TEXT);
CREATE TABLE stacks(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, capture INTEGER NOT NULL,
  event TEXT NOT NULL, unit TEXT NOT NULL, lost INTEGER NOT NULL);
CREATE TABLE threads(id INTEGER PRIMARY KEY, comm TEXT NOT NULL);
CREATE TABLE frames(id INTEGER PRIMARY KEY, symbol TEXT NOT NULL, module TEXT NOT NULL,
  kind INTEGER NOT NULL, file TEXT, line INTEGER);
CREATE TABLE nodes(id INTEGER PRIMARY KEY, caller INTEGER, frame INTEGER NOT NULL);
CREATE TABLE samples(seq INTEGER NOT NULL, n INTEGER NOT NULL, at_ns INTEGER NOT NULL,
  cpu INTEGER NOT NULL, pid INTEGER NOT NULL, tid INTEGER NOT NULL, thread_id INTEGER NOT NULL,
  node INTEGER, weight INTEGER NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;

CREATE TABLE traffic(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, format TEXT NOT NULL,
  lines INTEGER NOT NULL, requests INTEGER NOT NULL, out_of_order INTEGER NOT NULL,
  outside_window INTEGER NOT NULL, repeats INTEGER NOT NULL);
CREATE TABLE skipped(seq INTEGER NOT NULL, n INTEGER NOT NULL, reason TEXT NOT NULL,
  count INTEGER NOT NULL, first TEXT NOT NULL, PRIMARY KEY(seq, n)) WITHOUT ROWID;

CREATE TABLE marks(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, label TEXT NOT NULL,
  kind TEXT NOT NULL);
CREATE TABLE faults(seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, place TEXT NOT NULL,
  what TEXT NOT NULL, mend TEXT);

CREATE VIEW host_values AS
  SELECT seq, at_ns / 1e9 AS at_s, sampler, metric, instance, value
  FROM samplings JOIN readings USING(seq) JOIN series ON series.id = series_id;
CREATE VIEW events AS
            SELECT seq, 0 AS at_ns, 'opening' AS kind FROM openings
  UNION ALL SELECT seq, to_ns, 'interval' FROM intervals
  UNION ALL SELECT seq, at_ns, 'readings' FROM samplings
  UNION ALL SELECT seq, at_ns, 'stacks' FROM stacks
  UNION ALL SELECT seq, at_ns, 'capture' FROM captures
  UNION ALL SELECT seq, at_ns, 'traffic' FROM traffic
  UNION ALL SELECT seq, at_ns, 'mark' FROM marks
  UNION ALL SELECT seq, at_ns, 'fault' FROM faults
  UNION ALL SELECT seq, at_ns, 'closing' FROM closings;
";

/// The numbers and kinds (as [`Kind`]) of the next `?2` events after number `?1`.
///
/// SQLite merges the nine tables by their keys, so nothing is sorted and only `?2` rows are
/// read. Written here and not taken from the view, which a file from elsewhere may redefine.
pub(super) const NEXT_EVENTS: &str = "
            SELECT seq, 0 FROM openings WHERE seq > ?1
  UNION ALL SELECT seq, 1 FROM intervals WHERE seq > ?1
  UNION ALL SELECT seq, 2 FROM samplings WHERE seq > ?1
  UNION ALL SELECT seq, 3 FROM stacks WHERE seq > ?1
  UNION ALL SELECT seq, 4 FROM captures WHERE seq > ?1
  UNION ALL SELECT seq, 5 FROM traffic WHERE seq > ?1
  UNION ALL SELECT seq, 6 FROM marks WHERE seq > ?1
  UNION ALL SELECT seq, 7 FROM faults WHERE seq > ?1
  UNION ALL SELECT seq, 8 FROM closings WHERE seq > ?1
  ORDER BY 1 LIMIT ?2";

/// The instants of each table's last event.
pub(super) const LAST_INSTANTS: &str = "
            SELECT * FROM (SELECT to_ns FROM intervals ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM samplings ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM stacks ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM captures ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM traffic ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM marks ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM faults ORDER BY seq DESC LIMIT 1)
  UNION ALL SELECT * FROM (SELECT at_ns FROM closings ORDER BY seq DESC LIMIT 1)";

/// The kinds of events, numbered as [`NEXT_EVENTS`] numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Opening,
    Interval,
    Readings,
    Stacks,
    Capture,
    Traffic,
    Mark,
    Fault,
    Closing,
}

impl Kind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Kind; 9] = [
        Kind::Opening,
        Kind::Interval,
        Kind::Readings,
        Kind::Stacks,
        Kind::Capture,
        Kind::Traffic,
        Kind::Mark,
        Kind::Fault,
        Kind::Closing,
    ];
}

/// A count, an instant or a length in ns as a column holds it: an INTEGER, and above
/// `i64::MAX`, where SQLite's integers end, a BLOB of eight bytes, big-endian. Nothing real
/// is that large, but what was written must come back.
#[derive(Clone, Copy)]
pub(super) struct Number(pub u64);

impl ToSql for Number {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match i64::try_from(self.0) {
            Ok(n) => Value::Integer(n),
            Err(_) => Value::Blob(self.0.to_be_bytes().to_vec()),
        }))
    }
}
