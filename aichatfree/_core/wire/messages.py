"""What users pass as messages, and the list of contents that goes on the wire. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from ...errors import InvalidRequestError
from .frozen import Frozen
from .signing import well_formed

BLANK_LINE = "\n\n"


class Message(Frozen):
    """One message of a conversation.

    Args:
        role: ``"user"``, ``"assistant"`` (on the wire: ``"model"``) or ``"system"``.
        content: Its text.
    """

    __module__ = "aichatfree"

    role: str
    content: str

    def __init__(self, role: str, content: str) -> None:
        super().__init__(role=role, content=content)


Messages = str | Message | Mapping[str, Any] | Iterable[str | Message | Mapping[str, Any]]
"""What ``stream()`` and ``generate()`` take."""


class Content(NamedTuple):
    """A message on the wire: ``role`` is ``"user"`` or ``"model"``; ``parts`` are its texts."""

    role: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """All parts, joined with nothing between them: what the signature covers."""
        return "".join(self.parts)


_WIRE_ROLES = {"user": "user", "assistant": "model", "model": "model"}


def to_contents(messages: Messages) -> tuple[Content, ...]:
    """Turn messages into the protocol's contents.

    A system message is folded into the user message that follows it, and neighbours with the same role are merged,
    in both cases with a blank line between the texts. Nothing is dropped.

    Args:
        messages: A str (one user message), a :class:`Message`, a mapping with ``role`` and ``content`` or ``parts``,
            or an iterable of these.

    Returns:
        Contents whose last one is the user's.

    Raises:
        InvalidRequestError: No messages, an unknown role, content that is not text, or empty, or a history that does
            not end with a user message. The text says which message it is and how to correct it.
    """
    turns: list[tuple[str, list[tuple[str, ...]]]] = []
    system: list[tuple[str, ...]] = []
    role = ""
    for where, message in numbered(messages):
        role, parts = read_message(message, where)
        if not any(parts):
            raise InvalidRequestError(f"{where} is empty: give it some text, or leave the message out")
        if role == "system":
            system.append(parts)
            continue
        wire_role = _WIRE_ROLES.get(role)
        if wire_role is None:
            raise InvalidRequestError(f"{where} has the role {role!r}: use 'user', 'assistant' or 'system'")
        if not turns or turns[-1][0] != wire_role:
            turns.append((wire_role, []))
        if wire_role == "user":
            turns[-1][1].extend(system)
            system.clear()
        turns[-1][1].append(parts)
    if not role:
        raise InvalidRequestError("there are no messages: pass a str, or a list with at least one user message")
    if system or turns[-1][0] != "user":
        raise InvalidRequestError(
            f"the last message has the role {role!r}: the history must end with the user message to be answered"
        )
    return tuple(Content(wire_role, _merged(texts)) for wire_role, texts in turns)


_RARE = bytes({*range(32)} - {*b"\t\n\r"})
"""What JSON has to escape, and texts hardly ever have."""


def _quoted(text: str) -> bytes:
    """A text as a JSON string in UTF-8. Python's own encoder looks at each character, and takes twice as long."""
    data = text.encode()
    if len(data.translate(None, _RARE)) < len(data):
        return encode_basestring(text).encode()
    data = data.replace(b"\\", rb"\\").replace(b'"', rb"\"").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
    return b'"%b"' % data.replace(b"\t", rb"\t")


_OPENINGS = {
    "user": b'{"role":"user","parts":[{"text":',
    "model": b'{"role":"model","parts":[{"text":',
    "assistant": b'{"role":"model","parts":[{"text":',
}
_USER = _OPENINGS["user"]
_CLOSING = b"}]}"


Dumped = list[bytes]
"""JSON in pieces, which are joined once, with the rest of the request: to copy a long history can take longer than to
send it, since what is as large as that comes fresh from the system each time."""


def dump_contents(contents: Iterable[Content]) -> Dumped:
    """The JSON of ``messages``: ``[{"role": ..., "parts": [{"text": ...}]}]``."""
    # Each text by itself: in one string of them all, a single emoji would make every character four bytes wide.
    turns = [
        _OPENINGS[role] + b'},{"text":'.join([_quoted(part) for part in parts]) + _CLOSING for role, parts in contents
    ]
    return _listed(turns)


def _listed(items: list[bytes]) -> Dumped:
    pieces = [b","] * (2 * len(items))
    pieces[1::2] = items
    pieces[:1] = [b"["]
    return [*pieces, b"]"]


def dump_turn(question: str, answer: str) -> bytes:
    """The JSON of a question and its answer, as they stand in a history."""
    said = (_USER, _quoted(question), b"}]},", _OPENINGS["model"], _quoted(answer), _CLOSING)
    return b"".join(said)


def prefix_turn(text: str, turn: bytes) -> bytes:
    """A turn (or a question alone), dumped, with ``text`` before the first words of its question."""
    return b"".join((_USER, b'"', _quoted(text)[1:-1], turn[len(_USER) + 1 :]))


