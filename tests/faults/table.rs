//! The faults: what a target does, how the requests end by then, and what becomes of the
//! connection. docs/faults.md is this table in prose form; a test compares the two.
//!
//! Sources of what is right: RFC 9112 (sections are named where a row rests on one), RFC 9110,
//! and what Linux does with a socket (tcp(7), listen(2)).
//!
//! Must not: run anything.

use super::play::{Comes, Counts, Fault, Mode};
use super::support::{Do, ok, server::Asked};

/// A header of a plain 200 with two bytes of body.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The bytes, and then neither an answer nor an end: the client has to leave.
fn then_hang(wire: impl AsRef<[u8]>) -> Vec<Do> {
    vec![Do::send(wire), Do::Hang]
}

fn then_close(wire: impl AsRef<[u8]>) -> Vec<Do> {
    vec![Do::send(wire), Do::Close]
}

fn then_reset(wire: impl AsRef<[u8]>) -> Vec<Do> {
    // What was sent is to be read before the reset is known.
    vec![Do::send(wire), Do::wait_ms(10), Do::Reset]
}

fn flood(head: impl AsRef<[u8]>, piece: impl AsRef<[u8]>) -> Vec<Do> {
    vec![Do::send(head), Do::Flood(piece.as_ref().repeat(65_536 / piece.as_ref().len()))]
}

/// One byte every `ms`.
fn drip(wire: impl AsRef<[u8]>, ms: u64) -> Vec<Do> {
    wire.as_ref().iter().flat_map(|b| [Do::send([*b]), Do::wait_ms(ms)]).collect()
}

fn head_with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok")
}

