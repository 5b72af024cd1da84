//! Which key of a JSON line is what: a table of names and dotted paths, as a tree to walk along
//! with the line.
//!
//! Must not: read a line.

use super::record::TimeIs;
use super::time::Unit;
use std::collections::BTreeMap;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The time, and which instant that is.
    Time(TimeIs),
    /// How long it took, in this unit unless it carries its own; without one, only if it does.
    Duration(Option<Unit>),
    /// A whole request line.
    Request,
    Method,
    /// Path and query, or a whole URL.
    Uri,
    Query,
    Host,
    Port,
    Status,
    Bytes,
    Client,
    Referer,
    UserAgent,
    /// The client as a hash, hexadecimal.
    ClientHash,
    /// The body as text.
    Body,
    /// The body, base64.
    BodyBase64,
    /// It must have this value, or the line is of another format.
    Mark(String),
}

impl Part {
    /// How many parts are kept as texts.
    pub(super) const TEXTS: usize = 14;

    /// Its place among the parts that are kept as texts.
    pub(super) fn text(&self) -> Option<usize> {
        Some(match self {
            Part::Request => 0,
            Part::Method => 1,
            Part::Uri => 2,
            Part::Query => 3,
            Part::Host => 4,
            Part::Port => 5,
            Part::Status => 6,
            Part::Bytes => 7,
            Part::Client => 8,
            Part::Referer => 9,
            Part::UserAgent => 10,
            Part::ClientHash => 11,
            Part::Body => 12,
            Part::BodyBase64 => 13,
            Part::Time(_) | Part::Duration(_) | Part::Mark(_) => return None,
        })
    }
}

/// The names of parts, in the files of `assets/formats` and for `--field`.
const PARTS: &[(&str, Part)] = &[
    ("time", Part::Time(TimeIs::End)),
    ("time_start", Part::Time(TimeIs::Start)),
    ("duration", Part::Duration(None)),
    ("duration_s", Part::Duration(Some(Unit::Seconds))),
    ("duration_ms", Part::Duration(Some(Unit::Milliseconds))),
    ("duration_us", Part::Duration(Some(Unit::Microseconds))),
    ("duration_ns", Part::Duration(Some(Unit::Nanoseconds))),
    ("request", Part::Request),
    ("method", Part::Method),
    ("uri", Part::Uri),
    ("query", Part::Query),
    ("host", Part::Host),
    ("port", Part::Port),
    ("status", Part::Status),
    ("bytes", Part::Bytes),
    ("client", Part::Client),
    ("referer", Part::Referer),
    ("user_agent", Part::UserAgent),
    ("client_hash", Part::ClientHash),
    ("body", Part::Body),
    ("body_base64", Part::BodyBase64),
];

/// What a key holds, and how much it counts for against other keys that hold the same: less is more.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) part: Part,
    pub(super) rank: u16,
}

/// A key, or the objects of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// What it holds itself.
    pub(super) leaf: Option<Leaf>,
    /// What the keys inside it hold.
    children: Vec<(String, Node)>,
    /// Keys inside it that begin so are header fields; empty for all of them.
    pub(super) header_prefix: Option<String>,
}

impl Node {
    /// What `key` inside it is; a dotted key is a path, too.
    pub(super) fn child(&self, key: &str) -> Option<&Node> {
        if let Some((_, node)) = self.children.iter().find(|(name, _)| name == key) {
            return Some(node);
        }
        let (first, rest) = key.split_once('.')?;
        let (_, node) = self.children.iter().find(|(name, _)| name == first)?;
        node.child(rest)
    }

    fn at(&mut self, path: &str) -> &mut Node {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let n = match self.children.iter().position(|(name, _)| name == first) {
            Some(n) => n,
            None => {
                self.children.push((first.to_owned(), Node::default()));
                self.children.len() - 1
            }
        };
        let child = &mut self.children[n].1;
        match rest {
            Some(rest) => child.at(rest),
            None => child,
        }
    }

