"""Compressed bodies -> bytes. No I/O.

Requests ask for ``identity``, yet a proxy on the way may compress all the same. The HTTP libraries would decode that
too, but take a compressed stream that was cut off for a whole one, and not all of them bound what they unpack.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any

from ...errors import StreamInterruptedError
from .interruption import interrupted

_GZIP_WBITS = 31
_ZLIB_WBITS = 15
_RAW_WBITS = -15
_GZIP_MAGIC = b"\x1f\x8b"
_PADDING = b"\0\r\n"
"""What some servers and proxies send behind the compressed data, to fill a block or by mistake."""


def is_supported(encoding: str) -> bool:
    """Whether a ``Content-Encoding`` can be decoded here."""
    return encoding in ("gzip", "x-gzip", "deflate")


def _is_zlib_header(data: bytes) -> bool:
    """Whether data begins as RFC 1950 says; what servers send as "deflate" may be bare RFC 1951 instead."""
    return data[0] & 15 == 8 and data[0] >> 4 <= 7 and (data[0] * 256 + data[1]) % 31 == 0


class Inflater:
    """Decodes one body. What could be decoded before a fault is returned first; then :attr:`fault` says what it is.

    Args:
        encoding: ``"gzip"`` or ``"deflate"``; the latter in both of the forms that servers use (RFC 9110, 8.4.1.2).
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._wbits = _ZLIB_WBITS if encoding == "deflate" else _GZIP_WBITS
        self._object: Any = zlib.decompressobj(self._wbits)
        self._begun = False
        self._head: bytes | None = b"" if encoding == "deflate" else None
        self._behind = b""
        self.fault: StreamInterruptedError | None = None
        """Why nothing more can be decoded, None while all is well."""

    def decode(self, data: bytes, limit: int) -> bytes:
        """Decode the next bytes, up to a fault.

        Args:
            data: What came.
            limit: The most bytes to return; the rest is lost, since the reader gives up there.
        """
        decoded = bytearray()
        while data and self.fault is None and len(decoded) < limit:
            if self._object.eof:
                data = self._between(data)
                continue
            decoded += self._step(data, limit - len(decoded))
            data = self._object.unused_data
        return bytes(decoded)

    def _between(self, data: bytes) -> bytes:
        """What comes behind the end of the data: padding, or (gzip) another member."""
        data = self._behind + data
        self._behind = b""
        if self._encoding != "deflate" and data[:2] == _GZIP_MAGIC[: len(data)]:
            if len(data) < len(_GZIP_MAGIC):
                self._behind = data
                return b""
            self._object = zlib.decompressobj(self._wbits)
            return data
        rest = data.lstrip(_PADDING)
        if rest == data:
            self.fault = self._broken("there is something behind its end")
            return b""
        return rest

    def _step(self, data: bytes, limit: int) -> bytes:
        if self._head is not None:
            data, self._head = self._head + data, None
            if len(data) < 2:
                self._head = data
                return b""
            if not _is_zlib_header(data):
                self._object = zlib.decompressobj(_RAW_WBITS)
        before = self._object.copy()
        self._begun = True
        try:
            return self._object.decompress(data, limit)  # type: ignore[no-any-return]
        except zlib.error as error:
            return self._up_to_the_fault(before, data, limit, error)

    def _up_to_the_fault(self, before: Any, data: bytes, limit: int, error: zlib.error) -> bytes:
        """What zlib had decoded of ``data`` when it met the fault, which it does not say: byte by byte, again."""
        self.fault = self._broken(error)
        self.fault.__cause__ = error.with_traceback(None)
        out = bytearray()
        with suppress(zlib.error):
            for at in range(len(data)):  # pragma: no branch - the fault ends it
                out += before.decompress(data[at : at + 1], max(1, limit - len(out)))
        return bytes(out[:limit])

    def finish(self) -> None:
        """The body has ended.

        Raises:
            StreamInterruptedError: The compressed stream has not, or there was a fault.
        """
        if self.fault is None and (self._behind or self._head or (self._begun and not self._object.eof)):
            self.fault = self._broken("it ends too early")
        if self.fault is not None:
            raise self.fault

    def _broken(self, why: object) -> StreamInterruptedError:
        return interrupted(f"broken {self._encoding}: {why}")
