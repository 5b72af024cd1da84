//! The host's TCP sockets, from sock_diag where the kernel lets it and from /proc/net/tcp
//! and tcp6 where not. The text costs twice as much and gives every socket whatever is
//! asked; it is left after a bounded time.
//!
//! Must not: keep sockets; each is given to the caller as it is read.

use super::diag::{Diag, Ended};
use super::fields::{hex, number, words};
use super::sampler::{HostError, Setup};
use crate::clock::Clock;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Reading the table is given up after this long; a million sockets take some 0.5 s.
const LONGEST: Duration = Duration::from_millis(1500);

/// Sets of TCP states: bit n stands for state n of include/net/tcp_states.h.
pub(super) mod states {
    pub(in crate::host) const ESTABLISHED: u32 = 1 << 1;
    pub(in crate::host) const SYN_SENT: u32 = 1 << 2;
    pub(in crate::host) const SYN_RECV: u32 = 1 << 3;
    pub(in crate::host) const FIN_WAIT1: u32 = 1 << 4;
    pub(in crate::host) const FIN_WAIT2: u32 = 1 << 5;
    pub(in crate::host) const TIME_WAIT: u32 = 1 << 6;
    pub(in crate::host) const CLOSE_WAIT: u32 = 1 << 8;
    pub(in crate::host) const LAST_ACK: u32 = 1 << 9;
    pub(in crate::host) const LISTEN: u32 = 1 << 10;
    pub(in crate::host) const CLOSING: u32 = 1 << 11;
}

/// Which sockets are meant.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// In one of these states, see [`states`].
    pub(super) states: u32,
    /// With this remote address and port, in canonical form (no IPv4-mapped IPv6).
    pub(super) remote: Option<SocketAddr>,
    /// With this local port.
    pub(super) local_port: Option<u16>,
}

impl Query {
    fn means(&self, socket: &Socket) -> bool {
        self.states & socket.state_bit() != 0
            && self.remote.is_none_or(|r| r.ip() == socket.remote.ip() && r.port() == socket.remote.port())
            && self.local_port.is_none_or(|p| p == socket.local.port())
    }
}

/// One TCP socket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Socket {
    /// Its state, by include/net/tcp_states.h.
    pub(super) state: u8,
    /// An IPv6 socket, perhaps with IPv4 addresses.
    pub(super) is_v6: bool,
    /// The short form that TIME_WAIT and orphaned FIN_WAIT2 sockets are kept in
    /// (inet_timewait_sock); `tw` of sockstat counts both.
    pub(super) is_mini: bool,
    /// Local address, canonical.
    pub(super) local: SocketAddr,
    /// Remote address, canonical.
    pub(super) remote: SocketAddr,
    /// Bytes not read yet; of a listener the connections waiting to be accepted.
    pub(super) rqueue: u32,
    /// Of a listener its backlog limit; not in /proc/net/tcp.
    pub(super) wqueue: Option<u32>,
    /// Its inode, 0 without a process.
    pub(super) inode: u64,
}

impl Socket {
    /// The timer code of a socket in the short form (net/ipv4/inet_diag.c, tcp_ipv4.c).
    pub(super) const TIMER_TIME_WAIT: u8 = 3;

    /// Its state as a bit of [`states`].
    pub(super) fn state_bit(&self) -> u32 {
        // TCP_NEW_SYN_RECV is the kernel's own name for a SYN_RECV that has no socket yet.
        let state = if self.state == 12 { 3 } else { self.state };
        1u32.checked_shl(u32::from(state)).unwrap_or(0)
    }
}

/// Reads the table, remembering which way works.
#[derive(Debug)]
pub(super) struct SocketTable {
    diag: Option<Diag>,
    refusal: Option<String>,
    text: [PathBuf; 2],
    clock: Clock,
    stop: Arc<AtomicBool>,
}

impl SocketTable {
    /// A table that asks netlink first. Below a fixture root only the text files are read,
    /// since netlink always answers for this host.
    pub(super) fn new(setup: &Setup) -> SocketTable {
        let fixture = setup.root != std::path::Path::new("/");
        SocketTable {
            diag: None,
            refusal: fixture.then(String::new),
            text: ["proc/net/tcp", "proc/net/tcp6"].map(|p| setup.root.join(p)),
            clock: setup.clock.clone(),
            stop: setup.stop.clone(),
        }
    }

