//! Tests of what is made of perf's words and lines.

use super::*;

fn around() -> Surroundings {
    Surroundings { root: "/nonexistent".into(), perf: None, path: "".into(), temp: "/t".into() }
}

fn died_of(words: &str) -> Obstacle {
    died("perf record", ExitStatus::from_raw(255 << 8), words, &around())
}

#[test]
fn words_of_perf_become_what_and_how_to_mend_it() {
    let limited = "Error:\nAccess to performance monitoring and observability operations is limited.\n\
                   Consider adjusting /proc/sys/kernel/perf_event_paranoid setting to open\n";
    for (words, what, mend) in [
        (limited, "may not sample here", Some("perf_event_paranoid=0")),
        ("failed to write perf data, error: No space left on device\n", "the disk of /t is full", Some("TMPDIR")),
        ("Couldn't create thread/CPU maps: No such process\n", "ended before", None),
        ("WARNING: perf not found for kernel 6.1\n", "wrapper", Some("perf")),
        ("Too many events are opened.\nToo many open files\n", "file descriptors", Some("ulimit")),
        (
            "Permission error mapping pages.\nConsider increasing /proc/sys/kernel/perf_event_mlock_kb,\n",
            "no memory",
            Some("mlock_kb"),
        ),
        (
            "event syntax error: 'x'\n  \\___ parser error\n\n Usage: perf record\n    -e <event>\n",
            "status 255: event syntax error: 'x'",
            None,
        ),
        ("Segmentation fault\x1b[2J\n\n", "status 255: Segmentation fault·[2J", None),
        ("[ perf record: Woken up 1 times ]\n", "it said nothing", None),
    ] {
        let obstacle = died_of(words);
        assert!(obstacle.what.contains(what), "{words}: {obstacle:?}");
        assert_eq!(obstacle.mend.is_some(), mend.is_some(), "{words}: {obstacle:?}");
        assert!(obstacle.mend.unwrap_or_default().contains(mend.unwrap_or_default()), "{words}");
    }
}

#[test]
fn the_share_perf_lost_becomes_a_count() {
    let words = "Warning:\nProcessed 9827 events and lost 48 chunks!\n\nProcessed 10523 samples and lost 82.35%!\n";
    assert_eq!(lost_by_words(words), 8666);
    assert_eq!(lost_by_words("Processed x samples and lost 1%!\nProcessed 5 samples and lost \n"), 0);
}

#[test]
fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
    let mut text = vec![b'x'; 200_000];
    text.extend_from_slice(b"\nnext\nlast");
    let mut from = BufReader::with_capacity(1000, &text[..]);
    let mut line = Vec::new();
    let mut lens = Vec::new();
    while bounded_line(&mut from, &mut line).unwrap() {
        lens.push(line.len());
    }
    assert_eq!(lens, [1 << 16, 5, 4]);
    let exact = [vec![b'x'; (1 << 16) - 1], b"\nnext\n".to_vec()].concat();
    let mut from = &exact[..];
    assert!(bounded_line(&mut from, &mut line).unwrap() && line.len() == 1 << 16);
    assert!(bounded_line(&mut from, &mut line).unwrap() && line == b"next\n");
}
