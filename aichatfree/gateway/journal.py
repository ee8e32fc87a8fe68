"""What is written down of a request: one line, without anything that was asked or answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from .problems import Problem

if TYPE_CHECKING:
    from .. import AsyncStream

__all__ = ["Entry", "problem_for_fault"]

_log = logging.getLogger("aichatfree.gateway")


class Entry:
    """One request while it is answered.

    Args:
        request: The request.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._started = time.monotonic()
        self.status = 0
        """The status of the answer; 0 until there is one, and for a caller who hung up."""
        self.begun = False
        """Some of an answer in pieces is out."""
        self.failed = False
        """The answer had begun, and is not whole."""
        self.streams: Sequence[AsyncStream] = ()
        """The calls below."""

    @property
    def abandoned(self) -> bool:
        """Whether the caller has hung up."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def write(self) -> None:
        """Write the line."""
        if not _log.isEnabledFor(logging.INFO):
            return
        upstream = ",".join(str(stream.status_code or "-") for stream in self.streams) or "-"
        _log.info(
            "%s %s %s in %.3f s, %d pieces, server %s",
            self._request.method if self._request.method in _METHODS else "?",
            self._path(),
            f"{self.status} cut" if self.failed else self.status or "hung up",
            time.monotonic() - self._started,
            sum(stream.stats.pieces for stream in self.streams),
            upstream,
        )

    def _path(self) -> str:
        """The path as it is known here: whatever else the caller wrote there is not repeated."""
        resource = self._request.match_info.route.resource
        return "(no such path)" if resource is None else resource.canonical


_METHODS = hdrs.METH_ALL


def problem_for_fault(request: web.Request, error: Exception) -> Problem:
    """The answer for what aiohttp refuses by itself, or for a fault of the gateway."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        words = f"This method is not allowed here: use {' or '.join(sorted(error.allowed_methods - {'HEAD'}))}."
        problem = Problem(error.status, words, code="method_not_allowed")
        problem.allow = ", ".join(sorted(error.allowed_methods))
        return problem
    if isinstance(error, web.HTTPNotFound):
        return Problem(error.status, "There is nothing at this path of the gateway.", code="unknown_url")
    if isinstance(error, web.HTTPException):
        return Problem(error.status, f"{error.reason}.", code="refused")
    _log.error("a fault of the gateway: %s", type(error).__name__)
    _log.debug("where it was", exc_info=True)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of the gateway.", code="internal_error")
