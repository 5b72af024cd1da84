//! Where requests wait for their turn: their texts and bodies lie end to end in chunks that are
//! reused, so that waiting costs neither an allocation each nor fragmentation.
//!
//! Must not: know when a request is due.

/// Size of a chunk, bytes. A longer request has a chunk of its own size.
const CHUNK_BYTES: usize = 64 << 10;

/// The fixed texts of one request, in the order they are written.
const METHOD: usize = 0;
/// Path and query.
pub(super) const PATH: usize = 1;
/// The host it named, or nothing.
pub(super) const HOST: usize = 2;
/// Its Referer field, or nothing: what logs have of its header has a place of its own.
pub(super) const REFERER: usize = 3;
/// Its User-Agent field, or nothing.
pub(super) const AGENT: usize = 4;
const TEXTS: usize = 5;

/// Names of header fields that need not be kept with every request, and are handed out without an
/// allocation. Compared as they are written: a recorded `user-agent` stays one.
const KNOWN: [&str; 24] = [
    "Referer",
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Content-Type",
    "Cookie",
    "If-Modified-Since",
    "If-None-Match",
    "Origin",
    "Pragma",
    "Range",
    "Upgrade-Insecure-Requests",
    "X-Forwarded-For",
    "X-Requested-With",
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "cookie",
    "user-agent",
];

/// The names of the fields that have places of their own, as they are handed out.
pub(super) const REFERER_NAME: &str = KNOWN[0];
/// The same.
pub(super) const AGENT_NAME: &str = KNOWN[1];

/// The name of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldName(u16);

/// From here on a [`FieldName`] is a place in [`KNOWN`], below it the length of a name that lies
/// before its value.
const FIRST_KNOWN: u16 = 0x8000;

impl FieldName {
    fn known(self) -> Option<&'static str> {
        KNOWN.get(usize::from(self.0.checked_sub(FIRST_KNOWN)?)).copied()
    }
}

/// Most header fields of one request; servers take far fewer.
pub(super) const MAX_FIELDS: usize = 1000;
/// The longest name of a header field, bytes.
pub(super) const MAX_NAME_BYTES: usize = 256;

/// A request being put together where it will wait: first its [`Draft::method`]; then path, host, referer and user
/// agent, each written to [`Draft::text`] and ended with [`Draft::close`]; then its other fields; then [`Draft::keep`].
pub(super) struct Draft<'a> {
    /// Who made it; 0 when nobody knows.
    pub(super) client: u64,
    /// The status it was answered with; 0 when nobody knows.
    pub(super) status: u16,
    chunk: u32,
    start: usize,
    /// What its chunk could hold before.
    capacity: usize,
    /// As they are kept.
    fields: &'a mut Vec<u64>,
    into: &'a mut Chunk,
    held_bytes: &'a mut usize,
    head: NextHead<'a>,
}