    /// Why netlink was refused, when it was.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref().filter(|r| !r.is_empty())
    }

    /// Gives every socket of `query`. `restart` is called before the first one, and again
    /// when the table changed under the reading and it begins anew.
    pub(super) fn list<S>(
        &mut self,
        query: &Query,
        state: &mut S,
        restart: fn(&mut S),
        each: fn(&mut S, &Socket),
    ) -> Result<(), HostError> {
        let until = self.clock.now() + LONGEST;
        let (clock, stop) = (self.clock.clone(), self.stop.clone());
        let mut go_on = || clock.now() < until && !stop.load(Ordering::Relaxed);
        if self.refusal.is_none() {
            match self.by_netlink(query, state, restart, each, &mut go_on) {
                Ok(Ended::GivenUp) => return Err(self.given_up()),
                Ok(_) => return Ok(()),
                Err(e) if is_refusal(&e) => {
                    self.refusal = Some(format!("{}; /proc/net/tcp is read instead", HostError::Diag(e)));
                }
                Err(e) => return Err(HostError::Diag(e)),
            }
        }
        restart(state);
        let mut first = true;
        for path in &self.text {
            let read = by_text(path, query, &mut |s| each(state, s), &mut go_on);
            match read {
                Ok(true) => {}
                Ok(false) => return Err(self.given_up()),
                // tcp6 is absent when the kernel has no IPv6.
                Err(e) if !first && e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(HostError::Read { path: path.clone(), source }),
            }
            first = false;
        }
        Ok(())
    }

    fn by_netlink<S>(
        &mut self,
        query: &Query,
        state: &mut S,
        restart: fn(&mut S),
        each: fn(&mut S, &Socket),
        go_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<Ended> {
        let mut diag = match self.diag.take() {
            Some(diag) => diag,
            None => Diag::open()?,
        };
        let mut ended = Ended::Interrupted;
        // A busy table may change under every reading; the second one is then as good as it gets.
        for _ in 0..2 {
            restart(state);
            ended = diag.dump(query, go_on, &mut |s| {
                if query.means(s) {
                    each(state, s);
                }
            })?;
            if ended != Ended::Interrupted {
                break;
            }
        }
        if ended != Ended::GivenUp {
            self.diag = Some(diag);
        }
        Ok(ended)
    }

    fn given_up(&self) -> HostError {
        if self.stop.load(Ordering::Relaxed) { HostError::Stopped } else { HostError::TooLong(LONGEST.as_millis()) }
    }
}

/// Whether the kernel, its build or a sandbox lets nobody ask over netlink, now and later.
/// Anything else, such as a lack of descriptors or memory, says nothing about the next time.
fn is_refusal(e: &io::Error) -> bool {
    // EPERM, ENOENT, EACCES, EINVAL, ENOSYS, EPROTONOSUPPORT, EOPNOTSUPP, EAFNOSUPPORT
    matches!(e.raw_os_error(), Some(1 | 2 | 13 | 22 | 38 | 93 | 95 | 97))
}

/// Gives every socket of `query` in one of the two text files; `false` when it was given up.
fn by_text(
    path: &std::path::Path,
    query: &Query,
    each: &mut dyn FnMut(&Socket),
    go_on: &mut dyn FnMut() -> bool,
) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(64 << 10, File::open(path)?);
    let mut line = Vec::with_capacity(256);
    for n in 0u64.. {
        if n % 256 == 0 && !go_on() {
            return Ok(false);
        }
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if let Some(socket) = parse_line(&line).filter(|s| query.means(s)) {
            each(&socket);
        }
    }
    Ok(true)
}

/// A line of /proc/net/tcp or tcp6 (Documentation/networking/proc_net_tcp.rst); `None` for
/// the header.
fn parse_line(line: &[u8]) -> Option<Socket> {
    let mut w = words(line);
    let local = parse_address(w.nth(1)?)?;
    let remote = parse_address(w.next()?)?;
    let state = u8::try_from(hex(w.next()?)?).ok()?;
    let rqueue = w.next()?.split(|b| *b == b':').nth(1).and_then(hex)?;
    let timer = w.next()?.split(|b| *b == b':').next().and_then(hex)?;
    let inode = number(w.nth(3)?)?;
    Some(Socket {
        state,
        is_v6: local.is_v6,
        is_mini: timer == u64::from(Socket::TIMER_TIME_WAIT),
        local: local.address,
        remote: remote.address,
        rqueue: u32::try_from(rqueue).ok()?,
        wqueue: None,
        inode,
    })
}

struct TextAddress {
    is_v6: bool,
    address: SocketAddr,
}

