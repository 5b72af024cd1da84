//! The byte stream under one connection: opened without waiting, then written and read
//! without waiting.
//!
//! The seam for other ways to reach a target: the connection above knows only [`Stream`],
//! what its calls return, and when to call them again.
//!
//! Must not: know HTTP, clocks or how readiness is waited for.

use super::tls_stream::{BROKEN, Prepared, TlsStream};
use crate::load::tls::Tls;
use crate::load::way::{Place, ProxyHeader, Way};
use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    getpeername, getsockname, ipproto, recv, send, socket_with, sockopt,
};
use rustix::process::{Resource, getrlimit};
use std::net::SocketAddr;

/// File descriptors that connections leave to those who watch the host: they open files all along.
const SPARE_FDS: u64 = 24;

/// Opens streams the way the plan says.
#[derive(Debug)]
pub(super) struct Dialer {
    way: Way,
    /// Which of the source addresses comes next.
    next_source: usize,
    /// Descriptors are given out lowest first (open(2)): no connection has this number or a higher one.
    fd_bound: i32,
}

impl Dialer {
    /// `index` and `workers`: every worker begins with another source address.
    pub(super) fn new(way: Way, index: usize) -> Dialer {
        let limit = getrlimit(Resource::Nofile).current;
        let bound = limit.map(|limit| limit - SPARE_FDS.min(limit / 4));
        Dialer { way, next_source: index, fd_bound: bound.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX) }
    }

    /// Whether the target's name is to be looked up first.
    pub(super) fn name(&self) -> Option<(&str, u16)> {
        match &self.way.place {
            Place::Name { host, port } => Some((host, *port)),
            Place::Address(_) | Place::Unix(_) => None,
        }
    }

    /// Begins to connect, to `found` if the target is known by a name. The stream is established
    /// once a [`Stream::send`] is taken or [`Stream::prepare`] says so: on loopback mostly at
    /// once, although connect() says EINPROGRESS there too, because the target's SYN-ACK waits in
    /// the backlog of our own socket until the call returns (`net/ipv4/af_inet.c`,
    /// `__inet_stream_connect`).
    ///
    /// # Errors
    /// What socket(), bind() and connect() say: EMFILE, EADDRNOTAVAIL, ...
    pub(super) fn dial(&mut self, found: Option<SocketAddr>) -> Result<Stream, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let to = match (&self.way.place, found) {
            (Place::Address(address), _) => *address,
            (Place::Name { .. }, Some(address)) => address,
            (Place::Name { .. }, None) => return Err(Errno::ADDRNOTAVAIL), // asked for without an answer
            (Place::Unix(path), _) => {
                let fd = self.within(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)?;
                // A full backlog is EAGAIN here (unix(7)), and nothing would tell of room.
                connect(&fd, &SocketAddrUnix::new(path)?)?;
                return self.wrap(fd, None);
            }
        };
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = self.within(socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?)?;
        if !self.way.sources.is_empty() {
            let source = self.way.sources[self.next_source % self.way.sources.len()];
            self.next_source = self.next_source.wrapping_add(1);
            // The port is chosen by connect(), when the destination is known: else bind() would
            // take one that is free for all destinations (ip(7), IP_BIND_ADDRESS_NO_PORT).
            let _ = nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::IpBindAddressNoPort, &true);
            bind(&fd, &SocketAddr::new(source, 0))?;
        }
        match connect(&fd, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(e) => return Err(e),
        }
        self.wrap(fd, Some(to))
    }

    /// Gives a descriptor back that others are to have.
    fn within(&self, fd: OwnedFd) -> Result<OwnedFd, Errno> {
        if fd.as_raw_fd() < self.fd_bound { Ok(fd) } else { Err(Errno::MFILE) }
    }

    fn wrap(&self, fd: OwnedFd, to: Option<SocketAddr>) -> Result<Stream, Errno> {
        let ends = || {
            let own = getsockname(&fd).ok().and_then(|own| SocketAddr::try_from(own).ok());
            own.zip(to)
        };
        let greeting = self.way.proxy_header.map(|header: ProxyHeader| header.bytes(ends()));
        match (&self.way.tls, greeting) {
            (Some(tls), greeting) => {
                let (tls, greeting) = (tls.clone(), greeting.unwrap_or_default());
                Ok(Stream::Fresh(Box::new(Fresh { fd, tls, greeting, connected: false })))
            }
            (None, Some(bytes)) => Ok(Stream::Greeting(Box::new(Greeting { fd, bytes, sent: 0 }))),
            (None, None) => Ok(Stream::Plain(fd)),
        }
    }
}

