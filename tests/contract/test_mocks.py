"""Mocking libraries keep working: tables of statuses through responses and aioresponses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from inspect import signature
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses
import pytest
import responses

import aichatfree
from aichatfree import AsyncClient, Client

URL = "http://mock.example"

STATUSES = {
    400: aichatfree.BadRequestError,
    401: aichatfree.AuthenticationError,
    403: aichatfree.PermissionDeniedError,
    404: aichatfree.NotFoundError,
    405: aichatfree.NotFoundError,
    408: aichatfree.APIError,
    413: aichatfree.APIError,
    418: aichatfree.APIError,
    429: aichatfree.RateLimitError,
    500: aichatfree.ServerError,
    501: aichatfree.ServerError,
    502: aichatfree.ServerError,
    503: aichatfree.OverloadedError,
    504: aichatfree.ServerError,
    599: aichatfree.ServerError,
    201: aichatfree.APIError,
    204: aichatfree.EmptyReplyError,
    301: aichatfree.RedirectError,
    304: aichatfree.APIError,
}
HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"Retry-After": "12"}, 12.0),
    ({"retry-after": "1.5"}, 1.5),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
    ({"Retry-After": "soon"}, None),
    ({"Retry-After": "-5"}, None),
]


class MockedResponse(aiohttp.ClientResponse):
    """aioresponses 0.7 does not know an argument that aiohttp requires since 3.14."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in signature(aiohttp.ClientResponse.__init__).parameters:
            kwargs["stream_writer"] = Mock(output_size=0)
        super().__init__(*args, **kwargs)


@pytest.fixture
def mocked_async() -> Iterator[aioresponses.aioresponses]:
    with aioresponses.aioresponses() as mock:
        yield mock


class TestResponses:
    @pytest.mark.parametrize("status", STATUSES)
    @responses.activate
    def test_statuses(self, status: int) -> None:
        responses.post(f"{URL}/api/generate", body=b"", status=status)
        with pytest.raises(aichatfree.AIChatFreeError) as caught:
            Client(URL, max_retries=0).generate("hi")
        assert type(caught.value) is STATUSES[status]

    @pytest.mark.parametrize(("headers", "seconds"), HEADERS)
    @responses.activate
    def test_retry_after(self, headers: dict[str, str], seconds: float | None) -> None:
        responses.post(f"{URL}/api/generate", status=429, headers=headers)
        with pytest.raises(aichatfree.RateLimitError) as caught:
            Client(URL, max_retries=0).generate("hi")
        assert caught.value.retry_after == seconds

    @responses.activate
    def test_a_reply(self) -> None:
        responses.post(f"{URL}/api/generate", body="你好", content_type="text/plain")
        stream = Client(URL).stream("hi")
        assert stream.until_done() == "你好"
        assert stream.status_code == 200
        assert responses.calls[0].request.headers["Origin"] == URL

    @responses.activate
    def test_an_exception(self) -> None:
        responses.post(f"{URL}/api/generate", body=ConnectionResetError(104, "reset"))
        with pytest.raises(aichatfree.ConnectError):
            Client(URL, max_retries=0).generate("hi")

    @responses.activate
    def test_a_password(self) -> None:
        responses.post(f"{URL}/api/auth", json={"code": 0})
        assert Client(URL).verify_password("pw")


class TestAioresponses:
    @pytest.mark.parametrize("status", STATUSES)
    def test_statuses(self, mocked_async: Any, status: int) -> None:
        mocked_async.post(f"{URL}/api/generate", body=b"", status=status, response_class=MockedResponse)
        with pytest.raises(aichatfree.AIChatFreeError) as caught:
            asyncio.run(AsyncClient(URL, max_retries=0).generate("hi"))
        assert type(caught.value) is STATUSES[status]

    @pytest.mark.parametrize(("headers", "seconds"), HEADERS)
    def test_retry_after(self, mocked_async: Any, headers: dict[str, str], seconds: float | None) -> None:
        mocked_async.post(f"{URL}/api/generate", status=429, headers=headers, response_class=MockedResponse)
        with pytest.raises(aichatfree.RateLimitError) as caught:
            asyncio.run(AsyncClient(URL, max_retries=0).generate("hi"))
        assert caught.value.retry_after == seconds

    def test_a_reply(self, mocked_async: Any) -> None:
        mocked_async.post(f"{URL}/api/generate", body="你好", response_class=MockedResponse)

        async def main() -> None:
            async with AsyncClient(URL) as client:
                stream = client.stream("hi")
                assert await stream.until_done() == "你好"
                assert stream.status_code == 200

        asyncio.run(main())

    def test_an_exception(self, mocked_async: Any) -> None:
        mocked_async.post(f"{URL}/api/generate", exception=aiohttp.ClientOSError(104, "reset"))
        with pytest.raises(aichatfree.ConnectError):
            asyncio.run(AsyncClient(URL, max_retries=0).generate("hi"))

    def test_closed_while_a_callback_goes_on(self, mocked_async: Any) -> None:
        async def callback(url: Any, **kwargs: Any) -> aioresponses.CallbackResult:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
            return aioresponses.CallbackResult(body="too late", response_class=MockedResponse)

        mocked_async.post(f"{URL}/api/generate", callback=callback)

        async def main() -> None:
            async with AsyncClient(URL) as client:
                stream = client.stream("hi")
                reader = asyncio.create_task(stream.until_done())
                await asyncio.sleep(0.05)
                await stream.aclose()
                with pytest.raises(aichatfree.StreamInterruptedError):
                    await reader
                assert stream.text == ""

        asyncio.run(main())
