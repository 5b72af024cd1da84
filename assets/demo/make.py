#!/usr/bin/env python3
"""Makes access.log.gz, the log that comes with perfbench: ten minutes of a small shop.

Run it in this folder; the same bytes come out each time (with the same zlib). Clients are from
the documentation ranges 192.0.2.0/24 (RFC 5737) and 2001:db8::/32 (RFC 3849), hosts from
RFC 2606. What is in it on purpose, for the panes and counts to have something to show:
whole seconds, lines up to 5 s out of order, 404s, HEADs, POSTs (not replayed by default),
scanner junk and TLS bytes in the request field, a burst in the seventh minute.
"""

import datetime
import gzip
import math

START = datetime.datetime(2024, 3, 14, 19, 30, 0, tzinfo=datetime.timezone.utc)
SECONDS = 600
MEAN_PER_SECOND = 33.0

PRODUCTS = 60
WORDS = ["lamp", "desk+lamp", "oak+table", "chair", "rug", "mirror", "shelf", "clock", "vase", "sofa"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Safari/605.1.15",
]
STATIC = [
    ("/static/css/site.css", 18210), ("/static/css/print.css", 2104), ("/static/js/app.js", 90511),
    ("/static/js/cart.js", 12077), ("/static/img/logo.svg", 3312), ("/static/img/hero.webp", 48120),
    ("/static/img/sprite.png", 22014), ("/static/img/pay.png", 6120),
]
JUNK = [
    (r"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", 400), (r"\x16\x03\x01\x00\xEE\x01\x00\x00\xEA\x03\x03", 400),
    ("-", 408), ("", 400), ("HELP", 400), (r"\x00\x00\x00\x0C\x01\x02", 400), ("GET /", 400),
    ("CONNECT shop.example:443 HTTP/1.1", 405), ("PRI * HTTP/2.0", 400), (r"GET /\x00../etc/passwd HTTP/1.1", 400),
    ("OPTIONS * HTTP/1.0", 405),
]
MISSING = ["/wp-login.php", "/.env", "/admin/config.php", "/favicon-32.ico", "/phpmyadmin/", "/robots.txt"]


class Dice:
    """A generator of our own (PCG, O'Neill 2014), so that no library's change moves the log."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        x = ((self.state >> 18) ^ self.state) >> 27 & 0xFFFFFFFF
        turn = self.state >> 59
        return ((x >> turn | x << (-turn & 31)) & 0xFFFFFFFF) * n >> 32

    def chance(self, percent):
        return self.below(10000) < percent * 100

    def pick(self, items):
        return items[self.below(len(items))]

    def popular(self, n):
        """A number below n, small ones more often: the shop has bestsellers."""
        return min(self.below(n), self.below(n), self.below(n))


def client(dice):
    if dice.chance(12):
        return f"2001:db8:{dice.below(4):x}::{1 + dice.popular(60):x}"
    return f"192.0.2.{1 + dice.popular(250)}"


def request(dice):
    """One request as (request line, status, bytes, referer)."""
    shop = "https://shop.example"
    dice_100 = dice.below(1000)
    if dice_100 < 3:
        line, status = dice.pick(JUNK)
        return line, status, 157 if status == 400 else 0, "-"
    if dice_100 < 35:
        return f"GET {dice.pick(MISSING)} HTTP/1.1", 404, 146, "-"
    if dice_100 < 60:
        path, size = dice.pick([("/", 14230), ("/static/img/logo.svg", 3312), (f"/product/{1 + dice.popular(PRODUCTS)}", 9120)])
        return f"HEAD {path} HTTP/1.1", 200, 0, "-"
    if dice_100 < 75:
        path = dice.pick(["/cart", "/checkout", "/login"])
        return f"POST {path} HTTP/1.1", 302 if path != "/cart" else 200, dice.below(300), shop + path
    if dice_100 < 175:
        return "GET / HTTP/1.1", 200, 14000 + dice.below(400), dice.pick(["-", "-", "https://search.example/"])
    if dice_100 < 500:
        path, size = dice.pick(STATIC)
        return (f"GET {path} HTTP/1.1", 304, 0, shop + "/") if dice.chance(35) else (f"GET {path} HTTP/1.1", 200, size, shop + "/")
    if dice_100 < 700:
        n = 1 + dice.popular(PRODUCTS)
        if dice.chance(2):
            return f"GET /product/{9000 + n} HTTP/1.1", 404, 980, "-"
        return f"GET /product/{n} HTTP/1.1", 200, 8000 + n * 37, shop + "/"
    if dice_100 < 770:
        word = dice.pick(WORDS)
        page = f"&page={2 + dice.below(3)}" if dice.chance(20) else ""
        return f"GET /search?q={word}{page} HTTP/1.1", 200, 6000 + dice.below(3000), shop + "/"
    if dice_100 < 910:
        n = 1 + dice.popular(PRODUCTS)
        return f"GET /api/v1/stock/{n} HTTP/1.1", 200, 90 + dice.below(20), f"{shop}/product/{n}"
    if dice_100 < 960:
        return "GET /cart HTTP/1.1", 200, 2000 + dice.below(2500), shop + "/"
    if dice_100 < 985:
        return "GET /checkout HTTP/1.1", 200 if dice.chance(97) else 500, 5100, shop + "/cart"
    return "GET /login HTTP/1.1", 200, 3100, shop + "/"


def main():
    dice = Dice(20240314)
    lines = []
    for second in range(SECONDS):
        wave = 1 + 0.35 * math.sin(second / 95) + (1.2 if 380 <= second < 400 else 0)
        rate = round(MEAN_PER_SECOND * wave)
        for _ in range(rate - 6 + dice.below(13)):
            line, status, size, referer = request(dice)
            at = (START + datetime.timedelta(seconds=second)).strftime("%d/%b/%Y:%H:%M:%S +0000")
            agent = "-" if "\\x" in line or line in ("", "-") else AGENTS[dice.popular(len(AGENTS))]
            # A worker that buffers its lines writes them late.
            written = second + (1 + dice.below(5) if dice.chance(8) else 0)
            lines.append((written, f'{client(dice)} - - [{at}] "{line}" {status} {size} "{referer}" "{agent}"\n'))
    lines.sort(key=lambda entry: entry[0])
    text = "".join(line for _, line in lines).encode("ascii")
    with open("access.log.gz", "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(text)


if __name__ == "__main__":
    main()
