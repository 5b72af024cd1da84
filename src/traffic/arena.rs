//! Where requests wait for their turn: their texts and bodies lie end to end in chunks that are
//! reused, so that waiting costs neither an allocation each nor fragmentation.
//!
//! Must not: know when a request is due.

/// Size of a chunk, bytes. A longer request has a chunk of its own size.
const CHUNK_BYTES: usize = 64 << 10;

/// The fixed texts of one request, in the order they are written.
pub(super) const METHOD: usize = 0;
/// Path and query.
pub(super) const PATH: usize = 1;
/// The host it named, or nothing.
pub(super) const HOST: usize = 2;
const TEXTS: usize = 3;

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

/// The name of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldName(u16);

/// From here on a [`FieldName`] is a place in [`KNOWN`], below it the length of a name that lies
/// before its value.
const FIRST_KNOWN: u16 = 0x8000;

impl FieldName {
    /// `Referer`.
    pub(super) const REFERER: FieldName = FieldName(FIRST_KNOWN);
    /// `User-Agent`.
    pub(super) const USER_AGENT: FieldName = FieldName(FIRST_KNOWN + 1);

    fn known(self) -> Option<&'static str> {
        KNOWN.get(usize::from(self.0.checked_sub(FIRST_KNOWN)?)).copied()
    }
}

/// Most header fields of one request; servers take far fewer.
pub(super) const MAX_FIELDS: usize = 1000;
/// The longest name of a header field, bytes.
pub(super) const MAX_NAME_BYTES: usize = 256;

/// A request being put together: first method, path and host, each written to [`Draft::text`] and
/// ended with [`Draft::close`]; then its fields; then its body.
#[derive(Default)]
pub(super) struct Draft {
    /// Who made it; 0 when nobody knows.
    pub(super) client: u64,
    /// The status it was answered with; 0 when nobody knows.
    pub(super) status: u16,
    ends: [u32; TEXTS],
    /// As they are kept, of [`FIELD_BYTES`] each.
    fields: Vec<u8>,
    text_bytes: u32,
    bytes: Vec<u8>,
}

impl Draft {
    /// Empties it.
    pub(super) fn clear(&mut self) {
        (self.client, self.status, self.text_bytes) = (0, 0, 0);
        self.bytes.clear();
        self.fields.clear();
    }

    /// Where to append the text that [`Draft::close`] ends.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends text number `n`; they are written in order, each closed once, empty or not.
    pub(super) fn close(&mut self, n: usize) {
        // A record holds at most 16 MiB and percent-encoding triples it.
        self.text_bytes = small(self.bytes.len());
        self.ends[n] = self.text_bytes;
    }

    /// Appends a header field whose name needs no keeping.
    pub(super) fn known_field(&mut self, name: FieldName, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        let field = u64::from(small(value.len())) << 32 | u64::from(name.0);
        self.fields.extend_from_slice(&field.to_le_bytes());
        self.text_bytes = small(self.bytes.len());
    }

    /// Appends a header field; `name` is a token. Whether there was room for it.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> bool {
        if name.len() > MAX_NAME_BYTES || self.fields.len() >= MAX_FIELDS * FIELD_BYTES {
            return false;
        }
        let known = (FIRST_KNOWN..).zip(KNOWN).find(|(_, k)| k.as_bytes() == name);
        if let Some((n, _)) = known {
            self.known_field(FieldName(n), value);
        } else if let Ok(length) = u16::try_from(name.len()) {
            self.bytes.extend_from_slice(name);
            self.known_field(FieldName(length), value);
        }
        true
    }

    /// Appends the body, after all fields.
    pub(super) fn body(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
    }

    /// Appends all of it to `out`, as [`Waiting::read`] takes it.
    fn write(&self, out: &mut Vec<u8>) {
        let mut head = [0u8; HEAD_BYTES];
        head[..8].copy_from_slice(&self.client.to_le_bytes());
        head[8..10].copy_from_slice(&self.status.to_le_bytes());
        head[10..12].copy_from_slice(&u16::try_from(self.fields.len() / FIELD_BYTES).unwrap_or(0).to_le_bytes());
        let (text, body) = self.bytes.split_at(self.text_bytes as usize);
        let [method, path, host] = self.ends;
        for (n, v) in [method, path, host, self.text_bytes, small(body.len())].into_iter().enumerate() {
            head[12 + 4 * n..][..4].copy_from_slice(&v.to_le_bytes());
        }
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.fields);
        push_padded(text, out);
        if !body.is_empty() {
            push_padded(body, out);
        }
    }

    fn len(&self) -> usize {
        let (text, all) = (self.text_bytes as usize, self.bytes.len());
        HEAD_BYTES + self.fields.len() + all + padding(text) + padding(all - text)
    }
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Client, status, number of fields, ends of the texts and of all text, length of the body.
const HEAD_BYTES: usize = 32;
/// A field's name and the length of its value.
const FIELD_BYTES: usize = 8;

