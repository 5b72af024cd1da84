//! Which requests of a log are replayed and how they are changed, written as on the command line:
//! lines like `only status=4xx`, then an empty line, then a log in the format `combined`.
//!
//! Must not: know what a filter means; that none of them loses or invents a line is the law.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::traffic::{Filter, Options};
use perfbench_fuzz::{Outcome, one_line, read, split_at};
use std::fmt::Display;
use std::str::FromStr;

fuzz_target!(|input: &[u8]| {
    let (asked, log) = split_at(input, b"\n\n");
    let plain = Options { format: Some("combined".to_owned()), ..Options::default() };
    let mut options = plain.clone();
    for line in String::from_utf8_lossy(asked).lines().take(20) {
        let (option, text) = line.split_once(' ').unwrap_or((line, ""));
        match option {
            "only" => options.sieve.filters.extend(good(Filter::only(text))),
            "skip" => options.sieve.filters.extend(good(Filter::skip(text))),
            "from" => options.sieve.from = parsed(text),
            "to" => options.sieve.to = parsed(text),
            "sample" => options.sieve.sample = parsed(text),
            "prefix" => options.rewrite.prefixes.extend(parsed(text)),
            "drop" => options.rewrite.drop_query.push(text.to_owned()),
            "set" => options.rewrite.set_query.extend(parsed(text)),
            "route" => options.routes.extend(parsed(text)),
            "methods" => options.methods = parsed(text).unwrap_or_default(),
            "routes" => options.max_routes = text.parse().unwrap_or(200),
            _ => {}
        }
    }
    let asked = read(log, &options);
    if options.methods == plain.methods
        && let (Outcome::Requests(few, few_counts), Outcome::Requests(all, all_counts)) = (asked, read(log, &plain))
    {
        assert_eq!(few_counts.lines, all_counts.lines, "the log is the same");
        assert!(few.len() <= all.len(), "a filter adds no request");
    }
});

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Option<T> {
    good(text.parse())
}

fn good<T, E: Display>(result: Result<T, E>) -> Option<T> {
    result.map_err(one_line).ok()
}
