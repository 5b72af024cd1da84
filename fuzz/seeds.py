#!/usr/bin/env python3
"""Writes the seeds of every fuzz target to fuzz/corpus/TARGET: small inputs that reach far.

What the repository holds already (sample lines of assets/formats, recordings of tests/formats,
scenarios, a text of perf script) is taken from there, so that a new format is a new seed by
itself; the rest is the tables below. Inputs that libFuzzer found stay where they are.

Must not: take anything from outside the repository, or make two different runs.
"""

import gzip
import hashlib
import re
import struct
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"

# Lines that many formats have in common trouble with: times that go back, cut lines, what a scanner sends.
COMBINED = rb"""192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET /product/17?ref=a%20b&token=x HTTP/1.1" 200 490 "http://shop.example/" "curl/8.5.0"
2001:db8::9 - ann lee [17/May/2015:10:35:31 +0230] "HEAD / HTTP/2.0" 304 - "-" "-" "-" rt=0.004
192.0.2.8 - - [17/May/2015:08:06:32 +0000] "POST /cart HTTP/1.1" 404 5 "-" "-"
192.0.2.9 - - [17/May/2015:08:07:32 +0000] "\x16\x03\x01" 400 0 "-" "-"
192.0.2.9 - - [17/May/2015:08:07:33 +0000] "GET http://shop.example/a#b HTTP/1.1" 200 1 "-" "a \"q\" \x22"
"""

# How lines are wrapped on their way: docker's JSON, Kubernetes' prefix, syslog.
ENVELOPES = [
    b'{"log":"%s\\n","stream":"stdout","time":"2015-05-17T08:05:32.1Z"}\n',
    b"2015-05-17T08:05:32.1Z stdout F %s\n",
    b"<190>May 17 08:05:32 host nginx: %s\n",
    b"<134>1 2015-05-17T08:05:32Z host nginx 1 - - %s\n",
]

PATTERNS = [
    (b"pattern", b'$remote_addr [$time_local] "$request" $status ${body_bytes_sent}x $request_time $http_x_a',
     b'192.0.2.7 [17/May/2015:08:05:32 +0000] "GET /a HTTP/1.1" 200 5x 0.004 b\n'),
    (b"pattern", b"$time_iso8601|$msec|$request_method|$host|$request_uri|$args",
     b"2015-05-17T08:05:32+02:00|1431849932.655|GET|shop.example|/a?b|b\n"),
    (b"pattern", b'%h %l %u %t "%r" %>s %b "%{Referer}i" %D', b'192.0.2.7 - - [17/May/2015:08:05:32 +0000] "GET /a HTTP/1.1" 200 5 "-" 900\n'),
    (b"pattern", b"%{%Y-%m-%dT%H:%M:%S}t.%{usec_frac}t %{msec}t %m %U%q %!200,304s %%", b"2015-05-17T08:05:32.655000 1431849932655 GET /a?b 200 %\n"),
    (b"fields", b"time=ts\nuri=req.path\nmethod=req.method\nstatus=s", b'{"ts":"2015-05-17T08:05:32Z","req":{"path":"/a","method":"GET"},"s":200}\n'),
    (b"conf main", b"http {\n  log_format main escape=json '$remote_addr [$time_local] '\n    '\"$request\" $status';  # ours\n  access_log /x main;\n}",
     b'192.0.2.7 [17/May/2015:08:05:32 +0000] "GET /\\u00e4 HTTP/1.1" 200\n'),
    (b"conf", b'log_format a "$msec $uri";\nserver { access_log off; access_log "/b c" a buffer=1k; }', b"1431849932.655 /a\n"),
]

FILTERS = [
    b"only status=2xx,404-499\nskip path=[.]css\nfrom 08:05\nto +10m\nsample 50%",
    b"only route=/product/{}\nonly host=*.example\nskip method=POST\nroute /product/{}\nroutes 1",
    b"methods all\nprefix /product/=/v2/p/\ndrop token\ndrop utm_*\nset a=b c\nset ref=1",
    b"only path=^/(a|b)+$\nskip path=(?i)\\.CSS\nfrom 2015-05-17T08:05:32Z\nto @1431849999.5",
    b"only status=none\nskip host=none\nskip route=/a/**\nsample 0.5%",
]

RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\nA\n0123456789\n0\n\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 \r\nContent-Length: 2, 2\r\n\r\nno",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nanything",
    b"HTTP/1.1 200 OK\r\nX: a\r\n\tb\r\nContent-Length:\r\n 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\n\r\nto the end",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
    b"\x16\x03\x01 no http",
]

SCENARIOS = [
    b'users = 2\nramp = "1s"\nrepeat = 2\nthink = "1ms..5ms"\n[vars]\nn = { range = [1, 9], draw = "zipf(1.1)" }\n'
    b'w = { list = ["a", "b c"], draw = "sequential", each = "flow" }\nr = { csv = "rows.csv", draw = "per user", separator = "," }\n'
    b'[[step]]\nrequest = "POST /a/{{n}}?q={{w}}"\nheaders = { X-Id = "{{uuid}}-{{seq}}" }\nbody = "{{r.user}}"\nweight = 2\n'
    b'expect = { status = "2xx", json = { "a[0].b" = 1 }, body = "x", header = { X = "y" } }\n'
    b'[[step]]\nrequest = "GET /b"\nbody_file = "body.bin"\n',
    b'arrivals = "50/s"\nbody_bound = "64KiB"\n[[step]]\nonce = true\nrequest = "POST /login"\nroute = "login"\n'
    b'capture = { t = { json = "$.token" }, h = { header = "X-T", default = "d" }, x = { regex = "id=([0-9]+)" } }\n'
    b'[[step]]\nrequest = "GET /me/{{x|raw}}"\nheaders = { Authorization = "Bearer {{t}}{{h|url}}" }\n',
]
ANSWER = b'HTTP/1.1 200 OK\r\nX-T: tt\r\nX: y\r\n\r\n{"a":[{"b":1}],"token":"t\\u00e4","x":"id=17"}'

CHECKS = [
    b"status 2xx,404\nbody token\nmatches id=\\d+\njson a[0].b=1\njson $['token']\nheader X-T: tt\nheader X",
    b"status recorded\njson token=\"t\xc3\xa4\"",
]

TEXTS = [
    "const(1000,30s) line(1000,5000,2m) step(1000,5000,500,10s) pause(5s)",
    "step(5,1,0.3,500ms)", "line(0,1e9,1h)\nCONST( 1/s , 10 )", "const(1e9,366d)",
    "p99<50ms,errors<1%", "p99.9 >= 1.5s for 10s", "service.p50>200us,errors<=3,rate>100/s", "lag.p99<1ms,timeouts<0.5%",
]

PERF = [
    b"nginx 7/8 [003] 2.000000005: 10101010 cpu-clock: \n\tffffffff81000000 do_syscall_64+0x5 ([kernel.kallsyms])\n\t1 f (/x)\n\n",
    b"a: b [c/d] 7/8 [000] 2.000000000: 1 cycles:u: \n\t 1 [unknown] ([unknown])\n\n",
    b"swapper 0/0 [001] 3.000000000: PERF_RECORD_LOST lost 5\nswapper 0/0 [001] 3.0: PERF_RECORD_LOST_SAMPLES lost 7\n",
    b"two\nlines 7/8 [003] 2.000000005: 1 task-clock: \n\n",
]


