//! Filters: which recorded requests are replayed, by what they were and how they were answered.
//!
//! Must not: change a request; see headers or bodies.

use super::glob::{Braces, expression, host_glob, path_glob};
use crate::model::{Method, clean};
use regex::bytes::Regex;
use std::ops::RangeInclusive;

/// Longest text of a filter in a reason, characters.
const SHOWN_CHARS: usize = 48;

/// What a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Method,
    Status,
    Route,
    Host,
    Path,
}

/// The keys by their names, and what their values look like.
const KEYS: &[(&str, Key, &str)] = &[
    ("method", Key::Method, "GET or GET,HEAD"),
    ("status", Key::Status, "200, 4xx, 500-599 or none, and lists of them"),
    ("route", Key::Route, "a route as `perfbench traffic` shows it, or with * and **"),
    ("host", Key::Host, "a host, or with *; none for requests without"),
    ("path", Key::Path, "a regular expression, found anywhere in path and query"),
];

/// What a filter asks of its part of a request.
#[derive(Clone, Debug)]
enum Test {
    Methods(Vec<Method>),
    /// Ranges of statuses, and whether requests without a status are meant.
    Statuses(Vec<RangeInclusive<u16>>, bool),
    Matches(Regex),
    Absent,
}

/// One `--only KEY=VALUE` or `--skip KEY=VALUE`.
///
/// Of several `--only` with the same key one must hold, of those with different keys each; a
/// request for which any `--skip` holds is left out.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(super) is_skip: bool,
    pub(super) key: Key,
    text: String,
    test: Test,
}

impl PartialEq for Filter {
    /// Filters are what they were written as.
    fn eq(&self, other: &Filter) -> bool {
        self.is_skip == other.is_skip && self.text == other.text
    }
}

impl Eq for Filter {}

/// A recorded request as filters see it: before anything is rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) method: &'a [u8],
    /// Path and query.
    pub(super) path: &'a [u8],
    /// Empty for none.
    pub(super) host: &'a [u8],
    pub(super) status: Option<u16>,
    /// What it would count under; empty unless [`Filter::needs_route`].
    pub(super) route: &'a str,
}

impl Filter {
    /// Keeps only requests for which `text`, `KEY=VALUE`, holds.
    ///
    /// # Errors
    /// What is wrong with the text and what it could be, in one line.
    pub fn only(text: &str) -> Result<Filter, String> {
        Filter::parse(text, false)
    }

    /// Leaves out the requests for which `text`, `KEY=VALUE`, holds.
    ///
    /// # Errors
    /// As [`Filter::only`].
    pub fn skip(text: &str) -> Result<Filter, String> {
        Filter::parse(text, true)
    }

    fn parse(text: &str, is_skip: bool) -> Result<Filter, String> {
        let names = || KEYS.iter().map(|k| k.0).collect::<Vec<_>>().join(", ");
        let (name, value) = text.split_once('=').ok_or_else(|| format!("give it as KEY=VALUE; keys: {}", names()))?;
        let found = KEYS.iter().find(|k| k.0.eq_ignore_ascii_case(name.trim()));
        let (name, key, looks_like) =
            found.ok_or_else(|| format!("there is no key '{}'; keys: {}", clean(name, 20), names()))?;
        let test = test(*key, value.trim()).map_err(|why| format!("{why}; {name} is {looks_like}"))?;
        Ok(Filter { is_skip, key: *key, text: format!("{name}={}", value.trim()), test })
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, of: Parts<'_>) -> bool {
        let text = match self.key {
            Key::Method => of.method,
            Key::Status => b"",
            Key::Route => of.route.as_bytes(),
            Key::Host => of.host,
            Key::Path => of.path,
        };
        match &self.test {
            Test::Methods(methods) => methods.iter().any(|m| m.as_str().as_bytes() == text),
            Test::Statuses(ranges, unknown) => {
                of.status.map_or(*unknown, |status| ranges.iter().any(|r| r.contains(&status)))
            }
            // A pattern without a port means every port.
            Test::Matches(regex) => {
                regex.is_match(text) || (self.key == Key::Host && regex.is_match(without_port(text)))
            }
            Test::Absent => text.is_empty(),
        }
    }

    /// The methods it names, when that is what it is about.
    pub fn methods(&self) -> Option<&[Method]> {
        match &self.test {
            Test::Methods(methods) => Some(methods),
            _ => None,
        }
    }

