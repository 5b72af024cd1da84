//! From the bytes of a recording to samples with sites: records in order, each applied to what is
//! known of tasks, each sample's chain to a stack of sites.
//!
//! Must not: name anything, or keep more of a hostile recording than a bound.

use super::Stop;
use super::bytes::Bytes;
use super::features::Features;
use super::header::{Header, SIZE};
use super::layout::{self, Sample};
use super::names::KernelNames;
use super::order::{Held, Order};
use super::tasks::{Site, Tasks};
use crate::model::{FastMap, FrameId, StackId, StackTable};
use crate::profile::import::{Input, MOST_SAMPLES, UNKNOWN, input};
use crate::profile::sampler::record::{CONTEXT_KERNEL, CONTEXT_MAX, CONTEXT_USER, Raw};
use std::io::{BufRead, ErrorKind, Read};
use std::sync::Arc;

/// Bytes in front of the records at the most: the events' identifiers.
const MOST_FRONT: u64 = 64 << 20;
/// Bytes behind the records that are read: names of events, build ids.
const MOST_BACK: u64 = 64 << 20;
/// Nodes of the tree of stacks that are kept.
const MOST_NODES: usize = 1 << 23;
/// Places that are kept.
const MOST_SITES: usize = 1 << 22;
/// Addresses that are remembered; beyond, they are looked up again.
const MOST_ADDRESSES: usize = 1 << 22;

/// `PERF_RECORD_*` of the kernel's and perf's own.
mod kind {
    pub(super) const LOST: u32 = 2;
    pub(super) const SAMPLE: u32 = 9;
    pub(super) const LOST_SAMPLES: u32 = 13;
    pub(super) const KSYMBOL: u32 = 17;
    pub(super) const FINISHED_ROUND: u32 = 68;
    pub(super) const AUXTRACE: u32 = 71;
    pub(super) const COMPRESSED: u32 = 81;
    pub(super) const COMPRESSED2: u32 = 83;
    /// MMAP, COMM, EXIT, FORK, MMAP2.
    pub(super) const OF_TASKS: [u32; 5] = [1, 3, 4, 7, 10];
}
/// `PERF_RECORD_MISC_CPUMODE_MASK` and what is there.
const MODE: u16 = 7;
const MODE_KERNEL: u16 = 1;
const MODE_USER: u16 = 2;
/// `PERF_RECORD_MISC_KSYMBOL_FLAGS_UNREGISTER` in a KSYMBOL's flags.
const UNREGISTERED: u16 = 1;

/// The marks there are in a chain: `PERF_CONTEXT_HV`, `_KERNEL`, `_USER`, `_GUEST`, `_GUEST_KERNEL`,
/// `_GUEST_USER`.
const CONTEXTS: [u64; 6] =
    [(-32i64) as u64, CONTEXT_KERNEL, CONTEXT_USER, (-2048i64) as u64, (-2176i64) as u64, (-2560i64) as u64];

/// A sample whose stack is of sites.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) time_ns: u64,
    pub(super) event: u32,
    pub(super) cpu: u32,
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) comm: Arc<str>,
    pub(super) stack: Option<StackId>,
    pub(super) weight: u64,
}

/// What was read; names are all that is missing.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) header: Header,
    pub(super) features: Features,
    pub(super) tasks: Tasks,
    /// Stacks whose frames are numbers of `sites`.
    pub(super) table: StackTable,
    pub(super) sites: Vec<Site>,
    site_numbers: FastMap<Site, FrameId>,
    /// By version of what was mapped and address: the site's number.
    addresses: FastMap<(u32, u64), FrameId>,
    pub(super) rows: Vec<Row>,
    /// Sums of LOST and of LOST_SAMPLES, which are partly the same ones.
    pub(super) lost: u64,
    pub(super) lost_samples: u64,
    /// Samples of no known event.
    pub(super) foreign: u64,
    /// The running kernel's names, once there is something of a kernel.
    pub(super) kernel: Option<KernelNames>,
    order: Order,
    words: Vec<Word>,
    /// The last chain of some threads, by the lowest bits of their numbers: the outer part of the next
    /// one is mostly the same, and is not looked up again.
    last: [Vec<Stepped>; LAST],
}

/// An address of a chain: whose it is (see [`whose`]), the version of what was mapped there, and itself.
type Word = (Option<u32>, u32, u64);
/// A step of a chain that was taken: from the outermost down, version of what was mapped, address, node.
type Stepped = (u32, u64, StackId);
/// Threads whose last chains are kept.
const LAST: usize = 32;

