//! A scenario file read and validated: whatever is wrong in it is told when it is opened, with
//! its line and column, and not by a request that goes wrong.
//!
//! The names of variables and captures are collected first, then the steps are compiled
//! against them, then it is looked whether every value is there when it is needed.
//!
//! Must not: read any file but the scenario and those it names.

use super::super::error::shown_path;
use super::super::route::normalise_into;
use super::check::field_name;
use super::draw::{Each, Variable};
use super::error::{ScenarioError, Text, nearest};
use super::notation::{rate_per_s, size_bytes, time_ns};
use super::place::{Item, Table};
use super::source::{self, Source};
use super::template::{Place, Slot, Template, target_literal};
use super::think::Think;
use super::{BODY_BOUND, Captures, Content, Drive, Order, Scenario, Step, Wants};
use crate::model::{Method, Route, clean};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use toml::de::DeTable;

mod expect;
mod vars;

/// Longest scenario file, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most steps, variables and captures, each.
const MOST: usize = 1_000;

type Checked<T> = Result<T, ScenarioError>;

const KEYS: &[&str] =
    &["about", "users", "ramp", "arrivals", "repeat", "think", "headers", "expect", "vars", "step", "body_bound"];
const STEP_KEYS: &[&str] =
    &["request", "route", "weight", "once", "repeat", "think", "headers", "body", "body_file", "expect", "capture"];

/// Every key there is, for the test over the documentation.
#[cfg(test)]
pub(super) const ALL_KEYS: &[&[&str]] = &[KEYS, STEP_KEYS, vars::KEYS, expect::KEYS, expect::CAPTURE_KEYS];

/// Fields that the engine writes, because they describe the connection or the message.
const ENGINE_FIELDS: &[&str] = &["connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te"];

/// Opens a file.
pub(super) fn open(path: &Path) -> Checked<Scenario> {
    let bytes = source::read(path, MAX_FILE_BYTES)?;
    let shown = shown_path(path);
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text, &shown, path.parent().unwrap_or(Path::new("."))),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&e.as_bytes()[..at]).into_owned();
            Err(Text { path: &shown, text: &before }.wrong(at..at, "this is not UTF-8; is it a scenario file?"))
        }
    }
}

/// Reads a file's text; `folder` is where the files it names are found.
pub(super) fn parse(text: &str, path: &str, folder: &Path) -> Checked<Scenario> {
    let file = Text { path, text };
    let document = DeTable::parse(text).map_err(|e| file.wrong(e.span().unwrap_or(0..0), e.message()))?;
    let root = Table::root(file, &document);
    root.allow(KEYS)?;
    let mut builder = Builder {
        file,
        folder,
        names: HashMap::new(),
        variables: Vec::new(),
        says_each: Vec::new(),
        captures: Vec::new(),
    };
    builder.declare_variables(&root)?;
    let tables = steps_of(&root)?;
    for step in &tables {
        builder.declare_captures(step)?;
    }
    let mut steps = Vec::new();
    let mut routes = Vec::new();
    for table in &tables {
        steps.push(builder.step(&root, table, &mut routes)?);
    }
    let mut scenario = Scenario {
        name: clean(path, 200),
        about: root.get("about").map(|i| i.text()).transpose()?.map(|t| clean(t, 200)).unwrap_or_default(),
        drive: drive(&root)?,
        repeat: root.get("repeat").map(|i| i.integer(1, i64::MAX)).transpose()?.map(i64::unsigned_abs),
        passes: None,
        variables: Vec::new(),
        captures: Vec::new(),
        once: Vec::new(),
        flow: Vec::new(),
        order: order(&tables)?,
        steps,
        seq: AtomicU64::new(0),
        body_bound: root.get("body_bound").map(body_bound).transpose()?.unwrap_or(BODY_BOUND),
    };
    for (n, table) in tables.iter().enumerate() {
        let is_once = table.get("once").map(|i| i.flag()).transpose()?.unwrap_or(false);
        if is_once { scenario.once.push(n) } else { scenario.flow.push(n) }
    }
    builder.look_whether_values_are_there(&scenario, &tables)?;
    scenario.variables = builder.variables;
    scenario.captures = builder.captures;
    scenario.set_drive(scenario.drive);
    Ok(scenario)
}

