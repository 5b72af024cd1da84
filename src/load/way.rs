//! How connections get to the target: where it is, from which addresses, through which
//! wrappings.
//!
//! Must not: open anything, or look a name up.

use super::tls::Tls;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// The way to the target.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where it is.
    pub place: Place,
    /// Local addresses, taken in turn; empty to leave the choice to the kernel. Each has local
    /// ports of its own, which is how one machine gets past 28 232 connections to one destination.
    pub sources: Arc<[IpAddr]>,
    /// Encrypt, and how.
    pub tls: Option<Tls>,
    /// Say who we are before anything else, as a proxy would.
    pub proxy_header: Option<ProxyHeader>,
    /// Through this proxy.
    pub proxy: Option<Proxy>,
    /// Name to ask for in TLS instead of the target's host, for an engine that takes it from the URL.
    pub server_name: Option<String>,
}

/// A proxy on the way to the target.
#[derive(Clone)]
pub struct Proxy {
    /// `http`, `https`, `socks5` (names looked up by us) or `socks5h` (by the proxy).
    pub scheme: &'static str,
    /// Its name or address, an IPv6 one in brackets.
    pub host: String,
    /// Where it is.
    pub address: SocketAddr,
    /// User and password it wants.
    pub credentials: Option<(String, String)>,
    /// How TLS is spoken with one of scheme `https`.
    pub tls: Option<Tls>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}://{} at {})", self.scheme, self.host, self.address) // no password
    }
}

/// What is asked of HTTP beyond a request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// Speak HTTP/2: chosen in the TLS handshake (ALPN `h2`), by prior knowledge without TLS (RFC 9113
    /// section 3.3).
    pub version2: bool,
    /// Requests at a time that share a connection of HTTP/2.
    pub streams: u32,
    /// Redirects to the target itself that are followed before a 3xx is the outcome.
    pub redirects: u32,
    /// Each slot keeps the cookies it is given, and sends them back.
    pub cookies: bool,
}

impl Http {
    /// [`Http::streams`] when nothing else is said.
    pub const STREAMS: u32 = 100;
}

impl Default for Http {
    fn default() -> Http {
        Http { version2: false, streams: Http::STREAMS, redirects: 0, cookies: false }
    }
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a socket address.
    Address(SocketAddr),
    /// At what a name means at the moment: it is looked up for every connection.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// Behind a unix socket.
    Unix(PathBuf),
}

/// The header of the PROXY protocol, which carries our own address to the target
/// (haproxy.org, "The PROXY protocol", versions 1 and 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl From<SocketAddr> for Way {
    /// Straight to that address.
    fn from(address: SocketAddr) -> Way {
        Way {
            place: Place::Address(address),
            sources: Arc::new([]),
            tls: None,
            proxy_header: None,
            proxy: None,
            server_name: None,
        }
    }
}

impl ProxyHeader {
    /// The header for a connection between two addresses; of other connections (unix sockets)
    /// it says that nothing is known.
    pub(super) fn bytes(self, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        match self {
            ProxyHeader::V1 => match ends {
                Some((own, peer)) => {
                    let family = if own.is_ipv4() { "TCP4" } else { "TCP6" };
                    format!("PROXY {family} {} {} {} {}\r\n", own.ip(), peer.ip(), own.port(), peer.port()).into()
                }
                None => b"PROXY UNKNOWN\r\n".to_vec(),
            },
            ProxyHeader::V2 => {
                // Section 2.2: signature, version 2 and command, family and protocol, length.
                let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
                let (command, family) = match ends {
                    None => (0x20, 0x00),
                    Some((own, _)) if own.is_ipv4() => (0x21, 0x11),
                    Some(_) => (0x21, 0x21),
                };
                let mut addresses = Vec::new();
                if let Some((own, peer)) = ends {
                    for ip in [own.ip(), peer.ip()] {
                        match ip {
                            IpAddr::V4(ip) => addresses.extend(ip.octets()),
                            IpAddr::V6(ip) => addresses.extend(ip.octets()),
                        }
                    }
                    addresses.extend([own.port(), peer.port()].map(u16::to_be_bytes).concat());
                }
                out.extend([command, family, 0, addresses.len() as u8]);
                out.extend(addresses);
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_header_is_as_its_specification_says() {
        let ends = |a: &str, b: &str| Some((a.parse().unwrap(), b.parse().unwrap()));
        let v4 = ends("192.0.2.1:4000", "192.0.2.2:80");
        assert_eq!(ProxyHeader::V1.bytes(v4), b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n");
        assert_eq!(ProxyHeader::V1.bytes(None), b"PROXY UNKNOWN\r\n");
        let v2 = ProxyHeader::V2.bytes(v4);
        assert_eq!(v2[..12], *b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A");
        assert_eq!(v2[12..], [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x0f, 0xa0, 0, 80]);
        let v6 = ProxyHeader::V2.bytes(ends("[2001:db8::1]:1", "[2001:db8::2]:2"));
        assert_eq!((v6[13], v6[15], v6.len()), (0x21, 36, 16 + 36));
        assert_eq!(ProxyHeader::V2.bytes(None).len(), 16);
    }
}
