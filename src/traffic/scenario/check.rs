//! Checks of a response: status, body, JSON fields, header fields; and the judge of recorded
//! traffic, who is given them on the command line.
//!
//! A body of which only the beginning was kept fails a check that the beginning does not
//! already pass: what was not seen is not taken for good.
//!
//! Must not: count.

use super::error::{ScenarioError, nearest};
use super::jsonpath::{Found, JsonPath};
use super::template::{NoValues, Template, Values};
use crate::model::{Answer, CheckKind, RecordedStatus, clean};
use memchr::{memchr, memmem};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use std::borrow::Cow;
use std::str::FromStr;

/// Most memory a compiled pattern may take, bytes.
const MAX_REGEX_BYTES: usize = 4 << 20;

/// What parts of a response somebody wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Status line and fields.
    pub head: bool,
    /// The content.
    pub body: bool,
}

impl Wants {
    /// What either wants.
    pub fn or(self, other: Wants) -> Wants {
        Wants { head: self.head || other.head, body: self.body || other.body }
    }
}

/// What is expected of a response.
#[derive(Clone, Debug, Default)]
pub(super) struct Expectation {
    pub(super) status: Option<Statuses>,
    pub(super) headers: Vec<Field>,
    pub(super) body: Vec<Template>,
    pub(super) patterns: Vec<Regex>,
    pub(super) json: Vec<Json>,
}

/// A header field that is expected.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    /// Its value; any when `None`.
    pub(super) value: Option<Template>,
}

/// A value in a JSON body that is expected.
#[derive(Clone, Debug)]
pub(super) struct Json {
    pub(super) path: JsonPath,
    pub(super) is: Is,
}

/// What a JSON value is expected to be.
#[derive(Clone, Debug)]
pub(super) enum Is {
    /// There, and not null.
    There,
    /// This one.
    Equal(Value),
    /// One that reads like this: a text without its quotes.
    Text(Template),
}

impl Expectation {
    /// What of a response it has to see.
    pub(super) fn wants(&self) -> Wants {
        let body = !self.body.is_empty() || !self.patterns.is_empty() || !self.json.is_empty();
        Wants { head: !self.headers.is_empty(), body }
    }

    /// The templates in it.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let json = self.json.iter().filter_map(|j| match &j.is {
            Is::Text(t) => Some(t),
            Is::There | Is::Equal(_) => None,
        });
        self.body.iter().chain(self.headers.iter().filter_map(|f| f.value.as_ref())).chain(json)
    }

    /// Whether the response is as expected; the first thing that is not.
    pub(super) fn check(&self, answer: &Answer<'_>, values: &impl Values) -> Result<(), CheckKind> {
        if self.status.as_ref().is_some_and(|s| !s.holds(answer.status)) {
            return Err(CheckKind::Status);
        }
        for field in &self.headers {
            let mut all = fields(answer.head, &field.name);
            let found = match &field.value {
                None => all.next().is_some(),
                Some(value) => {
                    let value = text(value, values);
                    all.any(|v| v == value.as_bytes())
                }
            };
            if !found {
                return Err(CheckKind::Header);
            }
        }
        if answer.is_of_head {
            return Ok(());
        }
        let has_texts = self.body.iter().all(|t| memmem::find(answer.body, text(t, values).as_bytes()).is_some());
        if !has_texts || !self.patterns.iter().all(|p| p.is_match(answer.body)) {
            return Err(if answer.is_cut { CheckKind::Cut } else { CheckKind::Body });
        }
        for json in &self.json {
            if answer.is_cut {
                return Err(CheckKind::Cut); // a document that breaks off is none
            }
            let Found::Value(value) = json.path.find(answer.body) else { return Err(CheckKind::Json) };
            let as_expected = match &json.is {
                Is::There => !value.is_null(),
                Is::Equal(expected) => is_same(&value, expected),
                Is::Text(expected) => reads_like(&value, &text(expected, values)),
            };
            if !as_expected {
                return Err(CheckKind::Json);
            }
        }
        Ok(())
    }
}

