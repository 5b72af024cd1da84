//! Routes: paths with the parts that differ from request to request replaced by `{}`, in
//! bounded number.
//!
//! Must not: lose a request: what has no room of its own counts under [`OTHER_ROUTES`].

use super::distinct::{Distinct, stable_hash};
use super::glob::{Braces, path_glob};
use super::top::{Frequent, Top};
use super::values::holds_either;
use crate::model::{Route, clean};
use memchr::memchr2;
use regex::bytes::Regex;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

/// The name of the route that takes what has no room of its own.
pub const OTHER_ROUTES: &str = "(other routes)";

/// Longest route name, bytes; the rest of a longer path is cut off.
const MAX_NAME_BYTES: usize = 120;

/// A route the user names: all paths that a pattern matches count under the pattern.
#[derive(Clone, Debug)]
pub struct RoutePattern {
    text: Arc<str>,
    matches: Regex,
}

impl PartialEq for RoutePattern {
    /// Patterns are what they were written as.
    fn eq(&self, other: &RoutePattern) -> bool {
        self.text == other.text
    }
}

impl Eq for RoutePattern {}

impl FromStr for RoutePattern {
    type Err = String;

    /// `/users/{}/orders/**`: `{}` is one segment, `*` any text within one, `**` any text.
    fn from_str(text: &str) -> Result<RoutePattern, String> {
        let is_path = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
        if !is_path || text.len() > MAX_NAME_BYTES {
            return Err(format!(
                "'{}' is no route: a path without query such as /users/{{}}/orders/**, {MAX_NAME_BYTES} bytes at most",
                clean(text, 40)
            ));
        }
        Ok(RoutePattern { text: text.into(), matches: path_glob(text, Braces::Segment)? })
    }
}

/// Finds the names of routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Namer {
    patterns: Vec<RoutePattern>,
}

impl Namer {
    /// The first of `patterns` that matches names the route; where none does, the normalised path.
    pub(super) fn new(patterns: Vec<RoutePattern>) -> Namer {
        Namer { patterns }
    }

    /// Appends the name of the route of `path` (with or without query) to `out`.
    pub(super) fn name_into(&self, path: &str, out: &mut String) {
        if !self.patterns.is_empty() {
            let end = path.bytes().position(|b| b == b'?' || b == b'#').unwrap_or(path.len());
            if let Some(p) = self.patterns.iter().find(|p| p.matches.is_match(&path.as_bytes()[..end])) {
                out.push_str(&p.text);
                return;
            }
        }
        normalise_into(path, out);
    }
}

/// Gives paths their routes. Numbers them from 0 in order of appearance.
pub(super) struct Router {
    namer: Namer,
    max_routes: usize,
    ids: HashMap<Arc<str>, u32>,
    other: Option<Route>,
    folded: Distinct,
    top_folded: Top,
    name: String,
    recent: Vec<(String, Route)>,
    idle: Idle,
}

/// A route of each number that a request had and gave back, for the next: counting owners up and
/// down for every request is not cheap.
#[derive(Default)]
struct Idle(Vec<Option<Route>>);

impl Idle {
    fn take(&mut self, like: &Route) -> Route {
        let idle = self.0.get_mut(like.id as usize).and_then(Option::take);
        idle.filter(|r| Arc::ptr_eq(&r.name, &like.name)).unwrap_or_else(|| like.clone())
    }

    fn put(&mut self, route: Route) {
        let n = route.id as usize;
        if n < RECENT_PATHS {
            if self.0.len() <= n {
                self.0.resize(n + 1, None);
            }
            self.0[n] = Some(route);
        }
    }
}

/// Paths whose routes are remembered, and how long such a path may be, bytes: most recordings ask
/// for few paths again and again. At most 64 KiB in all.
const RECENT_PATHS: usize = 256;
const MAX_RECENT_BYTES: usize = 192;

