"""Client: the synchronous door to a server."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Self, Unpack

import requests

from .._core.call import Call
from .._core.client import BaseClient, check_transport, resolve_settings
from .._core.diagnosis import CheckReport
from .._core.history import OnInterrupt
from .._core.pacing import MapResult
from .._core.settings import DEFAULT_MAX_MESSAGES, Options, Settings
from .._core.stream import Begin
from .._core.timeouts import CLIENT_TIMEOUT, ClientTimeout, Timeout
from .._core.transport import Transport
from .._core.wire.messages import Messages
from ..errors import InvalidRequestError
from .check import check
from .conversation import Conversation
from .map import map_prompts
from .stream import Stream
from .transport.transport import RequestsTransport


class Client(BaseClient[Transport, Stream]):
    """A client of one GeminiProChat server. Threads may share it.

    Args:
        base_url: The server's root, such as ``http://127.0.0.1:3000``; by default ``AICHATFREE_BASE_URL``, then
            ``https://aichatfree.info``.
        session: A ``requests.Session`` of your own to send through. It is used as it is and never closed; answers with
            more than 100 header fields are refused by the http.client under it.
        transport: Another way to send requests, see :class:`~aichatfree.Transport`. It is never closed.
        **options: See :class:`~aichatfree.Options`: ``secret``, ``password``, ``model``, ``timeout``,
            ``max_retries``, ``retry``, ``headers``, ``proxy``, ``verify``, ``trust_env``, ``max_reply_bytes``,
            ``in_band_errors``.

    Raises:
        InvalidRequestError: A value cannot work, or a name is unknown; the text says which and what to give instead.
    """

    __module__ = "aichatfree"

    def __init__(
        self,
        base_url: str | None = None,
        *,
        session: requests.Session | None = None,
        transport: Transport | None = None,
        **options: Unpack[Options],
    ) -> None:
        settings = resolve_settings(base_url=base_url, **options)
        if transport is None:
            own = RequestsTransport(settings, session)
            self._set_up(settings, own, passed_in=own.passed_in)
            return
        if session is not None:
            raise InvalidRequestError("give session= or transport=, not both: a transport has connections of its own")
        check_transport(transport, settings, "close", other="AsyncClient")
        self._set_up(settings, transport, passed_in="transport")

    _stream_type = Stream

    @classmethod
    def _make_transport(cls, settings: Settings) -> Transport:
        return RequestsTransport(settings)

    def _open_stream(self, call: Call, begin: Begin | None = None) -> Stream:
        return Stream(call, self._transport, self._share, self._beginning(begin))

    def stream(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT,
    ) -> Stream:
        """Ask, and receive the reply piece by piece.

        The arguments are checked at once; the request goes out at the first piece, or on entering ``with``.

        Args:
            messages: A str (one user message), a :class:`Message`, a mapping, or a list of these that ends with a
                user message.
            model: A label for this call, recorded on the stream and never sent.
            timeout: The limits of this call: seconds, a :class:`Timeout`, or None for no limit; by default the
                client's.

        Returns:
            An iterator over the pieces of text.

        Raises:
            InvalidRequestError: An argument cannot be sent, or the client is closed.
        """
        return self._open_stream(self._generate_call(messages, model=model, timeout=timeout))

    def generate(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT,
    ) -> str:
        """Ask, and receive the whole reply. A reply that breaks off is asked for again, as the retries allow.

        Args:
            messages: As for :meth:`stream`.
            model: As for :meth:`stream`.
            timeout: As for :meth:`stream`.

        Returns:
            The text of the reply.

        Raises:
            AIChatFreeError: There is no whole reply; what had come of the last one is in its ``partial``.
        """
        call = self._generate_call(messages, model=model, timeout=timeout, restartable=True)
        return self._open_stream(call).until_done()

    def verify_password(self, password: str | None = None) -> bool:
        """Ask the server whether a password is right (``POST /api/auth``).

        Args:
            password: The password to try; None means the client's own.

        Returns:
            True if it is right, or if the server wants none.

        Raises:
            AIChatFreeError: The server could not be asked, or gave no answer of this protocol.
        """
        call = self._auth_call(password)
        del password  # it is to be in no frame that a failure shows
        self._open_stream(call).until_done()
        return call.accepted

    def conversation(
        self,
        system: str | None = None,
        history: Messages = (),
        max_messages: int | None = DEFAULT_MAX_MESSAGES,
        on_interrupt: OnInterrupt = "discard",
    ) -> Conversation:
        """Begin a conversation: it remembers what was said, and sends it along.

        Args:
            system: The text of a system message, which goes along with every question.
            history: What was said before, as for :meth:`stream`, but ending with an answer.
            max_messages: At most this many messages are remembered, and sent; None is no limit.
            on_interrupt: ``"discard"`` or ``"keep"``: what is done with the part of a reply that broke off.

        Raises:
            InvalidRequestError: An argument cannot be used; the text says which and what to give instead.
        """
        return Conversation(self, system, history, max_messages, on_interrupt)

    def check(self, *, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT) -> CheckReport:
        """Find out what works and what does not: two small requests, one attempt each.

        Args:
            timeout: The limits of each request: seconds, a :class:`Timeout`, or None for no limit; by default the
                client's.

        Returns:
            A report to print or to look through; what it finds wrong is in it and not raised.

        Raises:
            InvalidRequestError: The client is closed, or ``timeout`` cannot be used.
        """
        return check(self, timeout)

    def map(
        self,
        prompts: Iterable[Messages],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        return_errors: bool = True,
        max_rate: float | None = None,
        model: str | None = None,
        timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT,
    ) -> Generator[MapResult]:
        """Ask many prompts, some at once, over threads, and receive the whole replies.

        Calls see the caller's context variables. Prompts are taken as they are needed, at most twice
        ``concurrency`` ahead of the results. One that fails does not stop the others. Leaving the loop, or
        closing the generator, ends what still runs. When the server says that the quota is used up, all wait as
        long as it says, up to ``max_retry_after``; such a prompt is asked again, until ``max_retries`` waits in
        a row have brought no reply.

        Args:
            prompts: What to ask: each as the ``messages`` of :meth:`stream`.
            concurrency: At most this many are on their way at once.
            ordered: Results come in the order of the prompts; False: as they are ready.
            return_errors: A failure is a result with its ``error``; False: it is raised, and ends the loop.
            max_rate: Requests a minute at most, evenly spaced, retries included; None is no limit.
            model: As for :meth:`stream`.
            timeout: As for :meth:`stream`, for each attempt of each prompt.

        Yields:
            A :class:`MapResult` for each prompt.

        Raises:
            InvalidRequestError: An argument cannot be used, or the client is closed.
            StreamInterruptedError: The map was closed, or a read of it was given up, and somebody reads on.
        """
        return map_prompts(
            self,
            prompts,
            concurrency=concurrency,
            ordered=ordered,
            return_errors=return_errors,
            max_rate=max_rate,
            model=model,
            timeout=timeout,
        )

    def close(self) -> None:
        """Close the client: interrupt its running streams, and close its connections, unless they are borrowed."""
        if self._leave_transport():
            self._transport.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
