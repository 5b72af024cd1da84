//! The reorder window of one file: lines go in as they were written, requests come out in the
//! order of their times.
//!
//! Requests wait in one bucket per second of log time. A bucket is released when the newest
//! time seen lies more than the window past its end, or earlier when memory demands it. Within
//! a released bucket, requests whose log has only whole seconds get sorted random moments of
//! that second, in the order of their lines. What belongs before a moment already handed out
//! is handed out at once, at that moment, and marked late.
//!
//! ```text
//!                  newest - window                        newest
//!     released            |      waiting, by second          |
//!   --------------------->|  [12] [13] [14] ...        [71]  |   log time
//!      ^                         ^
//!      a line from here          a line from here joins
//!      is late                   its second's bucket
//! ```
//!
//! Must not: let time go backwards in what comes out.

use super::arena::Held;
use super::time::Stamp;
use std::collections::BTreeMap;

const NS: i64 = 1_000_000_000;
const SECOND: u32 = 1_000_000_000;

/// Stands for "somewhere in this second".
const ANYWHERE: u32 = u32::MAX;

/// What one waiting request costs besides its texts, and what one bucket costs, bytes; counted
/// generously, since vectors grow by doubling.
const ENTRY_BYTES: usize = 2 * std::mem::size_of::<Entry>();
const BUCKET_BYTES: usize = 256;

#[derive(Clone, Copy)]
struct Entry {
    /// Within its second, or [`ANYWHERE`].
    nanos: u32,
    /// The one behind it in its bucket, or [`NONE`].
    next: u32,
    held: Held,
}

/// No place in [`Buckets::entries`].
const NONE: u32 = u32::MAX;

/// A request that comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Its time, ns since the Unix epoch.
    pub(super) unix_ns: i64,
    /// Whether it came too late for the window.
    pub(super) late: bool,
    /// What it is.
    pub(super) held: Held,
}

/// Seconds in a row that find their bucket without a search: most windows are shorter.
const NEAR: usize = 256;

/// The longest allocation that a second leaves to the next, in entries.
const MAX_SPARE: usize = 512;

/// The requests of one second in the order of their lines: places of the first and the last.
#[derive(Clone, Copy)]
struct Bucket {
    first: u32,
    last: u32,
}

const EMPTY: Bucket = Bucket { first: NONE, last: NONE };

/// All requests that wait, by second.
struct Buckets {
    /// Those of all buckets, close together: most windows fit in a processor's first cache.
    entries: Vec<Entry>,
    /// The first of the places in `entries` that are free, each naming the next; and how many are not.
    free: u32,
    waiting: usize,
    /// Those of `from` and the [`NEAR`] - 1 seconds after it; each has its place by its last digits.
    near: Vec<Bucket>,
    /// Which of these are not empty, by bit.
    taken: [u64; NEAR / 64],
    from: i64,
    /// All others, and those that were there before `from` came to be what it is.
    far: BTreeMap<i64, Bucket>,
}

impl Buckets {
    fn new() -> Buckets {
        let (near, far) = (vec![EMPTY; NEAR], BTreeMap::new());
        Buckets { entries: Vec::new(), free: NONE, waiting: 0, near, taken: [0; NEAR / 64], from: 0, far }
    }

    fn place(second: i64) -> usize {
        second.cast_unsigned() as usize % NEAR
    }

    fn is_near(&self, second: i64) -> bool {
        second.checked_sub(self.from).is_some_and(|n| (0..NEAR as i64).contains(&n))
    }

    /// Whether it is the first of its second.
    #[inline]
    fn push(&mut self, second: i64, nanos: u32, held: Held) -> bool {
        let n = self.keep(nanos, held);
        let mut is_near = self.is_near(second);
        if !is_near && self.taken == [0; NEAR / 64] {
            // What is out of order lies on both sides.
            self.from = second.saturating_sub(NEAR as i64 / 2);
            is_near = true;
        }
        let bucket = if is_near && (self.far.is_empty() || !self.far.contains_key(&second)) {
            let place = Buckets::place(second);
            self.taken[place / 64] |= 1 << (place % 64);
            &mut self.near[place]
        } else {
            self.far.entry(second).or_insert(EMPTY)
        };
        let before = std::mem::replace(&mut bucket.last, n);
        match self.entries.get_mut(before as usize) {
            Some(before) => before.next = n,
            None => bucket.first = n,
        }
        before == NONE
    }

