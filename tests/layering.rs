//! The import table of the house: which room may use which. This table is the truth; the
//! design's is its copy. Besides these every room may use `model`, and itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("traffic", &[]),
    ("load", &["clock"]),
    ("host", &["clock"]),
    ("profile", &["clock"]),
    ("session", &[]),
    ("timeline", &[]),
    ("diagnosis", &["timeline"]),
    ("report", &["timeline"]),
    ("workbench", &["clock", "session", "timeline", "load", "host", "profile", "diagnosis"]),
    ("lab", &["clock", "load"]),
    ("ui", &["timeline", "workbench"]),
    (
        "cli",
        &[
            "clock",
            "traffic",
            "load",
            "host",
            "profile",
            "session",
            "timeline",
            "diagnosis",
            "report",
            "workbench",
            "lab",
            "ui",
        ],
    ),
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The rooms that a file names: every `crate::room` outside comments, and every
/// `use crate::{a, b::c}`.
fn named(source: &str) -> BTreeSet<String> {
    let code: String =
        source.lines().map(|l| l.split_once("//").map_or(l, |(code, _)| code)).flat_map(|l| [l, "\n"]).collect();
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue; // `othercrate::`
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(word(item.trim()));
                        item.clear();
                    }
                    c => item.push(c),
                }
            }
            found.insert(word(item.trim()));
        } else {
            found.insert(word(rest));
        }
    }
    found.retain(|w| ROOMS.iter().any(|(room, _)| room == w));
    found
}

#[test]
fn every_room_uses_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let mut files = Vec::new();
        rust_files(&src().join(room), &mut files);
        assert!(!files.is_empty(), "the room {room} is empty");
        for file in files {
            let source = std::fs::read_to_string(&file).expect("a source file");
            for other in named(&source) {
                if other != *room && other != "model" && !allowed.contains(&other.as_str()) {
                    wrong.push(format!("{}: {room} may not use {other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_src_is_a_room() {
    let rooms: BTreeSet<String> = ROOMS.iter().map(|(r, _)| r.to_string()).collect();
    let folders: BTreeSet<String> = std::fs::read_dir(src())
        .expect("src")
        .map(|e| e.expect("an entry"))
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(rooms, folders);
}

#[test]
fn only_the_clock_reads_clocks() {
    let mut files = Vec::new();
    rust_files(&src(), &mut files);
    let clock = src().join("clock");
    for file in files.into_iter().filter(|f| !f.starts_with(&clock)) {
        let source = std::fs::read_to_string(&file).expect("a source file");
        for forbidden in ["Instant::now", "SystemTime::now", "clock_gettime(", "Timestamp::now", "Zoned::now"] {
            assert!(!source.contains(forbidden), "{}: {forbidden} belongs to the clock room", file.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let mut files = Vec::new();
    rust_files(&src(), &mut files);
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source file");
        assert!(source.starts_with("//!"), "{}: begins without saying what it is", file.display());
    }
}

#[test]
fn the_reader_of_this_test_sees_what_rust_sees() {
    let source =
        "use crate::{clock::Clock, model::{At, Span}, load};\n// crate::ui is a comment\nlet x = crate::host::y();";
    assert_eq!(named(source).into_iter().collect::<Vec<_>>(), ["clock", "host", "load", "model"]);
}
