//! Where requests wait for their turn: their texts lie end to end in chunks that are reused,
//! so that waiting costs neither an allocation each nor fragmentation.
//!
//! Must not: know when a request is due.

/// Size of a chunk, bytes. A longer request has a chunk of its own size.
const CHUNK_BYTES: usize = 64 << 10;

/// The texts of one request: method, path, host, referer, user agent.
pub(super) const TEXTS: usize = 5;

/// A request being put together.
#[derive(Default)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    ends: [u32; TEXTS],
}

impl Draft {
    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Where to append the text that [`Draft::close`] ends.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends text number `n`; they are written in order, each closed once, empty or not.
    pub(super) fn close(&mut self, n: usize) {
        // A line holds at most 64 KiB and percent-encoding triples it.
        self.ends[n] = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
    }
}

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    chunk: u32,
    start: u32,
    ends: [u32; TEXTS],
}

impl Held {
    /// Length of its texts, bytes.
    pub(super) fn len(&self) -> usize {
        self.ends[TEXTS - 1] as usize
    }
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Requests in it that still wait.
    waiting: u32,
}

/// The texts of all requests that wait.
#[derive(Default)]
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    free: Vec<u32>,
    current: Option<u32>,
    held_bytes: usize,
}

impl Arena {
    /// Keeps the texts of `draft`.
    pub(super) fn keep(&mut self, draft: &Draft) -> Held {
        let chunk = match self.current {
            Some(c) if self.room(c) >= draft.bytes.len() => c,
            _ => self.next_chunk(draft.bytes.len()),
        };
        let c = &mut self.chunks[chunk as usize];
        let start = u32::try_from(c.bytes.len()).unwrap_or(u32::MAX);
        c.bytes.extend_from_slice(&draft.bytes);
        c.waiting += 1;
        Held { chunk, start, ends: draft.ends }
    }

    /// The texts of `held`; a draft holds nothing but UTF-8, and what is none reads as empty.
    pub(super) fn texts(&self, held: &Held) -> [&str; TEXTS] {
        let bytes = &self.chunks[held.chunk as usize].bytes[held.start as usize..][..held.len()];
        let all = std::str::from_utf8(bytes).unwrap_or_default();
        let mut from = 0;
        held.ends.map(|end| {
            let text = all.get(from..end as usize).unwrap_or_default();
            from = end as usize;
            text
        })
    }

    /// Forgets `held`, which must not be asked for again.
    pub(super) fn release(&mut self, held: Held) {
        let c = &mut self.chunks[held.chunk as usize];
        c.waiting -= 1;
        if c.waiting > 0 {
            return;
        }
        c.bytes.clear();
        if self.current != Some(held.chunk) {
            self.retire(held.chunk);
        }
    }

    /// Bytes of the chunks in use.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn room(&self, chunk: u32) -> usize {
        let bytes = &self.chunks[chunk as usize].bytes;
        bytes.capacity() - bytes.len()
    }

    fn retire(&mut self, chunk: u32) {
        let bytes = &mut self.chunks[chunk as usize].bytes;
        self.held_bytes -= bytes.capacity();
        if bytes.capacity() > CHUNK_BYTES {
            *bytes = Vec::new();
        }
        self.free.push(chunk);
    }

    /// Makes a chunk with room for `needed` bytes the current one.
    fn next_chunk(&mut self, needed: usize) -> u32 {
        if let Some(old) = self.current.take()
            && self.chunks[old as usize].waiting == 0
        {
            self.retire(old);
        }
        let chunk = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
        });
        let bytes = &mut self.chunks[chunk as usize].bytes;
        bytes.reserve_exact(needed.max(CHUNK_BYTES));
        self.held_bytes += bytes.capacity();
        self.current = Some(chunk);
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn texts_come_back_and_chunks_are_reused(steps in prop::collection::vec((0usize..40_000, 0usize..30, any::<bool>()), 1..300)) {
            let (mut arena, mut draft) = (Arena::default(), Draft::default());
            let mut waiting: VecDeque<(Held, Vec<u8>)> = VecDeque::new();
            let mut most_waiting = 0;
            for (n, (long, short, take)) in steps.into_iter().enumerate() {
                let path = vec![b'a' + (n % 26) as u8; if n % 7 == 0 { long * 4 } else { short }];
                draft.clear();
                for (i, text) in [&b"GET"[..], &path, b"", b"r", b""].iter().enumerate() {
                    draft.text().extend_from_slice(text);
                    draft.close(i);
                }
                waiting.push_back((arena.keep(&draft), path));
                most_waiting = most_waiting.max(waiting.len());
                if take {
                    let (held, path) = if n % 2 == 0 { waiting.pop_front() } else { waiting.pop_back() }.unwrap();
                    prop_assert_eq!(arena.texts(&held), ["GET", std::str::from_utf8(&path).unwrap(), "", "r", ""]);
                    arena.release(held);
                }
            }
            for (held, path) in waiting {
                prop_assert_eq!(arena.texts(&held)[1].as_bytes(), &path[..]);
                arena.release(held);
            }
            prop_assert!(arena.held_bytes() <= 4 * 40_000 + CHUNK_BYTES, "{} bytes held by nothing", arena.held_bytes());
            prop_assert!(arena.chunks.len() <= most_waiting + 1);
        }
    }
}