    /// Puts it where there is room, and says where.
    #[inline]
    fn keep(&mut self, nanos: u32, held: Held) -> u32 {
        self.waiting += 1;
        if let Some(place) = self.entries.get_mut(self.free as usize) {
            let n = std::mem::replace(&mut self.free, place.next);
            (place.nanos, place.next, place.held) = (nanos, NONE, held);
            return n;
        }
        self.entries.push(Entry { nanos, next: NONE, held });
        u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
    }

    /// The oldest second that has any.
    fn oldest(&self) -> Option<i64> {
        let near = self.oldest_near();
        if self.far.is_empty() {
            return near;
        }
        let far = self.far.first_key_value().map(|(second, _)| *second);
        near.map_or(far, |near| Some(far.map_or(near, |far| far.min(near))))
    }

    fn oldest_near(&self) -> Option<i64> {
        let first = Buckets::place(self.from);
        let soon = self.taken[first / 64] >> (first % 64);
        if soon != 0 {
            return Some(self.from + i64::from(soon.trailing_zeros()));
        }
        // From the place of `from` on around the table; of its word the upper part first, the rest last.
        (0..=self.taken.len()).find_map(|n| {
            let word = (first / 64 + n) % self.taken.len();
            let behind = u64::MAX << (first % 64);
            let part = if n == 0 {
                behind
            } else if n == self.taken.len() {
                !behind
            } else {
                u64::MAX
            };
            let bits = self.taken[word] & part;
            let place = 64 * word + bits.trailing_zeros() as usize;
            (bits != 0).then(|| self.from + ((place + NEAR - first) % NEAR) as i64)
        })
    }

    /// Moves all of a second, the oldest, into `out`.
    fn take(&mut self, second: i64, out: &mut Vec<Entry>) {
        out.clear();
        out.shrink_to(MAX_SPARE);
        let place = Buckets::place(second);
        let bit = 1 << (place % 64);
        let is_near = self.is_near(second) && self.taken[place / 64] & bit != 0;
        let bucket = if is_near {
            // Nothing older is near: the seconds from here on may have their places.
            self.from = second;
            self.taken[place / 64] &= !bit;
            std::mem::replace(&mut self.near[place], EMPTY)
        } else {
            self.far.remove(&second).unwrap_or(EMPTY)
        };
        let mut n = bucket.first;
        while let Some(entry) = self.entries.get(n as usize) {
            out.push(*entry);
            n = entry.next;
        }
        self.waiting -= out.len();
        match self.entries.get_mut(bucket.last as usize) {
            _ if self.waiting == 0 => {
                self.entries.clear();
                self.entries.shrink_to(MAX_SPARE);
                self.free = NONE;
            }
            Some(last) => (last.next, self.free) = (self.free, bucket.first),
            None => {}
        }
        if !self.far.is_empty() && self.taken == [0; NEAR / 64] {
            self.draw_near();
        }
    }

    /// Lets the oldest of the far seconds be near ones, when none is: behind an hour without requests all are far.
    fn draw_near(&mut self) {
        let Some((oldest, _)) = self.far.first_key_value() else { return };
        // What is out of order lies on both sides.
        self.from = oldest.saturating_sub(NEAR as i64 / 2);
        let behind = self.far.split_off(&self.from.saturating_add(NEAR as i64));
        for (second, bucket) in std::mem::replace(&mut self.far, behind) {
            let place = Buckets::place(second);
            self.taken[place / 64] |= 1 << (place % 64);
            self.near[place] = bucket;
        }
    }
}

/// The window of one file.
pub(super) struct Window {
    window_ns: i64,
    rng: fastrand::Rng,
    buckets: Buckets,
    /// The oldest second that has a bucket.
    oldest: Option<i64>,
    overhead_bytes: usize,
    text_bytes: usize,
    /// `i64::MIN` before the first.
    newest_ns: i64,
    /// The newest time at which the oldest second is passed; `i64::MAX` without one.
    passed_ns: i64,
    /// Nothing may come out before this.
    floor_ns: i64,
    out: Vec<Entry>,
    out_second: i64,
    out_next: usize,
    out_late: bool,
    moments: Vec<u32>,
}

