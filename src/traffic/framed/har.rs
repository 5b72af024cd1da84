//! HAR 1.2: one JSON document with `log.entries`, each entry a request and its response. Entries
//! are cut out one by one, so that a document of any size costs the memory of its largest entry.
//!
//! Pseudo header fields of HTTP/2 (`:path`) describe the recorded connection and are dropped.
//! Browsers write the entries of several pages interleaved: they go through the reorder window.
//!
//! Must not: hold the document.

use super::super::ledger::Reason;
use super::super::record::Record;
use super::super::time::Dates;
use super::{Framing, Message, Resync, Step, push_base64};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;

/// A document being read.
#[derive(Default)]
pub(in crate::traffic) struct Har {
    at: Place,
    depth: u32,
    in_log: bool,
    /// How far an entry that is too long was passed over.
    passing: Option<Scan>,
    message: Message,
    dates: Dates,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeEntries,
    InEntries,
    Behind,
}

impl Har {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(Har::default())
    }

    /// Passes over what stands before the first entry. A string that goes on waits for its end.
    fn before(&mut self, text: &[u8]) -> Step<'static> {
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let next = match byte {
                b'"' => match self.string(text, at) {
                    Some(next) => next,
                    None => break,
                },
                b'{' | b'[' => {
                    self.depth = self.depth.saturating_add(1);
                    at + 1
                }
                b'}' | b']' if self.depth <= 1 => {
                    self.at = Place::Behind;
                    at + 1
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    at + 1
                }
                b if self.depth > 0 || b.is_ascii_whitespace() => at + 1,
                _ => return Step::Lost(Reason::NoMatch),
            };
            at = next;
            if self.at != Place::BeforeEntries {
                break;
            }
        }
        if at == 0 { Step::More } else { Step::Pass(at) }
    }

    /// Behind the string at `at`, and behind the bracket if it is the key of the entries; `None`
    /// when it cannot be told yet.
    fn string(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let mut end = at + 1;
        loop {
            end += memchr::memchr2(b'"', b'\\', text.get(end..)?)?;
            if text[end] == b'"' {
                break;
            }
            end += 2;
        }
        let key = &text[at + 1..end];
        let after = |from: usize| Some(from + text.get(from..)?.iter().position(|b| !b.is_ascii_whitespace())?);
        let next = after(end + 1)?;
        if text[next] == b':' && self.depth == 1 {
            self.in_log = key == b"log";
        }
        if text[next] == b':' && self.depth == 2 && self.in_log && key == b"entries" {
            let value = after(next + 1)?;
            if text[value] == b'[' {
                self.at = Place::InEntries;
                return Some(value + 1);
            }
        }
        Some(end + 1)
    }

    /// Makes a record of an entry.
    fn entry(&mut self, text: &[u8]) -> Result<Record<'_>, Reason> {
        let entry: Entry<'_> = serde_json::from_slice(text).map_err(|_| Reason::NoMatch)?;
        let time = self.dates.iso8601(entry.started.as_bytes()).ok_or(Reason::BadTime)?;
        let Asked { method, url, headers, post_data } = entry.request;
        self.message.begin(method.as_bytes(), url.as_bytes());
        let mut has_type = false;
        for Field { name, value } in headers.iter().filter(|f| !f.name.starts_with(':')) {
            has_type |= name.eq_ignore_ascii_case("content-type");
            self.message.fields.push(name.as_bytes(), value.as_bytes());
        }
        if let Some(post) = post_data {
            if !has_type && !post.mime.is_empty() {
                self.message.fields.push(b"Content-Type", post.mime.as_bytes());
            }
            post.put(&mut self.message.body)?;
        }
        let answer = entry.response.unwrap_or_default();
        let status = answer.status.filter(|s| (100.0..1000.0).contains(s)).map(|s| s as u16);
        let bytes = answer.body_size.filter(|b| (0.0..1e15).contains(b)).map(|b| b as u64);
        Ok(Record { status, bytes, ..self.message.record(time) })
    }
}

