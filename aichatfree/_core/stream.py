"""What Stream and AsyncStream have in common: everything that waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..errors import AIChatFreeError
from .call import Call, Stats
from .wire.interruption import closed_by_caller
from .wire.redaction import clear_locals


class Control(Protocol):
    """What can be interrupted of a call on its way, by other threads or tasks."""

    @property
    def share(self) -> object:
        """That of the client whose call it is."""

    def close(self) -> None:
        """Interrupt it: its reader gets a StreamInterruptedError."""


class BaseStream:
    """What can be asked of a stream while it runs and after it."""

    def __init__(self, call: Call, begin: Begin) -> None:
        self._call = call
        self._begin = begin
        self._started = False
        self._lost = False
        """An interrupt has struck while a piece was handed out: the reader may never have seen it."""

    @property
    def closed(self) -> bool:
        """Whether the stream has ended or was closed."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """All text received so far; it stays after the end, or a failure."""
        return self._call.text

    @property
    def status_code(self) -> int | None:
        """The HTTP status, None before the answer."""
        return self._call.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer, looked up in any case; empty before the answer."""
        return self._call.headers

    @property
    def model(self) -> str:
        """The label given as ``model``. The server chooses the model; this was never sent."""
        return self._call.model

    @property
    def stats(self) -> Stats:
        """What the call took so far: attempts, seconds to the first text, seconds in all, bytes, pieces."""
        return self._call.stats

    def _hide_locals(self, error: AIChatFreeError) -> None:
        """Some tools show the local variables of a traceback's frames: those of a call hold what servers send back."""
        for each in (error, *error.attempts):
            clear_locals(each)

    def _check_whole(self, *, lost: bool = False) -> None:
        """A loop over a reply ends only after a whole one; whoever reads on after anything else is told so."""
        if lost or not self._call.complete:
            raise self._call.failed(closed_by_caller())

    def __repr__(self) -> str:
        state = "whole" if self._call.complete else "closed" if self.closed else "open"
        return f"<{type(self).__name__} {state}, {len(self._call.text)} characters>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled: it is one reply on its way; take .text")


Begin = Callable[[BaseStream], None]
"""Asked when a stream's request is about to go out; it raises what speaks against that."""
