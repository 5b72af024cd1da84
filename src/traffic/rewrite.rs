//! Rewriting: other path prefixes and query fields than the recording has.
//!
//! Must not: let a byte into a path that [`crate::model::Request`] does not allow.

use crate::model::clean;
use std::str::FromStr;

/// Changes the paths of requests before they are sent. Filters look at what was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The first prefix that a path has is replaced.
    pub prefixes: Vec<Prefix>,
    /// Query fields that are taken out, by name; `*` at the end of one means any rest.
    pub drop_query: Vec<String>,
    /// Query fields that are set: replaced where they are, else added at the end.
    pub set_query: Vec<QueryField>,
}

/// `OLD=NEW`: a path that begins with OLD begins with NEW instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    old: String,
    new: String,
}

impl FromStr for Prefix {
    type Err = String;

    /// `/old/=/new/`; both begin with a slash. What is no visible ASCII is percent-encoded.
    fn from_str(text: &str) -> Result<Prefix, String> {
        let (old, new) = text.split_once('=').ok_or("give it as /old/=/new/")?;
        for part in [old, new] {
            if !part.starts_with('/') || part.contains(['?', '#']) {
                return Err(format!("'{}' is no path prefix: it begins with / and has no query", clean(part, 40)));
            }
        }
        Ok(Prefix { old: encoded(old, b""), new: encoded(new, b"") })
    }
}

/// `NAME=VALUE` of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryField {
    name: String,
    /// As it is sent.
    field: String,
}

impl FromStr for QueryField {
    type Err = String;

    /// `k=v` or `k=`; percent-encoded where it has to be and is not yet.
    fn from_str(text: &str) -> Result<QueryField, String> {
        let (name, value) = text.split_once('=').ok_or("give it as NAME=VALUE")?;
        if name.is_empty() {
            return Err("a query field has a name".into());
        }
        let field = format!("{}={}", encoded(name, b"&#+="), encoded(value, b"&#+"));
        Ok(QueryField { name: name.to_owned(), field })
    }
}

impl Rewrite {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.drop_query.is_empty() && self.set_query.is_empty()
    }

    /// Appends what becomes of `path`, path and query, to `out`.
    pub(super) fn rewrite_into(&self, path: &[u8], out: &mut Vec<u8>) {
        let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
        let (path, rest) = path.split_at(end);
        let found = self.prefixes.iter().find_map(|p| Some((p, after(path, p.old.as_bytes())?)));
        match found {
            Some((prefix, after)) => {
                out.extend_from_slice(prefix.new.as_bytes());
                out.extend_from_slice(after);
            }
            None => out.extend_from_slice(path),
        }
        if self.drop_query.is_empty() && self.set_query.is_empty() {
            out.extend_from_slice(rest);
            return;
        }
        let end = memchr::memchr(b'#', rest).unwrap_or(rest.len());
        let (query, fragment) = rest.split_at(end);
        self.query_into(query.strip_prefix(b"?").unwrap_or(query), out);
        out.extend_from_slice(fragment);
    }

    /// Appends a query with its `?`, or nothing when there is no field left.
    fn query_into(&self, query: &[u8], out: &mut Vec<u8>) {
        let mut separator = b'?';
        let mut push = |field: &[u8]| {
            out.push(separator);
            out.extend_from_slice(field);
            separator = b'&';
        };
        let mut done = vec![false; self.set_query.len()];
        for field in query.split(|b| *b == b'&').filter(|f| !f.is_empty()) {
            let name = decoded(field.split(|b| *b == b'=').next().unwrap_or(field));
            if let Some(n) = self.set_query.iter().position(|s| s.name.as_bytes() == name) {
                // Of several fields of that name the first is replaced and the rest go.
                if !std::mem::replace(&mut done[n], true) {
                    push(self.set_query[n].field.as_bytes());
                }
            } else if !self.drop_query.iter().any(|d| is_named(&name, d)) {
                push(field);
            }
        }
        for (field, done) in self.set_query.iter().zip(done) {
            if !done {
                push(field.field.as_bytes());
            }
        }
    }
}

