//! Local ports: how many there are per destination, and how many of them are in use.
//!
//! A connection is (source address, source port, destination address, destination port), so
//! each source address has the whole range for each destination. Of several source
//! addresses the fullest counts: it is the one that runs out.
//!
//! Must not: read the socket table.

use super::fields::{number, words};
use std::collections::HashMap;
use std::net::IpAddr;

/// The ports that connect() chooses from: net.ipv4.ip_local_port_range less
/// ip_local_reserved_ports (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PortRange {
    open: PortSet,
}

impl PortRange {
    /// From the two sysctl files' bytes. `None` when the range is not two ports.
    pub(super) fn parse(range: &[u8], reserved: &[u8]) -> Option<PortRange> {
        let mut ends = words(range).map(|w| number(w).and_then(|n| u16::try_from(n).ok()));
        let (Some(Some(first)), Some(Some(last))) = (ends.next(), ends.next()) else { return None };
        let mut open = PortSet::default();
        for port in first..=last {
            open.insert(port);
        }
        // A list like `8080,9000-9100`, empty by default.
        for part in reserved.trim_ascii().split(|b| *b == b',') {
            let mut ends = part.splitn(2, |b| *b == b'-').map(|w| number(w).and_then(|n| u16::try_from(n).ok()));
            let Some(Some(first)) = ends.next() else { continue };
            for port in first..=ends.next().flatten().unwrap_or(first) {
                open.remove(port);
            }
        }
        Some(PortRange { open })
    }

    /// How many ports there are per source address and destination.
    pub(super) fn budget(&self) -> u64 {
        self.open.len()
    }
}

/// Ports in use to one destination, by source address.
#[derive(Debug, Default)]
pub(super) struct PortUse {
    by_source: HashMap<IpAddr, PortSet>,
}

impl PortUse {
    /// Source addresses that are told apart; a host with more of them is not short of ports.
    const MOST_SOURCES: usize = 1024;

    /// Forgets all ports, keeping the memory of source addresses seen last.
    pub(super) fn clear(&mut self) {
        if self.by_source.len() >= PortUse::MOST_SOURCES {
            self.by_source.clear();
        }
        self.by_source.values_mut().for_each(PortSet::clear);
    }

    /// A socket holds this port of this source address.
    pub(super) fn insert(&mut self, source: IpAddr, port: u16) {
        if self.by_source.len() < PortUse::MOST_SOURCES || self.by_source.contains_key(&source) {
            self.by_source.entry(source).or_default().insert(port);
        }
    }

    /// Ports of `range` in use by the source address that uses most of them.
    pub(super) fn fullest(&self, range: &PortRange) -> u64 {
        self.by_source.values().map(|used| used.common(&range.open)).max().unwrap_or(0)
    }
}

/// A set of ports, one bit each.
#[derive(Clone, PartialEq)]
struct PortSet(Box<[u64; 1024]>);

impl Default for PortSet {
    fn default() -> PortSet {
        PortSet(Box::new([0; 1024]))
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ports", self.len())
    }
}

impl PortSet {
    fn insert(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }

    fn remove(&mut self, port: u16) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            *word &= !(1 << (port & 63));
        }
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    fn common(&self, other: &PortSet) -> u64 {
        self.0.iter().zip(other.0.iter()).map(|(a, b)| u64::from((a & b).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_budget_is_28232_and_reserved_ports_are_not_in_it() {
        let of = |r: &str, x: &str| PortRange::parse(r.as_bytes(), x.as_bytes()).map(|p| p.budget());
        assert_eq!(of("32768\t60999\n", "\n"), Some(28232));
        assert_eq!(of("32768\t60999\n", "8080,40000-40099,60999\n"), Some(28232 - 101));
        assert_eq!(of("1 65535", ""), Some(65535));
        assert_eq!(of("5000 4000", ""), Some(0));
        assert_eq!((of("32768", ""), of("a b", "")), (None, None));
    }

    #[test]
    fn each_port_counts_once_per_source_and_the_fullest_source_counts() {
        let range = PortRange::parse(b"100 200", b"150").unwrap();
        let mut used = PortUse::default();
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        for port in [100, 100, 101, 150, 99, 201] {
            used.insert(a, port);
        }
        for port in [100, 101, 102] {
            used.insert(b, port);
        }
        assert_eq!(used.fullest(&range), 3);
        used.clear();
        assert_eq!(used.fullest(&range), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, a in "[0-9 ]{0,12}", b in "[0-9,-]{0,20}") {
            PortRange::parse(&bytes, &bytes);
            PortRange::parse(a.as_bytes(), b.as_bytes());
        }
    }
}
