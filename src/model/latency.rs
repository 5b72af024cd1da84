//! A latency distribution as it is stored: an HdrHistogram in its V2 encoding.
//!
//! Workers record into a dense histogram and hand over the encoded bytes once per tick;
//! sessions keep those bytes; whoever wants quantiles adds them into a dense histogram.
//! Percentiles are never averaged, distributions are merged.
//!
//! Must not: know what the latency is of.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use std::sync::Arc;
use thiserror::Error;

/// Lowest value told apart, ns: a send lag of nothing must read as nothing.
const LOWEST_NS: u64 = 1;
/// Highest value, ns: one hour. Longer ones are recorded as one hour.
const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Most values of one stored distribution: nine years of a million a second.
const MOST_VALUES: u64 = 1 << 48;
/// First four bytes of the V2 encoding without compression.
/// Source: HdrHistogram, `AbstractHistogram.java`, V2EncodingCookieBase | 0x10.
const V2_COOKIE: u32 = 0x1c84_9303 | 0x10;
/// Bytes before the counts: cookie, payload length, normalizing offset, digits, low, high, ratio.
const V2_HEADER: usize = 40;

/// A dense histogram for the totals of a run: three significant digits, 1 ns to 1 h.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("the bounds are constants within the library's limits")
}

/// A dense histogram for one route: two significant digits, a tenth of the memory.
pub fn new_route_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 2).expect("the bounds are constants within the library's limits")
}

/// A latency distribution in HdrHistogram V2 encoding, values in nanoseconds. Empty bytes
/// stand for a distribution without values. A clone shares them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Latency(Arc<[u8]>);