impl Framing for Har {
    fn step<'a>(&'a mut self, text: &'a [u8], _: bool) -> Step<'a> {
        match self.at {
            Place::BeforeEntries => return self.before(text),
            Place::Behind => return Step::Pass(text.len()),
            Place::InEntries => {}
        }
        let between = text.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
        if between > 0 {
            return Step::Pass(between);
        }
        match text[0] {
            b']' => {
                self.at = Place::Behind;
                Step::Pass(1)
            }
            b'{' => match Scan::default().end(text) {
                None => Step::More,
                Some(n) => match self.entry(&text[..n]) {
                    Ok(record) => Step::Record(n, record),
                    Err(reason) => Step::Bad(n, reason),
                },
            },
            _ => Step::Lost(Reason::NoMatch),
        }
    }

    fn resync(&mut self, text: &[u8], _: bool) -> Resync {
        if self.passing.is_some() || text[0] == b'{' {
            let found = self.passing.get_or_insert_default().end(text);
            return found.map_or(Resync::Drop(text.len()), |n| {
                self.passing = None;
                Resync::At(n)
            });
        }
        match memchr::memchr(b'{', text).filter(|_| self.at == Place::InEntries) {
            Some(n) => Resync::At(n),
            None => Resync::Drop(text.len()),
        }
    }

    fn record_word(&self) -> Option<&'static str> {
        Some("entry")
    }
}

/// Looks for the end of a JSON object, in as many pieces as it comes.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// The length of what closes the object; `None` when it goes on behind `text`.
    fn end(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < text.len() {
            if self.in_string {
                if std::mem::take(&mut self.escaped) {
                    at += 1;
                    continue;
                }
                at += memchr::memchr2(b'"', b'\\', &text[at..])?;
                (self.in_string, self.escaped) = (text[at] == b'\\', text[at] == b'\\');
            } else {
                at += text[at..].iter().position(|b| b"\"{}[]".contains(b))?;
                match text[at] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                    _ => self.depth = self.depth.saturating_sub(1),
                }
                if self.depth == 0 {
                    return Some(at + 1);
                }
            }
            at += 1;
        }
        None
    }
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, rename = "startedDateTime")]
    started: Cow<'a, str>,
    #[serde(borrow)]
    request: Asked<'a>,
    #[serde(default)]
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    headers: Vec<Field<'a>>,
    #[serde(borrow, default, rename = "postData")]
    post_data: Option<PostData<'a>>,
}

#[derive(Deserialize)]
struct Field<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    status: Option<f64>,
    #[serde(rename = "bodySize")]
    body_size: Option<f64>,
}

#[derive(Deserialize)]
struct PostData<'a> {
    #[serde(borrow, default, rename = "mimeType")]
    mime: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Vec<Param<'a>>,
    /// Not in the specification, but the way that exporters follow what it says of responses.
    #[serde(borrow, default, alias = "_encoding")]
    encoding: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Param<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<Cow<'a, str>>,
}

impl PostData<'_> {
    fn put(&self, body: &mut Vec<u8>) -> Result<(), Reason> {
        let text = self.text.as_deref().unwrap_or_default();
        if self.encoding.as_deref() == Some("base64") {
            return push_base64(text.as_bytes(), body);
        }
        if !text.is_empty() || self.params.is_empty() {
            body.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        // Only a form's names and values make its body again; files and boundaries are not kept.
        if self.mime.starts_with("multipart/") {
            return Err(Reason::NoBody);
        }
        for (n, p) in self.params.iter().enumerate() {
            if n > 0 {
                body.push(b'&');
            }
            push_form(&p.name, body);
            body.push(b'=');
            push_form(p.value.as_deref().unwrap_or_default(), body);
        }
        Ok(())
    }
}

/// Appends a part of a form. Browsers differ in whether they write it decoded: escapes that are
/// there stay, what could not stand in a form is escaped.
fn push_form(text: &str, out: &mut Vec<u8>) {
    for b in text.bytes() {
        match b {
            b' ' => out.push(b'+'),
            b'&' | b'=' | b'#' | 0..0x20 | 0x7f.. => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
            _ => out.push(b),
        }
    }
}
