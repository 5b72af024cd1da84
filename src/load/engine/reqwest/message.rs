//! A rendered request, taken apart again for a client that puts requests together itself.
//!
//! Must not: change what is asked for, beyond what HTTP/2 and the URL standard require.

use ::reqwest::header::{CONNECTION, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use ::reqwest::{Body, Method, Request, Url};

/// Header fields that there is room for at first, and at the most.
const FIELDS: (usize, usize) = (32, 4096);

/// Where requests go, as a URL has it.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// `host[:port]` of the target, or the name that TLS asks for.
    pub(super) authority: String,
    /// The target's `host[:port]` as the rendering names it.
    pub(super) named: String,
    /// Over HTTP/2, where a request names its host in its URL alone (RFC 9113 section 8.3.1).
    pub(super) http2: bool,
    /// The host a request names may take the place of the authority in its URL.
    pub(super) may_change: bool,
}

/// Reads a request from its HTTP/1.1 bytes.
///
/// # Errors
/// Why no URL or request can be made of it.
pub(super) fn request(wire: &[u8], origin: &Origin) -> Result<Request, String> {
    let mut room = FIELDS.0;
    loop {
        let mut fields = vec![httparse::EMPTY_HEADER; room];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(wire) {
            Ok(httparse::Status::Complete(length)) => return build(&head, &wire[length..], origin),
            Err(httparse::Error::TooManyHeaders) if room < FIELDS.1 => room *= 4,
            Ok(httparse::Status::Partial) => return Err("its head has no end".into()),
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn build(head: &httparse::Request<'_, '_>, body: &[u8], origin: &Origin) -> Result<Request, String> {
    let method = head.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("the method `{method}`"))?;
    let path = head.path.filter(|p| p.starts_with('/')).ok_or("it asks for no path")?;
    let host = head.headers.iter().find(|f| f.name.eq_ignore_ascii_case("host")).map(|f| f.value);
    let url = url(path, host, origin)?;
    let mut request = Request::new(method, url);
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| format!("the field {}", field.name))?;
        let own = if origin.http2 { name == HOST } else { name == HOST && host == Some(origin.authority.as_bytes()) };
        // What is said of the connection is for HTTP/1.1 only (RFC 9113 section 8.2.2).
        if own || name == TRANSFER_ENCODING || (origin.http2 && name == CONNECTION) {
            continue;
        }
        let value = HeaderValue::from_bytes(field.value).map_err(|_| format!("the value of {}", field.name))?;
        request.headers_mut().append(name, value);
    }
    if !body.is_empty() {
        *request.body_mut() = Some(Body::from(body.to_vec()));
    }
    Ok(request)
}

fn url(path: &str, host: Option<&[u8]>, origin: &Origin) -> Result<Url, String> {
    let of = |authority: &str| {
        Url::parse(&format!("{}://{authority}{path}", origin.scheme)).map_err(|e| format!("its path makes no URL: {e}"))
    };
    let host = host.and_then(|h| std::str::from_utf8(h).ok()).filter(|h| *h != origin.named);
    if let Some(host) = host.filter(|_| origin.http2 && origin.may_change) {
        // By name only, and without a port: its connection goes to the target wherever that is,
        // and an address in a recording is no place that anybody has asked to be loaded.
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if !name.is_empty() && name.bytes().all(plain) {
            let url = of(name)?;
            if url.domain().is_some() {
                return Ok(url);
            }
        }
    }
    of(&origin.authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(http2: bool) -> Origin {
        let target = "127.0.0.1:8080".to_owned();
        Origin { scheme: "http", authority: target.clone(), named: target, http2, may_change: true }
    }

    const POST: &[u8] =
        b"POST /a?b=%2F HTTP/1.1\r\nHost: shop.example:99\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn a_request_stays_what_it_was() {
        let r = request(POST, &origin(false)).unwrap();
        assert_eq!((r.method().as_str(), r.url().as_str()), ("POST", "http://127.0.0.1:8080/a?b=%2F"));
        let of = |name: &str| r.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((of("host"), of("x-a"), of("connection")), (vec!["shop.example:99"], vec!["1", "2"], vec!["close"]));
        assert_eq!(r.body().unwrap().as_bytes(), Some(&b"hi"[..]));
    }

    #[test]
    fn over_http2_the_host_is_in_the_url_and_its_connection_goes_to_the_target() {
        let r = request(POST, &origin(true)).unwrap();
        assert_eq!(r.url().as_str(), "http://shop.example/a?b=%2F");
        assert!(r.headers().get("host").is_none() && r.headers().get("connection").is_none());
        let fixed = Origin { may_change: false, ..origin(true) };
        assert_eq!(request(POST, &fixed).unwrap().url().as_str(), "http://127.0.0.1:8080/a?b=%2F");
        // Addresses in any notation that the URL standard takes for one.
        for host in ["10.9.8.7", "0x0a090807", "168364039", "[::1]:80", "a b", "a/b", ""] {
            let wire = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(
                request(wire.as_bytes(), &origin(true)).unwrap().url().as_str(),
                "http://127.0.0.1:8080/",
                "{host}"
            );
        }
    }

    #[test]
    fn what_makes_no_request_says_why() {
        for wire in
            ["OPTIONS * HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n", "GET http://elsewhere/ HTTP/1.1\r\n\r\n"]
        {
            assert!(request(wire.as_bytes(), &origin(false)).is_err(), "{wire}");
        }
        let fields: String = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(request(many.as_bytes(), &origin(false)).unwrap().headers().len(), 500);
    }
}
