//! Which engine makes the load, as options: what only the `reqwest` engine does chooses it.
//!
//! Must not: open connections, but for the first look whether a proxy is there at all.

use super::args::{Connection, RunArgs};
use super::target::Target;
use crate::load::engine::ENGINES;
use crate::load::{Http, Proxy, TlsOptions};
use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// The engine of what only it does.
const REQWEST: &str = "reqwest";
/// Most redirects that one request may be sent through.
const MOST_REDIRECTS: i64 = 100;

/// Options of the engine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct EngineArgs {
    /// Engine; by default h1, or reqwest when an option needs it: --http2, --proxy, --redirects, --cookies
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(ENGINES.iter().map(|e| e.name())), help_heading = "Engine")]
    pub(super) engine: Option<String>,
    /// Speak HTTP/2: agreed on in the TLS handshake at https://, taken as known at http://. --connections
    /// are then requests at a time, --streams of them on each connection
    #[arg(long, help_heading = "Engine")]
    pub(super) http2: bool,
    /// With --http2: requests at a time that share a connection (one, with --cookies)
    #[arg(long, value_name = "N", default_value_t = Http::STREAMS, requires = "http2", value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Engine")]
    pub(super) streams: u32,
    /// Go through a proxy: http://, https://, socks5:// (names looked up here) or socks5h:// (by the
    /// proxy), [USER:PASSWORD@]HOST[:PORT]
    #[arg(long, value_name = "URL", value_parser = proxy, help_heading = "Engine")]
    pub(super) proxy: Option<ProxyAddress>,
    /// Follow up to N redirects that lead to the target itself; without it, a 3xx is an outcome
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_REDIRECTS), help_heading = "Engine")]
    pub(super) redirects: Option<u32>,
    /// Keep the cookies each connection is given, and send them back on it
    #[arg(long, help_heading = "Engine")]
    pub(super) cookies: bool,
}

/// A proxy as it is given.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ProxyAddress {
    scheme: &'static str,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

impl std::fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown()) // no password
    }
}

impl ProxyAddress {
    /// As shown: without credentials.
    fn shown(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }

    /// Whether it looks up the target's name.
    pub(super) fn looks_up(&self) -> bool {
        self.scheme != "socks5"
    }
}

impl EngineArgs {
    /// What of these options only reqwest serves.
    fn wishes(&self) -> Vec<&'static str> {
        [
            (self.http2, "--http2"),
            (self.proxy.is_some(), "--proxy"),
            (self.redirects.is_some(), "--redirects"),
            (self.cookies, "--cookies"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect()
    }

    /// The engine, and the options for which it was chosen; empty when it is the default or was
    /// asked for.
    pub(super) fn chosen(&self) -> (&'static str, String) {
        let wishes = self.wishes();
        let asked = self.engine.as_ref().and_then(|name| ENGINES.iter().find(|e| e.name() == name));
        match asked {
            Some(engine) => (engine.name(), String::new()),
            None if wishes.is_empty() => (ENGINES[0].name(), String::new()),
            None => (REQWEST, wishes.join(" and ")),
        }
    }

    /// What is asked of HTTP.
    pub(super) fn http(&self) -> Http {
        Http {
            version2: self.http2,
            streams: self.streams,
            redirects: self.redirects.unwrap_or(0),
            cookies: self.cookies,
        }
    }
}

/// Says in one line which two options don't go together.
///
/// # Errors
/// When the engine can't do what is asked of it.
pub(super) fn check(args: &RunArgs, target: &Target) -> anyhow::Result<()> {
    let close = args.connection == Connection::Close;
    if close && args.requests_per_connection.is_some() {
        bail!("--connection close and --requests-per-connection don't go together: the former means one");
    }
    let wishes = args.engine.wishes();
    let (engine, _) = args.engine.chosen();
    if engine != REQWEST {
        return match wishes.first() {
            Some(wish) => bail!("{wish} needs the {REQWEST} engine, and --engine {engine} was given; leave one out"),
            None => Ok(()),
        };
    }
    let wish = wishes.first().copied().unwrap_or("--engine reqwest");
    let scheme = args.engine.proxy.as_ref().map_or("", |p| p.scheme);
    let over_http_proxy = scheme.starts_with("http");
    let refused = [
        (args.requests_per_connection.is_some(), wish, "--requests-per-connection"),
        (args.connect.proxy_protocol.is_some(), wish, "--proxy-protocol"),
        (args.engine.http2 && close, "--http2", "--connection close"),
        (args.engine.proxy.is_some() && args.connect.unix_socket.is_some(), "--proxy", "--unix-socket"),
        (
            args.engine.proxy.is_some() && args.connect.dns == super::connect::Dns::Connection,
            "--proxy",
            "--dns connection",
        ),
    ];
    if let Some((_, a, b)) = refused.into_iter().find(|(given, ..)| *given) {
        bail!("{a} and {b} don't go together: {}", why(b));
    }
    if args.engine.http2 && over_http_proxy && !target.tls {
        bail!(
            "--http2 and --proxy {scheme}://... don't go together at an http:// target: the proxy would be spoken to in HTTP/2; give an https:// target or a SOCKS proxy"
        );
    }
    Ok(())
}

fn why(option: &str) -> &'static str {
    match option {
        "--requests-per-connection" | "--proxy-protocol" => "only the h1 engine does the latter",
        "--connection close" => "requests share connections in HTTP/2",
        "--unix-socket" => "a proxy is reached by its address",
        _ => "the target's name is looked up once, or by the proxy (socks5h://, http://)",
    }
}

