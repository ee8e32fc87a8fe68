"""AIChatFree inside the real g4f: runs wherever g4f is importable, from 0.4.2.6 to the newest; it installs nothing."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aichatfree import AIChatFree, InvalidPasswordError, RateLimitError, RequestTimeoutError, StreamInterruptedError
from aichatfree.testing import Drop, ProxyServer, Reply, ScriptedServer, Stall

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # g4f's own
    g4f = pytest.importorskip("g4f")
    from g4f.client import AsyncClient, Client
    from g4f.cookies import set_cookies_dir
    from g4f.providers.retry_provider import IterListProvider, RetryProvider

pytestmark = [pytest.mark.g4f, pytest.mark.filterwarnings("ignore:::g4f")]

MESSAGES = [{"role": "user", "content": "Hello"}]
HELLO = "Hello, wörld"


class Mode:
    """One of g4f's four ways to ask."""

    def __init__(self, is_async: bool, stream: bool) -> None:
        self.is_async = is_async
        self.stream = stream

    def ask(self, provider: Any, client: dict[str, Any] | None = None, **options: Any) -> str:
        """The text of a reply, put together from what g4f hands out."""
        options = {"messages": [*MESSAGES], "model": "", "stream": self.stream, **options}
        if self.is_async:
            return asyncio.run(self._ask(AsyncClient(provider=provider, **client or {}), options))
        reply = Client(provider=provider, **client or {}).chat.completions.create(**options)
        if not self.stream:
            return str(reply.choices[0].message.content)
        return "".join(self._text(piece) for piece in reply)

    async def _ask(self, client: Any, options: dict[str, Any]) -> str:
        reply = client.chat.completions.create(**options)
        if not self.stream:
            return str((await reply).choices[0].message.content)
        return "".join([self._text(piece) async for piece in reply])

    @staticmethod
    def _text(piece: Any) -> str:
        # Among the pieces of 0.5's lists there are the errors of the providers that were passed over.
        choices = getattr(piece, "choices", None)
        return str(choices[0].delta.content or "") if choices else ""


@pytest.fixture(
    params=[(False, False), (False, True), (True, False), (True, True)],
    ids=["sync", "sync-stream", "async", "async-stream"],
)
def mode(request: pytest.FixtureRequest) -> Mode:
    return Mode(*request.param)


@pytest.fixture(autouse=True)
def _keep_g4f_to_itself(tmp_path: Path) -> None:
    """No look-up of its newest version, no files in the home directory, nothing remembered of an earlier test."""
    g4f.debug.version_check = False
    set_cookies_dir(str(tmp_path))
    breaker = getattr(g4f.providers.retry_provider, "ProviderCircuitBreaker", None)
    if breaker is not None:
        breaker.reset()


@pytest.fixture
def provider(server: ScriptedServer) -> type[AIChatFree]:
    server.default = Reply(["Hel", "lo, ", "wörld"], pause=0.005)
    return AIChatFree.using(server.url, name="Here")


@pytest.fixture
def other() -> Iterator[type[AIChatFree]]:
    with ScriptedServer() as server:
        server.default = Reply("from the other")
        yield AIChatFree.using(server.url, name="Other")


