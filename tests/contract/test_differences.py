"""Both clients go through the same scenarios, and the same must come of it: scenarios are drawn from a seed.

Nothing is expected here but that Client and AsyncClient agree: on texts, errors and statistics, on what they send, and
on which connection. What should come of an answer, the other tests of this folder say.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import re
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import requests
from faces import AsyncFace, SyncFace
from peers import Peer, Peers, damaged, sized

from aichatfree import AIChatFreeError, RetryPolicy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs TCP_CORK and /proc/net/tcp")

SEED = 20261128
PLAIN, TLS, BORROWED = 150, 15, 25
"""How many scenarios each way gets."""
LIMIT_SECONDS = 0.2
"""Where a server stalls."""
PATIENCE_SECONDS = 10.0
PORT = b"{port}"
PROBE = sized(b"A probe.")

TEXTS = ["one", "Ein Text, é 你 😀.", "a\r\n3\r\nb\r\n0\r\n\r\n", "x" * 5000, "Internal server", "\ufeffBOM", " "]
IN_BAND = [
    "Internal server error",
    "half a reply Internal server error",
    "Internal server error, it said",
    "Internal server error\n",
]
PAGES = ["<!doctype html><title>Sorry</title>", "<html>" + "x" * 9000, " \n<HTML><body>no", "<htm"]
SAID = [
    "Invalid password.",
    "Invalid signature.",
    "[GoogleGenerativeAI Error]: Error fetching from  [429 Too Many Requests] Quota exceeded. Please retry in 0.001s.",
    "[GoogleGenerativeAI Error]: Error fetching from  [503 Service Unavailable] The model is overloaded.",
    "[GoogleGenerativeAI Error]: Error fetching from  [404 Not Found] gone",
    "User location is not supported for the API use.",
]
STATUSES = [
    *["200 OK"] * 30,
    *["201 Created", "202 Accepted", "206 Partial Content", "299 Odd", "300 Multiple Choices", "399 Odd"],
    *["204 No Content", "205 Reset Content", "304 Not Modified"] * 2,
    *["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
    *["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "405 Not Allowed", "408 Timeout"],
    *["407 Proxy Authentication Required", "413 Too Large", "417 Expectation Failed", "421 Misdirected", "426 Upgrade"],
    *["429 Too Many Requests", "431 Too Large", "451 Unavailable", "499 Odd"],
    *["500 Internal Server Error"] * 3,
    *[
        "501 Not Implemented",
        "502 Bad Gateway",
        "503 Unavailable",
        "504 Timeout",
        "505 Version",
        "599 Odd",
        "600 Odd",
        "999 Odd",
    ],
]
ODD_LENGTHS = [
    "+5",
    "5, 5",
    "-5",
    "0x5",
    "",
    "5 ",
    "\t5",
    "05",
    "5;x",
    "1_0",
    "٥",
    "9" * 20,
    "0" * 30 + "5",
    "9" * 19,
    "5\r\nContent-Length: 5",
    "5\r\nContent-Length: 6",
]
ODD_CODINGS = [
    *[
        "identity",
        "identity, chunked",
        "Chunked",
        "chunked, chunked",
        "gzip, chunked",
        "gzip",
        "chunked, gzip",
        "xchunked",
    ],
    *["", "chunked,", ",chunked", "chunked;q=1", "\tchunked", "chunked\r\nTransfer-Encoding: chunked", "\r\n chunked"],
    *[
        "chunked\r\nContent-Length: 5",
        "identity\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
    ],
]
ENCODINGS = [
    "gzip",
    "GZIP",
    "x-gzip",
    "deflate",
    "identity",
    "",
    "br",
    "zstd",
    "gzip, gzip",
    "gzip,",
    "gzip\r\nContent-Encoding: br",
]
FIELDS = [
    *["Connection: close", "Connection: Close", "Connection: keep-alive", "Connection: keep-alive, close"],
    *[
        "Connection: x\r\nConnection: close",
        "Connection: upgrade\r\nUpgrade: h2c",
        "Connection:",
        "Connection: keep-alive, Upgrade",
        "Proxy-Connection: keep-alive",
        "Keep-Alive: timeout=0",
    ],
    *[
        "Retry-After: 0",
        "Retry-After: 0.001",
        "Retry-After: x",
        "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",
        "Retry-After: 0\r\nRetry-After: 1",
    ],
    *[
        "Location: /elsewhere",
        "Location: http://127.0.0.1:{port}/there",
        "Location: //127.0.0.1:{port}/é",
        "Location: http://127.0.0.2:1/",
    ],
    *["Location:", "Location: http://[", "Location: /a\r\nLocation: /b", "Location: ?q=1#f", "Location: mailto:me"],
    *["Content-Type: text/html", "Content-Type: TEXT/HTML; charset=utf-8", "Content-Type: text/plain"],
    *["Content-Type: text/html\r\nContent-Type: text/plain", "Set-Cookie: a=b", "Set-Cookie: a=b\r\nSet-Cookie: c=d"],
    *[
        "Date: Wed, 21 Oct 2015 07:28:00 GMT",
        "Date: x",
        "X: é",
        "X: a\r\n b",
        "X:",
        "X: \t a \t ",
        "X: a\x0bb",
        "x" * 300 + ": y",
        "Trailer: X",
    ],
    *[
        "X: " + "y" * 9000,
        "\r\n".join(f"X-{n}: y" for n in range(200)),
        "Server: a\r\nSERVER: b",
        "WWW-Authenticate: Basic",
    ],
    *["Proxy-Authenticate: Basic", "Upgrade: websocket", "Content-Range: bytes 0-1/5", "Proxy-Connection: close"],
]
ODD_HEADS: list[Callable[[bytes], bytes]] = [
    lambda top: top.replace(b"\r\n", b"\n"),
    lambda top: b"\r\n\r\n" + top,
    lambda top: b"\n" + top,
    lambda top: b" " + top,
    lambda top: top.replace(b"HTTP/1.1", b"HTTP/1.0"),
    lambda top: top.replace(b"HTTP/1.1", b"HTTP/1.2"),
    lambda top: top.replace(b"HTTP/1.1", b"HTTP/2"),
    lambda top: top.replace(b"HTTP/1.1", b"HTTP/2.0"),
    lambda top: top.replace(b"HTTP/1.1", b"HTTP/0.9"),
    lambda top: top.replace(b"HTTP/1.1", b"http/1.1"),
    lambda top: top.replace(b"HTTP/1.1", b"ICY"),
    lambda top: top.replace(b" ", b"  ", 1),
    lambda top: top.replace(b" ", b"\t", 1),
    lambda top: re.sub(rb"(...) [^\r]*", rb"\1", top, count=1),
    lambda top: re.sub(rb"(...) [^\r]*", b"\\1 \xe9\xff\t", top, count=1),
    lambda top: top.replace(b"\r\n", b"\r\nX: a\rb\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\nX: a\0b\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\nX : a\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\nX\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\n: x\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\n x\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\nX: \xff\xe9\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\n\xe9: x\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\n(X): x\r\n", 1),
    lambda top: top.replace(b"\r\n", b"\r\n" + b"X: y\r\n" * 300, 1),
    lambda top: top.replace(b"\r\n", b"\r\nX: %b\r\n" % (b"y" * 70_000), 1),
]  # fmt: skip
INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: close\r\n\r\n" * 2,
    b"HTTP/1.1 102 Processing\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.0 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
]
EXCESS = [b"x", b"\r\n", b"\0", PROBE, b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n"]


class Answer(NamedTuple):
    """What the server does when it is asked: what it sends, and what becomes of the connection then."""

    pieces: list[bytes]
    end: str
    paused: bool


class Scenario(NamedTuple):
    """The options of a client, what is asked of it, and what the server answers; then it answers as a good one does."""

    options: dict[str, Any]
    calls: list[str]
    answers: list[Answer]


def split(data: bytes, dice: random.Random) -> list[bytes]:
    if dice.random() < 0.5:
        return [data]
    if dice.random() < 0.1 and len(data) < 300:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(1, 5)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


def make_body(status: str, dice: random.Random) -> bytes:
    kind = dice.random()
    if kind < 0.1:
        return b""
    if kind < 0.2:
        return dice.choice(IN_BAND).encode()
    if kind < 0.3:
        return dice.choice(PAGES).encode()
    if kind < 0.35:
        return dice.choice([b"\xff\xfe", b"ab\xe4\xbd", b"\xf0\x9f\x98\x80\xf0\x9f", b"\xed\xa0\x80"])
    if kind < 0.4:
        return b"y" * dice.choice([65_535, 65_536, 65_537, 90_000])
    if not status.startswith("200") or kind < 0.42:
        said: dict[str, Any] = {"message": dice.choice(SAID)}
        if dice.random() < 0.5:
            said["code"] = "Error"
        return json.dumps({"error": said}).encode()
    return "".join(dice.choices(TEXTS, k=dice.randrange(1, 4))).encode()


def encode(body: bytes, encoding: str, dice: random.Random) -> bytes:
    if "gzip" in encoding.lower():
        body = gzip.compress(body, mtime=0)
    elif encoding == "deflate":
        body = zlib.compress(body) if dice.random() < 0.5 else zlib.compress(body)[2:-4]
    else:
        return body
    if dice.random() < 0.2:
        return dice.choice([body[:-3], body + b"\0\0", body + b"x", body * 2, body[:9] + b"\xff" + body[10:], b""])
    return body


def in_chunks(body: bytes, dice: random.Random) -> bytes:
    sizes = [lambda n: f"{n:x}", lambda n: f"{n:X} ", lambda n: f"000{n:x}", lambda n: f"{n:x};a=b", lambda n: f"{n:x}"]
    write = dice.choice(sizes)
    parts = [f"{write(len(piece))}\r\n".encode() + piece + b"\r\n" for piece in split(body, dice) if piece]
    last = dice.choice(
        [b"0\r\n\r\n"] * 6 + [b"000\r\n\r\n", b"0;x\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nbad\r\n\r\n", b"0\r\n"]
    )
    return b"".join(parts) + last


def make_answer(dice: random.Random, *, stalls: bool, borrowed: bool, once: bool) -> Answer:
    status = dice.choice(STATUSES)
    body = make_body(status, dice)
    fields = dice.sample(FIELDS, k=dice.choice([0, 0, 0, 1, 1, 2, 4]))
    if borrowed:
        fields = [field for field in fields if field.count("\n") < 100]
    if status[0] == "3" and dice.random() < 0.7:
        fields.append(dice.choice([field for field in FIELDS if field.startswith("Location")]))
    if dice.random() < 0.2 and not (borrowed and status[0] == "3"):  # requests reads these by itself
        encoding = dice.choice(ENCODINGS)
        fields.append(f"Content-Encoding: {encoding}")
        body = encode(body, encoding, dice)
    end = dice.choice(["stay"] * 6 + ["finish", "finish", "cut"])
    framing = dice.random()
    sound = True
    if framing < 0.35:
        fields.append(f"Content-Length: {len(body)}")
    elif framing < 0.7:
        fields.append("Transfer-Encoding: chunked")
        body = in_chunks(body, dice)
        if borrowed:
            body = body.replace(b"\r\nbad\r\n", b"\r\n")
        sound = body.endswith(b"\r\n\r\n")
    elif framing < 0.8:  # as long as the connection lasts
        sound = False
    elif framing < 0.85:
        fields.append(f"Content-Length: {max(0, len(body) + dice.choice([-3, -1, 1, 50]))}")
        sound = False
    elif borrowed or stalls:
        sound = False
    elif framing < 0.93:
        odd = dice.choice(ODD_LENGTHS)
        body, sound = (b"12345" if dice.random() < 0.7 else body), False
        fields.append(f"Content-Length: {odd}")
    else:
        fields.append(f"Transfer-Encoding: {dice.choice(ODD_CODINGS)}")
        body, sound = in_chunks(body, dice), False
    dice.shuffle(fields)
    version = "HTTP/1.1" if dice.random() < 0.9 else "HTTP/1.0"
    top = "\r\n".join([f"{version} {status}", *fields, "", ""]).encode()
    if not (borrowed or stalls) and dice.random() < 0.12:
        top, sound = dice.choice(ODD_HEADS)(top), False
    data = top + body
    if dice.random() < 0.1:
        data = dice.choice(INTERIM[:1] if borrowed else INTERIM) + data
    if not borrowed and dice.random() < 0.05:
        data += dice.choice(EXCESS)
    damage = dice.choice(["none"] * 14 + ["cut", "cut", "flip", "insert", "drop", "nothing"])
    at = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(min(len(top) + 20, len(data)))
    if stalls and damage != "none":  # a head that is invalid is refused sooner or later, if it does not end
        damage = "nothing"
    if borrowed and damage in ("cut", "flip", "insert", "drop"):
        damage, at = "cut", max(data.index(top) + len(top), at)
    data = b"" if damage == "nothing" else damaged(data, damage, at, dice)
    whole = damage == "none" and (sound or status[:3] in ("204", "304"))
    if not whole and end == "stay" and not stalls:
        end = "finish"  # else the client would wait for what never comes
    if borrowed and status[0] == "3":  # requests reads these by itself
        if not whole:
            return make_answer(dice, stalls=stalls, borrowed=True, once=once)
        end = "stay"
    if damage in ("cut", "nothing") and dice.random() < 0.3:
        end = "reset"
    pieces = split(data, dice)
    if once and not borrowed and not status.startswith(("3", "401")) and dice.random() < 0.05:
        pieces.append(dice.choice(EXCESS))  # late, unless the client goes on at once
    return Answer(pieces, end, dice.random() < 0.05)


def make(dice: random.Random, *, borrowed: bool = False) -> Scenario:
    """Draw a scenario; for sessions of the users one in which heads are sound: each library reads those as it likes."""
    stalls = dice.random() < 0.01
    once = stalls or borrowed or dice.random() < 0.7
    options: dict[str, Any] = {"max_retries": 0 if once else 2}
    options["timeout"] = LIMIT_SECONDS if stalls else PATIENCE_SECONDS
    count = dice.choice([1, 1, 1, 2, 3])
    answers = [make_answer(dice, stalls=stalls, borrowed=borrowed, once=once) for _ in range(count)]
    calls = dice.choices(["stream"] * 8 + ["generate", "verify_password"], k=count + 1)
    if dice.random() < 0.1:
        options["max_reply_bytes"] = dice.choice([1, 5, 100, 65_536])
    return Scenario(options, calls, answers)


class Run:
    """One client's way through a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.left = [*scenario.answers]
        self.requests: list[tuple[int, bytes]] = []
        self.connections: list[Peer] = []
        self.busy = 0
        self.changed = threading.Condition()
        self.server: Any = None

    def answer(self, peer: Peer) -> None:
        with self.changed:
            self.busy += 1
            if peer not in self.connections:
                self.connections.append(peer)
            self.requests.append((self.connections.index(peer), peer.head + b"\r\n\r\n" + peer.body))
            answer = self.left.pop(0) if self.left else Answer([PROBE], "stay", False)
        try:
            self.act(peer, answer)
        finally:
            with self.changed:
                self.busy -= 1
                self.changed.notify_all()

    def act(self, peer: Peer, answer: Answer) -> None:
        pieces = [piece.replace(PORT, b"%d" % self.server.port) for piece in answer.pieces]
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, piece in enumerate(pieces, 1):
            if number == len(pieces) and answer.end in ("finish", "cut"):
                # The end goes out with the last bytes: a client that was quick might send its next request in between.
                peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            peer.send(piece)
            if answer.paused:
                time.sleep(0.0005)  # so that it is read by itself
        if answer.end == "finish" and isinstance(peer.sock, ssl.SSLSocket):
            peer.sock.setblocking(False)  # a client that lets it lie does not answer
            with contextlib.suppress(OSError):
                peer.sock.unwrap()
        if answer.end == "reset":
            wait_read(peer.sock)
            peer.reset()
        elif answer.end != "stay":
            peer.sock.close()

    def settle(self) -> None:
        """Wait until the server has done all that it was to do: a client may have read enough before."""
        with self.changed:
            assert self.changed.wait_for(lambda: not self.busy, PATIENCE_SECONDS)


