"""Chat completions: what is asked of them, and the form of their answers. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .asked import Asked, Parameters, unsupported
from .messages import messages_of_chat
from .problems import Problem

__all__ = ["ChunkWriter", "ask", "completion"]

MAX_COUNT = 8
USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""The protocol counts no tokens."""


def ask(given: Mapping[str, Any]) -> Asked:
    """Understand the body of a ``POST /v1/chat/completions``.

    Raises:
        Problem: It asks for what cannot be had, or is no such request.
    """
    parameters = Parameters(given)
    model = parameters.model()
    messages = messages_of_chat(parameters.take("messages"))
    options = parameters.take_typed("stream_options", dict, "an object") or {}
    include_usage = options.get("include_usage")
    if include_usage not in (None, True, False):
        name = "stream_options.include_usage"
        raise Problem(400, f"{name} must be true or false.", param=name, code="invalid_type")
    parameters.tools("tools", "tool_choice")
    parameters.tools("functions", "function_call")
    _refuse(parameters)
    return Asked(
        model=model,
        messages=messages,
        stream=bool(parameters.take_typed("stream", bool, "true or false")),
        stop=parameters.stop(),
        count=parameters.count(MAX_COUNT),
        include_usage=bool(include_usage),
        ignored=parameters.ignored(),
    )


def _refuse(parameters: Parameters) -> None:
    response_format = parameters.take("response_format")
    if response_format is not None and response_format != {"type": "text"}:
        raise unsupported("response_format", "A response format other than text")
    modalities = parameters.take("modalities")
    if modalities not in (None, [], ["text"]):
        raise unsupported("modalities", "Output other than text")
    parameters.refuse("audio", "Output other than text")
    parameters.refuse("logprobs", "The output of log probabilities")
    parameters.refuse("top_logprobs", "The output of log probabilities")
    if parameters.take("web_search_options") is not None:
        raise unsupported("web_search_options", "A search of the web")


def completion(number: str, created: int, asked: Asked, texts: Sequence[str]) -> dict[str, Any]:
    """The object of a completion that is not streamed."""
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
        for index, text in enumerate(texts)
    ]
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": created,
        "model": asked.model,
        "choices": choices,
        "usage": USAGE,
        "system_fingerprint": None,
    }


class ChunkWriter:
    """The events of a streamed completion, as the bytes that go out.

    All that stays the same from piece to piece is written once.

    Args:
        number: What is unique of its id.
        created: Seconds since the epoch.
        asked: The request.
    """

    def __init__(self, number: str, created: int, asked: Asked) -> None:
        self._usage = ',"usage":null' if asked.include_usage else ""
        self._include_usage = asked.include_usage
        head = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": asked.model,
            "system_fingerprint": None,
        }
        self._head = f"data: {json.dumps(head, separators=(',', ':'))[:-1]},"
        self._contents = [
            f'{self._head}"choices":[{{"index":{index},"delta":{{"content":' for index in range(asked.count)
        ]
        self._tail = f'}},"logprobs":null,"finish_reason":null}}]{self._usage}}}\n\n'
        self._count = asked.count

    def begin(self) -> bytes:
        """The role of each choice, which comes first."""
        return b"".join(
            self._chunk(index, '{"role":"assistant","content":"","refusal":null}', "null")
            for index in range(self._count)
        )

    def piece(self, index: int, text: str) -> bytes:
        """A piece of the text of a choice."""
        # All that is not ASCII is escaped: some clients take U+2028 and its like for the end of a line.
        return f"{self._contents[index]}{json.dumps(text)}{self._tail}".encode()

    def finish(self, index: int) -> bytes:
        """The end of a choice that is whole."""
        return self._chunk(index, "{}", '"stop"')

    def end(self) -> bytes:
        """The end of the stream, all of whose choices are whole."""
        usage = f'{self._head}"choices":[],"usage":{json.dumps(USAGE)}}}\n\n' if self._include_usage else ""
        return f"{usage}data: [DONE]\n\n".encode()

    def fail(self, problem: Problem) -> bytes:
        """The end of a stream that is not whole."""
        return f"data: {json.dumps(problem.body())}\n\n".encode()

    def _chunk(self, index: int, delta: str, reason: str) -> bytes:
        choice = f'{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{reason}}}'
        return f'{self._head}"choices":[{choice}]{self._usage}}}\n\n'.encode()
