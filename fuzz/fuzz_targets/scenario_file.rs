//! A scenario file, behind it a NUL byte and the answer that its users get to every request.
//!
//! Must not: open files that the machine has: it works in a folder of its own.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::model::Answer;
use perfbench::traffic::Reader;
use perfbench::traffic::scenario::{Next, Scenario};
use perfbench_fuzz::{one_line, sendable, split_at};
use std::sync::LazyLock;

/// The folder that scenarios find their files in.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for files of scenarios");
    std::fs::write(folder.path().join("rows.csv"), "user,pass\nann,a\nbob,\"b,\"\"c\"\n").expect("a CSV file");
    std::fs::write(folder.path().join("body.bin"), b"a\0b").expect("a body");
    std::env::set_current_dir(folder.path()).expect("the folder");
    folder
});

fuzz_target!(|input: &[u8]| {
    LazyLock::force(&FOLDER);
    let (text, answer) = split_at(input, b"\0");
    let Ok(text) = std::str::from_utf8(text) else { return };
    if ["..", "/dev", "/proc", "/sys"].iter().any(|outside| text.contains(outside)) {
        return;
    }
    let scenario = match Scenario::parse(text, "fuzz.toml") {
        Ok(scenario) => scenario,
        Err(e) => return drop(one_line(e)),
    };
    one_line(scenario.about());
    let routes: Vec<String> = scenario.routes().into_iter().map(one_line).collect();
    let (head, body) = split_at(answer, b"\r\n\r\n");
    let mut request = Reader::blank();
    let mut user = scenario.user(0, 1);
    for number in 0..3 {
        scenario.renew(&mut user, number, 1);
        let mut paused = false;
        for turn in 0..20 {
            match scenario.next(&mut user, &mut request) {
                Next::Ended => break,
                Next::Think(_) => assert!(!std::mem::replace(&mut paused, true), "never two pauses in a row"),
                Next::Send => {
                    paused = false;
                    sendable(&request);
                    let id = usize::try_from(request.route.id).unwrap_or(usize::MAX);
                    assert_eq!(routes.get(id).map(String::as_str), Some(&*request.route.name), "a route of the file");
                    scenario.wants(&user);
                    let status = if turn % 4 == 3 { 500 } else { 200 };
                    match turn % 5 {
                        4 => scenario.unanswered(&mut user),
                        3 => scenario.rehearsed(&mut user),
                        _ => drop(scenario.answered(
                            &mut user,
                            &Answer { status, head, body, is_cut: turn % 7 == 6, is_of_head: turn % 5 == 4 },
                        )),
                    }
                }
            }
        }
    }
});
