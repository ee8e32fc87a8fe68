"""Names -> addresses, in threads of our own.

``getaddrinfo`` cannot be interrupted. In the loop's default executor, one that hangs would hold up the end of
``asyncio.run`` and, when a few do, everybody else's work in that executor.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Answer = list[Any] | BaseException


class _LookUp:
    """One look-up in a thread of its own, for all who ask meanwhile."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._answer: _Answer | None = None
        self._callbacks: list[Callable[[_Answer], None]] = []

    def add(self, callback: Callable[[_Answer], None]) -> None:
        """Call ``callback`` with the answer, in whatever thread."""
        with self._lock:
            if self._answer is None:
                self._callbacks.append(callback)
                return
        callback(self._answer)

    def start(self) -> None:
        """Begin; a daemon thread does not hold up the end of the program."""
        threading.Thread(target=self._run, name="aichatfree-resolver", daemon=True).start()

    def _run(self) -> None:
        host, port, family = self._key
        answer: _Answer
        try:
            answer = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except Exception as error:
            answer = error
        with _state.lock:
            _state.running.pop(self._key, None)
        with self._lock:
            self._answer = answer
        for callback in self._callbacks:
            callback(answer)


class _State:
    """The look-ups of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: dict[tuple[Any, ...], _LookUp] = {}


_state = _State()


async def look_up(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Any]:
    """``getaddrinfo`` for TCP. However many ask for one host at a time, there is one thread for it.

    Raises:
        OSError: There is no such name, or no answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Any]] = loop.create_future()

    def settle(answer: _Answer) -> None:
        if future.done():  # nobody waits any more
            return
        if isinstance(answer, BaseException):
            # Others get it as well, and a traceback grows with each raising. A name that IDNA refuses is a ValueError.
            future.set_exception(
                type(answer)(*answer.args) if isinstance(answer, OSError) else OSError(None, str(answer))
            )
        else:
            future.set_result(answer)

    def answered(answer: _Answer) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, answer)

    key = (host, port, family)
    with _state.lock:
        found = _state.running.get(key)
        if found is None:
            found = _LookUp(key)
            try:
                found.start()
            except RuntimeError as error:  # there are too many threads
                raise OSError(None, f"{host} cannot be looked up: {error}") from error
            _state.running[key] = found
    found.add(answered)
    return await future


class Resolver(AbstractResolver):
    """What aiohttp's connectors ask."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host, as the system's resolver orders them; the host is looked up as it stands."""
        found: list[ResolveResult] = []
        for kind, _, proto, _, address in await look_up(host, port, family):
            name = address[0]
            if kind == socket.AF_INET6 and len(address) > 3 and address[3] and "%" not in name:
                name = f"{name}%{address[3]}"  # link-local: means nothing without its interface
            found.append(
                ResolveResult(hostname=host, host=name, port=address[1], family=kind, proto=proto, flags=_NUMERIC)
            )
        if not found:
            raise OSError(None, f"{host} has no address")
        return found

    async def close(self) -> None:
        """Nothing is kept."""


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_state.__init__)  # type: ignore[misc]
