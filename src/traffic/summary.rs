//! What a recording holds, whether replayed or not.
//!
//! Must not: grow with the log.

use super::distinct::Distinct;
use super::record::{Record, TimeIs};
use super::request_line::RequestLine;
use super::time::Stamp;
use super::top::Frequent;
use super::values::{holds, same};
use std::collections::BTreeMap;

/// Methods that have a count of their own.
const MAX_METHODS: usize = 32;

/// What a recording holds: every line that is in the log format counts, replayed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines in the log format.
    pub records: u64,
    /// Requests by method, most frequent first. At most 32, and `other`.
    pub methods: Vec<(String, u64)>,
    /// Lines by response status.
    pub statuses: BTreeMap<u16, u64>,
    /// Response bytes as the log counts them: bodies in nginx's `combined`, bodies and heads in
    /// Apache's `vhost_combined`.
    pub response_bytes: u64,
    /// Lines whose client is an IPv4 address or a name.
    pub ipv4_lines: u64,
    /// Lines whose client is an IPv6 address.
    pub ipv6_lines: u64,
    /// Different clients, at least: past 65 536 they are not told apart.
    pub clients: u64,
    /// Whether there were more clients than were told apart.
    pub more_clients: bool,
    /// The earliest time, ns since the Unix epoch; of recordings that have times.
    pub first_unix_ns: Option<i64>,
    /// The latest time, ns since the Unix epoch.
    pub last_unix_ns: Option<i64>,
    /// Lines whose time lies before that of the line just before: what a look at the log shows as
    /// disorder. The ledger's `out_of_order` compares with every earlier line and is larger.
    pub steps_back: u64,
    /// Header fields left out of requests: control characters, not UTF-8, or names that are none.
    pub headers_left_out: u64,
    /// Lines (records) without a time.
    pub untimed_lines: u64,
    /// Lines whose time ends at the second.
    pub whole_second_lines: u64,
    /// Lines that say how long the request took.
    pub duration_lines: u64,
    /// Lines whose time is the end of the request, without saying how long it took: they are
    /// replayed late by that.
    pub end_only_lines: u64,
    /// Routes that count under [`super::OTHER_ROUTES`], at least.
    pub folded_routes: u64,
    /// Whether there were more of them than were told apart.
    pub more_folded_routes: bool,
    /// Requests that count there.
    pub folded_requests: u64,
    /// The most frequent of those routes, at most 10: the names that a larger bound would show.
    pub top_folded: Vec<Frequent>,
}

/// Gathers a [`Summary`].
pub(super) struct Gathering {
    summary: Summary,
    statuses: Box<[u64; 1000]>,
    /// GET, which nearly all are, has a count that need not be looked for.
    gets: u64,
    methods: Vec<(Box<[u8]>, u64)>,
    other_methods: u64,
    clients: Distinct,
}

impl Default for Gathering {
    fn default() -> Self {
        Gathering {
            summary: Summary::default(),
            statuses: Box::new([0; 1000]),
            gets: 0,
            methods: Vec::new(),
            other_methods: 0,
            clients: Distinct::default(),
        }
    }
}

impl Gathering {
    /// Counts a line of the format. `previous` is the time of the one before it in its file.
    /// `client` is the hash of its client's name.
    pub(super) fn note(&mut self, record: &Record<'_>, at: Option<Stamp>, previous: Option<i64>, client: u64) {
        let s = &mut self.summary;
        s.records += 1;
        if let Some(n) = record.status.and_then(|code| self.statuses.get_mut(usize::from(code))) {
            *n += 1;
        }
        s.response_bytes = s.response_bytes.saturating_add(record.bytes.unwrap_or(0));
        if let Some(name) = record.client {
            let is_dotted =
                matches!(name, [b'0'..=b'9', b'.', ..] | [b'0'..=b'9', _, b'.', ..] | [b'0'..=b'9', _, _, b'.', ..]);
            let v6 = !is_dotted && holds(b':', name) && name != b"unix:";
            *(if v6 { &mut s.ipv6_lines } else { &mut s.ipv4_lines }) += 1;
        }
        if client != 0 {
            self.clients.note(client);
        }
        let Some(at) = at else { return };
        s.steps_back += u64::from(previous.is_some_and(|p| at.unix_ns < p));
        s.first_unix_ns = Some(s.first_unix_ns.map_or(at.unix_ns, |t| t.min(at.unix_ns)));
        s.last_unix_ns = Some(s.last_unix_ns.map_or(at.unix_ns, |t| t.max(at.unix_ns)));
    }

    /// Counts the status of a response that is a record of its own.
    pub(super) fn note_status(&mut self, status: u16) {
        if let Some(n) = self.statuses.get_mut(usize::from(status)) {
            *n += 1;
        }
    }

    /// Counts what is known of a line's time.
    pub(super) fn note_time(&mut self, record: &Record<'_>, timed: bool) {
        let s = &mut self.summary;
        if !timed {
            s.untimed_lines += 1;
            return;
        }
        s.whole_second_lines += u64::from(record.time.whole_second);
        match record.duration_ns {
            Some(_) => s.duration_lines += 1,
            None => s.end_only_lines += u64::from(record.time_is == TimeIs::End),
        }
    }

    /// Counts a request by its method.
    #[inline]
    pub(super) fn note_method(&mut self, request: &RequestLine<'_>) {
        if request.is_get {
            self.gets += 1;
        } else {
            self.note_other_method(request.method);
        }
    }

    fn note_other_method(&mut self, method: &[u8]) {
        if let Some((_, n)) = self.methods.iter_mut().find(|(m, _)| same(m, method)) {
            *n += 1;
        } else if self.methods.len() < MAX_METHODS - 1 {
            self.methods.push((method.into(), 1));
        } else {
            self.other_methods += 1;
        }
    }

    /// Counts header fields that cannot be sent.
    pub(super) fn note_headers_left_out(&mut self, n: u64) {
        self.summary.headers_left_out += n;
    }

    /// What was gathered so far.
    pub(super) fn summary(&self) -> Summary {
        let mut s = self.summary.clone();
        s.statuses = (0u16..).zip(self.statuses.iter()).filter(|(_, n)| **n > 0).map(|(code, n)| (code, *n)).collect();
        let text = |m: &[u8]| String::from_utf8_lossy(m).into_owned();
        s.methods.extend((self.gets > 0).then(|| ("GET".to_owned(), self.gets)));
        s.methods.extend(self.methods.iter().map(|(m, n)| (text(m), *n)));
        if self.other_methods > 0 {
            s.methods.push(("other".into(), self.other_methods));
        }
        s.methods.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        (s.clients, s.more_clients) = (self.clients.count(), self.clients.overflowed());
        s
    }
}
