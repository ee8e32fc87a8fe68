"""One call as OpenTelemetry sees it: its span, its retries, its figures. It touches no client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from .. import Message

PROVIDER = "aichatfree"
# Names of the GenAI semantic conventions, as of opentelemetry-semantic-conventions 0.66b2; its own constants for them
# are marked as deprecated, since the conventions moved to a repository of their own.
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"
ATTEMPTS = "aichatfree.attempts"
CLOSED_EARLY = "aichatfree.closed_early"
RETRY_EVENT = "aichatfree.retry"
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

_current: ContextVar[Operation | None] = ContextVar("aichatfree_otel_operation", default=None)


class Telemetry:
    """Where spans and figures go.

    Args:
        tracer: Makes the spans.
        meter: Makes the two histograms.
        capture_content: Whether prompts and replies are recorded on the spans.
    """

    def __init__(self, tracer: Tracer, meter: Meter, *, capture_content: bool) -> None:
        self.tracer = tracer
        self.capture_content = capture_content
        self.duration = _histogram(meter, "gen_ai.client.operation.duration", "GenAI operation duration.")
        self.first_chunk = _histogram(
            meter, "gen_ai.client.operation.time_to_first_chunk", "Time to receive the first chunk of a reply."
        )


def _histogram(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=list(_SECONDS)
    )


class Operation:
    """One call, from the moment its request goes out to its end, which is recorded once, whoever reports it first.

    Args:
        telemetry: Where it is recorded.
        base_url: The server's address.
        stream: Whether the caller reads the reply piece by piece.
        messages: What was asked, for where content is recorded.
    """

    def __init__(self, telemetry: Telemetry, *, base_url: str | None, stream: bool, messages: Any) -> None:
        self._telemetry = telemetry
        self._base_url = base_url
        self._stream = stream
        self._messages = messages if telemetry.capture_content else None
        self._parent = otel_context.get_current()  # where the call was made: its stream may be read elsewhere
        self._lock = Lock()
        self._attributes: dict[str, Any] = {}
        self._span: Span | None = None
        self._began = 0.0
        self._first_chunk: float | None = None
        self._ended = False
        self._retries = 0

    @property
    def has_chunk(self) -> bool:
        """Whether a piece of the reply has arrived."""
        return self._first_chunk is not None

    def begin(self, model: str, *, seconds_ago: float = 0.0) -> None:
        """The request goes out. A second call does nothing."""
        if self._span is not None:
            return
        self._attributes = {
            OPERATION_NAME: "chat",
            PROVIDER_NAME: PROVIDER,
            REQUEST_MODEL: model,
            **_address(self._base_url),
        }
        self._began = time.perf_counter() - seconds_ago
        self._span = self._telemetry.tracer.start_span(
            f"chat {model}",
            context=self._parent,
            kind=SpanKind.CLIENT,
            attributes={**self._attributes, REQUEST_STREAM: self._stream},
            start_time=time.time_ns() - int(seconds_ago * 1e9),
        )
        if self._messages is not None and self._span.is_recording():
            self._span.set_attributes(_content(self._messages))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Work of this call: spans of the HTTP library become children of its span, retries become its events."""
        if self._span is None or self._ended or self._first_chunk is not None:  # no retry follows a first piece
            yield
            return
        token = otel_context.attach(trace.set_span_in_context(self._span, self._parent))
        mine = _current.set(self)
        try:
            yield
        finally:
            _current.reset(mine)
            otel_context.detach(token)

    def chunk(self, seconds: float | None) -> None:
        """A piece of the reply has arrived, the first one after ``seconds``."""
        self._first_chunk = seconds

    def retry(self, error: BaseException, delay: float) -> None:
        """Another attempt follows ``error`` after ``delay`` seconds."""
        self._retries += 1
        if self._span is not None:
            self._span.add_event(
                RETRY_EVENT,
                {ERROR_TYPE: _name(error), "aichatfree.retry.number": self._retries, "aichatfree.retry.delay": delay},
            )

    def end(
        self,
        error: BaseException | None = None,
        *,
        text: str | None = None,
        attempts: int | None = None,
        closed_early: bool = False,
    ) -> None:
        """The call is over: whole, failed with ``error``, or closed by its caller."""
        with self._lock:
            if self._span is None or self._ended:
                return
            self._ended = True
        span = self._span
        if error is not None:
            self._attributes[ERROR_TYPE] = _name(error)
            span.set_attribute(ERROR_TYPE, _name(error))
            span.set_status(Status(StatusCode.ERROR, str(error)))
        if closed_early:
            span.set_attribute(CLOSED_EARLY, True)
        if attempts is not None:
            span.set_attribute(ATTEMPTS, attempts)
        if self._messages is not None and text and span.is_recording():
            reason = "error" if error else "stop"
            parts = [{"type": "text", "content": text}]
            reply = [{"role": "assistant", "parts": parts, "finish_reason": reason}]
            span.set_attribute(OUTPUT_MESSAGES, json.dumps(reply, ensure_ascii=False))
        context = trace.set_span_in_context(span, self._parent)  # for exemplars
        if self._stream and self._first_chunk is not None:
            span.set_attribute(TIME_TO_FIRST_CHUNK, self._first_chunk)
            self._telemetry.first_chunk.record(self._first_chunk, self._attributes, context)
        self._telemetry.duration.record(time.perf_counter() - self._began, self._attributes, context)
        span.end()


def report_retry(error: BaseException, delay: float) -> None:
    """Tell the call that is being worked on, if there is one, that another attempt follows."""
    if operation := _current.get():
        operation.retry(error, delay)


def _name(error: BaseException) -> str:
    return type(error).__qualname__


def _address(base_url: str | None) -> dict[str, Any]:
    if base_url is None:
        return {}
    url = urlsplit(base_url)
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    return {SERVER_ADDRESS: url.hostname or "", SERVER_PORT: port}


def _content(messages: Any) -> Mapping[str, str]:
    """The prompt as the conventions want it: JSON of roles and parts."""
    if isinstance(messages, (str, Message, Mapping)):
        messages = [messages]
    if not isinstance(messages, (list, tuple)):
        return {}  # an iterator belongs to the call
    said = [_message(message) for message in messages]
    system = [part for message in said if message["role"] == "system" for part in message["parts"]]
    rest = [message for message in said if message["role"] != "system"]
    attributes = {INPUT_MESSAGES: json.dumps(rest, ensure_ascii=False)}
    if system:
        attributes[SYSTEM_INSTRUCTIONS] = json.dumps(system, ensure_ascii=False)
    return attributes


def _message(message: Any) -> dict[str, Any]:
    if isinstance(message, str):
        role, content = "user", message
    elif isinstance(message, Message):
        role, content = message.role, message.content
    else:
        role, content = message.get("role", "user"), message.get("content", message.get("parts", ""))
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    role = "assistant" if role == "model" else role
    return {"role": role, "parts": [{"type": "text", "content": text} for text in texts]}
