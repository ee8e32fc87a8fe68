"""One reply, from the bytes of its body to text and its finish marker. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

from ..failures import UpstreamError
from . import wording
from .events import BrokenStreamError, Event
from .prompts import Joiner

__all__ = ["Decoder", "Reply", "list_of", "object_of"]

Finish = Literal["whole", "length"]


class Decoder(Protocol):
    """From the bytes of a body to events: `EventStream` or `JSONLines`."""

    done: bool

    def feed(self, received: bytes) -> Iterator[Event]:
        """The events that some more of the body completes."""
        raise NotImplementedError

    def end(self) -> Iterator[Event]:
        """The events that the end of the body completes."""
        raise NotImplementedError


class Reply:
    """What has been read of one reply.

    Args:
        decoder: Reads the body.
        read: Takes what an event says, by means of `add`, `finish` and `last`. It raises UpstreamError where the event
            says that the reply failed.
        redact: Takes secrets out of what is said about errors.
    """

    def __init__(self, decoder: Decoder, read: Callable[[dict[str, Any], Reply], None], redact: wording.Redact) -> None:
        self.finish: Finish | None = None
        """How the upstream says that the reply ended; None: it has not said so."""
        self.last = False
        """Nothing of the body is needed any more."""
        self._decoder = decoder
        self._read = read
        self._redact = redact
        self._texts: list[str] = []
        self._joiner = Joiner()

    def add(self, text: object) -> None:
        """Take some text; None is none.

        Raises:
            BrokenStreamError: It is something else.
        """
        if isinstance(text, str):
            self._texts.append(text)
        elif text is not None:
            raise BrokenStreamError("the answer has something other than text where its text should be")

    def feed(self, received: bytes) -> UpstreamError | None:
        """Take some more of the body, b"" for its end; up to the event that says that the reply failed, if one does.

        Returns:
            How it failed. What came before that can be taken all the same.
        """
        try:
            for name, event in self._decoder.feed(received) if received else self._decoder.end():
                error = self._take(name, event)
                if error is not None or self.last:
                    return error
        except BrokenStreamError as error:
            reason = str(error)
        else:
            self.last = self._decoder.done or not received
            if self.last and self.finish is None:
                return wording.broken("the stream ended without its finish marker")
            return None
        if not received and self.finish is not None:
            self.last = True  # a body that is cut after the marker may end in half an event
            return None
        return wording.broken(reason)

    def _take(self, name: str, event: Any) -> UpstreamError | None:
        if not isinstance(event, dict):
            if event is None:
                return None
            raise BrokenStreamError("the answer holds an event that is not an object")
        error = None
        if event.get("error") or name == "error" or event.get("object") == "error":
            error = wording.error_in_event(event, redact=self._redact)
        try:
            self._read(event, self)
        except UpstreamError as failure:
            return error or failure.with_traceback(None)  # whose frames hold what the upstream said
        return error

    def text(self, *, end: bool) -> str:
        """The text that came since the last time, as far as its characters are complete.

        Args:
            end: No more will come.
        """
        if not self._texts and not end:
            return ""
        text = self._joiner.join("".join(self._texts))
        self._texts.clear()
        return text + self._joiner.end() if end else text


def list_of(value: Any, name: str) -> list[Any]:
    """The list under a name of an object; empty where there is none, as with null."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def object_of(value: Any, name: str) -> dict[str, Any]:
    """The object under a name of another; empty where there is none, as with null."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
