//! The notation of nginx's `log_format`: what its `$variables` mean here.
//!
//! Must not: read a line; know another server's notation.

use super::time::Unit;

/// What a field of a pattern is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Address or name of the client.
    Client,
    /// `X-Forwarded-For`: its first address outranks [`Slot::Client`], which is a proxy's then.
    ForwardedFor,
    /// `17/May/2015:08:05:32 +0000`
    TimeLocal,
    /// `2015-05-17T08:05:32+00:00`
    TimeIso8601,
    /// A count since the Unix epoch.
    TimeUnix(Unit),
    /// A piece of a time in the notation of strftime(3); the pieces of a line make one time.
    TimePiece,
    /// The fraction of the second of a whole-second time, a number in this unit.
    Fraction(Unit),
    /// The whole request line.
    Request,
    /// The method.
    Method,
    /// Path and query.
    Target,
    /// The path; [`Slot::Query`] belongs to it.
    Path,
    /// The query, with or without its `?`.
    Query,
    /// The virtual host; what a lower number calls it is nearer to what the client sent.
    Host(u8),
    /// The port of the virtual host.
    Port,
    /// Status of the response.
    Status,
    /// Size of the response.
    Bytes,
    /// The Referer header.
    Referer,
    /// The User-Agent header.
    UserAgent,
    /// How long the request took.
    Duration(Unit),
    /// Another header field of the request, by its place in the pattern's list of names.
    Header(u8),
    /// Matched and passed over.
    Ignored,
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that stands in every line.
    Text(Vec<u8>),
    /// A field, and what the pattern calls it.
    Field(Slot, String),
}

/// How a log protects characters inside fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Escapes {
    /// nginx's own, `\xHH`, and Apache's, `\"`, `\\`, `\n`: one reader for both.
    #[default]
    Default,
    /// Those of a JSON string: nginx `escape=json`.
    Json,
    /// Not at all: nginx `escape=none`.
    None,
}

/// A pattern taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Its pieces in their order.
    pub(super) pieces: Vec<Piece>,
    /// Names of the header fields that [`Slot::Header`] counts.
    pub(super) headers: Vec<String>,
    /// The formats of the fields that are [`Slot::TimePiece`], in their order.
    pub(super) times: Vec<String>,
}

impl Pieces {
    /// Appends text.
    pub(super) fn text(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        match self.pieces.last_mut() {
            Some(Piece::Text(before)) => before.extend_from_slice(text),
            _ => self.pieces.push(Piece::Text(text.to_vec())),
        }
    }

    /// Appends a field.
    pub(super) fn field(&mut self, slot: Slot, name: impl Into<String>) {
        match (slot, self.pieces.last_mut()) {
            // `%U%q`: a query carries its `?` there.
            (Slot::Query, Some(Piece::Field(path @ Slot::Path, _))) => *path = Slot::Target,
            _ => self.pieces.push(Piece::Field(slot, name.into())),
        }
    }

    /// The slot of the request header `name`.
    pub(super) fn header(&mut self, name: &str) -> Slot {
        let same = |n: &str| name.eq_ignore_ascii_case(n);
        if same("Referer") {
            return Slot::Referer;
        }
        if same("User-Agent") {
            return Slot::UserAgent;
        }
        if same("Host") {
            return Slot::Host(0);
        }
        if same("X-Forwarded-For") {
            return Slot::ForwardedFor;
        }
        match u8::try_from(self.headers.len()) {
            Ok(n) if n < MAX_HEADERS => {
                self.headers.push(name.to_owned());
                Slot::Header(n)
            }
            _ => Slot::Ignored,
        }
    }
}

/// Header fields of one pattern that are taken along; what comes after them is passed over.
pub(super) const MAX_HEADERS: u8 = 32;

