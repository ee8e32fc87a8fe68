"""What provider frameworks such as g4f (0.4.2.6 to 8.8.6) look for in a provider, and nothing of one service.

Nothing is imported from them, and no class of theirs is inherited from.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from .._core.log import logger as _log
from .._core.progress import END, Interruptible, TextProgress
from .._core.wire.addresses import split_userinfo
from .._core.wire.messages import Messages
from .._sync.whole import Whole
from ..errors import InvalidRequestError

LEAVE_SECONDS = 1.0
"""How long closing waits for a step that Ctrl-C has broken off: it may have struck in asyncio's own code, and then
nothing wakes that step up any more."""

_T = TypeVar("_T")


class AsyncGeneratorProvider:
    """A provider whose replies come from an asynchronous generator, with every entrance that frameworks look for.

    A subclass writes :meth:`create_async_generator`; the rest follows from it.

    Attributes:
        url: The address of the service.
        label: Its name for people, None if it has no other than the class's.
        working: Whether it may be chosen.
        needs_auth: Whether it is of no use without ``api_key``.
        supports_stream: Whether replies come piece by piece.
        supports_message_history: Whether earlier messages count.
        supports_system_message: Whether there is a role for system messages.
        use_stream_timeout: Tells g4f that ``timeout`` is kept here, and that only ``stream_timeout`` is its own.
        live: A number that g4f counts up for each success and down for each failure.
    """

    __module__ = "aichatfree"

    url: ClassVar[str] = ""
    label: ClassVar[str | None] = None
    working: ClassVar[bool] = False
    needs_auth: ClassVar[bool] = False
    supports_stream: ClassVar[bool] = True
    supports_message_history: ClassVar[bool] = False
    supports_system_message: ClassVar[bool] = False
    use_stream_timeout: ClassVar[bool] = True
    live: ClassVar[int] = 0

    @classmethod
    def create_async_generator(cls, model: str, messages: Messages, **kwargs: Any) -> AsyncGenerator[str, None]:
        """Ask, and yield the reply piece by piece. To be written by subclasses, as ``async def`` with ``yield``."""
        raise NotImplementedError(f"{cls.__name__} has no create_async_generator: define it in the subclass")

    @classmethod
    def create_completion(cls, model: str, messages: Messages, **kwargs: Any) -> Generator[str, None, None]:
        """The twin of :meth:`create_async_generator` for synchronous code, a notebook's running loop included.

        Args:
            model: As there.
            messages: As there.
            **kwargs: As there, but for a ``connector``, which belongs to the loop in which it was made.

        Returns:
            A generator of the pieces of the reply.

        Raises:
            InvalidRequestError: There is a connector.
        """
        if kwargs.get("connector") is not None:
            raise InvalidRequestError("a connector belongs to one event loop: leave it out, or stay asynchronous")
        return Whole(_pull(lambda: cls.create_async_generator(model, messages, **kwargs)), TextProgress())

    @classmethod
    def create_function(cls, *args: Any, **kwargs: Any) -> Generator[str, None, None]:
        """What g4f 0.5 to 7.4 call for :meth:`create_completion`."""
        return cls.create_completion(*args, **kwargs)

    @classmethod
    def async_create_function(cls, *args: Any, **kwargs: Any) -> AsyncGenerator[str, None]:
        """What g4f 0.5 to 7.4 call for :meth:`create_async_generator`."""
        return cls.create_async_generator(*args, **kwargs)

    @classmethod
    def get_create_function(cls) -> Callable[..., Generator[str, None, None]]:
        """What g4f up to 0.5 calls to find :meth:`create_completion`."""
        return cls.create_completion

    @classmethod
    def get_async_create_function(cls) -> Callable[..., AsyncGenerator[str, None]]:
        """What g4f up to 0.5 calls to find :meth:`create_async_generator`."""
        return cls.create_async_generator

    @classmethod
    def get_dict(cls) -> dict[str, str | None]:
        """The provider's ``name``, ``url`` (without the user and password it may hold) and ``label``."""
        return {"name": cls.__name__, "url": split_userinfo(cls.url)[0], "label": cls.label}

    @classmethod
    def get_parent(cls) -> str:
        """The name under which g4f looks up ``api_key``, where that is a mapping."""
        return str(getattr(cls, "parent", cls.__name__))


