//! The material of others that lies beside the project: where it is, and what to say without it.
//!
//! Must not: read it.

#![allow(dead_code)] // each test crate that includes this uses a part of it

use std::io::Write as _;
use std::path::{Path, PathBuf};

fn place(file: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("PERFBENCH_SHARED").map_or_else(beside, PathBuf::from).join("data").join(file)
}

/// A file of it, where it is; for tests that have something of their own instead.
pub fn there(file: &str) -> Option<PathBuf> {
    Some(place(file)).filter(|file| file.exists())
}

/// A file of it; `None`, said aloud, without it. Where nothing may be lacking it is a failure that a file is missing,
/// not that a bare machine has nothing beside the project.
pub fn needed(file: &str) -> Option<PathBuf> {
    let found = there(file);
    if found.is_none() {
        let file = place(file);
        let is_bare = std::env::var_os("PERFBENCH_SHARED").is_none() && !place("").exists();
        assert!(is_bare || std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "{} is missing", file.display());
        // Not by println!, which cargo keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "skipped: needs {}", file.display());
    }
    found
}
