"""What LangChain hands over as text of the protocol, and stop sequences. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage

from .. import Message
from ..errors import InvalidRequestError

TEXT_ONLY = "an AIChatFree server takes text only; no images, no files, no tools"
_ROLES = {"human": "user", "ai": "assistant", "developer": "system"}


def to_messages(history: Iterable[BaseMessage]) -> list[Message]:
    """Translate a history.

    Raises:
        InvalidRequestError: It holds something that the protocol cannot carry; the text says what.
    """
    return [Message(_role(number, message), _text(number, message)) for number, message in enumerate(history)]


def _role(number: int, message: BaseMessage) -> str:
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, AIMessage):
        if message.tool_calls or message.invalid_tool_calls:
            raise InvalidRequestError(f"message {number} calls a tool: {TEXT_ONLY}")
        return "assistant"
    if isinstance(message, ChatMessage):
        return _ROLES.get(message.role, message.role)  # the client refuses a role that it does not know
    raise InvalidRequestError(f"message {number} is a {type(message).__name__}: {TEXT_ONLY}")


def _text(number: int, message: BaseMessage) -> str:
    blocks = [message.content] if isinstance(message.content, str) else message.content
    texts = []
    for block in blocks:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif block.get("type") not in ("reasoning", "thinking"):  # what a model thought was not said
            raise InvalidRequestError(f"message {number} holds a block of the type {block.get('type')!r}: {TEXT_ONLY}")
    return "".join(texts)


class StopSequences:
    """Ends a reply before the first of some texts, however the reply is split into pieces.

    Of sequences that overlap, the one that begins first counts.

    Args:
        sequences: The texts; none of them may be empty.

    Raises:
        InvalidRequestError: One is empty or not a str.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        if isinstance(sequences, str) or not all(isinstance(text, str) and text for text in sequences):
            raise InvalidRequestError("stop holds something that is not text: give a list of non-empty str")
        self._sequences = tuple(sequences)
        self._held = ""
        self.reached = False
        """Whether one was found: no more text follows."""

    def feed(self, piece: str) -> str:
        """Take a piece; return the text that can be no part of a stop sequence."""
        text = self._held + piece
        found = self._first(text)
        begun = self._begun(text)
        if found is not None and found <= begun:
            self.reached = True
            self._held = ""
            return text[:found]
        self._held = text[begun:]
        return text[:begun]

    def flush(self) -> str:
        """The reply has ended: return what was held back."""
        text, self._held = self._held, ""
        found = self._first(text)
        self.reached = self.reached or found is not None
        return text[:found]

    def _first(self, text: str) -> int | None:
        """Where the first whole sequence begins."""
        return min((at for sequence in self._sequences if (at := text.find(sequence)) >= 0), default=None)

    def _begun(self, text: str) -> int:
        """Where the first sequence begins that the end of ``text`` leaves unfinished; its length if there is none."""
        longest = max(map(len, self._sequences), default=0)
        for at in range(max(0, len(text) - longest + 1), len(text)):
            if any(len(text) - at < len(sequence) and sequence.startswith(text[at:]) for sequence in self._sequences):
                return at
        return len(text)
