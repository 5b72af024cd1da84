//! Requests rendered to wire bytes ahead of time, many in one piece of memory, so that a
//! worker only writes a slice.
//!
//! Must not: open sockets or know when a request is due.

use crate::model::{Method, RecordedStatus, Request, Route};
use std::io::Write as _;

/// An arena of so many bytes is handed over, however few its requests are.
const FULL_BYTES: usize = 1 << 20;

/// Rendered requests. Immutable once handed over, so that a repeated recording is rendered
/// once.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// One rendered request of an [`Arena`].
#[derive(Clone, Debug)]
pub(crate) struct Item {
    start: u32,
    end: u32,
    /// Recorded time after that of the recording's first request, ns.
    pub(crate) recorded_ns: u64,
    /// Its response has no body.
    pub(crate) is_head: bool,
    /// Sending it twice does no harm (RFC 9110 section 9.2.2).
    pub(crate) is_idempotent: bool,
    /// Who made it, 0 when the recording does not say.
    pub(crate) client: u64,
    /// The status it was answered with when it was recorded.
    pub(crate) recorded_status: Option<RecordedStatus>,
    /// What it counts under.
    pub(crate) route: Route,
}

impl Arena {
    /// An empty one with room for `n` requests like those of this one.
    pub(crate) fn another(&self, n: usize) -> Arena {
        let bytes = self.bytes.len().saturating_mul(n) / self.len().max(1);
        // An eighth more: the next ones are not quite of the same length, and growing doubles.
        Arena { bytes: Vec::with_capacity((bytes + bytes / 8).min(FULL_BYTES)), items: Vec::with_capacity(n) }
    }

    /// Adds a request.
    pub(crate) fn push(&mut self, request: &Request, recorded_ns: u64, rendering: &Rendering) {
        let start = self.bytes.len() as u32;
        rendering.render(request, &mut self.bytes);
        self.items.push(Item {
            start,
            end: self.bytes.len() as u32,
            recorded_ns,
            is_head: request.method == Method::Head,
            is_idempotent: matches!(
                request.method,
                Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options
            ),
            client: request.client,
            recorded_status: request
                .recorded_status
                .map(|s| RecordedStatus::of(s, |name| rendering.sends(request, name))),
            route: request.route.clone(),
        });
    }

    /// A copy of the first `n` requests.
    pub(crate) fn first(&self, n: usize) -> Arena {
        let items = self.items[..n.min(self.items.len())].to_vec();
        let end = items.last().map_or(0, |i| i.end as usize);
        Arena { bytes: self.bytes[..end].to_vec(), items }
    }

    /// Takes all requests out; the memory stays.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }

    /// How many requests.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of memory it holds.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.items.capacity() * size_of::<Item>()
    }

    /// Whether it should be handed over: enough requests, or enough bytes.
    pub(crate) fn is_full(&self, most: usize) -> bool {
        self.items.len() >= most || self.bytes.len() > FULL_BYTES
    }

    /// A request.
    pub(crate) fn item(&self, n: usize) -> &Item {
        &self.items[n]
    }

    /// A request's wire bytes.
    pub(crate) fn wire(&self, item: &Item) -> &[u8] {
        &self.bytes[item.start as usize..item.end as usize]
    }
}

/// How requests become HTTP/1.1 bytes.
#[derive(Clone, Debug, Default)]
pub struct Rendering {
    /// Host of the target with its port, sent unless the request or `host` says otherwise.
    pub authority: String,
    /// Host to send whatever was recorded.
    pub host: Option<String>,
    /// Path put before every recorded path, without a slash at its end; usually empty.
    pub base_path: String,
    /// Header fields to send with every request, replacing recorded ones of the same name.
    pub headers: Vec<(String, String)>,
    /// Ask the target to close the connection after the response.
    pub close: bool,
}

