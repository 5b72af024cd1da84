//! How connections get to the target, as options: TLS, source addresses, names, wrappings.
//!
//! Must not: open connections, but for the first look whether the target is there at all.

use super::engine::{self, ProxyAddress};
use super::target::Target;
use crate::load::{Place, ProxyHeader, TlsOptions, Way};
use crate::profile::served::Server;
use anyhow::{Context as _, bail};
use clap::ValueEnum;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Options of the way to the target.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ConnectArgs {
    /// Local addresses to connect from, in turn: 127.0.0.2-127.0.0.9, a list with commas, or an interface
    #[arg(long, value_name = "ADDRESSES", value_parser = sources, help_heading = "Connections")]
    pub(super) source: Option<Sources>,
    /// Connect to this unix socket; the target's URL gives Host and prefix
    #[arg(long, value_name = "PATH", conflicts_with_all = ["source", "resolve", "dns"], help_heading = "Connections")]
    pub(super) unix_socket: Option<PathBuf>,
    /// Take ADDR for the address of HOST:PORT, as curl does
    #[arg(long, value_name = "HOST:PORT:ADDR", value_parser = resolve, help_heading = "Connections")]
    pub(super) resolve: Vec<(String, u16, IpAddr)>,
    /// When the target's name is looked up
    #[arg(long, value_name = "WHEN", default_value = "once", help_heading = "Connections")]
    pub(super) dns: Dns,
    /// Begin every connection with a PROXY protocol header that names our own address
    #[arg(long, value_name = "VERSION", help_heading = "Connections")]
    pub(super) proxy_protocol: Option<ProxyVersion>,

    /// Accept any certificate
    #[arg(short = 'k', long, conflicts_with = "ca", help_heading = "TLS")]
    pub(super) insecure: bool,
    /// Authorities to trust instead of this machine's, PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(super) ca: Vec<PathBuf>,
    /// Certificate chain to show when the target asks for one, PEM
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
    pub(super) cert: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
    pub(super) key: Option<PathBuf>,
    /// Server name to ask for and to find in the certificate, instead of the target's host
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub(super) sni: Option<String>,
    /// Make a full handshake for every connection
    #[arg(long, help_heading = "TLS")]
    pub(super) no_session_resumption: bool,
}

/// When a name is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Dns {
    /// Before the run
    #[default]
    Once,
    /// For every connection, and timed
    Connection,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProxyVersion {
    /// Text
    V1,
    /// Binary
    V2,
}

/// The way to the target, and its address if it has one.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) way: Way,
    pub(super) address: Option<SocketAddr>,
}

impl ConnectArgs {
    /// Who serves profiles, with how TLS is spoken when it is to be.
    ///
    /// # Errors
    /// When a file of certificates can't be used.
    pub(super) fn served(&self, server: Server) -> anyhow::Result<Server> {
        if !server.is_https() {
            return Ok(server);
        }
        let tls = TlsOptions { server_name: server.host().to_owned(), ..self.tls_options() }.prepare()?;
        let config = tls.config();
        Ok(server.with_tls(config))
    }

    /// What is wrong with the options, before anything is looked up; what they come to.
    /// `over_tls`: a proxy, or who serves profiles, is spoken with in TLS.
    pub(super) fn tls(&self, target: &Target, over_tls: bool) -> anyhow::Result<Option<crate::load::Tls>> {
        if !target.tls && !over_tls {
            let given = self.insecure || !self.ca.is_empty() || self.cert.is_some() || self.sni.is_some();
            if given || self.no_session_resumption {
                bail!("{}: options of TLS need an https:// target", target.shown);
            }
            return Ok(None);
        }
        if !target.tls {
            return Ok(None);
        }
        let server_name = self.sni.clone().unwrap_or_else(|| target.host.clone());
        Ok(Some(TlsOptions { server_name, ..self.tls_options() }.prepare()?))
    }

    /// The options of TLS, without a server name.
    fn tls_options(&self) -> TlsOptions {
        TlsOptions {
            server_name: String::new(),
            insecure: self.insecure,
            authorities: self.ca.clone(),
            certificate: self.cert.clone().zip(self.key.clone()),
            full_handshakes: self.no_session_resumption,
        }
    }

    /// Finds the target behind a proxy: what our connections lead to is the proxy, and whether
    /// the target is there only the proxy can tell.
    ///
    /// # Errors
    /// When the proxy can't be used, or a name that we are to look up does not resolve.
    pub(super) fn find_behind(
        &self,
        proxy: &ProxyAddress,
        target: &Target,
        tls: Option<crate::load::Tls>,
    ) -> anyhow::Result<Found> {
        let found = engine::find_proxy(proxy, self.tls_options())?;
        let given = self.resolve.iter().find(|(host, port, _)| target.is_at(host, *port));
        let place = match given {
            Some((_, port, ip)) => SocketAddr::new(*ip, *port),
            // Nobody asks: the proxy looks the name up.
            None if proxy.looks_up() => found.address,
            None => target.looked_up()?,
        };
        let sources = fitting(self.source.clone().unwrap_or_default(), found.address)?;
        let address = Some(found.address);
        let way =
            Way { sources: sources.into(), tls, proxy: Some(found), server_name: self.sni.clone(), ..Way::from(place) };
        Ok(Found { way, address })
    }