impl Window {
    /// A window `window_ns` long; `seed` decides the moments within seconds.
    pub(super) fn new(window_ns: u64, seed: u64) -> Window {
        Window {
            window_ns: i64::try_from(window_ns).unwrap_or(i64::MAX),
            rng: fastrand::Rng::with_seed(seed),
            buckets: Buckets::new(),
            oldest: None,
            overhead_bytes: 0,
            text_bytes: 0,
            newest_ns: i64::MIN,
            passed_ns: i64::MAX,
            floor_ns: i64::MIN,
            out: Vec::new(),
            out_second: 0,
            out_next: 0,
            out_late: false,
            moments: Vec::new(),
        }
    }

    /// Takes a request; the answer says whether its time lies before an earlier one's.
    /// Only when [`Window::has_next`] says no.
    pub(super) fn push(&mut self, at: Stamp, held: Held) -> bool {
        let out_of_order = at.unix_ns < self.newest_ns;
        self.newest_ns = self.newest_ns.max(at.unix_ns);
        let second = at.unix_ns.div_euclid(NS);
        let nanos = if at.whole_second { ANYWHERE } else { nanos_of(at.unix_ns) };
        let last_moment = if at.whole_second { second.saturating_add(1).saturating_mul(NS) - 1 } else { at.unix_ns };
        self.overhead_bytes += ENTRY_BYTES;
        self.text_bytes += held.len();
        if last_moment < self.floor_ns {
            self.out.clear();
            self.out.push(Entry { nanos: nanos_of(self.floor_ns), next: NONE, held });
            (self.out_second, self.out_next, self.out_late) = (self.floor_ns.div_euclid(NS), 0, true);
            return out_of_order;
        }
        if self.buckets.push(second, nanos, held) {
            self.overhead_bytes += BUCKET_BYTES;
            self.set_oldest(Some(self.oldest.map_or(second, |oldest| oldest.min(second))));
        }
        out_of_order
    }

    /// Takes a request of a recording that is in order: it comes out next, at `unix_ns`. Only when
    /// [`Window::peek`] gives none.
    pub(super) fn push_next(&mut self, unix_ns: i64, held: Held) {
        self.overhead_bytes += ENTRY_BYTES;
        self.text_bytes += held.len();
        self.out.clear();
        self.out.push(Entry { nanos: nanos_of(unix_ns), next: NONE, held });
        (self.out_second, self.out_next, self.out_late) = (unix_ns.div_euclid(NS), 0, false);
    }

    /// A line of this time is no request that is replayed: it moves the window on all the same, or
    /// the last requests of a slice of a long log would wait for the log's end.
    pub(super) fn pass(&mut self, at: Stamp) {
        self.newest_ns = self.newest_ns.max(at.unix_ns);
    }

