"""Name look-ups that end in time.

The system's resolver cannot be interrupted, and may take half a minute over a name whose servers are silent. So a
thread of its own waits for it, which the caller leaves behind when its limit passes. Calls that want the same name at
the same time wait for one such thread, so that a resolver that hangs costs one thread a name and not one a call.
"""

from __future__ import annotations

import _thread
import copy
import ipaddress
import os
import socket
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

Addresses = list[tuple[Any, ...]]
"""As :func:`socket.getaddrinfo` returns them."""

Answers = SimpleQueue["Addresses | BaseException"]


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
        self._answers: Answers = SimpleQueue()

    def result(self, seconds: float | None) -> Addresses:
        """The addresses of the host.

        Args:
            seconds: How long to wait for them, None for no limit.

        Raises:
            TimeoutError: There was no answer in time.
            ConnectionAbortedError: :meth:`abort` was called.
            OSError, UnicodeError: What :func:`socket.getaddrinfo` raised (as any other error of its).
        """
        question = _Question(self._host, self._port, self._family)
        if is_address(self._host):
            question.ask()
        else:
            question = question.under_way()
        question.wait_with(self._answers)
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            raise TimeoutError(f"the addresses of {self._host} were not found in time") from None
        finally:
            question.leave(self._answers)
        if isinstance(answer, BaseException):
            with suppress(Exception):
                answer = copy.copy(answer)  # others may raise it at the same time
            try:
                raise answer
            finally:
                del answer  # it knows this frame now
        return answer

    def abort(self) -> None:
        """End the waiting, from any thread."""
        self._answers.put(ConnectionAbortedError("the look-up was given up"))


_asked: dict[tuple[Any, ...], _Question] = {}
"""What is being looked up now. Nothing of it needs a lock: each step is one operation on a dict or a list, so that a
signal handler may look a name up amid another look-up, and a fork leaves nothing locked."""


class _Question:
    """What is asked of the system's resolver, and who waits for the answer."""

    def __init__(self, host: str, port: int, family: socket.AddressFamily) -> None:
        self._arguments = (host, port, family, socket.SOCK_STREAM)
        # A fork leaves the threads behind; and a resolver that was replaced, as tests do, answers for itself.
        self._key = (os.getpid(), socket.getaddrinfo, *self._arguments)
        self._waiting: list[Answers] = []
        self._answer: Addresses | BaseException | None = None

    def under_way(self) -> _Question:
        """The same question that is being asked already, else this one, asked from now on by a thread of its own."""
        asked = _asked.get(self._key)
        if asked is not None and asked._answer is None:
            return asked
        try:
            # Not threading.Thread, whose start takes a lock that a signal handler may find taken.
            _thread.start_new_thread(self.ask, ())
        except RuntimeError:  # there are too many threads, or the interpreter is ending
            self.ask()
        else:
            # Only now, so that whoever waits for a question waits for one that is being asked, wherever an interrupt
            # or a signal handler strikes. Two that are asked at once do no harm.
            _asked[self._key] = self
            self._forget_if_answered()
        return self

    def ask(self) -> None:
        """Ask, and tell all who wait."""
        try:
            self._answer = list(socket.getaddrinfo(*self._arguments))
        except BaseException as error:  # whatever it is, it belongs to those who wait
            self._answer = error.with_traceback(None)
        self._forget_if_answered()
        for answers in tuple(self._waiting):
            answers.put(self._answer)

    def _forget_if_answered(self) -> None:
        if self._answer is not None and _asked.get(self._key) is self:
            _asked.pop(self._key, None)

    def wait_with(self, answers: Answers) -> None:
        """Have the answer put into ``answers``, now or later, perhaps twice."""
        self._waiting.append(answers)
        if self._answer is not None:
            answers.put(self._answer)

    def leave(self, answers: Answers) -> None:
        """Wait no more."""
        with suppress(ValueError):
            self._waiting.remove(answers)


def is_address(host: str) -> bool:
    """Whether ``host`` is an address, with or without a zone, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
