//! Reading one HTTP/1.x response out of a byte stream: where it ends, and nothing else.
//! Bodies are passed over, unless somebody wants to see them.
//!
//! Sources: RFC 9112 section 6 (message body), section 7.1 (chunked), section 9.3 (persistence).
//!
//! Must not: do I/O.

use super::head::{Head, Heads};
use crate::load::stage::Kept;
use crate::model::{Flaw, Reached, Remarks};

/// Bounds on what a target may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Header fields of one response.
    pub const FIELDS: usize = 128;
    /// Bytes of one chunk-size line, extensions included.
    pub const CHUNK_LINE: u32 = 4096;
    /// Bytes of all trailer fields.
    pub const TRAILERS: u32 = 16 * 1024;
    /// Interim (1xx) responses before the final one.
    pub const INTERIM: u32 = 16;
    /// Bytes of a body without an announced length that is called endless when its time is up.
    pub const UNANNOUNCED: u64 = 256 * 1024;
}

/// Why bytes are not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not HTTP/1.x, or framing that contradicts itself.
    Malformed(Flaw),
    /// More header fields than [`Limits::FIELDS`].
    TooLarge,
}

/// One response being read.
#[derive(Clone, Debug)]
pub struct Response {
    state: State,
    head_request: bool,
    interim: u32,
    started: bool,
    /// Bytes of a body whose length was not announced.
    unannounced: u64,
    /// Whether it came in chunks and told a length besides.
    pub length_and_chunks: bool,
    /// Whether bytes came behind it that answer nothing.
    pub surplus_bytes: bool,
    /// Its status, 0 until the head was read.
    pub status: u16,
    /// Whether the connection may carry another request after it.
    pub keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Fixed(u64),
    Chunk(Chunk),
    UntilClose,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// Hex digits of the size: value, digits seen.
    Size(u64, u32),
    /// Extension up to the end of the line: size, bytes seen.
    Extension(u64, u32),
    /// LF behind the size line's CR.
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// Trailer section: bytes seen, bytes in the present line.
    Trailer(u32, u32),
    /// LF behind a trailer line's CR: bytes seen, whether the line was empty.
    TrailerLf(u32, bool),
}

impl Response {
    /// The response to a request; the one to HEAD has no body whatever it says.
    pub fn to(head_request: bool) -> Response {
        Response {
            state: State::Head,
            head_request,
            interim: 0,
            started: false,
            unannounced: 0,
            length_and_chunks: false,
            surplus_bytes: false,
            status: 0,
            keep_alive: true,
        }
    }

    /// Whether its last byte was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether any byte of it was read.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// How far it has come.
    pub fn reached(&self) -> Reached {
        match self.state {
            State::Head if !self.started => Reached::BeforeHead,
            State::Head => Reached::Head,
            State::Chunk(_) => Reached::Chunks,
            State::Fixed(_) | State::UntilClose | State::Done => Reached::Body,
        }
    }

    /// What was odd about it; nothing about nearly all.
    pub fn remarks(&self) -> Option<Remarks> {
        let (surplus, both, interim) = (self.surplus_bytes, self.length_and_chunks, self.interim > 0);
        (surplus || both || interim).then(|| Remarks {
            surplus_bytes: surplus.into(),
            length_and_chunks: both.into(),
            interim_responses: interim.into(),
        })
    }

    /// Whether its body has no announced length and more than [`Limits::UNANNOUNCED`] bytes of it came.
    pub fn is_endless(&self) -> bool {
        self.unannounced >= Limits::UNANNOUNCED
    }

    /// Reads on in `bytes`, knowing again what is in `heads`; tells how many were used. Unused ones
    /// belong to an incomplete head (give them again with more behind them) or, once done, to
    /// something else.
    ///
    /// # Errors
    /// [`Bad`] when this is no response.
    pub fn advance(&mut self, bytes: &[u8], heads: &mut Heads) -> Result<usize, Bad> {
        self.advance_keeping(bytes, heads, None)
    }

