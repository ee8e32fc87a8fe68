"""Name look-ups that end in time.

The system's resolver cannot be interrupted, and may take half a minute over a name whose servers are silent. So a
thread of its own waits for it, which the caller leaves behind when its limit passes.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from queue import Empty, SimpleQueue
from typing import Any

Addresses = list[tuple[Any, ...]]
"""As :func:`socket.getaddrinfo` returns them."""


class Lookup:
    """One look-up: :meth:`result` asks and waits, :meth:`abort` ends the waiting.

    Args:
        host: A name, or an address, which needs no thread.
        port: Goes into the addresses.
        family: Which addresses are of use.
    """

    def __init__(self, host: str, port: int, family: socket.AddressFamily) -> None:
        self._host = host
        self._port = port
        self._family = family
        self._answers: SimpleQueue[Addresses | BaseException] = SimpleQueue()

    def result(self, seconds: float | None) -> Addresses:
        """The addresses of the host.

        Args:
            seconds: How long to wait for them, None for no limit.

        Raises:
            TimeoutError: There was no answer in time.
            ConnectionAbortedError: :meth:`abort` was called.
            OSError, UnicodeError: What :func:`socket.getaddrinfo` raised (as any other error of its).
        """
        if _is_address(self._host):
            self._ask()
        else:
            try:
                threading.Thread(target=self._ask, name=f"look up {self._host}", daemon=True).start()
            except RuntimeError:  # there are too many threads, or the interpreter is ending
                self._ask()
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            raise TimeoutError(f"the addresses of {self._host} were not found in time") from None
        if isinstance(answer, BaseException):
            try:
                raise answer
            finally:
                del answer  # it knows this frame now
        return answer

    def _ask(self) -> None:
        try:
            self._answers.put(socket.getaddrinfo(self._host, self._port, self._family, socket.SOCK_STREAM))
        except BaseException as error:  # whatever it is, it belongs to the caller
            self._answers.put(error.with_traceback(None))

    def abort(self) -> None:
        """End the waiting, from any thread."""
        self._answers.put(ConnectionAbortedError("the look-up was given up"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
