//! The `expect` and `capture` tables of a scenario file.
//!
//! Must not: look at a response.

use super::super::capture::{Capture, From};
use super::super::check::{Expectation, Field, Is, Json, field_name, pattern};
use super::super::jsonpath::JsonPath;
use super::super::place::{Item, Table};
use super::super::template::Place;
use super::{Builder, Checked, Named};
use serde_json::Value;

pub(super) const KEYS: &[&str] = &["status", "body", "body_matches", "json", "json_has", "header", "header_has"];
pub(super) const CAPTURE_KEYS: &[&str] = &["json", "header", "cookie", "regex", "default"];

impl<'a> Builder<'a> {
    /// What a step expects: what the whole file does, and its own; its own status instead.
    pub(super) fn expectation(&self, root: &Table<'a>, step: &Table<'a>) -> Checked<Expectation> {
        let mut expected = Expectation::default();
        for table in [root.table("expect")?, step.table("expect")?].into_iter().flatten() {
            table.allow(KEYS)?;
            if let Some(item) = table.get("status") {
                let texts = one_or_more(&item)?.iter().map(Item::scalar).collect::<Checked<Vec<_>>>()?;
                expected.status = Some(texts.join(",").parse().map_err(|why: String| item.wrong(why))?);
            }
            for item in table.get("body").iter().flat_map(one_or_more_or_self) {
                let text = item.text()?;
                if text.is_empty() {
                    return Err(item.wrong("any body holds an empty text"));
                }
                expected.body.push(self.template(&item, text, Place::EXPECTED)?);
            }
            for item in table.get("body_matches").iter().flat_map(one_or_more_or_self) {
                expected.patterns.push(pattern(item.text()?).map_err(|why| item.wrong(why))?);
            }
            if let Some(fields) = table.table("json")? {
                self.json_fields(&fields, None, &mut expected.json)?;
            }
            for item in table.get("json_has").iter().flat_map(one_or_more_or_self) {
                let path = JsonPath::parse(item.text()?).map_err(|why| item.wrong(why))?;
                expected.json.push(Json { path, is: Is::There });
            }
            if let Some(fields) = table.table("header")? {
                for (name, at, item) in fields.items() {
                    let name = field_name(name).map_err(|why| self.file.wrong(at, why))?;
                    let value = self.template(&item, item.scalar()?.trim(), Place::EXPECTED)?;
                    expected.headers.push(Field { name, value: Some(value) });
                }
            }
            for item in table.get("header_has").iter().flat_map(one_or_more_or_self) {
                let name = field_name(item.text()?).map_err(|why| item.wrong(why))?;
                expected.headers.push(Field { name, value: None });
            }
        }
        Ok(expected)
    }

    /// `{ "a.b" = 1 }` and, as TOML has it, `{ a.b = 1 }` or `{ a = { b = 1 } }`.
    fn json_fields(&self, fields: &Table<'a>, within: Option<&JsonPath>, all: &mut Vec<Json>) -> Checked<()> {
        for (key, at, item) in fields.items() {
            let inner = JsonPath::parse(key).map_err(|why| self.file.wrong(at, why))?;
            let path = within.map_or_else(|| inner.clone(), |outer| outer.join(&inner));
            if let Some(nested) = item.as_table() {
                self.json_fields(&nested, Some(&path), all)?;
                continue;
            }
            let is = match item.as_text() {
                Some(text) => {
                    let template = self.template(&item, text, Place::EXPECTED)?;
                    match template.fixed() {
                        Some(fixed) => Is::Equal(Value::String(fixed.into())),
                        None => Is::Text(template),
                    }
                }
                None => {
                    let text = item.scalar()?;
                    let value = serde_json::from_str(&text).or_else(|_| text.parse::<f64>().map(Value::from));
                    Is::Equal(value.map_err(|_| item.wrong(format!("'{text}' is no number that JSON can write")))?)
                }
            };
            all.push(Json { path, is });
        }
        Ok(())
    }

    /// The captures of a step.
    pub(super) fn step_captures(&self, step: &Table<'a>) -> Checked<Vec<Capture>> {
        let Some(captures) = step.table("capture")? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for (name, _, item) in captures.items() {
            let table = item.table()?;
            table.allow(CAPTURE_KEYS)?;
            let regex = table.get("regex");
            let pattern = regex.map(|i| pattern(i.text()?).map_err(|why| i.wrong(why))).transpose()?;
            let places: Vec<_> =
                ["json", "header", "cookie"].iter().filter_map(|k| Some((*k, table.get(k)?))).collect();
            let from = match places.as_slice() {
                [] if pattern.is_some() => From::Body,
                [("json", i)] => From::Json(JsonPath::parse(i.text()?).map_err(|why| i.wrong(why))?),
                [("header", i)] => From::Header(field_name(i.text()?).map_err(|why| i.wrong(why))?),
                [(_, i)] => From::Cookie(field_name(i.text()?).map_err(|_| i.wrong("this is no name of a cookie"))?),
                _ => {
                    return Err(item.wrong(
                        "a capture is one of json = \"token\", header = \"Location\", cookie = \"session\", or a regex; \
                         with a regex of what is found there",
                    ));
                }
            };
            if let Some(Named::Capture(into)) = self.names.get(name) {
                all.push(Capture { into: *into, from, pattern });
            }
        }
        Ok(all)
    }
}

fn one_or_more<'a>(item: &Item<'a>) -> Checked<Vec<Item<'a>>> {
    let all = one_or_more_or_self(item);
    if all.is_empty() { Err(item.wrong("an empty list expects nothing")) } else { Ok(all) }
}

fn one_or_more_or_self<'a>(item: &Item<'a>) -> Vec<Item<'a>> {
    item.as_list().unwrap_or_else(|| vec![*item])
}