/// Finds the proxy, and whether anybody is there.
///
/// # Errors
/// When its name does not resolve, nobody listens there, or TLS can't be spoken with it.
pub(super) fn find_proxy(given: &ProxyAddress, tls: TlsOptions) -> anyhow::Result<Proxy> {
    let shown = given.shown();
    let host = given.host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = (host, given.port)
        .to_socket_addrs()
        .with_context(|| format!("--proxy {shown}: the name `{host}` does not resolve"))?
        .collect();
    let mut why = None;
    let open = found.iter().find(|a| match TcpStream::connect_timeout(a, Duration::from_secs(1)) {
        Ok(_) => true,
        Err(e) => {
            why = Some(e);
            false
        }
    });
    let Some(address) = open.copied() else {
        let why = why.map_or("it has no address".into(), |e| e.to_string());
        bail!("--proxy {shown} can't be reached: {why}; is the proxy up?");
    };
    let tls =
        (given.scheme == "https").then(|| TlsOptions { server_name: host.to_owned(), ..tls }.prepare()).transpose()?;
    let credentials = given.credentials.clone();
    Ok(Proxy { scheme: given.scheme, host: given.host.clone(), address, credentials, tls })
}

/// `SCHEME://[USER:PASSWORD@]HOST[:PORT]`.
fn proxy(text: &str) -> Result<ProxyAddress, String> {
    let wrong = || {
        "give http://HOST[:PORT], https://, socks5:// or socks5h://, with USER:PASSWORD@ if it wants them".to_owned()
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let known = [("http", 80), ("https", 443), ("socks5", 1080), ("socks5h", 1080)];
    let (scheme, port) = known.into_iter().find(|(name, _)| *name == scheme).ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, authority) = match rest.rsplit_once('@') {
        Some((who, authority)) => {
            let (user, password) = who.split_once(':').ok_or_else(wrong)?;
            (Some((unescaped(user).ok_or_else(wrong)?, unescaped(password).ok_or_else(wrong)?)), authority)
        }
        None => (None, rest),
    };
    let authority: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
    let has_port = authority.as_str().len() > authority.host().len();
    let port = if has_port { authority.port_u16().filter(|p| *p > 0).ok_or_else(wrong)? } else { port };
    if authority.host().is_empty() {
        return Err(wrong());
    }
    Ok(ProxyAddress { scheme, host: authority.host().to_owned(), port, credentials })
}

/// With what is percent-encoded taken literally (RFC 3986 section 2.1).
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || bytes.next().and_then(|d| char::from(d).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_as_users_write_it() {
        let p = proxy("socks5h://me:p%40ss@proxy.example").unwrap();
        assert_eq!((p.scheme, p.host.as_str(), p.port), ("socks5h", "proxy.example", 1080));
        assert_eq!(p.credentials, Some(("me".into(), "p@ss".into())));
        assert!(!format!("{p:?}").contains("ss@"), "a password is shown");
        assert_eq!(proxy("127.0.0.1:3128").unwrap(), proxy("http://127.0.0.1:3128/").unwrap());
        assert_eq!(proxy("https://[::1]:8").unwrap().host, "[::1]");
        for wrong in
            ["", "ftp://h", "http://", "http://h:0", "http://h:x", "socks5://me@h", "http://a:%4@h", "http://a b"]
        {
            assert!(proxy(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_only_reqwest_does_chooses_it() {
        let of = |args: EngineArgs| args.chosen();
        assert_eq!(of(EngineArgs::default()), (ENGINES[0].name(), String::new()));
        let both = EngineArgs { http2: true, cookies: true, ..EngineArgs::default() };
        assert_eq!(of(both.clone()), ("reqwest", "--http2 and --cookies".into()));
        assert_eq!(of(EngineArgs { engine: Some("reqwest".into()), ..both }), ("reqwest", String::new()));
    }
}