/// Reads a recording to its end.
pub(super) fn read(input: Input) -> Result<Reading, Stop> {
    let mut from = input.stream().map_err(Stop::Wrong)?;
    let mut front = bytes(&mut from, 16)?;
    Header::is_known(&front)?;
    front.extend(bytes(&mut from, SIZE - 16)?);
    let needed = Header::records_at(&front)?;
    if !(SIZE..=MOST_FRONT).contains(&needed) {
        return Err(Stop::wrong(format!("its records begin at byte {needed}, by its header")));
    }
    front.extend(bytes(&mut from, needed - SIZE)?);
    let mut reading = Reading { header: Header::read(&front)?, ..Reading::default() };
    drop(front);
    reading.records(&mut from)?;
    let mut back = Vec::new();
    from.take(MOST_BACK).read_to_end(&mut back).map_err(|e| Stop::Wrong(input::cut(&e)))?;
    reading.features = Features::read(&reading.header, &back);
    Ok(reading)
}

/// Exactly so many bytes; what a header claims is not believed before it is there.
fn bytes(from: &mut dyn BufRead, n: u64) -> Result<Vec<u8>, Stop> {
    let mut all = Vec::new();
    from.take(n).read_to_end(&mut all).map_err(|e| Stop::Wrong(input::cut(&e)))?;
    if (all.len() as u64) < n { Err(Stop::cut("before its first record")) } else { Ok(all) }
}

impl Reading {
    fn records(&mut self, from: &mut dyn BufRead) -> Result<(), Stop> {
        let mut left = self.header.data_size.unwrap_or(u64::MAX);
        let mut at = self.header.data_at;
        let mut body = Vec::new();
        while left > 0 {
            let mut head = [0u8; 8];
            if !self.fill(from, &mut head, at)? {
                break;
            }
            let mut b = Bytes(&head);
            let (kind, misc, size) = (b.u32(), b.u16(), b.u16());
            let (kind, misc, size) = (kind.unwrap_or(0), misc.unwrap_or(0), u64::from(size.unwrap_or(0)));
            if size < 8 || size > left {
                return Err(Stop::wrong(format!("the record at byte {at} tells a length of {size}")));
            }
            body.resize(size as usize - 8, 0);
            if !self.fill(from, &mut body, at)? {
                break;
            }
            self.record(kind, misc, &body)?;
            (at, left) = (at + size, left - size);
        }
        self.order.end();
        self.deliver()
    }