    /// The same; head and content are put into `kept`.
    pub(crate) fn advance_keeping(
        &mut self,
        bytes: &[u8],
        heads: &mut Heads,
        mut kept: Option<&mut Kept>,
    ) -> Result<usize, Bad> {
        self.started |= !bytes.is_empty();
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            if rest.is_empty() && !matches!(self.state, State::Fixed(0)) {
                return Ok(used);
            }
            match self.state {
                State::Done => return Ok(used),
                State::Head => {
                    let Some(head) = heads.read(rest)? else { return Ok(used) };
                    self.head(&head)?;
                    used += head.length;
                    if let Some(kept) = &mut kept {
                        kept.head(&rest[..head.length]);
                    }
                }
                State::UntilClose => {
                    used = bytes.len();
                    self.unannounced += rest.len() as u64;
                    if let Some(kept) = &mut kept {
                        kept.body(rest);
                    }
                }
                State::Fixed(left) => {
                    let n = left.min(rest.len() as u64);
                    used += n as usize;
                    if let Some(kept) = &mut kept {
                        kept.body(&rest[..n as usize]);
                    }
                    self.state = if n == left { State::Done } else { State::Fixed(left - n) };
                }
                State::Chunk(Chunk::Data(left)) => {
                    let n = left.min(rest.len() as u64);
                    used += n as usize;
                    self.unannounced += n;
                    if let Some(kept) = &mut kept {
                        kept.body(&rest[..n as usize]);
                    }
                    self.state = State::Chunk(if n == left { Chunk::DataCr } else { Chunk::Data(left - n) });
                }
                State::Chunk(at) => {
                    self.state = chunk(at, rest[0])?;
                    used += 1;
                }
            }
        }
    }

    /// The stream ended; whether that ends the response well (RFC 9112 section 6.3, item 8).
    pub fn end_of_stream(&mut self) -> bool {
        self.keep_alive = false;
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    /// What the head says of what is behind it.
    fn head(&mut self, head: &Head) -> Result<(), Bad> {
        if head.is_interim() {
            self.interim += 1;
            return if self.interim > Limits::INTERIM { Err(Bad::Malformed(Flaw::Interim)) } else { Ok(()) };
        }
        self.status = head.status;
        self.keep_alive = head.connection.unwrap_or(head.is_1_1);
        if head.status == 101 {
            self.keep_alive = false; // what follows is another protocol
        }
        self.state = if self.head_request || matches!(head.status, 101 | 204 | 304) {
            State::Done
        } else {
            match (head.is_chunked, head.content_length) {
                (Some(true), length) => {
                    // With a length too, or from HTTP/1.0, which has no chunks, it is an attack or a
                    // mistake: believe the chunks, then part (section 6.1).
                    self.length_and_chunks = length.is_some();
                    self.keep_alive &= length.is_none() && head.is_1_1;
                    State::Chunk(Chunk::Size(0, 0))
                }
                (Some(false), _) | (None, None) => State::UntilClose,
                (None, Some(0)) => State::Done,
                (None, Some(n)) => State::Fixed(n),
            }
        };
        self.keep_alive &= self.state != State::UntilClose;
        Ok(())
    }
}

const BAD_CHUNK: Bad = Bad::Malformed(Flaw::Chunks);

