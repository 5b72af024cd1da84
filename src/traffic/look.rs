//! What there is to replay, as a look at it shows: counts by what requests are, their rate over
//! time, and what they lack for a faithful replay.
//!
//! Must not: hold a request, or the value of a header field; grow with the recording.

use super::distinct::Distinct;
use super::rates::Rates;
use crate::model::{Method, RecordedStatus, Request, Route};
use std::collections::{BTreeMap, HashMap};

/// Hosts that have a count of their own, and names of header fields.
const MAX_NAMES: usize = 1000;

/// Methods that have a count of their own.
const MAX_METHODS: usize = 32;

/// What all further hosts, methods or header fields count under.
const OTHER: &str = "(other)";

/// What is gathered over the requests that would be replayed.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// When they come; those that have a time.
    pub rates: Rates,
    /// How many they are.
    pub requests: u64,
    /// Requests with a body.
    pub bodies: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Requests of methods that carry content (POST, PUT, PATCH), without any.
    pub without_body: u64,
    /// Requests that name no host.
    pub without_host: u64,
    /// Requests whose client is not recorded.
    pub without_client: u64,
    /// Requests whose recorded status is not to come again ([`RecordedStatus`]).
    pub not_again: u64,
    /// Requests with an Authorization, Proxy-Authorization or Cookie field.
    pub with_secrets: u64,
    methods: Vec<(Method, u64)>,
    other_methods: u64,
    statuses: BTreeMap<Option<u16>, u64>,
    hosts: Names,
    fields: Names,
    routes: Vec<(Route, u64)>,
    clients: Distinct,
}

/// Counts by name, bounded.
#[derive(Clone, Debug, Default)]
struct Names {
    counts: HashMap<String, u64, foldhash::fast::RandomState>,
    other: u64,
}

impl Names {
    fn note(&mut self, name: &str) {
        if let Some(n) = self.counts.get_mut(name) {
            *n += 1;
        } else if self.counts.len() < MAX_NAMES {
            self.counts.insert(name.to_owned(), 1);
        } else {
            self.other += 1;
        }
    }

    fn most(&self) -> Vec<(&str, u64)> {
        sorted(self.counts.iter().map(|(name, n)| (name.as_str(), *n)), self.other)
    }
}

/// The most frequent first, by name among equals; `other`, the sum of the rest, last.
fn sorted<'a>(counts: impl Iterator<Item = (&'a str, u64)>, other: u64) -> Vec<(&'a str, u64)> {
    let mut all: Vec<(&str, u64)> = counts.collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    all.extend((other > 0).then_some((OTHER, other)));
    all
}

/// Whether a header field of this name proves who the sender is.
pub fn is_secret_field(name: &str) -> bool {
    ["authorization", "proxy-authorization", "cookie"].iter().any(|s| name.eq_ignore_ascii_case(s))
}

impl Look {
    /// Notes a request; they come in time order. `has_time` unless its time is only a place in an
    /// order ([`super::Reader::has_time`]).
    pub fn note(&mut self, r: &Request, has_time: bool) {
        self.requests += 1;
        if has_time {
            self.rates.note(r.recorded_unix_ns);
        }
        if let Some((_, n)) = self.methods.iter_mut().find(|(m, _)| *m == r.method) {
            *n += 1;
        } else if self.methods.len() < MAX_METHODS {
            self.methods.push((r.method.clone(), 1));
        } else {
            self.other_methods += 1;
        }
        *self.statuses.entry(r.recorded_status).or_default() += 1;
        let sends = |name: &str| r.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let recorded = r.recorded_status.map(|status| RecordedStatus::of(status, sends));
        self.not_again += u64::from(recorded.is_some_and(RecordedStatus::is_not_to_come_again));
        match &r.host {
            Some(host) => self.hosts.note(host),
            None => self.without_host += 1,
        }
        let id = r.route.id as usize;
        while self.routes.len() <= id {
            self.routes.push((r.route.clone(), 0)); // ids are dense: a new one is the next
        }
        self.routes[id].1 += 1;
        let carries_content = matches!(r.method, Method::Post | Method::Put | Method::Patch);
        if r.body.0.is_empty() {
            self.without_body += u64::from(carries_content);
        } else {
            self.bodies += 1;
            self.body_bytes = self.body_bytes.saturating_add(r.body.0.len() as u64);
        }
        match r.client {
            0 => self.without_client += 1,
            client => self.clients.note(client),
        }
        self.with_secrets += u64::from(r.headers.iter().any(|(name, _)| is_secret_field(name)));
        for (n, (name, _)) in r.headers.iter().enumerate() {
            // A field that comes twice counts once.
            if !r.headers[..n].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                self.fields.note(name);
            }
        }
    }

    /// Requests by method, the most frequent first.
    pub fn methods(&self) -> Vec<(&str, u64)> {
        sorted(self.methods.iter().map(|(m, n)| (m.as_str(), *n)), self.other_methods)
    }

    /// Requests by the status they were answered with, in order; `None` where the recording does
    /// not say.
    pub fn statuses(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        self.statuses.iter().map(|(s, n)| (*s, *n))
    }

    /// Requests by host, the most frequent first; those without are not among them.
    pub fn hosts(&self) -> Vec<(&str, u64)> {
        self.hosts.most()
    }

    /// Requests by route, the most frequent first.
    pub fn routes(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.routes.iter().map(|(r, n)| (&*r.name, *n)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all
    }

    /// Requests by the header fields they carry, the most frequent first: names only.
    pub fn fields(&self) -> Vec<(&str, u64)> {
        self.fields.most()
    }

    /// Different clients, at least; and whether there were more than were told apart.
    pub fn clients(&self) -> (u64, bool) {
        (self.clients.count(), self.clients.overflowed())
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;
    use crate::model::Body;

    fn request(method: Method, route: (u32, &str), status: Option<u16>) -> Request {
        let route = Route { id: route.0, name: route.1.into() };
        Request { method, route, recorded_status: status, ..Reader::blank() }
    }

    #[test]
    fn requests_count_by_what_they_are_and_by_what_they_lack() {
        let mut look = Look::default();
        look.note(&request(Method::Get, (0, "/a"), Some(200)), true);
        let mut post = request(Method::Post, (1, "/b"), Some(500));
        look.note(&post, true);
        post.body = Body(b"{}".to_vec());
        post.host = Some("h".into());
        post.client = 7;
        post.headers = vec![("Cookie".into(), "s".into()), ("cookie".into(), "t".into())];
        look.note(&post, true);
        assert_eq!(look.methods(), [("POST", 2), ("GET", 1)]);
        assert_eq!(look.statuses().collect::<Vec<_>>(), [(Some(200), 1), (Some(500), 2)]);
        assert_eq!(look.routes(), [("/b", 2), ("/a", 1)]);
        assert_eq!((look.hosts(), look.without_host, look.without_client), (vec![("h", 1)], 2, 2));
        look.note(&request(Method::Get, (0, "/a"), Some(304)), true);
        assert_eq!(look.not_again, 1);
        assert_eq!((look.bodies, look.body_bytes, look.without_body), (1, 2, 1));
        assert_eq!((look.fields(), look.with_secrets), (vec![("Cookie", 1)], 1));
    }

    #[test]
    fn hosts_are_bounded_and_none_is_lost() {
        let mut names = Names::default();
        for n in 0..MAX_NAMES * 2 {
            names.note(&n.to_string());
        }
        let most = names.most();
        assert_eq!((most.len(), most.last()), (MAX_NAMES + 1, Some(&(OTHER, MAX_NAMES as u64))));
    }
}
