"""AsyncConversation: a history that grows by whole turns only."""

from __future__ import annotations

from functools import partial

from .._core.conversation import BaseConversation, Question
from .._core.timeouts import CLIENT_TIMEOUT, ClientTimeout, Timeout
from .stream import AsyncStream


class AsyncConversation(BaseConversation[AsyncStream]):
    """A conversation with the server: it remembers what was said, and sends it along.

    As :class:`Conversation`, of which it is the asynchronous twin. Made by :meth:`AsyncClient.conversation`,
    :meth:`from_dict` or :meth:`load`.
    """

    __module__ = "aichatfree"

    _stream_type = AsyncStream

    def stream(
        self, text: str, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> AsyncStream:
        """Ask, and receive the reply piece by piece. This method itself is not awaited.

        Args:
            text: What the user says.
            model: As for :meth:`AsyncClient.stream`.
            timeout: As for :meth:`AsyncClient.stream`.

        Returns:
            An asynchronous iterator over the pieces of text.

        Raises:
            InvalidRequestError: An argument cannot be sent, or the reply of another turn is still coming.
        """
        return self._stream(self._ask(text), model, timeout)

    async def generate(
        self, text: str, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> str:
        """Ask, and receive the whole reply. A reply that breaks off is asked for again, as the retries allow.

        Args:
            text: What the user says.
            model: As for :meth:`AsyncClient.stream`.
            timeout: As for :meth:`AsyncClient.stream`.

        Raises:
            AIChatFreeError: There is no whole reply; what had come of the last one is in its ``partial``.
        """
        async with self._stream(self._ask(text), model, timeout, restartable=True) as stream:
            return await stream.until_done()

    async def retry(
        self, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> str:
        """Ask the last question again, as :meth:`generate` does, whether it got an answer or not.

        An old answer is replaced only when the new one is complete.

        Args:
            model: As for :meth:`AsyncClient.stream`.
            timeout: As for :meth:`AsyncClient.stream`.

        Raises:
            InvalidRequestError: Nothing was asked yet, or the reply of another turn is still coming.
            AIChatFreeError: There is no whole reply; what had come of the last one is in its ``partial``.
        """
        async with self._stream(self._ask_again(), model, timeout, restartable=True) as stream:
            return await stream.until_done()

    def retry_stream(
        self, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> AsyncStream:
        """As :meth:`retry`, but receive the reply piece by piece."""
        return self._stream(self._ask_again(), model, timeout)

    def _stream(
        self,
        question: Question,
        model: str | None,
        timeout: Timeout | float | ClientTimeout | None,
        *,
        restartable: bool = False,
    ) -> AsyncStream:
        call = self._call(question, model, timeout, restartable=restartable)
        return self._client._open_stream(call, partial(self._begin, question))
