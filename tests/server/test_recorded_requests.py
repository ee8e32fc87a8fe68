"""The matrix of raw requests, and what the real server answered to each: this one answers the same."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from aichatfree.server import LocalServer

RECORDED = Path(__file__).parent.parent / "data" / "recordings" / "requests.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


def depends_on_the_request_alone(row: dict[str, Any]) -> bool:
    upstream = row["upstream"]
    return upstream is None or upstream["do"] == "reply" or row.get("rule", False)


def content(body: Any) -> bytes:
    if body is None:
        return b""
    if "text" in body:
        return body["text"].encode()
    if "base64" in body:
        return base64.b64decode(body["base64"])
    return "".join(text * times for text, times in body["repeat"]).encode()


def wire(row: dict[str, Any], authority: str) -> bytes:
    """The request as it went over the line."""
    body = content(row["body"])

    def fill(text: str) -> str:
        return text.replace("{host}", authority).replace("{length}", str(len(body)))

    lines = [f"{row['method']} {fill(row['path'])} HTTP/{row.get('http', '1.1')}"]
    lines += [f"{name}: {fill(value)}" for name, value in row["headers"]]
    head = "\r\n".join([*lines, "", ""]).encode()
    if ["Transfer-Encoding", "chunked"] in row["headers"]:
        return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + body


def test_the_matrix_is_whole() -> None:
    assert len(ROWS) == 196
    assert len(list(filter(depends_on_the_request_alone, ROWS))) > 150


@pytest.mark.parametrize(
    "row", [row for row in ROWS if depends_on_the_request_alone(row)], ids=lambda row: str(row["name"])
)
def test_the_answer_is_the_real_servers(row: dict[str, Any]) -> None:
    asked: list[Any] = []

    def reply(messages: list[Any]) -> Any:
        asked.append(messages)
        return row["upstream"]["pieces"]

    with LocalServer(reply, **row["settings"]) as server:
        authority = server.url.removeprefix("http://")
        host, _, port = authority.partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(wire(row, authority))
            response = http.client.HTTPResponse(connection, method=row["method"])
            response.begin()
            body = response.read()
    if response.status in row.get("local_may", ()):
        assert not asked
        return
    expected, compare = row["answer"], set(row["compare"])
    seen = {
        "status": response.status,
        "reason": response.reason,
        "body": body,
        "content-type": response.headers["Content-Type"],
        "media-type": (response.headers["Content-Type"] or "").partition(";")[0],
        "x-astro-response": response.headers["X-Astro-Response"],
        "code": json.loads(body)["error"]["code"] if "code" in compare else None,
    }
    wanted = {
        "status": expected["status"],
        "reason": expected["reason"],
        "body": content(expected["body"]) if "omitted" not in expected["body"] else None,
        "content-type": expected["headers"].get("content-type"),
        "media-type": expected["headers"].get("content-type"),
        "x-astro-response": expected["headers"].get("x-astro-response"),
        "code": json.loads(expected["body"]["text"])["error"]["code"] if "code" in compare else None,
    }
    assert {part: seen[part] for part in compare} == {part: wanted[part] for part in compare}
    if row.get("rule"):
        assert not asked, "the provider refuses it always, so no reply is asked for"
    elif "asked" in row:
        assert asked == [row["asked"]]