impl Draft<'_> {
    /// Where to append the text that [`Draft::close`] ends.
    #[inline]
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.into.bytes
    }

    /// Writes the method, a token. GET, which nearly all are, is kept as nothing.
    #[inline]
    pub(super) fn method(&mut self, method: &[u8]) {
        if method != b"GET" {
            self.into.bytes.extend_from_slice(method);
        }
        self.close(METHOD);
    }

    fn text_bytes(&self) -> u32 {
        // A record holds at most 16 MiB and percent-encoding triples it.
        small(self.into.bytes.len() - self.start)
    }

    /// Ends text number `n`; they are written in order, each closed once, empty or not.
    #[inline]
    pub(super) fn close(&mut self, n: usize) {
        self.head.head.ends[n] = self.text_bytes();
    }

    /// Appends a header field whose name needs no keeping.
    #[inline]
    fn known_field(&mut self, name: FieldName, value: &[u8]) {
        self.into.bytes.extend_from_slice(value);
        let field = u64::from(small(value.len())) << 32 | u64::from(name.0);
        self.fields.push(field);
    }

    /// Appends a header field; `name` is a token. Whether there was room for it.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> bool {
        if name.len() > MAX_NAME_BYTES || self.fields.len() >= MAX_FIELDS {
            return false;
        }
        let known = (FIRST_KNOWN..).zip(KNOWN).find(|(_, k)| k.as_bytes() == name);
        if let Some((n, _)) = known {
            self.known_field(FieldName(n), value);
        } else if let Ok(length) = u16::try_from(name.len()) {
            self.into.bytes.extend_from_slice(name);
            self.known_field(FieldName(length), value);
        }
        true
    }

    /// Ends it with its body. Until now nothing of it counted. Always part of its caller: a draft that is handed over
    /// is copied in large parts, each of which would wait for the small ones that were written just before.
    #[inline(always)]
    pub(super) fn keep(self, body: &[u8]) -> Held {
        let text_bytes = self.text_bytes();
        let bytes = &mut self.into.bytes;
        pad(bytes);
        if !(self.fields.is_empty() && body.is_empty()) {
            self.fields.iter().for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
            bytes.extend_from_slice(body);
            pad(bytes);
        }
        // More than was asked for may have been written.
        *self.held_bytes += bytes.capacity() - self.capacity;
        self.into.waiting += 1;
        let length = small(bytes.len() - self.start + size_of::<Head>());
        let (place, head) = self.head.take();
        (head.client, head.status) = (self.client, self.status);
        (head.chunk, head.start) = (self.chunk, small(self.start));
        (head.text_bytes, head.body_bytes) = (text_bytes, small(body.len()));
        head.fields = u16::try_from(self.fields.len()).unwrap_or(0);
        Held { place, length }
    }
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What is known of a request that waits, besides its texts.
#[derive(Default)]
struct Head {
    /// Which of all requests it is, from 1; 0 when its place is free.
    serial: u64,
    client: u64,
    chunk: u32,
    /// Where its texts begin in there; its fields and its body follow.
    start: u32,
    ends: [u32; TEXTS],
    text_bytes: u32,
    body_bytes: u32,
    status: u16,
    fields: u16,
}

/// The heads of all requests that wait, close together.
#[derive(Default)]
struct Heads {
    all: Vec<Head>,
    free: Vec<u32>,
    serial: u64,
}

/// The head that is taken next, filled where it is: so large a thing is not handed around.
struct NextHead<'a> {
    place: u32,
    head: &'a mut Head,
    free: &'a mut Vec<u32>,
    serial: &'a mut u64,
}

impl<'a> NextHead<'a> {
    #[inline]
    fn take(self) -> (u32, &'a mut Head) {
        self.free.pop();
        *self.serial += 1;
        self.head.serial = *self.serial;
        (self.place, self.head)
    }
}

/// The most places for heads that are kept when none waits.
const MAX_SPARE_HEADS: usize = 4096;