/// One connection's byte stream.
pub(super) enum Stream {
    /// Nothing between us and the socket.
    Plain(OwnedFd),
    /// The same, once something was said that goes before all requests.
    Greeting(Box<Greeting>),
    /// Nothing yet that TLS will be spoken over: what a handshake takes begins when the connection is there.
    Fresh(Box<Fresh>),
    /// TLS.
    Tls(Box<TlsStream>),
}

/// See [`Stream::Fresh`].
pub(super) struct Fresh {
    fd: OwnedFd,
    tls: Tls,
    /// What goes before the handshake.
    greeting: Vec<u8>,
    connected: bool,
}

/// See [`Stream::Greeting`].
pub(super) struct Greeting {
    fd: OwnedFd,
    bytes: Vec<u8>,
    sent: usize,
}

impl Stream {
    /// Whether [`Stream::prepare`] has to be called, again and again, before a request can be
    /// written. A plain stream is written to at once.
    pub(super) fn is_unprepared(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Greeting(_) | Stream::Fresh(_) => true,
            Stream::Tls(tls) => tls.is_unprepared(),
        }
    }

    /// Carries greeting and handshake as far as they go without waiting, with a stop between the
    /// connection and the handshake.
    ///
    /// # Errors
    /// What the socket says; [`super::tls_stream::BROKEN`] when the handshake failed, see
    /// [`Stream::take_reason`].
    pub(super) fn prepare(self) -> (Stream, Result<Prepared, Errno>) {
        match self {
            Stream::Fresh(fresh) if fresh.connected => match fresh.tls.begin() {
                Ok(session) => {
                    let mut tls = Box::new(TlsStream::over(fresh.fd, session, fresh.greeting));
                    let went = tls.prepare();
                    (Stream::Tls(tls), went)
                }
                Err(_) => (Stream::Fresh(fresh), Err(BROKEN)),
            },
            mut stream => {
                let went = stream.prepare_further();
                (stream, went)
            }
        }
    }

    fn prepare_further(&mut self) -> Result<Prepared, Errno> {
        match self {
            Stream::Plain(_) => Ok(Prepared::Ready),
            Stream::Tls(tls) => tls.prepare(),
            // ENOTCONN until it is established, and when it can't be (getpeername(2)).
            Stream::Fresh(fresh) if getpeername(&fresh.fd).is_err() => {
                sockopt::socket_error(&fresh.fd)??;
                Ok(Prepared::Waits { connected: false })
            }
            Stream::Fresh(fresh) => {
                fresh.connected = true;
                Ok(Prepared::Connected)
            }
            Stream::Greeting(greeting) => {
                while greeting.sent < greeting.bytes.len() {
                    let left = &greeting.bytes[greeting.sent..];
                    match again(|| send(&greeting.fd, left, SendFlags::NOSIGNAL)) {
                        Ok(n) => greeting.sent += n,
                        Err(Errno::AGAIN | Errno::NOTCONN) => {
                            return Ok(Prepared::Waits { connected: greeting.sent > 0 });
                        }
                        Err(e) => return Err(e),
                    }
                }
                Ok(Prepared::Ready)
            }
        }
    }

    /// Whether preparations have shown that the socket is connected.
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Greeting(greeting) => greeting.sent > 0,
            Stream::Fresh(fresh) => fresh.connected,
            Stream::Tls(_) => true,
        }
    }

    /// Leaves preparations behind that have come to their end.
    pub(super) fn prepared(self) -> Stream {
        match self {
            Stream::Greeting(greeting) => Stream::Plain(greeting.fd),
            other => other,
        }
    }

    /// Why the stream broke, in words, once.
    pub(super) fn take_reason(&mut self) -> Option<String> {
        match self {
            Stream::Tls(tls) => tls.reason.take(),
            _ => None,
        }
    }

    /// Writes what there is room for. EAGAIN: no room, or not established yet; call again
    /// when the socket is writable. A connection that could not be established says why here
    /// (`net/ipv4/tcp.c`, `tcp_sendmsg_locked` waits for and reports the connect).
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Stream::Plain(fd) => again(|| send(&*fd, bytes, SendFlags::NOSIGNAL)),
            Stream::Tls(tls) => tls.send(bytes),
            Stream::Greeting(_) | Stream::Fresh(_) => Err(Errno::AGAIN), // to be prepared first
        }
    }

    /// Whether something that was taken has not gone yet: call [`Stream::flush`] when the socket
    /// is writable.
    pub(super) fn is_unflushed(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.is_unflushed(),
            Stream::Plain(_) | Stream::Greeting(_) | Stream::Fresh(_) => false,
        }
    }

    /// Sends what was taken and has not gone yet.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        match self {
            Stream::Tls(tls) => tls.flush().map(drop),
            Stream::Plain(_) | Stream::Greeting(_) | Stream::Fresh(_) => Ok(()),
        }
    }

    /// Reads what has come, 0 at the end of the stream. EAGAIN: nothing. Less than `into`
    /// holds: nothing more has come either, so that no further call is needed to find out
    /// (epoll(7), question 9).
    pub(super) fn recv(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Stream::Plain(fd) => again(|| recv(&*fd, &mut *into, RecvFlags::empty()).map(|(_, n)| n)),
            Stream::Tls(tls) => tls.recv(into),
            Stream::Greeting(_) | Stream::Fresh(_) => Err(Errno::AGAIN),
        }
    }

    /// Whether the stream is known to be at its end behind what there is to read, although the
    /// socket may not say so.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.is_ended(),
            Stream::Plain(_) | Stream::Greeting(_) | Stream::Fresh(_) => false,
        }
    }

    /// Whether it ended in a way that anybody between here and the target could have made: a
    /// response that goes up to the end is not known to be whole (RFC 9112 section 9.8).
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.is_cut(),
            Stream::Plain(_) | Stream::Greeting(_) | Stream::Fresh(_) => false,
        }
    }

    /// Lets small pieces go at once instead of waiting for the acknowledgement of what went
    /// before: a request of one segment never waits, so only longer ones ask for it.
    pub(super) fn hurry(&self) {
        let _ = sockopt::set_tcp_nodelay(self, true); // a unix socket has no such option
    }

    /// Takes leave as the stream's protocol wants it.
    pub(super) fn say_goodbye(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.say_goodbye();
        }
    }

    /// Whether the stream ends where it begins. Nobody listens on a loopback port of the
    /// ephemeral range, the kernel picks that very port for our end, and the two SYNs cross
    /// (RFC 9293 section 3.5): we would read our own request, and hold the port against the
    /// target's return.
    pub(super) fn is_to_itself(&self) -> bool {
        let tcp = |address: SocketAddrAny| SocketAddr::try_from(address).ok();
        let peer = getpeername(self).ok().flatten().and_then(tcp);
        peer.is_some() && getsockname(self).ok().and_then(tcp) == peer
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Plain(fd) => fd.as_fd(),
            Stream::Greeting(greeting) => greeting.fd.as_fd(),
            Stream::Fresh(fresh) => fresh.fd.as_fd(),
            Stream::Tls(tls) => tls.fd.as_fd(),
        }
    }
}

