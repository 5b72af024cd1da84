//! How many sockets are in each TCP state, and the target's listener when it is on this host.
//!
//! Only the states that few sockets are in are counted one by one; the two that may hold a
//! million come from the kernel's own totals: ESTAB from `CurrEstab` less CLOSE_WAIT,
//! TIME_WAIT from `tw` of sockstat less the FIN_WAIT2 sockets it counts besides.
//!
//! Must not: ask for ESTABLISHED or TIME_WAIT sockets.

use super::tcp::{Sockstat, curr_estab};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::host::sockettable::{Query, Socket, SocketTable, canonical, listens_for, states};
use crate::model::{Instance, Metric};
use std::net::SocketAddr;

/// The states that are counted one by one, with the names `ss` has for them.
const COUNTED: [(u32, &str); 8] = [
    (states::SYN_SENT, "SYN_SENT"),
    (states::SYN_RECV, "SYN_RECV"),
    (states::FIN_WAIT1, "FIN_WAIT1"),
    (states::FIN_WAIT2, "FIN_WAIT2"),
    (states::CLOSE_WAIT, "CLOSE_WAIT"),
    (states::LAST_ACK, "LAST_ACK"),
    (states::LISTEN, "LISTEN"),
    (states::CLOSING, "CLOSING"),
];

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Sockets {
        table: SocketTable::new(setup),
        query: Query { states: COUNTED.iter().fold(0, |set, (bit, _)| set | bit), remote: None, local_port: None },
        sockstat: ProcFile::new(&setup.root, "proc/net/sockstat"),
        snmp: ProcFile::new(&setup.root, "proc/net/snmp"),
        names: COUNTED.map(|(_, name)| Instance::from(name)),
        established: Instance::from("ESTAB"),
        time_wait: Instance::from("TIME_WAIT"),
        target: setup.target.map(|t| Instance::from(t.to_string())),
        tally: Tally { target: setup.target.map(canonical), ..Tally::default() },
    })
}

struct Sockets {
    table: SocketTable,
    query: Query,
    sockstat: ProcFile,
    snmp: ProcFile,
    names: [Instance; COUNTED.len()],
    established: Instance,
    time_wait: Instance,
    target: Option<Instance>,
    tally: Tally,
}

/// What is counted while the table is read.
#[derive(Default)]
struct Tally {
    target: Option<SocketAddr>,
    counts: [u64; COUNTED.len()],
    mini_fin_wait2: u64,
    listener: Option<Listener>,
}

/// The listener that the target's connections arrive at.
struct Listener {
    match_quality: u8,
    queue: u32,
    backlog: Option<u32>,
}

impl Listener {
    /// Of equally good ones (SO_REUSEPORT) the fullest is told: it drops first.
    fn beats(&self, other: &Listener) -> bool {
        let fullness = |l: &Listener| f64::from(l.queue) / f64::from(l.backlog.unwrap_or(1).max(1));
        self.match_quality > other.match_quality
            || (self.match_quality == other.match_quality && fullness(self) > fullness(other))
    }
}

impl Tally {
    fn restart(&mut self) {
        *self = Tally { target: self.target, ..Tally::default() };
    }

    fn add(&mut self, socket: &Socket) {
        let bit = socket.state_bit();
        for ((state, _), count) in COUNTED.iter().zip(&mut self.counts) {
            *count += u64::from(bit == *state);
        }
        self.mini_fin_wait2 += u64::from(socket.is_mini && bit == states::FIN_WAIT2);
        let match_quality = self.target.map_or(0, |t| listens_for(socket, t));
        if match_quality > 0 {
            let new = Listener { match_quality, queue: socket.rqueue, backlog: socket.wqueue };
            if self.listener.as_ref().is_none_or(|old| new.beats(old)) {
                self.listener = Some(new);
            }
        }
    }

    fn of(&self, state: u32) -> u64 {
        COUNTED.iter().zip(self.counts).find(|((s, _), _)| *s == state).map_or(0, |(_, n)| n)
    }
}

