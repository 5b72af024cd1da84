//! A response as a check or a scenario sees it, and what a check can refuse it for.
//!
//! Must not: outlive the response; nothing here is kept in a session but the kind of a refusal.

/// A whole response.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status, 100 to 999.
    pub status: u16,
    /// Status line and header fields as received; empty unless they were asked for.
    pub head: &'a [u8],
    /// Its body with transfer codings removed; empty unless it was asked for.
    pub body: &'a [u8],
    /// Whether the body was longer than the bound and its end is missing.
    pub is_cut: bool,
    /// Whether it answers a HEAD: no body comes then (RFC 9110 section 9.3.2).
    pub is_of_head: bool,
}

/// What of a response was not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// The status is none of those expected.
    Status,
    /// The status is another than when the request was recorded.
    Recorded,
    /// A header field is missing or other than expected.
    Header,
    /// The body does not hold the text expected.
    Body,
    /// The body is no JSON, or a field of it is missing or other than expected.
    Json,
    /// The body was longer than what is kept for checks, so it could not be judged.
    Cut,
    /// What a later request needs was not in the response.
    Capture,
}
