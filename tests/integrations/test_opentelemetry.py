"""Spans and figures of real calls, kept in memory by the real SDK."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.instrumentation")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aichatfree import AsyncClient, Client, RetryPolicy, Stream
from aichatfree.errors import InvalidRequestError, OverloadedError, StreamInterruptedError
from aichatfree.integrations.opentelemetry import AIChatFreeInstrumentor
from aichatfree.testing import Drop, Reply, ScriptedServer

QUICK = RetryPolicy(initial_delay=0)


class Kept:
    """What was recorded."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._metrics])

    def instrument(self, **options: Any) -> None:
        AIChatFreeInstrumentor().instrument(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def attribute(self, name: str) -> Any:
        return dict(self.span.attributes or {}).get(name)

    def points(self) -> dict[str, list[Any]]:
        data = self._metrics.get_metrics_data()
        if data is None:
            return {}
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {metric.name: list(metric.data.data_points) for metric in metrics}


@pytest.fixture
def kept() -> Iterator[Kept]:
    assert not hasattr(RetryPolicy.delay, "__wrapped__"), "an earlier test has left its instrumentation behind"
    records = Kept()
    yield records
    if AIChatFreeInstrumentor().is_instrumented_by_opentelemetry:
        AIChatFreeInstrumentor().uninstrument()


@pytest.fixture
def recorded(kept: Kept) -> Kept:
    kept.instrument()
    return kept


async def drain(stream: Any) -> str:
    return "".join([piece async for piece in stream])


def stream(url: str, asynchronous: bool, **options: Any) -> str:
    if not asynchronous:
        with Client(url, retry=QUICK, **options) as client:
            return "".join(client.stream("Hi"))

    async def main() -> str:
        async with AsyncClient(url, retry=QUICK, **options) as client:
            return await drain(client.stream("Hi"))

    return asyncio.run(main())


def generate(url: str, asynchronous: bool, **options: Any) -> str:
    if not asynchronous:
        with Client(url, retry=QUICK, **options) as client:
            return client.generate("Hi")

    async def main() -> str:
        async with AsyncClient(url, retry=QUICK, **options) as client:
            return await client.generate("Hi")

    return asyncio.run(main())


both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
either = pytest.mark.parametrize("ask", [stream, generate])


class TestSpans:
    @both
    @either
    def test_a_whole_reply(self, recorded: Kept, server: ScriptedServer, ask: Any, asynchronous: bool) -> None:
        server.enqueue(Reply(["Hel", "lo"]))
        assert ask(server.url, asynchronous, model="label") == "Hello"
        span = recorded.span
        assert (span.name, span.kind, span.status.status_code) == ("chat label", SpanKind.CLIENT, StatusCode.UNSET)
        host, port = server.url.removeprefix("http://").split(":")
        attributes = dict(span.attributes or {})
        expected = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "aichatfree",
            "gen_ai.request.model": "label",
            "gen_ai.request.stream": ask is stream,
            "server.address": host,
            "server.port": int(port),
        }
        assert {name: attributes.get(name) for name in expected} == expected
        assert not {name for name in attributes if "messages" in name or "token" in name}
        assert ("gen_ai.response.time_to_first_chunk" in attributes) == (ask is stream)

    @both
    @either
    def test_retries_are_events(self, recorded: Kept, server: ScriptedServer, ask: Any, asynchronous: bool) -> None:
        server.enqueue(Reply.overloaded(), Reply.overloaded(), Reply("whole"))
        ask(server.url, asynchronous)
        events = [(event.name, dict(event.attributes or {})) for event in recorded.span.events]
        assert [name for name, _ in events] == ["aichatfree.retry"] * 2
        assert [event["aichatfree.retry.number"] for _, event in events] == [1, 2]
        assert {event["error.type"] for _, event in events} == {"OverloadedError"}

    @both
    @either
    def test_a_failure(self, recorded: Kept, server: ScriptedServer, ask: Any, asynchronous: bool) -> None:
        server.enqueue(*[Reply.overloaded()] * 3)
        with pytest.raises(OverloadedError):
            ask(server.url, asynchronous)
        assert recorded.span.status.status_code is StatusCode.ERROR
        assert recorded.attribute("error.type") == "OverloadedError"
        assert recorded.attribute("aichatfree.attempts") == 3

    @both
    def test_a_cut_reply(self, recorded: Kept, server: ScriptedServer, asynchronous: bool) -> None:
        server.enqueue(Reply("half", fault=Drop("in-body")))
        with pytest.raises(StreamInterruptedError):
            stream(server.url, asynchronous)
        assert recorded.attribute("error.type") == "StreamInterruptedError"
        assert recorded.attribute("gen_ai.response.time_to_first_chunk") > 0

    @pytest.mark.parametrize("way", ["with", "close", "drop", "break", "closing"])
    def test_a_stream_that_is_left(self, recorded: Kept, server: ScriptedServer, way: str) -> None:
        server.enqueue(Reply(["one", "two"], pause=30))
        client = Client(server.url)
        reply: Any = client.stream("Hi")
        if way == "with":
            with reply:
                assert next(reply) == "one"
        elif way == "close":
            next(reply)
            reply.close()
        elif way == "closing":
            with closing(reply):
                next(reply)
        elif way == "break":
            for _ in reply:
                break
            del reply
        else:
            next(reply)
            del reply
        gc.collect()
        assert recorded.attribute("aichatfree.closed_early") is True
        assert recorded.attribute("error.type") is None

    @pytest.mark.parametrize("way", ["with", "cancel", "aclosing"])
    def test_an_async_stream_that_is_left(self, recorded: Kept, server: ScriptedServer, way: str) -> None:
        server.enqueue(Reply(["one", "two"], pause=30))

        async def main() -> None:
            async with AsyncClient(server.url) as client:
                if way == "with":
                    async with client.stream("Hi") as reply:
                        await anext(reply)
                elif way == "aclosing":
                    async with aclosing(client.stream("Hi")) as reply:
                        await anext(reply)
                else:
                    reply = client.stream("Hi")
                    await anext(reply)
                    task = asyncio.create_task(drain(reply))
                    await asyncio.sleep(0)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task

        asyncio.run(main())
        assert recorded.attribute("aichatfree.closed_early") is True

    def test_a_cancelled_generate(self, recorded: Kept, server: ScriptedServer) -> None:
        server.enqueue(Reply(["one", "two"], pause=30))

        async def main() -> None:
            async with AsyncClient(server.url) as client:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.generate("Hi"), 0.2)

        asyncio.run(main())
        assert recorded.attribute("aichatfree.closed_early") is True

    def test_until_done_and_a_stream_that_is_read_in_two_ways(self, recorded: Kept, server: ScriptedServer) -> None:
        server.enqueue(Reply("Hello"), Reply("Hello"))
        with Client(server.url) as client:
            assert client.stream("Hi").until_done() == "Hello"
            with client.stream("Hi") as reply:
                next(reply)
                assert reply.until_done() == "Hello"
        assert len(recorded.spans) == 2
        assert not any("aichatfree.closed_early" in (span.attributes or {}) for span in recorded.spans)

    def test_a_stream_that_is_never_begun_is_no_call(self, recorded: Kept, server: ScriptedServer) -> None:
        with Client(server.url) as client:
            client.stream("Hi")
            client.stream("Hi").close()
            gc.collect()
        assert recorded.spans == ()

    def test_the_parent_is_where_the_call_was_made(self, recorded: Kept, server: ScriptedServer) -> None:
        server.enqueue(Reply("Hello"))
        tracer = recorded.tracer_provider.get_tracer("test")
        with Client(server.url) as client:
            with tracer.start_as_current_span("handler"):
                reply = client.stream("Hi")
            assert reply.until_done() == "Hello"  # as a web framework does, after the handler has returned
        call, handler = sorted(recorded.spans, key=lambda span: span.name)
        assert call.parent is not None
        assert call.parent.span_id == handler.context.span_id  # type: ignore[union-attr]

    @both
    def test_the_span_is_current_while_the_call_waits(
        self, kept: Kept, server: ScriptedServer, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        original = RetryPolicy.delay

        def delay(*args: Any) -> float:
            seen.append(trace.get_current_span().get_span_context().span_id)
            return original(*args)

        # Before the instrumentation, and so taken back after it: else its wrapper would be put back for good.
        monkeypatch.setattr(RetryPolicy, "delay", delay)
        kept.instrument()
        server.enqueue(Reply.overloaded(), Reply("Hello"))
        stream(server.url, asynchronous)
        assert seen == [kept.span.context.span_id]  # type: ignore[union-attr]
        assert not trace.get_current_span().get_span_context().is_valid

    def test_conversations(self, recorded: Kept, server: ScriptedServer) -> None:
        server.enqueue(*[Reply("Hello")] * 8)

        async def main() -> None:
            async with AsyncClient(server.url) as client:
                conversation = client.conversation()
                await drain(conversation.stream("Hi"))
                await conversation.generate("Hi")
                await conversation.retry()
                await drain(conversation.retry_stream())

        asyncio.run(main())
        with Client(server.url) as client:
            conversation = client.conversation()
            list(conversation.stream("Hi"))
            conversation.generate("Hi")
            conversation.retry()
            list(conversation.retry_stream())
        assert [dict(span.attributes or {})["gen_ai.request.stream"] for span in recorded.spans] == [
            True,
            False,
            False,
            True,
        ] * 2

    @both
    def test_map(self, recorded: Kept, server: ScriptedServer, asynchronous: bool) -> None:
        server.enqueue(Reply("one"), Reply.upstream_error("API key not valid. Please pass a valid API key."))
        prompts = ["1", "2"]
        if asynchronous:

            async def main() -> list[Any]:
                async with AsyncClient(server.url) as client:
                    return [result async for result in client.map(prompts, concurrency=1)]

            results = asyncio.run(main())
        else:
            with Client(server.url) as client:
                results = list(client.map(prompts, concurrency=1))
        assert [result.ok for result in results] == [True, False]
        one, two = recorded.spans
        assert (one.attributes or {}).get("error.type") is None
        assert (two.attributes or {})["error.type"] == type(results[1].error).__name__
        assert one.end_time - one.start_time >= results[0].seconds * 1e9  # type: ignore[operator]

    def test_a_refused_argument_is_the_clients_error(self, recorded: Kept, server: ScriptedServer) -> None:
        with Client(server.url) as client:
            with pytest.raises(InvalidRequestError, match="role"):
                client.stream([{"role": "judge", "content": "x"}])
            with pytest.raises(InvalidRequestError, match="single str"):
                client.map("x")
        with pytest.raises(InvalidRequestError, match="closed"):
            client.generate("Hi")
        assert not server.requests


class TestContent:
    @pytest.mark.parametrize("value", ["true", "SPAN_ONLY", "span_and_event"])
    def test_is_recorded_when_the_environment_asks(
        self, kept: Kept, server: ScriptedServer, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
        kept.instrument()
        server.enqueue(Reply("Grüße"))
        history = [{"role": "system", "content": "Sys."}, {"role": "user", "parts": [{"text": "Hi"}]}]
        with Client(server.url) as client:
            client.stream(history).until_done()
        text = {"type": "text", "content": "Hi"}
        assert json.loads(kept.attribute("gen_ai.input.messages")) == [{"role": "user", "parts": [text]}]
        assert json.loads(kept.attribute("gen_ai.system_instructions")) == [{"type": "text", "content": "Sys."}]
        (reply,) = json.loads(kept.attribute("gen_ai.output.messages"))
        assert reply == {
            "role": "assistant",
            "parts": [{"type": "text", "content": "Grüße"}],
            "finish_reason": "stop",
        }

    def test_of_a_conversation_is_its_history_and_the_question(self, kept: Kept, server: ScriptedServer) -> None:
        kept.instrument(capture_content=True)
        server.enqueue(Reply("1"), Reply("2"))
        with Client(server.url) as client:
            conversation = client.conversation(system="Sys.")
            conversation.generate("One")
            conversation.generate("Two")
        said = json.loads(dict(kept.spans[1].attributes or {})["gen_ai.input.messages"])  # type: ignore[arg-type]
        assert [part["content"] for message in said for part in message["parts"]] == ["One", "1", "Two"]

    @pytest.mark.parametrize("value", ["", "false", "NO_CONTENT", "EVENT_ONLY", "yes"])
    def test_is_not_recorded_otherwise(
        self, kept: Kept, server: ScriptedServer, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
        kept.instrument()
        server.enqueue(Reply("geheim"), Reply("geheim", fault=Drop("in-body")))
        with Client(server.url, password="geheim", secret="geheim") as client:
            client.generate("geheim")
            with pytest.raises(StreamInterruptedError):
                client.stream("geheim").until_done()
        assert "geheim" not in "".join(span.to_json() for span in kept.spans)


class TestMetrics:
    def test_duration_and_first_chunk(self, recorded: Kept, server: ScriptedServer) -> None:
        server.enqueue(Reply("one"), Reply("two"), Reply("half", fault=Drop("in-body")))
        with Client(server.url, model="label") as client:
            client.generate("Hi")
            list(client.stream("Hi"))
            with pytest.raises(StreamInterruptedError):
                list(client.stream("Hi"))
        points = recorded.points()
        durations = {point.attributes.get("error.type"): point for point in points["gen_ai.client.operation.duration"]}
        assert durations[None].count == 2
        assert durations["StreamInterruptedError"].count == 1
        assert durations[None].attributes["gen_ai.request.model"] == "label"
        assert 0.01 in durations[None].explicit_bounds
        firsts = points["gen_ai.client.operation.time_to_first_chunk"]
        assert sum(point.count for point in firsts) == 2


class TestInstrumentor:
    def test_twice_is_once_and_uninstrument_restores_everything(self, kept: Kept, server: ScriptedServer) -> None:
        before = {kind: dict(vars(kind)) for kind in (Client, AsyncClient, Stream, RetryPolicy)}
        kept.instrument()
        kept.instrument()
        assert Client.stream.__doc__ == before[Client]["stream"].__doc__
        server.enqueue(Reply("one"), Reply("two"))
        with Client(server.url) as client:
            client.generate("Hi")
            assert len(kept.spans) == 1
            AIChatFreeInstrumentor().uninstrument()
            client.generate("Hi")
        assert len(kept.spans) == 1
        assert {kind: dict(vars(kind)) for kind in before} == before

    def test_a_stream_made_before_is_left_alone(self, kept: Kept, server: ScriptedServer) -> None:
        server.enqueue(Reply("one"))
        with Client(server.url) as client:
            early = client.stream("Hi")
            kept.instrument()
            assert early.until_done() == "one"
        assert kept.spans == ()

    def test_a_subclass_is_recorded_once(self, recorded: Kept, server: ScriptedServer) -> None:
        class Mine(Client):
            def generate(self, *args: Any, **kwargs: Any) -> str:
                return super().generate(*args, **kwargs).upper()

        server.enqueue(Reply("one"))
        with Mine(server.url) as client:
            assert client.generate("Hi") == "ONE"
        assert len(recorded.spans) == 1

    def test_the_entry_point(self) -> None:
        from importlib.metadata import entry_points

        (point,) = [p for p in entry_points(group="opentelemetry_instrumentor") if p.name == "aichatfree"]
        assert point.load() is AIChatFreeInstrumentor
