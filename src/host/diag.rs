//! The kernel's socket table over netlink: sock_diag(7), asked with a state mask and a filter
//! that runs in the kernel, so that sockets nobody asked for are not copied out.
//!
//! The messages are made and read here, byte by byte: the crate for them has no place for
//! the filter (INET_DIAG_REQ_BYTECODE), and what is needed are two fixed layouts of
//! include/uapi/linux/{netlink,sock_diag,inet_diag}.h.
//!
//! Must not: count or judge sockets, or trust a length that is read.

use super::sockettable::{Query, Socket};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The older request. Unlike SOCK_DIAG_BY_FAMILY it gives IPv4 and IPv6 in one walk over the
/// table (net/ipv4/inet_diag.c inet_diag_dump_compat), which is the cost.
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_D_COND: u8 = 8;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const HEADER: usize = 16;

/// The kernel fills at most 32 KiB per datagram of a dump (net/netlink/af_netlink.c).
const BUFFER: usize = 64 << 10;

/// What a dump ended with.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    /// Every socket that the query means was given.
    Whole,
    /// The table was changed in a way that may have hidden or doubled sockets.
    Interrupted,
    /// The caller's `go_on` said no.
    GivenUp,
}

/// A netlink socket to sock_diag.
#[derive(Debug)]
pub(super) struct Diag {
    socket: OwnedFd,
    buffer: Vec<u8>,
    request: Vec<u8>,
    sequence: u32,
    /// The kernel refused the request for both families in one.
    one_by_one: bool,
}

impl Diag {
    /// Opens the socket; needs no privilege.
    pub(super) fn open() -> io::Result<Diag> {
        let protocol = Some(netlink::SOCK_DIAG);
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
        // More room than the default lets the kernel run ahead; failing to get it costs only time.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, 1 << 20);
        // The kernel answers within the call; this only keeps a broken one from hanging us.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
        Ok(Diag { socket, buffer: vec![0; BUFFER], request: Vec::new(), sequence: 0, one_by_one: false })
    }

