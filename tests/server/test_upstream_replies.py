"""What the three upstreams send, and what they make of whole replies."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from aichatfree.server import Gemini, Ollama, OpenAICompatible
from aichatfree.server.failures import BlockedError, UpstreamError, current_note
from aichatfree.server.upstreams import wording
from aichatfree.server.upstreams.reply import Reply

from .standin import (
    HEAD,
    KINDS,
    MESSAGES,
    Answer,
    Kind,
    Peer,
    StandIn,
    chunk,
    gemini,
    lines,
    ollama,
    openai,
    plain,
    read,
    sse,
    stream,
)

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text} for text in texts]}


def model(*texts: str) -> dict[str, Any]:
    return {"role": "model", "parts": [{"text": text} for text in texts]}


def asked(make: Callable[[str], Any], answer: Answer, messages: list[dict[str, Any]] = MESSAGES) -> tuple[str, Peer]:
    """The reply of an upstream, and the request that it sent."""

    async def main() -> tuple[str, Peer]:
        async with StandIn(answer) as server:
            upstream = make(server.url)
            text = "".join(await read(upstream, messages))
            await upstream.aclose()
            return text, server.requests[0]

    return asyncio.run(main())


def said(kind: str, *pieces: bytes) -> str:
    """The reply made of these events."""
    return asked(next(each for each in KINDS if each.name == kind).make, stream(*pieces))[0]


# --- Requests


def test_what_gemini_is_sent() -> None:
    history = [
        user("Hel", "lo"),
        user("again"),
        model("Hi"),
        model("", "!"),
        model(),
        user("Go on \ud83d\ude00 \ud800"),
    ]
    make = lambda url: Gemini(  # noqa: E731
        "secret-key", base_url=url, model="gemini-x", system="Be brief.", temperature=0, max_tokens=7
    )
    text, request = asked(make, KINDS[0].reply("Well."), history)
    assert text == "Well."
    assert (request.method, request.path) == ("POST", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse")
    assert request.headers["x-goog-api-key"] == "secret-key"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.json == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hello\n\nagain"}]},
            {"role": "model", "parts": [{"text": "Hi\n\n!"}]},
            {"role": "user", "parts": [{"text": "Go on 😀 \ufffd"}]},
        ],
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"},
            {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"},
            {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "threshold": "BLOCK_NONE"},
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "threshold": "BLOCK_NONE"},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"temperature": 0, "maxOutputTokens": 7},
    }


def test_what_an_openai_server_is_sent() -> None:
    make = lambda url: OpenAICompatible(  # noqa: E731
        f"{url}/v1/", model="org/m:free", api_key="secret-key", system="Be brief.", temperature=0.5, max_tokens=7
    )
    _, request = asked(make, KINDS[1].reply("Well."), [user("a"), model("b"), user("c")])
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer secret-key"
    assert request.json == {
        "model": "org/m:free",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "stream": True,
        "temperature": 0.5,
        "max_tokens": 7,
    }


def test_what_ollama_is_sent() -> None:
    make = lambda url: Ollama(url, model="llama3.2", system="Be brief.", temperature=0, max_tokens=7)  # noqa: E731
    _, request = asked(make, KINDS[2].reply("Well."), [user("a"), model("b"), user("c")])
    assert (request.method, request.path) == ("POST", "/api/chat")
    assert request.json == {
        "model": "llama3.2",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "stream": True,
        "options": {"temperature": 0, "num_predict": 7},
    }


@every_kind
@pytest.mark.parametrize("system", [None, ""])
def test_what_is_not_given_is_not_sent(kind: Kind, system: str | None) -> None:
    _, request = asked(lambda url: kind.make(url, system=system), kind.reply("x"))
    needed = {"gemini": {"contents", "safetySettings"}, "openai": {"model", "messages", "stream"}}
    assert set(request.json) == needed.get(kind.name, needed["openai"])
    assert "Hi" in str(request.json)
    assert "system" not in str(request.json)
    assert kind.name == "gemini" or "authorization" not in request.headers


def test_a_version_in_the_address_and_a_prefix_in_the_name() -> None:
    make = lambda url: Gemini("k", base_url=f"{url}/proxy/v1beta/", model="tunedModels/my-own")  # noqa: E731
    _, request = asked(make, KINDS[0].reply("x"))
    assert request.path == "/proxy/v1beta/tunedModels/my-own:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("kind", KINDS[1:], ids=repr)
def test_a_user_in_the_address_is_sent_as_basic_credentials(kind: Kind) -> None:
    _, request = asked(lambda url: kind.make(url.replace("//", "//me:p%40ss@")), kind.reply("x"))
    assert request.headers["authorization"] == "Basic bWU6cEBzcw=="


@every_kind
def test_a_role_that_is_none_and_a_history_without_text(kind: Kind) -> None:
    async def main() -> None:
        upstream = kind.make("http://127.0.0.1:1")  # nothing is asked
        for messages in ([{"role": "function", "parts": [{"text": "x"}]}], [user("")], []):
            with pytest.raises(UpstreamError) as caught:
                await read(upstream, messages)
            assert caught.value.status == 400
            assert not caught.value.message.startswith("[")

    asyncio.run(main())


# --- Replies


@every_kind
def test_a_reply_comes_in_as_it_is_made(kind: Kind) -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def answer(peer: Peer) -> None:
            first, *rest = kind.pieces("one ", "two 好", finish=True)
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(first))
            await more.wait()
            await peer.send(b"".join(map(chunk, rest)) + b"0\r\n\r\n")

        async with StandIn(answer) as server:
            upstream = kind.make(server.url)
            pieces = upstream(MESSAGES)
            assert await anext(pieces) == "one "
            more.set()
            assert [piece async for piece in pieces] == ["two 好"]
            assert "".join(await read(upstream)) == "one two 好"
            assert server.connections == 1, "the connection is kept"
            await upstream.aclose()

    asyncio.run(main())


@every_kind
def test_framings_and_networks_that_cut_anywhere(kind: Kind) -> None:
    body = b"".join(kind.pieces("naïve ", "好的 ", "😀."))

    async def close_delimited(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        peer.writer.close()

    async def bytewise(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(len(body)):
            await peer.send(chunk(body[at : at + 1]))
            await asyncio.sleep(0)
        await peer.send(b"0\r\n\r\n")

    for answer in (plain("200 OK", body), close_delimited, bytewise):
        assert asked(kind.make, answer)[0] == "naïve 好的 😀."


def test_every_part_of_every_event_but_no_thoughts() -> None:
    thought = {"candidates": [{"content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "A"}]}}]}
    two = gemini("D")
    two["candidates"].append({"index": 1, "content": {"parts": [{"text": "another"}]}, "finishReason": "STOP"})
    two["candidates"].insert(0, {"index": 2, "content": {"parts": [{"text": "a third"}]}})
    usage = {"usageMetadata": {"totalTokenCount": 3}, "modelVersion": "x"}
    odd = {"candidates": [{"index": 0, "content": {"role": "model"}}, None], "promptFeedback": {}}
    code = {"candidates": [{"content": {"parts": [{"executableCode": {"code": "1"}}, {"text": None}]}}]}
    events = sse(thought, gemini("B", "C"), usage, {}, odd, code, two, gemini("", "E", finish="STOP"), usage)
    assert said("gemini", *events) == "ABCDE"
    assert said("gemini", *sse(gemini("a", finish="STOP"), gemini("b", finish="STOP"))) == "ab"


def test_the_first_choice_without_its_reasoning() -> None:
    two = openai("C")
    two["choices"].insert(0, {"index": 1, "delta": {"content": "another"}, "finish_reason": "stop"})
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "D"}]
    events = [
        openai(role="assistant"),
        openai("", reasoning_content="Hm."),
        openai("A", reasoning="Hm.", tool_calls=None, refusal=None),
        {"choices": None},
        {},
        openai("B", finish=""),
        two,
        openai(parts),  # type: ignore[arg-type]
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        usage,
        "[DONE]",
    ]
    assert said("openai", *sse(*events)) == "ABCD"


def test_ollama_without_its_thinking() -> None:
    events = lines(
        ollama(thinking="Hm."), ollama("A"), {"message": {"content": "B"}, "done": False}, ollama(done="stop")
    )
    assert said("ollama", *events) == "AB"
    assert said("ollama", *lines({**ollama("A"), "done": True})) == "A", "older ones give no reason"


@every_kind
def test_an_answer_that_is_not_a_stream(kind: Kind) -> None:
    documents: dict[str, list[Any]] = {
        "gemini": [gemini("A", "B", finish="STOP"), [gemini("A"), gemini("B", finish="STOP")]],
        "openai": [{"choices": [{"index": 0, "message": {"content": "AB"}, "finish_reason": "stop"}]}],
        "ollama": [{**ollama("AB", done="stop")}],
    }
    for document in documents[kind.name]:
        assert asked(kind.make, plain("200 OK", document, "Content-Type: application/json"))[0] == "AB"


@every_kind
def test_characters_whose_halves_come_in_two_events(kind: Kind) -> None:
    assert said(kind.name, *kind.pieces("a\ud83d", "\ude00b\ud800", "c\udc00\ud83d", "\ude00")) == "a😀b\ufffdc\ufffd😀"
    assert said(kind.name, *kind.pieces("a\ud83d")) == "a\ufffd"


# --- Ends


LENGTHS = {
    "gemini": sse(gemini("Half"), gemini("", finish="MAX_TOKENS")),
    "openai": sse(openai("Half"), openai(finish="length"), "[DONE]"),
    "ollama": lines(ollama("Half"), ollama(done="length")),
}


@every_kind
def test_the_token_limit_is_an_end_that_the_log_knows(kind: Kind) -> None:
    async def main() -> None:
        notes: list[str] = []
        async with StandIn(stream(*LENGTHS[kind.name])) as server:
            upstream = kind.make(server.url)
            assert await read(upstream) == ["Half"], "without a log"
            current_note.set(notes.append)
            assert await read(upstream) == ["Half"]
            await upstream.aclose()
        assert notes == ["stopped at the token limit"]

    asyncio.run(main())


def fails(kind: str, *pieces: bytes) -> tuple[list[str], UpstreamError]:
    """What came before the failure, and the failure."""

    async def main() -> tuple[list[str], UpstreamError]:
        async with StandIn(stream(*pieces)) as server:
            upstream = next(each for each in KINDS if each.name == kind).make(server.url)
            got: list[str] = []
            with pytest.raises(UpstreamError) as caught:
                async for piece in upstream(MESSAGES):
                    got.append(piece)
            await upstream.aclose()
            return got, caught.value

    return asyncio.run(main())


@every_kind
def test_no_finish_marker_is_a_failure(kind: Kind) -> None:
    got, error = fails(kind.name, *kind.pieces("Half a ", "sentence", finish=False))
    assert "".join(got) == "Half a sentence"
    assert error.reason == "the stream ended without its finish marker"
    assert error.status == 200
    assert fails(kind.name)[0] == []


def test_done_alone_is_no_finish_marker() -> None:
    got, error = fails("openai", *sse(openai("Half"), openai(finish=None), "[DONE]"))
    assert got == ["Half"]
    assert "finish marker" in error.reason
    assert fails("gemini", *sse(gemini("Half", finish="FINISH_REASON_UNSPECIFIED")))[0] == ["Half"]
    assert fails("ollama", *lines({**ollama("Half"), "done": "yes"}))[0] == ["Half"]


BLOCKS = [
    *[
        ("gemini", gemini("", finish=reason), reason)
        for reason in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII")
    ],
    ("gemini", {"promptFeedback": {"blockReason": "OTHER"}}, "OTHER"),
    ("openai", openai(finish="content_filter"), "content_filter"),
    ("openai", openai(refusal="I cannot"), "refusal"),
]


@pytest.mark.parametrize(("kind", "event", "reason"), BLOCKS)
def test_blocks_name_their_reason(kind: str, event: dict[str, Any], reason: str) -> None:
    piece = gemini("Half") if kind == "gemini" else openai("Half")
    for before in ([], [piece]):
        got, error = fails(kind, *sse(*before, event))
        assert got == ["Half"] * len(before)
        assert isinstance(error, BlockedError)
        assert error.reason.endswith(f"blocked: {reason}")
        assert "cannot" not in str(error)


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("gemini", gemini("more", finish="OTHER")),
        ("gemini", gemini("more", finish="MALFORMED_FUNCTION_CALL")),
        ("openai", openai("more", finish="error")),
        ("openai", openai("more", finish="abort")),
        ("openai", openai("more", finish="insufficient_system_resource")),
        ("ollama", ollama("more", done="unload")),
    ],
)
def test_ends_that_are_failures(kind: str, event: dict[str, Any]) -> None:
    got, error = fails(kind, *(lines(event) if kind == "ollama" else sse(event)))
    assert got == ["more"]
    assert not isinstance(error, BlockedError)
    assert error.message.startswith("[GoogleGenerativeAI Error]")


@every_kind
def test_what_no_api_says_is_a_failure(kind: Kind) -> None:
    number = {"gemini": gemini(5), "openai": openai(5), "ollama": ollama(5)}[kind.name]  # type: ignore[arg-type]
    write = lines if kind.name == "ollama" else sse
    for wrong in (*write(number), *write([[1]]), b"data: {oops\n\n" if write is sse else b"{oops\n", *write(7)):
        got, error = fails(kind.name, *kind.pieces("Half", finish=False), wrong, *kind.pieces("rest"))
        assert got == ["Half"], wrong
        assert error.message.startswith("[GoogleGenerativeAI Error]")
        assert "oops" not in str(error) + error.message


@every_kind
def test_what_follows_the_marker_does_not_break_a_whole_reply(kind: Kind) -> None:
    async def cut(peer: Peer) -> None:
        pieces = kind.pieces("Whole.") if kind.name != "openai" else sse(openai("Whole.", finish="stop"))
        await peer.send(stream(*pieces, b"data: {", end=b"40\r\n"))
        peer.reset()

    assert asked(kind.make, cut)[0] == "Whole."


def test_a_marker_in_every_event_says_nothing_of_the_end() -> None:
    async def cut(peer: Peer) -> None:
        for text in ("one ", "two "):
            await peer.send((HEAD if text == "one " else b"") + chunk(sse(gemini(text, finish="STOP"))[0]))
            await taken.acquire()
        peer.reset()

    async def main() -> None:
        async with StandIn(cut) as server:
            upstream = KINDS[0].make(server.url)
            with pytest.raises(UpstreamError) as caught:
                async for _ in upstream(MESSAGES):
                    taken.release()
            assert caught.value.reason == "the connection was cut in the middle of the answer"
            await upstream.aclose()

    taken = asyncio.Semaphore(0)
    asyncio.run(main())


def test_a_marker_and_a_connection_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    from aichatfree.server.upstreams import base

    monkeypatch.setattr(base, "MARKED_SECONDS", 0.05)
    for kind in KINDS:
        assert asked(kind.make, stream(*kind.pieces("Whole."), end=b""))[0] == "Whole."
    assert asked(KINDS[1].make, stream(*sse(openai("Whole.", finish="stop")), end=b""))[0] == "Whole."


# --- Whatever an upstream may say

VALUES = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "STOP",
    "\ud83d",
    [],
    [[]],
    {},
    {"a": 1},
    ["x", None],
    {"message": []},
]
KEYS = ["error", "message", "detail", "code", "status", "details", "object", "done", "choices", "candidates", "type"]


def damaged(value: Any, rng: random.Random) -> Any:
    """A JSON value with something in it replaced, added or taken away."""
    if rng.random() < 0.15:
        return rng.choice(VALUES)
    if isinstance(value, dict):
        found = {key: damaged(each, rng) for key, each in value.items() if rng.random() > 0.05}
        if rng.random() < 0.2:
            found[rng.choice(KEYS)] = rng.choice(VALUES)
        return found
    if isinstance(value, list):
        return [damaged(each, rng) for each in value for _ in range(rng.choice([1, 1, 1, 1, 0, 2]))]
    return value


@every_kind
@pytest.mark.parametrize("seed", range(5))
def test_events_of_any_shape_are_a_reply_or_a_failure(kind: Kind, seed: int) -> None:
    rng = random.Random(seed)
    upstream = kind.make("http://127.0.0.1:1")
    errors = {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE", "details": [{"retryDelay": "2s"}]}}
    whole = {"gemini": [gemini("a"), gemini("b", finish="STOP")], "openai": [openai("a"), openai("b", finish="stop")]}
    for _ in range(400):
        events = [
            damaged(each, rng) for each in [*whole.get(kind.name, [ollama("a"), ollama("b", done="stop")]), errors]
        ]
        start = b"" if kind.name == "ollama" else b"data: "
        body = b"".join(start + json.dumps(each).encode() + b"\n\n" for each in events)
        if rng.random() < 0.3:
            at = rng.randrange(len(body))
            body = body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
        reply = Reply(upstream.decoder(), upstream._read, upstream._redact)
        failure = reply.feed(body) or (None if reply.last else reply.feed(b""))
        assert failure is None or (failure.message.encode() and failure.reason.encode())
        assert reply.text(end=True).encode() is not None
        refused = wording.refusal(400 + rng.randrange(200), "x", {}, body, redact=str, now=0.0)
        assert len(refused.message.encode()) < 4000