/// Every row, in the order of a request's life.
pub fn table() -> Vec<Fault> {
    [
        connecting(),
        handshakes(),
        before_the_body(),
        status_lines(),
        fields(),
        lengths(),
        chunks(),
        bodies(),
        between(),
        requests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All are answered, each on a connection of its own. Whether the next one was on its way when
/// the connection was closed is left to the two of them.
fn perhaps_retried(status: &'static str, mode: &Mode, n: u64) -> Counts {
    let most = if mode.keeps { n - mode.lanes } else { 0 };
    Counts::complete(status, n).opened(n..=n).retried(0..=most).unseen()
}

fn connecting() -> Vec<Fault> {
    // Whether the first byte was written before the reset had come is left to the two of them.
    let reset_at_once = |_: &Mode, n| Counts::fail("reset_before_head", n).sent(0..=n).opened(0..=n);
    vec![
        Fault::gone("nobody listens any more", "ECONNREFUSED"),
        Fault::full("the accept queue is full, nobody accepts", "timeout_connect")
            .limited_by("--connect-timeout")
            .few(),
        Fault::greets("resets each connection as soon as it is accepted", || vec![Do::Reset]).own(
            "reset_before_head",
            "closed",
            reset_at_once,
        ),
        Fault::greets("sends FIN as soon as a connection is accepted", || vec![Do::HalfClose])
            .fails("closed_before_head"),
        Fault::greets("answers 503 and closes before it was asked", || {
            then_close("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")
        })
        .own("503, retried when it was on its way", "closed", |mode, n| perhaps_retried("503", mode, n)),
        Fault::greets("greets as a mail server does", || then_hang("220 mail.example ESMTP\r\n"))
            .fails("malformed_status_line"),
    ]
}

/// Of TLS, by servers that have none: they need no certificate.
fn handshakes() -> Vec<Fault> {
    // The hello has come; a record of the alert handshake_failure (RFC 8446 section 6.2).
    let after_hello = |then: Vec<Do>| move || [vec![Do::Read(1000)], then.clone()].concat();
    vec![
        Fault::greets("is silent in the TLS handshake", after_hello(vec![Do::Hang]))
            .tls()
            .limited_by("--connect-timeout")
            .few()
            .unsent("timeout_tls"),
        Fault::greets("speaks HTTP where TLS is expected", after_hello(then_hang("HTTP/1.1 400 Bad Request\r\n\r\n")))
            .tls()
            .unsent("tls_failed"),
        Fault::greets("refuses the TLS handshake by an alert", after_hello(then_hang(b"\x15\x03\x03\x00\x02\x02\x28")))
            .tls()
            .unsent("tls_failed"),
        Fault::greets("sends FIN in the TLS handshake", after_hello(vec![Do::HalfClose])).tls().unsent("tls_failed"),
        Fault::greets("resets in the TLS handshake", after_hello(vec![Do::Reset])).tls().unsent("reset_in_handshake"),
    ]
}

fn before_the_body() -> Vec<Fault> {
    vec![
        Fault::says("resets before the head", |_| vec![Do::Reset]).fails("reset_before_head"),
        Fault::says("resets inside the head", |_| then_reset("HTTP/1.1 200 OK\r\nContent-")).fails("reset_in_head"),
        Fault::says("resets behind the head", |_| then_reset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
            .fails("reset_in_body"),
        Fault::says("resets inside a chunk", |_| then_reset(format!("{CHUNKED}9\r\nhalf"))).fails("reset_in_chunks"),
        Fault::says("resets inside the body", |_| then_reset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
            .fails("reset_in_body"),
        Fault::says("closes before the head", |_| vec![Do::Close]).fails("closed_before_head"),
        Fault::says("closes inside the head", |_| then_close("HTTP/1.1 200 OK\r\nContent-Len")).fails("closed_in_head"),
        Fault::says("sends FIN instead of a response and keeps its own half", |_| vec![Do::HalfClose])
            .fails("closed_before_head"),
        Fault::says("never answers", |_| vec![Do::Hang]).limited_by("--timeout").few().fails("timeout_first_byte"),
        Fault::says("sends the head a byte at a time and is not done in time", |_| {
            drip(format!("HTTP/1.1 200 OK\r\nServer: {}", "slow".repeat(20)), 80)
        })
        .limited_by("--timeout")
        .few()
        .fails("timeout_head"),
        Fault::says("sends all of it a byte at a time, but in time", |_| drip(OK, 1)).keeps("200"),
        Fault::says("sends 100 Continue that nobody asked for", |_| {
            vec![Do::send("HTTP/1.1 100 Continue\r\n\r\n"), Do::send(OK)]
        })
        .keeps("200")
        .remarked("interim_responses"),
        Fault::says("sends a few interim responses in pieces", |_| {
            let wire = format!("{}{OK}", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5));
            wire.as_bytes().chunks(23).flat_map(|c| [Do::send(c), Do::wait_ms(1)]).collect()
        })
        .keeps("200")
        .remarked("interim_responses"),
        Fault::says("sends interim responses without end", |_| flood("", "HTTP/1.1 102 Processing\r\n\r\n"))
            .fails("endless_interim"),
        Fault::says("closes after an interim response", |_| then_close("HTTP/1.1 100 Continue\r\n\r\n"))
            .fails("closed_in_head"),
        Fault::says("is silent after an interim response", |_| then_hang("HTTP/1.1 100 Continue\r\n\r\n"))
            .limited_by("--timeout")
            .few()
            .fails("timeout_head"),
    ]
}

fn status_lines() -> Vec<Fault> {
    let no_response =
        |name, wire: &'static [u8]| Fault::says(name, move |_| then_hang(wire)).fails("malformed_status_line");
    vec![
        no_response("speaks SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        no_response("speaks TLS: an alert", b"\x15\x03\x01\x00\x02\x02\x46"),
        no_response("answers as HTTP/0.9", b"<html>hello</html>\r\n"),
        no_response("answers as HTTP/2 in text", b"HTTP/2 200 OK\r\n\r\n"),
        no_response("writes HTTP in small letters", b"http/1.1 200 OK\r\n\r\n"),
        no_response("sends random bytes", b"\x00\xff\xfe\x80\r\n\r\n\x00"),
        no_response("sends a status that is no number", b"HTTP/1.1 20x OK\r\n\r\n"),
        no_response("sends a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
        no_response("sends a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
        no_response("sends a status below 100", b"HTTP/1.1 099 Low\r\n\r\n"),
        // RFC 9112 section 4: the reason phrase may be missing, and holds any text.
        Fault::says("sends no reason phrase", |_| vec![Do::send("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")])
            .keeps("200"),
        Fault::says("sends a reason phrase in Latin-1", |_| {
            vec![Do::send(b"HTTP/1.1 404 Nicht verf\xfcgbar\r\nContent-Length: 2\r\n\r\nno")]
        })
        .keeps("404"),
        Fault::says("sends 101 unasked and speaks another protocol", |_| {
            then_hang("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x01\x02")
        })
        .leaves("101"),
    ]
}

fn fields() -> Vec<Fault> {
    let malformed =
        |name, fields: &'static str| Fault::says(name, move |_| then_hang(head_with(fields))).fails("malformed_head");
    let fine = |name, wire: &'static [u8]| Fault::says(name, move |_| vec![Do::send(wire)]).keeps("200");
    vec![
        Fault::says("sends 1 MB of headers in one field", |_| {
            then_hang(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20)))
        })
        .fails("head_too_large"),
        Fault::says("sends 1 MB of headers in many fields", |_| {
            then_hang(format!("HTTP/1.1 200 OK\r\n{}", "Set-Cookie: a=b\r\n".repeat(62_000)))
        })
        .fails("head_too_large"),
        Fault::says("sends 10 000 header fields and ends the head", |_| {
            then_hang(head_with(&format!("{}Content-Length: 2", "A: b\r\n".repeat(10_000))))
        })
        .fails("head_too_large"),
        Fault::says("sends headers without end", |_| flood("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"))
            .fails("head_too_large"),
        malformed("sends NUL in a field value", "X-A: a\0b\r\nContent-Length: 2"),
        malformed("sends a bare CR in a field value", "X-A: a\rb\r\nContent-Length: 2"),
        malformed("sends a field without a colon", "Nothing\r\nContent-Length: 2"),
        malformed("sends a field without a name", ": x\r\nContent-Length: 2"),
        malformed("sends a space before the colon", "Content-Length : 2"),
        // RFC 9112 section 2.2: a lone LF may be taken for a line's end.
        fine("ends its lines with a bare LF", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        // Section 5.2: a user agent takes a fold in a response for spaces.
        fine("folds a field over two lines", b"HTTP/1.1 200 OK\r\nX-A: one\r\n  two\r\nContent-Length: 2\r\n\r\nok"),
        fine("sends Latin-1 in a field value", b"HTTP/1.1 200 OK\r\nX-A: \xe9t\xe9\r\nContent-Length: 2\r\n\r\nok"),
        fine("sends an empty field value", b"HTTP/1.1 200 OK\r\nServer:\r\nContent-Length:2\r\n\r\nok"),
        Fault::says("says close and stays", |_| {
            then_hang("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        })
        .leaves("200"),
        Fault::says("says keep-alive and close", |_| {
            then_hang("HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok")
        })
        .leaves("200"),
    ]
}

fn lengths() -> Vec<Fault> {
    let malformed =
        |name, fields: &'static str| Fault::says(name, move |_| then_hang(head_with(fields))).fails("malformed_length");
    let length = |n: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n");
    let short = length("2") + "okay, and more than was said";
    let long = length("9") + "half";
    let (stays, closes) = (long.clone(), long);
    vec![
        Fault::says("sends more than its Content-Length", move |_| vec![Do::send(&short)])
            .leaves("200")
            .remarked("surplus_bytes"),
        Fault::says("sends less than its Content-Length and closes", move |_| then_close(&closes))
            .fails("closed_in_body"),
        Fault::says("sends less than its Content-Length and stays", move |_| then_hang(&stays))
            .limited_by("--timeout")
            .few()
            .fails("timeout_body"),
        Fault::says("sends FIN inside the body and keeps its own half", |_| {
            vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), Do::HalfClose]
        })
        .fails("closed_in_body"),
        malformed("sends a negative Content-Length", "Content-Length: -2"),
        malformed("sends a Content-Length with a sign", "Content-Length: +2"),
        malformed("sends a Content-Length in hex", "Content-Length: 0x2"),
        malformed("sends a Content-Length in words", "Content-Length: two"),
        malformed("sends an empty Content-Length", "Content-Length: "),
        malformed("sends a Content-Length past 64 bits", "Content-Length: 18446744073709551616"),
        malformed("sends two different Content-Lengths", "Content-Length: 2\r\nContent-Length: 3"),
        malformed("sends two different Content-Lengths in one field", "Content-Length: 2, 3"),
        // RFC 9112 section 6.3, item 5: the same value twice is one value.
        Fault::says("sends the same Content-Length twice", |_| {
            vec![Do::send(head_with("Content-Length: 2\r\nContent-Length: 2"))]
        })
        .keeps("200"),
        // Section 6.3, item 3: the chunks count; and it may be an attack.
        Fault::says("sends Content-Length and chunks", |_| {
            then_hang("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        })
        .leaves("200")
        .remarked("length_and_chunks"),
        Fault::says("sends a second response unasked", |_| vec![Do::send(OK.repeat(2))])
            .leaves("200")
            .remarked("surplus_bytes"),
        Fault::says("sends an empty line behind the response", |_| vec![Do::send(format!("{OK}\r\n"))])
            .leaves("200")
            .remarked("surplus_bytes"),
    ]
}

fn chunks() -> Vec<Fault> {
    let malformed = |name, body: &'static str| {
        Fault::says(name, move |_| then_hang(format!("{CHUNKED}{body}"))).fails("malformed_chunks")
    };
    let cut = |name, body: &'static str| {
        Fault::says(name, move |_| then_close(format!("{CHUNKED}{body}"))).fails("closed_in_chunks")
    };
    vec![
        cut("closes inside a chunk's size", "1"),
        cut("closes inside a chunk", "9\r\nhalf"),
        cut("closes between two chunks", "4\r\nhalf\r\n"),
        cut("closes behind the last chunk, before the end of the trailers", "4\r\nhalf\r\n0\r\n"),
        cut("sends the largest chunk size there is and closes", "FFFFFFFFFFFFFFFF\r\nhalf"),
        malformed("sends a chunk size past 64 bits", "FFFFFFFFFFFFFFFFF\r\nhalf"),
        malformed("sends a chunk size that is no number", "zz\r\nhalf"),
        malformed("sends a negative chunk size", "-4\r\nhalf"),
        malformed("sends a chunk size with 0x before it", "0x4\r\nhalf"),
        malformed("sends an empty chunk size", "\r\nhalf"),
        malformed("sends more than a chunk's size", "4\r\nhalf more\r\n"),
        malformed("sends no chunks where it said so", "{\"a\": \"body\"}"),
        Fault::says("sends chunk extensions of 1 MB", |_| {
            then_hang(format!("{CHUNKED}4;x={}\r\nhalf\r\n0\r\n\r\n", "y".repeat(1 << 20)))
        })
        .fails("malformed_chunks"),
        Fault::says("sends trailer fields of 1 MB", |_| {
            then_hang(format!("{CHUNKED}4\r\nhalf\r\n0\r\nX-T: {}\r\n\r\n", "y".repeat(1 << 20)))
        })
        .fails("malformed_chunks"),
        Fault::says("sends trailer fields and short extensions in pieces", |_| {
            let wire = format!("{CHUNKED}5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: t\r\n\r\n");
            wire.as_bytes().chunks(7).flat_map(|c| [Do::send(c), Do::wait_ms(1)]).collect()
        })
        .keeps("200"),
        Fault::says("sends 20 000 chunks of one byte", |_| {
            vec![Do::send(format!("{CHUNKED}{}0\r\n\r\n", "1\r\nx\r\n".repeat(20_000)))]
        })
        .keeps("200"),
        // RFC 9112 section 6.1: chunks are of HTTP/1.1; from a 1.0 server the framing is suspect.
        Fault::says("sends chunks as HTTP/1.0 and keep-alive", |_| {
            then_hang(
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            )
        })
        .leaves("200"),
        // Section 6.3, item 4: not chunked at last, so up to the end.
        Fault::says("says Transfer-Encoding: identity and closes", |_| {
            then_close("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nto the end")
        })
        .leaves("200"),
        Fault::says("says Transfer-Encoding: gzip without chunked and closes", |_| {
            then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b\x08to the end")
        })
        .leaves("200"),
        Fault::says("says Transfer-Encoding: gzip, chunked", |_| {
            vec![Do::send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\n\x1f\x8b\x08\r\n0\r\n\r\n")]
        })
        .keeps("200"),
    ]
}

fn bodies() -> Vec<Fault> {
    vec![
        Fault::says("sends a body without end up to the close", |_| flood("HTTP/1.1 200 OK\r\n\r\n", "x"))
            .limited_by("--timeout")
            .few()
            .fails("endless_body"),
        Fault::says("sends chunks without end", |_| flood(CHUNKED, "4\r\nmore\r\n"))
            .limited_by("--timeout")
            .few()
            .fails("endless_body"),
        Fault::says("sends 128 KiB of a body without a length and is silent", |_| {
            then_hang(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(128 << 10)))
        })
        .limited_by("--timeout")
        .few()
        .fails("timeout_body"),
        Fault::says("sends the body a byte at a time and is not done in time", |_| {
            [vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")], drip("x".repeat(100), 80)].concat()
        })
        .limited_by("--timeout")
        .few()
        .fails("timeout_body"),
        Fault::says("answers as HTTP/1.0 without a length and closes", |_| {
            then_close("HTTP/1.0 200 OK\r\n\r\nto the end")
        })
        .leaves("200"),
        Fault::says("answers as HTTP/1.0 with keep-alive", |_| {
            vec![Do::send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")]
        })
        .keeps("200"),
        Fault::says("answers as HTTP/1.1 without a length and closes", |_| {
            then_close("HTTP/1.1 200 OK\r\n\r\nto the end")
        })
        .leaves("200"),
        Fault::says("answers 204", |_| vec![Do::send("HTTP/1.1 204 No Content\r\n\r\n")]).keeps("204"),
        Fault::says("answers 204 with a body", |_| {
            vec![Do::send("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok")]
        })
        .leaves("204")
        .remarked("surplus_bytes"),
        Fault::says("answers 304 with the length of what it does not send", |_| {
            vec![Do::send("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n")]
        })
        .keeps("304"),
        Fault::says("answers HEAD", |_| vec![Do::send("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")])
            .asked("HEAD")
            .keeps("200"),
        Fault::says("answers HEAD with Transfer-Encoding: chunked", |_| vec![Do::send(CHUNKED)])
            .asked("HEAD")
            .keeps("200"),
        Fault::says("answers HEAD with a body", |_| vec![Do::send(OK)])
            .asked("HEAD")
            .leaves("200")
            .remarked("surplus_bytes"),
        Fault::says("sends a gzip body nobody asked for", |_| {
            vec![Do::send(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\x00\x00",
            )]
        })
        .keeps("200"),
    ]
}

fn between() -> Vec<Fault> {
    // Each connection answers its first request and drops the second one when it has come.
    let drops = |end: Do| move |a: &Asked| if a.on_connection == 0 { ok() } else { vec![end.clone()] };
    fn retried(mode: &Mode, n: u64) -> Counts {
        let again = if mode.keeps { n - mode.lanes } else { 0 };
        Counts::complete("200", n).opened(n..=n).retried(again..=again)
    }
    let after_each = |end: Do| move |_: &Asked| [ok(), vec![end.clone()]].concat();
    fn half(mode: &Mode, n: u64) -> Counts {
        if mode.keeps {
            let failed = n / mode.lanes / 2 * mode.lanes;
            let opened = n - failed;
            Counts::fail("closed_before_head", failed).and("200", n - failed).opened(opened..=opened).sent(n..=n)
        } else {
            Counts::complete("200", n).opened(n..=n)
        }
    }
    fn once(mode: &Mode, n: u64) -> Counts {
        let again = u64::from(mode.keeps);
        Counts::fail("closed_before_head", n - 1).and("200", 1).sent(n..=n).opened(n..=n).retried(again..=again)
    }
    vec![
        Fault::says("closes a kept connection under its second request", drops(Do::Close)).own(
            "200, retried on a fresh connection",
            "closed",
            retried,
        ),
        Fault::says("resets a kept connection under its second request", drops(Do::Reset)).own(
            "200, retried on a fresh connection",
            "closed",
            retried,
        ),
        Fault::says("sends FIN under the second request and keeps its own half", drops(Do::HalfClose)).own(
            "200, retried on a fresh connection",
            "closed",
            retried,
        ),
        Fault::says("closes after each response without a word", after_each(Do::Close)).own(
            "200, retried when it was on its way",
            "closed",
            |mode, n| perhaps_retried("200", mode, n),
        ),
        Fault::says("sends FIN after each response and keeps its own half", after_each(Do::HalfClose)).own(
            "200, retried when it was on its way",
            "closed",
            |mode, n| perhaps_retried("200", mode, n),
        ),
        Fault::says("resets after each response", after_each(Do::Reset)).own(
            "200, retried when it was on its way",
            "closed",
            |mode, n| perhaps_retried("200", mode, n),
        ),
        Fault::says("closes a kept connection under a POST", drops(Do::Close)).asked("POST").own(
            "closed_before_head: sent once only",
            "closed",
            half,
        ),
        Fault::says("answers one request and drops all others", |a| if a.nth == 0 { ok() } else { vec![Do::Close] })
            .own("200 once, then closed_before_head, of which one retried", "closed", once),
        // As servers do that time an idle connection out.
        Fault::says("sends 408 and closes between two requests", |_| {
            let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            [ok(), vec![Do::wait_ms(10), Do::send(late), Do::Close]].concat()
        })
        .only_paced(5)
        .few()
        .leaves("200")
        .remarked("surplus_bytes"),
        Fault::says("sends a response between two requests and stays", |_| {
            [ok(), vec![Do::wait_ms(10), Do::send(OK)]].concat()
        })
        .only_paced(5)
        .few()
        .leaves("200")
        .remarked("surplus_bytes"),
    ]
}

/// Requests longer than the socket buffers, in a network with small ones.
fn requests() -> Vec<Fault> {
    let too_large = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    let early = |end: Do| move || vec![Do::Read(1000), Do::send(too_large), Do::wait_ms(10), end.clone()];
    vec![
        Fault::greets("answers 413 before the request is whole and closes", early(Do::Close)).big().leaves("413"),
        Fault::greets("answers 413 before the request is whole and resets", early(Do::Reset)).big().leaves("413"),
        Fault::greets("answers 413 before the request is whole and reads no further", early(Do::Ignore))
            .big()
            .leaves("413"),
        Fault::greets("answers 413 before the request is whole and reads the rest", early(Do::Hang))
            .big()
            .leaves("413"),
        Fault::greets("closes before the request is whole", || vec![Do::Read(1000), Do::wait_ms(10), Do::Close])
            .big()
            .fails("reset_before_head"),
        Fault::greets("never reads", || vec![Do::Ignore])
            .big()
            .limited_by("--timeout")
            .few()
            .fails("timeout_first_byte"),
    ]
}

/// Faults of the machine rather than of the target, with a test of their own each: name,
/// outcome, what becomes of the connection.
pub const APART: &[(&str, &str, &str)] = &[
    ("goes away while it is loaded", "ECONNREFUSED", "none"),
    ("nobody listens on a port of our own range, and the kernel joins us to ourselves", "ECONNREFUSED", "closed"),
    ("shows a certificate that is not trusted", "tls_failed", "closed"),
    ("shows a certificate of another name", "tls_failed", "closed"),
    ("shows a certificate that has expired", "tls_failed", "closed"),
    ("sends a TLS record that does not decrypt, inside the body", "tls_failed", "closed"),
    ("ends a body up to the close without TLS's closure alert", "closed_in_body", "closed"),
    ("its name does not resolve any more (--dns connection)", "unresolved", "none"),
    ("the name server is silent (--dns connection)", "timeout_dns", "none"),
    ("all local ports to the target are taken", "EADDRNOTAVAIL", "none"),
    ("no file descriptor is left", "EMFILE", "none"),
];

/// The outcome that a row of [`APART`] stands for.
pub fn outcome_of(name: &str) -> &'static str {
    APART.iter().find(|(n, ..)| *n == name).map(|(_, outcome, _)| *outcome).expect("a row of APART")
}

/// All rows as docs/faults.md has them.
pub fn rows() -> Vec<[String; 3]> {
    let own = table().into_iter().map(|f| {
        let (outcome, connection) = match f.comes {
            Comes::Fails(outcome) => (outcome, "closed"),
            Comes::Unsent(outcome) => (outcome, if f.is_tls() { "closed" } else { "none" }),
            Comes::Keeps(status) => (status, "kept"),
            Comes::Leaves(status) => (status, "closed"),
            Comes::Own(outcome, connection, _) => (outcome, connection),
        };
        let outcome = f.remark().map_or(outcome.into(), |remark| format!("{outcome}, {remark}"));
        [f.name.into(), outcome, connection.into()]
    });
    own.chain(APART.iter().map(|(a, b, c)| [(*a).into(), (*b).into(), (*c).into()])).collect()
}