/// Where a path is remembered: told by its length, its start, its middle and its end, which takes no longer
/// for a long path than for a short one.
#[inline]
fn place(path: &[u8]) -> usize {
    let (Some(start), Some(end)) = (path.first_chunk::<8>(), path.last_chunk::<8>()) else {
        return stable_hash(path) as usize % RECENT_PATHS;
    };
    let middle = path[path.len() / 2 - 4..].first_chunk::<8>().unwrap_or(end);
    let [start, middle, end] = [start, middle, end].map(|word| u64::from_le_bytes(*word));
    // Three odd constants of which nothing is asked but to be different.
    let sum = start.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ middle.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ end.wrapping_mul(0x1656_67b1_9e37_79f9)
        ^ (path.len() as u64) << 56;
    (sum >> 56) as usize % RECENT_PATHS
}

impl Router {
    /// At most `max_routes` routes, and [`OTHER_ROUTES`] when there are more.
    pub(super) fn new(namer: Namer, max_routes: usize) -> Router {
        Router {
            namer,
            max_routes,
            ids: HashMap::new(),
            other: None,
            folded: Distinct::default(),
            top_folded: Top::default(),
            name: String::new(),
            recent: Vec::new(),
            idle: Idle::default(),
        }
    }

    /// Makes `route` that of `path` (with or without query); `count` whether it is one more that
    /// counts among the folded if it is.
    pub(super) fn route_into(&mut self, path: &str, count: bool, route: &mut Route) {
        let path = if holds_either(b'?', b'#', path.as_bytes()) {
            &path[..memchr2(b'?', b'#', path.as_bytes()).unwrap_or(path.len())]
        } else {
            path
        };
        let place = place(path.as_bytes());
        match self.recent.get(place) {
            // Requests are filled again and again: that of one path often follows another of it.
            Some((known, same)) if known == path => {
                if !(same.id == route.id && Arc::ptr_eq(&same.name, &route.name)) {
                    let next = self.idle.take(same);
                    self.idle.put(std::mem::replace(route, next));
                }
            }
            _ => {
                *route = self.find(path, count);
                self.remember(path, route, place);
            }
        }
    }

    fn remember(&mut self, path: &str, route: &Route, place: usize) {
        // What is folded is counted by name each time.
        let is_folded = self.other.as_ref().is_some_and(|other| other.id == route.id);
        if is_folded || path.len() > MAX_RECENT_BYTES {
            return;
        }
        if self.recent.is_empty() {
            self.recent.resize_with(RECENT_PATHS, || (String::new(), route.clone()));
        }
        let (known, same) = &mut self.recent[place];
        known.clear();
        known.push_str(path);
        same.clone_from(route);
    }

    /// The route of `path`, by its name.
    fn find(&mut self, path: &str, count: bool) -> Route {
        self.name.clear();
        self.namer.name_into(path, &mut self.name);
        if let Some((name, id)) = self.ids.get_key_value(&*self.name) {
            return Route { id: *id, name: name.clone() };
        }
        let next_id = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        if self.ids.len() < self.max_routes {
            let name: Arc<str> = self.name.as_str().into();
            self.ids.insert(name.clone(), next_id);
            return Route { id: next_id, name };
        }
        if count {
            self.folded.note(stable_hash(self.name.as_bytes()));
            self.top_folded.note(&self.name);
        }
        self.other.get_or_insert_with(|| Route { id: next_id, name: OTHER_ROUTES.into() }).clone()
    }

    /// How many different routes count under [`OTHER_ROUTES`], and whether there were even more.
    pub(super) fn folded(&self) -> (u64, bool) {
        (self.folded.count(), self.folded.overflowed())
    }

    /// The most frequent of them, at most `k`.
    pub(super) fn top_folded(&self, k: usize) -> Vec<Frequent> {
        self.top_folded.most(k)
    }

    /// How many requests count under [`OTHER_ROUTES`].
    pub(super) fn folded_requests(&self) -> u64 {
        self.top_folded.sum()
    }
}

