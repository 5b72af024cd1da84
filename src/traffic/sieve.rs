//! The sieve: which of the requests that could be replayed are, and what the others count under.
//!
//! Must not: change a request; decide differently when a recording is read again.

use super::filter::{Filter, Parts};
use super::route::Namer;
use super::slice::{Moment, resolve};
use crate::model::clean;
use std::str::FromStr;

/// Which requests are replayed. All that is asked for must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sieve {
    /// By what they are.
    pub filters: Vec<Filter>,
    /// Not before this.
    pub from: Option<Moment>,
    /// Before this.
    pub to: Option<Moment>,
    /// A part of them.
    pub sample: Option<Sample>,
}

impl Sieve {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Sieve::default()
    }
}

/// A part of all requests, chosen by client: those of one client stay or go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Of 2^64.
    threshold: u64,
    text: String,
}

impl FromStr for Sample {
    type Err = String;

    /// `10%`, `0.5%`; above 0 and at most 100.
    fn from_str(text: &str) -> Result<Sample, String> {
        let percent = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        match percent.filter(|p| p.is_finite() && *p > 0.0 && *p <= 100.0) {
            // A cast from float saturates; all of them is the highest threshold.
            Some(p) => Ok(Sample { threshold: (p / 100.0 * 2_f64.powi(64)) as u64, text: format!("{p}%") }),
            None => Err(format!("'{}' is no part of the clients; give one like 10% or 0.5%", clean(text, 20))),
        }
    }
}

/// What a request is judged by: its parts, and what is not of its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) parts: Parts<'a>,
    /// Its time, ns since the Unix epoch; `None` in recordings without times.
    pub(super) unix_ns: Option<i64>,
    /// Who made it; 0 when the recording does not say.
    pub(super) client: u64,
}

/// A sieve at work on one recording.
#[derive(Default)]
pub(super) struct Sifter {
    slice: (Option<i64>, Option<i64>),
    sample: Option<u64>,
    seed: u64,
    filters: Vec<Row>,
    /// What each request that is left out counts under: `--from`, `--to`, sample, and the filters.
    labels: Vec<String>,
    needs_route: bool,
    namer: Namer,
    route: String,
    /// Requests of unknown clients that were sampled.
    unknown: u64,
    is_empty: bool,
}

/// Filters that count under one label: all `--only` with one key, or one `--skip`.
struct Row {
    filters: Vec<Filter>,
    label: usize,
}

const BEFORE: usize = 0;
const AFTER: usize = 1;
const UNTIMED: usize = 2;
const SAMPLED: usize = 3;

impl Sifter {
    /// The sieve for a recording that starts at `start_ns`.
    pub(super) fn new(sieve: &Sieve, namer: &Namer, seed: u64, start_ns: i64) -> Sifter {
        let sample = sieve.sample.as_ref();
        let mut labels: Vec<String> =
            vec!["before --from".into(), "not before --to".into(), "no time for --from and --to".into()];
        labels.push(format!("left out by --sample {}", sample.map_or("", |s| &s.text)));
        let mut filters: Vec<Row> = Vec::new();
        for filter in &sieve.filters {
            let same = |r: &&mut Row| !filter.is_skip && !r.filters[0].is_skip && r.filters[0].key == filter.key;
            match filters.iter_mut().find(same) {
                Some(row) => row.filters.push(filter.clone()),
                None => filters.push(Row { filters: vec![filter.clone()], label: 0 }),
            }
        }
        for row in &mut filters {
            let shown: Vec<String> = row.filters.iter().map(Filter::shown).collect();
            row.label = labels.len();
            labels.push(match row.filters[0].is_skip {
                true => format!("--skip {}", shown.join(" ")),
                false => format!("not --only {}", clean(&shown.join(" or "), 100)),
            });
        }
        Sifter {
            slice: resolve(sieve.from, sieve.to, start_ns),
            sample: sample.map(|s| s.threshold),
            seed,
            needs_route: sieve.filters.iter().any(Filter::needs_route),
            filters,
            labels,
            namer: namer.clone(),
            is_empty: sieve.is_empty(),
            ..Sifter::default()
        }
    }

    /// Whether everything passes.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// What requests that are left out count under; [`Sifter::judge`] gives the places in it.
    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The slice of time that passes, ns since the Unix epoch: from, and up to.
    pub(super) fn slice(&self) -> (Option<i64>, Option<i64>) {
        self.slice
    }

    /// Decides alike again for the same requests in the same order.
    pub(super) fn begin_again(&mut self) {
        self.unknown = 0;
    }