    /// Whether it keeps rather than leaves out.
    pub fn is_only(&self) -> bool {
        !self.is_skip
    }

    pub(super) fn needs_route(&self) -> bool {
        self.key == Key::Route
    }

    /// As it was written, safe to show.
    pub(super) fn shown(&self) -> String {
        clean(&self.text, SHOWN_CHARS)
    }
}

fn test(key: Key, value: &str) -> Result<Test, String> {
    if value.is_empty() {
        return Err("it has no value".into());
    }
    match key {
        Key::Method => {
            let one = |name: &str| {
                let name = name.trim().to_ascii_uppercase();
                Method::parse(name.as_bytes()).ok_or_else(|| format!("'{}' is no method", clean(&name, 30)))
            };
            value.split(',').map(one).collect::<Result<_, _>>().map(Test::Methods)
        }
        Key::Status => {
            let (mut ranges, mut unknown) = (Vec::new(), false);
            for one in value.split(',').map(str::trim) {
                if one.eq_ignore_ascii_case("none") || one == "-" {
                    unknown = true;
                } else {
                    ranges.push(statuses(one).ok_or_else(|| format!("'{}' is no status", clean(one, 30)))?);
                }
            }
            Ok(Test::Statuses(ranges, unknown))
        }
        Key::Route => path_glob(value, Braces::Themselves).map(Test::Matches),
        Key::Host if value.eq_ignore_ascii_case("none") => Ok(Test::Absent),
        Key::Host => host_glob(value).map(Test::Matches),
        Key::Path => expression(value).map(Test::Matches),
    }
}

/// `404`, `4xx`, `500-599`.
fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |t: &str| (t.len() == 3).then(|| t.parse::<u16>().ok()).flatten().filter(|c| (100..1000).contains(c));
    if let Some(code) = code(text) {
        return Some(code..=code);
    }
    if let [hundreds @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
        let first = u16::from(hundreds - b'0') * 100;
        return Some(first..=first + 99);
    }
    let (from, to) = text.split_once('-')?;
    let (from, to) = (code(from.trim())?, code(to.trim())?);
    (from <= to).then_some(from..=to)
}

fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(i) if !host.ends_with(b"]") => &host[..i],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(method: &'a str, path: &'a str, host: &'a str, status: u16) -> Parts<'a> {
        let status = Some(status).filter(|s| *s > 0);
        Parts { method: method.as_bytes(), path: path.as_bytes(), host: host.as_bytes(), status, route: "/product/{}" }
    }

    #[test]
    fn each_key_looks_at_its_part() {
        let get = parts("GET", "/product/17?ref=a", "shop.example:8080", 404);
        for (text, holds) in [
            ("method=get", true),
            ("method=POST,GET", true),
            ("method=HEAD", false),
            ("status=404", true),
            ("status=4xx", true),
            ("status=200,400-404", true),
            ("status=5XX", false),
            ("status=none", false),
            ("route=/product/{}", true),
            ("route=/product/*", true),
            ("route=/product", false),
            ("route=/pro**", true),
            ("host=shop.example", true),
            ("host=SHOP.example:8080", true),
            ("host=shop.example:81", false),
            ("host=*.example", true),
            ("host=none", false),
            (r"path=^/product/\d+\?", true),
            ("path=ref=a$", true),
            ("path=^/cart", false),
        ] {
            assert_eq!(Filter::only(text).unwrap().holds(get), holds, "{text}");
        }
        let bare = parts("GET", "/", "", 0);
        assert!(Filter::only("status=none").unwrap().holds(bare) && Filter::only("host=none").unwrap().holds(bare));
        assert!(!Filter::only("status=200").unwrap().holds(bare));
        assert!(Filter::only("host=[::1]").unwrap().holds(parts("GET", "/", "[::1]:80", 0)));
    }

    #[test]
    fn what_is_no_filter_says_what_would_be_one() {
        for (wrong, part) in [
            ("status", "KEY=VALUE"),
            ("colour=red", "no key 'colour'; keys: method, status"),
            ("status=", "no value"),
            ("status=4x", "'4x' is no status"),
            ("status=599-500", "no status"),
            ("status=99", "no status"),
            ("method=a b", "no method"),
            ("path=(", "a regular expression"),
        ] {
            let why = Filter::skip(wrong).unwrap_err();
            assert!(why.contains(part) && !why.contains('\n'), "{wrong}: {why}");
        }
    }
}
