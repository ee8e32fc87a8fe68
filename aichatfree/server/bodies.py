"""Reading the body of a request within bounds: of its size, of its time, and of all bodies together."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from .protocol import ERROR_TYPE, Verdict, error_body

__all__ = ["Bodies", "BodyRefusedError"]

MAX_BODY_BYTES = 32 << 20
MAX_ALL_BYTES = 256 << 20
"""How much may be held for all bodies under way. A body that comes along with its head does not count."""
IDLE_SECONDS = 10.0
TOTAL_SECONDS = 120.0


class BodyRefusedError(Exception):
    """A body that is not read to its end; `verdict` is the answer, after which the connection is closed."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.verdict = Verdict(status, reason, ERROR_TYPE, error_body(message))


class Bodies:
    """Reads bodies."""

    def __init__(self) -> None:
        self._held = 0

    async def read(self, request: web.BaseRequest) -> bytes:
        """The whole body, as it came: not decompressed.

        Raises:
            BodyRefusedError: It is too large or too slow, or cannot be read.
        """
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        content = request.content
        if content.is_eof() and content.exception() is None:
            return content.read_nowait()
        chunks: list[bytes] = []
        size = 0
        deadline = time.monotonic() + TOTAL_SECONDS
        try:
            while not content.at_eof():
                limit = min(IDLE_SECONDS, deadline - time.monotonic())
                chunk = await asyncio.wait_for(content.readany(), max(limit, 0.0))
                chunks.append(chunk)
                size += len(chunk)
                self._held += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                if self._held > MAX_ALL_BYTES:
                    raise BodyRefusedError(503, "Service Unavailable", "too many large requests at once: try again")
            return b"".join(chunks)
        except TimeoutError:
            raise BodyRefusedError(408, "Request Timeout", "the body of the request came too slowly") from None
        except web.RequestPayloadError:
            raise BodyRefusedError(400, "Bad Request", "the body of the request is not well formed") from None
        finally:
            self._held -= size


def _too_large() -> BodyRefusedError:
    return BodyRefusedError(413, "Payload Too Large", f"the request is larger than {MAX_BODY_BYTES >> 20} MiB")