    /// Memory of what was pushed and not yet taken, bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.overhead_bytes + self.text_bytes
    }

    /// The part of it that is not texts.
    pub(super) fn overhead_bytes(&self) -> usize {
        self.overhead_bytes
    }

    /// The next request that was released and not yet taken.
    #[inline]
    pub(super) fn peek(&self) -> Option<Due> {
        let entry = self.out.get(self.out_next)?;
        Some(Due { unix_ns: self.out_second * NS + i64::from(entry.nanos), late: self.out_late, held: entry.held })
    }

    /// Takes what [`Window::peek`] shows.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Due> {
        let due = self.peek()?;
        self.floor_ns = due.unix_ns;
        self.out_next += 1;
        self.overhead_bytes -= ENTRY_BYTES;
        self.text_bytes -= due.held.len();
        Some(due)
    }

    /// Whether [`Window::peek`] gives one.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        self.out_next < self.out.len()
    }

    /// Releases the oldest second if the window has passed it. Whether it did.
    pub(super) fn release_passed(&mut self) -> bool {
        self.newest_ns >= self.passed_ns && self.release(false)
    }

    /// Releases the oldest second because memory demands it. Whether there was one.
    pub(super) fn release_early(&mut self) -> bool {
        // More of the second that is being read may come: it gets the second's later part.
        let open = self.oldest == Some(self.newest_ns.div_euclid(NS));
        self.release(open)
    }

    /// Releases the oldest second because no more lines come. Whether there was one.
    pub(super) fn release_rest(&mut self) -> bool {
        self.release(false)
    }

    fn set_oldest(&mut self, oldest: Option<i64>) {
        self.oldest = oldest;
        let end_ns = oldest.map(|second| second.saturating_add(1).saturating_mul(NS));
        self.passed_ns = end_ns.map_or(i64::MAX, |end| end.saturating_add(self.window_ns));
    }

    fn release(&mut self, open: bool) -> bool {
        let Some(second) = self.oldest else { return false };
        self.buckets.take(second, &mut self.out);
        self.set_oldest(self.buckets.oldest());
        self.overhead_bytes -= BUCKET_BYTES;
        (self.out_second, self.out_next, self.out_late) = (second, 0, false);
        self.spread(open);
        true
    }

    /// Gives the entries of `out` that have only a second their moments in it.
    fn spread(&mut self, open: bool) {
        let start_ns = self.out_second * NS;
        let from = if self.floor_ns <= start_ns { 0 } else { nanos_of(self.floor_ns) };
        let to = if open { from + (SECOND - from) / 2 } else { SECOND };
        let whole = self.out.iter().filter(|e| e.nanos == ANYWHERE).count();
        self.moments.clear();
        let rng = &mut self.rng;
        self.moments.extend((0..whole).map(|_| if to > from { rng.u32(from..to) } else { from }));
        sort(&mut self.moments);
        let is_mixed = whole < self.out.len();
        let entries = self.out.iter_mut().filter(|e| !is_mixed || e.nanos == ANYWHERE);
        entries.zip(&self.moments).for_each(|(entry, moment)| entry.nanos = *moment);
        if is_mixed {
            self.out.sort_by_key(|e| e.nanos);
        }
    }
}

/// Sorts; few, as most seconds have, without asking which of two is the larger: nobody could foretell it.
fn sort(moments: &mut [u32]) {
    let order = |a: &mut u32, b: &mut u32| (*a, *b) = (*a.min(b), *a.max(b));
    match moments {
        [] | [_] => {}
        [a, b] => order(a, b),
        [a, b, c] => {
            order(a, b);
            order(b, c);
            order(a, b);
        }
        [a, b, c, d] => {
            order(a, b);
            order(c, d);
            order(a, c);
            order(b, d);
            order(b, c);
        }
        more => more.sort_unstable(),
    }
}

