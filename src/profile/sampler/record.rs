//! Decodes the records the kernel writes into an event's ring: perf_event_open(2) and
//! include/uapi/linux/perf_event.h.
//!
//! By hand, because the crate's own reader allocates every sample and hides the trailer that has
//! the time of all other records. The layouts hold for the sample type
//! `IP|TID|TIME|CPU|PERIOD|CALLCHAIN` with `sample_id_all`, which `events` asks for.
//!
//! Must not: open or read anything, allocate, or panic on any bytes.

/// `PERF_RECORD_MISC_SWITCH_OUT`, in a switch.
const MISC_SWITCH_OUT: u16 = 1 << 13;
/// `PERF_RECORD_MISC_SWITCH_OUT_PREEMPT`: what was switched out could have run on.
const MISC_SWITCH_OUT_PREEMPT: u16 = 1 << 14;
/// `PERF_RECORD_MISC_COMM_EXEC`: the name came with a new program.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_MMAP_BUILD_ID`: a build id stands in the file's place.
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;
/// `PERF_RECORD_MISC_MMAP_DATA`, in the older record of a mapping: it is not of code.
const MISC_MMAP_DATA: u16 = 1 << 13;
/// Bytes of a build id at the most (`BUILD_ID_SIZE_MAX`).
const MOST_BUILD_ID: usize = 20;
/// `PROT_EXEC` of mmap(2).
const PROT_EXEC: u32 = 4;

/// `PERF_CONTEXT_MAX`: from here on a chain's words are marks, not addresses.
pub(in crate::profile) const CONTEXT_MAX: u64 = (-4095i64) as u64;
/// `PERF_CONTEXT_KERNEL`: kernel frames follow.
pub(in crate::profile) const CONTEXT_KERNEL: u64 = (-128i64) as u64;
/// `PERF_CONTEXT_USER`: user frames follow.
pub(in crate::profile) const CONTEXT_USER: u64 = (-512i64) as u64;

/// One record, borrowing from the ring.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::profile) enum Record<'a> {
    /// PERF_RECORD_SAMPLE.
    Sample(SampleRecord<'a>),
    /// PERF_RECORD_COMM: a thread has a name; `exec`: because its process runs another program.
    Comm { pid: u32, tid: u32, exec: bool, name: &'a [u8], time_ns: u64 },
    /// PERF_RECORD_MMAP2, or PERF_RECORD_MMAP, which does not tell the inode.
    Mmap(MmapRecord<'a>),
    /// PERF_RECORD_FORK: a new thread, or a new process when `pid` is not `ppid`.
    Fork { pid: u32, ppid: u32, tid: u32, ptid: u32, time_ns: u64 },
    /// PERF_RECORD_EXIT.
    Exit { pid: u32, tid: u32, time_ns: u64 },
    /// PERF_RECORD_LOST, PERF_RECORD_LOST_SAMPLES: the ring was full.
    Lost { lost: u64 },
    /// PERF_RECORD_SWITCH, PERF_RECORD_SWITCH_CPU_WIDE: a thread came onto a CPU or left it;
    /// `preempt`: it left though it could have run on.
    Switch { out: bool, preempt: bool, pid: u32, tid: u32, time_ns: u64, cpu: u32 },
    /// Any other.
    Other,
}

/// A record as it lies in the ring.
#[derive(Clone, Copy, Debug)]
pub(in crate::profile) struct Raw<'a> {
    /// `perf_event_header.type`.
    pub(in crate::profile) kind: u32,
    /// `perf_event_header.misc`.
    pub(in crate::profile) misc: u16,
    /// What follows the header.
    pub(in crate::profile) body: &'a [u8],
}

impl<'a> Raw<'a> {
    /// What it says; `None` when it is shorter than its type says.
    pub(in crate::profile) fn record(self) -> Option<Record<'a>> {
        decode(self.kind, self.misc, self.body)
    }

    /// What a record of tasks and mappings says whose body ends before the trailer, as in recordings
    /// of any sample type; `time_ns` is what the trailer has.
    pub(in crate::profile) fn of_task(self, time_ns: u64) -> Option<Record<'a>> {
        of_task(self.kind, self.misc, Words(self.body), time_ns)
    }
}