def test_a_reply(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    assert mode.ask(provider) == HELLO
    assert mode.ask(provider, model="gemini-1.5-pro") == HELLO  # g4f's synchronous client makes a loop a call
    assert mode.ask(provider, model="unknown-to-g4f-and-us") == HELLO
    assert server.requests[0].prompt == "Hello"
    server.wait_connections(0)


def test_the_class_itself(mode: Mode, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.default = Reply("Hi")
    monkeypatch.setattr(AIChatFree, "url", server.url)
    monkeypatch.setattr(AIChatFree, "live", 0)  # newer ones count on the class itself
    assert mode.ask(AIChatFree) == "Hi"
    assert AIChatFree.live in (0, 1)


def test_characters_that_arrive_in_halves(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply("zwölf €, 日本", split=1))
    assert mode.ask(provider) == "zwölf €, 日本"


def test_a_history(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3"},
    ]
    assert mode.ask(provider, messages=history) == HELLO
    sent = [(content["role"], content["parts"][0]["text"]) for content in server.requests[0].json["messages"]]
    assert sent == [("user", "Be brief."), ("user", "1"), ("model", "2"), ("user", "3")]


def test_options_that_the_protocol_does_not_carry(mode: Mode, provider: type[AIChatFree]) -> None:
    options = {"temperature": 0.5, "top_p": 1, "max_tokens": 4096, "seed": 1, "response_format": {"type": "text"}}
    assert mode.ask(provider, **options) == HELLO


def test_g4f_stops_where_it_was_told(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply(["one ", "two ", "three"], pause=0.02))
    assert mode.ask(provider, stop=["two"]) == "one "
    server.wait_connections(0)


def test_api_key_is_the_password(mode: Mode) -> None:
    with ScriptedServer(password="pw") as server:
        server.default = Reply("in")
        mine = AIChatFree.using(server.url)
        with pytest.raises(InvalidPasswordError):
            mode.ask(mine)
        assert mode.ask(mine, {"api_key": "pw"}) == "in"
        assert mode.ask(mine.using(password="pw")) == "in"


def test_base_url(mode: Mode, server: ScriptedServer) -> None:
    server.default = Reply("Hi")
    assert mode.ask(AIChatFree.using("http://127.0.0.1:1"), base_url=server.url) == "Hi"


def test_proxy(mode: Mode, provider: type[AIChatFree]) -> None:
    with ProxyServer() as proxy:
        assert mode.ask(provider, proxy=proxy.url) == HELLO
        assert mode.ask(provider, {"proxies": proxy.url}) == HELLO
        assert len(proxy.targets) == 2


@pytest.mark.parametrize("at", ["before-answer", "in-body"])
def test_timeout(mode: Mode, provider: type[AIChatFree], server: ScriptedServer, at: Any) -> None:
    """The error is ours, and says what the limit was; a built-in TimeoutError would have been replaced."""
    server.enqueue(Reply("some", fault=Stall(at)))
    with pytest.raises(RequestTimeoutError, match=r"0\.2"):
        mode.ask(provider, timeout=0.2)
    server.wait_connections(0)


def test_errors_come_through(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply.quota())
    with pytest.raises(RateLimitError, match="Quota exceeded"):
        mode.ask(provider)
    server.enqueue(Reply("half", fault=Drop("in-body")))
    with pytest.raises(StreamInterruptedError):
        mode.ask(provider)
    assert len(server.requests) == 2
    server.wait_connections(0)


@pytest.mark.parametrize("kind", [IterListProvider, RetryProvider])
def test_a_list_goes_on_after_a_quota(
    mode: Mode, kind: Any, provider: type[AIChatFree], other: type[AIChatFree], server: ScriptedServer
) -> None:
    server.enqueue(Reply.quota(retry_in=58.8))
    providers = kind([provider, other], shuffle=False)
    assert mode.ask(providers) == "from the other"
    assert providers.last_provider is other
    assert mode.ask(providers) == HELLO
    assert providers.last_provider is provider


@pytest.mark.skipif(
    getattr(RetryProvider, "create_function", None) is getattr(IterListProvider, "create_function", 0),
    reason="0.6 to 7.4 call create_function, for which RetryProvider has only what a list of providers does",
)
def test_a_provider_that_is_tried_again(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply.quota(), Reply.overloaded())
    again = RetryProvider([provider], shuffle=False, single_provider_retry=True, max_retries=3)
    assert mode.ask(again) == HELLO
    assert len(server.requests) == 3


def test_a_list_whose_providers_all_fail(mode: Mode, provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply.quota(), Reply.quota())
    with pytest.raises(Exception, match=r"(?s)Here.*Quota exceeded.*Twin.*Quota exceeded"):
        mode.ask(IterListProvider([provider, provider.using(name="Twin")], shuffle=False))


def test_the_models_on_offer(provider: type[AIChatFree]) -> None:
    models = getattr(Client(provider=provider, api_key="x"), "models", None)
    if models is None:
        pytest.skip("this g4f has no client.models")
    assert models.get_all() == ["gemini-1.5-pro"]


def test_the_oldest_interface(provider: type[AIChatFree]) -> None:
    complete = g4f.ChatCompletion
    assert complete.create("gemini-1.5-pro", MESSAGES, provider=provider) == HELLO
    assert "".join(complete.create("gemini-1.5-pro", MESSAGES, provider=provider, stream=True)) == HELLO
    assert asyncio.run(complete.create_async("gemini-1.5-pro", MESSAGES, provider=provider)) == HELLO


@pytest.mark.parametrize("stream", [False, True])
def test_the_synchronous_client_in_a_notebook(provider: type[AIChatFree], stream: bool) -> None:
    """There, a loop is running already; of its own providers g4f asks for nest_asyncio in that place."""

    async def cell() -> str:
        return Mode(is_async=False, stream=stream).ask(provider)

    assert asyncio.run(cell()) == HELLO


def test_leaving_a_stream_early(provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply("first", fault=Stall("in-body")), Reply("first", fault=Stall("in-body")))
    for piece in Client(provider=provider).chat.completions.create(messages=[*MESSAGES], model="", stream=True):
        assert piece.choices[0].delta.content == "first"
        break
    server.wait_connections(0)

    async def leave() -> None:
        reply = AsyncClient(provider=provider).chat.completions.create(messages=[*MESSAGES], model="", stream=True)
        async for piece in reply:
            assert piece.choices[0].delta.content == "first"
            break
        await reply.aclose()
        await asyncio.to_thread(server.wait_connections, 0)

    asyncio.run(leave())
