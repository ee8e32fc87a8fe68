"""The Responses API: what is asked of it, and the form of its answers and events. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .asked import Asked, Parameters, unsupported
from .messages import messages_of_input
from .problems import Problem

__all__ = ["EventWriter", "ask", "response"]

USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}
"""The protocol counts no tokens."""


def ask(given: Mapping[str, Any]) -> Asked:
    """Understand the body of a ``POST /v1/responses``.

    Raises:
        Problem: It asks for what cannot be had, or is no such request.
    """
    parameters = Parameters(given)
    model = parameters.model()
    _refuse(parameters)
    messages = messages_of_input(parameters.take("input"))
    instructions: str | None = parameters.take_typed("instructions", str, "a string")
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    parameters.take_typed("stream_options", dict, "an object")  # there is nothing in it for this server to leave out
    return Asked(
        model=model,
        messages=messages,
        stream=bool(parameters.take_typed("stream", bool, "true or false")),
        stop=parameters.stop(),
        instructions=instructions,
        ignored=parameters.ignored(),
    )


def _refuse(parameters: Parameters) -> None:
    parameters.refuse("previous_response_id", "The continuation of a stored response")
    parameters.refuse("conversation", "The continuation of a stored conversation")
    parameters.refuse("prompt", "A stored prompt")
    parameters.refuse("background", "A response in the background")
    # Nothing is stored, and every answer says so. Only who asks for it in so many words is refused: the API's own
    # default would be to store, and hardly anybody who leaves it out looks a response up again.
    parameters.refuse("store", "The storage of responses")
    parameters.tools("tools", "tool_choice")
    parameters.refuse("top_logprobs", "The output of log probabilities")
    include = parameters.take("include")
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        raise unsupported("include", "The output of log probabilities")
    text = parameters.take_typed("text", dict, "an object") or {}
    if text.get("format") not in (None, {"type": "text"}):
        raise unsupported("text.format", "A response format other than text")


def response(number: str, created: int, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
    """The object of a response that is not streamed; it has but one text."""
    item = _item(number, "completed", [_part(texts[0])])
    return _response(number, created, asked, "completed", [item], USAGE)


class EventWriter:
    """The events of a streamed response, as the bytes that go out.

    Args:
        number: What is unique of its ids.
        created: Seconds since the epoch.
        asked: The request.
    """

    def __init__(self, number: str, created: int, asked: Asked) -> None:
        self._number = number
        self._created = created
        self._asked = asked
        self._sequence = 0
        self._pieces: list[str] = []
        place = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0}
        self._place = place
        kind = "response.output_text.delta"
        head = json.dumps({"type": kind, **place, "logprobs": []})[:-1]
        self._delta = f'event: {kind}\ndata: {head}, "delta": '

    def begin(self) -> bytes:
        """What comes before the text."""
        started = _response(self._number, self._created, self._asked, "in_progress", [], None)
        return b"".join(
            [
                self._event("response.created", {"response": started}),
                self._event("response.in_progress", {"response": started}),
                self._event(
                    "response.output_item.added",
                    {"output_index": 0, "item": _item(self._number, "in_progress", [])},
                ),
                self._event("response.content_part.added", {**self._place, "part": _part("")}),
            ]
        )

    def piece(self, index: int, text: str) -> bytes:
        """A piece of the text; there is but one output, so ``index`` is 0."""
        self._pieces.append(text)
        number = self._sequence
        self._sequence += 1
        # All that is not ASCII is escaped: some clients take U+2028 and its like for the end of a line.
        return f'{self._delta}{json.dumps(text)}, "sequence_number": {number}}}\n\n'.encode()

    def finish(self, index: int) -> bytes:
        """The end of the text, which is whole."""
        text = "".join(self._pieces)
        item = _item(self._number, "completed", [_part(text)])
        return b"".join(
            [
                self._event("response.output_text.done", {**self._place, "text": text, "logprobs": []}),
                self._event("response.content_part.done", {**self._place, "part": _part(text)}),
                self._event("response.output_item.done", {"output_index": 0, "item": item}),
            ]
        )

    def end(self) -> bytes:
        """The end of the stream, whose text is whole."""
        whole = response(self._number, self._created, self._asked, ["".join(self._pieces)])
        return self._event("response.completed", {"response": whole})

    def fail(self, problem: Problem) -> bytes:
        """The end of a stream that is not whole."""
        failed = _response(self._number, self._created, self._asked, "failed", [], None)
        code = "rate_limit_exceeded" if problem.status == 429 else "server_error"
        failed["error"] = {"code": code, "message": problem.message}
        return self._event("response.failed", {"response": failed})

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(number: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": f"msg_{number}", "type": "message", "status": status, "role": "assistant", "content": content}


def _response(
    number: str,
    created: int,
    asked: Asked,
    status: str,
    output: list[dict[str, Any]],
    usage: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": None,
        "metadata": {},
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
    }
