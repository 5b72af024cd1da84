//! Texts of the command line that say how load is offered (`--load`) and what it must keep
//! (`--find-max`, `--fail-if`).
//!
//! Must not: offer any load.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::load::Phases;
use perfbench::timeline::objective::{Condition, Objective};
use perfbench_fuzz::one_line;

fuzz_target!(|text: &str| {
    match Phases::parse(text) {
        Ok(phases) => offered(&phases),
        Err(e) => {
            assert!(e.at >= 1 && e.at <= text.chars().count() + 1, "{e:?}");
            one_line(e);
        }
    }
    match text.parse::<Objective>() {
        Ok(objective) => {
            let shown = one_line(&objective);
            objective.conditions().iter().for_each(judged);
            if text.len() < 200 {
                assert_eq!(shown.parse::<Objective>().as_ref(), Ok(&objective), "what is shown means the same");
            }
        }
        Err(e) => drop(one_line(e)),
    }
});

fn judged(condition: &Condition) {
    for value in [None, Some(0.0), Some(0.5), Some(1e3), Some(1e18), Some(f64::MAX)] {
        one_line(condition.shown(value));
        value.map(|v| condition.is_true_of(v));
    }
}

fn offered(phases: &Phases) {
    one_line(phases.text());
    let mut end_ns = 0;
    for phase in phases.all() {
        one_line(&phase.label);
        assert_eq!(phase.from_ns, end_ns, "phases follow each other");
        let length = phase.leg.length.expect("a phase has a length");
        end_ns = end_ns.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    }
    assert_eq!(phases.length_ns(), end_ns);
    for course in [phases.course(), phases.course().repeated()] {
        let (mut last_work, mut last_ns) = (0.0, 0);
        let all = course.work_at(end_ns);
        for n in 0..=20_u64 {
            let t_ns = end_ns / 20 * n;
            let (work, rate) = (course.work_at(t_ns), course.rate_at(t_ns));
            assert!(work.is_finite() && rate.is_finite() && rate >= 0.0, "{work} {rate} at {t_ns} of {phases:?}");
            // What is rounded off is far less than a request.
            assert!(work >= last_work - 1e-3 - work * 1e-12, "work only grows: {last_work} {work} {phases:?}");
            last_work = work;
            let Some(due_ns) = course.when_ns(all / 20.0 * n as f64) else { continue };
            assert!(due_ns >= last_ns, "{due_ns} after {last_ns} of {phases:?}");
            last_ns = due_ns;
        }
    }
}
