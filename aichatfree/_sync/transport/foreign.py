"""What requests, urllib3 and http.client raise, and which trouble each of them is."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from ..._core.failures import ConnectProblem

FOREIGN_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
"""All of it (ssl's errors and time-outs are OSErrors)."""

INVALID = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)
"""What says that the request cannot be sent at all."""

_PROBLEMS: tuple[tuple[ConnectProblem, tuple[type[Exception], ...]], ...] = (
    ("proxy", (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)),
    ("tls", (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError)),
    ("dns", (socket.gaierror, urllib3.exceptions.NameResolutionError)),
    ("refused", (urllib3.exceptions.NewConnectionError, ConnectionRefusedError)),
    ("reset", (ConnectionError, http.client.RemoteDisconnected, BrokenPipeError)),
    ("no_http", (http.client.HTTPException, urllib3.exceptions.InvalidHeader)),
)


def is_timeout(error: BaseException) -> bool:
    """Whether an error says that a wait was too long."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return False  # a refused connection; urllib3 files it under time-outs for the sake of old users
    return isinstance(error, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError))


def problem_of(causes: list[BaseException], *, connected: bool, sent: bool) -> ConnectProblem:
    """What kind of trouble an error, with all that it came from, stands for.

    Args:
        causes: The error, and what it came from.
        connected: There was a connection, on which the request was to go out.
        sent: The request may have gone out.
    """
    if any(isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE) for cause in causes):
        return "descriptors"
    if not sent and any(isinstance(cause, http.client.HTTPException) for cause in causes):
        return "proxy"  # nobody else was asked anything yet
    for problem, kinds in _PROBLEMS:
        if connected and problem == "proxy":
            continue  # urllib3 blames it for whatever becomes of a connection through it
        for cause in causes:
            # That TLS was cut after the handshake is a matter of the connection, not of certificates.
            if isinstance(cause, kinds) and not (connected and isinstance(cause, ssl.SSLEOFError)):
                return problem
    return "reset"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from: requests and urllib3 wrap errors as arguments as often as by ``raise from``."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        linked = (cause.__context__, getattr(cause, "reason", None), *cause.args, cause.__cause__)
        waiting.extend(other for other in linked if isinstance(other, BaseException))
