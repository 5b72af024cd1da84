//! What is known of a client's connections being made: when, how far, how long each part took.
//!
//! reqwest makes connections where nobody can look on, so three of its openings are used: a
//! layer around its connector tells when one begins and ends, the resolver when the name is
//! known, and the place where rustls looks for a session to resume when the handshake begins.
//!
//! Must not: count requests, or hold a lock over anything that waits.

use super::verdict::{Failed, not_connected};
use crate::clock::Clock;
use crate::model::{At, Outcome, Phase};
use rustls::NamedGroup;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// What connections took, since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// A phase of a connection, and how long it took, ns.
    pub(super) phases: Vec<(Phase, u64)>,
    /// Connections made.
    pub(super) opened: u64,
    /// Of them, those of clients beyond the plan.
    pub(super) grown: u64,
}

/// Where the clients of a worker leave what their connections took.
pub(super) type Ledger = Arc<Mutex<Made>>;

/// See the top of the file. One client's.
#[derive(Debug)]
pub(super) struct Link {
    clock: Clock,
    ledger: Ledger,
    /// The client is one beyond the plan.
    beyond: bool,
    /// Name of a proxy that TLS is spoken with: its handshake is part of getting connected.
    proxy: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections under way.
    under_way: u32,
    /// Of the one begun last: how far it got.
    phase: Option<Phase>,
    /// When that phase of it began.
    since: At,
    /// When the one made last was ready.
    established: Option<At>,
    /// How the one failed that failed last.
    broken: Option<Failed>,
    /// Connections begun.
    begun: u64,
}

impl Link {
    pub(super) fn new(clock: Clock, ledger: Ledger, beyond: bool, proxy: Option<String>) -> Link {
        Link { clock, ledger, beyond, proxy, state: Mutex::default() }
    }

    /// Whether a connection is being made.
    pub(super) fn is_under_way(&self) -> bool {
        lock(&self.state).under_way > 0
    }

    /// When the last connection was ready.
    pub(super) fn established(&self) -> Option<At> {
        lock(&self.state).established
    }

    /// How the connection failed that failed last.
    pub(super) fn broken(&self) -> Option<Failed> {
        lock(&self.state).broken.clone()
    }

    /// Connections begun so far.
    pub(super) fn begun(&self) -> u64 {
        lock(&self.state).begun
    }

    /// How far the connection begun last got.
    pub(super) fn phase(&self) -> Phase {
        lock(&self.state).phase.unwrap_or(Phase::Connect)
    }

    /// The target's name is being looked up.
    pub(super) fn resolves(&self) {
        self.enter(Phase::Dns);
    }

    /// It was looked up.
    pub(super) fn resolved(&self) {
        self.enter(Phase::Connect);
    }

    fn enter(&self, phase: Phase) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        if state.phase == Some(phase) {
            return;
        }
        // What a name took counts when it is known; what came before TLS, when TLS begins.
        if let Some(before) = state.phase.filter(|before| *before != Phase::Connect || phase == Phase::Tls) {
            lock(&self.ledger).phases.push((before, now.since_ns(state.since)));
        }
        (state.phase, state.since) = (Some(phase), now);
    }

    fn begin(&self) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.under_way += 1;
        state.begun += 1;
        (state.phase, state.since) = (Some(Phase::Connect), now);
    }

    /// The end of a connection's making: made, failed, or given up when its time was up.
    fn end(&self, made: Option<Result<(), Failed>>) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.under_way = state.under_way.saturating_sub(1);
        state.broken = match &made {
            Some(Ok(())) => None,
            Some(Err(failed)) => Some(failed.clone()),
            None => Some(Outcome::Timeout(state.phase.unwrap_or(Phase::Connect)).into()),
        };
        if made == Some(Ok(())) {
            state.established = Some(now);
            let mut made = lock(&self.ledger);
            made.opened += 1;
            made.grown += u64::from(self.beyond);
            made.phases.push((state.phase.unwrap_or(Phase::Connect), now.since_ns(state.since)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what has been left in a ledger.
pub(super) fn take(ledger: &Ledger) -> Made {
    std::mem::take(&mut *lock(ledger))
}

/// The layer around a client's connector.
#[derive(Clone)]
pub(super) struct Watch(pub(super) Arc<Link>);

/// A connector that is watched.
#[derive(Clone)]
pub(super) struct Watched<S> {
    inner: S,
    link: Arc<Link>,
}

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, link: self.0.clone() }
    }
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let mut ends = Ends { link: self.link.clone(), made: None };
        self.link.begin();
        let connects = self.inner.call(to);
        Box::pin(async move {
            let went = connects.await;
            ends.tell(went.as_ref().map(|_| ()).map_err(|e| &**e));
            went
        })
    }
}

/// Tells the end of a connection's making, also of one that is given up: then it is dropped.
struct Ends {
    link: Arc<Link>,
    made: Option<Result<(), Failed>>,
}

impl Ends {
    fn tell(&mut self, made: Result<(), &(dyn std::error::Error + Send + Sync + 'static)>) {
        let phase = self.link.phase();
        self.made = Some(made.map_err(|e| not_connected(e, phase)));
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.link.end(self.made.take());
    }
}

/// What connectors of reqwest fail with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// TLS sessions kept to be resumed, if they are; and who is told when a handshake begins.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) kept: Option<Arc<ClientSessionMemoryCache>>,
    pub(super) link: Arc<Link>,
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        if let Some(kept) = &self.kept {
            kept.set_kx_hint(name, group);
        }
    }

    /// rustls asks this when it makes its ClientHello (`rustls/src/client/tls13.rs`, `initial_key_share`).
    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        if self.link.proxy.as_deref().is_none_or(|proxy| name.to_str() != proxy) {
            self.link.enter(Phase::Tls);
        }
        self.kept.as_ref().and_then(|kept| kept.kx_hint(name))
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        if let Some(kept) = &self.kept {
            kept.set_tls12_session(name, value);
        }
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.as_ref().and_then(|kept| kept.tls12_session(name))
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(kept) = &self.kept {
            kept.remove_tls12_session(name);
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if let Some(kept) = &self.kept {
            kept.insert_tls13_ticket(name, value);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.as_ref().and_then(|kept| kept.take_tls13_ticket(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_divided_into_its_phases() {
        let clock = Clock::manual();
        let ledger = Ledger::default();
        let link = Link::new(clock.clone(), ledger.clone(), true, None);
        link.begin();
        link.resolves();
        clock.advance(5);
        link.resolved();
        assert!(link.is_under_way() && link.phase() == Phase::Connect);
        clock.advance(7);
        link.enter(Phase::Tls);
        clock.advance(11);
        link.end(Some(Ok(())));
        let made = take(&ledger);
        assert_eq!(made.phases, [(Phase::Dns, 5), (Phase::Connect, 7), (Phase::Tls, 11)]);
        assert_eq!((made.opened, made.grown, link.established(), link.begun()), (1, 1, Some(At(23)), 1));
        // One that comes to nothing leaves how far it got, and no time.
        link.begin();
        link.enter(Phase::Tls);
        take(&ledger);
        link.end(None);
        assert_eq!(link.broken(), Some(Outcome::Timeout(Phase::Tls).into()));
        assert!(link.phase() == Phase::Tls && !link.is_under_way() && take(&ledger).phases.is_empty());
    }
}
