"""AIChatFree by itself: what it sends, what it yields, what it fails with."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from aichatfree import (
    AIChatFree,
    BadRequestError,
    InvalidPasswordError,
    InvalidRequestError,
    OverloadedError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    StreamInterruptedError,
    Timeout,
    errors,
)
from aichatfree.testing import Drop, ProxyServer, Reply, ScriptedServer, Stall

from .asking import MESSAGES, Ask, in_one_task


def test_the_documented_form(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIChatFree, "url", server.url)
    server.default = Reply("Hi")

    async def documented() -> str:
        text = ""
        async for chunk in AIChatFree.create_async_generator(model="gemini-1.5-pro", messages=MESSAGES):
            text += chunk
        return text

    assert asyncio.run(documented()) == "Hi"


def test_it_is_a_true_async_generator_function() -> None:
    assert inspect.isasyncgenfunction(AIChatFree.create_async_generator)
    parameters = list(inspect.signature(AIChatFree.create_async_generator).parameters)
    assert parameters[:4] == ["model", "messages", "proxy", "connector"]


def test_every_entrance_gives_the_same(provider: type[AIChatFree], ask: Ask, server: ScriptedServer) -> None:
    pieces = ask(provider)
    assert "".join(pieces) == "Hello, wörld"
    assert all(type(piece) is str and piece for piece in pieces)
    assert "".join(ask(provider)) == "Hello, wörld"
    server.wait_connections(0)


def test_pieces_come_as_they_arrive(provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply("first", fault=Stall("in-body")))
    pieces = provider.create_completion("", MESSAGES)
    assert next(pieces) == "first"
    pieces.close()
    server.wait_connections(0)


def test_split_characters_come_whole(provider: type[AIChatFree], ask: Ask, server: ScriptedServer) -> None:
    server.enqueue(Reply("zwölf €, 日本", split=1))
    assert "".join(ask(provider)) == "zwölf €, 日本"


def test_the_history_is_sent_as_given(provider: type[AIChatFree], server: ScriptedServer) -> None:
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1"},
        {"role": "user", "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "3"}]},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "4", "tool_call_id": "x"},
    ]
    server.enqueue(Reply("whatever the server makes of it"))
    in_one_task(provider, history)
    assert server.requests[0].json["messages"] == [
        {"role": "user", "parts": [{"text": "Be brief."}]},
        {"role": "user", "parts": [{"text": "1"}]},
        {"role": "user", "parts": [{"text": "2"}, {"text": "3"}]},
        {"role": "model", "parts": [{"text": ""}]},
        {"role": "user", "parts": [{"text": "4"}]},
    ]
    assert server.requests[0].signature_valid


@pytest.mark.parametrize("messages", [[*MESSAGES, {"role": "assistant", "content": "Hi"}], []])
def test_the_server_judges_the_history(
    provider: type[AIChatFree], server: ScriptedServer, messages: list[dict[str, str]]
) -> None:
    with pytest.raises(BadRequestError, match="last message"):
        in_one_task(provider, messages)
    assert len(server.requests) == 1


def test_only_what_the_protocol_carries_is_sent(provider: type[AIChatFree], ask: Ask, server: ScriptedServer) -> None:
    """The keywords that g4f was seen to pass."""
    extra = {
        "stream": True,
        "provider": provider,
        "max_tokens": 5,
        "stop": ["x"],
        "temperature": 0.5,
        "response_format": {"type": "json_object"},
        "media": [(b"...", "a.png")],
        "tools": [{}],
        "conversation": object(),
        "stream_timeout": 3,
        "ignored": [],
        "max_retries": None,
        "user": "u",
    }
    assert "".join(ask(provider, **extra)) == "Hello, wörld"
    assert set(server.requests[0].json) == {"messages", "time", "pass", "sign"}


def test_what_frameworks_pass_for_nothing_counts_as_not_given(provider: type[AIChatFree], ask: Ask) -> None:
    nothing = {"proxy": "", "base_url": None, "api_key": "", "password": "", "secret": "", "timeout": 0}
    assert "".join(ask(provider, **nothing)) == "Hello, wörld"


def test_content_that_is_no_text_is_refused_before_any_request(
    provider: type[AIChatFree], server: ScriptedServer
) -> None:
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:..."}}]}]
    with pytest.raises(InvalidRequestError, match=r"part 0 of messages\[0\]"):
        in_one_task(provider, picture)
    assert server.requests == []


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": "pw"},
        {"password": "pw"},
        {"password": "pw", "api_key": "other"},
        {"api_key": {"Here": "pw", "Elsewhere": "x"}},
    ],
)
def test_the_password(ask: Ask, given: dict[str, Any]) -> None:
    with ScriptedServer(password="pw") as server:
        server.default = Reply("in")

        class Here(AIChatFree):
            url = server.url

        with pytest.raises(InvalidPasswordError):
            ask(Here)
        with pytest.raises(InvalidPasswordError):
            ask(Here, api_key={"Elsewhere": "pw"})
        assert ask(Here, **given) == ["in"]


def test_the_secret(ask: Ask) -> None:
    with ScriptedServer(secret="s3cret") as server:
        server.default = Reply("in")
        assert ask(AIChatFree.using(server.url), secret="s3cret") == ["in"]
        assert ask(AIChatFree.using(server.url, secret="s3cret")) == ["in"]


def test_the_proxy(provider: type[AIChatFree], ask: Ask) -> None:
    with ProxyServer() as proxy:
        assert "".join(ask(provider, proxy=proxy.url)) == "Hello, wörld"
        assert len(proxy.targets) == 1


@pytest.mark.parametrize(("at", "phase"), [("before-answer", "first_byte"), ("in-body", "idle")])
def test_the_timeout(provider: type[AIChatFree], ask: Ask, server: ScriptedServer, at: Any, phase: str) -> None:
    for timeout in (0.1, Timeout(first_byte=0.1, idle=0.1)):
        server.enqueue(Reply("some", fault=Stall(at)))
        with pytest.raises(RequestTimeoutError) as caught:
            ask(provider, timeout=timeout)
        assert caught.value.phase == phase
        assert caught.value.partial == ("some" if phase == "idle" else "")
    server.wait_connections(0)


def test_a_timeout_that_is_no_number_is_refused(provider: type[AIChatFree]) -> None:
    with pytest.raises(InvalidRequestError, match="timeout"):
        in_one_task(provider, timeout="soon")


@pytest.mark.parametrize("name", errors.__all__)
def test_no_error_is_a_builtin_timeout_error(name: str) -> None:
    """g4f replaces every TimeoutError by one of its own, and what ours had to say is lost."""
    kind = getattr(errors, name)
    if isinstance(kind, type):
        assert not issubclass(kind, (TimeoutError, asyncio.TimeoutError))


def test_a_quota_is_an_error_at_once(provider: type[AIChatFree], ask: Ask, server: ScriptedServer) -> None:
    """The server asks to come back in a minute: it is the framework's to go elsewhere meanwhile."""
    server.enqueue(Reply.quota(retry_in=58.8))
    with pytest.raises(RateLimitError, match="Quota exceeded"):
        ask(provider)
    assert len(server.requests) == 1


def test_retries_are_there_for_the_asking(provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply.overloaded(), Reply.overloaded())
    with pytest.raises(OverloadedError):
        in_one_task(provider)
    patient = provider.using(retry=RetryPolicy(max_retries=1, initial_delay=0))
    assert "".join(in_one_task(patient)) == "Hello, wörld"
    assert len(server.requests) == 3


def test_a_reply_that_breaks_off_is_no_success(provider: type[AIChatFree], ask: Ask, server: ScriptedServer) -> None:
    server.enqueue(Reply("half", fault=Drop("in-body")))
    with pytest.raises(StreamInterruptedError) as caught:
        ask(provider)
    assert caught.value.partial == "half"
