//! The `[vars]` of a scenario file: what each variable can be, how its values are taken, how
//! long they are kept.
//!
//! Must not: draw values.

use super::super::draw::{Draw, Each, Variable};
use super::super::error::nearest;
use super::super::notation::call;
use super::super::place::{Item, Table};
use super::super::source::{Numbers, Rows, Source};
use super::super::zipf::Zipf;
use super::{Builder, Checked, MOST, Named};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(super) const KEYS: &[&str] =
    &["range", "decimals", "digits", "list", "csv", "column", "separator", "draw", "at_end", "each", "except"];
/// Most values of a list; more belong into a CSV file.
const MOST_VALUES: usize = 100_000;
/// Furthest a number with a fraction may go: further than that, floats have no unit digit.
const EXACT: f64 = 9e15;

impl<'a> Builder<'a> {
    /// Declares all variables.
    pub(super) fn declare_variables(&mut self, root: &Table<'a>) -> Checked<()> {
        let Some(vars) = root.table("vars")? else { return Ok(()) };
        let items: Vec<_> = vars.items().collect();
        for (n, (name, at, item)) in items.iter().enumerate() {
            let n = u16::try_from(n).ok().filter(|n| usize::from(*n) < MOST);
            let n = n.ok_or_else(|| item.wrong(format!("there are more than {MOST} variables")))?;
            self.name(name, at.clone(), Named::Variable(n))?;
        }
        for (name, _, item) in &items {
            let (variable, says_each) = self.variable(name, item)?;
            self.says_each.push(says_each || variable.source.size() == 1);
            self.variables.push(variable);
        }
        for (n, (name, _, item)) in items.iter().enumerate() {
            self.look_at_differences(n, name, item)?;
        }
        Ok(())
    }

    fn variable(&self, name: &str, item: &Item<'a>) -> Checked<(Variable, bool)> {
        let Some(table) = item.as_table() else {
            let source = Source::List([item.scalar()?.into()].into());
            let constant = Variable { name: name.into(), source, draw: Draw::Uniform, each: Each::User, except: None };
            return Ok((constant, true));
        };
        table.allow(KEYS)?;
        let source = self.source(&table)?;
        let draw = draw(&table, &source)?;
        let (each, says_each) = each(&table, &draw)?;
        let except = match table.get("except") {
            None => None,
            Some(other) => match self.names.get(other.text()?) {
                Some(Named::Variable(n)) => Some(*n),
                _ => {
                    let variables = self.names.iter().filter(|(_, n)| matches!(n, Named::Variable(_))).map(|(k, _)| *k);
                    let near = nearest(other.text()?, variables);
                    return Err(other.wrong(format!("no variable is called '{}'{near}", other.text()?)));
                }
            },
        };
        Ok((Variable { name: name.into(), source, draw, each, except }, says_each))
    }

    fn source(&self, table: &Table<'a>) -> Checked<Source> {
        let only_with = |key: &str, of: &str| match table.get(key) {
            Some(item) if table.get(of).is_none() => Err(item.wrong(format!("'{key}' goes with {of}"))),
            _ => Ok(()),
        };
        only_with("decimals", "range")?;
        only_with("digits", "range")?;
        only_with("column", "csv")?;
        only_with("separator", "csv")?;
        match (table.get("range"), table.get("list"), table.get("csv")) {
            (Some(range), None, None) => self::range(&range, table),
            (None, Some(list), None) => {
                let values = list.list()?;
                if values.is_empty() || values.len() > MOST_VALUES {
                    return Err(
                        list.wrong(format!("a list has from 1 to {MOST_VALUES} values; more belong into a csv"))
                    );
                }
                let texts = values.iter().map(|v| v.scalar().map(String::into_boxed_str));
                Ok(Source::List(texts.collect::<Checked<Vec<_>>>()?.into()))
            }
            (None, None, Some(csv)) => {
                let separator = match table.get("separator") {
                    None => b',',
                    Some(s) => match s.text()?.as_bytes() {
                        [b] if b.is_ascii() && *b != b'"' && *b != b'\n' && *b != b'\r' => *b,
                        _ => return Err(s.wrong("a separator is one ASCII character, as in \";\"")),
                    },
                };
                let path = self.folder.join(csv.text()?);
                let rows = Rows::open(&path, separator).map_err(|e| csv.wrong(e.to_string()))?;
                let column = match table.get("column") {
                    None => None,
                    Some(c) => Some(rows.column(c.text()?).ok_or_else(|| {
                        c.wrong(format!(
                            "there is no column '{}'{}",
                            c.text().unwrap_or(""),
                            nearest(c.text().unwrap_or(""), rows.columns())
                        ))
                    })?),
                };
                Ok(Source::Csv { rows: Arc::new(rows), column })
            }
            _ => Err(table.wrong("a variable is one of: range = [1, 100], list = [\"a\", \"b\"], csv = \"file.csv\"")),
        }
    }

