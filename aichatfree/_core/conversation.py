"""What Conversation and AsyncConversation have in common: everything that waits for nothing.

What has become of a turn is read off its call when somebody asks for it: nothing has to be told when a stream ends,
is closed, or is dropped without a word, and nothing keeps a dropped stream alive.
"""

from __future__ import annotations

import json
import os
from copy import copy
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar
from weakref import ReferenceType, ref

from ..errors import InvalidRequestError
from .call import Call
from .client import BaseClient
from .files import write_whole
from .history import History, OnInterrupt, Turn, read_form, read_on_interrupt, read_question, read_system
from .settings import DEFAULT_MAX_MESSAGES
from .stream import BaseStream
from .timeouts import ClientTimeout, Timeout
from .wire.messages import Message, Messages

StreamT = TypeVar("StreamT", bound=BaseStream)
SelfT = TypeVar("SelfT", bound="BaseConversation[Any]")


class Question(NamedTuple):
    """A turn before its request goes out."""

    text: str
    after: History
    """The history that it continues."""
    seen: History
    """The history of the conversation when the question was put: the same, or for a retry, that with the old turn."""


class _Running(NamedTuple):
    """A turn whose request has gone out."""

    question: Question
    call: Call
    stream: ReferenceType[BaseStream]


class _Step:
    """The lock around each step. What interrupts one in its own thread, a signal handler, cannot wait for its end."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._begun = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._begun:
            self._lock.release()
            raise InvalidRequestError(
                "a signal handler has come amid a step of this conversation: have it use another one, or try later"
            )
        self._begun = True

    def __exit__(self, *exc_info: object) -> None:
        self._begun = False
        self._lock.release()


class BaseConversation(Generic[StreamT]):
    """A conversation's history and its one turn at a time."""

    _stream_type: ClassVar[type[BaseStream]]
    """What the clients make that it can ask through."""

    def __init__(
        self,
        client: BaseClient[Any, StreamT],
        system: str | None = None,
        history: Messages = (),
        max_messages: int | None = DEFAULT_MAX_MESSAGES,
        on_interrupt: OnInterrupt = "discard",
    ) -> None:
        if not isinstance(client, BaseClient) or client._stream_type is not self._stream_type:
            needed = self._stream_type.__name__.replace("Stream", "Client")
            raise InvalidRequestError(
                f"client is of type {type(client).__name__}: {type(self).__name__} needs a {needed}"
            )
        self._client = client
        self._history = History.read(system, history, max_messages)
        self._on_interrupt: OnInterrupt = read_on_interrupt(on_interrupt)
        self._unanswered: str | None = None
        self._running: _Running | None = None
        self._step = _Step()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The finished turns, oldest first, with the system message before them if there is one."""
        with self._step:
            self._settle()
            return self._history.messages

    @property
    def system(self) -> str | None:
        """The text of the system message. It may be set between turns and holds from the next one on."""
        return self._history.system

    @system.setter
    def system(self, text: str | None) -> None:
        system = read_system(text)
        with self._step:
            history = self._between_turns()
            self._history = history._replace(system=system)

    @property
    def unanswered(self) -> str | None:
        """What was asked last, if no reply to it was kept: :meth:`retry` asks it again."""
        with self._step:
            self._settle()
            return self._unanswered

    def undo(self) -> Turn:
        """Take back the last turn.

        Returns:
            The question and the answer that were removed, as a pair of :class:`Message`.

        Raises:
            InvalidRequestError: There is no turn, or the reply of one is still coming.
        """
        with self._step:
            history = self._between_turns()
            if not history.turns:
                raise InvalidRequestError("there is no turn to undo")
            self._history = history.without_last()
            self._unanswered = None
            return history.turns[-1]

    def clear(self) -> None:
        """Forget every turn, but not the system message.

        Raises:
            InvalidRequestError: The reply of a turn is still coming.
        """
        with self._step:
            history = self._between_turns()
            self._history = history._replace(turns=(), dumped=())
            self._unanswered = None

    def to_dict(self) -> dict[str, Any]:
        """The conversation as JSON can hold it; the form is described in :mod:`aichatfree._core.history`."""
        with self._step:
            self._settle()
            return self._history.to_dict(self._on_interrupt, self._unanswered)

    @classmethod
    def from_dict(cls: type[SelfT], data: object, *, client: BaseClient[Any, StreamT]) -> SelfT:
        """Make a conversation from what :meth:`to_dict` returned.

        Args:
            data: The JSON form.
            client: The client that it goes on with.

        Raises:
            InvalidRequestError: It is not of this form; the text says why.
        """
        arguments, unanswered = read_form(data)
        conversation = cls(client, **arguments)
        conversation._unanswered = unanswered
        return conversation

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation to a file. A crash, even of the machine, leaves the old file or the new one whole.

        A file that exists keeps its permissions; a new one can be read by its owner only.

        Args:
            path: The file. Its folder must exist.

        Raises:
            OSError: The file cannot be written.
            InvalidRequestError: The path names something that is not a file.
        """
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=2)
        write_whole(path, f"{text}\n".encode())

    @classmethod
    def load(cls: type[SelfT], path: str | os.PathLike[str], *, client: BaseClient[Any, StreamT]) -> SelfT:
        """Read a conversation that :meth:`save` wrote.

        Args:
            path: The file.
            client: The client that it goes on with.

        Raises:
            OSError: The file cannot be read.
            InvalidRequestError: It holds no conversation; the text says why.
        """
        try:
            return cls.from_dict(_parse(Path(path).read_bytes()), client=client)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{os.fspath(path)} holds no conversation: {error}") from error

    def _ask(self, text: str) -> Question:
        text = read_question(text)
        with self._step:
            history = self._between_turns()
            return Question(text, history, history)

    def _ask_again(self) -> Question:
        with self._step:
            history = self._between_turns()
            if self._unanswered is not None:
                return Question(self._unanswered, history, history)
            if not history.turns:
                raise InvalidRequestError("there is no turn to retry: ask something first")
            return Question(history.turns[-1].user.content, history.without_last(), history)

    def _call(
        self,
        question: Question,
        model: str | None,
        timeout: Timeout | float | ClientTimeout | None,
        *,
        restartable: bool = False,
    ) -> Call:
        contents, text = question.after.dump(question.text)
        return self._client._encoded_call(contents, text, model=model, timeout=timeout, restartable=restartable)

    def _begin(self, question: Question, stream: BaseStream) -> None:
        """Let a turn's request go out, if it still fits."""
        with self._step:
            if self._between_turns() is not question.seen:
                raise InvalidRequestError("the conversation has changed since this stream was made: make a new one")
            self._running = _Running(question, stream._call, ref(stream))

    def _between_turns(self) -> History:
        self._settle()
        if self._running is not None:
            raise InvalidRequestError(
                "the reply of the last turn is still coming: read its stream to the end, or close it, before you go on"
            )
        return self._history

    def _settle(self) -> None:
        """Draw the line under a turn whose stream has ended, was closed, or is gone."""
        if self._running is None:
            return
        question, call, reference = self._running
        stream = reference()
        if stream is not None and not stream.closed:
            return
        self._running = None
        replaces = question.after is not question.seen
        if call.complete or (call.text and self._on_interrupt == "keep" and not replaces):
            self._history = question.after.then(question.text, call.text)
            self._unanswered = None
        elif not replaces:
            self._unanswered = question.text

    def __repr__(self) -> str:
        count = len(self.messages)
        return f"<{type(self).__name__} with {count} message{'' if count == 1 else 's'} on {self._client.base_url}>"

    def __reduce__(self) -> tuple[Any, ...]:
        additions = {name: value for name, value in vars(self).items() if name not in _OWN}
        return _restore, (type(self), self._client, self.to_dict(), additions)

    def __deepcopy__(self: SelfT, memo: dict[int, Any]) -> SelfT:
        return copy(self)  # messages never change, and a copy of the client would be another set of connections


_OWN = ("_client", "_history", "_on_interrupt", "_unanswered", "_running", "_step")


def _restore(kind: type[SelfT], client: Any, data: dict[str, Any], additions: dict[str, Any]) -> SelfT:
    conversation = kind.__new__(kind)
    BaseConversation.__init__(conversation, client, **(arguments := read_form(data))[0])
    conversation._unanswered = arguments[1]
    vars(conversation).update(additions)
    return conversation


def _parse(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"it is not UTF-8 (byte {error.start})") from error
    except ValueError as error:
        raise InvalidRequestError(f"it is not JSON ({error})") from error
    except RecursionError as error:
        raise InvalidRequestError("it is nested too deeply") from error