/// PERF_RECORD_SAMPLE.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::profile) struct SampleRecord<'a> {
    pub(in crate::profile) ip: u64,
    pub(in crate::profile) pid: u32,
    pub(in crate::profile) tid: u32,
    /// CLOCK_MONOTONIC.
    pub(in crate::profile) time_ns: u64,
    pub(in crate::profile) cpu: u32,
    /// What it stands for: ns of a clock, else events.
    pub(in crate::profile) period: u64,
    pub(in crate::profile) chain: Chain<'a>,
}

/// PERF_RECORD_MMAP2.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::profile) struct MmapRecord<'a> {
    pub(in crate::profile) pid: u32,
    pub(in crate::profile) addr: u64,
    pub(in crate::profile) len: u64,
    /// Where in the file the mapping begins, bytes.
    pub(in crate::profile) pgoff: u64,
    /// Device (major, minor) and inode; zeros for memory without a file.
    pub(in crate::profile) inode: (u32, u32, u64),
    /// What the file calls itself, where that was recorded in the inode's place; else empty.
    pub(in crate::profile) build_id: &'a [u8],
    pub(in crate::profile) executable: bool,
    pub(in crate::profile) path: &'a [u8],
    pub(in crate::profile) time_ns: u64,
}

/// A call chain, the innermost address first, with marks where the kernel's and the user's parts
/// begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::profile) struct Chain<'a>(&'a [u8]);

impl<'a> Chain<'a> {
    /// Of whole words of 8 bytes each.
    pub(in crate::profile) fn of(bytes: &'a [u8]) -> Chain<'a> {
        Chain(bytes)
    }

    /// Its words.
    pub(in crate::profile) fn iter(self) -> impl Iterator<Item = u64> + 'a {
        self.0.chunks_exact(8).map(|c| u64::from_ne_bytes(c.try_into().unwrap_or_default()))
    }
}

impl Record<'_> {
    /// CLOCK_MONOTONIC of the record; 0 for those without a place in time.
    pub(in crate::profile) fn time_ns(&self) -> u64 {
        match self {
            Record::Sample(s) => s.time_ns,
            Record::Mmap(m) => m.time_ns,
            Record::Comm { time_ns, .. }
            | Record::Fork { time_ns, .. }
            | Record::Exit { time_ns, .. }
            | Record::Switch { time_ns, .. } => *time_ns,
            Record::Lost { .. } | Record::Other => 0,
        }
    }
}

/// Takes numbers off the front.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*value))
    }

    fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*value))
    }

    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (value, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(value)
    }
}

/// What `sample_id_all` puts behind every record but samples: pid, tid, time, cpu and a spare word.
struct Trailer {
    pid: u32,
    tid: u32,
    time_ns: u64,
    cpu: u32,
}

const TRAILER: usize = 24;

fn split_trailer(body: &[u8]) -> Option<(Words<'_>, Trailer)> {
    let (head, tail) = body.split_at_checked(body.len().checked_sub(TRAILER)?)?;
    let mut w = Words(tail);
    let trailer = Trailer { pid: w.u32()?, tid: w.u32()?, time_ns: w.u64()?, cpu: w.u32()? };
    Some((Words(head), trailer))
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).map_or(bytes, |end| &bytes[..end])
}

