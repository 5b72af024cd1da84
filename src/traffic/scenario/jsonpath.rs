//! A small subset of JSONPath (RFC 9535): `a.b[0].c`, `$.a['b c']`. Names, indices, nothing that
//! selects more than one value.
//!
//! A document is read through to its end, so that what is no JSON is found out, but only the
//! selected value is built.
//!
//! Must not: follow more levels than the path has; what is passed over is passed over without recursion.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Longest path, steps.
const MAX_STEPS: usize = 64;

/// A path to one value of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonPath(Box<[Step]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(Box<str>),
    Index(usize),
}

/// What a path led to.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// The document is no JSON.
    NoJson,
    /// It has nothing there.
    Nothing,
    /// This.
    Value(Value),
}

impl JsonPath {
    /// Reads a path.
    pub(super) fn parse(text: &str) -> Result<JsonPath, String> {
        let wrong = |why: &str| format!("'{text}' is no path to a JSON value: {why}; write one like data.items[0].id");
        let mut rest = text.trim();
        let mut steps = Vec::new();
        rest = rest.strip_prefix('$').unwrap_or(rest);
        let mut is_first = rest.len() == text.trim().len();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
                let (step, after) = match quote {
                    Some(quote) => {
                        let (name, after) =
                            inner[1..].split_once(quote).ok_or_else(|| wrong("a quote is not closed"))?;
                        (Step::Name(name.into()), after)
                    }
                    None => {
                        let digits = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(inner.len());
                        let index =
                            inner[..digits].parse().map_err(|_| wrong("[ ] takes an index or a quoted name"))?;
                        (Step::Index(index), &inner[digits..])
                    }
                };
                rest = after.strip_prefix(']').ok_or_else(|| wrong("a ] is missing"))?;
                steps.push(step);
            } else {
                let name = match rest.strip_prefix('.') {
                    Some(name) => name,
                    None if is_first => rest,
                    None => return Err(wrong("a . is missing")),
                };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return Err(wrong("a name is empty"));
                }
                if name[..end].contains(['*', '?', '(', ')', ']', '\'', '"']) {
                    return Err(wrong("only names and indices are read; put another name into ['...']"));
                }
                steps.push(Step::Name(name[..end].into()));
                rest = &name[end..];
            }
            is_first = false;
        }
        if steps.len() > MAX_STEPS {
            return Err(wrong("it is too long"));
        }
        if steps.is_empty() && !text.trim().starts_with('$') {
            return Err(wrong("it is empty"));
        }
        Ok(JsonPath(steps.into()))
    }

    /// A path of names put behind this one.
    pub(super) fn join(&self, inner: &JsonPath) -> JsonPath {
        JsonPath(self.0.iter().chain(&inner.0).cloned().collect())
    }

    /// The value it leads to in `document`. Of a name that comes twice the last one counts, as
    /// in ECMA-262 and serde_json.
    pub(super) fn find(&self, document: &[u8]) -> Found {
        let mut reader = serde_json::Deserializer::from_slice(document);
        match Seek(&self.0).deserialize(&mut reader).and_then(|found| reader.end().map(|()| found)) {
            Ok(Some(value)) => Found::Value(value),
            Ok(None) => Found::Nothing,
            Err(_) => Found::NoJson,
        }
    }
}

/// A value as it is written into a request: texts without their quotes, anything else as JSON.
/// `None` for null.
pub(super) fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(s) => Some(s),
        other => Some(other.to_string()),
    }
}

/// Follows the steps left, and builds what is at their end.
struct Seek<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Option<Value>, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(d).map(Some),
            _ => d.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(A::Error::custom("no step")) };
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(IsName(step))? {
            if is_it {
                found = map.next_value_seed(Seek(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Value>, A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Err(A::Error::custom("no step")) };
        if let Step::Index(n) = step {
            for _ in 0..*n {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            let found = seq.next_element_seed(Seek(rest))?.flatten();
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(found);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    // The document has a plain value where the path goes on.
    fn visit_bool<E>(self, _: bool) -> Result<Option<Value>, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Option<Value>, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Option<Value>, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Option<Value>, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Option<Value>, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }
}

/// Whether a key is the name of a step, without keeping it.
struct IsName<'p>(&'p Step);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(matches!(self.0, Step::Name(name) if **name == *key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn find(path: &str, document: &str) -> Found {
        JsonPath::parse(path).unwrap().find(document.as_bytes())
    }

    #[test]
    fn a_path_leads_to_its_value() {
        let document = r#"{"a": {"b": [{"c": 1}, {"c": "two"}], "b c": null, "x.y": true}, "n": 1.5, "d": 1, "d": 2}"#;
        for (path, value) in [
            ("a.b[0].c", json!(1)),
            ("$.a.b[1].c", json!("two")),
            ("$.a['b c']", json!(null)),
            ("a[\"x.y\"]", json!(true)),
            ("$['n']", json!(1.5)),
            ("d", json!(2)),
            ("a.b", json!([{"c": 1}, {"c": "two"}])),
        ] {
            assert_eq!(find(path, document), Found::Value(value), "{path}");
        }
        for path in ["a.z", "a.b[2]", "a.b.c", "n.x", "n[0]", "[0]"] {
            assert_eq!(find(path, document), Found::Nothing, "{path}");
        }
        assert_eq!(find("$", "7"), Found::Value(json!(7)));
        assert_eq!(find("[1][0]", "[1,[2]]"), Found::Value(json!(2)));
    }

    #[test]
    fn what_is_no_json_is_told_wherever_it_breaks() {
        for document in ["", "<html>", "{\"a\": 1", "{\"a\": 1} x", "{\"a\": 1, }", "{\"a\": tru}", "{1: 2}"] {
            assert_eq!(find("a", document), Found::NoJson, "{document}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(find("a", &deep), Found::NoJson);
        let deep = format!("{{\"a\": {}{}, \"b\": 1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(find("b", &deep), Found::Value(json!(1)), "what is passed over may be deep");
        assert_eq!(find("a", &deep), Found::NoJson, "what is built may not");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for wrong in ["", ".", "a.", "a..b", "a[", "a[x]", "a['b", "a[0", "a[*]", "$..a", "a.*", "a[-1]", "a[0]b"] {
            assert!(JsonPath::parse(wrong).is_err(), "{wrong}");
        }
        assert!(JsonPath::parse(&"a.".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_whole_document_built(a in "[a-c]", b in "[a-c]", n in 0usize..3, document in "[\\[\\]{}:,\"abc0-9 ]{0,40}") {
            let found = find(&format!("{a}[{n}].{b}"), &document);
            match serde_json::from_str::<Value>(&document) {
                Err(_) => prop_assert_eq!(found, Found::NoJson),
                Ok(v) => match v.get(&a).and_then(|v| v.get(n)).and_then(|v| v.get(&b)) {
                    Some(v) => prop_assert_eq!(found, Found::Value(v.clone())),
                    None => prop_assert_eq!(found, Found::Nothing),
                },
            }
        }

        #[test]
        fn any_text_is_a_path_or_none(text in "\\PC{0,40}") {
            let _ = JsonPath::parse(&text).map(|p| p.find(text.as_bytes()));
        }
    }
}
