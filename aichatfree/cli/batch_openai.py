"""Lines of the OpenAI Batch API, so that files made for that service run here unchanged.

A line asks with ``custom_id``, ``method``, ``url`` and ``body``; it is answered with ``id``, ``custom_id``,
``response`` (``status_code``, ``request_id``, ``body``) and ``error``. What the protocol cannot carry and only tunes
the reply, such as ``temperature``, is left out; what would change its meaning makes the line one that cannot be asked.
"""

from __future__ import annotations

import re
import time
from typing import Any

from ..errors import (
    AIChatFreeError,
    APIError,
    AuthenticationError,
    BadRequestError,
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
)
from .batch_line import Ask, BadLineError, Line

URL = "/v1/chat/completions"
ID = re.compile(r"batch_req_(\d{1,18})_([0-9a-f]{16}(?:-[0-9a-f]{8})?)")
"""The ``id`` of an answer holds what this program needs to go on after an interruption: line and digest."""

_ROLES = {"developer": "system"}


def read_request(line: Line, value: dict[str, Any]) -> Ask:
    """What a line asks.

    Args:
        line: The line.
        value: Its JSON.

    Raises:
        BadLineError: It cannot be asked here; the text says why.
    """
    name, body = value["custom_id"], value.get("body")
    where = f"line {line.number}"
    ask = Ask(name if isinstance(name, str) else str(line.number), body=body if isinstance(body, dict) else {})
    if not isinstance(name, str) or not name:
        raise BadLineError(f'"custom_id" in {where} must be a text', ask)
    if value.get("method", "POST") != "POST":
        raise BadLineError(f'"method" in {where} must be POST', ask)
    url = value.get("url", URL)
    if url != URL:
        raise BadLineError(f'"url" in {where} is {url!r}: only {URL} can be asked here', ask)
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise BadLineError(f'{where} needs a "body" with "messages", a list', ask)
    if problem := _problem(body):
        raise BadLineError(f"{where}: {problem}", ask)
    return Ask(name, [_message(line, message, ask) for message in body["messages"]], body=body)


def _problem(body: dict[str, Any]) -> str | None:
    """What of a request would change its meaning and cannot be carried."""
    if (body.get("tools") or body.get("functions")) and body.get("tool_choice") != "none":
        return '"tools" cannot be called through this protocol: leave them out'
    form = body.get("response_format")
    if form is not None and (not isinstance(form, dict) or form.get("type", "text") != "text"):
        return '"response_format" must be text: this protocol carries text only'
    if body.get("n") not in (None, 1):
        return '"n" must be 1: write a line for each reply'
    stop = body.get("stop")
    if stop is not None and not (isinstance(stop, str) or _all(stop, str)):
        return '"stop" must be a text or a list of texts'
    return None


def _message(line: Line, message: object, ask: Ask) -> object:
    """A message in our terms; a strange one stays as it is, to be refused by the client's own words."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            kind = part.get("type", "text") if isinstance(part, dict) else "text"
            if kind != "text":
                raise BadLineError(
                    f"line {line.number} has a part of type {kind!r}: this protocol carries text only", ask
                )
    role = message.get("role")
    return {"role": _ROLES.get(role, role) if isinstance(role, str) else role, "content": content}


def answer(ask: Ask, number: int, digest: str, text: str | None, error: AIChatFreeError | None) -> dict[str, Any]:
    """The line that answers one.

    Args:
        ask: What was asked.
        number: The line's number.
        digest: The line's digest.
        text: The reply.
        error: Why there is none.
    """
    body = ask.body or {}
    name = f"batch_req_{number}_{digest}"
    if error is not None:
        status = _status(error)
        problem = {"message": str(error), "type": _kind(status), "param": None, "code": type(error).__name__}
        return {
            "id": name,
            "custom_id": ask.name,
            "response": {"status_code": status, "request_id": name, "body": {"error": problem}},
            "error": {"code": type(error).__name__, "message": str(error)},
        }
    completion = {
        "id": f"chatcmpl-{digest[:16]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model") if isinstance(body.get("model"), str) else "",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _until_stop(text or "", body.get("stop"))},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    response = {"status_code": 200, "request_id": name, "body": completion}
    return {"id": name, "custom_id": ask.name, "response": response, "error": None}


def _until_stop(text: str, stop: object) -> str:
    """A reply as far as the first stop sequence."""
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    places = [text.find(one) for one in stops if one]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def _status(error: AIChatFreeError) -> int:
    """The status with which that service would have answered."""
    if isinstance(error, RateLimitError):
        return 429
    if isinstance(error, OverloadedError):
        return 503
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return 502  # our way to the server is wrong, not the request
    if isinstance(error, (BadRequestError, InvalidRequestError)):
        return 400
    if isinstance(error, RequestTimeoutError):
        return 504
    return error.status_code if isinstance(error, APIError) and error.status_code >= 500 else 502


def _kind(status: int) -> str:
    return {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")


def _all(values: object, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)
