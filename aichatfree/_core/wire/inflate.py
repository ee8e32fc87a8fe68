"""Compressed bodies -> bytes. No I/O.

Requests ask for ``identity``, yet a proxy on the way may compress all the same. The HTTP libraries would decode that
too, but take a compressed stream that was cut off for a whole one, and not all of them bound what they unpack.
"""

from __future__ import annotations

import zlib

from ...errors import StreamInterruptedError
from .interruption import interrupted

_GZIP_WBITS = 31
_ZLIB_WBITS = 15
_RAW_WBITS = -15


def is_supported(encoding: str) -> bool:
    """Whether a ``Content-Encoding`` can be decoded here."""
    return encoding in ("gzip", "x-gzip", "deflate")


class Inflater:
    """Decodes one body.

    Args:
        encoding: ``"gzip"`` or ``"deflate"``; the latter in both of the forms that servers use (RFC 9110, 8.4.1.2).
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._wbits = _ZLIB_WBITS if encoding == "deflate" else _GZIP_WBITS
        self._object = zlib.decompressobj(self._wbits)
        self._begun = False
        self._head: bytes | None = b""

    def decode(self, data: bytes, limit: int) -> bytes:
        """Decode the next bytes.

        Args:
            data: What came.
            limit: The most bytes to return; the rest is lost, since the reader gives up there.

        Raises:
            StreamInterruptedError: The data is no such compression.
        """
        decoded = bytearray()
        try:
            while data and len(decoded) < limit:
                if self._object.eof:  # another member of a gzip file
                    self._object = zlib.decompressobj(self._wbits)
                decoded += self._step(data, limit - len(decoded))
                data = self._object.unused_data
        except zlib.error as error:
            raise self._broken(error) from error
        return bytes(decoded)

    def _step(self, data: bytes, limit: int) -> bytes:
        try:
            out = self._object.decompress(data, limit)
        except zlib.error:
            if self._head is None or self._encoding != "deflate":
                raise
            self._wbits = _RAW_WBITS
            self._object = zlib.decompressobj(self._wbits)
            out = self._object.decompress(self._head + data, limit)
        self._begun = True
        if self._head is not None:  # zlib judges its header by two bytes
            self._head = None if len(self._head + data) > 1 else self._head + data
        return out

    def finish(self) -> None:
        """The body has ended.

        Raises:
            StreamInterruptedError: The compressed stream has not.
        """
        if self._begun and not self._object.eof:
            raise self._broken("it ends too early")

    def _broken(self, why: object) -> StreamInterruptedError:
        return interrupted(f"broken {self._encoding}: {why}")