    fn forget(&mut self, is: &dyn Fn(&Part) -> bool) {
        self.leaf.take_if(|leaf| is(&leaf.part));
        self.children.iter_mut().for_each(|(_, child)| child.forget(is));
    }
}

/// A table of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    pub(super) root: Node,
    /// How many keys must have a certain value.
    pub(super) marks: usize,
    /// A line without a method is a GET.
    pub(super) assume_get: bool,
    /// Every value is what it says: `-` is not none, and `REDACTED` is no secret blacked out. Its
    /// lines are as long as records may be.
    pub(super) literal: bool,
    /// What it counts for among formats that fit the same lines; 0 for one that fits anything.
    pub(super) weight: usize,
}

/// How a file of `assets/formats` writes a table of keys: part, then keys, the best first.
pub(super) type KeysFile = BTreeMap<String, Vec<String>>;

impl Keys {
    /// The table that a file holds. `header_prefix` names a prefix of keys or, with a `.` at its end,
    /// an object of header fields; `mark` is `key=value`.
    pub(super) fn of_file(file: &KeysFile, generic: bool, literal: bool) -> Result<Keys, String> {
        let mut keys = Keys { weight: if generic { 0 } else { file.len() }, literal, ..Keys::default() };
        for (part, paths) in file {
            for (rank, path) in (1u16..).zip(paths) {
                match part.as_str() {
                    "headers" => keys.root.at(path).header_prefix = Some(String::new()),
                    "header_prefix" => keys.root.header_prefix = Some(path.clone()),
                    "mark" => {
                        let (path, value) = path.split_once('=').ok_or_else(|| format!("{path} is no key=value"))?;
                        keys.root.at(path).leaf = Some(Leaf { part: Part::Mark(value.to_owned()), rank });
                        keys.marks += 1;
                    }
                    part => keys.root.at(path).leaf = Some(Leaf { part: named(part)?, rank }),
                }
            }
        }
        Ok(keys)
    }

    /// Adds a key that a user named. It takes the place of all others of its part.
    pub(super) fn name(&mut self, part: &str, path: &str) -> Result<(), String> {
        if path.is_empty() || path.split('.').any(str::is_empty) {
            return Err(format!("'{path}' is no key and no path of keys"));
        }
        if part == "headers" {
            self.root.at(path).header_prefix = Some(String::new());
            return Ok(());
        }
        let part = named(part)?;
        let same = |other: &Part| std::mem::discriminant(other) == std::mem::discriminant(&part);
        // Of two keys that the user named for one part (time and time_start) both stay.
        self.root.forget(&|other| same(other));
        self.assume_get |= part == Part::Uri;
        self.root.at(path).leaf = Some(Leaf { part, rank: 0 });
        Ok(())
    }
}

fn named(part: &str) -> Result<Part, String> {
    let found = PARTS.iter().find(|(name, _)| *name == part || (part == "path" && *name == "uri"));
    found.map(|(_, part)| part.clone()).ok_or_else(|| {
        let all: Vec<&str> = PARTS.iter().map(|(name, _)| *name).chain(["headers"]).collect();
        format!("'{part}' is no field; there are: {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_part_nested_or_flat() {
        let mut keys = Keys::default();
        keys.name("uri", "http.req.path").unwrap();
        keys.name("status", "http.status").unwrap();
        let uri = |n: Option<&Node>| n.and_then(|n| n.leaf.clone()).map(|l| l.part) == Some(Part::Uri);
        assert!(uri(keys.root.child("http").and_then(|n| n.child("req")).and_then(|n| n.child("path"))));
        assert!(uri(keys.root.child("http.req.path")) && !uri(keys.root.child("http.req")));
        assert!(keys.root.child("path").is_none());
    }

    #[test]
    fn what_is_no_field_or_no_path_is_refused() {
        let mut keys = Keys::default();
        assert!(keys.name("tme", "x").unwrap_err().contains("there are: time, "));
        assert!(keys.name("time", "a..b").unwrap_err().contains("no path of keys"));
        assert!(keys.name("path", "p").is_ok() && keys.assume_get);
    }
}
