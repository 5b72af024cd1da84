//! Opening session files: paths, companions (`-wal`, `-shm`, `-journal`), and the check that
//! a file is a session of a version we know, before a row of it is believed.
//!
//! Must not: open a session's file by any way but SQLite (see the room's doc).

use super::error::SessionError;
use super::owner::Owner;
use super::schema::{APPLICATION_ID, SCHEMA, SCHEMA_VERSION, as_if_new, schema};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for another connection's lock: recovery of a crashed file and
/// the last step of a finishing writer take one for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What every SQLite file begins with, "Database File Format" section 1.3.
const HEADER_BYTES: u64 = 100;

/// A companion file of SQLite: `suffix` is `-wal`, `-shm` or `-journal`.
pub(super) fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// A path that SQLite takes as it is: relative ones could be read as `:memory:` or `file:…`.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, SessionError> {
    std::path::absolute(path).map_err(|e| SessionError::from_io(path, "cannot resolve the name", &e))
}

/// Opens a file that exists and is a session, for reading.
///
/// It is opened writable where that is permitted, because folding the leftover `-wal` of a
/// crashed writer into the file needs that; `query_only` keeps us from anything else.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, SessionError> {
    let path = &absolute(path)?;
    let about = fs::metadata(path).map_err(|e| SessionError::from_io(path, "cannot look at it", &e))?;
    let not_a_session = |what: &str| Err(SessionError::NotASession { path: path.clone(), what: what.into() });
    if !about.is_file() {
        return not_a_session("is no regular file");
    }
    if about.len() == 0 {
        return not_a_session("is empty");
    }
    if about.len() < HEADER_BYTES {
        return not_a_session("is no SQLite file"); // SQLite itself would take it for an empty database
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|c| Ok((identify(&c)?, c)));
    let ((application, version), connection) = match opened {
        Ok(opened) => opened,
        // A file left in WAL mode wants its -shm made, which a read-only folder refuses.
        Err(e) if needs_folder(&e) => {
            if fs::metadata(companion(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
                return Err(SessionError::NeedsRecovery { path: path.clone() });
            }
            open_immutable(path).map_err(|_| SessionError::from_sqlite(path, &e))?
        }
        Err(e) => return Err(SessionError::from_sqlite(path, &e)),
    };
    match (application, version) {
        (APPLICATION_ID, 1..=SCHEMA_VERSION) => {}
        (APPLICATION_ID, found) if found > SCHEMA_VERSION => {
            return Err(SessionError::Newer { path: path.clone(), found, known: SCHEMA_VERSION });
        }
        (APPLICATION_ID, found) => {
            return Err(SessionError::Corrupt {
                path: path.clone(),
                what: format!("schema version {found} never existed"),
            });
        }
        _ => return not_a_session("is another program's SQLite file"),
    }
    let sqlite = |e: rusqlite::Error| SessionError::from_sqlite(path, &e);
    if !has_tables_of(version, &connection).map_err(sqlite)? {
        return Err(SessionError::Corrupt { path: path.clone(), what: "its tables are not those of a session".into() });
    }
    let views = as_if_new(version);
    if !views.is_empty() {
        let batch = format!("PRAGMA query_only = OFF; PRAGMA temp_store = MEMORY; {views} PRAGMA query_only = ON;");
        connection.execute_batch(&batch).map_err(sqlite)?;
    }
    Ok(connection)
}