impl Sampler for Sockets {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        // The totals are read right before the table, so that what is taken off fits.
        let minis = Sockstat::parse(self.sockstat.read()?).time_wait.unwrap_or(0);
        let open = curr_estab(self.snmp.read()?).unwrap_or(0);
        self.table.list(&self.query, &mut self.tally, Tally::restart, Tally::add)?;
        if let Some(refusal) = self.table.refusal() {
            out.fault(refusal, Some("modprobe inet_diag tcp_diag"));
        }
        let less = |total: i64, part: u64| u64::try_from(total).unwrap_or(0).saturating_sub(part);
        out.put(Metric::TcpState, &self.established, less(open, self.tally.of(states::CLOSE_WAIT)));
        out.put(Metric::TcpState, &self.time_wait, less(minis, self.tally.mini_fin_wait2));
        for (name, count) in self.names.iter().zip(self.tally.counts) {
            out.put(Metric::TcpState, name, count);
        }
        if let (Some(target), Some(listener)) = (&self.target, &self.tally.listener) {
            out.put(Metric::ListenQueue, target, u64::from(listener.queue));
            if let Some(backlog) = listener.backlog {
                out.put(Metric::ListenBacklog, target, u64::from(backlog));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn every_state_is_there_and_the_totals_are_split_right() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        let write = |p: &str, t: &str| std::fs::write(dir.path().join("proc/net").join(p), t).unwrap();
        write("sockstat", "TCP: inuse 4 orphan 0 tw 9 alloc 9 mem 1\n");
        write("snmp", "Tcp: CurrEstab\nTcp: 5\n");
        // A listener with 3 waiting, a CLOSE_WAIT, an orphaned FIN_WAIT2, a whole FIN_WAIT2.
        write(
            "tcp",
            " 0: 00000000:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000 0 0 1 1 0\n \
              1: 0100007F:9C40 0500007F:1F90 08 00000000:00000000 00:00000000 00000000 0 0 2 1 0\n \
              2: 0100007F:9C41 0500007F:1F90 05 00000000:00000000 03:00000000 00000000 0 0 0 1 0\n \
              3: 0100007F:9C42 0500007F:1F90 05 00000000:00000000 00:00000000 00000000 0 0 3 1 0\n",
        );
        let target = "127.0.0.5:8080".parse().unwrap();
        let mut setup = Setup::of_host(Some(target), None, crate::clock::Clock::manual());
        setup.root = dir.path().into();
        let mut out = Batch::default();
        open(&setup).sample(&mut out).unwrap();
        let of = |m, i: &str| out.values.iter().find(|r| r.metric == m && &*r.instance == i).map(|r| r.value);
        let want = [
            ("ESTAB", 4),
            ("TIME_WAIT", 8),
            ("SYN_SENT", 0),
            ("SYN_RECV", 0),
            ("FIN_WAIT1", 0),
            ("FIN_WAIT2", 2),
            ("CLOSE_WAIT", 1),
            ("LAST_ACK", 0),
            ("LISTEN", 1),
            ("CLOSING", 0),
        ];
        for (state, count) in want {
            assert_eq!(of(Metric::TcpState, state), Some(count), "{state}");
        }
        assert_eq!(of(Metric::ListenQueue, "127.0.0.5:8080"), Some(3));
        assert_eq!(of(Metric::ListenBacklog, "127.0.0.5:8080"), None, "the text does not tell it");
        assert_eq!(out.values.len(), want.len() + 1);
    }

    #[test]
    fn of_several_listeners_the_best_match_and_then_the_fullest_is_told() {
        let l = |match_quality, queue| Listener { match_quality, queue, backlog: Some(10) };
        assert!(l(3, 0).beats(&l(2, 9)) && l(2, 5).beats(&l(2, 4)) && !l(2, 4).beats(&l(2, 4)));
    }
}