/// The variables that mean something here; all others are matched and passed over. The names
/// are nginx's where nginx has one (ngx_http_core_module, ngx_http_log_module, and
/// ngx_http_upstream_module for none of its own).
const VARIABLES: &[(&str, Slot)] = &[
    ("remote_addr", Slot::Client),
    ("time_local", Slot::TimeLocal),
    ("time_iso8601", Slot::TimeIso8601),
    ("msec", Slot::TimeUnix(Unit::Seconds)),
    ("request", Slot::Request),
    ("request_method", Slot::Method),
    ("request_uri", Slot::Target),
    ("uri", Slot::Path),
    ("document_uri", Slot::Path),
    ("args", Slot::Query),
    ("query_string", Slot::Query),
    ("http_host", Slot::Host(0)),
    ("host", Slot::Host(1)),
    ("server_name", Slot::Host(2)),
    ("server_port", Slot::Port),
    ("status", Slot::Status),
    ("body_bytes_sent", Slot::Bytes),
    ("bytes_sent", Slot::Bytes),
    ("content_type", Slot::Header(0)), // the request's; replaced by its place in the list
    ("request_time", Slot::Duration(Unit::Seconds)),
    ("request_time_ms", Slot::Duration(Unit::Milliseconds)),
    ("request_time_us", Slot::Duration(Unit::Microseconds)),
];

/// Takes a `log_format` string apart. The error says what is wrong with it.
pub(super) fn nginx(pattern: &str) -> Result<Pieces, String> {
    let mut out = Pieces::default();
    // What `$uri$is_args$args` comes to is one field: path and query.
    let pattern = &TARGET_IN_PARTS.iter().fold(pattern.to_owned(), |p, parts| p.replace(parts, "$request_uri"));
    let mut rest = &pattern[..];
    while let Some(at) = rest.find('$') {
        out.text(&rest.as_bytes()[..at]);
        let (name, after) =
            variable(&rest[at + 1..]).ok_or_else(|| format!("a $ without a name at: {}", &rest[at..]))?;
        let slot = match VARIABLES.iter().find(|(n, _)| *n == name) {
            Some((_, Slot::Header(_))) => out.header(&name.replace('_', "-")),
            Some((_, slot)) => *slot,
            None => match name.strip_prefix("http_") {
                Some(header) => out.header(&header_name(header)),
                None => Slot::Ignored,
            },
        };
        out.field(slot, format!("${name}"));
        rest = after;
    }
    out.text(rest.as_bytes());
    Ok(out)
}

/// How `log_format`s write path and query, besides `$request_uri`.
const TARGET_IN_PARTS: &[&str] =
    &["$uri$is_args$args", "$uri$is_args$query_string", "$document_uri$is_args$args", "${uri}${is_args}${args}"];

/// The name behind a `$`, with or without braces, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at(text.find(|c| !part(c)).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.chars().all(part)).then_some((name, after))
}

/// `x_request_id` as `X-Request-Id`: what nginx made of a header's name, undone as far as it can be.
fn header_name(variable: &str) -> String {
    let word = |w: &str| {
        let mut letters = w.chars();
        letters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    variable.split('_').map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(pattern: &str) -> Vec<Slot> {
        let pieces = nginx(pattern).unwrap().pieces;
        pieces.iter().filter_map(|p| if let Piece::Field(slot, _) = p { Some(*slot) } else { None }).collect()
    }

    #[test]
    fn variables_have_their_meaning() {
        assert_eq!(slots("$msec ${request}x"), [Slot::TimeUnix(Unit::Seconds), Slot::Request]);
        assert_eq!(slots("$uri$is_args$args $uri $args"), [Slot::Target, Slot::Path, Slot::Query]);
        assert_eq!(slots("$upstream_addr $http_referer"), [Slot::Ignored, Slot::Referer]);
        let own = nginx("$http_x_request_id $http_accept $http_host $content_type").unwrap();
        assert_eq!(own.headers, ["X-Request-Id", "Accept", "content-type"]);
        assert!(nginx("a $ b").unwrap_err().contains("without a name"));
    }

    #[test]
    fn more_headers_than_are_taken_are_passed_over() {
        let pattern: String = (0..40).map(|n| format!("$http_h{n} ")).collect();
        let own = nginx(&pattern).unwrap();
        assert_eq!(own.headers.len(), usize::from(MAX_HEADERS));
        assert_eq!(own.pieces.len(), 80);
    }
}