    /// Finds the target.
    ///
    /// # Errors
    /// When its name does not resolve, nothing listens there, or source addresses don't fit.
    pub(super) fn find(&self, target: &Target, tls: Option<crate::load::Tls>) -> anyhow::Result<Found> {
        let proxy_header = self.proxy_protocol.map(|version| match version {
            ProxyVersion::V1 => ProxyHeader::V1,
            ProxyVersion::V2 => ProxyHeader::V2,
        });
        if let Some(path) = &self.unix_socket {
            std::os::unix::net::UnixStream::connect(path)
                .with_context(|| format!("the unix socket {} can't be reached; is the target up?", path.display()))?;
            let server_name = self.sni.clone();
            let place = Place::Unix(path.clone());
            let way = Way { place, sources: [].into(), tls, proxy_header, proxy: None, server_name };
            return Ok(Found { way, address: None });
        }
        let sources = self.source.clone().unwrap_or_default();
        let given = self.resolve.iter().find(|(host, port, _)| target.is_at(host, *port));
        let address = match given {
            Some((_, port, ip)) => target.answering(&[SocketAddr::new(*ip, *port)], &sources)?,
            None => target.resolve(&sources)?,
        };
        let sources = fitting(sources, address)?;
        let place = match self.dns {
            Dns::Connection if given.is_none() => Place::Name { host: target.host.clone(), port: target.port },
            _ => Place::Address(address),
        };
        let server_name = self.sni.clone();
        let way = Way { place, sources: sources.into(), tls, proxy_header, proxy: None, server_name };
        Ok(Found { way, address: Some(address) })
    }
}

/// `HOST:PORT:ADDR`, the address in brackets if it is of IPv6.
fn resolve(text: &str) -> Result<(String, u16, IpAddr), String> {
    let wrong = || "give HOST:PORT:ADDR, like shop.example:443:127.0.0.1".to_owned();
    let (host, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (port, ip) = rest.split_once(':').ok_or_else(wrong)?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?;
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port, ip)),
        _ => Err(wrong()),
    }
}

/// Most source addresses that a range may name.
const MOST_SOURCES: u32 = 4096;

/// Local addresses, in the order in which they are taken.
pub(super) type Sources = Vec<IpAddr>;

/// The local addresses that `text` names: ranges and single ones with commas between them, or an
/// interface, whose addresses are meant.
fn sources(text: &str) -> Result<Sources, String> {
    let mut all = Sources::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if let Ok(ip) = part.parse() {
            all.push(ip);
        } else if let Some((from, to)) = part.split_once('-')
            && let (Ok(from), Ok(to)) = (from.parse::<IpAddr>(), to.parse::<IpAddr>())
        {
            all.extend(range(from, to).ok_or_else(|| {
                format!("a range goes from a lower to a higher address of one family, {MOST_SOURCES} at the most")
            })?);
        } else {
            let found = of_interface(part);
            if found.is_empty() {
                let shown = crate::model::clean(part, 40);
                return Err(format!("`{shown}` is no address, range or interface with addresses"));
            }
            all.extend(found);
        }
    }
    for ip in &all {
        // Other reasons are none of the address: its ports may all be taken.
        if std::net::TcpListener::bind((*ip, 0)).is_err_and(|e| e.kind() == ErrorKind::AddrNotAvailable) {
            return Err(format!("{ip} is not an address of this machine (ip addr add {ip} dev ...)"));
        }
    }
    if all.is_empty() { Err("it names no address".into()) } else { Ok(all) }
}

fn range(from: IpAddr, to: IpAddr) -> Option<Vec<IpAddr>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let (from, to) = (u32::from(from), u32::from(to));
            (to >= from && to - from < MOST_SOURCES).then(|| (from..=to).map(|n| IpAddr::V4(n.into())).collect())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let (from, to) = (u128::from(from), u128::from(to));
            let is_short = to >= from && to - from < u128::from(MOST_SOURCES);
            is_short.then(|| (from..=to).map(|n| IpAddr::V6(n.into())).collect())
        }
        _ => None,
    }
}

/// Those of them that can reach `target`: of its family.
fn fitting(mut all: Sources, target: SocketAddr) -> anyhow::Result<Sources> {
    let given = !all.is_empty();
    all.retain(|ip| ip.is_ipv4() == target.is_ipv4());
    if given && all.is_empty() {
        bail!("--source: none of these addresses is of the family of {}", target.ip());
    }
    Ok(all)
}

/// The addresses of an interface, link-local ones left out: they need a zone.
fn of_interface(name: &str) -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return vec![] };
    all.filter(|i| i.interface_name == name)
        .filter_map(|i| {
            let address = i.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_are_named_in_three_ways() {
        let count = |text| sources(text).map(|s| s.len());
        assert_eq!(count("127.0.0.2-127.0.0.9"), Ok(8));
        assert_eq!(count("127.0.0.2, 127.0.0.5-127.0.0.6"), Ok(3));
        assert_eq!(count("127.0.0.1-127.0.0.1,::1-::1"), Ok(2));
        assert!(count("lo").unwrap() >= 1);
        let wrong = ["", "127.0.0.9-127.0.0.2", "0.0.0.0-255.255.255.255", "127.0.0.1-::1", "nosuch0", "192.0.2.1"];
        for wrong in wrong {
            assert!(!count(wrong).expect_err(wrong).contains('\n'));
        }
        let target: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let both = sources("127.0.0.2,::1").unwrap();
        assert_eq!(fitting(both.clone(), target).unwrap(), both[..1]);
        assert!(fitting(both[1..].to_vec(), target).is_err());
        assert_eq!(fitting(vec![], target).unwrap(), Sources::new());
    }

    #[test]
    fn an_address_is_given_for_a_name_as_curl_takes_it() {
        assert_eq!(resolve("a.example:443:127.0.0.1"), Ok(("a.example".into(), 443, [127, 0, 0, 1].into())));
        assert_eq!(resolve("a:1:[::1]").unwrap().2, "::1".parse::<IpAddr>().unwrap());
        for wrong in ["", "a", "a:1", "a:0:127.0.0.1", "a:x:127.0.0.1", ":1:127.0.0.1", "a:1:b"] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
    }
}
