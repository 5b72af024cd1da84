//! Texts with `{{name}}` in them, compiled once to pieces and written as often as needed.
//!
//! What a value is escaped by depends on where it is written: percent-encoded in a path or
//! query (RFC 3986 section 2.1), as the inside of a JSON string in a JSON body (RFC 8259
//! section 7), without control characters in a header field (RFC 9110 section 5.5). A filter
//! says otherwise: `{{name|raw}}`.
//!
//! Must not: draw values.

use super::source::Digits;

/// Longest text with variables, bytes, and most variables in one.
const MAX_PIECES: usize = 10_000;

/// A compiled text.
#[derive(Clone, Debug, Default)]
pub(super) struct Template(Box<[Piece]>);

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<str>),
    Value(Slot, Escape),
}

/// What `{{name}}` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A variable, or one of its columns.
    Drawn(u16, Option<u16>),
    /// What was captured from a response.
    Captured(u16),
    /// `{{seq}}`
    Seq,
    /// `{{uuid}}`
    Uuid,
    /// `{{user}}`
    User,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// Everything but unreserved characters percent-encoded.
    Url,
    /// Only what may not stand in a request line percent-encoded.
    Target,
    /// As the inside of a JSON string.
    Json,
    /// Control characters as spaces.
    Field,
    /// As it is.
    Raw,
}

/// Where a text goes, hence what its values are escaped by unless a filter says otherwise,
/// and what `raw` may not go below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) by_default: Escape,
    pub(super) raw: Escape,
}

impl Place {
    /// Path and query.
    pub(super) const TARGET: Place = Place { by_default: Escape::Url, raw: Escape::Target };
    /// The value of a header field.
    pub(super) const FIELD: Place = Place { by_default: Escape::Field, raw: Escape::Field };
    /// What an answer is compared with.
    pub(super) const EXPECTED: Place = Place { by_default: Escape::Raw, raw: Escape::Raw };

    /// A body of this content type.
    pub(super) fn body(content_type: &str) -> Place {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let by_default = match &*essence {
            "application/x-www-form-urlencoded" => Escape::Url,
            json if json.ends_with("/json") || json.ends_with("+json") || json.ends_with("ndjson") => Escape::Json,
            _ => Escape::Raw,
        };
        Place { by_default, raw: Escape::Raw }
    }
}

/// What is wrong with a text: the part of it, and why.
pub(super) type Wrong = (String, String);

/// Gives values their texts.
pub(super) trait Values {
    /// The text of `slot`; numbers are spelled into `digits`.
    fn text<'v>(&'v self, slot: Slot, digits: &'v mut Digits) -> &'v str;
}

/// No values: for texts without variables.
pub(super) struct NoValues;

impl Values for NoValues {
    fn text<'v>(&'v self, _: Slot, _: &'v mut Digits) -> &'v str {
        ""
    }
}

/// What a text is written to.
pub(super) trait Sink {
    /// Adds a text.
    fn put(&mut self, text: &str);
}

impl Sink for String {
    fn put(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

impl Template {
    /// Compiles a text. `slot_of` knows the names, and whether their values are never in need
    /// of escaping.
    pub(super) fn compile(
        text: &str,
        place: Place,
        mut slot_of: impl FnMut(&str) -> Result<(Slot, bool), String>,
    ) -> Result<Template, Wrong> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            literal.push_str(&rest[..open]);
            let inner = &rest[open + 2..];
            let quoted = inner.trim_start().strip_prefix('\'').and_then(|q| q.split_once('\''));
            if let Some((verbatim, after)) = quoted {
                let close = after.trim_start().strip_prefix("}}");
                rest = close.ok_or_else(|| (inner.to_owned(), "a quoted {{'...'}} is not closed by }}".to_owned()))?;
                literal.push_str(verbatim);
                continue;
            }
            let Some((name, after)) = inner.split_once("}}") else {
                return Err((rest[open..].to_owned(), "{{ is not closed by }}; write {{'{{'}} for two braces".into()));
            };
            rest = after;
            let (name, filter) = name.split_once('|').map_or((name, None), |(n, f)| (n, Some(f.trim())));
            let at = |why| (name.to_owned(), why);
            let (slot, is_plain) = slot_of(name.trim()).map_err(at)?;
            let escape = match filter {
                None => place.by_default,
                Some("raw") => place.raw,
                Some("url") => Escape::Url,
                Some("json") => Escape::Json,
                Some(other) => {
                    return Err(at(format!("there is no filter '{other}'; known: url, json, raw")));
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Value(slot, if is_plain { Escape::Raw } else { escape }));
            if pieces.len() > MAX_PIECES {
                return Err(at("there are too many variables in one text".into()));
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Template(pieces.into()))
    }

    /// A text without variables, whatever it holds.
    pub(super) fn verbatim(text: &str) -> Template {
        Template(Box::new([Piece::Literal(text.into())]))
    }

    /// Writes the text with its values.
    pub(super) fn write(&self, values: &impl Values, out: &mut impl Sink) {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.put(text),
                Piece::Value(slot, escape) => {
                    let mut digits = Digits::default();
                    escaped(values.text(*slot, &mut digits), *escape, out);
                }
            }
        }
    }

