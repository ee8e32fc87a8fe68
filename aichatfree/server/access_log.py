"""One line in the log for each request: what happened to it, and nothing of what it says."""

from __future__ import annotations

import logging
import time

__all__ = ["Call", "access_logger"]

access_logger = logging.getLogger("aichatfree.server.access")
"""Logs at INFO; nothing is formatted while nobody listens."""

_MAX_PATH = 100


class Call:
    """One request, for its line in the log.

    Attributes:
        status: The status of the answer; 0 if none was sent.
        pieces: How many pieces of a reply were sent.
        upstream_status: The upstream's own HTTP status, if it failed with one.
    """

    __slots__ = ("_method", "_notes", "_path", "_started", "pieces", "status", "upstream_status")

    def __init__(self, method: str, target: str) -> None:
        self._method = method
        self._path = target
        self._started = time.monotonic()
        self._notes: tuple[str, ...] = ()
        self.status = 0
        self.pieces = 0
        self.upstream_status: int | None = None

    def note(self, text: str) -> None:
        """Add a short phrase, without content, to the line."""
        if text and text not in self._notes:
            self._notes += (text,)

    def log(self) -> None:
        """Write the line; the time of day is the log record's."""
        if not access_logger.isEnabledFor(logging.INFO):
            return
        # What comes after ? is no path, and could be anything.
        path = self._path.partition("?")[0].partition("#")[0]
        words = [
            _printable(self._method, 20),
            _printable(path, _MAX_PATH),
            str(self.status or "-"),
            f"{time.monotonic() - self._started:.3f}s",
            f"{self.pieces} pieces",
        ]
        if self.upstream_status is not None:
            words.append(f"upstream {self.upstream_status}")
        if self._notes:
            words.append(f"({'; '.join(_printable(note, 200) for note in self._notes)})")
        access_logger.info("%s", " ".join(words))


def _printable(text: str, limit: int) -> str:
    """On one line, without anything that could command a terminal."""
    shown = text if len(text) <= limit else f"{text[:limit]}..."
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in shown)