fn steps_of<'a>(root: &Table<'a>) -> Checked<Vec<Table<'a>>> {
    let Some(item) = root.get("step") else {
        return Err(root.wrong("there is no [[step]]; write one with request = \"GET /\""));
    };
    let Some(list) = item.as_list() else {
        return Err(item.wrong("steps are written [[step]], with two brackets"));
    };
    if list.is_empty() || list.len() > MOST {
        return Err(item.wrong(format!("a scenario has from 1 to {MOST} steps")));
    }
    let tables = list.iter().map(Item::table).collect::<Checked<Vec<_>>>()?;
    for table in &tables {
        table.allow(STEP_KEYS)?;
    }
    Ok(tables)
}

fn drive(root: &Table<'_>) -> Checked<Drive> {
    let (users, arrivals, ramp) = (root.get("users"), root.get("arrivals"), root.get("ramp"));
    let ramp_ns = match &ramp {
        Some(i) => time_ns(i.text()?).map_err(|why| i.wrong(why))?,
        None => 0,
    };
    match (users, arrivals) {
        (Some(_), Some(i)) => Err(i.wrong("give users (a closed loop) or arrivals (an open one), not both")),
        (None, Some(i)) => match ramp {
            Some(ramp) => Err(ramp.wrong("a ramp goes with users; for arrivals that grow give --load 'line(...)'")),
            None => Ok(Drive::Arrivals { per_s: rate_per_s(i.text()?).map_err(|why| i.wrong(why))? }),
        },
        (users, None) => {
            let count = users.map(|i| i.integer(1, 1_000_000)).transpose()?.unwrap_or(1).unsigned_abs();
            Ok(Drive::Users { count, ramp_ns })
        }
    }
}

fn body_bound(item: Item<'_>) -> Checked<usize> {
    let bytes = match item.as_integer() {
        Some(n) => u64::try_from(n).map_err(|_| item.wrong("a size is not negative"))?,
        None => size_bytes(item.text()?).map_err(|why| item.wrong(why))?,
    };
    let fine = usize::try_from(bytes).ok().filter(|n| (1..=1 << 30).contains(n));
    fine.ok_or_else(|| item.wrong("give a size from 1 to 1GiB"))
}