fn nanos_of(unix_ns: i64) -> u32 {
    u32::try_from(unix_ns.rem_euclid(NS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::arena::{AGENT, Arena, HOST, LEAST_BYTES, PATH, REFERER};
    use super::*;
    use proptest::prelude::*;

    /// Runs times (in tenths of seconds; whole seconds when `whole`) through a window as the
    /// reader does: (index of the line, time out, late).
    fn run(times: &[i64], whole: bool, window_s: u64, max_bytes: usize, seed: u64) -> (Vec<(usize, i64, bool)>, usize) {
        let mut arena = Arena::default();
        let mut w = Window::new(window_s * 1_000_000_000, seed);
        let (mut out, mut most) = (Vec::new(), 0);
        let mut drain = |w: &mut Window, arena: &mut Arena| {
            while let Some(due) = w.pop() {
                let n = arena.get(due.held).path.parse().unwrap();
                arena.release(due.held);
                out.push((n, due.unix_ns, due.late));
            }
        };
        for (n, t) in times.iter().enumerate() {
            let mut draft = arena.draft(32);
            draft.method(b"GET");
            draft.text().extend_from_slice(n.to_string().as_bytes());
            [PATH, HOST, REFERER, AGENT].into_iter().for_each(|n| draft.close(n));
            let unix_ns = if whole { t * NS } else { t * NS / 10 };
            w.push(Stamp { unix_ns, whole_second: whole }, draft.keep(&[]));
            drain(&mut w, &mut arena);
            most = most.max(w.waiting_bytes());
            while w.release_passed() || (w.waiting_bytes() > max_bytes && w.release_early()) {
                drain(&mut w, &mut arena);
            }
        }
        while w.release_rest() {
            drain(&mut w, &mut arena);
        }
        assert_eq!(w.waiting_bytes(), 0);
        (out, most)
    }

    fn is_whole_and_ordered(out: &[(usize, i64, bool)], lines: usize) {
        assert!(out.windows(2).all(|w| w[0].1 <= w[1].1), "time went backwards");
        let mut numbers: Vec<usize> = out.iter().map(|o| o.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..lines).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn any_disorder_comes_out_in_time_order_and_whole(times in prop::collection::vec(prop_oneof![-50i64..500, 3600i64..3900, 7200i64..7210], 0..200), whole: bool, window in 0u64..90, kib in 0usize..20) {
            let (out, most) = run(&times, whole, window, kib << 10, 7);
            is_whole_and_ordered(&out, times.len());
            prop_assert!(most <= (kib << 10) + ENTRY_BYTES + BUCKET_BYTES + LEAST_BYTES);
            for (n, t, late) in out {
                let asked = if whole { times[n] * NS } else { times[n] * NS / 10 };
                let in_place = if whole { t.div_euclid(NS) == times[n] } else { t == asked };
                prop_assert!((late && t > asked) || (!late && in_place));
            }
        }

        #[test]
        fn disorder_within_the_window_is_a_full_sort(steps in prop::collection::vec((0i64..5, 0i64..60), 0..300), whole: bool) {
            // The clock goes on, each line lies up to 59 (s, or tenths) behind it.
            let mut clock = 1000;
            let times: Vec<i64> = steps.iter().map(|(on, back)| { clock += on; clock - back }).collect();
            let (out, _) = run(&times, whole, if whole { 59 } else { 6 }, usize::MAX, 7);
            let mut expected: Vec<usize> = (0..times.len()).collect();
            expected.sort_by_key(|n| times[*n]);
            prop_assert!(out.iter().all(|o| !o.2));
            prop_assert_eq!(out.iter().map(|o| o.0).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn seconds_are_spread_by_the_seed_and_alike_for_the_same_seed() {
        let times = [5; 1000];
        let (a, _) = run(&times, true, 60, usize::MAX, 1);
        assert_eq!(a, run(&times, true, 60, usize::MAX, 1).0);
        assert_ne!(a, run(&times, true, 60, usize::MAX, 2).0);
        let in_first_half = a.iter().filter(|o| o.1 < 5 * NS + NS / 2).count();
        assert!((400..600).contains(&in_first_half), "{in_first_half} of 1000 in the first half");
    }

    #[test]
    fn few_moments_are_sorted_like_many() {
        for n in 0..5u32 {
            for digits in 0..4u32.pow(n) {
                let mut moments: Vec<u32> = (0..n).map(|i| digits / 4u32.pow(i) % 4).collect();
                let mut expected = moments.clone();
                expected.sort_unstable();
                sort(&mut moments);
                assert_eq!(moments, expected);
            }
        }
    }

    #[test]
    fn lines_that_are_no_requests_move_the_window_on() {
        let mut arena = Arena::default();
        let at = |s: i64| Stamp { unix_ns: s * NS, whole_second: true };
        let mut w = Window::new(60 * 1_000_000_000, 1);
        w.push(at(100), arena.draft(0).keep(&[]));
        w.pass(at(160));
        assert!(!w.release_passed());
        w.pass(at(161));
        w.pass(at(5));
        assert!(w.release_passed() && w.peek().is_some());
    }

    #[test]
    fn one_endless_second_stays_bounded_and_inside_its_second() {
        let times = vec![5; 20_000];
        let (out, most) = run(&times, true, 60, 64 << 10, 1);
        assert!(most < 70 << 10, "{most}");
        is_whole_and_ordered(&out, times.len());
        assert!(out.iter().all(|o| o.1.div_euclid(NS) == 5 && !o.2));
    }

    #[test]
    fn a_line_too_late_for_the_window_comes_at_once() {
        let (out, _) = run(&[100, 300, 310, 100, 311], true, 60, usize::MAX, 1);
        assert_eq!(
            out.iter().map(|o| (o.0, o.2)).collect::<Vec<_>>(),
            [(0, false), (3, false), (1, false), (2, false), (4, false)]
        );
        let (out, _) = run(&[100, 300, 310, 400, 100, 401], true, 60, usize::MAX, 1);
        assert_eq!(
            out.iter().map(|o| (o.0, o.2)).collect::<Vec<_>>(),
            [(0, false), (1, false), (2, false), (4, true), (3, false), (5, false)]
        );
    }
}