fn again(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn open(to: SocketAddr) -> Result<Stream, Errno> {
        Dialer::new(to.into(), 0).dial(None)
    }

    #[test]
    fn a_connection_to_itself_is_told_from_one_to_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!open(listener.local_addr().unwrap()).unwrap().is_to_itself());
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::empty(), None).unwrap();
        bind(&fd, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        let own = SocketAddr::try_from(getsockname(&fd).unwrap()).unwrap();
        connect(&fd, &own).unwrap();
        assert!(Stream::Plain(fd).is_to_itself());
    }

    #[test]
    fn source_addresses_take_turns() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sources: Vec<std::net::IpAddr> = ["127.0.0.2", "127.0.0.3"].map(|ip| ip.parse().unwrap()).into();
        let way = Way { sources: sources.clone().into(), ..listener.local_addr().unwrap().into() };
        let mut dialer = Dialer::new(way, 1);
        let _open: Vec<Stream> = (0..3).map(|_| dialer.dial(None).unwrap()).collect();
        let mut came: Vec<_> = (0..3).map(|_| listener.accept().unwrap().1.ip()).collect();
        came.sort();
        assert_eq!(came, [sources[0], sources[1], sources[1]]);
    }

    #[test]
    fn a_refused_connection_says_so_when_written_to() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut stream = match open(nobody) {
            Ok(stream) => stream,
            Err(e) => return assert_eq!(e, Errno::CONNREFUSED),
        };
        let mut said = stream.send(b"x");
        while said == Err(Errno::AGAIN) {
            std::thread::yield_now();
            said = stream.send(b"x");
        }
        assert_eq!(said, Err(Errno::CONNREFUSED));
    }
}
