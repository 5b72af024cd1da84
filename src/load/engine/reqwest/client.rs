//! Clients: one for each connection of the plan, so that each has its own sockets and its own
//! cookies; over HTTP/2 one for as many requests as are to share a connection.
//!
//! Must not: send anything.

use super::link::{Ledger, Link, Sessions, Watch};
use super::message::Origin;
use crate::clock::Clock;
use crate::load::{Place, Plan};
use ::reqwest::dns::{Addrs, Name, Resolve, Resolving};
use ::reqwest::header::HOST;
use ::reqwest::redirect::Policy;
use ::reqwest::{ClientBuilder, NoProxy, Proxy, Request, Url, retry};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

/// TLS sessions that a worker keeps to resume.
const SESSIONS: usize = 1024;
/// The longest response head over HTTP/2, bytes: as much as the h1 engine takes.
const HEAD: u32 = 32 * 1024;

/// One client, and what is known of its connections.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) reqwest: ::reqwest::Client,
    pub(super) link: Arc<Link>,
    pub(super) home: Arc<Home>,
}

/// Makes the clients of one worker.
pub(super) struct Maker {
    plan: Arc<Plan>,
    clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) origin: Origin,
    sessions: Option<Arc<ClientSessionMemoryCache>>,
    /// Where the count of local addresses begins for this worker.
    worker: usize,
}

impl Maker {
    pub(super) fn new(plan: Arc<Plan>, clock: Clock, worker: usize) -> Maker {
        let named = plan.rendering.authority.clone();
        let asked = plan.way.server_name.as_ref().map(|name| match port_of(&named) {
            Some(port) => format!("{name}:{port}"),
            None => name.clone(),
        });
        let origin = Origin {
            scheme: if plan.way.tls.is_some() { "https" } else { "http" },
            may_change: asked.is_none() && plan.way.proxy.is_none(),
            authority: asked.unwrap_or_else(|| named.clone()),
            named,
            http2: plan.http.version2,
        };
        let keeps = plan.way.tls.as_ref().is_none_or(|tls| !tls.full_handshakes);
        let sessions = keeps.then(|| Arc::new(ClientSessionMemoryCache::new(SESSIONS)));
        Maker { plan, clock, ledger: Ledger::default(), origin, sessions, worker }
    }

    /// How many requests share a client.
    pub(super) fn sharing(&self) -> u32 {
        // Cookies are a user's own, and so is its client.
        if self.plan.http.version2 && !self.plan.http.cookies { self.plan.http.streams.max(1) } else { 1 }
    }

    /// The `n`-th client of the worker; `beyond`: one more than planned.
    ///
    /// # Errors
    /// When reqwest does not take what it is told; one line.
    pub(super) fn client(&self, n: usize, beyond: bool) -> Result<Client, String> {
        let plan = &*self.plan;
        let proxy = plan.way.proxy.as_ref();
        let over_tls = proxy.and_then(|p| p.tls.as_ref().map(|_| p.host.clone()));
        let link = Arc::new(Link::new(self.clock.clone(), self.ledger.clone(), beyond, over_tls));
        let target = Target {
            place: plan.way.place.clone(),
            proxy: proxy.map(|p| (p.host.clone(), p.address)),
            link: link.clone(),
        };
        let home = Arc::new(Home { port: port_of(&plan.rendering.authority), host: Mutex::default() });
        let mut builder = ClientBuilder::new()
            .connect_timeout(plan.connect_timeout)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(usize::from(!plan.close))
            // A request sent a second time is to be counted, so that is done and counted here.
            .retry(retry::never())
            .redirect(within(plan.http.redirects, home.clone()))
            .referer(false)
            .cookie_store(plan.http.cookies)
            .tcp_nodelay(true)
            .no_proxy()
            .connector_layer(Watch(link.clone()))
            .tls_backend_preconfigured(self.tls(&link)?)
            .dns_resolver(Arc::new(target));
        builder = if plan.http.version2 {
            builder.http2_prior_knowledge().http2_max_header_list_size(HEAD).http2_adaptive_window(true)
        } else {
            builder.http1_only()
        };
        if let Some(p) = proxy {
            builder = builder.proxy(self.proxy(p)?);
        }
        if let Place::Unix(path) = &plan.way.place {
            builder = builder.unix_socket(path.as_path());
        }
        let sources = &plan.way.sources;
        if !sources.is_empty() {
            let nth = n * plan.threads as usize + self.worker;
            builder = builder.local_address(sources[nth % sources.len()]);
        }
        let reqwest = builder.build().map_err(|e| super::verdict::in_words(&e))?;
        Ok(Client { reqwest, link, home })
    }

    fn proxy(&self, p: &crate::load::Proxy) -> Result<Proxy, String> {
        let port = p.address.port();
        let url = format!("{}://{}:{port}", p.scheme, p.host);
        let made = Proxy::all(&url).map_err(|e| super::verdict::in_words(&e))?.no_proxy(NoProxy::from_string(""));
        Ok(match &p.credentials {
            Some((user, password)) => made.basic_auth(user, password),
            None => made,
        })
    }