/// Texts begin and end at a multiple of so many bytes: whether they are UTF-8 is told in words then.
const ALIGN: usize = 16;

/// Appends `bytes` and zeros to the next multiple of [`ALIGN`].
fn push_padded(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    let end = out.len() + padding(bytes.len());
    // As many as there may be are copied without a call.
    out.extend_from_slice(&[0; ALIGN]);
    out.truncate(end);
}

/// What is missing to the next multiple of [`ALIGN`].
fn padding(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN) - bytes
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
    fields: &'a [u8],
    values: &'a str,
}

impl<'a> Waiting<'a> {
    /// Reads what [`Draft::write`] wrote. A draft's texts are UTF-8, and what is none reads as empty.
    /// Inlined, or what it gives is copied more than once.
    #[inline]
    fn read(bytes: &'a [u8]) -> Option<Waiting<'a>> {
        let (client, rest) = bytes.split_first_chunk()?;
        let (status, rest) = rest.split_first_chunk()?;
        let (fields, rest) = rest.split_first_chunk()?;
        let (ends, rest) = rest.split_first_chunk::<{ 4 * (TEXTS + 2) }>()?;
        let (ends, _) = ends.as_chunks();
        let [method, path, host, text, body] = [ends[METHOD], ends[PATH], ends[HOST], ends[TEXTS], ends[TEXTS + 1]]
            .map(|e| u32::from_le_bytes(e) as usize);
        let (fields, rest) = rest.split_at_checked(FIELD_BYTES * usize::from(u16::from_le_bytes(*fields)))?;
        let (padded, rest) = rest.split_at_checked(text + padding(text))?;
        // Zeros are UTF-8 as good as any.
        let text = std::str::from_utf8(padded).ok()?.get(..text)?;
        let (text, values) = text.split_at_checked(host)?;
        let (text, host) = text.split_at_checked(path)?;
        let (method, path) = text.split_at_checked(method)?;
        Some(Waiting {
            client: u64::from_le_bytes(*client),
            status: Some(u16::from_le_bytes(*status)).filter(|s| *s > 0),
            method,
            path,
            host,
            body: rest.get(..body)?,
            fields,
            values,
        })
    }

    /// How many header fields it has.
    pub(super) fn field_count(&self) -> usize {
        self.fields.len() / FIELD_BYTES
    }

    /// Its header fields in order; a name that is among the known ones is static.
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

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    chunk: u32,
    start: u32,
    length: u32,
}

impl Held {
    /// Bytes of memory that it takes.
    pub(super) fn len(&self) -> usize {
        self.length as usize
    }
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Requests in it that still wait.
    waiting: u32,
    /// How often it was emptied: what lay in it before is gone.
    emptied: u64,
}

/// A request that may wait no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    held: Held,
    emptied: u64,
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
    /// Keeps what `draft` holds.
    pub(super) fn keep(&mut self, draft: &Draft) -> Held {
        let length = draft.len();
        let chunk = match self.current {
            Some(c) if self.room(c) >= length + ALIGN => c,
            _ => self.next_chunk(length + ALIGN),
        };
        let c = &mut self.chunks[chunk as usize];
        let start = small(c.bytes.len());
        draft.write(&mut c.bytes);
        c.waiting += 1;
        Held { chunk, start, length: small(length) }
    }

