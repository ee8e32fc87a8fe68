"""The asynchronous face: AsyncClient and AsyncStream. The twins in client.py differ by ``await``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING

from .async_stream import AsyncStream
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
from .transports.aiohttp_transport import AiohttpTransport

if TYPE_CHECKING:
    import aiohttp

    from .conversation import AsyncConversation
    from .core.batch import MapResult
    from .core.history import OnInterrupt
    from .core.report import CheckReport


class AsyncClient(BaseClient[AiohttpTransport]):
    """A client of one GeminiProChat server. It may be made outside an event loop, and outlive one.

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
        session: A session of your own to send through. It is used as it is and never closed.
        connector: A connector of your own for the sessions that are made here. It is never closed.
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
        session: aiohttp.ClientSession | None = None,
        connector: aiohttp.BaseConnector | None = None,
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
        self._set_up(settings, AiohttpTransport(settings, session, connector))

    @classmethod
    def _make_transport(cls, settings: Settings) -> AiohttpTransport:
        return AiohttpTransport(settings)

    def stream(
        self, messages: Messages, *, model: str | None = None, timeout: Timeout | float | None = None
    ) -> AsyncStream:
        """Ask, and receive the reply piece by piece.

        The arguments are checked at once; the request goes out at the first piece, or on entering ``async with``.
        This method itself is not awaited.

        Args:
            messages: A str (one user message), a :class:`Message`, a mapping, or a list of these that ends with a
                user message.
            model: A label for this call, recorded on the stream and never sent.
            timeout: The limits of this call: seconds, or a :class:`Timeout`; None means the client's own.

        Returns:
            An asynchronous iterator over the pieces of text.

        Raises:
            InvalidRequestError: An argument cannot be sent, or the client is closed.
        """
        return AsyncStream(self, self._generate_call(messages, model=model, timeout=timeout))

    async def generate(
        self, messages: Messages, *, model: str | None = None, timeout: Timeout | float | None = None
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
        return await AsyncStream(self, call).until_done()

    async def verify_password(self, password: str | None = None) -> bool:
        """Ask the server whether a password is right (``POST /api/auth``).

        Args:
            password: The password to try; None means the client's own.

        Returns:
            True if it is right, or if the server wants none.

        Raises:
            AIChatFreeError: The server could not be asked, or gave no answer of this protocol.
        """
        call = self._auth_call(password)
        await AsyncStream(self, call).until_done()
        return call.accepted

    def conversation(
        self,
        system: str | None = None,
        history: Messages = (),
        max_messages: int | None = DEFAULT_MAX_MESSAGES,
        on_interrupt: OnInterrupt = "discard",
    ) -> AsyncConversation:
        """Begin a conversation: it remembers what was said, and sends it along.

        Args:
            system: The text of a system message, which goes along with every question.
            history: What was said before, as for :meth:`stream`, but ending with an answer.
            max_messages: As many messages are remembered, and sent, at most; None is no limit.
            on_interrupt: ``"discard"`` or ``"keep"``: what is done with the part of a reply that broke off.

        Raises:
            InvalidRequestError: An argument cannot be used; the text says which and what to give instead.
        """
        from .conversation import AsyncConversation

        return AsyncConversation(self, system, history, max_messages, on_interrupt)

    async def check(self, *, timeout: Timeout | float | None = None) -> CheckReport:
        """Find out what works and what does not: two small requests, tried once each.

        Args:
            timeout: The limits of each request: seconds, or a :class:`Timeout`; None means the client's own.

        Returns:
            A report to print or to look through; what it finds wrong is in it and not raised.

        Raises:
            InvalidRequestError: The client is closed, or ``timeout`` cannot be used.
        """
        from .check import check_async

        return await check_async(self, timeout)

    def map(
        self,
        prompts: Iterable[Messages] | AsyncIterable[Messages],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        return_errors: bool = True,
        max_rate: float | None = None,
        model: str | None = None,
        timeout: Timeout | float | None = None,
    ) -> AsyncGenerator[MapResult]:
        """Ask many prompts, some at once, and receive the whole replies. Over tasks.

        Prompts are taken as they are needed, at most twice ``concurrency`` ahead of the results. One that
        fails does not stop the others. Leaving the loop, or closing the generator, ends what still runs.
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
        from .mapping import map_prompts_async

        return map_prompts_async(
            self,
            prompts,
            concurrency=concurrency,
            ordered=ordered,
            return_errors=return_errors,
            max_rate=max_rate,
            model=model,
            timeout=timeout,
        )

    async def aclose(self) -> None:
        """Close the connections, unless another client made by :meth:`with_options` still uses them."""
        if self._leave_transport():
            await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        self._check_open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
