"""AIChatFree servers as a chat model of LangChain: ``pip install 'aichatfree[langchain]'``.

::

    from aichatfree.integrations.langchain import ChatAIChatFree

    model = ChatAIChatFree(base_url="http://127.0.0.1:3000")
    for chunk in model.stream("Why is the sky blue?"):
        print(chunk.text, end="", flush=True)
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any
from urllib.parse import urlsplit

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableConfig
from langchain_core.utils import from_env, secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator, model_validator

from .. import AsyncClient, Client, Timeout
from ..errors import InvalidRequestError
from ._langchain_text import TEXT_ONLY, StopSequences, to_messages

__all__ = ["ChatAIChatFree"]

PROVIDER = "aichatfree"
_TUNING = frozenset(
    {"temperature", "max_tokens", "max_completion_tokens", "top_p", "top_k", "seed", "n"}
    | {"presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", "user"}
)


class ChatAIChatFree(BaseChatModel):
    """A chat model on any AIChatFree (GeminiProChat) server.

    Errors are those of ``aichatfree.errors``. Stop sequences are obeyed here, as the protocol has none. Tools, images
    and structured output are refused; ``temperature`` and ``max_tokens``, which the protocol cannot carry either and
    which only tune a reply, are taken with a warning.

    Args:
        model: A label for traces. The server chooses its model, and this is never sent.
        base_url: The server's root; by default ``AICHATFREE_BASE_URL``, then the hosted service.
        password: The site password; by default ``AICHATFREE_PASSWORD``.
        secret: The server's ``PUBLIC_SECRET_KEY``; by default ``AICHATFREE_SECRET``.
        timeout: Seconds to connect, to the first byte, and between two pieces of the reply.
        total_timeout: Seconds for a whole reply, its retries included.
        max_retries: Further attempts after the first, while no text has arrived.
        proxy: The URL of a proxy.
        stop: Texts before which every reply ends.
        streaming: Whether ``invoke`` streams too, for callbacks that show each piece.
        max_rate: Calls a minute at most, evenly spaced, over everything this model is used for; None is no limit. (A
            ``rate_limiter`` takes precedence.)
        max_concurrency: Calls of one ``batch`` at once, where its config does not say.
        client: A client of your own for everything that is set above, such as one with a session.
        async_client: The same for the asynchronous methods.

    Raises:
        pydantic.ValidationError: A value cannot be used; the text says which and what to give instead.
    """

    # A refused value may hold a password; an unknown option must not be ignored in silence.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True)

    model: str = "gemini-1.5-pro"
    base_url: str | None = Field(default_factory=from_env("AICHATFREE_BASE_URL", default=None))
    password: SecretStr | None = Field(default_factory=secret_from_env("AICHATFREE_PASSWORD", default=None))
    secret: SecretStr | None = Field(default_factory=secret_from_env("AICHATFREE_SECRET", default=None))
    timeout: float | None = Field(default=None, gt=0)
    total_timeout: float | None = Field(default=None, gt=0)
    max_retries: int = Field(default=2, ge=0)
    proxy: str | None = None
    stop: list[str] | None = None
    streaming: bool = False
    max_rate: float | None = Field(default=None, gt=0)
    max_concurrency: int | None = Field(default=8, ge=1)
    client: Client | None = Field(default=None, exclude=True, repr=False)
    async_client: AsyncClient | None = Field(default=None, exclude=True, repr=False)
    temperature: float | None = None
    max_tokens: int | None = None

    _client: Client | None = PrivateAttr(default=None)
    _async_client: AsyncClient | None = PrivateAttr(default=None)

    @field_validator("base_url", "proxy")
    @classmethod
    def _without_credentials(cls, url: str | None) -> str | None:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("a user and password in a URL would appear in traces: pass client=Client(...) instead")
        return url

    @model_validator(mode="after")
    def _prepare(self) -> ChatAIChatFree:
        _warn_of({name: getattr(self, name) for name in ("temperature", "max_tokens")})
        StopSequences(self.stop or ())
        if self.max_rate is not None and self.rate_limiter is None:
            self.rate_limiter = InMemoryRateLimiter(requests_per_second=self.max_rate / 60, max_bucket_size=1)
        if self.client is not None:
            self._client = self.client
        elif self.async_client is None:
            self._client = Client(**self._client_options())
        self._async_client = self.async_client
        return self

    def _client_options(self) -> dict[str, Any]:
        limits = {} if self.timeout is None else dict.fromkeys(("connect", "first_byte", "idle"), self.timeout)
        return {
            "base_url": self.base_url,
            "password": self.password.get_secret_value() if self.password else None,
            "secret": self.secret.get_secret_value() if self.secret else None,
            "model": self.model,
            "timeout": Timeout(**limits, total=self.total_timeout),
            "max_retries": self.max_retries,
            "proxy": self.proxy,
        }

    def _sync(self) -> Client:
        if self._client is None:
            raise InvalidRequestError("this model has an async_client only: give it a client= too, or use ainvoke")
        return self._client

    def _async(self) -> AsyncClient | None:
        """The asynchronous client; None where only a synchronous one was passed in, which then works in a thread."""
        if self._async_client is None and self.client is None:
            self._async_client = AsyncClient(**self._client_options())
        return self._async_client

    def _stops(self, stop: list[str] | None) -> StopSequences:
        return StopSequences(self.stop or () if stop is None else stop)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        label = self._label(kwargs)
        stops = self._stops(stop)
        text, found = "", to_messages(messages)
        if not (self.stop if stop is None else stop):
            text = self._sync().generate(found, model=label)  # which may ask again where a reply broke off
        else:
            with closing(self._sync().stream(found, model=label)) as stream:
                for piece in stream:
                    text += stops.feed(piece)
                    if stops.reached:
                        break
            text += stops.flush()
        return self._result(text, label, stops)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        client = self._async()
        if client is None:
            return await super()._agenerate(messages, stop, run_manager, **kwargs)
        label = self._label(kwargs)
        stops = self._stops(stop)
        text, found = "", to_messages(messages)
        if not (self.stop if stop is None else stop):
            text = await client.generate(found, model=label)
        else:
            async with aclosing(client.stream(found, model=label)) as stream:
                async for piece in stream:
                    text += stops.feed(piece)
                    if stops.reached:
                        break
            text += stops.flush()
        return self._result(text, label, stops)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        label = self._label(kwargs)
        stops = self._stops(stop)
        with closing(self._sync().stream(to_messages(messages), model=label)) as stream:
            for piece in stream:
                if text := stops.feed(piece):
                    chunk = _chunk(text)
                    if run_manager:
                        run_manager.on_llm_new_token(text, chunk=chunk)
                    yield chunk
                if stops.reached:
                    break
            last = self._last_chunk(stops.flush(), label, stops, stream.stats)
        if run_manager:
            run_manager.on_llm_new_token(last.text, chunk=last)
        yield last

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        client = self._async()
        if client is None:
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                yield chunk
            return
        label = self._label(kwargs)
        stops = self._stops(stop)
        async with aclosing(client.stream(to_messages(messages), model=label)) as stream:
            async for piece in stream:
                if text := stops.feed(piece):
                    chunk = _chunk(text)
                    if run_manager:
                        await run_manager.on_llm_new_token(text, chunk=chunk)
                    yield chunk
                if stops.reached:
                    break
            last = self._last_chunk(stops.flush(), label, stops, stream.stats)
        if run_manager:
            await run_manager.on_llm_new_token(last.text, chunk=last)
        yield last

    def _label(self, kwargs: Mapping[str, Any]) -> str:
        """The label of a call, from its keywords, which are checked here.

        Raises:
            InvalidRequestError: A keyword would change what a reply means, and the protocol has nothing for it.
        """
        tuning = {name: value for name, value in kwargs.items() if name in _TUNING}
        _warn_of(tuning)
        for name, value in kwargs.items():
            if name not in _TUNING and name not in ("model", "stream") and value not in (None, [], "none"):
                raise InvalidRequestError(f"{name} cannot be used: {TEXT_ONLY}")
        return str(kwargs.get("model") or self.model)

    def _metadata(self, label: str, stops: StopSequences) -> dict[str, Any]:
        metadata: dict[str, Any] = {"model_name": label, "model_provider": PROVIDER}
        if stops.reached:
            metadata["finish_reason"] = "stop"  # found here; the protocol itself tells no reason
        return metadata

    def _result(self, text: str, label: str, stops: StopSequences) -> ChatResult:
        message = AIMessage(content=text, response_metadata=self._metadata(label, stops))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last_chunk(self, text: str, label: str, stops: StopSequences, stats: Any) -> ChatGenerationChunk:
        chunk = _chunk(text)
        chunk.message.response_metadata = {
            **self._metadata(label, stops),
            "attempts": stats.attempts,
            "first_text_seconds": stats.first_text_seconds,
            "total_seconds": stats.total_seconds,
        }
        chunk.message.chunk_position = "last"  # type: ignore[attr-defined, unused-ignore]
        return chunk

    def batch(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with at most ``max_concurrency`` calls at once where the config does not say."""
        return super().batch(inputs, self._bounded(config), **kwargs)

    async def abatch(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with at most ``max_concurrency`` calls at once where the config does not say."""
        return await super().abatch(inputs, self._bounded(config), **kwargs)

    def batch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with at most ``max_concurrency`` calls at once where the config does not say."""
        return super().batch_as_completed(inputs, self._bounded(config), **kwargs)

    def abatch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with at most ``max_concurrency`` calls at once where the config does not say."""
        return super().abatch_as_completed(inputs, self._bounded(config), **kwargs)

    def _bounded(self, config: RunnableConfig | list[RunnableConfig] | None) -> Any:
        if isinstance(config, (list, tuple)):
            return [self._bounded(one) for one in config]
        own: Any = {"max_concurrency": self.max_concurrency}
        return {**own, **(config or {})}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    @property
    def _llm_type(self) -> str:
        return "aichatfree-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model, "base_url": self.base_url, "stop": self.stop}

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where what is never serialized comes from when a model is loaded."""
        return {"password": "AICHATFREE_PASSWORD", "secret": "AICHATFREE_SECRET"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Yes, without its secrets and without clients that were passed in."""
        return True


def _chunk(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _warn_of(tuning: Mapping[str, Any]) -> None:
    if names := ", ".join(sorted(name for name, value in tuning.items() if value is not None)):
        warnings.warn(f"{names}: the protocol cannot carry this, and the server decides", UserWarning, stacklevel=3)
