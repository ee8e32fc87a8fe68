"""Chat completions on the wire: whole ones, streamed ones, several at once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

from .kit import Caller, content, error_of, events, reasons


def test_a_whole_completion(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Käse ", "und\u2028Brot"]))
    before = int(time.time())
    answer = caller.chat()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert "Server" not in answer.headers
    found = answer.json()
    assert found.pop("id").startswith("chatcmpl-")
    assert before <= found.pop("created") <= time.time()
    assert found == {
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Käse und\u2028Brot", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "system_fingerprint": None,
    }
    assert server.requests[-1].prompt == "Hello"


def test_a_streamed_completion(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Kä", "se\u2028\u0085", "\n🧀"], pause=0.02))
    answer = caller.chat(stream=True)
    found = events(answer)
    assert answer.text.isascii(), "some clients take U+2028 and U+0085 for the end of a line"
    assert found.pop() == {"done": True}
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert {"role" in event["choices"][0]["delta"] for event in found[1:]} == {False}
    assert content(found) == "Käse\u2028\u0085\n🧀"
    assert reasons(found) == ["stop"]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    (shared,) = {(event["id"], event["object"], event["created"], event["model"]) for event in found}
    assert shared[1] == "chat.completion.chunk"
    assert isinstance(shared[2], int)
    assert "usage" not in found[0]


def test_pieces_go_out_as_they_come(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["first", Pause(None)]))
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with caller.post("/chat/completions", body, stream=True) as answer:
        lines = answer.iter_lines()
        assert any(b"first" in line for line in lines)  # while the server is still busy
    server.wait_idle()


def test_usage_is_a_chunk_of_zeros_where_it_is_asked_for(caller: Caller) -> None:
    found = events(caller.chat(stream=True, stream_options={"include_usage": True}))
    assert found.pop() == {"done": True}
    last = found.pop()
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert {event["usage"] for event in found} == {None}


@pytest.mark.parametrize("model", ['a"b', "a%db%s{0}", "ä\u2028", "\ud800", "x/y:z"])
def test_the_model_is_echoed_whatever_its_name(caller: Caller, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    assert caller.post("/chat/completions", body).json()["model"] == model
    found = events(caller.post("/chat/completions", {**body, "stream": True}))
    assert found[0]["model"] == found[1]["model"] == model


def test_several_replies_at_once(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(*(Reply([f"<{number}", f"{number}>"], pause=0.02) for number in range(8)))
    choices = caller.chat(n=8).json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(8))
    assert {choice["message"]["content"] for choice in choices} == {f"<{number}{number}>" for number in range(8)}
    assert {choice["finish_reason"] for choice in choices} == {"stop"}
    server.enqueue(*(Reply([f"<{number}", f"{number}>"], pause=0.02) for number in range(8)))
    found = events(caller.chat(n=8, stream=True, stream_options={"include_usage": True}))
    assert {content(found, index) for index in range(8)} == {f"<{number}{number}>" for number in range(8)}
    assert reasons(found) == ["stop"] * 8
    assert found[-1] == {"done": True}
    assert [event["choices"][0]["delta"]["role"] for event in found[:8]] == ["assistant"] * 8


def test_several_replies_of_which_one_fails_before_its_first_piece(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", Pause(None)]), Reply.quota())
    assert error_of(caller.chat(n=2, stream=True), 429)["code"] == "rate_limit_exceeded"
    server.wait_idle()  # the other call was ended


def test_several_replies_of_which_one_breaks_off(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["whole"]), Reply(["cut", Pause(0.2)], fault=Drop()))
    found = events(caller.chat(n=2, stream=True))
    assert "error" in found[-1]
    assert len(reasons(found)) == 1
    assert {"done": True} not in found


@pytest.mark.parametrize("role", ["system", "developer"])
def test_roles_and_parts(caller: Caller, server: ScriptedServer, role: str) -> None:
    messages = [
        {"role": role, "content": [{"type": "text", "text": "Be "}, {"type": "input_text", "text": "brief."}]},
        {"role": "user", "content": "Hello", "name": "ann"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "!"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]
    assert caller.chat(messages=messages).status_code == 200
    sent: Any = server.requests[-1].contents
    assert [message["role"] for message in sent] == ["user", "model", "user"]
    texts = ["".join(part["text"] for part in message["parts"]) for message in sent]
    assert texts == ["Be brief.\n\nHello", "Hi!\n\nNo.", "Why?"]


def test_messages_that_say_nothing_are_no_obstacle(caller: Caller, server: ScriptedServer) -> None:
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "b"},
    ]
    assert caller.chat(messages=messages).status_code == 200
    assert server.requests[-1].prompt == "a\n\nb"


def test_models(caller: Caller) -> None:
    listed = caller.get("/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["gemini-1.5-pro"]
    one = caller.get("/models/org/any%20name").json()
    assert one["id"] == "org/any name"
    assert (one["object"], one["owned_by"]) == ("model", "aichatfree")
    assert isinstance(one["created"], int)
