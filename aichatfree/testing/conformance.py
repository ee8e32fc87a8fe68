"""What every transport must keep, as pytest functions: run them against a transport of your own.

Two fixtures say what is tested; the tests come by a star import:

```python
from aichatfree.testing.conformance import *  # noqa: F403

@pytest.fixture
def transport() -> MyTransport:  # of either colour
    return MyTransport()
```

They talk to a `ScriptedServer`. A transport without sockets, which plays a script by itself, replaces the fixture
`peer`, whatever has `enqueue(*replies)`, `requests` and `url`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aichatfree import (
    AIChatFreeError,
    AsyncClient,
    Client,
    ConnectError,
    RequestTimeoutError,
    StreamInterruptedError,
    Timeout,
)
from aichatfree.testing.faults import BrokenChunk, Drop, Garbage, Stall, WrongLength
from aichatfree.testing.reply import Pause, Reply
from aichatfree.testing.script import Script
from aichatfree.testing.server import ScriptedServer

FOREVER = 30.0
"""Seconds after which something that must not wait counts as hanging."""


class Outcome:
    """What came of one call."""

    def __init__(self) -> None:
        self.text = ""
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<{self.text!r}, then {self.error!r}>"


class Driver:
    """A client over the transport, whichever colour that has."""

    def __init__(self, transport: Any, url: str) -> None:
        self.is_async = hasattr(transport, "aclose")
        self._options: dict[str, Any] = {"base_url": url, "transport": transport, "max_retries": 0}

    def ask(self, prompt: str = "Hi", interrupt: Callable[[Any], None] | None = None, **options: Any) -> Outcome:
        """Stream a reply to its end; `interrupt` is handed the stream, in a thread, before the first read."""
        return self._bounded(self._ask_async if self.is_async else self._ask, prompt, interrupt, options)

    def _bounded(self, ask: Any, prompt: str, interrupt: Any, options: dict[str, Any]) -> Outcome:
        outcome = Outcome()

        def run() -> None:
            try:
                ask(outcome, prompt, interrupt, options)
            except BaseException as error:
                outcome.error = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(FOREVER)
        assert not thread.is_alive(), f"it hangs: {outcome}"
        return outcome

    def _ask(self, outcome: Outcome, prompt: str, interrupt: Any, options: dict[str, Any]) -> None:
        stream = Client(**{**self._options, **options}).stream(prompt)
        if interrupt is not None:
            threading.Thread(target=interrupt, args=(stream.close,), daemon=True).start()
        for piece in stream:
            outcome.text += piece

    def _ask_async(self, outcome: Outcome, prompt: str, interrupt: Any, options: dict[str, Any]) -> None:
        async def main() -> None:
            stream = AsyncClient(**{**self._options, **options}).stream(prompt)
            loop = asyncio.get_running_loop()
            if interrupt is not None:

                def close() -> None:
                    asyncio.run_coroutine_threadsafe(stream.aclose(), loop)

                threading.Thread(target=interrupt, args=(close,), daemon=True).start()
            async for piece in stream:
                outcome.text += piece

        asyncio.run(main())

    def at_once(self, prompts: list[str]) -> list[str]:
        """The whole replies to several prompts that are on their way at the same time."""
        if not self.is_async:
            return [str(result.text) for result in Client(**self._options).map(prompts, concurrency=len(prompts))]

        async def main() -> list[str]:
            client = AsyncClient(**self._options)
            return list(await asyncio.gather(*map(client.generate, prompts)))

        return asyncio.run(main())

    def close(self, transport: Any) -> None:
        """End the transport, twice."""

        async def aclose() -> None:
            await transport.aclose()
            await transport.aclose()

        def close() -> None:
            transport.close()
            transport.close()

        ends: Callable[[], Any] = (lambda: asyncio.run(aclose())) if self.is_async else close
        thread = threading.Thread(target=ends, daemon=True)
        thread.start()
        thread.join(FOREVER)
        assert not thread.is_alive(), "closing hangs"


@pytest.fixture
def peer() -> Iterator[Script]:
    """What answers: a server, until a transport without sockets replaces this."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def driver(transport: Any, peer: Any) -> Iterator[Driver]:
    """A client over the transport under test."""
    driver = Driver(transport, peer.url)
    yield driver
    driver.close(transport)


def test_a_reply_arrives_whole(driver: Driver, peer: Any) -> None:
    peer.enqueue(Reply(["one ", "two ", "thr\u00e9e \U0001f600"]))
    outcome = driver.ask("What is it?")
    assert (outcome.text, outcome.error) == ("one two thr\u00e9e \U0001f600", None)
    (request,) = peer.requests
    assert request.prompt == "What is it?"
    assert request.method == "POST"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
def test_the_end_of_a_body_is_told_in_three_ways(driver: Driver, peer: Any, framing: Any) -> None:
    peer.enqueue(*(Reply(["a", "b" * 100_000, "c"], framing=framing) for _ in range(2)))
    for _ in range(2):
        outcome = driver.ask()
        assert (len(outcome.text), outcome.error) == (100_002, None)


def test_pieces_come_when_they_arrive(driver: Driver, peer: Any) -> None:
    """A transport that waited for the whole body would never see the first piece of this one."""
    peer.enqueue(Reply(["first", Pause(None)]))
    outcome = driver.ask(timeout=Timeout(None, None, 0.2))
    assert outcome.text == "first"
    assert isinstance(outcome.error, RequestTimeoutError), outcome


