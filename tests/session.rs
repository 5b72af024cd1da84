//! The session room as its users meet it: the law that reading gives back what was written,
//! readers beside a writer, overwriting, and files that are wrong.
//!
//! Crashes are in `session_crash.rs`.
//!
//! Must not: look into the room; damage is done to files with plain SQL and bytes.

mod strategies;

use perfbench::model::*;
use perfbench::session::{APPLICATION_ID, Reader, SCHEMA_VERSION, SessionError, Writer};
use proptest::prelude::*;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Ends the test with a line on stderr when something is missing, or fails when it must not be.
macro_rules! skip {
    ($needs:expr) => {{
        assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "needs {}", $needs);
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: needs {}\n", $needs).as_bytes());
        return;
    }};
}

fn write(path: &Path, events: &[Event]) {
    let mut writer = Writer::create(path, false).unwrap();
    for event in events {
        writer.write(event).unwrap();
    }
    writer.finish().unwrap();
}

fn read_all(path: &Path, limit: usize) -> Result<(Vec<Event>, Reader), SessionError> {
    let mut reader = Reader::open(path)?;
    let mut events = Vec::new();
    loop {
        let batch = reader.next_batch(limit)?;
        assert!(batch.len() <= limit);
        if batch.is_empty() {
            return Ok((events, reader));
        }
        events.extend(batch);
    }
}

fn companions(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut there: Vec<PathBuf> =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
    there.retain(|p| p.file_name().unwrap().to_str().unwrap().starts_with(name) && p != path);
    there
}

fn mark(ms: u64) -> Event {
    Event::Mark(Mark { at: At(ms * 1_000_000), kind: MarkKind::User, label: format!("mark {ms}") })
}

fn closing(ms: u64) -> Event {
    Event::Closing(Closing { at: At(ms * 1_000_000), why: "end".into() })
}

/// A small session that has every table filled.
fn sample_session() -> Vec<Event> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut one = |s: BoxedStrategy<Event>| s.new_tree(&mut runner).unwrap().current();
    let mut events = vec![one(strategies::opening().prop_map(Event::from).boxed())];
    for _ in 0..8 {
        events.push(one(strategies::interval().prop_map(Event::Interval).boxed()));
        events.push(one(strategies::readings().prop_map(Event::Readings).boxed()));
        events.push(one(strategies::stacks().prop_map(Event::Stacks).boxed()));
        events.push(one(strategies::event().boxed()));
    }
    events.push(closing(1));
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn reading_gives_back_what_was_written(events in strategies::events(), limit in 1usize..9) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.perfbench");
        write(&path, &events);
        prop_assert!(companions(&path).is_empty());
        let (back, reader) = read_all(&path, limit).unwrap();
        prop_assert_eq!(&back, &events);
        prop_assert_eq!(reader.unread(), &Default::default());
        prop_assert!(!reader.is_being_recorded());
        prop_assert_eq!(reader.is_closed(), events.iter().any(|e| matches!(e, Event::Closing(_))));
        match events.iter().find_map(|e| if let Event::Opening(o) = e { Some(o) } else { None }) {
            Some(opening) => prop_assert_eq!(&reader.opening().unwrap(), &**opening),
            None => prop_assert!(matches!(reader.opening(), Err(SessionError::NoOpening { .. })), "an opening from nowhere"),
        }
    }

    #[test]
    fn a_reader_beside_the_writer_ends_with_all_events(events in strategies::events(), commits in prop::collection::vec(any::<bool>(), 24)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.perfbench");
        let mut writer = Writer::create(&path, false).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut back = Vec::new();
        for (event, commit) in events.iter().zip(commits) {
            writer.write(event).unwrap();
            if commit { writer.commit().unwrap(); }
            back.extend(reader.next_batch(3).unwrap());
            prop_assert_eq!(&back[..], &events[..back.len()]);
        }
        prop_assert!(reader.is_being_recorded());
        writer.finish().unwrap();
        prop_assert!(!reader.is_being_recorded());
        loop {
            let batch = reader.next_batch(100).unwrap();
            if batch.is_empty() { break; }
            back.extend(batch);
        }
        prop_assert_eq!(back, events);
        drop(reader);
        prop_assert!(companions(&path).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Damage gives an error or fewer events, and an end.
    #[test]
    fn flipped_bytes_never_panic_or_hang(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..12),
        schema_page: bool,
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.perfbench");
        let mut bytes = template().to_vec();
        // The first pages hold the header and the table definitions; elsewhere is the content.
        let from = if schema_page { 0 } else { 4096 * 3 };
        for (at, xor) in flips {
            let at = from + at.index(bytes.len() - from);
            bytes[at] ^= xor;
        }
        if let Some(cut) = cut { bytes.truncate(cut.index(bytes.len())); }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(mut reader) = Reader::open(&path) {
            let _ = (reader.opening(), reader.last_at(), reader.is_closed(), reader.is_being_recorded());
            let mut batches = 0;
            while reader.next_batch(4).is_ok_and(|batch| !batch.is_empty()) {
                batches += 1;
                prop_assert!(batches < 1000);
            }
        }
    }
}

