//! A target as the user names it, resolved to an address.
//!
//! Must not: take a target from a log.

use anyhow::{Context as _, bail};
use http::Uri;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// A resolved target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As shown: `http://host:port`.
    pub(super) shown: String,
    /// `host[:port]` for the Host header.
    pub(super) authority: String,
    /// Path before every request's, without a slash at its end.
    pub(super) base_path: String,
    /// Over TLS.
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Reads `http://HOST[:PORT][/PREFIX]` or `https://…`; the scheme may be left out.
pub(super) fn parse(text: &str) -> anyhow::Result<Target> {
    let shown = crate::model::clean(text, 200);
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = full.parse().with_context(|| format!("`{shown}` is no target; give http://HOST[:PORT]"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => bail!("`{shown}` is no target; give http://HOST[:PORT] or https://HOST[:PORT]"),
    };
    let authority = uri.authority().with_context(|| format!("`{shown}` names no host; give http://HOST[:PORT]"))?;
    if authority.as_str().contains('@') {
        bail!("`{shown}`: credentials in a target are not sent; use -H 'Authorization: ...'");
    }
    if uri.query().is_some() {
        bail!("`{shown}`: a target has no query; the recorded requests have their own");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        bail!("`{shown}` names no host; give http://HOST[:PORT]");
    }
    let has_port = authority.as_str().len() > authority.host().len();
    if has_port && authority.port_u16().is_none() {
        bail!("`{shown}`: the port is a number from 1 to 65535");
    }
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    if port == 0 {
        bail!("`{shown}`: the port is a number from 1 to 65535");
    }
    let authority = authority.as_str().to_owned();
    let base_path = uri.path().trim_end_matches('/').to_owned();
    let scheme = if tls { "https" } else { "http" };
    Ok(Target { shown: format!("{scheme}://{authority}{base_path}"), authority, base_path, tls, host, port })
}

impl Target {
    /// The target that listens on `address`.
    pub(super) fn at(address: SocketAddr) -> Target {
        Target {
            shown: format!("http://{address}"),
            authority: address.to_string(),
            base_path: String::new(),
            tls: false,
            host: address.ip().to_string(),
            port: address.port(),
        }
    }

    /// The first of its addresses that answers, or the first of all when none answers in
    /// time: an overloaded target is what one may want to look at.
    ///
    /// # Errors
    /// When the name does not resolve, or nothing listens on any of its addresses.
    ///
    /// `sources`: our addresses, none to leave the choice to the kernel.
    pub(super) fn resolve(&self, sources: &[IpAddr]) -> anyhow::Result<SocketAddr> {
        let found: Vec<SocketAddr> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("{}: the name `{}` does not resolve", self.shown, self.host))?
            .collect();
        self.answering(&found, sources)
    }

    /// The first of its addresses, whether or not anybody is there.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub(super) fn looked_up(&self) -> anyhow::Result<SocketAddr> {
        let found = (self.host.as_str(), self.port).to_socket_addrs().ok().and_then(|mut found| found.next());
        found.with_context(|| format!("{}: the name `{}` does not resolve", self.shown, self.host))
    }

    /// Whether it is the target that a name and a port mean.
    pub(super) fn is_at(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host)
    }

    /// The first of `found` that answers, as [`Target::resolve`] says.
    ///
    /// # Errors
    /// When nothing listens on any of them.
    pub(super) fn answering(&self, found: &[SocketAddr], sources: &[IpAddr]) -> anyhow::Result<SocketAddr> {
        let mut refused = None;
        for address in found {
            let source = sources.iter().find(|ip| ip.is_ipv4() == address.is_ipv4());
            match connect(*address, source.copied(), Duration::from_secs(1)) {
                // Nobody listens, and the kernel joined our end to itself (RFC 9293 section 3.5).
                Ok(open) if open.local_addr().is_ok_and(|own| own == *address) => {
                    refused = Some(ErrorKind::ConnectionRefused.into());
                }
                Ok(_) => return Ok(*address),
                Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => return Ok(*address),
                Err(e) => refused = Some(e),
            }
        }
        match refused {
            Some(e) if e.kind() == ErrorKind::AddrNotAvailable => bail!(
                "{} can't be reached: no local port is left to it; wait for TIME_WAIT to end (60 s), or give more addresses by --source",
                self.shown
            ),
            Some(e) => Err(e).with_context(|| format!("{} can't be reached; is the target up?", self.shown)),
            None => bail!("{}: the name `{}` has no address", self.shown, self.host),
        }
    }
}

/// Connects from `source` if one is given, as the load's connections do.
fn connect(to: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> std::io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect_timeout(&to, timeout) };
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    let _ = setsockopt(&fd, IpBindAddressNoPort, &true);
    bind(&fd, &SocketAddr::new(source, 0))?;
    match rustix::net::connect(&fd, &to) {
        Err(Errno::INPROGRESS) => {}
        other => other?,
    }
    let timeout = Timespec::try_from(timeout).map_err(|_| ErrorKind::InvalidInput)?;
    if poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&timeout))? == 0 {
        return Err(ErrorKind::TimedOut.into());
    }
    sockopt::socket_error(&fd)??;
    Ok(TcpStream::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_users_write_it() {
        let t = parse("http://10.0.0.7:8081/v2/").unwrap();
        assert_eq!((t.authority.as_str(), t.base_path.as_str(), t.port), ("10.0.0.7:8081", "/v2", 8081));
        assert_eq!(parse("localhost:80").unwrap().host, "localhost");
        assert_eq!(parse("http://[::1]:8080").unwrap().host, "::1");
        assert_eq!(parse("http://service").unwrap().port, 80);
        let t = parse("https://service/v2").unwrap();
        assert_eq!((t.shown.as_str(), t.port, t.tls), ("https://service/v2", 443, true));
    }

    #[test]
    fn whether_a_target_is_there_is_asked_from_the_address_that_loads_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let sources = ["::1", "127.0.0.7"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(target.resolve(&sources).unwrap(), listener.local_addr().unwrap());
        assert_eq!(listener.accept().unwrap().1.ip(), sources[1]);
        drop(listener);
        let e = target.resolve(&sources).unwrap_err();
        assert!(format!("{e:#}").contains("is the target up?"), "{e:#}");
    }

    #[test]
    fn what_is_no_target_is_said_in_one_line() {
        for wrong in [
            "",
            "ftp://h",
            "http://",
            "http://h:99999",
            "http://h:0",
            "http://u:p@h",
            "http://h/?a",
            "http://h h",
            "/x",
        ] {
            let e = parse(wrong).expect_err(wrong);
            assert!(!format!("{e:#}").contains('\n'), "{wrong}");
        }
    }
}
