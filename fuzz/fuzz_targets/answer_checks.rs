//! Checks of the command line on an answer: lines like `status 2xx`, `json $.a=1`, then an empty
//! line, then head and body of the answer.
//!
//! Must not: know which answers are good.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::model::{Answer, RecordedStatus};
use perfbench::traffic::scenario::{Judge, JudgeOptions};
use perfbench_fuzz::{one_line, split_at};

fuzz_target!(|input: &[u8]| {
    let (asked, answer) = split_at(input, b"\n\n");
    let mut options = JudgeOptions::default();
    for line in String::from_utf8_lossy(asked).lines().take(20) {
        let (option, text) = line.split_once(' ').unwrap_or((line, ""));
        match option {
            "status" => options.status = Some(text.to_owned()),
            "body" => options.body.push(text.to_owned()),
            "matches" => options.body_matches.push(text.to_owned()),
            "json" => options.json.push(text.to_owned()),
            "header" => options.header.push(text.to_owned()),
            _ => {}
        }
    }
    let judge = match Judge::new(&options) {
        Ok(judge) => judge,
        Err(e) => return drop(one_line(e)),
    };
    let (head, body) = split_at(answer, b"\r\n\r\n");
    let recorded = Some(RecordedStatus::of(200, |_| false));
    for is_cut in [false, true] {
        let answer = Answer { status: 200, head, body, is_cut, is_of_head: false };
        let verdict = judge.check(recorded, &answer);
        assert_eq!(verdict, judge.check(recorded, &answer), "the same answer is judged the same");
        assert!(verdict.is_ok() || !judge.is_idle(), "who checks nothing refuses nothing");
    }
});
