"""AIChatFree servers as models of the `llm <https://llm.datasette.io>`_ command and library.

Installed with ``pip install 'aichatfree[llm]'``, it registers itself::

    llm -m aichatfree "Why is the sky blue?"
    llm -m aichatfree -o base_url http://127.0.0.1:3000 "Hello"
    llm keys set aichatfree           # the site password, where a server has one
    llm keys set aichatfree-secret    # the server's PUBLIC_SECRET_ALIAS, where it has one

The password and the secret are keys and not options, because llm writes the options of every prompt to its log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any
from urllib.parse import urlsplit

import llm
from llm.parts import ReasoningPart, TextPart
from pydantic import ConfigDict, Field, field_validator

from .. import Message, Timeout
from ..errors import InvalidRequestError

__all__ = ["ALIASES", "AIChatFreeModel", "AsyncAIChatFreeModel", "Options"]

MODEL_ID = "aichatfree"
ALIASES = ("geminiprochat",)
SECRET_ALIAS = "aichatfree-secret"  # noqa: S105 - the name of one


class Options(llm.Options):
    """The options of a prompt, ``-o NAME VALUE`` on the command line; what is not given is the client's default."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused URL holds a password

    base_url: str | None = Field(default=None, description="The server's address, by default AICHATFREE_BASE_URL")
    timeout: float | None = Field(
        default=None, gt=0, description="Seconds to connect, to the first byte, and between two pieces of the reply"
    )
    total_timeout: float | None = Field(default=None, gt=0, description="Seconds for the whole reply, with retries")
    max_retries: int | None = Field(default=None, ge=0, description="Further attempts after the first")
    proxy: str | None = Field(default=None, description="The URL of a proxy")

    @field_validator("base_url", "proxy")
    @classmethod
    def _without_credentials(cls, url: str | None) -> str | None:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("a user and password in a URL would be written to llm's log: use the environment")
        return url


class _Shared:
    """What the two models have in common: everything but waiting."""

    model_id = MODEL_ID
    can_stream = True
    needs_key: str | None = MODEL_ID
    key_env_var: str | None = "AICHATFREE_PASSWORD"
    key: str | None = None

    def get_key(self, explicit_key: str | None = None) -> str | None:
        """The site password, or None: most servers want none, so that a missing key is no error."""
        if self.key is not None:
            return self.key
        return llm.get_key(explicit_key, self.needs_key, self.key_env_var)


def _client_options(prompt: llm.Prompt, key: str | None) -> dict[str, Any]:
    options: Any = prompt.options
    given: dict[str, Any] = {
        "base_url": options.base_url,
        "password": key,
        "secret": llm.get_key(None, SECRET_ALIAS, "AICHATFREE_SECRET"),
        "proxy": options.proxy,
        "model": MODEL_ID,
    }
    if options.max_retries is not None:
        given["max_retries"] = options.max_retries
    limits = {} if options.timeout is None else dict.fromkeys(("connect", "first_byte", "idle"), options.timeout)
    given["timeout"] = Timeout(**limits, total=options.total_timeout)
    return {name: value for name, value in given.items() if value is not None}


def _messages(prompt: llm.Prompt) -> list[Message]:
    """The prompt with what was said before it.

    Raises:
        InvalidRequestError: It holds something that is not text, which the protocol cannot carry.
    """
    messages = []
    for message in prompt.messages:
        if message.role not in ("system", "user", "assistant"):
            raise InvalidRequestError(f"the history holds a message of the role {message.role!r}: {_TEXT_ONLY}")
        texts = []
        for part in message.parts:
            if isinstance(part, TextPart):
                texts.append(part.text)
            elif not isinstance(part, ReasoningPart):  # what a model thought was not said
                raise InvalidRequestError(f"the history holds a {type(part).__name__}: {_TEXT_ONLY}")
        messages.append(Message(message.role, "".join(texts)))
    return messages


_TEXT_ONLY = "an AIChatFree server takes text only; no attachments, no tools"


def _record(response: Any, stream: Any) -> None:
    """What llm logs of a reply beside its text."""
    stats = stream.stats
    response.response_json = {
        "attempts": stats.attempts,
        "first_text_seconds": stats.first_text_seconds,
        "total_seconds": stats.total_seconds,
        "pieces": stats.pieces,
    }


class AIChatFreeModel(_Shared, llm.KeyModel):
    """The model ``aichatfree``: whatever model the server at ``base_url`` has."""

    Options = Options  # type: ignore[assignment, unused-ignore]

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,
        key: str | None = None,
    ) -> Iterator[str]:
        """Yield the reply: piece by piece, or, without ``stream``, as one.

        Raises:
            AIChatFreeError: There is no whole reply.
        """
        from .. import Client  # loaded when something is asked: llm loads its plugins for every command

        messages = _messages(prompt)
        with Client(**_client_options(prompt, key)) as client:
            if not stream:
                yield client.generate(messages)  # which may ask again where a reply broke off
                return
            with client.stream(messages) as reply:
                yield from reply
                _record(response, reply)


class AsyncAIChatFreeModel(_Shared, llm.AsyncKeyModel):
    """The same model for asyncio."""

    Options = Options  # type: ignore[assignment, unused-ignore]

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
        key: str | None = None,
    ) -> AsyncGenerator[str]:
        """Yield the reply: piece by piece, or, without ``stream``, as one.

        Raises:
            AIChatFreeError: There is no whole reply.
        """
        from .. import AsyncClient

        messages = _messages(prompt)
        async with AsyncClient(**_client_options(prompt, key)) as client:
            if not stream:
                yield await client.generate(messages)
                return
            async with client.stream(messages) as reply:
                async for piece in reply:
                    yield piece
                _record(response, reply)
