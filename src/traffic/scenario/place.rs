//! A TOML document read key by key with the place of each, so that whatever is wrong in it is
//! told with its line and column, and no key is passed over in silence.
//!
//! Must not: know what the keys of a scenario mean.

use super::error::{ScenarioError, Text, nearest};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of the file.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) file: Text<'a>,
    map: &'a DeTable<'a>,
    span: (usize, usize),
}

/// A value of the file.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) file: Text<'a>,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    /// The table of a whole document.
    pub(super) fn root(file: Text<'a>, document: &'a Spanned<DeTable<'a>>) -> Table<'a> {
        Table { file, map: document.get_ref(), span: (0, 0) }
    }

    /// Refuses a key that is not one of `known`.
    pub(super) fn allow(&self, known: &[&str]) -> Result<(), ScenarioError> {
        for (key, span, _) in self.items() {
            if !known.contains(&key) {
                let near = nearest(key, known.iter().copied());
                return Err(self.file.wrong(span, format!("there is no key '{key}' here{near}")));
            }
        }
        Ok(())
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<Item<'a>> {
        self.map.get(key).map(|value| Item { file: self.file, value })
    }

    /// The table under a key.
    pub(super) fn table(&self, key: &str) -> Result<Option<Table<'a>>, ScenarioError> {
        self.get(key).map(|i| i.table()).transpose()
    }

    /// All keys with their places and values, in the order they are written.
    pub(super) fn items(&self) -> impl Iterator<Item = (&'a str, Range<usize>, Item<'a>)> {
        let file = self.file;
        let mut all: Vec<_> = self.map.iter().collect();
        all.sort_by_key(|(key, _)| key.span().start);
        all.into_iter().map(move |(key, value)| (key.get_ref().as_ref(), key.span(), Item { file, value }))
    }

    /// The error of something about the table as a whole.
    pub(super) fn wrong(&self, what: impl AsRef<str>) -> ScenarioError {
        self.file.wrong(self.span.0..self.span.1, what)
    }
}

impl<'a> Item<'a> {
    /// Where it stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// The error of something about it.
    pub(super) fn wrong(&self, what: impl AsRef<str>) -> ScenarioError {
        self.file.wrong(self.span(), what)
    }

    /// The error of `part` of a text that stands here, at its own place where it can be found.
    pub(super) fn wrong_at(&self, part: &str, what: impl AsRef<str>) -> ScenarioError {
        let span = self.span();
        let text = self.file.text.get(span.clone()).unwrap_or("");
        let is_named = |at: &usize| text[*at..].trim_start().starts_with(part);
        // A name may stand in the text before it is used as one.
        let used = text.match_indices("{{").map(|(n, _)| n + 2).find(is_named);
        let within = used.or_else(|| text.find(part)).unwrap_or(0);
        self.file.wrong(span.start + within..span.end, what)
    }

    fn expected(&self, what: &str) -> ScenarioError {
        self.wrong(format!("this is {}, but {what} is needed here", kind_of(self.value.get_ref())))
    }

    /// It as a text.
    pub(super) fn text(&self) -> Result<&'a str, ScenarioError> {
        self.value.get_ref().as_str().ok_or_else(|| self.expected("a text in quotes"))
    }

    /// It as a text, if it is one.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// It as a whole number, if it is one that a signed 64-bit number holds.
    pub(super) fn as_integer(&self) -> Option<i64> {
        let n = self.value.get_ref().as_integer()?;
        i64::from_str_radix(n.as_str(), n.radix()).ok()
    }

    /// It as a whole number from `least` to `most`.
    pub(super) fn integer(&self, least: i64, most: i64) -> Result<i64, ScenarioError> {
        match self.as_integer() {
            Some(n) if (least..=most).contains(&n) => Ok(n),
            Some(_) => Err(self.wrong(format!("a number from {least} to {most} is needed here"))),
            None => Err(self.expected("a whole number")),
        }
    }

    /// It as a finite number, if it is one.
    pub(super) fn as_number(&self) -> Option<f64> {
        let value = self.value.get_ref();
        let text = match value {
            DeValue::Float(n) => n.as_str(),
            DeValue::Integer(_) => return self.as_integer().map(|n| n as f64),
            _ => return None,
        };
        text.parse::<f64>().ok().filter(|n| n.is_finite())
    }

    /// It as yes or no.
    pub(super) fn flag(&self) -> Result<bool, ScenarioError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// It as a list.
    pub(super) fn list(&self) -> Result<Vec<Item<'a>>, ScenarioError> {
        self.as_list().ok_or_else(|| self.expected("a list in [ ]"))
    }

    /// It as a list, if it is one.
    pub(super) fn as_list(&self) -> Option<Vec<Item<'a>>> {
        let list = self.value.get_ref().as_array()?;
        Some(list.iter().map(|value| Item { file: self.file, value }).collect())
    }

    /// It as a table.
    pub(super) fn table(&self) -> Result<Table<'a>, ScenarioError> {
        self.as_table().ok_or_else(|| self.expected("a table, as in { key = value },"))
    }

    /// It as a table, if it is one.
    pub(super) fn as_table(&self) -> Option<Table<'a>> {
        let map = self.value.get_ref().as_table()?;
        let span = self.span();
        Some(Table { file: self.file, map, span: (span.start, span.end) })
    }

    /// A text, number or truth value as it would be written into a request.
    pub(super) fn scalar(&self) -> Result<String, ScenarioError> {
        match self.value.get_ref() {
            DeValue::String(s) => Ok(s.to_string()),
            DeValue::Boolean(b) => Ok(b.to_string()),
            DeValue::Float(n) => Ok(n.as_str().into()),
            DeValue::Integer(n) if n.radix() == 10 => Ok(n.as_str().into()),
            DeValue::Integer(_) => {
                self.as_integer().map(|n| n.to_string()).ok_or_else(|| self.wrong("this number is too large"))
            }
            _ => Err(self.expected("a text, a number or true or false")),
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
