//! HTTP/1.x responses as a target may send them. Of the first byte the lowest bit says whether the
//! request was HEAD, the rest how the bytes behind it are cut into pieces.
//!
//! Must not: know where a response ends; that it ends at the same place in any pieces is the law.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::load::engine::{Bad, Heads, Response};

/// Everything that is known of a response once all bytes were there.
type End = Result<(u16, bool, bool, bool, usize), Bad>;

fuzz_target!(|input: &[u8]| {
    let Some((how, wire)) = input.split_first() else { return };
    let is_head = how & 1 == 1;
    let heads = Heads::default;
    let at_once = read(is_head, wire, |_| usize::MAX, &mut heads());
    assert_eq!(at_once, read(is_head, wire, |_| 1, &mut heads()), "byte by byte");
    // Pieces of uneven sizes.
    let uneven = |n: usize| (n.wrapping_mul(0x9e37) ^ usize::from(how >> 1)) % 61 + 1;
    assert_eq!(at_once, read(is_head, wire, uneven, &mut heads()), "in uneven pieces");
    // Behind another response, as an engine reads it: the beginning of this one, the same once more.
    let mut known = heads();
    let _ = read(!is_head, &wire[..wire.len() / 2], |_| usize::MAX, &mut known);
    assert_eq!(at_once, read(is_head, wire, uneven, &mut known), "behind its own beginning");
    assert_eq!(at_once, read(is_head, wire, |_| usize::MAX, &mut known), "known again");
});

fn read(is_head: bool, wire: &[u8], piece: impl Fn(usize) -> usize, heads: &mut Heads) -> End {
    let mut response = Response::to(is_head);
    let (mut used, mut there, mut n) = (0, 0, 0);
    while there < wire.len() && !response.is_done() {
        there = there.saturating_add(piece(n)).min(wire.len());
        n += 1;
        let given = &wire[used..there];
        let taken = response.advance(given, heads)?;
        assert!(taken <= given.len(), "no more is used than was given");
        used += taken;
    }
    assert_eq!(response.is_started(), !wire.is_empty());
    if response.is_done() {
        assert_eq!(response.advance(&wire[used..], heads), Ok(0), "a response that is done takes no more");
    }
    let (done, keep_alive) = (response.is_done(), response.keep_alive);
    assert!(!done || (100..=999).contains(&response.status), "status {}", response.status);
    let ends_well = response.end_of_stream();
    assert!(ends_well || !done, "what is done stays done");
    assert!(!response.keep_alive, "a stream that ended carries nothing more");
    Ok((response.status, keep_alive, done, ends_well, used))
}
