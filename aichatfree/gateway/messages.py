"""From the messages of the OpenAI API, and the input items of its Responses API, to what a client sends. No I/O."""

from __future__ import annotations

from typing import Any

from .asked import unsupported
from .problems import Problem

__all__ = ["messages_of_chat", "messages_of_input"]

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""The parts that are text, and the key under which it stands."""


def messages_of_chat(given: object) -> list[dict[str, Any]]:
    """The ``messages`` of a chat completion.

    Raises:
        Problem: They are no list of messages, or hold what is not text.
    """
    if not isinstance(given, list) or not given:
        what = "You must provide messages: a list of objects with role and content."
        raise Problem(400, what, param="messages", code="missing_required_parameter")
    read = (_message(message, f"messages[{number}]") for number, message in enumerate(given))
    return [message for message in read if message is not None]


def messages_of_input(given: object) -> list[dict[str, Any]]:
    """The ``input`` of a response: a text, or a list of messages.

    Raises:
        Problem: It is neither, or holds what is not text.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        what = "You must provide input: a string, or a list of messages."
        raise Problem(400, what, param="input", code="missing_required_parameter")
    messages = []
    for number, item in enumerate(given):
        where = f"input[{number}]"
        kind = item.get("type") if isinstance(item, dict) else None
        if kind not in (None, "message"):
            raise unsupported(f"{where}.type", f"An input item of the type {_shown(kind)}")
        message = _message(item, where)
        if message is not None:
            messages.append(message)
    return messages


def _message(message: object, where: str) -> dict[str, Any] | None:
    """One message; None for one that says nothing at all and is not the user's."""
    if not isinstance(message, dict):
        raise Problem(400, f"{where} must be an object with role and content.", param=where, code="invalid_type")
    role = message.get("role")
    if role in ("tool", "function"):
        raise unsupported(f"{where}.role", f"A message of the role {role}")
    if not isinstance(role, str) or role not in _ROLES:
        what = f"{where}.role must be one of {', '.join(_ROLES)}."
        raise Problem(400, what, param=f"{where}.role", code="invalid_value")
    for name in ("tool_calls", "function_call", "audio"):
        if message.get(name):
            raise unsupported(f"{where}.{name}", "A message with a tool call or with audio")
    content = message.get("content")
    if content is None and role == "assistant":
        content = message.get("refusal") or ""
    parts = _parts(content, f"{where}.content")
    if role != "user" and not any(parts):
        return None  # some programs send an empty system message where their user has set none
    return {"role": _ROLES[role], "content": [{"type": "text", "text": part} for part in parts]}


def _parts(content: object, where: str) -> list[str]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise Problem(400, f"{where} must be a string or a list of parts.", param=where, code="invalid_type")
    return [_part(part, f"{where}[{number}]") for number, part in enumerate(content)]


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise Problem(400, f"{where} must be an object with type and text.", param=where, code="invalid_type")
    if kind not in _TEXT_PARTS:
        raise unsupported(where, f"Content of the type {_shown(kind)}, which is not text,")
    text = part.get(_TEXT_PARTS[kind])
    if not isinstance(text, str):
        name = f"{where}.{_TEXT_PARTS[kind]}"
        raise Problem(400, f"{name} must be a string.", param=name, code="invalid_type")
    return text


def _shown(kind: object) -> str:
    """The caller's own word, in an error to the caller."""
    return repr(str(kind)[:40])