/// One byte of chunked framing. A bare LF ends a line too: lenient servers send it.
fn chunk(at: Chunk, byte: u8) -> Result<State, Bad> {
    let size_line_ends = |n| if n == 0 { Chunk::Trailer(0, 0) } else { Chunk::Data(n) };
    Ok(State::Chunk(match (at, byte) {
        (Chunk::Size(n, digits), b) if b.is_ascii_hexdigit() => {
            if digits == 16 {
                return Err(BAD_CHUNK);
            }
            let digit = u64::from((b as char).to_digit(16).unwrap_or(0));
            Chunk::Size(n << 4 | digit, digits + 1)
        }
        (Chunk::Size(_, 0), _) => return Err(BAD_CHUNK),
        (Chunk::Size(n, _), b'\r') => Chunk::SizeLf(n),
        (Chunk::Size(n, _), b'\n') => size_line_ends(n),
        (Chunk::Size(n, _), b';' | b' ' | b'\t') => Chunk::Extension(n, 0),
        (Chunk::Size(..), _) => return Err(BAD_CHUNK),
        (Chunk::Extension(n, _), b'\r') => Chunk::SizeLf(n),
        (Chunk::Extension(n, _), b'\n') => size_line_ends(n),
        (Chunk::Extension(n, seen), _) if seen < Limits::CHUNK_LINE => Chunk::Extension(n, seen + 1),
        (Chunk::Extension(..), _) => return Err(BAD_CHUNK),
        (Chunk::SizeLf(n), b'\n') => size_line_ends(n),
        (Chunk::DataCr, b'\r') => Chunk::DataLf,
        (Chunk::DataCr | Chunk::DataLf, b'\n') => Chunk::Size(0, 0),
        (Chunk::Trailer(_, 0) | Chunk::TrailerLf(_, true), b'\n') => return Ok(State::Done),
        (Chunk::Trailer(seen, line), b'\r') => Chunk::TrailerLf(seen, line == 0),
        (Chunk::Trailer(seen, _) | Chunk::TrailerLf(seen, false), b'\n') => Chunk::Trailer(seen, 0),
        (Chunk::Trailer(seen, line), _) if seen < Limits::TRAILERS => Chunk::Trailer(seen + 1, line + 1),
        (Chunk::Data(_), _) => return Err(BAD_CHUNK), // passed over by the caller, never here
        (Chunk::SizeLf(_) | Chunk::DataCr | Chunk::DataLf | Chunk::Trailer(..) | Chunk::TrailerLf(..), _) => {
            return Err(BAD_CHUNK);
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `wire` given in pieces of `step` bytes; tells the response and the bytes used.
    fn read(wire: &[u8], head: bool, step: usize) -> Result<(Response, usize), Bad> {
        let (mut r, mut heads) = (Response::to(head), Heads::default());
        let (mut from, mut to) = (0, 0);
        while to < wire.len() && !r.is_done() {
            to = (to + step).min(wire.len());
            from += r.advance(&wire[from..to], &mut heads)?;
        }
        Ok((r, from))
    }

    #[test]
    fn a_response_ends_where_its_framing_says() {
        let cases: &[(&str, bool, u16, bool, bool)] = &[
            // wire, HEAD, status, keep alive, done without end of stream
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, 200, true, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, true, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", true, 200, true, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", false, 304, true, true),
            ("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", false, 204, false, true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, 200, false, true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", false, 200, true, true),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", false, 200, false, false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
                false,
                200,
                true,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n",
                false,
                200,
                false,
                true,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 \r\nContent-Length: 2\r\n\r\nno",
                false,
                404,
                true,
                true,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", false, 200, true, true),
            ("HTTP/1.1 200 OK\r\nX: a\r\n\tb\r\nContent-Length:\r\n 1\r\n\r\nx", false, 200, true, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: a,\r\n close\r\n\r\n", false, 200, false, true),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
                false,
                200,
                false,
                true,
            ),
        ];
        for (wire, head, status, keep_alive, done) in cases {
            for step in [1, 2, 7, 4096] {
                let (mut r, used) = read(wire.as_bytes(), *head, step).unwrap_or_else(|e| panic!("{wire}: {e:?}"));
                assert_eq!((r.status, r.keep_alive, r.is_done()), (*status, *keep_alive, *done), "{wire}, by {step}");
                assert_eq!(used, wire.len(), "{wire}");
                assert!(done | r.end_of_stream());
            }
        }
    }

    #[test]
    fn broken_framing_is_named_and_a_cut_response_is_not_done() {
        for wire in [
            "\x16\x03\x01 no http",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        ] {
            let flaw = match wire {
                w if w.contains("Content-Length") => Flaw::Length,
                w if w.contains("chunked") => Flaw::Chunks,
                w if w.contains("nameless") => Flaw::Head,
                _ => Flaw::StatusLine,
            };
            assert_eq!(read(wire.as_bytes(), false, 5).err(), Some(Bad::Malformed(flaw)), "{wire}");
        }
        for (wire, reached) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Reached::Body),
            ("", Reached::BeforeHead),
            ("HTTP/1.1 20", Reached::Head),
            ("HTTP/1.1 100 Continue\r\n\r\n", Reached::Head),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Reached::Chunks),
        ] {
            let (mut r, _) = read(wire.as_bytes(), false, 3).unwrap();
            assert_eq!(r.reached(), reached, "{wire}");
            assert!(!r.is_done() && !r.end_of_stream(), "{wire}");
        }
    }

    #[test]
    fn bytes_behind_a_response_are_left_alone() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 500 extra";
        let (r, used) = read(wire, false, 4096).unwrap();
        assert!(r.is_done() && &wire[used..] == b"HTTP/1.1 500 extra");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_end_the_same_way(tail in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..40, kind in 0usize..4) {
            let mut wire = [&b""[..], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"HTTP/1.1 "][kind].to_vec();
            wire.extend(&tail);
            let whole = read(&wire, false, wire.len().max(1)).map(|(r, used)| (r.status, r.is_done(), used));
            let pieces = read(&wire, false, step).map(|(r, used)| (r.status, r.is_done(), used));
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn a_chunked_body_of_any_chunks_is_passed_over(sizes in prop::collection::vec(1usize..70_000, 0..6), step in 1usize..9000) {
            let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for n in &sizes { wire.extend(format!("{n:x}\r\n").bytes()); wire.extend(vec![b'\n'; *n]); wire.extend(b"\r\n"); }
            wire.extend(b"0\r\n\r\n");
            let (r, used) = read(&wire, false, step).unwrap();
            prop_assert!(r.is_done() && used == wire.len() && r.keep_alive);
        }
    }
}