fn text<'t>(template: &'t Template, values: &impl Values) -> Cow<'t, str> {
    match template.fixed() {
        Some(fixed) => Cow::Borrowed(fixed),
        None => {
            let mut out = String::new();
            template.write(values, &mut out);
            Cow::Owned(out)
        }
    }
}

/// Numbers by their value, anything else as it is.
fn is_same(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => value == expected,
    }
}

/// Whether a value reads like a text: `7` like 7, 7.0 and "7".
fn reads_like(value: &Value, text: &str) -> bool {
    match value {
        Value::String(s) => s == text || serde_json::from_str::<Value>(text).is_ok_and(|t| is_same(value, &t)),
        _ => serde_json::from_str::<Value>(text).is_ok_and(|t| is_same(value, &t)),
    }
}

/// The values of a header field in a response's head, without the white space around them.
pub(super) fn fields<'a>(head: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = head;
    let lines = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    });
    lines.skip(1).filter_map(move |line| {
        let colon = memchr(b':', line)?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

/// A pattern over bytes, its compiled size bounded; it matches in linear time.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The last line of the message is the reason; those before it draw the place.
        e => format!("'{}' is no pattern: {}", clean(text, 80), e.to_string().lines().last().unwrap_or_default()),
    })
}

/// A set of statuses: `200`, `2xx`, `200,204,3xx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Whether a status is one of them.
    pub fn holds(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Statuses, String> {
        let one = |part: &str| {
            let part = part.trim();
            let digit = part.strip_suffix("xx").and_then(|d| d.parse::<u16>().ok()).filter(|d| (1..=9).contains(d));
            if let Some(d) = digit {
                return Ok((d * 100, d * 100 + 99));
            }
            match part.parse::<u16>() {
                Ok(n) if (100..=999).contains(&n) => Ok((n, n)),
                _ => Err(format!("'{}' is no status; write 200, 2xx or 200,204,3xx", clean(part, 20))),
            }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Statuses)
    }
}

/// The checks of the command line, as they are written there.
#[derive(Clone, Debug, Default)]
pub struct JudgeOptions {
    /// `200`, `2xx`, `200,3xx`; or `recorded`: the status in the recording.
    pub status: Option<String>,
    /// Texts that the body must hold.
    pub body: Vec<String>,
    /// Patterns that the body must match.
    pub body_matches: Vec<String>,
    /// `path=value`, or `path`: it must be there.
    pub json: Vec<String>,
    /// `Name: value`, or `Name`: it must be there.
    pub header: Vec<String>,
}

/// Judges responses by the checks of the command line.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    expected: Expectation,
    recorded: bool,
}

