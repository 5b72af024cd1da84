//! [`SessionError`]: why a session could not be written or read, in one line each.
//!
//! Must not: carry text from a file uncleaned.

use crate::model::clean;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest text taken over from SQLite or the system into a message, characters.
const TEXT_MAX: usize = 200;

/// Why a session could not be written or read. The text says what, where and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    /// There is no such file.
    #[error("{}: no such session file: check the name", shown(path))]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The folder of a new session does not exist.
    #[error("{}: the folder {} does not exist: create it (mkdir -p) or name another place", shown(path), shown(folder))]
    NoFolder {
        /// The file that was to be made.
        path: PathBuf,
        /// The folder that is missing.
        folder: PathBuf,
    },
    /// The file of a new session exists.
    #[error("{}: exists: name another file, or overwrite it with --overwrite", shown(path))]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// The file is something else than a session; it is neither read nor overwritten.
    #[error("{}: {what}, not a perfbench session: name another file", shown(path))]
    NotASession {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The file is being written by a perfbench that runs.
    #[error("{}: is being recorded by process {pid}: end that run first or name another file", shown(path))]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that writes it.
        pid: u32,
    },
    /// The file has a schema that this perfbench does not know yet.
    #[error("{}: has session schema {found}, this perfbench knows up to {known}: update perfbench", shown(path))]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's schema version.
        found: i64,
        /// The highest version that can be read.
        known: i64,
    },
    /// The file is a session and damaged.
    #[error("{}: is damaged ({what}): `sqlite3 FILE .recover` may save the rest", shown(path))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The session was never closed, and its last part cannot be read where it is.
    #[error(
        "{0}: was not closed, and reading its last part needs a writable folder: copy {0} and {0}-wal to one and open the copy",
        shown(path)
    )]
    NeedsRecovery {
        /// The file.
        path: PathBuf,
    },
    /// Nothing was recorded, not even what was to be run.
    #[error("{}: holds no opening: the recording was stopped before it began", shown(path))]
    NoOpening {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full. What was committed before stays readable.
    #[error(
        "{}: the disk is full, recording has stopped: free space (df -h {}) and record again",
        shown(path),
        shown(folder)
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// Another program holds the file locked.
    #[error("{0}: is locked by another program: end it (`fuser {0}` names it) and try again", shown(path))]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {what}: check permissions, space and quota of {}", shown(path), shown(folder))]
    Io {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// What was refused and why.
        what: String,
    },
}

/// A path as it may be shown on a terminal.
fn shown(path: &Path) -> String {
    clean(&path.display().to_string(), 4096)
}

/// The folder a file is in; `.` for a bare name.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl SessionError {
    /// What the system said about a file.
    pub(super) fn from_io(path: &Path, doing: &str, e: &std::io::Error) -> SessionError {
        match e.kind() {
            std::io::ErrorKind::NotFound => SessionError::NotFound { path: path.to_owned() },
            std::io::ErrorKind::StorageFull => {
                SessionError::DiskFull { path: path.to_owned(), folder: folder_of(path) }
            }
            _ => SessionError::Io {
                path: path.to_owned(),
                folder: folder_of(path),
                what: format!("{doing}: {}", clean(&e.to_string(), TEXT_MAX)),
            },
        }
    }

    /// What SQLite said about a file.
    pub(super) fn from_sqlite(path: &Path, e: &rusqlite::Error) -> SessionError {
        let what = clean(&e.to_string(), TEXT_MAX);
        let path = path.to_owned();
        match e.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => SessionError::NotASession { path, what: "is no SQLite file".into() },
            Some(ErrorCode::DiskFull) => SessionError::DiskFull { folder: folder_of(&path), path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                SessionError::Locked { path }
            }
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::NoLargeFileSupport,
            ) => SessionError::Io { folder: folder_of(&path), path, what },
            _ => SessionError::Corrupt { path, what },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_clean_line_even_for_hostile_names() {
        let path = PathBuf::from("a\n\x1b[2Jb");
        let folder = PathBuf::from("/x\r");
        let full = SessionError::DiskFull { path: path.clone(), folder: folder.clone() }.to_string();
        assert!(full.contains("disk is full") && full.contains("df -h"), "{full}");
        let newer = SessionError::Newer { path: path.clone(), found: 9, known: 1 }.to_string();
        assert!(newer.contains('9') && newer.contains("update perfbench"), "{newer}");
        let locked = SessionError::Locked { path: path.clone() }.to_string();
        for text in [full, newer, locked, SessionError::NeedsRecovery { path }.to_string()] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_bare_name_is_in_the_present_folder() {
        assert_eq!(folder_of(Path::new("x.perfbench")), PathBuf::from("."));
        assert_eq!(folder_of(Path::new("a/x")), PathBuf::from("a"));
    }
}
