"""Generators whose loops end normally only after a whole reply.

A generator of Python's that was given up (a cancelled read, Ctrl-C, the end of its event loop) is over, and whoever
reads on is told that it has ended, as if half a reply were all of it. These raise instead.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any

from .._async.stream import AsyncStream
from .._core.wire.interruption import closed_by_caller

END: Any = None
"""What a generator yields last of all, to say that the reply was whole. It does not reach the caller."""


class _Seen:
    """What of a reply has reached the caller."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._whole = False

    def take(self, piece: Any) -> bool:
        """Note a piece; return whether it is one, and not the end."""
        if piece is None:
            self._whole = True
            return False
        self._texts.append(piece)
        return True

    def check_whole(self) -> None:
        """Nothing more comes: raise unless that is as it should be."""
        if not self._whole:
            error = closed_by_caller()
            error.partial = "".join(self._texts)
            raise error


class AsyncPieces(AsyncGenerator[str, None]):
    """An asynchronous generator of the pieces of a reply.

    Args:
        pieces: What yields them. It yields the stream that it reads from first of all, so that this can be closed
            under a reader's hands, and :data:`END` last of all.
    """

    def __init__(self, pieces: AsyncGenerator[Any, None]) -> None:
        self._pieces = pieces
        self._seen = _Seen()
        self._stream: AsyncStream | None = None

    async def asend(self, value: None) -> str:
        """The next piece."""
        try:
            piece: str | AsyncStream | None = await self._pieces.asend(value)
            if isinstance(piece, AsyncStream):
                self._stream = piece
                piece = await anext(self._pieces)
            if not self._seen.take(piece):
                piece = await anext(self._pieces)  # it closes what it has open, and ends
        except StopAsyncIteration:
            self._seen.check_whole()
            raise
        assert isinstance(piece, str)
        return piece

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> str:
        """Raise an exception where the generator waits for its reader."""
        error = typ if val is None else val
        piece: str = await self._pieces.athrow(error if tb is None else error.with_traceback(tb))
        return piece

    async def aclose(self) -> None:
        """Close the connection. A reader in another task gets a StreamInterruptedError."""
        if self._stream is not None:
            await self._stream.aclose()
        try:
            await self._pieces.aclose()
        except RuntimeError:
            if self._stream is None:
                raise  # else it is running in another task, and ends there


class Pieces(Generator[str, None, None]):
    """The synchronous twin of :class:`AsyncPieces`."""

    def __init__(self, pieces: Generator[Any, None, None]) -> None:
        self._pieces = pieces
        self._seen = _Seen()

    def send(self, value: None) -> str:
        """The next piece."""
        try:
            piece: str | None = self._pieces.send(value)
            if not self._seen.take(piece):
                piece = next(self._pieces)
        except StopIteration:
            self._seen.check_whole()
            raise
        assert piece is not None
        return piece

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> str:
        """Raise an exception where the generator waits for its reader."""
        error = typ if val is None else val
        piece: str = self._pieces.throw(error if tb is None else error.with_traceback(tb))
        return piece

    def close(self) -> None:
        """Close the connection."""
        self._pieces.close()


class _EndsWhole:
    """A class method of which the asynchronous generators are :class:`AsyncPieces`.

    It keeps what makes it an asynchronous generator function for :mod:`inspect`.
    """

    def __init__(self, function: Callable[..., AsyncGenerator[Any, None]]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.__code__ = function.__code__
        self.__defaults__ = function.__defaults__
        self.__kwdefaults__ = function.__kwdefaults__

    def __get__(self, instance: object, owner: type | None = None) -> MethodType:
        return MethodType(self, owner if owner is not None else type(instance))

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncPieces:
        return AsyncPieces(self._function(*args, **kwargs))


if TYPE_CHECKING:
    ends_whole = classmethod
else:
    ends_whole = _EndsWhole
