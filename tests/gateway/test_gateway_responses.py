"""The Responses API on the wire."""

from __future__ import annotations

import time
from typing import Any

import pytest

from aichatfree.testing import Drop, Reply, ScriptedServer

from .kit import RESPONSES, Caller, error_of, events

WHOLE = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def test_a_whole_response(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Käse"]))
    answer = caller.respond(instructions="Be brief.")
    assert answer.status_code == 200
    found = answer.json()
    assert found["object"] == "response"
    assert found["id"].startswith("resp_")
    assert abs(found["created_at"] - time.time()) < 60
    assert (found["status"], found["error"], found["model"]) == ("completed", None, "m")
    assert found["instructions"] == "Be brief."
    assert found["store"] is False
    (item,) = found["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    assert item["content"] == [{"type": "output_text", "text": "Käse", "annotations": [], "logprobs": []}]
    assert found["usage"]["total_tokens"] == 0
    assert server.requests[-1].prompt == "Be brief.\n\nHello"


def test_a_streamed_response(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Kä", "se"], pause=0.05))
    found = events(caller.respond(stream=True))
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    kinds = [event["type"] for event in found]
    deltas = [event["delta"] for event in found if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "Käse"
    assert kinds == [*WHOLE[:4], *WHOLE[4:5] * len(deltas), *WHOLE[5:]]
    by_kind = dict(zip(kinds, found, strict=True))
    assert by_kind["response.created"]["response"]["status"] == "in_progress"
    assert by_kind["response.output_text.done"]["text"] == "Käse"
    assert by_kind["response.content_part.done"]["part"]["text"] == "Käse"
    last = by_kind["response.completed"]["response"]
    assert last["status"] == "completed"
    assert last["output"][0] == by_kind["response.output_item.done"]["item"]
    assert last["output"][0]["content"][0]["text"] == "Käse"
    (number,) = {event["response"]["id"] for event in found if "response" in event}
    assert number.startswith("resp_")
    (item,) = {event["item_id"] for event in found if "item_id" in event}
    assert item == last["output"][0]["id"]


def test_a_response_that_breaks_off(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Hel", "lo"], pause=0.05, fault=Drop()))
    found = events(caller.respond(stream=True))
    last = found[-1]
    assert last["type"] == "response.failed"
    assert last["sequence_number"] == len(found) - 1
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert "broke off" in last["response"]["error"]["message"]
    assert not {event["type"] for event in found} & set(WHOLE[5:])


def test_an_error_before_the_first_piece_has_a_status(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply.overloaded())
    assert error_of(caller.respond(stream=True), 503)["code"] == "overloaded"


def test_input_items(caller: Caller, server: ScriptedServer) -> None:
    items: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
        },
        {"role": "user", "content": "Why?"},
    ]
    assert caller.respond(input=items).status_code == 200
    sent: Any = server.requests[-1].contents
    texts = [(message["role"], "".join(part["text"] for part in message["parts"])) for message in sent]
    assert texts == [("user", "Be brief.\n\nHello"), ("model", "Hi"), ("user", "Why?")]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": ""}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content[0]"),
        ({"instructions": ["x"]}, "instructions"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "text.format"),
        ({"text": "json"}, "text"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"stream": "yes"}, "stream"),
        ({"model": None}, "model"),
    ],
)
def test_what_cannot_be_had_is_refused_and_named(caller: Caller, more: dict[str, Any], param: str) -> None:
    error = error_of(caller.respond(**more), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param.partition("[")[0].partition(".")[0] in error["message"]


def test_what_says_nothing_is_no_obstacle_and_what_only_tunes_is_named(caller: Caller) -> None:
    nothing: dict[str, Any] = {
        "previous_response_id": None,
        "background": False,
        "store": False,
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}},
        "instructions": None,
        "metadata": {},
        "reasoning": None,
    }
    answer = caller.respond(**nothing)
    assert answer.status_code == 200
    assert "x-aichatfree-ignored" not in answer.headers
    answer = caller.respond(
        temperature=0.5, max_output_tokens=9, reasoning={"effort": "low"}, truncation="auto", stream_options={}
    )
    assert answer.headers["x-aichatfree-ignored"] == "temperature, max_output_tokens, reasoning, truncation"


def test_nothing_is_stored(caller: Caller) -> None:
    number = caller.respond().json()["id"]
    assert error_of(caller.get(f"{RESPONSES}/{number}"), 404)["code"] == "unknown_url"