    /// What `held` is.
    #[inline]
    pub(super) fn get(&self, held: &Held) -> Waiting<'_> {
        let bytes = self.chunks[held.chunk as usize].bytes.get(held.start as usize..).unwrap_or_default();
        match bytes.get(..held.len()).and_then(Waiting::read) {
            Some(waiting) => waiting,
            None => {
                Waiting { client: 0, status: None, method: "", path: "", host: "", body: &[], fields: &[], values: "" }
            }
        }
    }

    /// For [`Arena::answer`], which may come when `held` was forgotten long ago.
    pub(super) fn ticket(&self, held: Held) -> Ticket {
        Ticket { held, emptied: self.chunks[held.chunk as usize].emptied }
    }

    /// Gives a request the status it was answered with, if it still waits.
    pub(super) fn answer(&mut self, ticket: Ticket, status: u16) {
        let c = &mut self.chunks[ticket.held.chunk as usize];
        let at = ticket.held.start as usize + 8;
        if c.emptied == ticket.emptied
            && let Some(place) = c.bytes.get_mut(at..at + 2)
        {
            place.copy_from_slice(&status.to_le_bytes());
        }
    }

    /// Forgets `held`, which must not be asked for again.
    pub(super) fn release(&mut self, held: Held) {
        let c = &mut self.chunks[held.chunk as usize];
        c.waiting -= 1;
        if c.waiting > 0 {
            return;
        }
        c.bytes.clear();
        c.emptied += 1;
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
            let is_whole = |w: Waiting<'_>, path: &[u8]| {
                let fields: Vec<_> = w.fields().map(|(n, v)| (n.unwrap_or_else(|n| n), v)).collect();
                assert_eq!((w.method, w.path.as_bytes(), w.host), ("GET", path, ""));
                assert_eq!(fields, [("Referer", "r"), ("X-Own", "\u{e4}"), ("Cookie", ""), ("cookie", "c")]);
                assert_eq!((w.field_count(), w.client, w.status), (4, path.len() as u64, Some(201)));
                assert_eq!(w.body, &[&[0xff, 0][..], &path[..path.len() / 2]].concat());
            };
            for (n, (long, short, take)) in steps.into_iter().enumerate() {
                let path = vec![b'a' + (n % 26) as u8; if n % 7 == 0 { long * 4 } else { short }];
                draft.clear();
                for (i, text) in [&b"GET"[..], &path, b""].iter().enumerate() {
                    draft.text().extend_from_slice(text);
                    draft.close(i);
                }
                draft.known_field(FieldName::REFERER, b"r");
                for (name, value) in [("X-Own", "\u{e4}"), ("Cookie", ""), ("cookie", "c")] {
                    prop_assert!(draft.field(name.as_bytes(), value.as_bytes()));
                }
                draft.body(&[0xff, 0]);
                draft.body(&path[..path.len() / 2]);
                (draft.client, draft.status) = (path.len() as u64, 201);
                waiting.push_back((arena.keep(&draft), path));
                most_waiting = most_waiting.max(waiting.len());
                if take {
                    let (held, path) = if n % 2 == 0 { waiting.pop_front() } else { waiting.pop_back() }.unwrap();
                    is_whole(arena.get(&held), &path);
                    arena.release(held);
                }
            }
            for (held, path) in waiting {
                is_whole(arena.get(&held), &path);
                arena.release(held);
            }
            prop_assert!(arena.held_bytes() <= 7 * 40_000 + CHUNK_BYTES, "{} bytes held by nothing", arena.held_bytes());
            prop_assert!(arena.chunks.len() <= most_waiting + 1);
        }
    }

    #[test]
    fn an_answer_reaches_its_request_or_nobody() {
        let (mut arena, mut draft) = (Arena::default(), Draft::default());
        for n in [METHOD, PATH, HOST] {
            draft.close(n);
        }
        let first = arena.keep(&draft);
        let ticket = arena.ticket(first);
        arena.answer(ticket, 404);
        assert_eq!(arena.get(&first).status, Some(404));
        arena.release(first);
        let second = arena.keep(&draft);
        arena.answer(ticket, 500);
        assert_eq!((second, arena.get(&second).status), (first, None));
    }

    #[test]
    fn too_many_fields_and_too_long_names_are_refused() {
        let mut draft = Draft::default();
        assert!(!draft.field(&[b'n'; MAX_NAME_BYTES + 1], b""));
        assert!((0..MAX_FIELDS).all(|_| draft.field(b"n", b"v")));
        assert!(!draft.field(b"n", b"v"));
    }
}