fn order(tables: &[Table<'_>]) -> Checked<Order> {
    let mut sums = Vec::new();
    let mut unweighted = None;
    for table in tables {
        let is_once = table.get("once").is_some_and(|i| i.flag().unwrap_or(false));
        match table.get("weight") {
            Some(weight) if is_once => return Err(weight.wrong("a step that is sent once is not drawn by weight")),
            Some(weight) => {
                let weight = weight.integer(1, 1_000_000)?.unsigned_abs();
                sums.push(sums.last().copied().unwrap_or(0) + weight);
            }
            None if !is_once => unweighted = unweighted.or(Some(table)),
            None => {}
        }
    }
    match unweighted {
        _ if sums.is_empty() => Ok(Order::InTurn),
        None => Ok(Order::Weights(sums)),
        Some(table) => {
            let how = "give every step a weight (they are drawn) or none (they follow each other); \
                       what is sent once at the start of a user says once = true";
            Err(table.wrong(format!("this step has no weight and another one has: {how}")))
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Named {
    Variable(u16),
    Capture(u16),
}

struct Builder<'a> {
    file: Text<'a>,
    folder: &'a Path,
    names: HashMap<&'a str, Named>,
    variables: Vec<Variable>,
    /// Whether the file says how long each of them is kept, or it can't matter.
    says_each: Vec<bool>,
    captures: Vec<Captures>,
}

/// Names that are always there.
const OWN: &[(&str, Slot)] = &[("seq", Slot::Seq), ("uuid", Slot::Uuid), ("user", Slot::User)];

impl<'a> Builder<'a> {
    /// Takes a name for a variable or a capture.
    fn name(&mut self, name: &'a str, at: std::ops::Range<usize>, stands_for: Named) -> Checked<()> {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || name.len() > 60 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err(self.file.wrong(at, format!("'{name}' is no name: letters, digits, _ and -, at most 60")));
        }
        if OWN.iter().any(|(own, _)| *own == name) {
            return Err(self.file.wrong(at, format!("{{{{{name}}}}} is always there; choose another name")));
        }
        match (self.names.insert(name, stands_for), stands_for) {
            (None, _) | (Some(Named::Capture(_)), Named::Capture(_)) => Ok(()),
            _ => Err(self.file.wrong(at, format!("'{name}' is a variable and a capture; choose another name"))),
        }
    }

    fn declare_captures(&mut self, step: &Table<'a>) -> Checked<()> {
        let Some(captures) = step.table("capture")? else { return Ok(()) };
        for (name, at, item) in captures.items() {
            let default = item.table()?.get("default").map(|i| i.scalar()).transpose()?.map(String::into_boxed_str);
            if let Some(Named::Capture(n)) = self.names.get(name) {
                let known = &mut self.captures[usize::from(*n)];
                known.default = known.default.take().or(default);
                continue;
            }
            let n = u16::try_from(self.captures.len()).ok().filter(|n| usize::from(*n) < MOST);
            let n = n.ok_or_else(|| item.wrong(format!("there are more than {MOST} captures")))?;
            self.name(name, at, Named::Capture(n))?;
            self.captures.push(Captures { name: name.into(), default });
        }
        Ok(())
    }

    /// What `{{name}}` stands for, and whether its values need no escaping.
    fn slot(&self, name: &str) -> Result<(Slot, bool), String> {
        if let Some((_, slot)) = OWN.iter().find(|(own, _)| *own == name) {
            return Ok((*slot, true));
        }
        let (base, column) = name.split_once('.').map_or((name, None), |(b, c)| (b.trim(), Some(c.trim())));
        match self.names.get(base) {
            Some(Named::Capture(n)) if column.is_none() => Ok((Slot::Captured(*n), false)),
            Some(Named::Capture(_)) => {
                Err(format!("'{base}' is captured as one text and has no '{}'", column.unwrap_or("")))
            }
            Some(Named::Variable(n)) => {
                let source = &self.variables[usize::from(*n)].source;
                match (source, column) {
                    (Source::Csv { rows, .. }, Some(column)) => match rows.column(column) {
                        Some(c) => Ok((Slot::Drawn(*n, Some(c)), false)),
                        None => Err(format!("'{base}' has no column '{column}'{}", nearest(column, rows.columns()))),
                    },
                    (Source::Csv { rows, column: None }, None) if rows.columns().count() > 1 => {
                        let columns = rows.columns().collect::<Vec<_>>().join(", ");
                        Err(format!(
                            "'{base}' has several columns ({columns}); write one, as in {{{{{base}.{}}}}}",
                            rows.columns().next().unwrap_or("")
                        ))
                    }
                    (_, Some(column)) => Err(format!("'{base}' has no columns, so no '{column}'")),
                    (source, None) => Ok((Slot::Drawn(*n, None), matches!(source, Source::Range(_)))),
                }
            }
            None => {
                let known = self.names.keys().copied().chain(OWN.iter().map(|(own, _)| *own));
                Err(format!("nothing is called '{name}'{}", nearest(name, known)))
            }
        }
    }

    fn template(&self, item: &Item<'a>, text: &str, place: Place) -> Checked<Template> {
        Template::compile(text, place, |name| self.slot(name)).map_err(|(part, why)| item.wrong_at(part.trim(), why))
    }

    fn step(&self, root: &Table<'a>, table: &Table<'a>, routes: &mut Vec<Arc<str>>) -> Checked<Step> {
        let Some(request) = table.get("request") else {
            return Err(table.wrong("a step needs a request, as in request = \"GET /\""));
        };
        let (method, path, path_text) = self.request(&request)?;
        let route = match table.get("route") {
            Some(name) => {
                let text = name.text()?;
                if text.is_empty() || text.len() > 120 || text.chars().any(crate::model::is_obeyed) {
                    return Err(name.wrong("a route's name has from 1 to 120 characters and no control characters"));
                }
                route_of(text, routes)
            }
            None => {
                let mut name = String::new();
                let slash = if path_text.starts_with('/') { "" } else { "/" }; // a captured link: `/{}`
                normalise_into(&format!("{slash}{path_text}"), &mut name);
                route_of(&name, routes)
            }
        };
        let (headers, host) = self.headers(root, table)?;
        let body = self.body(table, &headers)?;
        let expected = self.expectation(root, table)?;
        let captures = self.step_captures(table)?;
        let repeat = table.get("repeat").map(|i| i.integer(1, 1_000_000)).transpose()?.unwrap_or(1);
        let think = match table.get("think").or(root.get("think")) {
            Some(i) if i.as_integer() == Some(0) => Think::None,
            Some(i) => i.text()?.parse().map_err(|why: String| i.wrong(why))?,
            None => Think::None,
        };
        let mut step = Step {
            route,
            method,
            path,
            host,
            headers,
            body,
            draws: Vec::new(),
            uses_seq: false,
            uses_uuid: false,
            think,
            repeat: u32::try_from(repeat).unwrap_or(1),
            wants: captures.iter().fold(expected.wants(), |w: Wants, c| w.or(c.wants())),
            expected,
            captures,
        };
        let slots: Vec<Slot> = templates_of(&step).flat_map(Template::slots).collect();
        for slot in slots {
            match slot {
                Slot::Drawn(v, _) => vars::draw_after_what_it_differs_from(&self.variables, v, &mut step.draws),
                Slot::Seq => step.uses_seq = true,
                Slot::Uuid => step.uses_uuid = true,
                Slot::Captured(_) | Slot::User => {}
            }
        }
        Ok(step)
    }

    /// `METHOD /path?query`: the method, the path compiled, and its text with `{}` for values.
    fn request(&self, item: &Item<'a>) -> Checked<(Method, Template, String)> {
        let text = item.text()?.trim();
        let Some((method, target)) = text.split_once(char::is_whitespace) else {
            return Err(item.wrong(format!("'{text}' is no request; write one like \"GET /path\"")));
        };
        let target = target.trim();
        let Some(method) = Method::parse(method.as_bytes()).filter(|_| !method.bytes().any(|b| b.is_ascii_lowercase()))
        else {
            return Err(item.wrong(format!("'{method}' is no method; write one like GET or POST, in capitals")));
        };
        if method.as_str() == "CONNECT" {
            return Err(item.wrong("CONNECT asks for a tunnel and is not sent"));
        }
        let path = self.template(item, target, Place::TARGET)?;
        if !target.starts_with('/') && !path.begins_raw() {
            return Err(item.wrong(format!(
                "the path '{target}' does not begin with /; the target's host is given on the command line \
                 (a captured link is written {{{{link|raw}}}})"
            )));
        }
        for literal in path.literals() {
            if let Some(c) = literal.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '#') {
                let what =
                    if c == '#' { "a #: fragments are not sent, a real # is %23" } else { "white space; write %20" };
                return Err(item.wrong_at(literal.trim(), format!("the path holds {what}")));
            }
        }
        let path = path.map_literals(target_literal);
        let shape = path.with("{}");
        Ok((method, path, shape))
    }

    /// Header fields of a step over those of the whole file; and the host, which is none of them.
    #[allow(clippy::type_complexity, reason = "the pair is taken apart at once")]
    fn headers(&self, root: &Table<'a>, step: &Table<'a>) -> Checked<(Vec<(Box<str>, Template)>, Option<Template>)> {
        let mut headers: Vec<(Box<str>, Template)> = Vec::new();
        let mut host = None;
        for table in [root.table("headers")?, step.table("headers")?].into_iter().flatten() {
            for (name, at, item) in table.items() {
                let wrong = |why: String| self.file.wrong(at.clone(), why);
                let name = field_name(name).map_err(wrong)?;
                let is = |other: &str| name.eq_ignore_ascii_case(other);
                if ENGINE_FIELDS.iter().any(|f| is(f)) {
                    return Err(wrong(format!("{name} is written by the engine; see --connection")));
                }
                let text = item.scalar()?;
                if text.chars().any(|c| c.is_control() && c != '\t') {
                    return Err(item.wrong("a header field holds no control characters"));
                }
                let value = self.template(&item, &text, Place::FIELD)?;
                if is("host") {
                    host = Some(value);
                } else if let Some(earlier) = headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(&name)) {
                    *earlier = (name, value);
                } else {
                    headers.push((name, value));
                }
            }
        }
        Ok((headers, host))
    }

    fn body(&self, step: &Table<'a>, headers: &[(Box<str>, Template)]) -> Checked<Content> {
        let content_type =
            headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-type")).map(|(_, v)| v.with(""));
        match (step.get("body"), step.get("body_file")) {
            (None, None) => Ok(Content::None),
            (Some(_), Some(i)) => Err(i.wrong("give body or body_file, not both")),
            (None, Some(i)) => {
                let path = self.folder.join(i.text()?);
                let bytes = source::read(&path, source::MAX_BODY_BYTES).map_err(|e| i.wrong(e.to_string()))?;
                Ok(Content::Bytes(bytes.into()))
            }
            (Some(i), None) => {
                let text = i.text()?;
                let looks_like_json = text.trim_start().starts_with(['{', '[']);
                let place = match &content_type {
                    Some(t) => Place::body(t),
                    None if looks_like_json => Place::body("application/json"),
                    None => Place::body(""),
                };
                let template = self.template(&i, text, place)?;
                if content_type.as_deref().is_some_and(|t| Place::body(t) == Place::body("application/json"))
                    && !content_type.as_deref().unwrap_or("").contains("ndjson")
                    && let Err(e) = serde_json::from_str::<serde::de::IgnoredAny>(&template.with("0"))
                {
                    return Err(
                        i.wrong(format!("Content-Type says JSON and the body, its variables filled in, is none: {e}"))
                    );
                }
                Ok(match template.fixed() {
                    Some(fixed) => Content::Bytes(fixed.as_bytes().into()),
                    None => Content::Text(template),
                })
            }
        }
    }

    /// Looks whether every captured value is there when a step uses it, and whether it is said
    /// how long a variable of several steps is kept.
    fn look_whether_values_are_there(&self, scenario: &Scenario, tables: &[Table<'a>]) -> Checked<()> {
        let mut there: Vec<bool> = self.captures.iter().map(|c| c.default.is_some()).collect();
        let mut used_by: Vec<Option<usize>> = vec![None; self.variables.len()];
        let in_turn = matches!(scenario.order, Order::InTurn);
        for (n, is_flow) in scenario.once.iter().map(|n| (*n, false)).chain(scenario.flow.iter().map(|n| (*n, true))) {
            let (step, table) = (&scenario.steps[n], &tables[n]);
            for slot in templates_of(step).flat_map(Template::slots) {
                if let Slot::Captured(c) = slot
                    && !there[usize::from(c)]
                {
                    let name = &self.captures[usize::from(c)].name;
                    let how = if in_turn {
                        "capture it in an earlier step, or give the capture a default"
                    } else {
                        "capture it in a step with once = true, or give the capture a default"
                    };
                    return Err(table.wrong(format!("this step uses {{{{{name}}}}} before it is captured; {how}")));
                }
            }
            if is_flow && in_turn {
                for v in &step.draws {
                    let variable = &self.variables[usize::from(*v)];
                    let said = variable.each != Each::Request || self.says_each[usize::from(*v)];
                    if used_by[usize::from(*v)].replace(n).is_some_and(|earlier| earlier != n) && !said {
                        return Err(self.unsaid(&variable.name, table));
                    }
                }
            }
            if !is_flow || in_turn {
                step.captures.iter().for_each(|c| there[usize::from(c.into)] = true);
            }
        }
        Ok(())
    }

    fn unsaid(&self, name: &str, at: &Table<'_>) -> ScenarioError {
        at.wrong(format!(
            "'{name}' is used by several steps of the flow: say in [vars] whether it is kept for a pass through them \
             (each = \"flow\"), for the user (each = \"user\"), or drawn for each request (each = \"request\")"
        ))
    }
}

/// The route of that name, numbered in order of appearance.
fn route_of(name: &str, routes: &mut Vec<Arc<str>>) -> Route {
    let id = routes.iter().position(|r| **r == *name).unwrap_or_else(|| {
        routes.push(name.into());
        routes.len() - 1
    });
    Route { id: u32::try_from(id).unwrap_or(0), name: routes[id].clone() }
}

/// All texts of a step that may name values.
fn templates_of(step: &Step) -> impl Iterator<Item = &Template> {
    let body = match &step.body {
        Content::Text(text) => Some(text),
        Content::None | Content::Bytes(_) => None,
    };
    let headers = step.headers.iter().map(|(_, value)| value);
    std::iter::once(&step.path).chain(&step.host).chain(headers).chain(body).chain(step.expected.templates())
}