fn template() -> &'static [u8] {
    static TEMPLATE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.perfbench");
        write(&path, &sample_session());
        std::fs::read(&path).unwrap()
    })
}

#[test]
fn a_reader_in_another_thread_follows_a_run_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    let mut writer = Writer::create(&path, false).unwrap();
    let events: Vec<Event> = (0..4000u64).map(|n| mark(n * 20)).chain(sample_session()).collect();
    let follower = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut reader = Reader::open(&path).unwrap();
            let mut back = Vec::new();
            loop {
                let more_to_come = reader.is_being_recorded();
                let batch = reader.next_batch(64).unwrap();
                if batch.is_empty() && !more_to_come {
                    return (back, reader.is_closed());
                }
                back.extend(batch);
            }
        }
    });
    for event in &events {
        writer.write(event).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(follower.join().unwrap(), (events, true));
    assert!(companions(&path).is_empty());
}

#[test]
fn the_sqlite3_program_reads_while_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    let mut writer = Writer::create(&path, false).unwrap();
    for event in sample_session() {
        writer.write(&event).unwrap();
    }
    writer.commit().unwrap();
    let answer = match Command::new("sqlite3").arg(&path).arg("SELECT count(*) FROM events").output() {
        Ok(answer) => answer,
        Err(_) => skip!("sqlite3"),
    };
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), sample_session().len().to_string());
    writer.write(&mark(1)).unwrap();
    writer.finish().unwrap();
    assert!(companions(&path).is_empty());
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/session-schema.md")).unwrap()
}

