"""A transport over httpx, to show that the seam is one: what somebody else would write, in both colours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx

from aichatfree import ConnectError, Deadline, Request, StreamInterruptedError


def closed() -> StreamInterruptedError:
    return StreamInterruptedError("the call was closed")


class Exchange:
    """What both colours share: the errors of httpx become those of the library."""

    def __init__(self, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.response: Any = None
        self.aborted = False

    def failure(self, error: Exception) -> Exception:
        if self.aborted:
            return closed()
        if self.deadline.expired() or isinstance(error, (httpx.TimeoutException, TimeoutError)):
            return self.deadline.error()
        kind = ConnectError if self.response is None else StreamInterruptedError
        return kind(f"httpx: {type(error).__name__}: {error}")

    def answered(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.headers = response.headers


class HttpxExchange(Exchange):
    """httpx has limits a phase and none for a whole call: the reading is done in a thread that can be left behind."""

    def __init__(self, client: httpx.Client, request: Request, deadline: Deadline) -> None:
        super().__init__(request, deadline)
        self._client = client
        self._wake = threading.Condition()

    def _within_limits(self, work: Any) -> Any:
        outcome: list[Any] = []

        def run() -> None:
            try:
                result = (work(), None)
            except Exception as error:
                result = (None, error)
            with self._wake:
                outcome.append(result)
                self._wake.notify_all()

        left = self.deadline.remaining()
        if left == 0:
            raise self.deadline.error()
        threading.Thread(target=run, daemon=True).start()
        with self._wake:
            self._wake.wait_for(lambda: outcome or self.aborted, left)
        if self.aborted:
            raise closed()
        if not outcome:
            raise self.deadline.error()
        value, error = outcome[0]
        if error is not None:
            raise self.failure(error) from error
        return value

    def send(self) -> None:
        self.deadline.begin("first_byte")
        prepared = self._client.build_request(
            self.request.method, self.request.url, headers=self.request.headers, content=self.request.body
        )
        self.answered(self._within_limits(lambda: self._client.send(prepared, stream=True)))

    def __iter__(self) -> Iterator[bytes]:
        pieces = self.response.iter_raw()
        while (data := self._within_limits(lambda: next(pieces, None))) is not None:
            if data:
                yield data
                self.deadline.begin("idle")

    def abort(self) -> None:
        with self._wake:
            self.aborted = True
            self._wake.notify_all()

    def close(self) -> None:
        if self.response is not None and self.response.is_stream_consumed:
            self.response.close()  # else a thread is reading, or was: its connection goes with the client


class HttpxTransport:
    """The synchronous colour."""

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=None, trust_env=False, limits=httpx.Limits(max_connections=None))

    def exchange(self, request: Request, deadline: Deadline) -> HttpxExchange:
        return HttpxExchange(self._client, request, deadline)

    def close(self) -> None:
        self._client.close()


class AsyncHttpxExchange(Exchange):
    """Each wait is a task within asyncio's own time-out."""

    def __init__(self, client: httpx.AsyncClient, request: Request, deadline: Deadline) -> None:
        super().__init__(request, deadline)
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[Any] | None = None

    async def _within_limits(self, coroutine: Any) -> Any:
        left = self.deadline.remaining()
        if left == 0 or self.aborted:
            coroutine.close()
            raise closed() if self.aborted else self.deadline.error()
        task = self._waiting = asyncio.ensure_future(coroutine)
        try:
            return await asyncio.wait_for(asyncio.shield(task), left)
        except asyncio.CancelledError:
            if not self.aborted:
                raise
            raise closed() from None
        except Exception as error:
            raise self.failure(error) from error
        finally:
            self._waiting = None
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def send(self) -> None:
        self.deadline.begin("first_byte")
        prepared = self._client.build_request(
            self.request.method, self.request.url, headers=self.request.headers, content=self.request.body
        )
        self.answered(await self._within_limits(self._client.send(prepared, stream=True)))
        self._pieces = self.response.aiter_raw()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async def following() -> bytes | None:
            return await anext(self._pieces, None)

        while (data := await self._within_limits(following())) is not None:
            if data:
                yield data
                self.deadline.begin("idle")

    def abort(self) -> None:
        self.aborted = True
        if self._waiting is not None:
            self._loop.call_soon_threadsafe(self._waiting.cancel)

    async def aclose(self) -> None:
        if self.response is not None:
            await self.response.aclose()


class AsyncHttpxTransport:
    """The asynchronous colour: a client for each loop, since httpx's belong to one."""

    def __init__(self) -> None:
        self._clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    def exchange(self, request: Request, deadline: Deadline) -> AsyncHttpxExchange:
        loop = asyncio.get_running_loop()
        self._clients = {each: client for each, client in self._clients.items() if not each.is_closed()}
        if loop not in self._clients:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._clients[loop] = httpx.AsyncClient(timeout=None, trust_env=False, limits=limits)
        return AsyncHttpxExchange(self._clients[loop], request, deadline)

    async def aclose(self) -> None:
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