impl Heads {
    /// A place for one more, which stays free until it is taken.
    #[inline]
    fn next(&mut self) -> NextHead<'_> {
        if self.free.is_empty() {
            self.all.push(Head::default());
            self.free.push(small(self.all.len() - 1));
        }
        let place = self.free[self.free.len() - 1];
        NextHead { place, head: &mut self.all[place as usize], free: &mut self.free, serial: &mut self.serial }
    }

    #[inline]
    fn release(&mut self, n: u32) {
        self.all[n as usize].serial = 0;
        self.free.push(n);
        if self.free.len() == self.all.len() && self.all.len() > MAX_SPARE_HEADS {
            (self.all, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Bytes that those that wait take, and their places: vectors grow by doubling.
    fn held_bytes(&self) -> usize {
        (self.all.len() - self.free.len()) * 2 * (size_of::<Head>() + size_of::<u32>())
    }
}

/// A field's name and the length of its value.
const FIELD_BYTES: usize = 8;

/// Texts begin and end at a multiple of so many bytes: whether they are UTF-8 is told in words then.
const ALIGN: usize = 16;

/// What a request of few letters takes.
#[cfg(test)]
pub(super) const LEAST_BYTES: usize = size_of::<Head>() + ALIGN;

/// Appends zeros to the next multiple of [`ALIGN`].
#[inline]
fn pad(bytes: &mut Vec<u8>) {
    let end = bytes.len().next_multiple_of(ALIGN);
    // As many as there may be are copied without a call.
    bytes.extend_from_slice(&[0; ALIGN]);
    bytes.truncate(end);
}

/// A request that waits, as it lies in the arena.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    /// Who made it; 0 when nobody knows.
    pub(super) client: u64,
    /// The status it was answered with.
    pub(super) status: Option<u16>,
    /// Its method.
    pub(super) method: &'a str,
    /// Its path and query.
    pub(super) path: &'a str,
    /// The host it named, or nothing.
    pub(super) host: &'a str,
    /// Its body.
    pub(super) body: &'a [u8],
    /// The value of its Referer field, or nothing.
    pub(super) referer: &'a str,
    /// The value of its User-Agent field, or nothing.
    pub(super) user_agent: &'a str,
    fields: &'a [u8],
    values: &'a str,
}

impl<'a> Waiting<'a> {
    /// Reads what [`Draft::keep`] wrote. A draft's texts are UTF-8, and what is none reads as empty.
    /// Inlined, or what it gives is copied more than once.
    #[inline]
    fn read(head: &Head, bytes: &'a [u8]) -> Option<Waiting<'a>> {
        let [method, path, host, referer, agent] = head.ends.map(|end| end as usize);
        let text = head.text_bytes as usize;
        let (padded, rest) = bytes.get(head.start as usize..)?.split_at_checked(text.next_multiple_of(ALIGN))?;
        let (fields, rest) = rest.split_at_checked(FIELD_BYTES * usize::from(head.fields))?;
        // Zeros are UTF-8 as good as any.
        let text = std::str::from_utf8(padded).ok()?.get(..text)?;
        let (text, values) = text.split_at_checked(agent)?;
        let (text, user_agent) = text.split_at_checked(referer)?;
        let (text, referer) = text.split_at_checked(host)?;
        let (text, host) = text.split_at_checked(path)?;
        let (method, path) = text.split_at_checked(method)?;
        Some(Waiting {
            client: head.client,
            status: Some(head.status).filter(|s| *s > 0),
            method: if method.is_empty() { "GET" } else { method },
            path,
            host,
            body: rest.get(..head.body_bytes as usize)?,
            referer,
            user_agent,
            fields,
            values,
        })
    }

    /// Its other header fields in order; a name that is among the known ones is static.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Result<&'static str, &'a str>, &'a str)> {
        let (values, mut from) = (self.values, 0);
        let mut take = move |length: usize| {
            let text = values.get(from..from + length).unwrap_or_default();
            from += length;
            text
        };
        self.fields.as_chunks::<FIELD_BYTES>().0.iter().map(move |[n1, n2, _, _, v @ ..]| {
            let name = FieldName(u16::from_le_bytes([*n1, *n2]));
            let name = name.known().ok_or_else(|| take(usize::from(name.0)));
            (name, take(u32::from_le_bytes(*v) as usize))
        })
    }
}

/// A request that waits: its place among the heads, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    place: u32,
    length: u32,
}

impl Held {
    /// Bytes of memory that it takes.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.length as usize
    }
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Requests in it that still wait.
    waiting: u32,
}

/// A request that may wait no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    held: Held,
    serial: u64,
}

/// The texts of all requests that wait.
#[derive(Default)]
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    free: Vec<u32>,
    current: Option<u32>,
    /// Bytes of the chunks in use.
    held_bytes: usize,
    heads: Heads,
    /// Of the request that is being put together.
    fields: Vec<u64>,
}

