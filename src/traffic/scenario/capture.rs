//! Captures: what a later request of the same user needs from a response.
//!
//! Must not: keep what it finds.

use super::check::{Wants, fields};
use super::jsonpath::{Found, JsonPath, as_text};
use crate::model::Answer;
use regex::bytes::Regex;
use std::borrow::Cow;

/// Longest text that is kept of a response, bytes.
const MAX_CAPTURED_BYTES: usize = 64 << 10;

/// Where in a response a text is found.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    /// The number of what it fills.
    pub(super) into: u16,
    /// Where to look.
    pub(super) from: From,
    /// What of it: the first group, or the whole match of a pattern without groups.
    pub(super) pattern: Option<Regex>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// The whole body.
    Body,
    /// A value of a JSON body.
    Json(JsonPath),
    /// The first header field of this name.
    Header(Box<str>),
    /// The cookie of this name that the response sets last (RFC 6265 section 5.2).
    Cookie(Box<str>),
}

impl Capture {
    /// What of a response it has to see.
    pub(super) fn wants(&self) -> Wants {
        let head = matches!(self.from, From::Header(_) | From::Cookie(_));
        Wants { head, body: !head }
    }

    /// The text, when there is one.
    pub(super) fn find<'a>(&'a self, answer: &Answer<'a>) -> Option<Cow<'a, str>> {
        let found: Cow<'a, str> = match &self.from {
            From::Body => return self.matched(answer.body).map(|b| String::from_utf8_lossy(b)),
            From::Json(_) if answer.is_cut => return None,
            From::Json(path) => match path.find(answer.body) {
                Found::Value(value) => Cow::Owned(as_text(value)?),
                Found::NoJson | Found::Nothing => return None,
            },
            From::Header(name) => String::from_utf8_lossy(fields(answer.head, name).next()?),
            From::Cookie(name) => String::from_utf8_lossy(cookie(answer.head, name)?),
        };
        match (&self.pattern, found) {
            (None, found) => Some(found),
            (Some(_), Cow::Borrowed(text)) => self.matched(text.as_bytes()).map(|b| String::from_utf8_lossy(b)),
            (Some(_), Cow::Owned(text)) => {
                self.matched(text.as_bytes()).map(|b| Cow::Owned(String::from_utf8_lossy(b).into_owned()))
            }
        }
        .filter(|text| text.len() <= MAX_CAPTURED_BYTES)
    }

    fn matched<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let Some(pattern) = &self.pattern else { return Some(text) };
        let groups = pattern.captures(text)?;
        let found = groups.iter().skip(1).flatten().next().or(groups.get(0))?.as_bytes();
        (found.len() <= MAX_CAPTURED_BYTES).then_some(found)
    }
}

fn cookie<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let set = fields(head, "set-cookie").filter_map(|field| {
        let pair = field.split(|b| *b == b';').next().unwrap_or_default();
        let equals = pair.iter().position(|b| *b == b'=')?;
        (pair[..equals].trim_ascii() == name.as_bytes()).then(|| pair[equals + 1..].trim_ascii())
    });
    set.last()
}

#[cfg(test)]
mod tests {
    use super::super::check::pattern;
    use super::*;

    const HEAD: &str = "HTTP/1.1 201 Created\r\nlocation: /orders/17?x=1\r\n\
        Set-Cookie: sid=old; Path=/\r\nSet-Cookie: theme=dark\r\nSet-Cookie: sid=new=1; HttpOnly\r\n\r\n";
    const BODY: &str = r#"<input name="csrf" value="a1b2"> {"token": 1}"#;

    fn find(from: From, regex: Option<&str>, body: &str) -> Option<String> {
        let answer =
            Answer { status: 201, head: HEAD.as_bytes(), body: body.as_bytes(), is_cut: false, is_of_head: false };
        let capture = Capture { into: 0, from, pattern: regex.map(|r| pattern(r).unwrap()) };
        capture.find(&answer).map(Cow::into_owned)
    }

    #[test]
    fn a_text_is_found_in_each_place() {
        let json = |path| From::Json(JsonPath::parse(path).unwrap());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(find(From::Header("Location".into()), None, ""), some("/orders/17?x=1"));
        assert_eq!(find(From::Header("Location".into()), Some(r"/orders/(\d+)"), ""), some("17"));
        assert_eq!(find(From::Cookie("sid".into()), None, ""), some("new=1"));
        assert_eq!(find(From::Body, Some("value=\"([^\"]+)\""), BODY), some("a1b2"));
        assert_eq!(find(From::Body, Some("a[0-9]"), BODY), some("a1"));
        assert_eq!(find(json("t.id"), None, r#"{"t": {"id": 7}}"#), some("7"));
        assert_eq!(find(json("t"), None, r#"{"t": {"id": 7}}"#), some(r#"{"id":7}"#));
        assert_eq!(find(json("t"), Some("[a-z]+$"), r#"{"t": "1-abc"}"#), some("abc"));
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let json = |path| From::Json(JsonPath::parse(path).unwrap());
        assert_eq!(find(From::Header("ETag".into()), None, ""), None);
        assert_eq!(find(From::Cookie("SID".into()), None, ""), None, "names of cookies have their case");
        assert_eq!(find(From::Body, Some("nope"), BODY), None);
        assert_eq!(find(json("t"), None, r#"{"t": null}"#), None);
        assert_eq!(find(json("t"), None, BODY), None);
        let huge = format!("{{\"t\": \"{}\"}}", "x".repeat(MAX_CAPTURED_BYTES + 1));
        assert_eq!(find(json("t"), None, &huge), None);
    }
}
