//! The demo target: a small shop that has one of everything a newcomer should see move.
//!
//! Product pages burn CPU in user code, search burns more of it, the cart waits as if for a
//! database, the checkout takes a lock one request at a time, stock is sent in chunks, and
//! every now and then everything stops for a moment as if for a garbage collection.
//!
//! Must not: be fast for its own sake; its costs are what is shown.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// Products of the shop.
const PRODUCTS: u64 = 5_000;
/// Every so many requests the shop stops the world.
const PAUSE_EVERY: u64 = 12_000;
/// How long it stops.
const PAUSE: Duration = Duration::from_millis(180);
/// Longest request head it reads, bytes.
const HEAD: usize = 16 * 1024;

/// Serves on a loopback port it picks, prints the address on stdout, and ends when stdin
/// does: with the perfbench that started it.
///
/// # Errors
/// When it can't listen.
pub fn serve() -> std::io::Result<()> {
    // In process lists and stacks it must not look like perfbench itself.
    let _ = rustix::thread::set_name(c"perfbench-demo");
    std::thread::spawn(|| {
        let mut byte = [0u8; 1];
        while std::io::stdin().read(&mut byte).is_ok_and(|n| n > 0) {}
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let shop = Rc::new(Shop::default());
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(converse(stream, shop.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await, // out of descriptors
            }
        }
    })
}

#[derive(Default)]
struct Shop {
    served: std::cell::Cell<u64>,
    till: Mutex<()>,
}

/// One connection: request after request.
async fn converse(mut stream: TcpStream, shop: Rc<Shop>) {
    let mut buffer = vec![0u8; HEAD];
    let mut filled = 0;
    let mut answer = Vec::new();
    loop {
        let (head_length, asked) = match parse(&buffer[..filled]) {
            Ok(Some(found)) => found,
            Ok(None) if filled < buffer.len() => match read(&mut stream, &mut buffer[filled..]).await {
                Ok(n) if n > 0 => {
                    filled += n;
                    continue;
                }
                _ => return,
            },
            _ => return,
        };
        buffer.copy_within(head_length..filled, 0);
        filled -= head_length;
        let reply = shop.reply(&asked).await;
        answer.clear();
        reply.write(&asked, &mut answer);
        if write(&mut stream, &answer).await.is_err() || asked.close {
            return;
        }
    }
}

struct Asked {
    head: bool,
    path: String,
    close: bool,
}

/// A request head, when it is complete: its length and what it asks.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Asked)>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes)? else { return Ok(None) };
    let close = request
        .headers
        .iter()
        .any(|h| h.name.eq_ignore_ascii_case("connection") && h.value.eq_ignore_ascii_case(b"close"));
    let path = request.path.unwrap_or("/").to_owned();
    Ok(Some((length, Asked { head: request.method == Some("HEAD"), path, close })))
}

struct Reply {
    status: &'static str,
    body: String,
    chunked: bool,
}

impl Shop {
    async fn reply(&self, asked: &Asked) -> Reply {
        let served = self.served.get() + 1;
        self.served.set(served);
        if served.is_multiple_of(PAUSE_EVERY) {
            stop_the_world();
        }
        let path = asked.path.split('?').next().unwrap_or("/");
        let ok = |body| Reply { status: "200 OK", body, chunked: false };
        let last = path.rsplit('/').next().and_then(|s| s.parse::<u64>().ok());
        match (path, last) {
            ("/", _) => ok(render_page("home", 40)),
            (p, _) if p.starts_with("/static/") && !p.contains("missing") => ok("x".repeat(2_000 + p.len() * 37)),
            (p, Some(id)) if p.starts_with("/product/") && id < PRODUCTS => ok(render_page(p, 120)),
            (p, Some(id)) if p.starts_with("/api/v1/stock/") && id < PRODUCTS => {
                Reply { chunked: true, ..ok(format!("{{\"product\":{id},\"stock\":{}}}", id % 17)) }
            }
            ("/search", _) => ok(search_catalogue(&asked.path)),
            ("/cart", _) => {
                tokio::time::sleep(Duration::from_millis(2 + served % 4)).await; // as if for a database
                ok(render_page("cart", 60))
            }
            ("/checkout", _) => {
                let _till = self.till.lock().await;
                tokio::time::sleep(Duration::from_millis(1 + served % 3)).await;
                if served.is_multiple_of(97) {
                    return Reply {
                        status: "503 Service Unavailable",
                        body: "the bank is away\n".into(),
                        chunked: false,
                    };
                }
                ok(render_page("checkout", 80))
            }
            ("/login", _) => ok(render_page("login", 30)),
            _ => Reply { status: "404 Not Found", body: "no such page\n".into(), chunked: false },
        }
    }
}

