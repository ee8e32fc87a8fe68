"""A `Reply` as steps on the wire: pure, so that every fault can be checked without a socket."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import formatdate

from aichatfree.server.protocol import ERROR_TYPE, REPLY_TYPE, to_utf8
from aichatfree.testing.faults import (
    BrokenChunk,
    BrokenEncoding,
    Drop,
    Garbage,
    Informational,
    OversizedHeaders,
    Stall,
    WrongLength,
)
from aichatfree.testing.pages import reason_of
from aichatfree.testing.reply import Pause, Reply

__all__ = ["Close", "Step", "steps"]


@dataclass(frozen=True)
class Close:
    """Close the connection, when all before is sent: with a FIN, or with a RST."""

    reset: bool = False


Step = bytes | Pause | Close
FIN = Close()
MISSING_BYTES = 16
"""How much more a body promises than comes, where it is dropped."""


def steps(reply: Reply, *, now: float, keep_alive: bool = True, bodiless: bool = False) -> Iterator[Step]:
    """What to write, to wait and to close for a reply; a `Close` is the end, whatever would follow.

    Args:
        reply: The reply.
        now: The server's time, seconds since the epoch.
        keep_alive: Whether the client wants the connection to last.
        bodiless: The request was a HEAD.
    """
    fault = reply.fault
    keep_alive = keep_alive and reply.keep_alive and reply.framing != "until-close" and not reply.exact
    yield from interruption(reply, "before-answer")
    if isinstance(fault, Garbage):
        yield fault.data
        yield FIN
    if isinstance(fault, Informational):
        yield from _interim(fault)
    if reply.exact:
        yield from _cut(_paced(reply), reply.split, reply.drip)
    else:
        bodiless = bodiless or reply.status in (204, 304)
        body = list(_framed(reply)) if reply.framing == "content-length" and not bodiless else None
        head = _head(reply, now, keep_alive, None if body is None else _length(body), bodiless)
        yield from _sent_head(reply, head)
        yield from interruption(reply, "after-headers")
        if not bodiless:
            yield from _cut(_framed(reply) if body is None else body, reply.split, reply.drip)
    yield from interruption(reply, "after-answer")
    if not keep_alive:
        yield FIN


def interruption(reply: Reply, place: str) -> Iterator[Step]:
    """What cuts or stalls the answer at a place, if anything does."""
    fault = reply.fault
    if isinstance(fault, Drop) and fault.at == place:
        yield Close(fault.reset)
    if isinstance(fault, Stall) and fault.at == place:
        yield Pause(fault.seconds)


def _interim(fault: Informational) -> Iterator[Step]:
    sent = 0
    while fault.count is None or sent < fault.count:
        sent += 1
        yield f"HTTP/1.1 {fault.status} {reason_of(fault.status)}\r\n\r\n".encode()
        yield Pause(fault.pause)


Fields = list[tuple[str, str | None]]


def fields_of(reply: Reply, now: float, keep_alive: bool = False, length: int | None = None) -> Fields:
    """The headers: the real server's, in its order, and then those of the reply; not those of a chunked body."""
    fields: Fields = [
        ("content-type", REPLY_TYPE if reply.status == 200 else ERROR_TYPE),
        ("Date", formatdate(now + reply.clock_offset_seconds, usegmt=True)),
        ("Connection", "keep-alive" if keep_alive else "close"),
    ]
    if keep_alive:
        fields.append(("Keep-Alive", "timeout=5"))
    if reply.encoding:
        fields.append(("Content-Encoding", reply.encoding))
    if length is not None:
        missing = isinstance(reply.fault, (Drop, Stall)) and reply.fault.at == "in-body"
        wrong_by = reply.fault.by if isinstance(reply.fault, WrongLength) else 0
        fields.append(("Content-Length", str(length + wrong_by + (MISSING_BYTES if missing else 0))))
    return _with_own(reply, fields)