class ProviderModelMixin:
    """The models of a provider.

    Attributes:
        default_model: The model where none is named.
        models: The models on offer; empty if there is only the default one.
        model_aliases: Other names for them.
        last_model: The model of the latest call; g4f 0.4 shows it with the reply.
    """

    __module__ = "aichatfree"

    default_model: ClassVar[str] = ""
    models: ClassVar[list[str]] = []
    model_aliases: ClassVar[dict[str, str]] = {}
    last_model: ClassVar[str] = ""

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """The models on offer. Nothing depends on what frameworks pass as ``kwargs``, such as ``api_key``."""
        return list(cls.models) or [cls.default_model]

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """The model meant by a name. An unknown name is accepted, and said once in the log.

        Args:
            model: A model, an alias, or nothing (None or ``""``) for the default.
            **kwargs: What frameworks pass to :meth:`get_models` as well.

        Raises:
            InvalidRequestError: The name is not a str.
        """
        if model is not None and not isinstance(model, str):
            raise InvalidRequestError(f"model is of type {type(model).__name__}: give a str, or '' for the default")
        chosen = cls.model_aliases.get(model, model) if model else cls.default_model
        if chosen not in cls.get_models(**kwargs):
            _say_once(cls.__name__, chosen)
        cls.last_model = chosen
        return chosen


@lru_cache(maxsize=256)
def _say_once(provider: str, model: str) -> None:
    _log.warning("%s knows no model %.100r; it is only a label, since the server chooses the model", provider, model)


class _Read:
    """The read that an event loop is run for, which another thread may interrupt."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.interrupted = False
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None

    async def following(self, pieces: AsyncGenerator[str, None]) -> str | None:
        """The next piece, None after the last one, or where the read is interrupted."""
        self._task = asyncio.current_task()
        try:
            return None if self.interrupted else await anext(pieces, None)
        except asyncio.CancelledError:
            if not self.interrupted:
                raise
            return None
        finally:
            self._task = None

    def interrupt(self) -> None:
        """End the read, from any thread."""
        self.interrupted = True
        with suppress(RuntimeError):  # the loop is closed: nothing is read any more
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _pull(make: Callable[[], AsyncGenerator[str, None]]) -> Generator[Any, None, None]:
    """Draw the pieces out of an asynchronous generator, in an event loop of its own that runs while one is awaited."""
    pieces = make()
    loop = asyncio.new_event_loop()
    read = _Read(loop)

    async def end() -> None:
        # Ctrl-C leaves a task behind in the middle of its step, and a generator cannot be closed while it runs.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left and (await asyncio.wait(left, timeout=LEAVE_SECONDS))[1]:
            return
        await pieces.aclose()
        await loop.shutdown_asyncgens()

    try:
        yield Interruptible(read.interrupt)
        while (piece := _run(loop, lambda: read.following(pieces))) is not None:
            yield piece
        if not read.interrupted:
            yield END
    finally:
        try:
            _run(loop, end)
        finally:
            loop.close()


def _run(loop: asyncio.AbstractEventLoop, step: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return loop.run_until_complete(step())
    # A notebook, say: this thread has a running loop, and it can have no other at the same time.
    with ThreadPoolExecutor(1, thread_name_prefix="aichatfree") as thread:
        running = thread.submit(lambda: loop.run_until_complete(step()))
        try:
            return running.result()
        except BaseException:
            for task in asyncio.all_tasks(loop):
                loop.call_soon_threadsafe(task.cancel)
            raise