    /// The text as it is, when there is no variable in it.
    pub(super) fn fixed(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// What its variables stand for.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().filter_map(|p| match p {
            Piece::Value(slot, _) => Some(*slot),
            Piece::Literal(_) => None,
        })
    }

    /// The same with its literal pieces rewritten.
    pub(super) fn map_literals(self, mut rewrite: impl FnMut(&str) -> String) -> Template {
        let rewritten = self.0.into_iter().map(|p| match p {
            Piece::Literal(text) => Piece::Literal(rewrite(&text).into()),
            value => value,
        });
        Template(rewritten.collect())
    }

    /// Its literal pieces.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|p| match p {
            Piece::Literal(text) => Some(&**text),
            Piece::Value(..) => None,
        })
    }

    /// The text with `stand_in` for each of its variables.
    pub(super) fn with(&self, stand_in: &str) -> String {
        self.0.iter().fold(String::new(), |mut all, p| {
            all.push_str(match p {
                Piece::Literal(text) => text,
                Piece::Value(..) => stand_in,
            });
            all
        })
    }

    /// Whether it begins with a variable written without encoding.
    pub(super) fn begins_raw(&self) -> bool {
        matches!(self.0.first(), Some(Piece::Value(_, Escape::Target)))
    }
}

/// Writes `text` escaped.
fn escaped(text: &str, escape: Escape, out: &mut impl Sink) {
    let is_plain: fn(u8) -> bool = match escape {
        Escape::Raw => return out.put(text),
        // RFC 3986 section 2.3.
        Escape::Url => |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'),
        Escape::Target => |b| b.is_ascii_graphic() && b != b'#',
        Escape::Json => |b| b >= 0x20 && b != b'"' && b != b'\\',
        Escape::Field => |b| (b >= 0x20 && b != 0x7f) || b == b'\t',
    };
    let mut rest = text;
    while let Some(n) = rest.bytes().position(|b| !is_plain(b)) {
        out.put(&rest[..n]); // whole characters: of a long one the first byte is never plain where any is not
        let c = rest[n..].chars().next().unwrap_or_default();
        match escape {
            Escape::Json => json_character(c, out),
            Escape::Field => out.put(" "),
            _ => percent(c, out),
        }
        rest = &rest[n + c.len_utf8()..];
    }
    out.put(rest);
}

const HEX: &str = "0123456789ABCDEF";

fn hex(nibble: u8, out: &mut impl Sink) {
    let n = usize::from(nibble & 0xf);
    out.put(&HEX[n..=n]);
}

fn percent(c: char, out: &mut impl Sink) {
    for b in c.encode_utf8(&mut [0; 4]).bytes() {
        out.put("%");
        hex(b >> 4, out);
        hex(b, out);
    }
}

fn json_character(c: char, out: &mut impl Sink) {
    match c {
        '"' => out.put("\\\""),
        '\\' => out.put("\\\\"),
        '\n' => out.put("\\n"),
        '\r' => out.put("\\r"),
        '\t' => out.put("\\t"),
        c => {
            out.put("\\u00");
            hex(c as u8 >> 4, out); // below 0x20, or it would not have come here
            hex(c as u8, out);
        }
    }
}