def dump_history(turns: Iterable[bytes], system: str | None, question: str) -> tuple[Dumped, str]:
    """A history whose turns are dumped already, and a question: its JSON, and the text of the last message.

    Args:
        turns: The turns, as :func:`dump_turn` makes them.
        system: A system message, which is folded into the first user message.
        question: What the user asks.
    """
    said = [*turns, b"".join((_USER, _quoted(question), _CLOSING))]
    if system:
        said[0] = prefix_turn(system + BLANK_LINE, said[0])
        if len(said) == 1:
            question = system + BLANK_LINE + question
    return _listed(said), question


def dump_messages(messages: Messages) -> tuple[Dumped, str]:
    """What users pass as messages, as JSON, and the text of the last one, which is signed.

    The usual history, a str or a list of mappings with role and content that alternate, is read and encoded in one
    loop; whatever is not that goes the careful way, through :func:`to_contents`.

    Raises:
        InvalidRequestError: As :func:`to_contents`.
    """
    given = [{"role": "user", "content": messages}] if type(messages) is str else messages
    if type(given) is list and (usual := _dump_usual(given)) is not None:
        return usual
    contents = to_contents(messages)
    return dump_contents(contents), contents[-1].text


def _dump_usual(messages: list[Any]) -> tuple[Dumped, str] | None:
    said = [b"["]
    before = text = None
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return None
        role, text = message.get("role"), message.get("content")
        if type(role) is not str or type(text) is not str or not text:
            return None
        opening = _OPENINGS.get(role)
        if opening is None or opening == before:
            return None
        try:
            said += (opening, _quoted(text), b"}]},")
        except UnicodeEncodeError:  # surrogates
            return None
        before = opening
    if before != _USER or text is None:
        return None
    said[-1] = b"}]}]"
    return said, text


def as_given(messages: Messages) -> tuple[Content, ...]:
    """Turn messages into contents one to one, and leave it to the server to judge them.

    As other providers of this name do, every role but ``assistant`` and ``model`` is sent as ``user``.

    Args:
        messages: As for :func:`to_contents`; empty texts and any order are allowed.

    Returns:
        One content a message.

    Raises:
        InvalidRequestError: Something is not a message, or its content is not text.
    """
    read = (read_message(message, where) for where, message in numbered(messages))
    return tuple(Content(_WIRE_ROLES.get(role, "user"), parts) for role, parts in read)


def dump_as_given(messages: Messages) -> tuple[Dumped, str]:
    """The same as JSON, and the text of the last message (``""`` if there is none)."""
    contents = as_given(messages)
    return dump_contents(contents), contents[-1].text if contents else ""


def _merged(texts: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The parts of several messages as those of one. It takes time in proportion to the text, not to its square."""
    if len(texts) == 1:
        return texts[0]
    parts: list[str] = []
    run: list[str] = []
    for first, *rest in texts:
        run.append(first)
        if rest:
            parts += [BLANK_LINE.join(run), *rest[:-1]]
            run = [rest[-1]]
    return (*parts, BLANK_LINE.join(run))


def numbered(messages: Messages) -> Iterable[tuple[str, object]]:
    """The messages one by one, each with the words by which an error names it."""
    if isinstance(messages, (str, Message, Mapping)):
        return [("the message", messages)]
    if isinstance(messages, (bytes, bytearray)) or not isinstance(messages, Iterable):
        raise InvalidRequestError(
            f"messages is of type {type(messages).__name__}: pass a str, a Message, a mapping, or a list of these"
        )
    return ((f"messages[{index}]", message) for index, message in enumerate(messages))


def read_message(message: object, where: str) -> tuple[str, tuple[str, ...]]:
    """Read one message, whatever its form, into its role and its texts (at least one)."""
    if isinstance(message, str):
        return "user", (well_formed(message),)
    if isinstance(message, Message):
        role: object = message.role
        content: object = message.content
    elif isinstance(message, (dict, Mapping)):  # a dict is known at once, an abstract class has to be asked
        if "role" not in message:
            raise InvalidRequestError(f"{where} has no role: add 'role': 'user'")
        if ("content" in message) == ("parts" in message):
            raise InvalidRequestError(f"{where} needs either 'content' or 'parts'")
        role = message["role"]
        content = message["content"] if "content" in message else message["parts"]
    else:
        raise InvalidRequestError(
            f"{where} is of type {type(message).__name__}: pass a str, a Message, or a mapping with role and content"
        )
    if not isinstance(role, str) or not role:
        raise InvalidRequestError(f"{where} has the role {role!r}: use 'user', 'assistant' or 'system'")
    return role, _texts(content, where)


def _texts(content: object, where: str) -> tuple[str, ...]:
    if isinstance(content, str):
        return (well_formed(content),)
    if not isinstance(content, (list, tuple)):
        raise InvalidRequestError(
            f"the content of {where} is of type {type(content).__name__}: pass a str, or a list of text parts"
        )
    return tuple(_text(part, f"part {index} of {where}") for index, part in enumerate(content)) or ("",)


def _text(part: object, where: str) -> str:
    if isinstance(part, Mapping):
        kind = part.get("type", "text")
        if kind != "text":
            raise InvalidRequestError(f"{where} is of type {kind!r}: this protocol carries text only, so leave it out")
        part = part.get("text")
    if not isinstance(part, str):
        raise InvalidRequestError(f'{where} is not text: pass {{"type": "text", "text": "..."}} or {{"text": "..."}}')
    return well_formed(part)
