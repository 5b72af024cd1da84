//! TCP's totals and counters: /proc/net/sockstat, sockstat6, snmp and netstat.
//!
//! Must not: rely on the place of a field; kernels add fields in the middle, so they are found by name.

use crate::host::fields::{lines, signed, words};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::Metric;

/// Fields of /proc/net/snmp, line `Tcp:` (net/ipv4/proc.c snmp4_tcp_list; RFC 4022).
const SNMP: &[(&[u8], Metric)] = &[
    (b"ActiveOpens", Metric::TcpActiveOpens),
    (b"PassiveOpens", Metric::TcpPassiveOpens),
    (b"AttemptFails", Metric::TcpAttemptFails),
    (b"EstabResets", Metric::TcpEstabResets),
    (b"CurrEstab", Metric::TcpCurrEstab),
    (b"InSegs", Metric::TcpInSegs),
    (b"OutSegs", Metric::TcpOutSegs),
    (b"RetransSegs", Metric::TcpRetransSegs),
    (b"InErrs", Metric::TcpInErrs),
    (b"OutRsts", Metric::TcpOutRsts),
];

/// Fields of /proc/net/netstat, line `TcpExt:` (net/ipv4/proc.c snmp4_net_list).
const NETSTAT: &[(&[u8], Metric)] = &[
    (b"TW", Metric::TcpTw),
    (b"TWRecycled", Metric::TcpTwRecycled),
    (b"TWKilled", Metric::TcpTwKilled),
    (b"TCPTimeWaitOverflow", Metric::TcpTimeWaitOverflow),
    (b"PAWSEstab", Metric::TcpPawsEstab),
    (b"TCPSynRetrans", Metric::TcpSynRetrans),
    (b"TCPTimeouts", Metric::TcpTimeouts),
    (b"ListenOverflows", Metric::TcpListenOverflows),
    (b"ListenDrops", Metric::TcpListenDrops),
    (b"TCPReqQFullDrop", Metric::TcpReqQFullDrop),
    (b"TCPReqQFullDoCookies", Metric::TcpReqQFullCookies),
    (b"SyncookiesSent", Metric::TcpSyncookiesSent),
    (b"TCPLostRetransmit", Metric::TcpLostRetransmit),
    (b"TCPAbortOnTimeout", Metric::TcpAbortOnTimeout),
    (b"TCPAbortOnMemory", Metric::TcpAbortOnMemory),
    (b"TCPBacklogDrop", Metric::TcpBacklogDrop),
    (b"TCPRcvQDrop", Metric::TcpRcvQDrop),
    (b"TCPMemoryPressures", Metric::TcpMemoryPressures),
];

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Tcp {
        sockstat: ProcFile::new(&setup.root, "proc/net/sockstat"),
        sockstat6: ProcFile::new(&setup.root, "proc/net/sockstat6"),
        snmp: ProcFile::new(&setup.root, "proc/net/snmp"),
        netstat: ProcFile::new(&setup.root, "proc/net/netstat"),
        page_bytes: i64::try_from(rustix::param::page_size()).unwrap_or(4096),
    })
}

struct Tcp {
    sockstat: ProcFile,
    sockstat6: ProcFile,
    snmp: ProcFile,
    netstat: ProcFile,
    page_bytes: i64,
}

impl Sampler for Tcp {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        let totals = Sockstat::parse(self.sockstat.read()?);
        // Absent when the kernel has no IPv6.
        let inuse6 = match self.sockstat6.read_if_there()? {
            Some(bytes) => sockstat_field(bytes, b"TCP6:", b"inuse").unwrap_or(0),
            None => 0,
        };
        let host = crate::model::Instance::from("");
        if let Some(inuse) = totals.inuse {
            out.put_signed(Metric::TcpInuse, &host, inuse.saturating_add(inuse6));
        }
        let rows = [
            (Metric::TcpOrphan, totals.orphan),
            (Metric::TcpTimeWait, totals.time_wait),
            (Metric::TcpAlloc, totals.alloc),
            (Metric::TcpMemory, totals.mem_pages.map(|p| p.saturating_mul(self.page_bytes))),
        ];
        for (metric, value) in rows {
            if let Some(value) = value {
                out.put_signed(metric, &host, value);
            }
        }
        named(self.snmp.read()?, b"Tcp:", SNMP, |m, v| out.put_signed(m, &host, v));
        named(self.netstat.read()?, b"TcpExt:", NETSTAT, |m, v| out.put_signed(m, &host, v));
        Ok(())
    }
}

