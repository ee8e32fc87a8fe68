"""What makes the asynchronous generators of a provider end normally only after a whole reply."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from types import MethodType
from typing import TYPE_CHECKING, Any

from .._async.whole import AsyncWhole
from .._core.progress import TextProgress


class _EndsWhole:
    """A class method of which the asynchronous generators are :class:`~.AsyncWhole`.

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

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncWhole[str]:
        return AsyncWhole(self._function(*args, **kwargs), TextProgress())


if TYPE_CHECKING:
    ends_whole = classmethod
else:
    ends_whole = _EndsWhole
