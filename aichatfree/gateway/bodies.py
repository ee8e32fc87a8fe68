"""Reading the body of a request, within limits of size and time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web

from .problems import Problem

__all__ = ["read_body"]

MAX_BODY_BYTES = 20 << 20
"""After decompression."""
BODY_SECONDS = 120.0
"""The longest time that a body may take to arrive."""


async def read_body(request: web.Request) -> bytes:
    """The whole body of a request.

    Raises:
        Problem: It is too large, too slow, or damaged.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    content = request.content
    try:
        if content.is_eof() and content.exception() is None:  # it came along with the head: nothing is waited for
            return await _read(request)
        return await asyncio.wait_for(_read(request), BODY_SECONDS)
    except TimeoutError as error:
        words = f"The request's body did not arrive within {BODY_SECONDS:g} seconds."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, words, code="request_timeout", retryable=True) from error
    except (web.RequestPayloadError, ValueError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "The request's body is damaged.", code="invalid_body") from error


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    async for data in request.content.iter_any():
        body += data
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    words = f"The request's body is larger than {MAX_BODY_BYTES >> 20} MiB."
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words, code="request_too_large")