impl Reply {
    fn write(&self, asked: &Asked, out: &mut Vec<u8>) {
        let _ = write!(out, "HTTP/1.1 {}\r\nServer: perfbench-demo\r\nContent-Type: text/plain\r\n", self.status);
        if asked.close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        if !self.chunked {
            let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
            if !asked.head {
                out.extend_from_slice(self.body.as_bytes());
            }
            return;
        }
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        if !asked.head {
            for piece in self.body.as_bytes().chunks(16) {
                let _ = write!(out, "{:x}\r\n", piece.len());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// A page of `rows` rows, each with a checksum, as a template engine would burn CPU.
#[inline(never)]
fn render_page(name: &str, rows: u64) -> String {
    let mut page = format!("<h1>{}</h1>\n", name.len());
    for row in 0..rows {
        page.push_str(&format!("<li>{row}: {:016x}\n", price_of(row)));
    }
    page
}

#[inline(never)]
fn price_of(row: u64) -> u64 {
    let mut h = DefaultHasher::new();
    (0..black_box(12u64)).for_each(|n| (row ^ n).hash(&mut h));
    h.finish()
}

/// Looks through all products, as a search without an index does.
#[inline(never)]
fn search_catalogue(query: &str) -> String {
    let found = (0..PRODUCTS).filter(|p| matches_query(*p, query)).count();
    format!("{found} products\n")
}

#[inline(never)]
fn matches_query(product: u64, query: &str) -> bool {
    black_box(product).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(query.len() as u32 & 63) & 0xff == 0
}

/// Holds everybody up, as a collector that stops the world does.
#[inline(never)]
fn stop_the_world() {
    std::thread::sleep(PAUSE);
}

async fn read(stream: &mut TcpStream, into: &mut [u8]) -> std::io::Result<usize> {
    std::future::poll_fn(|cx| {
        let mut room = ReadBuf::new(into);
        std::pin::Pin::new(&mut *stream).poll_read(cx, &mut room).map_ok(|()| room.filled().len())
    })
    .await
}

async fn write(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let n = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        bytes = &bytes[n..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shop_answers_its_routes_and_no_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let shop = Shop::default();
        let ask = |path: &str| Asked { head: false, path: path.into(), close: false };
        for (path, status) in [
            ("/", "200 OK"),
            ("/product/7", "200 OK"),
            ("/product/999999", "404 Not Found"),
            ("/search?q=shoe", "200 OK"),
            ("/api/v1/stock/3", "200 OK"),
            ("/nothing", "404 Not Found"),
        ] {
            assert_eq!(runtime.block_on(shop.reply(&ask(path))).status, status, "{path}");
        }
    }

    #[test]
    fn a_chunked_reply_reads_back_whole() {
        let mut wire = Vec::new();
        let asked = Asked { head: false, path: "/".into(), close: false };
        Reply { status: "200 OK", body: "y".repeat(50), chunked: true }.write(&asked, &mut wire);
        let mut r = crate::load::engine::Response::to(false);
        assert_eq!(r.advance(&wire, &mut Default::default()), Ok(wire.len()));
        assert!(r.is_done());
    }
}
