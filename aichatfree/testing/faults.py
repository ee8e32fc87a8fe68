"""The ways in which a scripted reply can go wrong on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BrokenChunk",
    "BrokenEncoding",
    "Drop",
    "Fault",
    "Garbage",
    "Informational",
    "OversizedHeaders",
    "Stall",
    "WrongLength",
]

Place = Literal["before-answer", "in-headers", "after-headers", "in-body"]


@dataclass(frozen=True)
class Drop:
    """The connection is cut.

    Attributes:
        at: Where: `before-answer`, when the request has been read and nothing sent; `in-headers`, half way
            through them; `after-headers`; `in-body`, after all pieces but before what ends the body (with a
            `Content-Length` that announces more, or no last chunk; with `until-close` framing and a FIN
            nobody can tell); `in-chunk`, after all pieces and the size line of one chunk more (chunked
            framing only); `after-answer`, when the answer is whole and was announced as `keep-alive`.
        reset: Cut with a TCP reset (RST) rather than an orderly end (FIN).
    """

    at: Place | Literal["in-chunk", "after-answer"] = "in-body"
    reset: bool = False


@dataclass(frozen=True)
class Stall:
    """Nothing more arrives, though the connection stays open.

    Attributes:
        at: Where, as for `Drop`. To stall between two pieces put a `Pause` there.
        seconds: For how long, the rest of the answer following; None: until the client goes or the server closes.
    """

    at: Place = "in-body"
    seconds: float | None = None


@dataclass(frozen=True)
class WrongLength:
    """A `Content-Length` that is not the body's: `by` bytes more or, if negative, fewer. The end is a FIN."""

    by: int = 10


@dataclass(frozen=True)
class BrokenChunk:
    """After all pieces a chunk follows whose size is no number; the end is a FIN."""

    size_line: bytes = b"zz"


@dataclass(frozen=True)
class BrokenEncoding:
    """The compressed body is damaged, while its framing is in order.

    Attributes:
        truncated: Leave out the end of the compressed stream; otherwise bytes that no decoder understands
            follow the pieces.
    """

    truncated: bool = False


@dataclass(frozen=True)
class Garbage:
    """Something that is no HTTP comes instead of the answer; the end is a FIN."""

    data: bytes = b"SSH-2.0-OpenSSH_9.6\r\n"


@dataclass(frozen=True)
class OversizedHeaders:
    """`count` extra header lines of `size` bytes each, more than any client should take."""

    size: int = 1 << 20
    count: int = 1


@dataclass(frozen=True)
class Informational:
    """Interim (1xx) answers come first.

    Attributes:
        count: How many, the answer following; None: no end of them.
        status: Theirs: 100, 102 or 103. (101 would promise another protocol.)
        pause: Seconds after each.
    """

    count: int | None = 1
    status: int = 102
    pause: float = 0.0


Fault = Drop | Stall | WrongLength | BrokenChunk | BrokenEncoding | Garbage | OversizedHeaders | Informational
