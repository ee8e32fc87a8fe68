"""Transports without sockets, for tests of applications: the replies of a script, within the limits of each call.

```python
transport = MemoryTransport()
transport.enqueue(Reply.overloaded(), Reply(["Hel", "lo"]))
assert Client(transport=transport).generate("Hi") == "Hello"
```
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping

from aichatfree import Deadline, Request
from aichatfree._core.failures import connect_failure
from aichatfree._core.wire.headers import Headers
from aichatfree._core.wire.interruption import closed_by_caller, interrupted
from aichatfree.errors import AIChatFreeError
from aichatfree.testing.faults import BrokenChunk, Drop, Garbage, Informational, OversizedHeaders, WrongLength
from aichatfree.testing.reply import Pause, Reply
from aichatfree.testing.script import Script
from aichatfree.testing.wire import encoded, fields_of, interruption

__all__ = ["AsyncMemoryTransport", "MemoryTransport"]


class _Head:
    """The status and the headers have come."""

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers


_Event = _Head | bytes | Pause | AIChatFreeError


def _events(reply: Reply, request: Request, now: float) -> Iterator[_Event]:
    """What a client sees of a reply, step by step; an error is the end."""
    if reply.exact:
        raise ValueError("a reply with exact=True is bytes on a wire, which there is none of here: use ScriptedServer")
    fault = reply.fault
    broken = connect_failure("reset", request.url, "the connection was closed")
    for place in ("before-answer", "in-headers"):
        for step in interruption(reply, place):
            yield step if isinstance(step, Pause) else broken
    if isinstance(fault, (Garbage, OversizedHeaders)):
        yield connect_failure("no_http", request.url, type(fault).__name__)
    if isinstance(fault, Informational) and fault.count is None:
        yield Pause(None)
    yield _Head(reply.status, Headers((name, value) for name, value in fields_of(reply, now) if value is not None))
    for step in interruption(reply, "after-headers"):
        yield step if isinstance(step, Pause) else interrupted("the connection was closed")
    if reply.status in (204, 304):
        return
    orderly = reply.framing == "until-close" and not (isinstance(fault, Drop) and fault.reset)
    for step in encoded(reply):
        if isinstance(step, (bytes, Pause)):
            yield step
        elif orderly:
            return
        else:
            yield interrupted("the connection was closed")
    if isinstance(fault, (BrokenChunk, WrongLength)) or (isinstance(fault, Drop) and fault.at == "in-chunk"):
        yield interrupted(type(fault).__name__)


class _Exchange:
    """What both colours of an exchange share: the state, and what each event does to it."""

    def __init__(self, script: Script, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._script = script
        self._steps: Iterator[_Event] = iter(())
        self._aborted = False

    def _ask(self) -> None:
        if self._aborted:
            raise closed_by_caller()
        if self.deadline.expired():
            raise self.deadline.error()
        self.deadline.begin("first_byte")
        recorded = self._script.record(self.request)
        now = self._script.now()
        self._steps = _events(self._script.reply(recorded, now), self.request, now)

    def _wait_for(self, pause: Pause) -> tuple[float | None, bool]:
        """How long to wait, and whether a limit passes then."""
        left = self.deadline.remaining()
        if left is None or (pause.seconds is not None and pause.seconds <= left):
            return pause.seconds, False
        return left, True

    def _check(self, late: bool = False) -> None:
        if self._aborted:
            raise closed_by_caller()
        if late:
            raise self.deadline.error()

    def _take(self, event: _Event) -> bytes | None:
        """The data of an event, None if it has none; an error is raised."""
        if isinstance(event, AIChatFreeError):
            raise event
        if isinstance(event, _Head):
            self.status, self.headers = event.status, event.headers
        return event if isinstance(event, bytes) else None


class _MemoryExchange(_Exchange):
    def __init__(self, script: Script, request: Request, deadline: Deadline) -> None:
        super().__init__(script, request, deadline)
        self._alarm = threading.Event()

    def send(self) -> None:
        self._ask()
        while not self.status:
            self._step(next(self._steps))

    def __iter__(self) -> Iterator[bytes]:
        for event in self._steps:
            if data := self._step(event):
                yield data
                self.deadline.begin("idle")
        self._check()

    def _step(self, event: _Event) -> bytes | None:
        if isinstance(event, Pause):
            seconds, late = self._wait_for(event)
            self._alarm.wait(seconds)
            self._check(late)
        self._check()
        return self._take(event)

    def abort(self) -> None:
        self._aborted = True
        self._alarm.set()

    def close(self) -> None:
        self._steps = iter(())


class _AsyncMemoryExchange(_Exchange):
    def __init__(self, script: Script, request: Request, deadline: Deadline) -> None:
        super().__init__(script, request, deadline)
        self._loop = asyncio.get_running_loop()
        self._alarm = asyncio.Event()

    async def send(self) -> None:
        self._ask()
        while not self.status:
            await self._step(next(self._steps))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._steps:
            if data := await self._step(event):
                yield data
                self.deadline.begin("idle")
        self._check()

    async def _step(self, event: _Event) -> bytes | None:
        if isinstance(event, Pause):
            seconds, late = self._wait_for(event)
            try:
                await asyncio.wait_for(self._alarm.wait(), seconds)
            except TimeoutError:
                self._check(late)
        self._check()
        return self._take(event)

    def abort(self) -> None:
        self._aborted = True
        try:
            self._loop.call_soon_threadsafe(self._alarm.set)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    async def aclose(self) -> None:
        self._steps = iter(())


class _MemoryScript(Script):
    url = "http://memory"
    """An address that means nothing here."""


class MemoryTransport(_MemoryScript):
    """A transport for `Client(transport=...)` that serves a script without sockets, and records what it is asked.

    Replies, faults and the judgement of requests are those of `ScriptedServer`, as far as they do not lie in the bytes
    of the wire (`exact`, `split`). The arguments are those of `Script`.
    """

    def exchange(self, request: Request, deadline: Deadline) -> _MemoryExchange:
        """Prepare to answer one request."""
        return _MemoryExchange(self, request, deadline)

    def close(self) -> None:
        """Nothing: there are no connections."""


class AsyncMemoryTransport(_MemoryScript):
    """The twin of `MemoryTransport`, for `AsyncClient(transport=...)`."""

    def exchange(self, request: Request, deadline: Deadline) -> _AsyncMemoryExchange:
        """Prepare to answer one request."""
        return _AsyncMemoryExchange(self, request, deadline)

    async def aclose(self) -> None:
        """Nothing: there are no connections."""
