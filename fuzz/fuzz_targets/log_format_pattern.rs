//! Formats that the user spells out, and a log in them. The first line says how: `pattern` (nginx
//! or Apache notation), `fields` (`uri=req.path`, one a line), `conf` or `conf NAME` (an nginx
//! configuration). The format follows, then a line `----`, then the log.
//!
//! Must not: judge what is read; the laws are in the library.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::traffic::{MethodFilter, Options};
use perfbench_fuzz::{first_line, read, split_at};
use std::path::PathBuf;
use std::sync::LazyLock;

/// The configuration lies here; one file for all inputs.
static CONF: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for the configuration");
    let file = folder.path().join("nginx.conf");
    (folder, file)
});

fuzz_target!(|input: &[u8]| {
    let (how, rest) = first_line(input);
    let (format, log) = split_at(rest, b"\n----\n");
    let mut options = Options { methods: MethodFilter::All, ..Options::default() };
    let (how, name) = how.split_once(' ').unwrap_or((how, ""));
    match how {
        "conf" => {
            std::fs::write(&CONF.1, format).expect("the configuration is written");
            let file = CONF.1.display();
            options.log_format_from = Some(if name.is_empty() { file.to_string() } else { format!("{file}:{name}") });
        }
        "fields" => {
            let pair = |line: &str| line.split_once('=').map(|(part, key)| (part.to_owned(), key.to_owned()));
            options.fields = String::from_utf8_lossy(format).lines().filter_map(pair).collect();
        }
        _ => options.log_format = Some(String::from_utf8_lossy(format).into_owned()),
    }
    read(log, &options);
});