/// Why bytes are not a latency distribution.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an HdrHistogram V2 encoding: {0}")]
pub struct LatencyError(&'static str);

impl Latency {
    /// The encoding of a dense histogram.
    pub fn encode(dense: &Histogram<u64>) -> Latency {
        if dense.is_empty() {
            return Latency::default();
        }
        let mut bytes = Vec::with_capacity(512);
        if V2Serializer::new().serialize(dense, &mut bytes).is_err() {
            // The encoding has signed counts; sums of hostile ones can be above them.
            // The library's iterators add counts up, so they are looked at one by one.
            let mut lower = Histogram::new_from(dense);
            let mut value = 0;
            while value <= dense.max() {
                lower.saturating_record_n(value, dense.count_at(value).min(MOST_VALUES));
                value = dense.next_non_equivalent(value);
            }
            bytes.clear();
            if V2Serializer::new().serialize(&lower, &mut bytes).is_err() {
                return Latency::default();
            }
        }
        Latency(bytes.into())
    }

    /// Stored bytes, checked: a session may come from anywhere. More values than a run can
    /// have (2^48) are refused, so that sums over a session stay far from overflow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Latency, LatencyError> {
        let latency = Latency(bytes.into());
        let mut sum = 0u64;
        latency.for_each(|_, n| sum = sum.saturating_add(n))?;
        if sum > MOST_VALUES {
            return Err(LatencyError("more values than any run has"));
        }
        Ok(latency)
    }

    /// Keeps the bytes of `other` instead of its own when they are the same.
    pub fn share_with(&mut self, other: &Latency) {
        if self == other {
            *self = other.clone();
        }
    }

    /// The bytes as stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no value in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds every value to `dense`. Values above its range are recorded as its highest.
    pub fn add_to(&self, dense: &mut Histogram<u64>) {
        // Checked when it was made, so a failure here adds what could be read.
        let _ = self.for_each(|value, n| {
            dense.saturating_record_n(value, n);
        });
    }

    /// How many values are in it.
    pub fn count(&self) -> u64 {
        let mut sum = 0u64;
        let _ = self.for_each(|_, n| sum = sum.saturating_add(n));
        sum
    }

    /// Calls `each(value_ns, count)` for every bucket with values, from low to high; the
    /// value is the middle of the bucket.
    ///
    /// Read here and not by the library because its reader fills a dense histogram of
    /// 200 kB for each of the thousands of small distributions a session holds.
    pub fn for_each(&self, mut each: impl FnMut(u64, u64)) -> Result<(), LatencyError> {
        let b = &*self.0;
        if b.is_empty() {
            return Ok(());
        }
        if b.len() < V2_HEADER {
            return Err(LatencyError("shorter than its header"));
        }
        let u32_at = |i: usize| u32::from_be_bytes(b[i..i + 4].try_into().expect("four bytes"));
        let u64_at = |i: usize| u64::from_be_bytes(b[i..i + 8].try_into().expect("eight bytes"));
        if u32_at(0) != V2_COOKIE {
            return Err(LatencyError("wrong cookie"));
        }
        if u32_at(4) as usize != b.len() - V2_HEADER {
            return Err(LatencyError("wrong payload length"));
        }
        let (digits, low) = (u32_at(12), u64_at(16));
        if !(1..=5).contains(&digits) || low == 0 {
            return Err(LatencyError("precision or lowest value out of range"));
        }
        let unit_magnitude = low.ilog2();
        let sub_buckets = (2 * 10u64.pow(digits)).next_power_of_two();
        let half_magnitude = sub_buckets.ilog2() - 1;
        let half = sub_buckets / 2;
        let mut rest = &b[V2_HEADER..];
        let mut index = 0u64;
        while !rest.is_empty() {
            let n = zigzag(&mut rest)?;
            if n < 0 {
                index = index.checked_add(n.unsigned_abs()).ok_or(LatencyError("a run of zeros without end"))?;
                continue;
            }
            let (bucket, sub) = if index < sub_buckets {
                (0, index)
            } else {
                ((index >> half_magnitude) - 1, (index & (half - 1)) + half)
            };
            let shift = bucket + u64::from(unit_magnitude);
            if shift >= 63 || sub.leading_zeros() as u64 <= shift {
                return Err(LatencyError("a bucket past the range of 64 bits"));
            }
            if n > 0 {
                each((sub << shift) + ((1u64 << shift) >> 1), n as u64);
            }
            index += 1;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Latency({} values)", self.count())
    }
}

/// One ZigZag LEB128 number of at most nine bytes, as HdrHistogram V2 writes it.
fn zigzag(bytes: &mut &[u8]) -> Result<i64, LatencyError> {
    let mut v = 0u64;
    for n in 0..9 {
        let (&byte, rest) = bytes.split_first().ok_or(LatencyError("ends inside a count"))?;
        *bytes = rest;
        if n == 8 {
            v |= u64::from(byte) << 56; // the ninth byte carries eight bits
            break;
        }
        v |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok((v >> 1) as i64 ^ -((v & 1) as i64))
}

/// The quantiles everybody asks for, in nanoseconds; all 0 without values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Highest value.
    pub max: u64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(h: &Histogram<u64>) -> Quantiles {
        if h.is_empty() {
            return Quantiles::default();
        }
        let q = |q| h.value_at_quantile(q);
        Quantiles {
            count: h.len(),
            mean: h.mean(),
            p50: q(0.5),
            p90: q(0.9),
            p99: q(0.99),
            p999: q(0.999),
            max: h.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(values in prop::collection::vec(0u64..4_000_000_000_000, 0..200), routes: bool) {
            let empty = if routes { new_route_histogram } else { new_histogram };
            let mut dense = empty();
            for v in &values { dense.saturating_record(*v); }
            let stored = Latency::from_bytes(Latency::encode(&dense).bytes()).unwrap();
            let mut back = empty();
            stored.add_to(&mut back);
            prop_assert_eq!(stored.count(), values.len() as u64);
            for q in [0.0, 0.5, 0.9, 0.99, 1.0] {
                prop_assert_eq!(dense.value_at_quantile(q), back.value_at_quantile(q));
            }
            prop_assert_eq!(Latency::encode(&back), Latency::encode(&dense));
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), keep_header: bool) {
            let mut dense = new_histogram();
            dense.record(5_000_000).unwrap();
            let mut b = Latency::encode(&dense).bytes().to_vec();
            if keep_header {
                b.truncate(V2_HEADER);
                b.extend(&bytes);
                b[4..8].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
            } else {
                b = bytes;
            }
            if let Ok(l) = Latency::from_bytes(&b) { l.add_to(&mut dense); }
        }
    }

    #[test]
    fn counts_no_run_can_have_are_refused_and_never_panic() {
        let with = |n: u64| {
            let mut dense = new_histogram();
            dense.saturating_record_n(5_000_000, n);
            dense
        };
        assert!(Latency::from_bytes(Latency::encode(&with(MOST_VALUES)).bytes()).is_ok());
        let refused = Latency::from_bytes(Latency::encode(&with(MOST_VALUES + 1)).bytes());
        assert!(refused.unwrap_err().to_string().contains("more values"));
        for n in [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            let mut dense = with(n);
            dense.saturating_record(7_000);
            let l = Latency::encode(&dense);
            assert!(l.count() > MOST_VALUES && l.bytes().len() > V2_HEADER, "{n}: {l:?}");
            let mut sum = dense.clone();
            l.add_to(&mut sum);
            assert!(!Latency::encode(&sum).is_empty());
        }
    }

    #[test]
    fn the_library_reads_the_same_bytes() {
        let mut dense = new_histogram();
        for v in [700, 1_500, 81_000, 2_000_000, 900_000_000_000] {
            dense.record(v).unwrap();
        }
        let l = Latency::encode(&dense);
        let lib: Histogram<u64> = hdrhistogram::serialization::Deserializer::new().deserialize(&mut &*l.0).unwrap();
        let mut ours = new_histogram();
        l.add_to(&mut ours);
        assert_eq!(lib, ours);
    }
}