/// What follows `prefix` in `path`. A prefix that does not end with a slash ends at one: `/api` is
/// no prefix of `/apiary`.
fn after<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let after = path.strip_prefix(prefix)?;
    (prefix.ends_with(b"/") || after.is_empty() || after[0] == b'/').then_some(after)
}

fn is_named(name: &[u8], pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

/// `text` with everything percent-encoded that is no visible ASCII or is in `also`. What is
/// percent-encoded already stays.
fn encoded(text: &str, also: &[u8]) -> String {
    use std::fmt::Write as _;
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    for (n, b) in bytes.iter().enumerate() {
        let is_escape = *b == b'%' && bytes.get(n + 1..n + 3).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit));
        if b.is_ascii_graphic() && !also.contains(b) && (*b != b'%' || is_escape) {
            out.push(char::from(*b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// A name of a query field without its encoding.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        let escape = after.get(..2).filter(|_| *first == b'%').and_then(|h| std::str::from_utf8(h).ok());
        match escape.filter(|h| !h.starts_with('+')).and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewrite(prefixes: &[&str], drop: &[&str], set: &[&str], path: &str) -> String {
        let r = Rewrite {
            prefixes: prefixes.iter().map(|p| p.parse().unwrap()).collect(),
            drop_query: drop.iter().map(|d| (*d).to_owned()).collect(),
            set_query: set.iter().map(|s| s.parse().unwrap()).collect(),
        };
        let mut out = Vec::new();
        r.rewrite_into(path.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_first_prefix_that_fits_is_replaced() {
        let both = |path| rewrite(&["/api/v1=/v2", "/api/=/old/"], &[], &[], path);
        assert_eq!(both("/api/v1/x?a=/api/v1"), "/v2/x?a=/api/v1");
        assert_eq!(both("/api/v1"), "/v2");
        assert_eq!(both("/api/v1?x"), "/v2?x");
        assert_eq!(both("/api/v10/x"), "/old/v10/x");
        assert_eq!(both("/x/api/v1"), "/x/api/v1");
        assert_eq!(rewrite(&["/=/shop/"], &[], &[], "/a"), "/shop/a");
        assert_eq!(rewrite(&["/a=/ä b"], &[], &[], "/a/c"), "/%C3%A4%20b/c");
    }

    #[test]
    fn query_fields_are_set_in_place_added_and_dropped() {
        assert_eq!(rewrite(&[], &[], &["k=new"], "/a?x=1&k=old&y=2&k=again"), "/a?x=1&k=new&y=2");
        assert_eq!(rewrite(&[], &[], &["k=a b&c", "e="], "/a"), "/a?k=a%20b%26c&e=");
        assert_eq!(rewrite(&[], &["x"], &[], "/a?x=1&&xy=2&x"), "/a?xy=2");
        assert_eq!(rewrite(&[], &["utm_*", "x"], &[], "/a?utm_source=m&x=1&utm_id=2"), "/a");
        assert_eq!(rewrite(&[], &["a b"], &["c d=%20%"], "/a?a+b=1&a%20b=2&c%20d=3"), "/a?c%20d=%20%25");
        assert_eq!(rewrite(&[], &["x"], &[], "/a?x=1#f"), "/a#f");
    }

    #[test]
    fn what_is_no_rewriting_is_refused() {
        assert!(
            "/a".parse::<Prefix>().is_err() && "a=/b".parse::<Prefix>().is_err() && "/a=b".parse::<Prefix>().is_err()
        );
        assert!("/a?x=/b".parse::<Prefix>().is_err());
        assert!("k".parse::<QueryField>().is_err() && "=v".parse::<QueryField>().is_err());
    }

    proptest! {
        #[test]
        fn a_path_stays_one(path in "/[!-~]{0,40}", new in "/[^?#=]{0,10}", name in "[^=]{1,8}", value in "\\PC{0,8}") {
            let out = rewrite(&[&format!("/={new}")], &["b*"], &[&format!("{name}={value}")], &path);
            prop_assert!(out.starts_with('/') && out.bytes().all(|b| (0x21..0x7f).contains(&b)), "{}", out);
        }
    }
}