def wait_read(sock: socket.socket) -> None:
    """Wait until the other end has read what was sent: a reset throws away what has not been."""
    here, there = (f"0100007F:{address[1]:04X}" for address in (sock.getsockname(), sock.getpeername()))
    unread = re.compile(rf" {there} {here} 01 [0-9A-F]+:(?!00000000)")
    ends = time.monotonic() + 0.02
    while time.monotonic() < ends and unread.search(Path("/proc/net/tcp").read_text()):
        time.sleep(0.0002)


ATTRIBUTES = (
    *("status_code", "phase", "in_band", "by_caller", "partial", "code", "message", "body", "upstream_status"),
    *("retry_after", "location", "reused_connection"),
)


def told(error: AIChatFreeError | None) -> Any:
    """What an error says to a program."""
    if error is None:
        return None
    attributes = {name: getattr(error, name) for name in ATTRIBUTES if hasattr(error, name)}
    return [type(error).__name__, attributes, [told(earlier) for earlier in error.attempts]]


def call(face: Any, client: Any, kind: str) -> dict[str, Any]:
    """What comes of one call."""
    if kind != "stream":
        try:
            return {"result": getattr(face, kind)(client)}
        except AIChatFreeError as error:
            return {"error": told(error)}
    outcome = face.stream(client)
    stream = outcome.stream
    return {
        "text": outcome.text,
        "error": told(outcome.error),
        "status": stream.status_code,
        "headers": dict(stream.headers),
        "attempts": stream.stats.attempts,
        "bytes": stream.stats.bytes_received,
    }