/// Appends the normalised form of `path` to `out`.
pub(super) fn normalise_into(path: &str, out: &mut String) {
    let before = |text: &str, stop: fn(&u8) -> bool| text.as_bytes().iter().position(stop).unwrap_or(text.len());
    let path = &path[..before(path, |b| matches!(b, b'?' | b'#'))];
    let mut rest = &path[before(path, |b| *b == b'/')..];
    while let Some(behind_slash) = rest.get(1..) {
        let (segment, after) = behind_slash.split_at(before(behind_slash, |b| *b == b'/'));
        rest = after;
        out.push('/');
        // Matrix parameters (`;jsessionid=...`) belong to the request, not to the route.
        segment_into(&segment[..before(segment, |b| *b == b';')], out);
        if out.len() > MAX_NAME_BYTES {
            let cut = (0..=MAX_NAME_BYTES).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0);
            out.truncate(cut);
            out.push('…');
            return;
        }
    }
    if out.is_empty() {
        out.push('/');
    }
}

fn segment_into(segment: &str, out: &mut String) {
    // Most are short words: too short for a token, and without the dots that part others.
    if segment.len() < 16 && !segment.as_bytes().contains(&b'.') {
        out.push_str(if is_key(segment) || segment.starts_with("eyJ") { "{}" } else { segment });
        return;
    }
    // A token with dots in it is a JSON Web Token (RFC 7519) or a kin of it, and may be a secret.
    let holds_token = segment.starts_with("eyJ") || segment.split('.').any(is_token);
    if is_key(segment) || holds_token {
        out.push_str("{}");
        return;
    }
    // `12345.jpg` and `app.3f2a9c1b.js` keep what says which kind of thing they are.
    for (n, part) in segment.split('.').enumerate() {
        if n > 0 {
            out.push('.');
        }
        let varies = !part.is_empty() && (is_hex(part) || (n == 0 && is_key(part)));
        out.push_str(if varies { "{}" } else { part });
    }
}

/// A number, or digits in groups (`2015-05-17`, `1.2.3`), or a UUID, or a long hex string.
fn is_key(text: &str) -> bool {
    let first_is_digit = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    (first_is_digit && text.bytes().all(|b| b.is_ascii_digit() || b"-.,_".contains(&b)))
        || is_uuid(text)
        || is_hex(text)
}

/// 8-4-4-4-12 hex digits (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Eight or more hex digits with a decimal one among them, or sixteen of any kind: words such as
/// `feedback` and `facade` stay.
fn is_hex(text: &str) -> bool {
    text.len() >= 8
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && (text.len() >= 16 || text.bytes().any(|b| b.is_ascii_digit()))
}

