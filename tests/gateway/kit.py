"""A caller of a gateway that knows nothing but HTTP, so that what it sees is what is on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests

from aichatfree.gateway import LocalGateway

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = "/chat/completions"
RESPONSES = "/responses"


class Caller:
    """Asks a gateway, with its key if it has one."""

    def __init__(self, gateway: LocalGateway, key: str | None = None) -> None:
        self.url = gateway.url
        self.session = requests.Session()
        self.session.trust_env = False
        if key is not None:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        return self.session.post(self.url + path, data=json.dumps(body), timeout=20, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=20, **options)

    def chat(self, *, stream: bool = False, messages: Any = HELLO, **more: Any) -> requests.Response:
        return self.post(CHAT, {"model": "m", "messages": messages, "stream": stream, **more})

    def respond(self, *, stream: bool = False, **more: Any) -> requests.Response:
        return self.post(RESPONSES, {"model": "m", "input": "Hello", "stream": stream, **more})


def events(response: requests.Response) -> list[dict[str, Any]]:
    """The events of a stream of chat completions; the last is `{"done": True}` if it ended as a whole one does."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return list(_data(response.text))


def _data(text: str) -> Iterator[dict[str, Any]]:
    assert text.endswith("\n\n")
    for block in text.removesuffix("\n\n").split("\n\n"):
        named = None
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                named = value
            else:
                assert name == "data", block
                data = {"done": True} if value == "[DONE]" else json.loads(value)
        assert named is None or named == data["type"]
        yield data


def content(found: list[dict[str, Any]], index: int = 0) -> str:
    """The text of one choice of a stream of chat completions."""
    choices = [choice for event in found for choice in event.get("choices", ()) if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def reasons(found: list[dict[str, Any]]) -> list[str]:
    """All finish reasons of a stream of chat completions."""
    choices = [choice for event in found for choice in event.get("choices", ())]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]


def error_of(response: requests.Response, status: int) -> dict[str, Any]:
    """The error object of an answer, which is as the OpenAI API has it."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error