OF_SESSIONS = {
    "connection": "a session of requests says keep-alive, which is what HTTP/1.1 does anyway",
    "cookie": "a session of aiohttp keeps none of a server without a name",
}
"""Header fields that sessions of the users set, each in its own way."""


def normal(request: bytes, borrowed: bool) -> Any:
    """A request without its time and its signature; its header fields in any order, their names in any case."""
    head, _, body = request.decode("latin-1").partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    pairs = [(name.lower(), value) for name, _, value in (field.partition(": ") for field in fields)]
    kept = sorted([name, value] for name, value in pairs if not (borrowed and name in OF_SESSIONS))
    return [line, kept, re.sub(r'"time":\d+|"sign":"\w+"', "", body)]


def go(face: Any, scenario: Scenario, way: str, tls: Any = None) -> Any:
    """What comes of a scenario with the client behind ``face``: how a scenario is repeated by hand."""
    run = Run(scenario)
    options = {**scenario.options, "retry": RetryPolicy(scenario.options["max_retries"], 0.001, 0.001, 0.001)}
    del options["max_retries"]
    with Peers(run.answer, tls=tls[0] if tls else None) as server:
        run.server = server
        session: Any = None
        if way == "borrowed":
            session = options["session"] = face.run(requests.Session, new_session)
        client = face.client(server.url, trust_env=False, verify=tls[1] if tls else True, **options)
        outcomes = []
        for kind in scenario.calls:
            outcomes.append(call(face, client, kind))
            run.settle()
            if session is not None:  # a loop at rest would not see that an idle connection has ended
                face.run(lambda: None, partial(asyncio.sleep, 0.001))
        face.close(client)
        if session is not None:
            face.run(session.close, session.close)
    face._clients.clear()
    came = [[connection, *normal(request, way == "borrowed")] for connection, request in run.requests]
    if way == "borrowed":  # which connections are kept is the library's choice, and how it reads what is in a head
        came = [request[1:] for request in came]
        outcomes = [{key: value for key, value in outcome.items() if key != "headers"} for outcome in outcomes]
    result = {"outcomes": outcomes, "requests": came, "connections": way != "borrowed" and server.accepted}
    return json.loads(json.dumps(result).replace(str(server.port), "PORT"))