/// Sixteen or more letters and digits of all three kinds without a word boundary, or twenty-four
/// of any kind: base64 and its kin.
fn is_token(text: &str) -> bool {
    if text.len() < 16 {
        return false;
    }
    if text.len() >= 24 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return true; // no word is that long
    }
    let text = text.trim_end_matches('=').trim_end_matches("%3D");
    let has = |kind: fn(&u8) -> bool| text.as_bytes().iter().any(kind);
    text.len() >= 16
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+~".contains(&b))
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        // Words joined by hyphens, with a number among them, are a title.
        && text.split(['-', '_']).any(|part| part.len() >= 12 && part.bytes().any(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> String {
        let mut out = String::new();
        normalise_into(path, &mut out);
        out
    }

    #[test]
    fn what_varies_is_replaced_and_what_names_stays() {
        for (path, route) in [
            ("/", "/"),
            ("/?q=1", "/"),
            ("/product/17?x=/1", "/product/{}"),
            ("/product/17/", "/product/{}/"),
            ("/downloads/product_1", "/downloads/product_1"),
            ("/u/6ba7b810-9dad-11d1-80b4-00c04fd430c8/x", "/u/{}/x"),
            ("/c/3f2a9c1b", "/c/{}"),
            ("/feedback/deadbeef", "/feedback/deadbeef"),
            ("/c/deadbeefdeadbeef", "/c/{}"),
            ("/t/dGhpcyBpcyBhIHRlc3Q0", "/t/{}"),
            ("/t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9==", "/t/{}"),
            ("/blog/My-long-title-of-2015-about-Things", "/blog/My-long-title-of-2015-about-Things"),
            ("/verify/eyJhbGciOi.eyJzdWIiOi.c2ln", "/verify/{}"),
            ("/reset/abcdefghijklmnopqrstuvwx", "/reset/{}"),
            ("/img/12345.jpg", "/img/{}.jpg"),
            ("/js/app.3f2a9c1b.js", "/js/app.{}.js"),
            ("/archive/2015-05-17", "/archive/{}"),
            ("/api/v1/stock/9", "/api/v1/stock/{}"),
            ("/shop;jsessionid=AB12/cart", "/shop/cart"),
            ("//a", "//a"),
        ] {
            assert_eq!(normal(path), route, "{path}");
        }
        assert!(normal(&format!("/{}", "x/".repeat(9000))).len() < 130);
    }

    fn route(r: &mut Router, path: &str, count: bool) -> Route {
        let mut route = Route { id: 0, name: "/".into() };
        r.route_into(path, count, &mut route);
        route
    }

    #[test]
    fn routes_are_bounded_dense_and_stable() {
        let mut r = Router::new(Namer::default(), 3);
        let paths = ["/a", "/b", "/a?x", "/c", "/d", "/e", "/d", "/b"];
        let ids: Vec<u32> = paths.iter().map(|p| route(&mut r, p, true).id).collect();
        assert_eq!(ids, [0, 1, 0, 2, 3, 3, 3, 1]);
        assert_eq!(&*route(&mut r, "/zzz", true).name, OTHER_ROUTES);
        assert_eq!(&*route(&mut r, "/again", false).name, OTHER_ROUTES);
        assert_eq!((r.folded(), r.folded_requests()), ((3, false), 4));
        assert_eq!((&*r.top_folded(9)[0].name, r.top_folded(9)[0].count), ("/d", 2));
    }

    #[test]
    fn own_patterns_name_routes_before_normalising_does() {
        let namer = Namer::new(["/users/{}/orders/**", "/users/**"].map(|p| p.parse().unwrap()).to_vec());
        let name = |path: &str| {
            let mut out = String::new();
            namer.name_into(path, &mut out);
            out
        };
        assert_eq!(name("/users/anna/orders/9?x=/y"), "/users/{}/orders/**");
        assert_eq!(name("/users/anna"), "/users/**");
        assert_eq!(name("/product/17"), "/product/{}");
        assert!("users".parse::<RoutePattern>().is_err() && "/a?b".parse::<RoutePattern>().is_err());
    }

    proptest! {
        #[test]
        fn remembered_routes_are_those_found_by_name(paths in prop::collection::vec("/[a-c]{1,2}(/[0-9]{1,2})?([?#][x/]?)?", 1..300), most in 1usize..12) {
            let (mut r, mut plain) = (Router::new(Namer::default(), most), Router::new(Namer::default(), most));
            let mut into = Route { id: 0, name: "/".into() };
            for path in &paths {
                r.route_into(path, true, &mut into);
                prop_assert_eq!(&into, &plain.find(path, true));
            }
            prop_assert_eq!((r.folded(), r.folded_requests()), (plain.folded(), plain.folded_requests()));
        }

        #[test]
        fn any_path_has_a_short_route_and_normalising_twice_changes_nothing(path in "/\\PC{0,200}") {
            let once = normal(&path);
            prop_assert!(once.starts_with('/') && once.len() <= MAX_NAME_BYTES + 3);
            if !once.ends_with('…') {
                prop_assert_eq!(normal(&once), once);
            }
        }
    }
}
