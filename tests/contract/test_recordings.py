"""Every answer of the real server, byte for byte, through both clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import aichatfree
from aichatfree.testing import Reply, ScriptedServer

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"

REPLIES = {"ok": "你好，世界 — you said: hello"}
FAILURES: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "wrong_password": (aichatfree.InvalidPasswordError, "", {"status_code": 401, "message": "Invalid password."}),
    "wrong_signature": (aichatfree.InvalidSignatureError, "", {"status_code": 401, "message": "Invalid signature."}),
    "last_message_from_model": (aichatfree.BadRequestError, "", {"status_code": 400}),
    "quota_exceeded": (aichatfree.RateLimitError, "", {"status_code": 500, "upstream_status": 429, "code": "Error"}),
    "location_not_supported": (aichatfree.PermissionDeniedError, "", {"status_code": 500, "upstream_status": 400}),
    "upstream_key_invalid": (aichatfree.PermissionDeniedError, "", {"status_code": 500, "upstream_status": 400}),
    "upstream_overloaded": (aichatfree.OverloadedError, "", {"status_code": 500, "upstream_status": 503}),
    "cut_mid_reply": (aichatfree.StreamInterruptedError, "partial ", {"in_band": True}),
    "blocked_mid_reply": (aichatfree.StreamInterruptedError, "Half an ans", {"in_band": True}),
    "blocked_prompt": (aichatfree.StreamInterruptedError, "", {"in_band": True}),
    "malformed_json": (aichatfree.ServerError, "", {"status_code": 500, "body": ""}),
    "unknown_path": (aichatfree.NotFoundError, "", {"status_code": 404, "message": "Not found"}),
}
PASSWORDS = {"auth_ok": True, "auth_wrong": False}


def recording(name: str) -> Reply:
    return Reply.recording((RECORDINGS / f"{name}.http").read_bytes())


def test_no_recording_is_left_out() -> None:
    index = json.loads((RECORDINGS / "index.json").read_text())
    assert set(index["recordings"]) == {*REPLIES, *FAILURES, *PASSWORDS}
    assert {path.stem for path in RECORDINGS.glob("*.http")} == set(index["recordings"])


@pytest.mark.parametrize("name", REPLIES)
def test_reply(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(recording(name), recording(name))
    client = face.client(server)
    assert face.stream(client).text == REPLIES[name]
    assert face.generate(client) == REPLIES[name]


@pytest.mark.parametrize("name", FAILURES)
def test_failure(face: Any, server: ScriptedServer, name: str) -> None:
    kind, partial, attributes = FAILURES[name]
    # The recorded date is long past, so a refused signature is tried again once with the server's time.
    server.enqueue(recording(name), recording(name))
    outcome = face.stream(face.client(server, max_retries=0))
    assert len(server.requests) == (2 if name == "wrong_signature" else 1)
    assert type(outcome.error) is kind
    assert outcome.error.partial == outcome.text == partial
    for attribute, value in attributes.items():
        assert getattr(outcome.error, attribute) == value


@pytest.mark.parametrize("name", PASSWORDS)
def test_password(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(recording(name))
    assert face.verify_password(face.client(server), "pw") is PASSWORDS[name]
