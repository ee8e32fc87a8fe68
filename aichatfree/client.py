"""The synchronous face: Client and Stream. The twins in async_client.py differ by ``await``."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING

from .base import BaseClient, resolve_settings
from .core.messages import Messages
from .core.retry import RetryPolicy
from .core.settings import (
    DEFAULT_MAX_MESSAGES,
    DEFAULT_MAX_REPLY_BYTES,
    DEFAULT_MODEL,
    IN_BAND_ERRORS,
    Settings,
    Timeout,
    Verify,
)
from .stream import Stream
from .transports.requests_transport import RequestsTransport

if TYPE_CHECKING:
    import requests

    from .conversation import Conversation
    from .core.batch import MapResult
    from .core.history import OnInterrupt
    from .core.report import CheckReport


class Client(BaseClient[RequestsTransport]):
    """A client of one GeminiProChat server. It may be shared by threads.

    Args:
        base_url: The server's root, such as ``http://127.0.0.1:3000``; by default ``AICHATFREE_BASE_URL``, then
            ``https://aichatfree.info``.
        secret: The server's ``PUBLIC_SECRET_KEY``; by default ``AICHATFREE_SECRET``, then empty.
        password: The site password; by default ``AICHATFREE_PASSWORD``, then none. ``""`` means none in any case.
        model: A label recorded on each stream. The server chooses the model, and this is never sent.
        timeout: Seconds, a :class:`Timeout`, or None for no limit.
        max_retries: How often a call is tried again while no text of the reply has reached the caller.
        retry: A :class:`RetryPolicy`, which also says how long to wait; it goes before ``max_retries``.
        headers: HTTP headers that are added to each request, or replace the ones sent by default.
        proxy: The proxy's URL; by default what the environment says, as it was when the client was made.
        verify: True, False, a path to CA certificates, or an SSLContext. True trusts the bundle that
            ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names, else certifi's.
        trust_env: Whether the environment's proxies and certificates count.
        session: A session of your own to send through. It is used as it is and never closed. A stream through it can
            be closed from another thread only from the headers of the answer on.
        max_reply_bytes: The largest reply, in decoded bytes.
        in_band_errors: Texts that mean a failure where a reply ends with them.

    Raises:
        InvalidRequestError: A value cannot work; the text says which and what to give instead.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        secret: str | None = None,
        password: str | None = None,
        model: str = DEFAULT_MODEL,
        timeout: Timeout | float | None = Timeout(),  # noqa: B008 - frozen
        max_retries: int = 2,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        verify: Verify = True,
        trust_env: bool = True,
        session: requests.Session | None = None,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
        in_band_errors: tuple[str, ...] = IN_BAND_ERRORS,
    ) -> None:
        settings = resolve_settings(
            base_url=base_url,
            secret=secret,
            password=password,
            model=model,
            timeout=timeout,
            max_retries=max_retries,
            retry=retry,
            headers=headers,
            proxy=proxy,
            verify=verify,
            trust_env=trust_env,
            max_reply_bytes=max_reply_bytes,
            in_band_errors=in_band_errors,
        )
        self._set_up(settings, RequestsTransport(settings, session))

    @classmethod
    def _make_transport(cls, settings: Settings) -> RequestsTransport:
        return RequestsTransport(settings)

    def stream(self, messages: Messages, *, model: str | None = None, timeout: Timeout | float | None = None) -> Stream:
        """Ask, and receive the reply piece by piece.

        The arguments are checked at once; the request goes out at the first piece, or on entering ``with``.

        Args:
            messages: A str (one user message), a :class:`Message`, a mapping, or a list of these that ends with a
                user message.
            model: A label for this call, recorded on the stream and never sent.
            timeout: The limits of this call: seconds, or a :class:`Timeout`; None means the client's own.

        Returns:
            An iterator over the pieces of text.

        Raises:
            InvalidRequestError: An argument cannot be sent, or the client is closed.
        """
        return Stream(self, self._generate_call(messages, model=model, timeout=timeout))

    def generate(self, messages: Messages, *, model: str | None = None, timeout: Timeout | float | None = None) -> str:
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
        return Stream(self, self._generate_call(messages, model=model, timeout=timeout, restartable=True)).until_done()

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
        Stream(self, call).until_done()
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
            max_messages: As many messages are remembered, and sent, at most; None is no limit.
            on_interrupt: ``"discard"`` or ``"keep"``: what is done with the part of a reply that broke off.

        Raises:
            InvalidRequestError: An argument cannot be used; the text says which and what to give instead.
        """
        from .conversation import Conversation

        return Conversation(self, system, history, max_messages, on_interrupt)

    def check(self, *, timeout: Timeout | float | None = None) -> CheckReport:
        """Find out what works and what does not: two small requests, tried once each.

        Args:
            timeout: The limits of each request: seconds, or a :class:`Timeout`; None means the client's own.

        Returns:
            A report to print or to look through; what it finds wrong is in it and not raised.

        Raises:
            InvalidRequestError: The client is closed, or ``timeout`` cannot be used.
        """
        from .check import check

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
        timeout: Timeout | float | None = None,
    ) -> Generator[MapResult]:
        """Ask many prompts, some at once, and receive the whole replies. Over threads.

        Prompts are taken as they are needed, at most twice ``concurrency`` ahead of the results, in the thread that
        iterates. One that fails does not stop the others. Leaving the loop, or closing the generator, ends what still
        runs.
        When the server says that the quota is used up, all wait as long as it says; such a prompt is asked again, until
        ``max_retries`` waits in a row have brought no reply.

        Args:
            prompts: What to ask: each as the ``messages`` of :meth:`stream`.
            concurrency: As many are on their way at once, at most.
            ordered: Results come in the order of the prompts; False: as they are ready.
            return_errors: A failure is a result with its ``error``; False: it is raised, and ends the loop.
            max_rate: Requests a minute at most, evenly spaced, retries included; None is no limit.
            model: As for :meth:`stream`.
            timeout: As for :meth:`stream`, for each try of each prompt.

        Yields:
            A :class:`~aichatfree.core.batch.MapResult` for each prompt.

        Raises:
            InvalidRequestError: An argument cannot be used, or the client is closed.
        """
        from .mapping import map_prompts

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
        """Close the idle connections, unless another client made by :meth:`with_options` still uses them."""
        if self._leave_transport():
            self._transport.close()

    def __enter__(self) -> Client:
        self._check_open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
