//! TLS over one socket, without waiting: rustls between our bytes and the socket's.
//!
//! Must not: know HTTP, or decide whom to trust.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustls::ClientConnection;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// Stands for a broken TLS stream among the errors of a socket: no call on a TCP socket says
/// EPROTO (tcp(7)).
pub(super) const BROKEN: Errno = Errno::PROTO;

/// How far the preparations of a stream have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// An event will say when they go on.
    Waits {
        /// The connection itself is established.
        connected: bool,
    },
    /// It has just been found established: what comes next is the handshake.
    Connected,
    /// Requests can be written.
    Ready,
}

const WAITS: Prepared = Prepared::Waits { connected: true };

/// See the top of the file.
pub(super) struct TlsStream {
    pub(super) fd: OwnedFd,
    session: ClientConnection,
    /// What goes before the handshake, as it is, and how much of it went.
    greeting: Vec<u8>,
    greeted: usize,
    /// The handshake has ended and all of it was sent.
    prepared: bool,
    /// The target has said that nothing more comes, or has closed.
    ended: bool,
    /// It has closed without saying so: what came may be less than was sent.
    cut: bool,
    /// Why the stream broke.
    pub(super) reason: Option<String>,
}

impl TlsStream {
    /// Over a socket that is connected, with `greeting` before the handshake.
    pub(super) fn over(fd: OwnedFd, session: ClientConnection, greeting: Vec<u8>) -> TlsStream {
        // The handshake's pieces don't wait for each other's acknowledgement.
        let _ = sockopt::set_tcp_nodelay(&fd, true);
        TlsStream { fd, session, greeting, greeted: 0, prepared: false, ended: false, cut: false, reason: None }
    }

    /// Whether requests can't be written yet.
    pub(super) fn is_unprepared(&self) -> bool {
        !self.prepared
    }

    /// Whether something that was taken by [`TlsStream::send`] has not gone yet.
    pub(super) fn is_unflushed(&self) -> bool {
        self.session.wants_write()
    }

    /// Whether the stream is at its end behind what there is to read.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether it ended without the closure alert that tells an end from a cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Carries greeting and handshake as far as they go.
    pub(super) fn prepare(&mut self) -> Result<Prepared, Errno> {
        while self.greeted < self.greeting.len() {
            match send(&self.fd, &self.greeting[self.greeted..], SendFlags::NOSIGNAL) {
                Ok(n) => self.greeted += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(WAITS),
                Err(e) => return Err(e),
            }
        }
        loop {
            if !self.session.is_handshaking() {
                // The end of the handshake goes with the first request, in one segment.
                self.prepared = true;
                return Ok(Prepared::Ready);
            }
            if !self.flush()? {
                return Ok(WAITS);
            }
            match self.fetch()? {
                Fetched::Some { .. } => {}
                Fetched::Nothing => return Ok(WAITS),
                Fetched::End => {
                    self.reason = Some("the target closed the connection during the handshake".into());
                    return Err(BROKEN);
                }
            }
        }
    }

    /// Takes what there is room for, encrypts it and sends what goes.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        // rustls keeps 64 KiB that have not gone, then it takes nothing more.
        let n = self.session.writer().write(bytes).map_err(|_| BROKEN)?;
        self.flush()?;
        if n == 0 && !bytes.is_empty() { Err(Errno::AGAIN) } else { Ok(n) }
    }

    /// Sends what is left; true: nothing is.
    pub(super) fn flush(&mut self) -> Result<bool, Errno> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire { fd: &self.fd, drained: false }) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(errno(&e)),
            }
        }
        Ok(true)
    }

    /// Decrypts what has come until `into` is full or the socket has no more: less than `into`
    /// holds means that nothing more has come.
    pub(super) fn recv(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let mut n = 0;
        let mut drained = false;
        loop {
            while n < into.len() && !self.ended {
                match self.session.reader().read(&mut into[n..]) {
                    Ok(0) => self.ended = true,
                    Ok(more) => n += more,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => (self.ended, self.cut) = (true, true),
                }
            }
            if n == into.len() || self.ended {
                return Ok(n);
            }
            let fetched = if drained { Ok(Fetched::Nothing) } else { self.fetch() };
            match fetched {
                Ok(Fetched::Some { drained: all }) => {
                    drained = all;
                    if self.session.wants_write() {
                        self.flush()?; // an answer to a change of keys
                    }
                }
                Ok(Fetched::End) => {}
                Ok(Fetched::Nothing) if n == 0 => return Err(Errno::AGAIN),
                Err(e) if n == 0 => return Err(e),
                Ok(Fetched::Nothing) | Err(_) => return Ok(n),
            }
        }
    }

    /// Reads from the socket once and decrypts it.
    fn fetch(&mut self) -> Result<Fetched, Errno> {
        let mut wire = Wire { fd: &self.fd, drained: false };
        let n = match self.session.read_tls(&mut wire) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Fetched::Nothing),
            Err(e) => return Err(errno(&e)),
        };
        let drained = wire.drained;
        if let Err(e) = self.session.process_new_packets() {
            self.reason = Some(crate::load::tls::in_words(&e));
            let _ = self.flush(); // the alert that tells the target why
            return Err(BROKEN);
        }
        Ok(if n == 0 { Fetched::End } else { Fetched::Some { drained } })
    }

    /// Tells the target that nothing more comes (RFC 8446 section 6.1).
    pub(super) fn say_goodbye(&mut self) {
        if !self.session.is_handshaking() && !self.ended {
            self.session.send_close_notify();
            let _ = self.flush();
        }
    }
}

/// What a look at the socket gave.
enum Fetched {
    Some {
        /// And there is no more.
        drained: bool,
    },
    Nothing,
    End,
}

fn errno(e: &io::Error) -> Errno {
    Errno::from_io_error(e).unwrap_or(BROKEN)
}

/// The socket as rustls sees it.
struct Wire<'a> {
    fd: &'a OwnedFd,
    /// The last read took all there was.
    drained: bool,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(self.fd, &mut *into, RecvFlags::empty()) {
                Ok((_, n)) => {
                    self.drained = n < into.len();
                    return Ok(n);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(self.fd, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                ended => return Ok(ended?),
            }
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            [one] => self.write(one),
            many => Ok(rustix::io::writev(self.fd, many)?), // SIGPIPE is ignored by every Rust program
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
