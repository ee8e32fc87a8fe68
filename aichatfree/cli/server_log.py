"""The log of a server on stderr: written by a thread, so that a pipe that nobody reads does not stop the server."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from types import TracebackType

__all__ = ["ServerLog"]

MAX_WAITING = 1000
"""Lines that may wait to be written; what comes when they are as many is dropped, and counted."""
FLUSH_SECONDS = 1.0


class ServerLog(logging.Handler):
    """Writes what the server, and a gateway in it, log while the ``with`` block runs: each record is a line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="aichatfree-log", daemon=True)
        self._levels = {logging.getLogger(f"aichatfree.{part}"): logging.NOTSET for part in ("server", "gateway")}

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never waits."""
        line = " ".join(self.format(record).splitlines())
        shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
        if self._dropped and not self._lines.full():
            shown, self._dropped = f"{shown}\n({self._dropped} lines before it were dropped)", 0
        try:
            self._lines.put_nowait(shown)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                return  # whoever read has gone

    def __enter__(self) -> ServerLog:
        for logger in self._levels:
            self._levels[logger] = logger.level
            if logger.getEffectiveLevel() > logging.INFO:
                logger.setLevel(logging.INFO)
            logger.addHandler(self)
            logger.propagate = False  # --verbose has a handler of its own
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for logger, level in self._levels.items():
            logger.removeHandler(self)
            logger.propagate = True
            logger.setLevel(level)
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(FLUSH_SECONDS)