impl Judge {
    /// Compiles the checks.
    ///
    /// # Errors
    /// When one of them is not written as it should be.
    pub fn new(options: &JudgeOptions) -> Result<Judge, ScenarioError> {
        let wrong = |option: &'static str| {
            move |why: String| ScenarioError::Option { what: clean(&format!("--{option}: {why}"), 400) }
        };
        let fixed = |text: &str| Template::verbatim(text);
        let mut judge = Judge::default();
        match options.status.as_deref().map(str::trim) {
            None => {}
            Some("recorded") => judge.recorded = true,
            Some(list) if list.starts_with(|c: char| c.is_ascii_digit()) => {
                judge.expected.status = Some(list.parse().map_err(wrong("check-status"))?);
            }
            Some(other) => {
                let near = nearest(other, ["recorded"]);
                return Err(wrong("check-status")(format!(
                    "'{other}' is no status; write 200, 2xx, 200,3xx or recorded{near}"
                )));
            }
        }
        judge.expected.body = options.body.iter().map(|t| fixed(t)).collect();
        for text in &options.body_matches {
            judge.expected.patterns.push(pattern(text).map_err(wrong("check-body-matches"))?);
        }
        for text in &options.json {
            // The first = outside brackets: a quoted name may hold one.
            let split = text.rfind(']').map_or(0, |n| text[..n].find('=').map_or(0, |_| n));
            let (path, value) = match text[split..].split_once('=') {
                Some((path, value)) => (&text[..split + path.len()], Some(value.trim())),
                None => (text.as_str(), None),
            };
            let path = JsonPath::parse(path).map_err(wrong("check-json"))?;
            let is = value.map_or(Is::There, |v| Is::Text(fixed(v)));
            judge.expected.json.push(Json { path, is });
        }
        for text in &options.header {
            let (name, value) = text.split_once(':').map_or((text.as_str(), None), |(n, v)| (n, Some(v.trim())));
            let name = field_name(name.trim()).map_err(wrong("check-header"))?;
            judge.expected.headers.push(Field { name, value: value.map(fixed) });
        }
        Ok(judge)
    }

    /// Whether there is anything to judge by.
    pub fn is_idle(&self) -> bool {
        !self.recorded && self.expected.status.is_none() && self.wants() == Wants::default()
    }

    /// What of a response it has to see.
    pub fn wants(&self) -> Wants {
        self.expected.wants()
    }

    /// Whether a response is as expected; the first thing that is not. A request that was
    /// recorded without a status matches any.
    ///
    /// # Errors
    /// The kind of check that failed.
    pub fn check(&self, recorded: Option<RecordedStatus>, answer: &Answer<'_>) -> Result<(), CheckKind> {
        if self.recorded && recorded.is_some_and(|r| !r.is_met_by(answer.status)) {
            return Err(CheckKind::Recorded);
        }
        self.expected.check(answer, &NoValues)
    }
}

