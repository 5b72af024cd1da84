//! A request as recorded traffic describes it, before any engine renders it.
//!
//! Must not: know a log format, or how a request is sent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A request method, as an RFC 9110 token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: its response has no body.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// PATCH
    Patch,
    /// Any other token.
    Other(Box<str>),
}

impl Method {
    /// The method named by a token; `None` when `token` is none (RFC 9110 section 5.6.2) or
    /// longer than 24 bytes.
    pub fn parse(token: &[u8]) -> Option<Method> {
        Some(match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            other => {
                let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
                if other.is_empty() || other.len() > 24 || !other.iter().all(token) {
                    return None;
                }
                Method::Other(std::str::from_utf8(other).ok()?.into())
            }
        })
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Other(token) => token,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The normalised path a request counts under, with a small number for the hot path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Dense, from 0, stable within one run; bounded by the router.
    pub id: u32,
    /// The normalised path.
    pub name: Arc<str>,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(
    /// Its bytes, empty for none.
    pub Vec<u8>,
);

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was made, ns since the Unix epoch, after sub-second spreading.
    pub recorded_unix_ns: i64,
    /// Its method.
    pub method: Method,
    /// Path and query in origin form: starts with `/`, holds no byte below 0x21 and no 0x7f.
    pub path: String,
    /// The host it named, if the recording says.
    pub host: Option<String>,
    /// Header fields to send besides those the engine writes. Without CR or LF.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Body,
    /// What it counts under.
    pub route: Route,
    /// Who made it, as a stable hash of what the recording calls its client; 0 when it does not say.
    pub client: u64,
    /// The status it was answered with when it was recorded.
    pub recorded_status: Option<u16>,
}