def hdr(counts, digits=3, low=1, high=3_600_000_000_000):
    """HdrHistogram V2: cookie, payload length, offset, digits, lowest, highest, ratio, ZigZag counts."""
    payload = b""
    for n in counts:
        z = (n << 1) ^ (n >> 63)
        while z > 0x7F:
            payload += bytes([z & 0x7F | 0x80])
            z >>= 7
        payload += bytes([z])
    return struct.pack(">IIIIQQd", 0x1C849303 | 0x10, len(payload), 0, digits, low, high, 1.0) + payload


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A protocol buffer's field: a number, bytes, or a list packed."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, list):
        value = b"".join(varint(n) for n in value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def pprof(strings, types, samples, more=b""):
    """A profile whose n-th location is the n-th function, named by the strings after the types'."""
    out = b"".join(field(1, field(1, kind) + field(2, unit)) for kind, unit in types)
    out += b"".join(field(2, field(1, stack) + field(2, values) + labels) for stack, values, labels in samples)
    out += field(3, field(1, 1) + field(2, 0x400000) + field(3, 0x500000) + field(5, 1))
    for n in range(1, 4):
        line = field(4, field(1, n) + field(2, 10 * n))
        inlined = field(4, field(1, 3) + field(2, 99)) if n == 2 else b""
        out += field(4, field(1, n) + field(2, 1) + field(3, 0x400000 + n) + inlined + line)
        out += field(5, field(1, n) + field(2, len(strings) - n) + field(4, 1))
    return out + b"".join(field(6, s.encode()) for s in strings) + field(9, 10**18) + field(10, 10**9) + more


def profiles():
    strings = ["", "/opt/app", "cpu", "nanoseconds", "samples", "count", "thread", "io", "main", "work", "hot"]
    label = field(3, field(1, 6) + field(2, 7)) + field(3, field(1, 5) + field(3, 48))
    cpu = pprof(strings, [(4, 5), (2, 3)], [([3, 2, 1], [1, 10**7], b""), ([1], [2, 2 * 10**7], label)])
    yield b"\n" + cpu
    yield b"\n" + gzip.compress(cpu, mtime=0)
    yield b"pprof\n" + pprof(strings, [(2, 3)], [([1, 1], [-5], b""), ([], [7], b"")], field(7, 10) + field(14, 2))
    for size in ("<q", "<i", ">q", ">i"):
        words = [0, 3, 0, 10000, 0, 2, 2, 0x60000010, 0x400021, 1, 1, 0x400020, 0, 1, 0]
        maps = b"00400000-00500000 r-xp 00000000 08:01 12  /opt/app\n60000000-60001000 r-xp 00002000 00:00 0\n"
        yield b"\n" + b"".join(struct.pack(size, w) for w in words) + maps
    yield (b'\n{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"a","file":"f","line":2},{"name":"b"}]},'
           b'"profiles":[{"type":"sampled","name":"s","unit":"milliseconds","startValue":0,"endValue":2,"samples":[[0,1],[]],"weights":[1,0.5]},'
           b'{"type":"evented","name":"e","unit":"none","startValue":1,"endValue":9,"events":[{"type":"O","frame":0,"at":1},{"type":"C","frame":0,"at":9}]}]}')
    yield b"\nweb;main;a b;hot_[i];write_[k] 5\nweb;lambda_[j] 3\n# remark\n"
    yield b"folded\na;b 1\nno weight\n"
    for text in PERF:
        yield b"\n" + text
    yield b"\nnginx 812 [001] 100.000002:     250000 cpu-clock:pppH: \n\tffffffff81000000 tcp_sendmsg+0x1f ([kernel.kallsyms])\n  tcp.c:12\n\n"
    yield from perf_recordings()
    yield b"\njava 25607/25608 cycles: \n\t 7f01 Foo.bar (/tmp/perf-25607.map)\n\nx 7 page-faults:u: \n"


def record(kind, misc, body):
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


def perf_data(sample_type, samples, features=()):
    """perf.data of one event: header, attribute with its identifier, records, features."""
    attr = struct.pack("<IIQQQQQ", 1, 128, 0, 999, sample_type, 0, 1 << 10 | 1 << 18) + bytes(80)
    ids = struct.pack("<Q", 77)
    attrs_at = 104 + len(ids)
    data_at = attrs_at + len(attr) + 16
    attrs = attr + struct.pack("<QQ", 104, len(ids))
    bits = [0, 0, 0, 0]
    for bit, _ in features:
        bits[bit // 64] |= 1 << bit % 64
    at, table, rest = data_at + len(samples) + 16 * len(features), b"", b""
    for _, body in features:
        table += struct.pack("<QQ", at + len(rest), len(body))
        rest += body
    header = b"PERFILE2" + struct.pack("<QQQQQQQQ4Q", 104, len(attrs), attrs_at, len(attrs), data_at, len(samples), 0, 0, *bits)
    return header + ids + attrs + samples + table + rest


def perf_recordings():
    tail = struct.pack("<IIQII", 7, 7, 50, 0, 0)  # process, thread, time, CPU
    comm = record(3, 1 << 13, struct.pack("<II", 7, 7) + b"worker\0\0" + tail)
    place = struct.pack("<IIQQII", 8, 1, 3, 0, 5, 2)
    maps = record(10, 2, struct.pack("<IIQQQ", 7, 7, 0x1000, 0x1000, 0) + place + b"/opt/app\0".ljust(16, b"\0") + tail)
    maps += record(1, 2, struct.pack("<IIQQQ", 7, 7, 0x3000, 0x1000, 0) + b"//anon\0\0" + tail)
    fork = record(7, 0, struct.pack("<IIIIQ", 8, 7, 8, 7, 60) + tail)
    lost = record(2, 0, struct.pack("<QQ", 77, 5) + tail) + record(13, 0, struct.pack("<Q", 5) + tail)
    chain = [(1 << 64) - 512, 0x1004, 0x1010, 0x3008, (1 << 64) - 128, 0x5000]
    samples = b""
    for time in (90, 70, 80):
        samples += record(9, 2, struct.pack("<QIIQIIQQ6Q", 0x1004, 7, 7, time, 1, 0, 1001001, len(chain), *chain))
        samples += record(68, 0, b"") if time == 70 else b""
    name = struct.pack("<I", 12) + b"cpu-clock\0\0\0"
    names = struct.pack("<II", 1, 128) + bytes(128) + struct.pack("<I", 1) + name + struct.pack("<Q", 77)
    id = record(67, 2, struct.pack("<i", -1) + bytes(range(20)) + bytes(4) + b"/opt/app\0".ljust(16, b"\0"))
    host = struct.pack("<I", 8) + b"another\0"
    whole = perf_data(0x1A7, comm + maps + fork + lost + samples, [(2, id), (3, host), (12, names)])
    yield b"\n" + whole
    yield b"perf-data\n" + gzip.compress(whole, mtime=0)
    yield b"\n" + perf_data(0x107, record(9, 1, struct.pack("<QIIQQ", 0x5000, 7, 7, 3, 9)))
    yield b"\n" + b"PERFILE2" + struct.pack("<Q", 16) + record(9, 0, b"")


def log_lines():
    for file in sorted((ROOT / "assets/formats").glob("*.toml")):
        format = tomllib.loads(file.read_text())
        lines = "".join(sample["line"] + "\n" for sample in format["sample"]).encode()
        yield b"\n" + lines
        yield format["name"].encode() + b"\n" + lines
    yield b"\n" + COMBINED
    yield b"\n" + gzip.compress(COMBINED, mtime=0)
    for envelope in ENVELOPES:
        quoted = b'"log"' in envelope
        lines = (line.replace(b"\\", b"\\\\").replace(b'"', b'\\"') if quoted else line for line in COMBINED.splitlines())
        yield b"\n" + b"".join(envelope % line for line in lines)


def recordings():
    for file in sorted((ROOT / "tests/formats").glob("*.toml")):
        recording = tomllib.loads(file.read_text())
        yield recording["format"].encode() + b"\n" + recording["text"].encode()


def scenarios():
    files = [f.read_bytes() for f in sorted((ROOT / "assets/scenarios").glob("*.toml"))]
    documented = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/scenarios.md").read_text(), re.DOTALL)
    for text in SCENARIOS + files + [block.encode() for block in documented]:
        yield text + b"\0" + ANSWER


SEEDS = {
    "log_line_formats": log_lines,
    "framed_formats": recordings,
    "log_format_pattern": lambda: (how + b"\n" + format + b"\n----\n" + log for how, format, log in PATTERNS),
    "filters_and_rewriting": lambda: (filters + b"\n\n" + COMBINED for filters in FILTERS),
    "http_response": lambda: (how + wire for wire in RESPONSES for how in (b"\x00", b"\x0f")),
    "scenario_file": scenarios,
    "answer_checks": lambda: (checks + b"\n\n" + ANSWER for checks in CHECKS),
    "phases_and_objectives": lambda: (text.encode() for text in TEXTS),
    "perf_script": lambda: PERF + [b"".join(PERF), (ROOT / "src/profile/fixtures/all-cpus.txt").read_bytes()[:6000]],
    "profiles": profiles,
    "hdr_latency": lambda: [b"", hdr([-100, 3, -7, 1]), hdr([1], digits=2), hdr([-5000, 1 << 40, 2]), hdr([1] * 50, low=1000)],
}

for target, seeds in SEEDS.items():
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (folder / ("seed-" + hashlib.sha256(seed).hexdigest()[:16])).write_bytes(seed)