fn needs_folder(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// Opens a file that nobody writes, without locks and companions.
fn open_immutable(path: &Path) -> rusqlite::Result<((i32, i64), Connection)> {
    let mut uri = String::from("file://");
    for &b in path.as_os_str().as_bytes() {
        if b.is_ascii_alphanumeric() || b"/-_.~".contains(&b) {
            uri.push(char::from(b));
        } else {
            uri.push_str(&format!("%{b:02X}"));
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    Ok((identify(&connection)?, connection))
}

/// Makes a connection careful, and reads application id and schema version.
fn identify(connection: &Connection) -> rusqlite::Result<(i32, i64)> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;")?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = i32::try_from(pragma("application_id")?).unwrap_or(0);
    Ok((application, pragma("user_version")?))
}

/// Whether the tables are defined as that version of ours defined them. A session may come from anywhere, and a
/// table could be a view that never ends or a column that computes a gigabyte.
fn has_tables_of(version: i64, connection: &Connection) -> rusqlite::Result<bool> {
    const TABLES: &str = "SELECT name, sql FROM sqlite_schema WHERE type = 'table'";
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(&schema(version))?;
    let mut wanted = ours.prepare(TABLES)?;
    let mut wanted = wanted.query([])?;
    let mut found = connection.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    while let Some(row) = wanted.next()? {
        let mut found = found.query([row.get::<_, String>(0)?])?;
        match found.next()? {
            Some(there) if there.get_ref(0)? == row.get_ref(1)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The writer that a session names, `None` when it was finished or names none.
pub(super) fn owner(connection: &Connection) -> Option<Owner> {
    let text = |key: &str| -> Option<String> {
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1").ok()?;
        let mut rows = statement.query([key]).ok()?;
        match rows.next().ok()??.get_ref(0).ok()? {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Integer(n) => Some(n.to_string()),
            _ => None,
        }
    };
    Some(Owner {
        pid: text("writer_pid")?.parse().ok()?,
        started_ticks: text("writer_started_ticks")?.parse().ok()?,
        boot_id: text("writer_boot_id")?,
        namespace: text("writer_pid_namespace")?,
    })
}

/// Makes room at `path` for a new session and claims the name with an empty file.
///
/// What is there is removed only with `overwrite`, and only when it is a session that nobody
/// writes (or an empty file): the user may have named the wrong file.
pub(super) fn claim(path: &Path, overwrite: bool) -> Result<(), SessionError> {
    let folder = super::error::folder_of(path);
    if !folder.is_dir() {
        return Err(SessionError::NoFolder { path: path.to_owned(), folder });
    }
    let companions = ["-journal", "-wal", "-shm"].map(|suffix| companion(path, suffix));
    if overwrite {
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_file() && there.len() == 0 => {}
            Ok(_) => match open_to_read(path) {
                Ok(connection) => refuse_when_in_use(path, &connection)?,
                Err(SessionError::Newer { .. }) => {} // a session too
                Err(SessionError::Corrupt { .. }) => {
                    let what = "is damaged and perhaps".to_owned();
                    return Err(SessionError::NotASession { path: path.to_owned(), what });
                }
                Err(e) => return Err(e),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(SessionError::from_io(path, "cannot look at it", &e)),
        }
        // Companions first: a new file must never meet the -wal of an old one.
        for old in companions.iter().map(PathBuf::as_path).chain([path]) {
            match fs::remove_file(old) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(SessionError::from_io(old, "cannot remove it", &e));
                }
                _ => {}
            }
        }
    } else if let Some(there) = companions.iter().find(|c| fs::symlink_metadata(c).is_ok()) {
        let path = if fs::symlink_metadata(path).is_ok() { path } else { there };
        return Err(SessionError::Exists { path: path.to_owned() });
    }
    // Closing this descriptor is harmless: the file is new, no connection to it exists.
    match fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(SessionError::Exists { path: path.to_owned() }),
        Err(e) => Err(SessionError::from_io(path, "cannot create it", &e)),
    }
}

fn refuse_when_in_use(path: &Path, connection: &Connection) -> Result<(), SessionError> {
    match owner(connection) {
        Some(owner) if owner.is_alive() => Err(SessionError::InUse { path: path.to_owned(), pid: owner.pid }),
        _ => Ok(()),
    }
}

/// Opens a claimed file for writing and lays out the tables.
///
/// The tables are committed with a rollback journal and only then is WAL switched on, so the
/// file itself names its kind from the first moment and not only its `-wal`.
pub(super) fn lay_out(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; BEGIN; PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {SCHEMA_VERSION}; {SCHEMA}"
    ))?;
    let meta = |key: &str, value: &dyn rusqlite::ToSql| {
        connection.execute("INSERT INTO meta(key, value) VALUES (?1, ?2)", rusqlite::params![key, value])
    };
    meta("perfbench", &env!("CARGO_PKG_VERSION"))?;
    if let Some(owner) = Owner::this_process() {
        meta("writer_pid", &owner.pid)?;
        meta("writer_started_ticks", &owner.started_ticks.to_string())?;
        meta("writer_boot_id", &owner.boot_id)?;
        meta("writer_pid_namespace", &owner.namespace)?;
    }
    connection.execute_batch("COMMIT; PRAGMA journal_mode = WAL;")?;
    Ok(connection)
}