    /// The place of the label of what leaves a request out; `None` when it passes.
    pub(super) fn judge(&mut self, case: Case<'_>) -> Option<usize> {
        let Case { mut parts, .. } = case;
        if let (from, to) = self.slice
            && (from.is_some() || to.is_some())
        {
            let Some(unix_ns) = case.unix_ns else { return Some(UNTIMED) };
            if from.is_some_and(|from| unix_ns < from) {
                return Some(BEFORE);
            }
            if to.is_some_and(|to| unix_ns >= to) {
                return Some(AFTER);
            }
        }
        if self.needs_route {
            self.route.clear();
            // A path is ASCII, as `RequestLine::push_path` makes it.
            self.namer.name_into(std::str::from_utf8(parts.path).unwrap_or("/"), &mut self.route);
            parts = Parts { route: &self.route, ..parts };
        }
        for row in &self.filters {
            let holds = row.filters.iter().any(|f| f.holds(parts));
            if holds == row.filters[0].is_skip {
                return Some(row.label);
            }
        }
        let threshold = self.sample?;
        let key = if case.client == 0 {
            self.unknown += 1;
            self.unknown
        } else {
            case.client
        };
        (mix(key ^ mix(self.seed)) > threshold).then_some(SAMPLED)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every
/// bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifter(only: &[&str], skip: &[&str], sample: Option<&str>, seed: u64) -> Sifter {
        let filters = only.iter().map(|t| Filter::only(t).unwrap());
        let filters = filters.chain(skip.iter().map(|t| Filter::skip(t).unwrap())).collect();
        let sieve = Sieve { filters, sample: sample.map(|s| s.parse().unwrap()), ..Sieve::default() };
        Sifter::new(&sieve, &Namer::default(), seed, 0)
    }

    fn case(method: &'static str, path: &'static str, status: u16, client: u64) -> Case<'static> {
        let parts =
            Parts { method: method.as_bytes(), path: path.as_bytes(), host: b"", status: Some(status), route: "" };
        Case { parts, unix_ns: Some(0), client }
    }

    #[test]
    fn one_of_a_key_and_each_key_must_hold_and_no_skip() {
        let mut s = sifter(&["method=GET", "status=200", "status=304"], &["path=^/health", "route=/item/{}"], None, 0);
        let mut label = |c: Case<'_>| s.judge(c).map(|n| s.labels()[n].clone());
        assert_eq!(label(case("GET", "/", 304, 0)), None);
        assert_eq!(label(case("POST", "/", 200, 0)).unwrap(), "not --only method=GET");
        assert_eq!(label(case("GET", "/", 404, 0)).unwrap(), "not --only status=200 or status=304");
        assert_eq!(label(case("GET", "/healthz", 200, 0)).unwrap(), "--skip path=^/health");
        assert_eq!(label(case("GET", "/item/7?x", 200, 0)).unwrap(), "--skip route=/item/{}");
    }

    #[test]
    fn a_slice_holds_its_start_and_not_its_end() {
        let sieve = Sieve { from: Some(Moment::At(10)), to: Some(Moment::After(20)), ..Sieve::default() };
        let mut s = Sifter::new(&sieve, &Namer::default(), 0, 5);
        let mut at = |unix_ns| s.judge(Case { unix_ns, ..case("GET", "/", 200, 0) });
        assert_eq!([9, 10, 24, 25].map(|t| at(Some(t))), [Some(BEFORE), None, None, Some(AFTER)]);
        assert_eq!(at(None), Some(UNTIMED));
        assert_eq!(sifter(&[], &[], None, 0).judge(Case { unix_ns: None, ..case("GET", "/", 200, 0) }), None);
    }

    #[test]
    fn a_sample_is_by_client_by_its_seed_and_about_as_large_as_asked() {
        let kept = |seed, clients: std::ops::Range<u64>| {
            let mut s = sifter(&[], &[], Some("10%"), seed);
            clients.filter(|c| s.judge(case("GET", "/", 200, *c)).is_none()).collect::<Vec<_>>()
        };
        let some = kept(1, 1..20_001);
        // 2000 expected, standard deviation 42.
        assert!((1800..2200).contains(&some.len()), "{}", some.len());
        assert_eq!(some, kept(1, 1..20_001));
        assert_ne!(some, kept(2, 1..20_001));
        // Unknown clients are sampled by request, and alike when the recording begins again.
        let mut s = sifter(&[], &[], Some("10%"), 1);
        let mut pass = || (0..20_000).map(|_| s.judge(case("GET", "/", 200, 0)).is_none()).collect::<Vec<_>>();
        let first = pass();
        assert!((1800..2200).contains(&first.iter().filter(|k| **k).count()));
        assert_ne!(first, pass());
        s.begin_again();
        assert_eq!(first, (0..20_000).map(|_| s.judge(case("GET", "/", 200, 0)).is_none()).collect::<Vec<_>>());
        let mut all = sifter(&[], &[], Some("100%"), 1);
        assert!((0..10_000).all(|c| all.judge(case("GET", "/", 200, c)).is_none()));
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        for wrong in ["10", "0%", "-1%", "101%", "nan%", "%", ""] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
