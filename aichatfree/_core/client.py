"""What Client and AsyncClient have in common: everything that waits for nothing."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from types import MemberDescriptorType
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack

from ..errors import InvalidRequestError
from .call import Call, Clocks
from .settings import AllOptions, Settings
from .stream import BaseStream, Begin, Control
from .timeouts import CLIENT_TIMEOUT, ClientTimeout, Timeout
from .version import version
from .wire.interruption import closed_by_caller
from .wire.messages import Dumped, Messages, dump_messages
from .wire.requests import RequestBuilder
from .wire.signing import Signer

CLOCKS = Clocks(monotonic=time.monotonic, wall=time.time, random=random.random)

_OF_THE_TRANSPORT = frozenset({"proxy", "verify", "trust_env"})


TransportT = TypeVar("TransportT")
StreamT = TypeVar("StreamT")


class Share:
    """A client's part in its connections: whether it is closed, and which of its streams are on their way.

    Args:
        owner: The share of the client whose connections this one borrows; None for connections of its own.
    """

    def __init__(self, owner: Share | None = None) -> None:
        self.owner = owner
        self._closed = False
        self.running: set[Control] = set() if owner is None else owner.running

    @property
    def closed(self) -> bool:
        """Whether this client was closed, or the one whose connections it borrows."""
        return self._closed or (self.owner is not None and self.owner.closed)

    def close(self) -> bool:
        """Interrupt the streams of this client, and of those that borrow from it.

        Returns:
            Whether its connections are to be closed now.
        """
        first, self._closed = not self._closed, True
        for control in tuple(self.running):
            if self._reaches(control.share):
                control.close()
        return first and self.owner is None

    def _reaches(self, share: object) -> bool:
        return self.owner is None or share is self or (isinstance(share, Share) and share.owner is self)


class BaseClient(Generic[TransportT, StreamT]):
    """A client's settings and its part in a transport."""

    _transport: TransportT
    _passed_in: str | None
    _settings: Settings
    _signer: Signer
    _builder: RequestBuilder
    _share: Share
    _stream_type: ClassVar[type[BaseStream]]

    def _set_up(
        self,
        settings: Settings,
        transport: TransportT,
        *,
        passed_in: str | None = None,
        owner: Share | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._passed_in = passed_in
        self._signer = signer or Signer(settings.secret, CLOCKS.wall)
        of_the_transport: tuple[str, ...] = getattr(transport, "secrets", ())
        self._builder = RequestBuilder(settings, self._signer, f"aichatfree/{version()}", of_the_transport)
        self._share = Share(owner)

    @classmethod
    def _make_transport(cls, settings: Settings) -> TransportT:
        raise NotImplementedError

    def _open_stream(self, call: Call, begin: Begin | None = None) -> StreamT:
        """A stream of a call; ``begin`` is asked, when its request is about to go out, whether it still may."""
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """The server's address, without user and password."""
        return self._settings.base_url

    @property
    def closed(self) -> bool:
        """Whether the client was closed, or the one from which :meth:`with_options` derived it."""
        return self._share.closed

    def with_options(self, **changes: Unpack[AllOptions]) -> Self:
        """A client with some settings changed.

        It borrows the connections of this one: closing the first client closes them for all, closing a derived one
        closes nothing but its own streams. Where ``proxy``, ``verify`` or ``trust_env`` are among the changes, it has
        connections of its own. With another ``base_url`` it learns that server's clock afresh.

        Args:
            **changes: Any keyword of the constructor but ``session``, ``connector`` and ``transport``.

        Returns:
            The new client, of the same class, with the same attributes.

        Raises:
            InvalidRequestError: An unknown name, a value that cannot work, or this client is closed.
        """
        self._check_open()
        settings = self._settings.change(changes)
        apart = _OF_THE_TRANSPORT & changes.keys()
        if apart and self._passed_in:
            raise InvalidRequestError(
                f"{', '.join(sorted(apart))} cannot be changed on a client with {self._passed_in}=: make another client"
            )
        client = type(self).__new__(type(self))
        client._take(self._additions())
        same_server = settings.base_url == self._settings.base_url
        client._set_up(
            settings,
            self._make_transport(settings) if apart else self._transport,
            passed_in=self._passed_in,
            owner=None if apart else self._share.owner or self._share,
            signer=self._signer.with_secret(settings.secret) if same_server else None,
        )
        return client

    def _asker(self) -> Self:
        """A client for single attempts, which is closed with this one."""
        client = self.with_options(max_retries=0)
        client._share = Share(self._share)
        return client

    def _additions(self) -> dict[str, Any]:
        """The attributes that a subclass, or somebody else, has added."""
        added = {name: value for name, value in vars(self).items() if name not in BaseClient.__annotations__}
        return added | {name: getattr(self, name) for name in _slots(type(self)) if hasattr(self, name)}

    def _take(self, additions: Mapping[str, Any]) -> None:
        slots = _slots(type(self))
        for name, value in additions.items():
            if name in slots:
                object.__setattr__(self, name, value)
            else:
                vars(self)[name] = value

    def _check_open(self) -> None:
        if self._share.closed:
            raise InvalidRequestError("this client is closed: make a new one")

    def _beginning(self, begin: Begin | None) -> Begin:
        """What a stream asks when its request is about to go out."""

        def begin_open(stream: BaseStream) -> None:
            if self._share.closed:  # it was open when the stream was made
                raise closed_by_caller()
            if begin is not None:
                begin(stream)

        return begin_open

    def _leave_transport(self) -> bool:
        """Close this client; return whether its connections are to be closed."""
        return self._share.close() and self._passed_in != "transport"

    def _generate_call(
        self,
        messages: Messages,
        *,
        model: str | None,
        timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT,
        restartable: bool = False,
        dump: Callable[[Messages], tuple[Dumped, str]] = dump_messages,
    ) -> Call:
        """Check the arguments of a call, before any I/O."""
        self._check_open()
        return self._encoded_call(*dump(messages), model=model, timeout=timeout, restartable=restartable)

    def _encoded_call(
        self,
        contents: Dumped,
        text: str,
        *,
        model: str | None,
        timeout: Timeout | float | ClientTimeout | None,
        restartable: bool,
    ) -> Call:
        """The same for a history that is encoded already; ``text`` is that of its last message."""
        self._check_open()
        if model is not None and not isinstance(model, str):
            raise InvalidRequestError(f"model is of type {type(model).__name__}: give a str; it is only a label")
        return Call(
            self._settings,
            self._signer,
            CLOCKS,
            self._builder.draft(self._builder.generate, contents, text),
            timeout=None if timeout is CLIENT_TIMEOUT else Timeout.of(timeout),
            model=model,
            restartable=restartable,
        )

    def _auth_call(self, password: str | None) -> Call:
        self._check_open()
        if password is not None and not isinstance(password, str):
            raise InvalidRequestError(f"password is of type {type(password).__name__}: give a str")
        return Call(self._settings, self._signer, CLOCKS, self._builder.draft(self._builder.auth, password), auth=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.describe()}{', closed' if self.closed else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._passed_in:
            raise TypeError(
                f"a {type(self).__name__} with {self._passed_in}= cannot be pickled: "
                f"make one without, or make it where it is used"
            )
        return _restore, (type(self), self._settings, self._additions())


def _slots(kind: type) -> set[str]:
    """The names of the attributes for which a class, or one that it inherits from, has ``__slots__``."""
    members = ((name, member) for each in kind.__mro__ for name, member in vars(each).items())
    return {name for name, member in members if type(member) is MemberDescriptorType}


def _restore(kind: type[BaseClient[Any, Any]], settings: Settings, additions: Mapping[str, Any]) -> Any:
    client = kind.__new__(kind)
    client._take(additions)
    client._set_up(settings, kind._make_transport(settings))
    return client


def resolve_settings(**given: Any) -> Settings:
    """The settings for what a constructor was given; the environment is read here, when a client is made."""
    return Settings.resolve(environ=os.environ, **given)


def check_transport(transport: object, settings: Settings, ends: str, *, other: str) -> None:
    """Refuse a ``transport=`` that cannot be one, or options that it could not obey.

    Args:
        transport: What the user passed in.
        settings: What else they passed.
        ends: The name of the method that ends a transport of this colour.
        other: The client to which one of the other colour belongs.

    Raises:
        InvalidRequestError: It is of the wrong type, or there are options for connections of our own.
    """
    if not callable(getattr(transport, "exchange", None)) or isinstance(transport, type):
        raise InvalidRequestError(
            f"transport is of type {type(transport).__name__}: give an object with exchange(request, deadline) "
            f"and {ends}(), see aichatfree.Transport"
        )
    if not callable(getattr(transport, ends, None)):
        raise InvalidRequestError(f"transport has no {ends}(): one of the other colour belongs to {other}")
    if settings.proxy is not None or settings.verify is not True:
        raise InvalidRequestError("proxy= and verify= have no effect on a transport= of your own: settle them there")
