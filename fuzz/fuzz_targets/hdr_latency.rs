//! Latency distributions as a session file holds them: HdrHistogram V2.
//!
//! Must not: trust a length in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perfbench::model::{Latency, new_histogram};
use perfbench_fuzz::one_line;

fuzz_target!(|bytes: &[u8]| {
    let latency = match Latency::from_bytes(bytes) {
        Ok(latency) => latency,
        Err(e) => return drop(one_line(e)),
    };
    assert_eq!(latency.bytes(), bytes);
    let mut last = None;
    let mut sum = 0_u64;
    let read = latency.for_each(|value, n| {
        assert!(last.is_none_or(|last| last < value), "from low to high: {last:?}, {value}");
        last = Some(value);
        sum += n;
    });
    assert_eq!((read, sum), (Ok(()), latency.count()));
    let mut dense = new_histogram();
    latency.add_to(&mut dense);
    assert_eq!(dense.len(), sum, "every value is in it");
    let again = Latency::from_bytes(Latency::encode(&dense).bytes());
    assert_eq!(again.map(|l| l.count()), Ok(sum), "what is written is read back");
});