impl Rendering {
    /// Whether a header field goes out with a request; not those that this side always decides on.
    fn sends(&self, r: &Request, name: &str) -> bool {
        let named = |other: &str| other.eq_ignore_ascii_case(name);
        r.headers.iter().any(|(n, _)| named(n)) || self.headers.iter().any(|(n, _)| named(n))
    }

    /// Appends the wire bytes of a request (RFC 9112).
    pub fn render(&self, r: &Request, out: &mut Vec<u8>) {
        let named = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        put(out, &[r.method.as_str(), " ", &self.base_path, &r.path, " HTTP/1.1\r\n"]);
        if !named("host") {
            let host = self.host.as_deref().or(r.host.as_deref()).unwrap_or(&self.authority);
            put(out, &["Host: ", host, "\r\n"]);
        }
        let mut agent = named("user-agent");
        for (name, value) in &r.headers {
            if !named(name) && !OWN_FIELDS.iter().any(|f| name.eq_ignore_ascii_case(f)) {
                agent |= name.eq_ignore_ascii_case("user-agent");
                put(out, &[name, ": ", value, "\r\n"]);
            }
        }
        for (name, value) in &self.headers {
            put(out, &[name, ": ", value, "\r\n"]);
        }
        if !agent {
            put(out, &["User-Agent: perfbench/", env!("CARGO_PKG_VERSION"), "\r\n"]);
        }
        if self.close && !named("connection") {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        // RFC 9110 section 8.6: a method that expects content sends its length, even 0.
        if !r.body.0.is_empty() || matches!(r.method, Method::Post | Method::Put | Method::Patch) {
            let _ = write!(out, "Content-Length: {}\r\n", r.body.0.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&r.body.0);
    }
}

/// Appends texts. Every recorded request goes through here, and formatting costs five times as much.
fn put(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|t| out.extend_from_slice(t.as_bytes()));
}

/// Recorded fields that describe the recorded connection, not the request.
const OWN_FIELDS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "keep-alive"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Body;

    fn request() -> Request {
        Request {
            recorded_unix_ns: 0,
            method: Method::Get,
            path: "/a?b=1".into(),
            host: None,
            headers: vec![("User-Agent".into(), "curl/8".into()), ("Connection".into(), "upgrade".into())],
            body: Body::default(),
            route: Route { id: 0, name: "/a".into() },
            client: 0,
            recorded_status: None,
        }
    }

    fn text(rendering: &Rendering, r: &Request) -> String {
        let mut out = Vec::new();
        rendering.render(r, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_recorded_request_is_sent_but_for_its_connection_fields() {
        let plain = Rendering { authority: "t:80".into(), ..Rendering::default() };
        assert_eq!(text(&plain, &request()), "GET /a?b=1 HTTP/1.1\r\nHost: t:80\r\nUser-Agent: curl/8\r\n\r\n");
        let post = Request { method: Method::Post, host: Some("shop".into()), ..request() };
        assert_eq!(
            text(&Rendering { close: true, ..plain }, &post),
            "POST /a?b=1 HTTP/1.1\r\nHost: shop\r\nUser-Agent: curl/8\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn fields_the_user_gave_replace_recorded_ones() {
        let own = Rendering {
            authority: "t".into(),
            host: Some("h".into()),
            base_path: "/v2".into(),
            headers: vec![("user-agent".into(), "me".into())],
            close: false,
        };
        assert_eq!(text(&own, &request()), "GET /v2/a?b=1 HTTP/1.1\r\nHost: h\r\nuser-agent: me\r\n\r\n");
    }

    #[test]
    fn an_arena_gives_back_what_was_put_in() {
        let mut a = Arena::default();
        let plain = Rendering { authority: "t".into(), ..Rendering::default() };
        a.push(&request(), 5, &plain);
        a.push(&Request { method: Method::Head, ..request() }, 9, &plain);
        let second = a.item(1);
        assert!(a.wire(second).starts_with(b"HEAD /a") && a.wire(second).ends_with(b"\r\n\r\n"));
        assert_eq!((a.len(), second.is_head, second.recorded_ns), (2, true, 9));
    }
}