    /// Gives every socket of `query`. `go_on` is asked before each datagram.
    ///
    /// After an error and after [`Ended::GivenUp`] the socket may hold the rest of the
    /// answer: drop it.
    pub(super) fn dump(
        &mut self,
        query: &Query,
        go_on: &mut dyn FnMut() -> bool,
        each: &mut dyn FnMut(&Socket),
    ) -> io::Result<Ended> {
        if !self.one_by_one {
            match self.ask(Families::Both, query, go_on, each) {
                // The request came before anything was given: ask in the newer way.
                Err(e) if matches!(e.raw_os_error(), Some(EINVAL | ENOENT | EOPNOTSUPP)) => self.one_by_one = true,
                other => return other,
            }
        }
        let mut ended = Ended::Whole;
        for family in [AF_INET, AF_INET6] {
            let asked = self.ask(Families::One(family), query, go_on, each);
            match asked {
                Ok(Ended::Whole) => {}
                Ok(Ended::Interrupted) => ended = Ended::Interrupted,
                Ok(Ended::GivenUp) => return Ok(Ended::GivenUp),
                // A kernel without IPv6 has no such handler.
                Err(e) if family == AF_INET6 && e.raw_os_error() == Some(ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(ended)
    }

    fn ask(
        &mut self,
        families: Families,
        query: &Query,
        go_on: &mut dyn FnMut() -> bool,
        each: &mut dyn FnMut(&Socket),
    ) -> io::Result<Ended> {
        self.sequence = self.sequence.wrapping_add(1);
        write_request(&mut self.request, families, query, self.sequence);
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &self.request, SendFlags::empty()))?;
        let mut ended = Ended::Whole;
        loop {
            if !go_on() {
                return Ok(Ended::GivenUp);
            }
            let (_, len) =
                rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC))?;
            let Some(datagram) = self.buffer.get(..len) else {
                return Err(io::Error::other("a datagram is longer than 64 KiB"));
            };
            for message in Messages(datagram) {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    ended = Ended::Interrupted;
                }
                match message.kind {
                    NLMSG_DONE => {
                        // The dump's result; a kernel before 4.13 may leave it out.
                        let code = field::<4>(message.payload, 0).map_or(0, i32::from_ne_bytes);
                        return if code < 0 { Err(errno(code)) } else { Ok(ended) };
                    }
                    NLMSG_ERROR => {
                        let code = field::<4>(message.payload, 0).map_or(-EINVAL, i32::from_ne_bytes);
                        return Err(errno(code));
                    }
                    TCPDIAG_GETSOCK | SOCK_DIAG_BY_FAMILY => {
                        if let Some(socket) = read_socket(message.payload) {
                            each(&socket);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Errno values of asm-generic/errno{,-base}.h.
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

fn errno(negative: i32) -> io::Error {
    io::Error::from_raw_os_error(negative.saturating_neg())
}

/// Which address families one request is for.
#[derive(Clone, Copy, Debug)]
enum Families {
    Both,
    One(u8),
}

/// struct nlmsghdr, struct inet_diag_req or inet_diag_req_v2, and the filter as an attribute.
fn write_request(out: &mut Vec<u8>, families: Families, query: &Query, sequence: u32) {
    out.clear();
    let kind = if matches!(families, Families::Both) { TCPDIAG_GETSOCK } else { SOCK_DIAG_BY_FAMILY };
    out.extend_from_slice(&0u32.to_ne_bytes()); // the length, known at the end
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    match families {
        Families::Both => {
            out.extend_from_slice(&[0; 4]); // idiag_family, src_len, dst_len, ext
            write_id(out, query);
            out.extend_from_slice(&query.states.to_ne_bytes());
            out.extend_from_slice(&0u32.to_ne_bytes()); // idiag_dbs
        }
        Families::One(family) => {
            out.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
            out.extend_from_slice(&query.states.to_ne_bytes());
            write_id(out, query);
        }
    }
    if let Some(remote) = query.remote {
        write_filter(out, remote);
    }
    let len = u32::try_from(out.len()).unwrap_or(0);
    if let Some(slot) = out.get_mut(..4) {
        slot.copy_from_slice(&len.to_ne_bytes());
    }
}

/// struct inet_diag_sockid: in a dump request only the ports count, 0 for any.
fn write_id(out: &mut Vec<u8>, query: &Query) {
    out.extend_from_slice(&query.local_port.unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&query.remote.map_or(0, |r| r.port()).to_be_bytes());
    out.extend_from_slice(&[0; 16 + 16 + 4]); // source, destination, interface
    out.extend_from_slice(&[0xff; 8]); // INET_DIAG_NOCOOKIE twice
}

/// One condition on the remote address: struct inet_diag_bc_op and inet_diag_hostcond. An
/// IPv4 condition also means the IPv4-mapped addresses of IPv6 sockets (inet_diag_bc_run).
fn write_filter(out: &mut Vec<u8>, remote: SocketAddr) {
    let (family, bits, address): (u8, u8, &[u8]) = match &remote {
        SocketAddr::V4(a) => (AF_INET, 32, &a.ip().octets()),
        SocketAddr::V6(a) => (AF_INET6, 128, &a.ip().octets()),
    };
    let op_len = 4 + 8 + if family == AF_INET { 4u8 } else { 16 };
    let attribute_len = 4 + u16::from(op_len);
    out.extend_from_slice(&attribute_len.to_ne_bytes());
    out.extend_from_slice(&INET_DIAG_REQ_BYTECODE.to_ne_bytes());
    out.extend_from_slice(&[INET_DIAG_BC_D_COND, op_len]);
    // Where to go on when it does not hold: past the end, which rejects the socket.
    out.extend_from_slice(&(u16::from(op_len) + 4).to_ne_bytes());
    out.extend_from_slice(&[family, bits, 0, 0]);
    out.extend_from_slice(&i32::from(remote.port()).to_ne_bytes());
    out.extend_from_slice(address);
}

/// One netlink message of a datagram.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages of a datagram; ends at the first that does not fit.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let rest = self.0;
        let len = usize::try_from(u32::from_ne_bytes(field(rest, 0)?)).ok()?;
        let whole = rest.get(..len).filter(|_| len >= HEADER)?;
        let message = Message {
            kind: u16::from_ne_bytes(field(whole, 4)?),
            flags: u16::from_ne_bytes(field(whole, 6)?),
            sequence: u32::from_ne_bytes(field(whole, 8)?),
            payload: whole.get(HEADER..)?,
        };
        // NLMSG_ALIGN; the last message may lack its padding.
        self.0 = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// struct inet_diag_msg.
fn read_socket(payload: &[u8]) -> Option<Socket> {
    let [family, state, timer, _] = field(payload, 0)?;
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            AF_INET => Some(Ipv4Addr::from(field::<4>(payload, at)?).into()),
            AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(field::<16>(payload, at)?)).to_canonical()),
            _ => None,
        }
    };
    Some(Socket {
        state,
        is_v6: family == AF_INET6,
        is_mini: timer == Socket::TIMER_TIME_WAIT,
        local: SocketAddr::new(address(8)?, u16::from_be_bytes(field(payload, 4)?)),
        remote: SocketAddr::new(address(24)?, u16::from_be_bytes(field(payload, 6)?)),
        rqueue: u32::from_ne_bytes(field(payload, 56)?),
        wqueue: Some(u32::from_ne_bytes(field(payload, 60)?)),
        inode: u64::from(u32::from_ne_bytes(field(payload, 68)?)),
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockettable::states;
    use proptest::prelude::*;

    #[test]
    fn a_request_has_the_kernels_layout() {
        let query =
            Query { states: states::TIME_WAIT, remote: Some("127.0.0.9:80".parse().unwrap()), local_port: None };
        let mut out = Vec::new();
        write_request(&mut out, Families::Both, &query, 7);
        // nlmsghdr + inet_diag_req + attribute of header, op, hostcond and 4 address bytes.
        assert_eq!(out.len(), 16 + 60 + 4 + 4 + 8 + 4);
        assert_eq!(out[..4], (out.len() as u32).to_ne_bytes());
        assert_eq!(out[16 + 4 + 2..][..2], [0, 80]);
        assert_eq!(out[16 + 4 + 48..][..4], (1u32 << 6).to_ne_bytes());
        assert_eq!(
            out[76..],
            [
                &20u16.to_ne_bytes()[..],
                &1u16.to_ne_bytes(),
                &[8, 16],
                &20u16.to_ne_bytes(),
                &[2, 32, 0, 0],
                &80i32.to_ne_bytes(),
                &[127, 0, 0, 9]
            ]
            .concat()
        );
        let query = Query { remote: None, ..query };
        write_request(&mut out, Families::One(AF_INET6), &query, 7);
        assert_eq!(out.len(), 16 + 56);
        assert_eq!(out[16..20], [AF_INET6, IPPROTO_TCP, 0, 0]);
    }

    #[test]
    fn both_ways_of_asking_see_the_same_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let query = Query { states: states::LISTEN, remote: None, local_port: Some(port) };
        for one_by_one in [false, true] {
            let mut diag = match Diag::open() {
                Ok(diag) => diag,
                Err(e) => {
                    assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "needs sock_diag: {e}");
                    let _ = std::io::Write::write_all(&mut std::io::stderr(), b"skipped: needs sock_diag\n");
                    return;
                }
            };
            diag.one_by_one = one_by_one;
            let mut seen = Vec::new();
            let ended = diag.dump(&query, &mut || true, &mut |s| seen.push(s.clone())).unwrap();
            assert_eq!((ended, seen.len()), (Ended::Whole, 1), "{seen:?}");
            assert_eq!(seen[0].local, listener.local_addr().unwrap());
            assert_eq!(diag.one_by_one, one_by_one, "this kernel knows both requests");
        }
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_panic(bytes: Vec<u8>, len in 0u32..200, family in 0u8..12) {
            let mut framed = len.to_ne_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            for datagram in [&bytes, &framed] {
                for message in Messages(datagram) {
                    read_socket(message.payload);
                }
            }
            let mut payload = vec![family];
            payload.extend_from_slice(&bytes);
            read_socket(&payload);
        }
    }
}