    /// A variable that is to differ from another one must be able to, and not in a circle.
    fn look_at_differences(&self, n: usize, name: &str, item: &Item<'a>) -> Checked<()> {
        let Some(except) = self.variables[n].except else { return Ok(()) };
        if self.variables[n].source.size() < 2 {
            return Err(item.wrong(format!("'{name}' has one value only and can't differ from another variable")));
        }
        if matches!(&self.variables[n].source, Source::Csv { column: None, rows } if rows.columns().count() > 1) {
            return Err(item.wrong("to differ from another variable, a csv needs a column"));
        }
        let mut at = except;
        for _ in 0..self.variables.len() {
            if usize::from(at) == n {
                return Err(item.wrong(format!("'{name}' is to differ from itself, by way of except")));
            }
            match self.variables[usize::from(at)].except {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
        Ok(()) // a circle that this one is not in: told where it is
    }
}

/// Puts a variable into the order in which a step draws, behind the one it differs from.
pub(super) fn draw_after_what_it_differs_from(variables: &[Variable], v: u16, draws: &mut Vec<u16>) {
    let mut chain = vec![v];
    while let Some(except) = chain.last().and_then(|v| variables[usize::from(*v)].except) {
        if chain.contains(&except) {
            break;
        }
        chain.push(except);
    }
    for v in chain.into_iter().rev() {
        if !draws.contains(&v) {
            draws.push(v);
        }
    }
}

fn range(item: &Item<'_>, table: &Table<'_>) -> Checked<Source> {
    let ends = item.list()?;
    let [low, high] = ends.as_slice() else {
        return Err(item.wrong("a range has two ends, as in [1, 100]; both can be drawn"));
    };
    let small = |key: &str, most| match table.get(key) {
        Some(i) => i.integer(0, most).map(|n| u8::try_from(n).unwrap_or(0)),
        None => Ok(0),
    };
    let (decimals, digits) = (small("decimals", 9)?, small("digits", 20)?);
    let end = |end: &Item<'_>| {
        if decimals == 0 {
            return match end.as_integer() {
                Some(n) => Ok(n),
                None if end.as_number().is_some() => Err(end.wrong("for a fraction say decimals = 2, say")),
                None => end.integer(i64::MIN, i64::MAX),
            };
        }
        let n = end.as_number().ok_or_else(|| end.wrong("a number is needed here"))?;
        let scaled = (n * 10f64.powi(i32::from(decimals))).round();
        if scaled.abs() > EXACT {
            return Err(end.wrong("this number is too large for so many decimals"));
        }
        Ok(scaled as i64) // whole, and far below the bounds of an i64
    };
    let (low_end, high_end) = (end(low)?, end(high)?);
    if low_end > high_end {
        return Err(item.wrong("the lower end of a range comes first"));
    }
    let size = i128::from(high_end) - i128::from(low_end) + 1;
    let size = u64::try_from(size).map_err(|_| item.wrong("this range has more numbers than 64 bits tell apart"))?;
    Ok(Source::Range(Numbers { low: low_end, size, decimals, digits }))
}

fn draw(table: &Table<'_>, source: &Source) -> Checked<Draw> {
    let ends = match table.get("at_end") {
        None => false,
        Some(i) => match i.text()? {
            "stop" => true,
            "repeat" => false,
            _ => return Err(i.wrong("at_end is \"repeat\" (from the first again) or \"stop\" (users that draw end)")),
        },
    };
    let how = "write uniform, zipf(1.1), hot(0.8), sequential or per user";
    let draw = match table.get("draw") {
        None => Draw::Uniform,
        Some(item) => {
            let text = item.text()?;
            let wrong = |why: &str| item.wrong(format!("'{text}' is no way to draw: {why}"));
            let (name, args) = call(text).ok_or_else(|| wrong(how))?;
            let number = |least: f64, most: f64, what: &str| match args.as_slice() {
                [one] => match one.parse::<f64>() {
                    Ok(n) if (least..=most).contains(&n) => Ok(n),
                    _ => Err(wrong(&format!("{what} is a number from {least} to {most}"))),
                },
                _ => Err(wrong(&format!("give {what}, as in {name}(0.9)"))),
            };
            match (name, args.len()) {
                ("uniform" | "random", 0) => Draw::Uniform,
                ("sequential", 0) => Draw::Sequential { next: AtomicU64::new(0), ends },
                ("per user" | "per_user" | "per-user", 0) => Draw::PerUser,
                ("zipf", _) => Draw::Zipf(Zipf::new(source.size(), number(0.0, 20.0, "its exponent")?)),
                ("hot", _) => Draw::Hot(number(0.0, 1.0, "the probability of the first value")?),
                _ => return Err(wrong(how)),
            }
        }
    };
    match table.get("at_end") {
        Some(i) if !matches!(draw, Draw::Sequential { .. }) => {
            Err(i.wrong("at_end goes with draw = \"sequential\": other draws have no end"))
        }
        _ => Ok(draw),
    }
}

fn each(table: &Table<'_>, draw: &Draw) -> Checked<(Each, bool)> {
    let is_per_user = matches!(draw, Draw::PerUser);
    match table.get("each") {
        None if is_per_user => Ok((Each::User, true)),
        None => Ok((Each::Request, false)),
        Some(i) => match i.text()? {
            "user" => Ok((Each::User, true)),
            _ if is_per_user => Err(i.wrong("what is drawn per user is kept for the user")),
            "request" => Ok((Each::Request, true)),
            "flow" => Ok((Each::Flow, true)),
            other => Err(i.wrong(format!("each is request, flow or user, not '{other}'"))),
        },
    }
}
