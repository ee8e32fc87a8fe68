"""Traces and metrics of every call, after OpenTelemetry's conventions for generative AI.

``pip install 'aichatfree[otel]'``, then once in a program (``opentelemetry-instrument`` does it by itself)::

    from aichatfree.integrations.opentelemetry import AIChatFreeInstrumentor

    AIChatFreeInstrumentor().instrument()

Each call is a span ``chat {model}`` from the request to the end of its reply; retries are events on it. Prompts and
replies are recorded only where ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true``, ``SPAN_ONLY`` or
``SPAN_AND_EVENT``, or ``instrument(capture_content=True)`` says so.
"""

from __future__ import annotations

import os
import weakref
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterator
from contextlib import aclosing, closing
from functools import wraps
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined, unused-ignore]

from .. import (
    AsyncClient,
    AsyncConversation,
    AsyncStream,
    Client,
    Conversation,
    MapResult,
    RetryPolicy,
    Stream,
    __version__,
)
from ..errors import AIChatFreeError
from ._otel_operation import Operation, Telemetry, report_retry

__all__ = ["AIChatFreeInstrumentor"]

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURED = ("true", "span_only", "span_and_event")


class AIChatFreeInstrumentor(BaseInstrumentor):  # type: ignore[misc, unused-ignore]
    """Wraps the methods of both clients, of conversations and of streams. ``uninstrument()`` puts them back."""

    _originals: list[tuple[type, str, Any]]
    _openers: dict[type, Any]
    _telemetry: Telemetry
    _operations: weakref.WeakKeyDictionary[Stream | AsyncStream, Operation]

    def instrumentation_dependencies(self) -> Collection[str]:
        """What is instrumented."""
        return ("aichatfree >= 0.1",)

    def _instrument(self, **kwargs: Any) -> None:
        """The keywords of ``instrument``: tracer_provider, meter_provider, capture_content."""
        capture = kwargs.get("capture_content")
        if capture is None:
            capture = os.environ.get(CAPTURE, "").strip().lower() in _CAPTURED
        version = str(__version__)
        self._telemetry = Telemetry(
            trace.get_tracer(__name__, version, kwargs.get("tracer_provider")),
            metrics.get_meter(__name__, version, kwargs.get("meter_provider")),
            capture_content=capture,
        )
        self._operations = weakref.WeakKeyDictionary()
        self._originals = []
        self._openers = {kind: kind.stream for kind in (Client, AsyncClient)}
        for wrapper, kinds, methods in self._plan():
            for kind in kinds:
                for name in methods:
                    original = getattr(kind, name)
                    self._originals.append((kind, name, vars(kind).get(name)))
                    setattr(kind, name, wraps(original)(wrapper(original)))

    def _plan(self) -> Iterator[tuple[Callable[[Any], Any], tuple[type, ...], tuple[str, ...]]]:
        """What wraps which methods of which classes."""
        yield self._opening, (Client, AsyncClient), ("stream",)
        yield self._opening, (Conversation, AsyncConversation), ("stream", "retry_stream")
        yield self._whole, (Client,), ("generate",)
        yield self._whole, (Conversation,), ("generate", "retry")
        yield self._awaited_whole, (AsyncClient,), ("generate",)
        yield self._awaited_whole, (AsyncConversation,), ("generate", "retry")
        yield self._many, (Client,), ("map",)
        yield self._awaited_many, (AsyncClient,), ("map",)
        yield self._reading, (Stream,), ("__next__", "__enter__", "until_done")
        yield self._awaited_reading, (AsyncStream,), ("__anext__", "__aenter__", "until_done")
        yield self._closing, (Stream,), ("close",)
        yield self._awaited_closing, (AsyncStream,), ("aclose",)
        yield self._retrying, (RetryPolicy,), ("delay",)

    def _uninstrument(self, **kwargs: Any) -> None:
        for kind, name, original in reversed(self._originals):
            if original is None:  # it was inherited
                delattr(kind, name)
            else:
                setattr(kind, name, original)
        self._originals = []

    def _operation(self, asker: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, stream: bool) -> Operation:
        messages = args[0] if args else kwargs.get("messages", kwargs.get("text"))
        client = asker
        if isinstance(asker, (Conversation, AsyncConversation)):
            client = asker._client
            if self._telemetry.capture_content:
                question = asker.unanswered if messages is None else messages
                messages = [*asker.messages, *([] if question is None else [question])]
        return Operation(self._telemetry, base_url=client.base_url, stream=stream, messages=messages)

    def _label(self, asker: Any, kwargs: dict[str, Any]) -> str:
        """The label that a call's stream bears."""
        if isinstance(kwargs.get("model"), str):
            return str(kwargs["model"])
        client = asker._client if isinstance(asker, (Conversation, AsyncConversation)) else asker
        opener = self._openers[Client if isinstance(client, Client) else AsyncClient]
        return str(opener(client, "?").model)  # a stream that is not begun sends nothing

    def _opening(self, original: Any) -> Any:
        def stream(asker: Any, *args: Any, **kwargs: Any) -> Any:
            opened = original(asker, *args, **kwargs)
            operation = self._operations[opened] = self._operation(asker, args, kwargs, stream=True)
            dropped = weakref.finalize(opened, operation.end, closed_early=True)
            dropped.atexit = False  # spans of what still runs when the program ends are lost, as are the exporters
            return opened

        return stream

    def _reading(self, original: Any) -> Any:
        def read(stream: Stream) -> Any:
            operation = self._operations.get(stream)
            if operation is None:
                return original(stream)
            operation.begin(stream.model)
            try:
                with operation.active():
                    result = original(stream)
            except BaseException as error:
                self._failed(stream, operation, error)
                raise
            if not operation.has_chunk and isinstance(result, str):
                operation.chunk(stream.stats.first_text_seconds)
            if original.__name__ == "until_done":
                operation.end(text=result, attempts=stream.stats.attempts)
            return result

        return read

    def _awaited_reading(self, original: Any) -> Any:
        async def read(stream: AsyncStream) -> Any:
            operation = self._operations.get(stream)
            if operation is None:
                return await original(stream)
            operation.begin(stream.model)
            try:
                with operation.active():
                    result = await original(stream)
            except BaseException as error:
                self._failed(stream, operation, error)
                raise
            if not operation.has_chunk and isinstance(result, str):
                operation.chunk(stream.stats.first_text_seconds)
            if original.__name__ == "until_done":
                operation.end(text=result, attempts=stream.stats.attempts)
            return result

        return read

    def _failed(self, stream: Any, operation: Operation, error: BaseException) -> None:
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            operation.end(text=stream.text, attempts=stream.stats.attempts)
        elif isinstance(error, (CancelledError, GeneratorExit)):
            operation.end(text=stream.text, attempts=stream.stats.attempts, closed_early=True)
        else:
            operation.chunk(stream.stats.first_text_seconds)
            operation.end(error, text=stream.text, attempts=stream.stats.attempts)

    def _closing(self, original: Any) -> Any:
        def close(stream: Stream) -> None:
            self._closed(stream)
            original(stream)

        return close

    def _awaited_closing(self, original: Any) -> Any:
        async def aclose(stream: AsyncStream) -> None:
            self._closed(stream)
            await original(stream)

        return aclose

    def _closed(self, stream: Any) -> None:
        if operation := self._operations.get(stream):
            operation.end(text=stream.text, attempts=stream.stats.attempts, closed_early=True)

    def _whole(self, original: Any) -> Any:
        def generate(asker: Any, *args: Any, **kwargs: Any) -> str:
            operation = self._operation(asker, args, kwargs, stream=False)
            operation.begin(self._label(asker, kwargs))
            try:
                with operation.active():
                    text: str = original(asker, *args, **kwargs)
            except BaseException as error:
                operation.end(error, **_facts(error))
                raise
            operation.end(text=text)
            return text

        return generate

    def _awaited_whole(self, original: Any) -> Any:
        async def generate(asker: Any, *args: Any, **kwargs: Any) -> str:
            operation = self._operation(asker, args, kwargs, stream=False)
            operation.begin(self._label(asker, kwargs))
            try:
                with operation.active():
                    text: str = await original(asker, *args, **kwargs)
            except CancelledError:
                operation.end(closed_early=True)
                raise
            except BaseException as error:
                operation.end(error, **_facts(error))
                raise
            operation.end(text=text)
            return text

        return generate

    def _many(self, original: Any) -> Any:
        def map(client: Client, *args: Any, **kwargs: Any) -> Generator[MapResult]:  # noqa: A001
            results = original(client, *args, **kwargs)
            return self._recorded(results, self._mapped(client, kwargs))

        return map

    def _awaited_many(self, original: Any) -> Any:
        def map(client: AsyncClient, *args: Any, **kwargs: Any) -> AsyncGenerator[MapResult]:  # noqa: A001
            results = original(client, *args, **kwargs)
            return self._awaited_recorded(results, self._mapped(client, kwargs))

        return map

    def _mapped(self, client: Any, kwargs: dict[str, Any]) -> Callable[[MapResult], None]:
        """What records a result of ``map``, whose span is made when it is there."""
        label = self._label(client, kwargs)
        parent = otel_context.get_current()

        def record(result: MapResult) -> None:
            token = otel_context.attach(parent)
            try:
                operation = self._operation(client, (result.prompt,), {}, stream=False)
            finally:
                otel_context.detach(token)
            operation.begin(label, seconds_ago=result.seconds)
            operation.end(result.error, text=result.text, attempts=result.attempts)

        return record

    def _recorded(self, results: Generator[MapResult], record: Callable[[MapResult], None]) -> Generator[MapResult]:
        with closing(results):
            for result in results:
                record(result)
                yield result

    async def _awaited_recorded(
        self, results: AsyncGenerator[MapResult], record: Callable[[MapResult], None]
    ) -> AsyncGenerator[MapResult]:
        async with aclosing(results):
            async for result in results:
                record(result)
                yield result

    def _retrying(self, original: Any) -> Any:
        def delay(policy: RetryPolicy, retry: int, error: AIChatFreeError, random: Any) -> float:
            seconds: float = original(policy, retry, error, random)
            report_retry(error, seconds)
            return seconds

        return delay


def _facts(error: BaseException) -> dict[str, Any]:
    """What an error tells of its call."""
    if not isinstance(error, AIChatFreeError):
        return {}
    return {"text": error.partial, "attempts": len(error.attempts) + 1}
