//! Requests per CPU-second that are drawn and written from each example scenario, alone and with
//! their answers judged: `cargo bench --bench scenario`. Goal: above a million requests.
//!
//! Must not: send anything.

use perfbench::clock::thread_cpu_ns;
use perfbench::model::Answer;
use perfbench::traffic::Reader;
use perfbench::traffic::scenario::{EXAMPLES, Next, Scenario};

/// CPU time spent on each figure, ns.
const SPEND_NS: u64 = 1_000_000_000;
/// Requests between two looks at the clock.
const PIECE: u32 = 10_000;

fn main() {
    println!("{:<26} {:>14} {:>16}", "scenario", "requests/CPU-s", "judged/CPU-s");
    for (name, text) in EXAMPLES {
        let scenario = Scenario::parse(text, name).expect("an example");
        let rate = |judge: bool| {
            let (mut user, mut request) = (scenario.user(1, 1), Reader::blank());
            let (mut number, mut sent, mut bytes) = (1, 0u64, 0);
            let begun = thread_cpu_ns();
            while thread_cpu_ns() - begun < SPEND_NS {
                for _ in 0..PIECE {
                    match scenario.next(&mut user, &mut request) {
                        Next::Send => {
                            sent += 1;
                            bytes += request.path.len() + request.body.0.len();
                            if judge {
                                let body = br#"{"token": "abc", "ok": true, "items": [{"id": 7}], "id": 7}"#;
                                let answer = Answer { status: 200, head: b"", body, is_cut: false, is_of_head: false };
                                let _ = scenario.answered(&mut user, &answer);
                            } else {
                                scenario.rehearsed(&mut user);
                            }
                        }
                        Next::Think(_) => {}
                        Next::Ended => {
                            number += 1;
                            scenario.renew(&mut user, number, 1);
                        }
                    }
                }
            }
            assert!(bytes > 0);
            sent as f64 * 1e9 / (thread_cpu_ns() - begun) as f64
        };
        println!("{name:<26} {:>14.0} {:>16.0}", rate(false), rate(true));
    }
}