/// The rows of the one query of the documentation that holds `word`, columns joined by blanks.
fn ask(path: &Path, word: &str) -> Vec<String> {
    let page = page();
    let mut queries = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let sql = queries.find(|sql| sql.contains(word)).unwrap_or_else(|| panic!("no query with {word}"));
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let cell = |value: rusqlite::types::Value| match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(n) => n.to_string(),
        rusqlite::types::Value::Real(x) => x.to_string(),
        other => format!("{other:?}"),
    };
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        Ok((0..columns).map(|n| row.get(n).map(cell)).collect::<Result<Vec<_>, _>>()?.join(" "))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_documented_queries_give_the_right_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    let second = |n: u64| At(n * 1_000_000_000);
    let interval = |worker, to| {
        Event::Interval(Interval {
            worker,
            span: Span::ending(to, 1_000_000_000),
            offered: 10,
            sent: 9,
            completed: 7,
            failed: 2,
            dropped: 0,
            retried: 0,
            in_flight: 0,
            queued: 1,
            connections_opened: 0,
            grown: 0,
            remarks: Default::default(),
            received_bytes: 0,
            sent_bytes: 0,
            response_time: Latency::default(),
            service_time: Latency::default(),
            send_lag: Latency::default(),
            phases: PhaseTimes::default(),
            outcomes: vec![
                OutcomeCount { outcome: Outcome::Status(200), count: 7 },
                OutcomeCount { outcome: Outcome::Errno(111), count: 2 },
            ],
            routes: Vec::new(),
            exemplars: vec![Exemplar {
                due: second(1),
                response_ns: 5_500_000,
                service_ns: 500_000,
                route: "/a".into(),
                outcome: Outcome::ClosedEarly,
            }],
        })
    };
    let cpu = |at, ticks: [i64; 3]| {
        let metrics = [Metric::CpuUser, Metric::CpuSoftirq, Metric::CpuIdle];
        let mut values: Vec<Reading> = std::iter::zip(metrics, ticks)
            .map(|(metric, value)| Reading { metric, instance: "0".into(), value })
            .collect();
        values.push(Reading { metric: Metric::TcpTimeWait, instance: "".into(), value: ticks[0] });
        Event::Readings(Readings { at, sampler: "host".into(), took_ns: 1, values })
    };
    // main -> work -> work (recursion), and main alone.
    let mut table = StackTable::default();
    let mut frame = |symbol: &str| table.frame(Frame::new(symbol, "m", FrameKind::User));
    let (main, work) = (frame("main"), frame("work"));
    let outer = table.push(None, main);
    let inner = table.push(Some(outer), work);
    let innermost = table.push(Some(inner), work);
    let sample = |stack, weight| Sample { at: second(1), cpu: 0, pid: 1, tid: 1, comm: "c".into(), stack, weight };
    let samples = vec![sample(Some(innermost), 5), sample(Some(inner), 4), sample(Some(outer), 3), sample(None, 100)];
    let (event, unit) = ("cycles".into(), "ns".into());
    let opening = Opening { target: "http://127.0.0.1:1".into(), ..Opening::default() };
    write(
        &path,
        &[
            Event::from(opening),
            cpu(second(1), [100, 10, 1000]),
            interval(0, second(1)),
            interval(1, second(1)),
            interval(0, second(2)),
            cpu(second(2), [150, 35, 1025]),
            Event::Stacks(Stacks { at: second(2), capture: CaptureId(1), event, unit, table, samples, lost: 0 }),
            Event::Fault(Fault { at: second(2), place: "host".into(), what: "gone".into(), mend: None }),
            closing(2000),
        ],
    );
    assert_eq!(ask(&path, "FROM openings"), ["http://127.0.0.1:1  1970-01-01 00:00:00 end"]);
    assert_eq!(ask(&path, "sum(offered)"), ["1 20 14 4", "2 10 7 2"]);
    assert_eq!(ask(&path, "FROM outcomes"), ["200 21", "ECONNREFUSED 6"]);
    assert_eq!(ask(&path, "tcp.time_wait"), ["1 100", "2 150"]);
    assert_eq!(ask(&path, "si_percent"), ["2 0 25"]);
    assert_eq!(ask(&path, "RECURSIVE"), ["work m 9 9", "main m 3 12"]);
    assert_eq!(ask(&path, "FROM exemplars")[0], "1 5.5 0.5 /a closed_early");
    assert_eq!(ask(&path, "FROM faults"), ["2 host gone Null"]);
}

#[test]
fn every_column_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    write(&path, &[]);
    let page = page();
    let connection = Connection::open(&path).unwrap();
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(tables.len() > 20);
    for table in tables {
        let section = page.split(&format!("### {table}\n")).nth(1).unwrap_or_else(|| panic!("no section on {table}"));
        let section = section.split("\n##").next().unwrap();
        let mut columns = connection.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
        for column in columns.query_map([&table], |row| row.get::<_, String>(0)).unwrap() {
            let column = column.unwrap();
            assert!(section.contains(&format!("`{column}`")), "{table}.{column} is not described");
        }
    }
}