impl Arena {
    /// Begins a request that is likely to need no more than `room` bytes for its texts, fields and body.
    #[inline]
    pub(super) fn draft(&mut self, room: usize) -> Draft<'_> {
        let needed = room + 3 * ALIGN;
        let chunk = match self.current {
            Some(c) if self.room(c) >= needed => c,
            _ => self.next_chunk(needed),
        };
        self.fields.clear();
        let into = &mut self.chunks[chunk as usize];
        let (start, capacity) = (into.bytes.len(), into.bytes.capacity());
        let (fields, held_bytes, head) = (&mut self.fields, &mut self.held_bytes, self.heads.next());
        head.head.ends = [0; TEXTS];
        Draft { client: 0, status: 0, chunk, start, capacity, fields, into, held_bytes, head }
    }

    /// What `held` is.
    #[inline]
    pub(super) fn get(&self, held: Held) -> Waiting<'_> {
        let head = &self.heads.all[held.place as usize];
        match Waiting::read(head, &self.chunks[head.chunk as usize].bytes) {
            Some(waiting) => waiting,
            None => Waiting {
                client: 0,
                status: None,
                method: "",
                path: "",
                host: "",
                body: &[],
                referer: "",
                user_agent: "",
                fields: &[],
                values: "",
            },
        }
    }

    /// For [`Arena::answer`], which may come when `held` was forgotten long ago.
    pub(super) fn ticket(&self, held: Held) -> Ticket {
        Ticket { held, serial: self.heads.all[held.place as usize].serial }
    }

    /// Gives a request the status it was answered with, if it still waits.
    pub(super) fn answer(&mut self, ticket: Ticket, status: u16) {
        if let Some(head) = self.heads.all.get_mut(ticket.held.place as usize).filter(|h| h.serial == ticket.serial) {
            head.status = status;
        }
    }

    /// Forgets `held`, which must not be asked for again.
    pub(super) fn release(&mut self, held: Held) {
        let chunk = self.heads.all[held.place as usize].chunk;
        self.heads.release(held.place);
        let c = &mut self.chunks[chunk as usize];
        c.waiting -= 1;
        if c.waiting > 0 {
            return;
        }
        c.bytes.clear();
        if self.current != Some(chunk) {
            self.retire(chunk);
        }
    }

    /// Bytes of the chunks in use, and of what is known of those in them.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes + self.heads.held_bytes()
    }

    /// How much more goes into a chunk. One that had to grow for its last request gets none: it is full.
    fn room(&self, chunk: u32) -> usize {
        CHUNK_BYTES.saturating_sub(self.chunks[chunk as usize].bytes.len())
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
            let mut arena = Arena::default();
            let mut waiting: VecDeque<(Held, Vec<u8>)> = VecDeque::new();
            let mut most_waiting = 0;
            let is_whole = |w: Waiting<'_>, path: &[u8]| {
                let fields: Vec<_> = w.fields().map(|(n, v)| (n.unwrap_or_else(|n| n), v)).collect();
                assert_eq!((w.method, w.path.as_bytes(), w.host), ("GET", path, ""));
                assert_eq!((w.referer, w.user_agent), ("r", ""));
                assert_eq!(fields, [("X-Own", "\u{e4}"), ("Cookie", ""), ("cookie", "c")]);
                assert_eq!((w.client, w.status), (path.len() as u64, Some(201)));
                assert_eq!(w.body, &[&[0xff, 0][..], &path[..path.len() / 2]].concat());
            };
            for (n, (long, short, take)) in steps.into_iter().enumerate() {
                let path = vec![b'a' + (n % 26) as u8; if n % 7 == 0 { long * 4 } else { short }];
                // Whatever is asked for, all has room.
                let mut draft = arena.draft(if n % 3 == 0 { 0 } else { 2 * path.len() + 100 });
                draft.method(b"GET");
                draft.text().extend_from_slice(&path);
                draft.close(PATH);
                draft.close(HOST);
                draft.text().push(b'r');
                draft.close(REFERER);
                draft.close(AGENT);
                for (name, value) in [("X-Own", "\u{e4}"), ("Cookie", ""), ("cookie", "c")] {
                    prop_assert!(draft.field(name.as_bytes(), value.as_bytes()));
                }
                (draft.client, draft.status) = (path.len() as u64, 201);
                let held = draft.keep(&[&[0xff, 0][..], &path[..path.len() / 2]].concat());
                waiting.push_back((held, path));
                most_waiting = most_waiting.max(waiting.len());
                if take {
                    let (held, path) = if n % 2 == 0 { waiting.pop_front() } else { waiting.pop_back() }.unwrap();
                    is_whole(arena.get(held), &path);
                    arena.release(held);
                }
            }
            for (held, path) in waiting {
                is_whole(arena.get(held), &path);
                arena.release(held);
            }
            // The last chunk is kept; it may have grown, by doubling.
            prop_assert!(arena.held_bytes() <= 2 * (7 * 40_000 + CHUNK_BYTES), "{} bytes held by nothing", arena.held_bytes());
            prop_assert!(arena.chunks.len() <= most_waiting + 1);
        }
    }

    #[test]
    fn an_answer_reaches_its_request_or_nobody() {
        let mut arena = Arena::default();
        let first = arena.draft(0).keep(&[]);
        let ticket = arena.ticket(first);
        arena.answer(ticket, 404);
        assert_eq!(arena.get(first).status, Some(404));
        arena.release(first);
        let second = arena.draft(0).keep(&[]);
        arena.answer(ticket, 500);
        assert_eq!((second, arena.get(second).status), (first, None));
    }

    #[test]
    fn too_many_fields_and_too_long_names_are_refused() {
        let mut arena = Arena::default();
        let mut draft = arena.draft(0);
        assert!(!draft.field(&[b'n'; MAX_NAME_BYTES + 1], b""));
        assert!((0..MAX_FIELDS).all(|_| draft.field(b"n", b"v")));
        assert!(!draft.field(b"n", b"v"));
    }
}
