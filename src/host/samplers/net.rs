//! Traffic of the network interfaces and their link speed: /proc/net/dev, /sys/class/net.
//!
//! Must not: leave an interface out, or fail when one vanishes between two files.

use crate::host::fields::{lines, number, signed, words};
use crate::host::procfile::ProcFile;
use crate::host::sampler::{Batch, HostError, Sampler, Setup};
use crate::model::{Instance, Metric, clean};
use std::collections::HashMap;
use std::path::PathBuf;

/// A link's speed is asked anew every so many samples: the answer comes from the driver
/// under a lock (net/core/net-sysfs.c speed_show), and it changes when a cable does.
const SPEED_EVERY: u32 = 20;

/// Longer than any interface name (IFNAMSIZ is 16).
const NAME_CHARS: usize = 32;

pub(in crate::host) fn open(setup: &Setup) -> Box<dyn Sampler> {
    Box::new(Net {
        dev: ProcFile::new(&setup.root, "proc/net/dev"),
        sys: setup.root.join("sys/class/net"),
        known: HashMap::new(),
        round: 0,
    })
}

struct Net {
    dev: ProcFile,
    sys: PathBuf,
    known: HashMap<Vec<u8>, Interface>,
    round: u32,
}

struct Interface {
    name: Instance,
    speed: Option<u64>,
    asked: u32,
    seen: u32,
}

impl Sampler for Net {
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
        self.round = self.round.wrapping_add(1);
        for line in lines(self.dev.read()?) {
            let Some((name, c)) = parse(line) else { continue };
            let interface = match self.known.get_mut(name) {
                Some(known) => known,
                None => {
                    let text = String::from_utf8_lossy(name);
                    let asked = self.round.wrapping_sub(SPEED_EVERY);
                    let new = Interface { name: clean(&text, NAME_CHARS).into(), speed: None, asked, seen: 0 };
                    self.known.entry(name.to_vec()).or_insert(new)
                }
            };
            interface.seen = self.round;
            if self.round.wrapping_sub(interface.asked) >= SPEED_EVERY {
                interface.asked = self.round;
                interface.speed = speed(&self.sys, name);
            }
            let n = &interface.name;
            out.put(Metric::NetRxBytes, n, c.rx_bytes);
            out.put(Metric::NetTxBytes, n, c.tx_bytes);
            out.put(Metric::NetRxPackets, n, c.rx_packets);
            out.put(Metric::NetTxPackets, n, c.tx_packets);
            out.put(Metric::NetRxDropped, n, c.rx_dropped);
            out.put(Metric::NetTxDropped, n, c.tx_dropped);
            out.put(Metric::NetErrors, n, c.rx_errors.saturating_add(c.tx_errors));
            if let Some(speed) = interface.speed {
                out.put(Metric::NetSpeed, n, speed);
            }
        }
        let round = self.round;
        self.known.retain(|_, i| i.seen == round);
        Ok(())
    }
}

/// The counters of one interface (net/core/net-procfs.c dev_seq_printf_stats).
#[derive(Debug, Default, PartialEq)]
struct Counters {
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

/// A line of /proc/net/dev; `None` for the two header lines and anything else. Old kernels
/// print no blank after the colon.
fn parse(line: &[u8]) -> Option<(&[u8], Counters)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, rest) = line.split_at_checked(colon)?;
    let name = name.trim_ascii();
    let mut values = [0u64; 16];
    let mut count = 0;
    for (slot, word) in values.iter_mut().zip(words(rest.get(1..)?)) {
        *slot = number(word)?;
        count += 1;
    }
    if count < values.len() || name.is_empty() {
        return None;
    }
    let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
        values;
    let counters =
        Counters { rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped };
    Some((name, counters))
}

/// Megabits per second; `None` when the driver does not know (−1, or EINVAL when down) and
/// where there is no wire.
fn speed(sys: &std::path::Path, name: &[u8]) -> Option<u64> {
    let text = std::fs::read(sys.join(std::str::from_utf8(name).ok()?).join("speed")).ok()?;
    signed(text.trim_ascii()).and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0\n  \
        eth0:123 4 1 2 0 0 0 0 567 8 3 4 0 0 0 0\n";

    fn sample(net: &mut dyn Sampler) -> Vec<(Metric, String, i64)> {
        let mut out = Batch::default();
        net.sample(&mut out).unwrap();
        out.values.iter().map(|r| (r.metric, r.instance.to_string(), r.value)).collect()
    }

    #[test]
    fn interfaces_come_with_their_speed_and_may_vanish() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["proc/net", "sys/class/net/eth0", "sys/class/net/lo"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let write = |p: &str, t: &str| std::fs::write(dir.path().join(p), t).unwrap();
        write("proc/net/dev", DEV);
        write("sys/class/net/eth0/speed", "10000\n");
        write("sys/class/net/lo/speed", "-1\n");
        let mut setup = Setup::of_host(None, None, crate::clock::Clock::manual());
        setup.root = dir.path().into();
        let mut net = open(&setup);
        let got = sample(&mut *net);
        assert_eq!(got.len(), 7 + 8);
        assert!(got.contains(&(Metric::NetTxBytes, "eth0".into(), 567)));
        assert!(got.contains(&(Metric::NetErrors, "eth0".into(), 4)));
        assert!(got.contains(&(Metric::NetSpeed, "eth0".into(), 10000)));
        assert!(got.iter().all(|(m, i, _)| *m != Metric::NetSpeed || i != "lo"));
        let only_lo: String = DEV.lines().take(3).map(|l| format!("{l}\n")).collect();
        write("proc/net/dev", &only_lo);
        assert_eq!(sample(&mut *net).len(), 7);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            for line in lines(&bytes) {
                parse(line);
            }
        }
    }
}