#[test]
fn only_sessions_are_overwritten_and_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    write(&path, &[mark(1), closing(2)]);
    assert!(matches!(Writer::create(&path, false), Err(SessionError::Exists { .. })));
    assert_eq!(read_all(&path, 9).unwrap().0.len(), 2);

    // Leftovers of a crashed one go with it.
    for suffix in ["-wal", "-shm"] {
        std::fs::write(format!("{}{suffix}", path.display()), b"").unwrap();
    }
    let mut writer = Writer::create(&path, true).unwrap();
    writer.write(&mark(7)).unwrap();
    writer.commit().unwrap();
    let busy = Writer::create(&path, true).unwrap_err();
    assert_eq!(busy, SessionError::InUse { path: std::path::absolute(&path).unwrap(), pid: std::process::id() });
    writer.finish().unwrap();
    assert_eq!(read_all(&path, 9).unwrap().0, [mark(7)]);

    let foreign = folder.path().join("notes.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE precious(x)").unwrap();
    let letter = folder.path().join("letter.txt");
    std::fs::write(&letter, "dear reader, ".repeat(100)).unwrap();
    for theirs in [&foreign, &letter, &folder.path().to_owned()] {
        let before = std::fs::read(theirs).ok();
        let refused = Writer::create(theirs, true).unwrap_err();
        assert!(matches!(refused, SessionError::NotASession { .. }), "{refused}");
        assert_eq!(std::fs::read(theirs).ok(), before);
    }
    let empty = folder.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    assert!(matches!(Writer::create(&empty, false), Err(SessionError::Exists { .. })));
    assert!(Writer::create(&empty, true).is_ok());

    let homeless = folder.path().join("no/such/s.perfbench");
    let e = Writer::create(&homeless, false).unwrap_err();
    assert!(matches!(e, SessionError::NoFolder { .. }) && e.to_string().contains("mkdir -p"), "{e}");
}

#[test]
fn what_is_no_session_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let refusal = |path: &Path| {
        let e = Reader::open(path).err().unwrap_or_else(|| panic!("{} was opened", path.display()));
        assert_eq!(e.to_string().lines().count(), 1);
        e
    };
    assert!(matches!(refusal(&at("nowhere")), SessionError::NotFound { .. }));
    assert!(matches!(refusal(folder.path()), SessionError::NotASession { .. }));
    std::fs::write(at("empty"), b"").unwrap();
    assert!(matches!(refusal(&at("empty")), SessionError::NotASession { .. }));
    std::fs::write(at("text"), "no database at all ".repeat(100)).unwrap();
    assert!(matches!(refusal(&at("text")), SessionError::NotASession { .. }));
    Connection::open(at("other.db")).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    assert!(matches!(refusal(&at("other.db")), SessionError::NotASession { .. }));

    write(&at("newer"), &[mark(1)]);
    let newer = Connection::open(at("newer")).unwrap();
    newer.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let e = refusal(&at("newer"));
    assert!(matches!(e, SessionError::Newer { found, .. } if found == SCHEMA_VERSION + 1), "{e}");
    assert!(e.to_string().contains("update perfbench"));

    // A table that never ends must not be read at all.
    write(&at("endless"), &[mark(1)]);
    let endless = Connection::open(at("endless")).unwrap();
    endless
        .execute_batch(
            "DROP TABLE marks; CREATE VIEW marks AS
             WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n) SELECT seq, 0 AS at_ns, '' AS label FROM n",
        )
        .unwrap();
    assert!(matches!(refusal(&at("endless")), SessionError::Corrupt { .. }));
    assert_eq!(endless.pragma_query_value(None, "application_id", |r| r.get::<_, i32>(0)).unwrap(), APPLICATION_ID);
}