fn decode(kind: u32, misc: u16, body: &[u8]) -> Option<Record<'_>> {
    if kind == 9 {
        let mut w = Words(body);
        let ip = w.u64()?;
        let (pid, tid) = (w.u32()?, w.u32()?);
        let time_ns = w.u64()?;
        let (cpu, _) = (w.u32()?, w.u32()?);
        let period = w.u64()?;
        let words = usize::try_from(w.u64()?).ok()?;
        let chain = Chain(w.bytes(words.checked_mul(8)?)?);
        return Some(Record::Sample(SampleRecord { ip, pid, tid, time_ns, cpu, period, chain }));
    }
    let (mut w, id) = split_trailer(body)?;
    Some(match kind {
        2 => {
            w.u64()?;
            Record::Lost { lost: w.u64()? }
        }
        1 | 3 | 4 | 7 | 10 => return of_task(kind, misc, w, id.time_ns),
        13 => Record::Lost { lost: w.u64()? },
        14 | 15 => Record::Switch {
            out: misc & MISC_SWITCH_OUT != 0,
            preempt: misc & MISC_SWITCH_OUT_PREEMPT != 0,
            pid: id.pid,
            tid: id.tid,
            time_ns: id.time_ns,
            cpu: id.cpu,
        },
        _ => Record::Other,
    })
}

