"""What Client and AsyncClient, Stream and AsyncStream have in common: everything that waits for nothing."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from .core.call import Call, Clocks, Stats
from .core.messages import Content, Messages, to_contents
from .core.payload import RequestBuilder, dump_contents
from .core.settings import Settings, Timeout
from .core.signing import Signer
from .errors import InvalidRequestError, StreamInterruptedError

CLOCKS = Clocks(monotonic=time.monotonic, wall=time.time, random=random.random)

_OF_THE_TRANSPORT = frozenset({"proxy", "verify", "trust_env"})


class Transport(Protocol):
    """What a client needs to know of its transport."""

    users: int
    """Open clients that share it."""

    @property
    def passed_in(self) -> str | None:
        """The name of the argument with which the user passed in a session or connector."""


TransportT = TypeVar("TransportT", bound=Transport)
SelfT = TypeVar("SelfT", bound="BaseClient[Any]")


class BaseClient(Generic[TransportT]):
    """A client's settings and its share of a transport."""

    _transport: TransportT

    def _set_up(self, settings: Settings, transport: TransportT, signer: Signer | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._signer = signer or Signer(settings.secret, CLOCKS.wall)
        self._builder = RequestBuilder(settings, self._signer)
        self._closed = False
        transport.users += 1

    @classmethod
    def _make_transport(cls, settings: Settings) -> TransportT:
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """The server's address, without user and password."""
        return self._settings.base_url

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._closed

    def with_options(self: SelfT, **changes: Any) -> SelfT:
        """A client with some settings changed.

        It shares the connections of this one, unless ``proxy``, ``verify`` or ``trust_env`` are among the changes;
        shared connections are closed with the last client that uses them.

        Args:
            **changes: Any keyword of the constructor but ``session`` and ``connector``.

        Returns:
            The new client.

        Raises:
            InvalidRequestError: An unknown name, a value that cannot work, or this client is closed.
        """
        self._check_open()
        settings = self._settings.change(changes)
        apart = _OF_THE_TRANSPORT & changes.keys()
        if apart and self._transport.passed_in:
            raise InvalidRequestError(
                f"{', '.join(sorted(apart))} cannot be changed on a client with {self._transport.passed_in}=: "
                f"make another client"
            )
        client = type(self).__new__(type(self))
        transport = self._make_transport(settings) if apart else self._transport
        client._set_up(settings, transport, None if "secret" in changes else self._signer)
        return client

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidRequestError("this client is closed: make a new one")

    def _leave_transport(self) -> bool:
        """Close this client; return whether nobody is left who uses the transport."""
        if self._closed:
            return False
        self._closed = True
        self._transport.users -= 1
        return self._transport.users <= 0

    def _generate_call(
        self,
        messages: Messages,
        *,
        model: str | None,
        timeout: Timeout | float | None,
        restartable: bool = False,
        read: Callable[[Messages], tuple[Content, ...]] = to_contents,
    ) -> Call:
        """Check the arguments of a call, before any I/O."""
        self._check_open()
        if model is not None and not isinstance(model, str):
            raise InvalidRequestError(f"model is of type {type(model).__name__}: give a str; it is only a label")
        contents = read(messages)
        text = contents[-1].text if contents else ""
        return Call(
            self._settings,
            self._signer,
            CLOCKS,
            partial(self._builder.generate, dump_contents(contents), text),
            timeout=None if timeout is None else Timeout.of(timeout),
            model=model,
            restartable=restartable,
        )

    def _auth_call(self, password: str | None) -> Call:
        self._check_open()
        if password is not None and not isinstance(password, str):
            raise InvalidRequestError(f"password is of type {type(password).__name__}: give a str")
        return Call(self._settings, self._signer, CLOCKS, partial(self._builder.auth, password), auth=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.describe()}{', closed' if self._closed else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._transport.passed_in:
            raise TypeError(
                f"a {type(self).__name__} with {self._transport.passed_in}= cannot be pickled: "
                f"make one without, or make it where it is used"
            )
        return _restore, (type(self), self._settings)


def _restore(kind: type[SelfT], settings: Settings) -> SelfT:
    client = kind.__new__(kind)
    client._set_up(settings, kind._make_transport(settings))
    return client


def resolve_settings(**given: Any) -> Settings:
    """The settings for what a constructor was given; the environment is read here, when a client is made."""
    return Settings.resolve(environ=os.environ, **given)


class BaseStream:
    """What can be asked of a stream while it runs and after it."""

    def __init__(self, call: Call, begin: Callable[[BaseStream], None] | None = None) -> None:
        self._call = call
        self._begin = begin

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
        """What the call took so far: tries, seconds to the first text, seconds in all, bytes, pieces."""
        return self._call.stats

    def _whole_text(self) -> str:
        if not self._call.complete:
            error = StreamInterruptedError("the stream was closed before the reply was whole")
            raise self._call.failed(error)
        return self._call.text

    def __repr__(self) -> str:
        state = "whole" if self._call.complete else "closed" if self.closed else "open"
        return f"<{type(self).__name__} {state}, {len(self._call.text)} characters>"