async def new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


@pytest.fixture
def faces() -> Iterator[list[SyncFace]]:
    both = [SyncFace(), AsyncFace()]
    yield both
    for face in both:
        face.end()


def compare(faces: list[SyncFace], way: str, numbers: range, seed: int = SEED, tls: Any = None) -> None:
    """Fail with the scenario, its number and its seed: with these two, :func:`make` draws it again for :func:`go`."""
    for number in numbers:
        scenario = make(random.Random(f"{seed}/{number}"), borrowed=way == "borrowed")
        sync, other = (go(face, scenario, way, tls) for face in faces)
        assert sync == other, f"{way}, scenario {number} of seed {seed}: {scenario}"


def test_the_same_comes_of_every_scenario(faces: list[SyncFace]) -> None:
    compare(faces, "plain", range(PLAIN))


def test_the_same_over_tls(faces: list[SyncFace], tls: Any) -> None:
    compare(faces, "tls", range(PLAIN, PLAIN + TLS), tls=tls)


def test_the_same_through_sessions_of_the_users(faces: list[SyncFace]) -> None:
    compare(faces, "borrowed", range(BORROWED))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("way", ["plain", "tls", "borrowed"])
def test_the_same_for_a_long_time(faces: list[SyncFace], tls: Any, way: str) -> None:
    seed = random.randrange(10**9)
    compare(faces, way, range(2000), seed, tls if way == "tls" else None)