/// Each statement spoils one event, or one value, of the sample session; all else is read.
#[test]
fn wrong_values_are_skipped_and_counted() {
    let spoil = [
        "UPDATE readings SET value = 'x' WHERE (seq, n) = (SELECT seq, n FROM readings LIMIT 1)",
        "UPDATE readings SET series_id = 99999 WHERE (seq, n) = (SELECT seq, n FROM readings LIMIT 1)",
        "UPDATE samplings SET took_ns = -1 WHERE seq = (SELECT min(seq) FROM samplings)",
        "UPDATE samplings SET at_ns = 1.5e300 WHERE seq = (SELECT min(seq) FROM samplings)",
        "UPDATE samplings SET at_ns = zeroblob(8) WHERE seq = (SELECT min(seq) FROM samplings)",
        "UPDATE samplings SET sampler = CAST(x'ff' AS TEXT) WHERE seq = (SELECT min(seq) FROM samplings)",
        "UPDATE intervals SET offered = -5 WHERE seq = (SELECT min(seq) FROM intervals)",
        "UPDATE intervals SET worker = 70000 WHERE seq = (SELECT min(seq) FROM intervals)",
        "UPDATE intervals SET from_ns = 5, to_ns = 4 WHERE seq = (SELECT min(seq) FROM intervals)",
        "UPDATE intervals SET send_lag = x'00' WHERE seq = (SELECT min(seq) FROM intervals)",
        "UPDATE route_intervals SET route_id = -1 WHERE (seq, n) = (SELECT seq, n FROM route_intervals LIMIT 1)",
        "UPDATE exemplars SET due_ns = 'soon' WHERE (seq, n) = (SELECT seq, n FROM exemplars LIMIT 1)",
        "UPDATE nodes SET caller = id WHERE id = (SELECT id FROM nodes LIMIT 1)",
        "UPDATE nodes SET caller = 4000000000 WHERE id = (SELECT id FROM nodes LIMIT 1)",
        "UPDATE nodes SET frame = 1000 WHERE id = (SELECT id FROM nodes LIMIT 1)",
        "UPDATE frames SET kind = 9 WHERE id = (SELECT id FROM frames LIMIT 1)",
        "UPDATE frames SET id = 500 WHERE id = (SELECT id FROM frames LIMIT 1)",
        "UPDATE samples SET node = 1000 WHERE (seq, n) = (SELECT seq, n FROM samples LIMIT 1)",
        "UPDATE samples SET cpu = -1 WHERE (seq, n) = (SELECT seq, n FROM samples LIMIT 1)",
        "UPDATE openings SET opening = '{}' WHERE seq = (SELECT min(seq) FROM openings)",
        "INSERT INTO captures(seq, at_ns, capture, state) VALUES (1000, 1, 1, 'asleep')",
        "INSERT INTO captures(seq, at_ns, capture, state) VALUES (1000, 1, 1, 'done')",
        "INSERT INTO marks VALUES (1000, -1, '', 'user')",
    ];
    let whole = sample_session();
    let folder = tempfile::tempdir().unwrap();
    for (n, sql) in spoil.iter().enumerate() {
        let path = folder.path().join(n.to_string());
        std::fs::write(&path, template()).unwrap();
        assert_eq!(Connection::open(&path).unwrap().execute(sql, []).unwrap(), 1, "{sql}");
        let (back, reader) = read_all(&path, 5).unwrap();
        let lost = if sql.starts_with("INSERT") { 0 } else { 1 };
        assert_eq!((back.len() + lost, reader.unread().events), (whole.len(), 1), "{sql}: {:?}", reader.unread());
        assert!(back.iter().all(|event| whole.contains(event)), "{sql}");
        assert!(reader.unread().first.is_some());
    }
}

#[test]
fn names_of_a_newer_perfbench_are_skipped_alone() {
    let path = &tempfile::tempdir().unwrap().keep().join("s.perfbench");
    std::fs::write(path, template()).unwrap();
    let connection = Connection::open(path).unwrap();
    let series = connection.query_row("SELECT series_id FROM readings LIMIT 1", [], |r| r.get::<_, i64>(0)).unwrap();
    connection.execute("UPDATE series SET metric = 'from\x1b.the.future' WHERE id = ?1", [series]).unwrap();
    connection.execute("UPDATE outcomes SET outcome = 'teapot' WHERE n = 0", []).unwrap();
    let hidden = |sql: &str| connection.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    let values = hidden("SELECT count(*) FROM outcomes WHERE n = 0")
        + connection
            .query_row("SELECT count(*) FROM readings WHERE series_id = ?1", [series], |r| r.get::<_, i64>(0))
            .unwrap();
    drop(connection);
    let (back, reader) = read_all(path, 100).unwrap();
    assert_eq!(
        (back.len(), reader.unread().events, reader.unread().values.cast_signed()),
        (sample_session().len(), 0, values)
    );
    assert!(!reader.unread().first.as_ref().unwrap().contains('\x1b'));
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn the_length_is_known_before_all_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.perfbench");
    write(&path, &[mark(5), mark(9000), closing(8000)]);
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.last_at(), At(0) + Duration::from_secs(9));
}