/// `0100007F:1F90`: the address as 32-bit words in the host's byte order, the port in order.
fn parse_address(word: &[u8]) -> Option<TextAddress> {
    let (address, port) = word.split_at_checked(word.iter().position(|b| *b == b':')?)?;
    let port = u16::try_from(hex(port.get(1..)?)?).ok()?;
    let mut octets = [0u8; 16];
    for (slot, digits) in octets.chunks_exact_mut(4).zip(address.chunks(8)) {
        slot.copy_from_slice(&u32::try_from(hex(digits)?).ok()?.to_ne_bytes());
    }
    let [a, b, c, d, ..] = octets;
    match address.len() {
        8 => Some(TextAddress { is_v6: false, address: SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port) }),
        32 => {
            let ip = IpAddr::from(Ipv6Addr::from(octets)).to_canonical();
            Some(TextAddress { is_v6: true, address: SocketAddr::new(ip, port) })
        }
        _ => None,
    }
}

/// The socket's address in the form tables are asked with: IPv4-mapped IPv6 as IPv4, and the
/// unspecified address, which connects to this host, as loopback.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// How well a listener's own address matches a target, as the kernel picks one: the exact
/// address before a wildcard of the family, that before an IPv6 wildcard that takes IPv4 too.
/// 0 when it does not listen for the target.
pub(super) fn listens_for(listener: &Socket, target: SocketAddr) -> u8 {
    let own = listener.local;
    if listener.state_bit() != states::LISTEN || own.port() != target.port() {
        0
    } else if own.ip() == target.ip() {
        3
    } else if !own.ip().is_unspecified() {
        0
    } else if listener.is_v6 == target.is_ipv6() {
        2
    } else {
        u8::from(listener.is_v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(target_endian = "little")]
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 00000000:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n   \
        1: 0100007F:9C40 0500007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1\n   \
        2: 0100007F:9C41 0500007F:1F90 06 00000000:00000000 03:0000176F 00000000     0        0 0 3 0000000000000000\n   \
        3: 0100007F:9C42 0600007F:1F90 02 00000001:00000000 01:00000064 00000001  1000        0 4713 2 0000000000000000 100 0 0 1 7\n";
    #[cfg(target_endian = "little")]
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0000000000000000FFFF00000100007F:9C43 0000000000000000FFFF00000500007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4714 1 0000000000000000 20 4 30 10 -1\n   \
        1: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4715 1 0000000000000000 100 0 0 10 0\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_text_files_give_the_same_sockets_as_netlink_would() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        std::fs::write(dir.path().join("proc/net/tcp"), TCP).unwrap();
        let mut setup = Setup::of_host(None, None, Clock::manual());
        setup.root = dir.path().into();
        let mut table = SocketTable::new(&setup);
        let mut list = |query: &Query| {
            let mut seen: Vec<Socket> = Vec::new();
            table.list(query, &mut seen, Vec::clear, |seen, s| seen.push(s.clone())).unwrap();
            seen
        };
        let to = Query { states: u32::MAX, remote: Some("127.0.0.5:8080".parse().unwrap()), local_port: None };
        assert_eq!(list(&to).len(), 2, "no tcp6 is no error");
        std::fs::write(dir.path().join("proc/net/tcp6"), TCP6).unwrap();
        let seen = list(&to);
        assert_eq!(seen.iter().map(|s| s.local.port()).collect::<Vec<_>>(), [40000, 40001, 40003]);
        assert!(seen[1].is_mini && !seen[0].is_mini && seen[2].is_v6);
        assert_eq!(seen[2].local.ip().to_string(), "127.0.0.1");
        let listening = list(&Query { states: states::LISTEN, remote: None, local_port: Some(8080) });
        assert_eq!(listening.iter().map(|s| (s.inode, s.rqueue)).collect::<Vec<_>>(), [(4711, 5), (4715, 0)]);
        let target = "127.0.0.5:8080".parse().unwrap();
        assert_eq!(listening.iter().map(|s| listens_for(s, target)).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(listens_for(&listening[0], "[::1]:8080".parse().unwrap()), 0);
    }

    #[test]
    fn a_target_is_asked_for_in_canonical_form() {
        let canonical = |s: &str| super::canonical(s.parse().unwrap()).to_string();
        assert_eq!(canonical("[::ffff:10.0.0.7]:80"), "10.0.0.7:80");
        assert_eq!(canonical("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(canonical("[::]:80"), "[::1]:80");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(
            bytes: Vec<u8>,
            text in "[0-9]: [0-9A-F]{0,40}:[0-9A-F]{0,5} [0-9A-F]{8}:[0-9A-F]{4} [0-9A-F]{2} [0-9:]{0,20} [0-9:]{0,9}( [0-9]{0,3}){0,5}",
        ) {
            parse_line(&bytes);
            if let Some(s) = parse_line(text.as_bytes()) {
                s.state_bit();
            }
        }
    }
}
