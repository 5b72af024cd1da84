//! The sockets to the target by state, and the local ports they hold against the ports there are.
//!
//! Must not: count sockets to anybody else; the kernel leaves them out by address and port.

use crate::host::ports::{PortRange, PortUse};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::host::sockettable::{Query, Socket, SocketTable, canonical, states};
use crate::model::{Instance, Metric};

/// Every state that holds a local port to a remote one.
const CONNECTED: u32 = states::ESTABLISHED
    | states::SYN_SENT
    | states::SYN_RECV
    | states::FIN_WAIT1
    | states::FIN_WAIT2
    | states::TIME_WAIT
    | states::CLOSE_WAIT
    | states::LAST_ACK
    | states::CLOSING;

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Destination {
        table: SocketTable::new(setup),
        query: Query { states: CONNECTED, remote: setup.target.map(canonical), local_port: None },
        target: setup.target.map(|t| Instance::from(t.to_string())),
        range: ProcFile::new(&setup.root, "proc/sys/net/ipv4/ip_local_port_range"),
        reserved: ProcFile::new(&setup.root, "proc/sys/net/ipv4/ip_local_reserved_ports"),
        tally: Tally::default(),
    })
}

struct Destination {
    table: SocketTable,
    query: Query,
    target: Option<Instance>,
    range: ProcFile,
    reserved: ProcFile,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    established: u64,
    syn_sent: u64,
    time_wait: u64,
    other: u64,
    ports: PortUse,
}

impl Tally {
    fn restart(&mut self) {
        self.ports.clear();
        (self.established, self.syn_sent, self.time_wait, self.other) = (0, 0, 0, 0);
    }

    fn add(&mut self, socket: &Socket) {
        *match socket.state_bit() {
            states::ESTABLISHED => &mut self.established,
            states::SYN_SENT => &mut self.syn_sent,
            states::TIME_WAIT => &mut self.time_wait,
            _ => &mut self.other,
        } += 1;
        self.ports.insert(socket.local.ip(), socket.local.port());
    }
}

impl Sampler for Destination {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        let Some(target) = &self.target else { return Ok(()) };
        self.table.list(&self.query, &mut self.tally, Tally::restart, Tally::add)?;
        out.put(Metric::DestEstablished, target, self.tally.established);
        out.put(Metric::DestSynSent, target, self.tally.syn_sent);
        out.put(Metric::DestTimeWait, target, self.tally.time_wait);
        out.put(Metric::DestOther, target, self.tally.other);
        let reserved = self.reserved.read_if_there()?.unwrap_or_default();
        let range = PortRange::parse(self.range.read()?, reserved)
            .ok_or_else(|| HostError::Shape { path: self.range.path().into(), what: "two ports".into() })?;
        out.put(Metric::PortsUsed, target, self.tally.ports.fullest(&range));
        out.put(Metric::PortsBudget, target, range.budget());
        Ok(())
    }
}
