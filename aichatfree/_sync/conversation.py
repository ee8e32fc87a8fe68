"""Conversation: a history that grows by whole turns only."""

from __future__ import annotations

from functools import partial

from .._core.conversation import BaseConversation, Question
from .._core.timeouts import CLIENT_TIMEOUT, ClientTimeout, Timeout
from .stream import Stream


class Conversation(BaseConversation[Stream]):
    """A conversation with the server: it remembers what was said, and sends it along.

    A turn joins :attr:`messages` when its reply is complete. One that fails, or whose stream is closed or dropped
    before its end, leaves the history as it was, or with ``on_interrupt="keep"``, with the part of the reply that had
    come, if any had. The conversation goes on after any error.

    There is one turn at a time: while a stream is being read, another turn, from whatever thread, is refused with an
    InvalidRequestError. A stream that was made but not begun holds nobody up; if the conversation has changed when
    it does begin, it is the one refused.

    Copies (also deep ones) and pickles are conversations of their own; a copy uses the same client.

    Made by :meth:`Client.conversation`, :meth:`from_dict` or :meth:`load`.

    Args:
        client: What it asks through.
        system: The system message's text, if there is to be one. It goes along with every question.
        history: What was said before: alternating user and assistant messages, in any form that
            :meth:`Client.stream` takes, the last one an assistant's. A system message may stand before them.
        max_messages: At most this many messages, the system message not counted, are remembered, and sent with the
            question: the oldest turns are forgotten as wholes. None is no limit.
        on_interrupt: ``"discard"`` or ``"keep"``: what is done with the part of a reply that broke off.

    Raises:
        InvalidRequestError: An argument cannot be used; the text says which and what to give instead.
    """

    __module__ = "aichatfree"

    _stream_type = Stream

    def stream(
        self, text: str, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> Stream:
        """Ask, and receive the reply piece by piece.

        Args:
            text: What the user says.
            model: As for :meth:`Client.stream`.
            timeout: As for :meth:`Client.stream`.

        Returns:
            An iterator over the pieces of text.

        Raises:
            InvalidRequestError: An argument cannot be sent, or the reply of another turn is still coming.
        """
        return self._stream(self._ask(text), model, timeout)

    def generate(
        self, text: str, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> str:
        """Ask, and receive the whole reply. A reply that breaks off is asked for again, as the retries allow.

        Args:
            text: What the user says.
            model: As for :meth:`Client.stream`.
            timeout: As for :meth:`Client.stream`.

        Raises:
            AIChatFreeError: There is no whole reply; what had come of the last one is in its ``partial``.
        """
        with self._stream(self._ask(text), model, timeout, restartable=True) as stream:
            return stream.until_done()

    def retry(
        self, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> str:
        """Ask the last question again, as :meth:`generate` does, whether it got an answer or not.

        An old answer is replaced only when the new one is complete.

        Args:
            model: As for :meth:`Client.stream`.
            timeout: As for :meth:`Client.stream`.

        Raises:
            InvalidRequestError: Nothing was asked yet, or the reply of another turn is still coming.
            AIChatFreeError: There is no whole reply; what had come of the last one is in its ``partial``.
        """
        with self._stream(self._ask_again(), model, timeout, restartable=True) as stream:
            return stream.until_done()

    def retry_stream(
        self, *, model: str | None = None, timeout: Timeout | float | ClientTimeout | None = CLIENT_TIMEOUT
    ) -> Stream:
        """As :meth:`retry`, but receive the reply piece by piece."""
        return self._stream(self._ask_again(), model, timeout)

    def _stream(
        self,
        question: Question,
        model: str | None,
        timeout: Timeout | float | ClientTimeout | None,
        *,
        restartable: bool = False,
    ) -> Stream:
        call = self._call(question, model, timeout, restartable=restartable)
        return self._client._open_stream(call, partial(self._begin, question))