/// Of the types 1, 3, 4, 7 and 10, without the trailer.
fn of_task(kind: u32, misc: u16, mut w: Words<'_>, time_ns: u64) -> Option<Record<'_>> {
    Some(match kind {
        1 => {
            let (pid, _tid) = (w.u32()?, w.u32()?);
            let (addr, len, pgoff) = (w.u64()?, w.u64()?, w.u64()?);
            let (executable, path) = (misc & MISC_MMAP_DATA == 0, until_zero(w.0));
            Record::Mmap(MmapRecord {
                pid,
                addr,
                len,
                pgoff,
                inode: (0, 0, 0),
                build_id: &[],
                executable,
                path,
                time_ns,
            })
        }
        3 => {
            let (pid, tid) = (w.u32()?, w.u32()?);
            Record::Comm { pid, tid, exec: misc & MISC_COMM_EXEC != 0, name: until_zero(w.0), time_ns }
        }
        4 | 7 => {
            let (pid, ppid, tid, ptid) = (w.u32()?, w.u32()?, w.u32()?, w.u32()?);
            let time_ns = w.u64()?;
            if kind == 4 { Record::Exit { pid, tid, time_ns } } else { Record::Fork { pid, ppid, tid, ptid, time_ns } }
        }
        10 => {
            let (pid, _tid) = (w.u32()?, w.u32()?);
            let (addr, len, pgoff) = (w.u64()?, w.u64()?, w.u64()?);
            let place = w.bytes(24)?;
            let (inode, build_id) = match misc & MISC_MMAP_BUILD_ID {
                0 => (inode_of(place)?, &[][..]),
                // Its length, three spare bytes, itself.
                _ => ((0, 0, 0), place.get(4..4 + usize::from(place[0]).min(MOST_BUILD_ID))?),
            };
            let (prot, _flags) = (w.u32()?, w.u32()?);
            let (executable, path) = (prot & PROT_EXEC != 0, until_zero(w.0));
            Record::Mmap(MmapRecord { pid, addr, len, pgoff, inode, build_id, executable, path, time_ns })
        }
        _ => Record::Other,
    })
}

/// Device (major, minor) and inode; what follows is its generation.
fn inode_of(place: &[u8]) -> Option<(u32, u32, u64)> {
    let mut place = Words(place);
    Some((place.u32()?, place.u32()?, place.u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a record, put together as the kernel does.
    #[derive(Default)]
    struct Bytes(Vec<u8>);

    impl Bytes {
        fn u32(mut self, values: &[u32]) -> Bytes {
            values.iter().for_each(|v| self.0.extend(v.to_ne_bytes()));
            self
        }

        fn u64(mut self, values: &[u64]) -> Bytes {
            values.iter().for_each(|v| self.0.extend(v.to_ne_bytes()));
            self
        }

        fn text(mut self, text: &str) -> Bytes {
            self.0.extend(text.bytes());
            self.0.resize((self.0.len() / 8 + 1) * 8, 0);
            self
        }

        fn trailer(self) -> Vec<u8> {
            self.u32(&[70, 71]).u64(&[900]).u32(&[3, 0]).0
        }
    }

    #[test]
    fn a_sample_has_its_chain_with_marks() {
        let chain = [CONTEXT_KERNEL, 0xffff_ffff_8100_0000, CONTEXT_USER, 0x1000, 0x2001];
        let bytes =
            Bytes::default().u64(&[0x1000]).u32(&[7, 8]).u64(&[900]).u32(&[1, 0]).u64(&[5_102_040, 5]).u64(&chain).0;
        let Some(Record::Sample(s)) = decode(9, 2, &bytes) else { panic!() };
        assert_eq!((s.ip, s.pid, s.tid, s.time_ns, s.cpu, s.period), (0x1000, 7, 8, 900, 1, 5_102_040));
        assert_eq!(s.chain.iter().collect::<Vec<_>>(), chain);
        assert!(chain[0] >= CONTEXT_MAX && chain[2] >= CONTEXT_MAX && chain[1] < CONTEXT_MAX);
    }

    #[test]
    fn tasks_come_with_names_and_times() {
        let comm = Bytes::default().u32(&[7, 8]).text("a name").trailer();
        let expected = Record::Comm { pid: 7, tid: 8, exec: true, name: b"a name", time_ns: 900 };
        assert_eq!(decode(3, MISC_COMM_EXEC, &comm), Some(expected));
        let task = Bytes::default().u32(&[9, 7, 10, 8]).u64(&[800]).trailer();
        assert_eq!(decode(7, 0, &task), Some(Record::Fork { pid: 9, ppid: 7, tid: 10, ptid: 8, time_ns: 800 }));
        assert_eq!(decode(4, 0, &task), Some(Record::Exit { pid: 9, tid: 10, time_ns: 800 }));
        let switch = Bytes::default().trailer();
        let out = decode(14, MISC_SWITCH_OUT | MISC_SWITCH_OUT_PREEMPT, &switch);
        assert_eq!(out, Some(Record::Switch { out: true, preempt: true, pid: 70, tid: 71, time_ns: 900, cpu: 3 }));
        let lost = Bytes::default().u64(&[1, 42]).trailer();
        assert_eq!(decode(2, 0, &lost), Some(Record::Lost { lost: 42 }));
        assert_eq!(decode(13, 0, &Bytes::default().u64(&[43]).trailer()), Some(Record::Lost { lost: 43 }));
    }

    #[test]
    fn a_mapping_names_its_file() {
        let bytes = |prot| {
            let b = Bytes::default().u32(&[7, 8]).u64(&[0x40_0000, 0x1000, 0x2000]).u32(&[254, 1]).u64(&[77, 0]);
            b.u32(&[prot, 2]).text("/usr/bin/x").trailer()
        };
        let code = bytes(5);
        let Some(Record::Mmap(m)) = decode(10, 0, &code) else { panic!() };
        assert_eq!((m.pid, m.addr, m.len, m.pgoff, m.inode), (7, 0x40_0000, 0x1000, 0x2000, (254, 1, 77)));
        assert!(m.executable && m.path == b"/usr/bin/x" && m.time_ns == 900);
        assert!(matches!(decode(10, 0, &bytes(1)), Some(Record::Mmap(m)) if !m.executable));
        assert!(
            matches!(decode(10, MISC_MMAP_BUILD_ID, &bytes(5)), Some(Record::Mmap(m)) if m.inode == (0, 0, 0) && m.build_id.len() == 20)
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for kind in 0..24 {
            for len in 0..200 {
                for fill in [0u8, 1, 0x7f, 0xff] {
                    let body = vec![fill; len];
                    if let Some(Record::Sample(s)) = decode(kind, 0xffff, &body) {
                        assert!(s.chain.iter().count() * 8 <= len);
                    }
                }
            }
        }
        assert_eq!(decode(3, 0, &[0; 23]), None);
    }
}