/// Percent-encodes in a literal what may not stand in a request line (RFC 9112 section 3.2).
pub(super) fn target_literal(text: &str) -> String {
    let mut out = String::new();
    escaped(text, Escape::Target, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct One<'a>(&'a str);

    impl Values for One<'_> {
        fn text<'v>(&'v self, _: Slot, _: &'v mut Digits) -> &'v str {
            self.0
        }
    }

    fn write(template: &str, place: Place, value: &str) -> String {
        let compiled = Template::compile(template, place, |name| match name {
            "x" => Ok((Slot::Captured(0), false)),
            other => Err(format!("no {other}")),
        });
        let mut out = String::new();
        compiled.unwrap().write(&One(value), &mut out);
        out
    }

    #[test]
    fn a_value_is_escaped_by_its_place_or_by_its_filter() {
        let json = Place::body("application/json; charset=utf-8");
        let form = Place::body("application/x-www-form-urlencoded");
        let plain = Place::body("text/plain");
        for (template, place, value, out) in [
            ("/a/{{x}}?q={{ x }}", Place::TARGET, "b c/ä&", "/a/b%20c%2F%C3%A4%26?q=b%20c%2F%C3%A4%26"),
            ("/a/{{x|raw}}", Place::TARGET, "b c/ä#?&\r\n", "/a/b%20c/%C3%A4%23?&%0D%0A"),
            ("Bearer {{x}}", Place::FIELD, "a\r\nX: ä", "Bearer a  X: ä"),
            ("{{x|url}}", Place::FIELD, "a b", "a%20b"),
            ("{\"a\":{\"b\":\"{{x}}\"}}", json, "q\"\\\n\u{1}ä", "{\"a\":{\"b\":\"q\\\"\\\\\\n\\u0001ä\"}}"),
            ("{\"a\":{{x}}}", json, "1", "{\"a\":1}"),
            ("{\"a\":{\"b\":{{x|raw}}}}", json, "[\"\"]", "{\"a\":{\"b\":[\"\"]}}"),
            ("a={{x}}&b={{x|raw}}", form, "1 2", "a=1%202&b=1 2"),
            ("{{x}} {{x|json}}", plain, "\"", "\" \\\""),
            ("{{'{{x}}'}} {{x}}", plain, "1", "{{x}} 1"),
            ("no }} variable { {", plain, "1", "no }} variable { {"),
            ("", plain, "1", ""),
        ] {
            assert_eq!(write(template, place, value), out, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_part() {
        let compile = |t: &str| Template::compile(t, Place::TARGET, |n| Err(format!("no {n}"))).err();
        assert_eq!(compile("/{{a}}"), Some(("a".into(), "no a".into())));
        assert_eq!(
            compile("/{{a"),
            Some(("{{a".into(), "{{ is not closed by }}; write {{'{{'}} for two braces".into()))
        );
        let known = |t: &str| Template::compile(t, Place::TARGET, |_| Ok((Slot::Seq, true))).err();
        assert!(known("{{a|html}}").unwrap().1.contains("known: url, json, raw"));
        assert!(known("{{'a' b}}").unwrap().1.contains("not closed"));
        assert_eq!(known("{{a}}"), None);
    }

    proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(text in "[{}'|x \\PC]{0,40}") {
            let _ = Template::compile(&text, Place::TARGET, |_| Ok((Slot::Seq, false)));
        }

        #[test]
        fn a_value_never_leaves_its_place(value in any::<String>()) {
            let path = write("/{{x}}?{{x|raw}}", Place::TARGET, &value);
            prop_assert!(path.bytes().all(|b| b.is_ascii_graphic()));
            let field = write("{{x}}", Place::FIELD, &value);
            prop_assert!(field.bytes().all(|b| b != b'\r' && b != b'\n' && b != 0));
            let json = write("\"{{x}}\"", Place::body("application/json"), &value);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
        }
    }
}
