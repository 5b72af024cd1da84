//! Users of a scenario draw and write their requests without the heap once their texts have
//! grown to their size.
//!
//! Must not: count what other threads allocate.

use perfbench::traffic::Reader;
use perfbench::traffic::scenario::{EXAMPLES, Next, Scenario};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// Counts what each thread asks for.
struct Counting;

#[allow(unsafe_code, reason = "the trait of allocators is unsafe; every call is passed on as it came")]
// SAFETY: the system's allocator does the work, with the arguments it is given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|n| n.set(n.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATED.try_with(|n| n.set(n.get() + 1));
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_request_is_written_into_the_memory_of_the_one_before() {
    for (name, text) in EXAMPLES {
        let scenario = Scenario::parse(text, name).unwrap();
        let (mut user, mut request) = (scenario.user(1, 1), Reader::blank());
        let mut arrived = 1;
        let mut send = |times: u32| {
            let before = ALLOCATED.get();
            for _ in 0..times {
                match scenario.next(&mut user, &mut request) {
                    Next::Send => scenario.rehearsed(&mut user),
                    Next::Think(_) => {}
                    Next::Ended => {
                        arrived += 1;
                        scenario.renew(&mut user, arrived, 1);
                    }
                }
            }
            ALLOCATED.get() - before
        };
        send(100_000);
        assert_eq!(send(50_000), 0, "{name}");
    }
    assert!(ALLOCATED.get() > 0, "opening a scenario does allocate, and is counted");
}
