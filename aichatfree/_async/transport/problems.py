"""Which trouble an exception of aiohttp's stands for."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from ..._core.failures import ConnectProblem

FOREIGN_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError, EOFError)
"""What aiohttp raises (its time-outs and ssl's errors are among these)."""

_OF_HTTP = (aiohttp.ClientResponseError, aiohttp.ServerDisconnectedError, HttpProcessingError)
"""What is wrong with an answer."""

_PROBLEMS: tuple[tuple[ConnectProblem, tuple[type[BaseException], ...]], ...] = (
    ("proxy", (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError)),
    ("tls", (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError, ssl.CertificateError)),
    ("dns", (aiohttp.ClientConnectorDNSError, socket.gaierror)),
    ("refused", (aiohttp.ClientConnectorError, ConnectionRefusedError)),
    ("no_http", (aiohttp.ClientResponseError, HttpProcessingError)),
)


def connect_problem(error: BaseException, *, sent: bool) -> ConnectProblem:
    """What kept a request from getting an answer; ``sent``: it may have gone out."""
    causes = tuple(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE) for cause in causes):
        return "descriptors"
    if not sent and isinstance(error, _OF_HTTP):
        return "proxy"  # nobody else was asked anything yet
    cut = _cut_in_the_handshake(error)
    if cut is not None:
        return "reset" if cut.errno else "tls"
    for problem, kinds in _PROBLEMS:
        if any(isinstance(cause, kinds) for cause in causes):
            return problem
    return "reset"


def _cut_in_the_handshake(error: BaseException) -> OSError | None:
    """What ended a connection that was made, before TLS was: aiohttp says that it could not connect.

    asyncio's own word for an end of the connection where TLS has not ended has no number.
    """
    if type(error) is not aiohttp.ClientConnectorError:  # the classes below it say what the trouble was
        return None
    cut = isinstance(error.os_error, ConnectionError) and not isinstance(error.os_error, ConnectionRefusedError)
    return error.os_error if cut else None


def words_of(error: BaseException) -> object:
    """What is told of an exception: its own words, where those are true."""
    if isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(getattr(error, "message", ""), str):
        return "the connection was closed amid the headers"  # aiohttp would tell them
    cut = _cut_in_the_handshake(error)
    return error if cut is None else str(cut) or "the connection ended before the TLS handshake did"


def _causes(error: BaseException) -> Iterator[BaseException]:
    for cause in (error, error.__cause__, getattr(error, "os_error", None)):
        if cause is not None:
            yield cause


def answer_of(error: BaseException) -> aiohttp.ClientResponseError | None:
    """The answer that somebody's hook has made an exception of, None where there was no answer."""
    if isinstance(error, aiohttp.ClientResponseError) and not isinstance(
        error, (aiohttp.ClientHttpProxyError, aiohttp.WSServerHandshakeError)
    ):
        answered = error.status >= 400 and not isinstance(error.__cause__, HttpProcessingError)
        return error if answered else None
    return None