def _with_own(reply: Reply, fields: Fields) -> Fields:
    own = reply.fields
    replaced = {name.lower() for name, _ in own}
    return [(name, value) for name, value in fields if name.lower() not in replaced] + list(own)


def _head(reply: Reply, now: float, keep_alive: bool, length: int | None, bodiless: bool) -> bytes:
    """The status line and the headers."""
    fields = fields_of(reply, now, keep_alive, length)
    if length is None and reply.framing == "chunked" and not bodiless:
        own = len(reply.fields)
        fields = _with_own(reply, [*fields[: len(fields) - own], ("Transfer-Encoding", "chunked")])
    if isinstance(reply.fault, OversizedHeaders):
        fields += [(f"X-Filler-{n}", "x" * reply.fault.size) for n in range(reply.fault.count)]
    lines = [f"{name}: {value}\r\n" for name, value in fields if value is not None]
    reason = reason_of(reply.status) if reply.reason is None else reply.reason
    return to_utf8(f"HTTP/1.1 {reply.status} {reason}\r\n{''.join(lines)}\r\n")


def _sent_head(reply: Reply, head: bytes) -> Iterator[Step]:
    broken = list(interruption(reply, "in-headers"))
    half = len(head) // 2
    parts: list[Step] = [head[:half], *broken, head[half:]] if broken else [head]
    return _cut(parts, reply.split, reply.drip if reply.drip_headers else 0.0)


def _framed(reply: Reply) -> Iterator[Step]:
    """The body with its framing."""
    chunked = reply.framing == "chunked"
    for step in encoded(reply):
        yield b"%x\r\n%b\r\n" % (len(step), step) if chunked and isinstance(step, bytes) else step
    if isinstance(reply.fault, BrokenChunk):
        yield reply.fault.size_line + b"\r\n"
        yield FIN
    if isinstance(reply.fault, Drop) and reply.fault.at == "in-chunk":
        yield b"%x\r\n" % MISSING_BYTES
        yield Close(reply.fault.reset)
    if isinstance(reply.fault, WrongLength):
        yield FIN
    if chunked:
        yield b"0\r\n\r\n"


def encoded(reply: Reply) -> Iterator[Step]:
    """The pieces, compressed, and up to where the compressed stream ends (or should have)."""
    fault = reply.fault
    if reply.encoding is None:
        yield from _paced(reply)
        yield from interruption(reply, "in-body")
        return
    packer = zlib.compressobj(wbits=31 if reply.encoding == "gzip" else 15)
    for step in _paced(reply):
        # A sync flush lets the client decode each piece when it has arrived.
        yield packer.compress(step) + packer.flush(zlib.Z_SYNC_FLUSH) if isinstance(step, bytes) else step
    yield from interruption(reply, "in-body")
    if isinstance(fault, BrokenEncoding):
        if not fault.truncated:
            yield b"\xff" * 32
    else:
        yield packer.flush()


def _paced(reply: Reply) -> Iterator[Step]:
    """The pieces as bytes, pauses between them; empty ones, which would end a chunked body, left out."""
    first = True
    for piece in reply.iter_pieces():
        if isinstance(piece, Pause):
            yield piece
        elif piece:
            if not first and reply.pause:
                yield Pause(reply.pause)
            first = False
            yield to_utf8(piece) if isinstance(piece, str) else piece


def _length(body: list[Step]) -> int:
    return sum(len(step) for step in body if isinstance(step, bytes))


def _cut(parts: Iterable[Step], size: int | None, drip: float) -> Iterator[Step]:
    """Cut what is written into parts of `size` bytes (None: not at all), with `drip` seconds after each."""
    size = size or (1 if drip else None)
    for step in parts:
        if size is None or not isinstance(step, bytes):
            yield step
            continue
        for start in range(0, len(step), size):
            yield step[start : start + size]
            if drip:
                yield Pause(drip)