    /// Fills with what follows; `false` at the end of a recording that was not ended properly.
    fn fill(&self, from: &mut dyn BufRead, into: &mut [u8], at: u64) -> Result<bool, Stop> {
        match from.read_exact(into) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => match self.header.data_size {
                None => Ok(false),
                Some(_) => Err(Stop::cut(format!("in the record at byte {at}"))),
            },
            Err(e) => Err(Stop::Wrong(input::cut(&e))),
        }
    }

    fn record(&mut self, kind: u32, misc: u16, body: &[u8]) -> Result<(), Stop> {
        let number = |at: usize| body.get(at..).and_then(|b| Bytes(b).u64()).unwrap_or(0);
        match kind {
            kind::LOST => self.lost = self.lost.saturating_add(number(8)),
            kind::LOST_SAMPLES => self.lost_samples = self.lost_samples.saturating_add(number(0)),
            kind::FINISHED_ROUND => {
                self.order.round();
                self.deliver()?;
            }
            kind::SAMPLE | kind::KSYMBOL => self.put(kind, misc, body)?,
            _ if kind::OF_TASKS.contains(&kind) => self.put(kind, misc, body)?,
            kind::COMPRESSED | kind::COMPRESSED2 => return Err(Stop::perf("it is compressed")),
            kind::AUXTRACE => return Err(Stop::perf("it holds a trace of the CPU, which perf makes samples of")),
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, kind: u32, misc: u16, body: &[u8]) -> Result<(), Stop> {
        let event = &self.header.events[0];
        let time = layout::time(event, kind, body);
        self.order.put(time, kind, misc, body)
    }

    fn deliver(&mut self) -> Result<(), Stop> {
        while let Some(held) = self.order.due() {
            if held.kind == kind::SAMPLE {
                self.sample(&held)?;
            } else {
                self.task(&held)?;
            }
        }
        Ok(())
    }

    fn task(&mut self, held: &Held) -> Result<(), Stop> {
        let trailer = layout::trailer(&self.header.events[0]);
        let Some(end) = held.body.len().checked_sub(trailer) else { return Ok(()) };
        let body = &held.body[..end];
        if held.kind == kind::KSYMBOL {
            let mut b = Bytes(body);
            let (Some(addr), Some(len), Some(_), Some(flags)) = (b.u64(), b.u32(), b.u16(), b.u16()) else {
                return Ok(());
            };
            let name = super::bytes::until_zero(b.0);
            return if flags & UNREGISTERED == 0 { self.tasks.map_program(addr, len, name) } else { Ok(()) };
        }
        let raw = Raw { kind: held.kind, misc: held.misc, body };
        match raw.of_task(held.time_ns) {
            Some(record) => {
                let of_kernel = held.misc & MODE == MODE_KERNEL;
                if of_kernel && self.kernel.is_none() {
                    self.kernel = Some(KernelNames::begin());
                }
                self.tasks.apply(&record, of_kernel)
            }
            None => Ok(()),
        }
    }

    fn sample(&mut self, held: &Held) -> Result<(), Stop> {
        let Some(number) = layout::event_of(&self.header, &held.body) else {
            self.foreign += 1;
            return Ok(());
        };
        let event = &self.header.events[number as usize];
        let sample = layout::sample(event, &held.body).ok_or_else(|| {
            Stop::wrong(format!("a sample of {} bytes is shorter than its type says", held.body.len()))
        })?;
        if self.rows.len() >= MOST_SAMPLES {
            return Err(Stop::wrong(format!("it has more than {MOST_SAMPLES} samples")));
        }
        let told = event.sample_type & super::header::sample::TID != 0;
        let stack = self.stack(&sample, held.misc & MODE)?;
        let (pid, tid) = if told { (sample.pid, sample.tid) } else { (UNKNOWN, UNKNOWN) };
        self.rows.push(Row {
            time_ns: sample.time_ns,
            event: number,
            cpu: sample.cpu,
            pid,
            tid,
            comm: self.tasks.comm(tid),
            stack,
            weight: sample.period,
        });
        Ok(())
    }

    /// The stack of a sample: each address is where a call returns to but the first of a ring, so the
    /// byte before is what called.
    fn stack(&mut self, sample: &Sample<'_>, mode: u16) -> Result<Option<StackId>, Stop> {
        self.words.clear();
        match sample.chain {
            Some(chain) => {
                let (mut ring, mut first) = (self.ring(CONTEXT_USER, sample.pid), true);
                for word in chain.iter() {
                    if word >= CONTEXT_MAX {
                        // Rubbish on a stack may look like a mark: what follows is no caller.
                        if !CONTEXTS.contains(&word) {
                            break;
                        }
                        (ring, first) = (self.ring(word, sample.pid), true);
                        continue;
                    }
                    let address = if std::mem::take(&mut first) { word } else { word.saturating_sub(1) };
                    self.words.push((ring.0, ring.1, address));
                }
            }
            None => {
                let mark = match mode {
                    MODE_KERNEL => CONTEXT_KERNEL,
                    MODE_USER => CONTEXT_USER,
                    _ => 0,
                };
                let ring = self.ring(mark, sample.pid);
                self.words.push((ring.0, ring.1, sample.ip));
            }
        }
        let words = std::mem::take(&mut self.words);
        let slot = sample.tid as usize % LAST;
        let mut last = std::mem::take(&mut self.last[slot]);
        let (mut stack, mut same) = (None, 0);
        for &(pid, version, address) in words.iter().rev() {
            match last.get(same).filter(|l| (l.0, l.1) == (version, address)) {
                Some(&(.., node)) => stack = Some(node),
                None => {
                    last.truncate(same);
                    let site = self.site(pid, version, address)?;
                    let node = self.table.push(stack, site);
                    last.push((version, address, node));
                    stack = Some(node);
                }
            }
            same += 1;
        }
        (self.words, self.last[slot]) = (words, last);
        if self.table.nodes.len() > MOST_NODES {
            return Err(Stop::wrong(format!("it has more than {MOST_NODES} distinct callers and callees")));
        }
        Ok(stack)
    }

    /// Whose addresses follow a mark in a chain, and the version of what is mapped there.
    fn ring(&self, mark: u64, pid: u32) -> (Option<u32>, u32) {
        let pid = whose(mark, pid);
        (pid, self.tasks.version(pid))
    }

    /// The site of an address in a process, or the kernel.
    fn site(&mut self, pid: Option<u32>, version: u32, address: u64) -> Result<FrameId, Stop> {
        if let Some(&number) = self.addresses.get(&(version, address)) {
            return Ok(number);
        }
        let site = match pid {
            None => self.tasks.kernel(address),
            Some(pid) => self.tasks.user(pid, address),
        };
        let sites = &mut self.sites;
        let number = *self.site_numbers.entry(site).or_insert_with(|| {
            sites.push(site);
            FrameId(sites.len() as u32 - 1)
        });
        if self.sites.len() > MOST_SITES {
            return Err(Stop::wrong(format!("it has more than {MOST_SITES} distinct places")));
        }
        if self.addresses.len() >= MOST_ADDRESSES {
            self.addresses.clear();
        }
        self.addresses.insert((version, address), number);
        Ok(number)
    }
}

/// Whose addresses follow a mark in a chain: the kernel's (`None`) or a process's. What a guest or a
/// hypervisor did is in none that is known.
fn whose(ring: u64, pid: u32) -> Option<u32> {
    match ring {
        CONTEXT_KERNEL => None,
        CONTEXT_USER => Some(pid),
        _ => Some(UNKNOWN),
    }
}
