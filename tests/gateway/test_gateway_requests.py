"""What a request may ask: parameters that are done, ignored and named, or refused; bodies that are none."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from aichatfree.gateway import LocalGateway
from aichatfree.testing import ScriptedServer

from .kit import CHAT, HELLO, Caller, error_of

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tools"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"response_format": "text"}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": True}, "n"),
        ({"n": "2"}, "n"),
        ({"n": 1.5}, "n"),
        ({"stream": 1}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "pope", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[1].role"),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
            "messages[1].tool_calls",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 4}, "model"),
        ({"model": "m" * 513}, "model"),
    ],
)
def test_what_cannot_be_had_is_refused_and_named(
    caller: Caller, server: ScriptedServer, more: dict[str, Any], param: str
) -> None:
    answer = caller.post(CHAT, {"model": "m", "messages": HELLO, **more})
    error = error_of(answer, 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert server.requests == []


@pytest.mark.parametrize("kind", ["image_url", "input_image", "input_audio", "file", "video"])
def test_parts_that_are_not_text_are_refused_and_named(caller: Caller, kind: str) -> None:
    part = {"type": kind, kind: {"url": "data:;base64,AAAA"}}
    error = error_of(caller.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]), 400)
    assert error["param"] == "messages[0].content[1]"
    assert kind in error["message"]


def test_what_says_nothing_is_no_obstacle(caller: Caller) -> None:
    nothing: dict[str, Any] = {
        "tools": [],
        "functions": [],
        "tool_choice": "none",
        "function_call": "auto",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "audio": None,
        "logprobs": False,
        "top_logprobs": None,
        "stop": None,
        "n": None,
        "stream": None,
        "stream_options": None,
        "temperature": None,
        "metadata": {},
        "logit_bias": {},
    }
    answer = caller.chat(**nothing)
    assert answer.status_code == 200
    assert "x-aichatfree-ignored" not in answer.headers


def test_tools_that_may_not_be_used_are_no_obstacle(caller: Caller) -> None:
    assert caller.chat(tools=[TOOL], tool_choice="none").status_code == 200
    assert caller.chat(functions=[{"name": "f"}], function_call="none").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_what_only_tunes_is_named_and_so_is_what_nobody_knows(caller: Caller, stream: bool) -> None:
    answer = caller.chat(stream=stream, temperature=0, max_tokens=5, seed=1, user="u", frobnicate=True)
    assert answer.status_code == 200
    assert answer.headers["x-aichatfree-ignored"] == "temperature, max_tokens, seed, user, frobnicate"


def test_names_that_are_unfit_for_a_header(caller: Caller) -> None:
    names = ["a\r\nSet-Cookie: x=1", "ä,b", "\ud800", "", "x" * 1000]
    answer = caller.chat(**dict.fromkeys(names, 1), **{f"p{number}": 1 for number in range(100)})
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    named = answer.headers["x-aichatfree-ignored"]
    assert named.isascii()
    assert len(named) < 2000
    assert named.startswith("a%0D%0ASet-Cookie%3A%20x%3D1, %C3%A4%2Cb, ")
    assert named.endswith(", ...")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{'model': 'm'}",
        b'{"model": "m", "messages": NaN}',
        b'{"model": "\xff"}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"n": ' + b"9" * 10_000 + b"}",
        "{}".encode("utf-16"),
    ],
)
def test_a_body_that_is_none(caller: Caller, body: bytes) -> None:
    answer = caller.session.post(caller.url + CHAT, data=body, timeout=20)
    assert error_of(answer, 400)["code"] == "invalid_json"


def test_a_byte_order_mark_and_any_content_type_are_taken(caller: Caller) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"model": "m", "messages": HELLO}).encode()
    for kind in ("application/json", "text/plain", "x"):
        answer = caller.session.post(caller.url + CHAT, data=body, headers={"Content-Type": kind}, timeout=20)
        assert answer.status_code == 200


def padded(size: int) -> bytes:
    body = json.dumps({"model": "m", "messages": HELLO, "stop": None}).encode()
    return body + b" " * (size - len(body))


def test_bodies_up_to_20_mib(caller: Caller) -> None:
    url = caller.url + CHAT
    assert caller.session.post(url, data=padded(20 << 20), timeout=20).status_code == 200
    answer = caller.session.post(url, data=padded((20 << 20) + 1), timeout=20)
    assert error_of(answer, 413)["code"] == "request_too_large"
    whole = padded((20 << 20) + 1)
    answer = caller.session.post(url, data=iter([whole[: 10 << 20], whole[10 << 20 :]]), timeout=20)
    assert error_of(answer, 413)["code"] == "request_too_large"
    packed = gzip.compress(padded((20 << 20) + 1))
    answer = caller.session.post(url, data=packed, headers={"Content-Encoding": "gzip"}, timeout=20)
    error_of(answer, 413)


def test_compressed_bodies(caller: Caller) -> None:
    url = caller.url + CHAT
    packed = gzip.compress(padded(1000))
    answer = caller.session.post(url, data=packed, headers={"Content-Encoding": "gzip"}, timeout=20)
    assert answer.status_code == 200
    answer = caller.session.post(url, data=b"not gzip", headers={"Content-Encoding": "gzip"}, timeout=20)
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/nope", "/chat", "/chat/completions/", "/embeddings", "/../v1", "/responses/x"])
def test_paths_that_are_none(caller: Caller, path: str) -> None:
    assert error_of(caller.get(path), 404)["code"] == "unknown_url"
    assert error_of(caller.post(path, {}), 404)["code"] == "unknown_url"


def test_methods_that_are_not_allowed(caller: Caller) -> None:
    answer = caller.get(CHAT)
    assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"
    answer = caller.post("/models", {})
    error_of(answer, 405)
    assert "GET" in answer.headers["allow"]
    error_of(caller.session.options(caller.url + CHAT, timeout=20), 405)


def test_only_named_models_exist_where_some_are_named(server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, models=["one", "org/two", "one"]) as gateway:
        caller = Caller(gateway)
        assert [model["id"] for model in caller.get("/models").json()["data"]] == ["one", "org/two"]
        assert caller.get("/models/org/two").json()["id"] == "org/two"
        error = error_of(caller.get("/models/three"), 404)
        assert (error["code"], error["param"], error["type"]) == ("model_not_found", "model", "invalid_request_error")
        for path, body in ((CHAT, {"messages": HELLO}), ("/responses", {"input": "x"})):
            assert caller.post(path, {"model": "one", **body}).json()["model"] == "one"
            error = error_of(caller.post(path, {"model": "three", **body}), 404)
            assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert len(server.requests) == 2


def test_the_label_of_the_client_is_listed(server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, model="my-label") as gateway:
        assert [model["id"] for model in Caller(gateway).get("/models").json()["data"]] == ["my-label"]