@pytest.mark.parametrize(
    ("reply", "limits", "phase"),
    [
        (Reply("x", fault=Stall("before-answer")), Timeout(None, 0.2, None), "first_byte"),
        (Reply("x", fault=Stall("in-headers")), Timeout(None, 0.2, None), "first_byte"),
        (Reply(["x", Pause(None)]), Timeout(None, None, 0.2), "idle"),
        (Reply("x", fault=Stall("before-answer")), Timeout(None, None, None, total=0.2), "total"),
        (Reply(["x", Pause(None)]), Timeout(None, None, None, total=0.2), "total"),
        (Reply(["x"] * 100, pause=0.05), Timeout(None, None, None, total=0.3), "total"),
    ],
    ids=["no answer", "half of the headers", "a stall", "no answer, total", "a stall, total", "a drip, total"],
)
def test_limits_hold(driver: Driver, peer: Any, reply: Reply, limits: Timeout, phase: str) -> None:
    peer.enqueue(reply)
    outcome = driver.ask(timeout=limits)
    assert isinstance(outcome.error, RequestTimeoutError), outcome
    assert outcome.error.phase == phase
    assert outcome.error.partial == outcome.text


def test_no_limit_is_no_limit(driver: Driver, peer: Any) -> None:
    peer.enqueue(Reply(["a", Pause(0.3), "b"], fault=None))
    outcome = driver.ask(timeout=None)
    assert (outcome.text, outcome.error) == ("ab", None)


def test_a_limit_that_has_passed_reaches_no_library(driver: Driver, peer: Any) -> None:
    """Many libraries read a limit of 0 as none."""
    for nanoseconds in (1, 1_000):
        outcome = driver.ask(timeout=Timeout(None, None, None, total=nanoseconds / 1e9))
        assert isinstance(outcome.error, RequestTimeoutError), outcome
        assert outcome.error.phase == "total"


@pytest.mark.parametrize(
    "reply",
    [Reply("x", fault=Stall("before-answer")), Reply(["some", Pause(None)])],
    ids=["waiting for an answer", "in mid-reply"],
)
def test_closing_unblocks_a_reader_at_once(driver: Driver, peer: Any, reply: Reply) -> None:
    asked = len(peer.requests)
    peer.enqueue(reply)

    def interrupt(close: Callable[[], None]) -> None:
        while len(peer.requests) == asked:
            time.sleep(0.005)
        time.sleep(0.1)  # the piece that comes is to be read
        close()

    outcome = driver.ask(interrupt=interrupt, timeout=None)
    assert isinstance(outcome.error, StreamInterruptedError), outcome
    assert outcome.error.partial == outcome.text == reply.text.removesuffix("x")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply("some", fault=Drop("before-answer")), ConnectError),
        (Reply("some", fault=Drop("in-headers")), ConnectError),
        (Reply("some", fault=Garbage()), ConnectError),
        (Reply("some", fault=Drop("in-body")), StreamInterruptedError),
        (Reply("some", fault=Drop("in-body", reset=True)), AIChatFreeError),
        (Reply("some", fault=Drop("in-chunk")), StreamInterruptedError),
        (Reply("some", fault=BrokenChunk()), StreamInterruptedError),
        (Reply("some", framing="content-length", fault=WrongLength(10)), StreamInterruptedError),
        (Reply("some", framing="content-length", fault=Drop("in-body")), StreamInterruptedError),
    ],
    ids=lambda value: str(getattr(value, "fault", "")),
)
def test_a_reply_that_is_not_whole_is_an_error(driver: Driver, peer: Any, reply: Reply, kind: type) -> None:
    peer.enqueue(reply)
    outcome = driver.ask()
    assert isinstance(outcome.error, kind), outcome
    assert isinstance(outcome.error, AIChatFreeError)
    assert outcome.error.partial == outcome.text
    if kind is StreamInterruptedError:
        assert outcome.text == "some"


def test_statuses_and_repeated_headers_arrive(driver: Driver, peer: Any) -> None:
    peer.enqueue(Reply.error(429, "slow down", headers=[("Retry-After", "7"), ("X-Two", "a"), ("X-Two", "b")]))
    error: Any = driver.ask().error
    assert (error.status_code, error.retry_after) == (429, 7)
    assert [part.strip() for part in error.headers["x-two"].split(",")] == ["a", "b"]


def test_compressed_bodies_are_left_as_they_are(driver: Driver, peer: Any) -> None:
    """They are decoded by the core, which knows a cut one from a whole one."""
    peer.enqueue(Reply(["one ", "two"], encoding="gzip"))
    outcome = driver.ask()
    assert (outcome.text, outcome.error) == ("one two", None)


def test_redirects_are_left_to_the_core(driver: Driver, peer: Any) -> None:
    peer.enqueue(Reply("", status=307, headers={"Location": "http://elsewhere.invalid/api/generate"}))
    error: Any = driver.ask().error
    assert type(error).__name__ == "RedirectError"
    assert error.location == "http://elsewhere.invalid/api/generate"
    assert len(peer.requests) == 1


def test_many_calls_do_not_mix(driver: Driver, peer: Any) -> None:
    peer.default = lambda request: Reply([f"re: {request.prompt}", Pause(0.01), "!"])
    prompts = [f"number {number}" for number in range(40)]
    assert driver.at_once(prompts) == [f"re: {prompt}!" for prompt in prompts]


def test_one_call_after_another(driver: Driver, peer: Any) -> None:
    """Also after failures, and for an asynchronous transport in one event loop after another."""
    peer.enqueue(Reply("one"), Reply("x", fault=Drop("in-body")), Reply("two"), Reply.overloaded(), Reply("three"))
    outcomes = [driver.ask() for _ in range(5)]
    assert [outcome.text for outcome in outcomes] == ["one", "x", "two", "", "three"]
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, False, True]


def test_a_closed_transport_can_be_closed_again(driver: Driver, transport: Any) -> None:
    driver.ask()
    driver.close(transport)