/// The line `TCP:` of /proc/net/sockstat (net/ipv4/proc.c sockstat_seq_show).
#[derive(Debug, Default, PartialEq)]
pub(in crate::host) struct Sockstat {
    inuse: Option<i64>,
    orphan: Option<i64>,
    /// Sockets in TIME_WAIT and those that wait in FIN_WAIT2 in the same short form.
    pub(in crate::host) time_wait: Option<i64>,
    alloc: Option<i64>,
    mem_pages: Option<i64>,
}

impl Sockstat {
    pub(in crate::host) fn parse(bytes: &[u8]) -> Sockstat {
        let field = |key| sockstat_field(bytes, b"TCP:", key);
        Sockstat {
            inuse: field(b"inuse"),
            orphan: field(b"orphan"),
            time_wait: field(b"tw"),
            alloc: field(b"alloc"),
            mem_pages: field(b"mem"),
        }
    }
}

/// The word after `key` on the line that begins with `line`.
fn sockstat_field(bytes: &[u8], line: &[u8], key: &[u8]) -> Option<i64> {
    let mut words = words(lines(bytes).find(|l| words(l).next() == Some(line))?);
    words.by_ref().find(|w| *w == key)?;
    signed(words.next()?)
}

/// Of the two lines that begin with `prefix`, the names and the values, gives those of `wanted`.
fn named(bytes: &[u8], prefix: &[u8], wanted: &[(&[u8], Metric)], mut give: impl FnMut(Metric, i64)) {
    let mut pair = lines(bytes).filter(|l| words(l).next() == Some(prefix));
    let (Some(names), Some(values)) = (pair.next(), pair.next()) else { return };
    for (name, value) in words(names).zip(words(values)) {
        if let (Some((_, metric)), Some(value)) = (wanted.iter().find(|(n, _)| *n == name), signed(value)) {
            give(*metric, value);
        }
    }
}

/// `CurrEstab` of /proc/net/snmp: sockets in ESTABLISHED or CLOSE_WAIT, of both families.
pub(in crate::host) fn curr_estab(bytes: &[u8]) -> Option<i64> {
    let mut found = None;
    named(bytes, b"Tcp:", &[(b"CurrEstab", Metric::TcpCurrEstab)], |_, v| found = Some(v));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SNMP_TEXT: &str = "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
        Tcp: 1 200 120000 -1 11 12 13 14 15 16 17 18 19 20 0\nUdp: InDatagrams\nUdp: 5\n";

    fn all(text: &str, prefix: &[u8], wanted: &[(&[u8], Metric)]) -> Vec<(Metric, i64)> {
        let mut got = Vec::new();
        named(text.as_bytes(), prefix, wanted, |m, v| got.push((m, v)));
        got
    }

    #[test]
    fn snmp_is_read_by_name() {
        let got = all(SNMP_TEXT, b"Tcp:", SNMP);
        assert_eq!(got.len(), SNMP.len());
        assert!(got.contains(&(Metric::TcpActiveOpens, 11)) && got.contains(&(Metric::TcpOutRsts, 20)));
        assert_eq!(curr_estab(SNMP_TEXT.as_bytes()), Some(15));
    }

    #[test]
    fn an_old_kernel_without_some_fields_gives_the_others() {
        // No TCPSynRetrans (before 3.10), no TCPReqQFullDrop (before 2.6.37), one unknown.
        let text = "TcpExt: SyncookiesSent TW Novelty ListenOverflows\nTcpExt: 1 2 3 4\n";
        let got = all(text, b"TcpExt:", NETSTAT);
        assert_eq!(got, [(Metric::TcpSyncookiesSent, 1), (Metric::TcpTw, 2), (Metric::TcpListenOverflows, 4)]);
    }

    #[test]
    fn sockstat_is_read_by_key() {
        let text = "sockets: used 131\nTCP: inuse 4 orphan 1 tw 21301 alloc 9 mem 49\nUDP: inuse 0 mem 0\n";
        let s = Sockstat::parse(text.as_bytes());
        assert_eq!(
            (s.inuse, s.orphan, s.time_wait, s.alloc, s.mem_pages),
            (Some(4), Some(1), Some(21301), Some(9), Some(49))
        );
        assert_eq!(sockstat_field(b"TCP6: inuse 7\n", b"TCP6:", b"inuse"), Some(7));
        // A key without its value at the end of a torn line.
        assert_eq!(sockstat_field(b"TCP: inuse\n", b"TCP:", b"inuse"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "(Tcp(Ext)?: [A-Za-z0-9 -]{0,40}\n){0,4}") {
            for b in [bytes.as_slice(), text.as_bytes()] {
                Sockstat::parse(b);
                curr_estab(b);
                named(b, b"TcpExt:", NETSTAT, |_, _| ());
            }
        }
    }
}
