//! vegeta targets: `METHOD URL`, header lines, `@file` for the body, a blank line; or one JSON
//! object per line with a Base64 body. They have no times.
//!
//! The text form ends a target at a blank line, behind its body, or where the next one begins.
//!
//! Must not: read a file that no target names.

use super::super::ledger::Reason;
use super::urls::request;
use super::{Framing, Message, NO_TIME, Referred, Resync, Step, line, next_line_that, push_base64};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Targets as text, being read.
pub(in crate::traffic) struct VegetaText {
    message: Message,
    files: Referred,
}

impl VegetaText {
    /// At its start.
    pub(in crate::traffic) fn start(folder: Option<&Path>) -> Box<dyn Framing> {
        Box::new(VegetaText { message: Message::default(), files: Referred::new(folder) })
    }

    /// A header line or the body: whether the target ends with it.
    fn take(&mut self, l: &[u8]) -> Result<bool, Reason> {
        if let Some(file) = l.strip_prefix(b"@") {
            self.message.body.extend_from_slice(self.files.read(file.trim_ascii())?);
            return Ok(true);
        }
        let colon = memchr::memchr(b':', l).filter(|n| *n > 0).ok_or(Reason::BadHead)?;
        self.message.fields.push(&l[..colon], &l[colon + 1..]);
        Ok(false)
    }
}

impl Framing for VegetaText {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, mut used)) = line(text, at_end) else { return Step::More };
        match l.trim_ascii() {
            b"" | [b'#', ..] => return Step::Pass(used),
            l => match request(l).filter(|(_, target)| target[0] != b'/') {
                Some((method, url)) => self.message.begin(method, url),
                None => return Step::Bad(used, Reason::NoMatch),
            },
        }
        let mut wrong = None;
        loop {
            if used == text.len() {
                if !at_end {
                    return Step::More;
                }
                break;
            }
            let Some((l, n)) = line(&text[used..], at_end) else { return Step::More };
            let l = l.trim_ascii();
            if request(l).is_some() {
                break;
            }
            used += n;
            match l {
                b"" => break,
                [b'#', ..] => {}
                l => match self.take(l) {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(reason) => wrong = wrong.or(Some(reason)),
                },
            }
        }
        match wrong {
            Some(reason) => Step::Bad(used, reason),
            None => Step::Record(used, self.message.record(NO_TIME)),
        }
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, |l| request(l.trim_ascii()).is_some())
    }
}

/// A target of vegeta's JSON form. Other keys are none of its: a log of JSON lines is no such list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    header: Option<BTreeMap<String, Vec<String>>>,
}

/// Targets as JSON lines, being read.
#[derive(Default)]
pub(in crate::traffic) struct VegetaJson {
    message: Message,
}

impl VegetaJson {
    /// At its start.
    pub(in crate::traffic) fn start(_: Option<&Path>) -> Box<dyn Framing> {
        Box::new(VegetaJson::default())
    }
}

impl Framing for VegetaJson {
    fn step<'a>(&'a mut self, text: &'a [u8], at_end: bool) -> Step<'a> {
        let Some((l, used)) = line(text, at_end) else { return Step::More };
        if l.trim_ascii().is_empty() {
            return Step::Pass(used);
        }
        let Ok(target) = serde_json::from_slice::<Target<'_>>(l) else {
            let torn = at_end && !text.contains(&b'\n');
            return Step::Bad(used, if torn { Reason::CutShort } else { Reason::NoMatch });
        };
        self.message.begin(target.method.as_bytes(), target.url.as_bytes());
        for (name, values) in target.header.iter().flatten() {
            values.iter().for_each(|v| self.message.fields.push(name.as_bytes(), v.as_bytes()));
        }
        if let Some(Err(reason)) = target.body.map(|b| push_base64(b.as_bytes(), &mut self.message.body)) {
            return Step::Bad(used, reason);
        }
        Step::Record(used, self.message.record(NO_TIME))
    }

    fn resync(&mut self, text: &[u8], at_end: bool) -> Resync {
        next_line_that(text, at_end, |l| l.trim_ascii_start().starts_with(b"{"))
    }
}
