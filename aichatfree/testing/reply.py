"""`Reply`: one scripted answer of a `ScriptedServer`, good or bad."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from aichatfree.server.protocol import IN_BAND_ERROR, error_body, to_utf8, upstream_error
from aichatfree.testing import pages
from aichatfree.testing.faults import BrokenChunk, BrokenEncoding, Drop, Fault, Stall, WrongLength

__all__ = ["Pause", "Piece", "Repeat", "Reply"]


@dataclass(frozen=True)
class Pause:
    """An element among the pieces of a reply: wait so many seconds; None waits until the connection ends."""

    seconds: float | None


Piece = str | bytes | Pause


@dataclass(frozen=True)
class Repeat:
    """The same piece over and over, made one at a time: `count` times, or without end if that is None."""

    piece: Piece
    count: int | None = None

    def __iter__(self) -> Iterator[Piece]:
        left = self.count
        while left is None or left > 0:
            yield self.piece
            left = None if left is None else left - 1


@dataclass(frozen=True)
class Reply:
    """One answer, described: what is sent, how it is cut up and framed, and what goes wrong.

    Attributes:
        pieces: The text: one piece or several, each written by itself (a chunk of its own in a chunked body).
            A str is sent as UTF-8, bytes as they are; a `Pause` waits. To have each piece be one read of the
            client put pauses between them: without, the network may glue them together.
        pause: Seconds to wait between one piece and the next.
        status: The HTTP status. 204 and 304 are sent without a body.
        reason: The reason phrase; None is the usual one for the status.
        headers: Header fields, as a mapping or as pairs (for a name that comes twice). They replace the
            server's own of that name; the value None only removes it.
        framing: How the end of the body is told: `chunked`, `content-length`, or `until-close`.
        encoding: Compress the body: `gzip` or `deflate`; every piece can be decoded when it arrives.
        split: Write the answer, headers too, so many bytes at a time, however its pieces lie.
        drip: Seconds to wait after each write of the body, which is then one byte at a time, or `split` bytes.
        drip_headers: Let the headers drip as well.
        keep_alive: Leave the connection open afterwards, where the framing and the client's wish allow it.
        clock_offset_seconds: What the `Date` header is ahead of the true time (besides the server's own offset).
        judge: Let the protocol judge the request first: one that it refuses gets the refusal, and this reply
            stays for the next. Otherwise the reply is served to whatever request comes.
        exact: The pieces are the whole answer, headers and framing included; then the connection is closed.
        fault: What goes wrong.

    Raises:
        TypeError: A piece that is none.
        ValueError: A combination that makes no sense, such as a broken chunk in a body that is not chunked.
    """

    pieces: Piece | Iterable[Piece] = ()
    pause: float = 0.0
    status: int = 200
    reason: str | None = None
    headers: Mapping[str, str | None] | Iterable[tuple[str, str | None]] = ()
    framing: Literal["chunked", "content-length", "until-close"] = "chunked"
    encoding: Literal["gzip", "deflate"] | None = None
    split: int | None = None
    drip: float = 0.0
    drip_headers: bool = False
    keep_alive: bool = True
    clock_offset_seconds: float = 0.0
    judge: bool = False
    exact: bool = False
    fault: Fault | None = None

    def __post_init__(self) -> None:
        pieces = (self.pieces,) if isinstance(self.pieces, (str, bytes, Pause)) else self.pieces
        headers = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        # A Repeat may have no end and stays as it is; anything else is fixed now, so that it can be sent twice.
        object.__setattr__(self, "pieces", pieces if isinstance(pieces, Repeat) else tuple(pieces))
        object.__setattr__(self, "headers", tuple(headers))
        for piece in (pieces.piece,) if isinstance(pieces, Repeat) else self.iter_pieces():
            if not isinstance(piece, (str, bytes, Pause)):
                raise TypeError(f"a piece of a reply is a str, bytes or a Pause, not {piece!r}")
        self._check()

    def _check(self) -> None:
        fault = self.fault
        if self.split is not None and self.split < 1:
            raise ValueError("split must be at least 1 byte")
        if self.framing == "content-length":
            if isinstance(self.pieces, Repeat) and self.pieces.count is None:
                raise ValueError("an endless reply has no Content-Length: use framing='chunked'")
            if isinstance(fault, Stall) and fault.at == "in-body" and fault.seconds is not None:
                raise ValueError("with a Content-Length the last piece is the end: put a Pause before it")
        needs_chunks = isinstance(fault, BrokenChunk) or (isinstance(fault, Drop) and fault.at == "in-chunk")
        if needs_chunks and self.framing != "chunked":
            raise ValueError(f"{fault} needs framing='chunked'")
        if isinstance(fault, WrongLength) and self.framing != "content-length":
            raise ValueError(f"{fault} needs framing='content-length'")
        if isinstance(fault, BrokenEncoding) and self.encoding is None:
            raise ValueError(f"{fault} needs an encoding, 'gzip' or 'deflate'")

    def iter_pieces(self) -> Iterator[Piece]:
        """The pieces and pauses, one by one."""
        return iter(cast("Iterable[Piece]", self.pieces))

    @property
    def fields(self) -> tuple[tuple[str, str | None], ...]:
        """The headers as pairs."""
        return cast("tuple[tuple[str, str | None], ...]", self.headers)

    @property
    def text(self) -> str:
        """The text of all pieces: what a client should have read at the end (or at the fault)."""
        if isinstance(self.pieces, Repeat) and self.pieces.count is None:
            raise ValueError("an endless reply has no whole text")
        parts = (to_utf8(piece) if isinstance(piece, str) else piece for piece in self.iter_pieces())
        return b"".join(part for part in parts if isinstance(part, bytes)).decode("utf-8", "replace")

    # Answers that the real server gives. Further keyword arguments go to Reply.

    @classmethod
    def error(cls, status: int, message: str, code: str | None = None, **options: Any) -> Reply:
        """The server's JSON error body, `{"error": {"code": ..., "message": ...}}`, `code` only if given."""
        return cls(error_body(message, code), status=status, **options)

    @classmethod
    def upstream_error(cls, message: str, **options: Any) -> Reply:
        """A 500 for a failure of the model behind the server, its message trimmed as the server trims it."""
        return cls(upstream_error(message).body, status=500, **options)

    @classmethod
    def quota(cls, retry_in: float | None = 58.8, **options: Any) -> Reply:
        """The upstream's 429 as a 500; its message names `retry_in` seconds, or None: as recorded."""
        return cls.upstream_error(pages.quota_message(retry_in), **options)

    @classmethod
    def overloaded(cls, **options: Any) -> Reply:
        """The upstream's 503 as a 500, as recorded."""
        return cls.upstream_error(pages.OVERLOADED, **options)

    @classmethod
    def wrong_password(cls, **options: Any) -> Reply:
        """The refusal of a password, as recorded."""
        return cls.error(401, "Invalid password.", **options)

    @classmethod
    def wrong_signature(cls, skew_seconds: float = 0.0, **options: Any) -> Reply:
        """The refusal of a signature, as recorded, from a server whose clock is `skew_seconds` ahead."""
        return cls.error(401, "Invalid signature.", clock_offset_seconds=skew_seconds, **options)

    @classmethod
    def in_band_error(
        cls, *partial: Piece, glued: bool = False, split: bool = False, pause: float = 0.0, **options: Any
    ) -> Reply:
        """A reply that fails after its first byte: status 200, a clean end, and the error as the last text.

        Args:
            *partial: What comes before the error; nothing, as for a blocked prompt, if there is none.
            glued: The error stands in one piece with the last of `partial`.
            split: The error is cut in two pieces.
            pause: Seconds between pieces.
            **options: Further arguments of `Reply`.
        """
        head, tail = (IN_BAND_ERROR[:10], IN_BAND_ERROR[10:]) if split else (IN_BAND_ERROR, "")
        pieces = list(partial)
        last = pieces[-1] if glued and pieces else None
        if isinstance(last, str):
            pieces[-1] = last + head
        elif isinstance(last, bytes):
            pieces[-1] = last + head.encode()
        else:
            pieces.append(head)
        return cls([*pieces, tail] if tail else pieces, pause=pause, **options)

    # Answers of what stands between a client and the server.

    @classmethod
    def html(cls, status: int = 502, kind: pages.Kind = "nginx", **options: Any) -> Reply:
        """The error page of a platform: `vercel`, `cloudflare`, `netlify` or `nginx`."""
        body, headers = pages.page(status, kind)
        options["headers"] = {**headers, **dict(options.get("headers", ()))}
        return cls(body, status=status, **options)

    @classmethod
    def redirect(cls, location: str, status: int = 307, **options: Any) -> Reply:
        """A redirect to `location`."""
        options["headers"] = {"Location": location, **dict(options.get("headers", ()))}
        return cls("", status=status, **options)

    # Answers on the byte level.

    @classmethod
    def endless(cls, piece: str | bytes = "and so on " * 100, pause: float = 0.0, **options: Any) -> Reply:
        """A reply that never ends: `piece` again and again, `pause` seconds apart."""
        return cls(Repeat(piece), pause=pause, **options)

    @classmethod
    def bomb(cls, size: int = 1 << 30, **options: Any) -> Reply:
        """A compression bomb: `size` blanks, gzipped to about a thousandth, made while they are sent."""
        step = 1 << 18
        options.setdefault("encoding", "gzip")
        return cls(Repeat(b" " * step, -(-size // step)), **options)

    @classmethod
    def raw(cls, data: bytes | Iterable[Piece], **options: Any) -> Reply:
        """Exactly these bytes, status line, headers and framing included; then the connection is closed."""
        return cls(data, exact=True, **options)

    @classmethod
    def recording(cls, data: bytes, **options: Any) -> Reply:
        """A recorded answer, byte for byte as it came off the socket; then the connection is closed."""
        return cls.raw(data, **options)