/// A header field's name (RFC 9110 section 5.6.2).
pub(super) fn field_name(name: &str) -> Result<Box<str>, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 200 || !name.bytes().all(token) {
        return Err(format!("'{}' is no header name", clean(name, 40)));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(status: u16, head: &'a str, body: &'a str) -> Answer<'a> {
        Answer { status, head: head.as_bytes(), body: body.as_bytes(), is_cut: false, is_of_head: false }
    }

    fn judge(status: &str, body: &[&str], json: &[&str], header: &[&str]) -> Judge {
        let all = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let status = Some(status.to_owned()).filter(|s| !s.is_empty());
        let options =
            JudgeOptions { status, body: all(body), json: all(json), header: all(header), ..JudgeOptions::default() };
        Judge::new(&options).unwrap()
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A:  b \r\nX-A: c\r\n";

    #[test]
    fn statuses_are_one_or_a_class_or_a_list() {
        let s: Statuses = "200, 204,3xx".parse().unwrap();
        let held: Vec<u16> = [199, 200, 201, 204, 299, 300, 399, 400].into_iter().filter(|n| s.holds(*n)).collect();
        assert_eq!(held, [200, 204, 300, 399]);
        for wrong in ["", "2x", "xx", "0xx", "20", "1000", "200,", "200;201"] {
            assert!(wrong.parse::<Statuses>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_failure_inside_a_200_is_found() {
        let body = r#"{"ok": false, "code": 0, "id": "0", "items": [{"a=b": 1.0}], "none": null}"#;
        let a = answer(200, HEAD, body);
        let passes = |j: &Judge| j.check(None, &a);
        assert_eq!(
            passes(&judge("2xx", &["items"], &["ok=false", "code=0", "id=0", "items[0]['a=b']=1"], &[])),
            Ok(())
        );
        assert_eq!(passes(&judge("", &[], &["ok=true"], &[])), Err(CheckKind::Json));
        assert_eq!(passes(&judge("", &[], &["id=\"0\""], &[])), Ok(()));
        assert_eq!(passes(&judge("", &[], &["code=\"0\""], &[])), Err(CheckKind::Json), "a quoted value is a text");
        assert_eq!(passes(&judge("", &[], &["items"], &[])), Ok(()));
        assert_eq!(passes(&judge("", &[], &["none"], &[])), Err(CheckKind::Json));
        assert_eq!(passes(&judge("", &[], &["none=null"], &[])), Ok(()));
        assert_eq!(passes(&judge("", &["\"ok\": true"], &[], &[])), Err(CheckKind::Body));
        assert_eq!(passes(&judge("201", &["nothing"], &[], &[])), Err(CheckKind::Status));
        assert_eq!(passes(&judge("", &[], &[], &["x-a: c", "content-type"])), Ok(()));
        assert_eq!(passes(&judge("", &[], &[], &["x-a: d"])), Err(CheckKind::Header));
        assert_eq!(passes(&judge("", &[], &[], &["HTTP/1.1 200 OK"].map(|_| "ETag"))), Err(CheckKind::Header));
    }

    #[test]
    fn what_was_cut_off_does_not_pass_unseen() {
        let cut = Answer { is_cut: true, ..answer(200, HEAD, "{\"ok\": true") };
        assert_eq!(judge("", &["true"], &[], &[]).check(None, &cut), Ok(()));
        assert_eq!(judge("", &["end"], &[], &[]).check(None, &cut), Err(CheckKind::Cut));
        assert_eq!(judge("", &[], &["ok=true"], &[]).check(None, &cut), Err(CheckKind::Cut));
    }

    #[test]
    fn of_an_answer_to_head_there_is_no_body_to_check() {
        let j = judge("2xx", &["token"], &["ok=true"], &["X-A: b"]);
        let head = Answer { is_of_head: true, ..answer(200, HEAD, "") };
        assert_eq!(j.check(None, &head), Ok(()));
        assert_eq!(j.check(None, &Answer { is_of_head: false, ..head }), Err(CheckKind::Body));
        assert_eq!(j.check(None, &Answer { status: 404, ..head }), Err(CheckKind::Status));
    }

    #[test]
    fn the_recorded_status_is_compared_where_there_is_one() {
        let j = judge("recorded", &[], &[], &[]);
        let a = answer(404, "", "");
        let recorded = |status| Some(RecordedStatus::of(status, |_| false));
        assert_eq!(j.check(recorded(404), &a), Ok(()));
        assert_eq!(j.check(recorded(200), &a), Err(CheckKind::Recorded));
        assert_eq!(j.check(recorded(304), &a), Err(CheckKind::Recorded));
        assert_eq!(j.check(recorded(304), &answer(200, "", "")), Ok(()), "the replay asks unconditionally");
        assert_eq!(j.check(None, &a), Ok(()));
        assert!(!j.is_idle() && j.wants() == Wants::default() && Judge::default().is_idle());
    }

    #[test]
    fn a_check_that_is_written_wrong_is_named_with_its_option() {
        let with = |o: JudgeOptions| Judge::new(&o).unwrap_err().to_string();
        let no = JudgeOptions::default();
        assert!(
            with(JudgeOptions { status: Some("recordd".into()), ..no.clone() }).contains("did you mean 'recorded'")
        );
        assert!(with(JudgeOptions { status: Some("2x".into()), ..no.clone() }).starts_with("--check-status: '2x'"));
        assert!(with(JudgeOptions { json: vec!["a[=1".into()], ..no.clone() }).starts_with("--check-json: 'a['"));
        assert!(with(JudgeOptions { header: vec!["a b: c".into()], ..no.clone() }).contains("no header name"));
        assert!(with(JudgeOptions { body_matches: vec!["(".into()], ..no.clone() }).contains("unclosed group"));
        let huge = JudgeOptions { body_matches: vec!["(a{1000}){1000}".into()], ..no };
        assert!(with(huge).contains("too large"));
    }
}
