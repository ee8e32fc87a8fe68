"""Every exception class of requests, urllib3, http.client and aiohttp becomes one of ours."""

from __future__ import annotations

import asyncio
import http.client
import inspect
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import requests
import urllib3.exceptions
from aiohttp.http_exceptions import HttpProcessingError

import aichatfree
from aichatfree import AsyncClient, Client
from aichatfree._async.transport import transport as aiohttp_transport
from aichatfree._sync.transport import hooks as urllib3_connections
from aichatfree._sync.transport import transport as requests_transport
from aichatfree.testing import Reply, ScriptedServer


def subclasses(*bases: type[BaseException]) -> Iterator[type[BaseException]]:
    for base in bases:
        yield base
        yield from subclasses(*base.__subclasses__())


def made(kind: type[BaseException]) -> BaseException:
    """An instance of a class, without what its own constructor and text ask for, which differs from class to class."""
    plain: dict[str, Any] = {"__init__": lambda self: None, "request_info": None, "history": ()}
    plain |= {"__str__": lambda self: "trouble", "__repr__": lambda self: "trouble()"}
    return type(kind.__name__, (kind,), plain)()


SYNC_HOMES = ("requests", "urllib3", "http", "ssl", "builtins")
SYNC = sorted(
    {
        kind
        for kind in subclasses(
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            socket.timeout,
            ssl.SSLError,
        )
        if not issubclass(kind, Warning) and kind.__module__.split(".")[0] in SYNC_HOMES
    },
    key=lambda kind: kind.__qualname__,
)
ASYNC = sorted(
    {
        kind
        for kind in subclasses(aiohttp.ClientError, HttpProcessingError, asyncio.TimeoutError, ssl.SSLError)
        if kind.__module__.split(".")[0] in ("aiohttp", "asyncio", "ssl", "builtins")
    },
    key=lambda kind: kind.__qualname__,
)


def ours(error: BaseException, cause: BaseException) -> None:
    assert isinstance(error, aichatfree.AIChatFreeError)
    assert not inspect.isabstract(type(error))
    assert error.__cause__ is cause
    assert len(str(error)) > 20


@pytest.mark.parametrize("kind", SYNC, ids=lambda kind: kind.__qualname__)
def test_sending_sync(kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    error = made(kind)

    def post(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(requests_transport.RequestsTransport, "post", post)
    with pytest.raises(aichatfree.AIChatFreeError) as caught:
        Client("http://127.0.0.1:1", max_retries=0).generate("hi")
    ours(caught.value, error)


@pytest.mark.parametrize("kind", SYNC, ids=lambda kind: kind.__qualname__)
def test_reading_sync(kind: type[BaseException], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    error = made(kind)

    def body(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(urllib3_connections.LimitedResponse, "body", body)
    with Client(server.url, max_retries=0) as client, pytest.raises(aichatfree.TransportError) as caught:
        client.generate("hi")
    ours(caught.value, error)


@pytest.mark.parametrize("kind", ASYNC, ids=lambda kind: kind.__qualname__)
def test_sending_async(kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    error = made(kind)

    async def post(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(aiohttp_transport.AiohttpTransport, "post", post)
    with pytest.raises(aichatfree.AIChatFreeError) as caught:
        asyncio.run(AsyncClient("http://127.0.0.1:1", max_retries=0).generate("hi"))
    ours(caught.value, error)


@pytest.mark.parametrize("kind", ASYNC, ids=lambda kind: kind.__qualname__)
def test_reading_async(kind: type[BaseException], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    error = made(kind)
    server.enqueue(Reply("x"))

    async def readany(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    with pytest.raises(aichatfree.TransportError) as caught:
        asyncio.run(AsyncClient(server.url, max_retries=0).generate("hi"))
    ours(caught.value, error)


def test_the_walk_finds_what_it_should() -> None:
    names = {kind.__qualname__ for kind in (*SYNC, *ASYNC)}
    assert {"ChunkedEncodingError", "ReadTimeoutError", "IncompleteRead", "ClientPayloadError"} <= names
    assert len(SYNC) > 40
    assert len(ASYNC) > 30


def test_a_bug_of_our_own_is_not_hidden(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib3_connections.LimitedResponse, "body", lambda *args: 1 / 0)
    with Client(server.url) as client, pytest.raises(ZeroDivisionError):
        client.generate("hi")
    server.wait_connections(0)
