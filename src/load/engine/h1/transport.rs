//! The byte stream under one connection: opened without waiting, then written and read
//! without waiting.
//!
//! The seam for other ways to reach a target: the connection above knows only [`Stream`],
//! what its calls return, and when to call them again.
//!
//! Must not: know HTTP, clocks or how readiness is waited for.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, getsockname, ipproto, recv, send,
    socket_with, sockopt,
};
use std::net::SocketAddr;

/// One connection's byte stream.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP, nothing between us and the socket.
    Tcp(OwnedFd),
}

impl Stream {
    /// Begins to connect. It is established once a [`Stream::send`] is taken: on loopback
    /// mostly at once, although connect() says EINPROGRESS there too, because the target's
    /// SYN-ACK waits in the backlog of our own socket until the call returns
    /// (`net/ipv4/af_inet.c`, `__inet_stream_connect`).
    ///
    /// # Errors
    /// What socket() and connect() say: EMFILE, EADDRNOTAVAIL, ...
    pub(super) fn open(address: &SocketAddr) -> Result<Stream, Errno> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        match connect(&fd, address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Stream::Tcp(fd)),
            Err(e) => Err(e),
        }
    }

    /// Writes what there is room for. EAGAIN: no room, or not established yet; call again
    /// when the socket is writable. A connection that could not be established says why here
    /// (`net/ipv4/tcp.c`, `tcp_sendmsg_locked` waits for and reports the connect).
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Stream::Tcp(fd) => again(|| send(&*fd, bytes, SendFlags::NOSIGNAL)),
        }
    }

    /// Reads what has come, 0 at the end of the stream. EAGAIN: nothing. Less than `into`
    /// holds: nothing more has come either, so that no further call is needed to find out
    /// (epoll(7), question 9).
    pub(super) fn recv(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Stream::Tcp(fd) => again(|| recv(&*fd, &mut *into, RecvFlags::empty()).map(|(_, n)| n)),
        }
    }

    /// Lets small pieces go at once instead of waiting for the acknowledgement of what went
    /// before: a request of one segment never waits, so only longer ones ask for it.
    pub(super) fn hurry(&self) {
        match self {
            Stream::Tcp(fd) => drop(sockopt::set_tcp_nodelay(fd, true)),
        }
    }

    /// Whether the stream ends where it begins. Nobody listens on a loopback port of the
    /// ephemeral range, the kernel picks that very port for our end, and the two SYNs cross
    /// (RFC 9293 section 3.5): we would read our own request, and hold the port against the
    /// target's return.
    pub(super) fn is_to_itself(&self, peer: &SocketAddr) -> bool {
        let own = getsockname(self).ok().and_then(|own| SocketAddr::try_from(own).ok());
        peer.ip().is_loopback() && own.is_some_and(|own| own == *peer)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(fd) => fd.as_fd(),
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
    use rustix::net::bind;
    use std::net::TcpListener;

    #[test]
    fn a_connection_to_itself_is_told_from_one_to_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        assert!(!Stream::open(&there).unwrap().is_to_itself(&there));
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::empty(), None).unwrap();
        bind(&fd, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        let own = SocketAddr::try_from(getsockname(&fd).unwrap()).unwrap();
        connect(&fd, &own).unwrap();
        assert!(Stream::Tcp(fd).is_to_itself(&own));
    }

    #[test]
    fn a_refused_connection_says_so_when_written_to() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut stream = match Stream::open(&nobody) {
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