    /// The plan's way of speaking TLS, for this client.
    fn tls(&self, link: &Arc<Link>) -> Result<ClientConfig, String> {
        let way = &self.plan.way;
        let of_proxy = way.proxy.as_ref().and_then(|p| p.tls.as_ref());
        let mut config = match way.tls.as_ref().or(of_proxy) {
            Some(tls) => ClientConfig::clone(&tls.config),
            // Not used, but without one reqwest would look for a provider of its own.
            None => ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![if self.plan.http.version2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        config.resumption = Resumption::store(Arc::new(Sessions { kept: self.sessions.clone(), link: link.clone() }));
        Ok(config)
    }
}

/// The port at the end of an authority.
fn port_of(authority: &str) -> Option<u16> {
    let (host, port) = authority.rsplit_once(':')?;
    if host.starts_with('[') && !host.ends_with(']') { None } else { port.parse().ok() }
}

/// By which names a target calls itself: that of the URL, and the host that it is asked for.
#[derive(Debug)]
pub(super) struct Home {
    /// The target's port, where its URL has one.
    port: Option<u16>,
    /// What the latest request has for its Host, without a port.
    host: Mutex<String>,
}

impl Home {
    /// A request is about to be sent.
    pub(super) fn asks_for(&self, request: &Request) {
        let host = request.headers().get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let end = host.rfind(':').filter(|colon| !host[*colon..].contains(']')).unwrap_or(host.len());
        let mut kept = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept != host[..end] {
            kept.clear();
            kept.push_str(&host[..end]);
        }
    }

    /// Whether a redirect from `a` to `b` leads back to it.
    fn has(&self, a: &Url, b: &Url) -> bool {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let is_host = a.host() == b.host() || b.host_str().is_some_and(|b| b.eq_ignore_ascii_case(&host));
        let port = b.port_or_known_default();
        a.scheme() == b.scheme()
            && is_host
            && (port == a.port_or_known_default() || self.port.is_some() && port == self.port)
    }
}

/// Follows so many redirects as long as they lead back to the target: what it names in a
/// response is no place that the user has asked to be loaded. One that is not followed is what
/// the request was answered with.
fn within(redirects: u32, home: Arc<Home>) -> Policy {
    if redirects == 0 {
        return Policy::none();
    }
    let most = usize::try_from(redirects).unwrap_or(usize::MAX);
    Policy::custom(move |attempt| {
        let stays = attempt.previous().first().is_some_and(|first| home.has(first, attempt.url()));
        // The URL that was asked for first is among those before.
        if stays && attempt.previous().len() <= most { attempt.follow() } else { attempt.stop() }
    })
}

/// Whatever name is asked for, it is the target's or the proxy's.
struct Target {
    place: Place,
    proxy: Option<(String, SocketAddr)>,
    link: Arc<Link>,
}

impl Resolve for Target {
    fn resolve(&self, name: Name) -> Resolving {
        if let Some((_, address)) = self.proxy.as_ref().filter(|(host, _)| host.eq_ignore_ascii_case(name.as_str())) {
            return one(*address);
        }
        match &self.place {
            Place::Address(address) => one(*address),
            Place::Unix(_) => one(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0)), // never asked
            Place::Name { host, port } => {
                let (host, port, link) = (host.clone(), *port, self.link.clone());
                link.resolves();
                Box::pin(async move {
                    let looked_up = tokio::task::spawn_blocking(move || {
                        (host.as_str(), port).to_socket_addrs().map(|found| found.collect::<Vec<_>>())
                    });
                    let found = match looked_up.await {
                        Ok(Ok(found)) if !found.is_empty() => found,
                        _ => return Err(Unresolved.into()),
                    };
                    link.resolved();
                    Ok(Box::new(found.into_iter()) as Addrs)
                })
            }
        }
    }
}

fn one(address: SocketAddr) -> Resolving {
    Box::pin(std::future::ready(Ok(Box::new(std::iter::once(address)) as Addrs)))
}

/// The target's name means nothing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name does not resolve")]
pub(super) struct Unresolved;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        for (authority, port) in [("a:80", Some(80)), ("a", None), ("[::1]:8", Some(8)), ("[::1]", None)] {
            assert_eq!(port_of(authority), port, "{authority}");
        }
    }

    #[test]
    fn a_redirect_elsewhere_is_one_to_another_origin() {
        let url = |text: &str| Url::parse(text).unwrap();
        let home = Home { port: None, host: Mutex::default() };
        assert!(home.has(&url("http://a/x"), &url("http://a:80/y?z")));
        for other in ["https://a/", "http://b/", "http://a:81/"] {
            assert!(!home.has(&url("http://a/"), &url(other)), "{other}");
        }
        // nginx names the Host it was asked for, with the port it listens on.
        let home = Home { port: Some(8080), host: Mutex::default() };
        let asked = |host: &str| {
            let mut request = Request::new(::reqwest::Method::GET, url("http://127.0.0.1:8080/"));
            request.headers_mut().insert(HOST, host.parse().unwrap());
            home.asks_for(&request);
            let back = |to: &str| home.has(&url("http://127.0.0.1:8080/"), &url(to));
            ["http://shop.example:8080/y", "http://shop.example/y", "http://127.0.0.1:8080/y"].map(back)
        };
        assert_eq!(asked("Shop.example:99"), [true, false, true]);
        assert_eq!(asked("other"), [false, false, true]);
        assert_eq!(asked("[::1]"), [false, false, true]);
    }
}
