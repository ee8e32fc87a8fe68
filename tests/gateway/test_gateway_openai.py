"""openai-python, synchronous and asynchronous, both APIs: what its own parsers make of the gateway's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from aichatfree.gateway import LocalGateway
from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

openai = pytest.importorskip("openai")
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("default")]

HELLO: Any = [{"role": "user", "content": "Hello"}]
TEXT = "Hello from the scripted server."
CUT = Reply(["Hel", "lo", Pause(0.05)], fault=Drop())


class Sync:
    """openai.OpenAI."""

    def __init__(self, **options: Any) -> None:
        self.client = openai.OpenAI(**options)

    def chat(self, **more: Any) -> Any:
        return self.client.chat.completions.create(model="m", messages=HELLO, **more)

    def chat_chunks(self, **more: Any) -> list[Any]:
        return list(self.client.chat.completions.create(model="m", messages=HELLO, stream=True, **more))

    def respond(self, **more: Any) -> Any:
        return self.client.responses.create(model="m", input="Hello", **more)

    def response_events(self, **more: Any) -> list[Any]:
        return list(self.client.responses.create(model="m", input="Hello", stream=True, **more))

    def models(self) -> list[str]:
        return [model.id for model in self.client.models.list()]

    def close(self) -> None:
        self.client.close()


class Async:
    """openai.AsyncOpenAI, in a loop of its own."""

    def __init__(self, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = openai.AsyncOpenAI(**options)

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    async def all_of(self, awaitable: Any) -> list[Any]:
        return [each async for each in await awaitable]

    def chat(self, **more: Any) -> Any:
        return self.run(self.client.chat.completions.create(model="m", messages=HELLO, **more))

    def chat_chunks(self, **more: Any) -> list[Any]:
        return self.run(  # type: ignore[no-any-return]
            self.all_of(self.client.chat.completions.create(model="m", messages=HELLO, stream=True, **more))
        )

    def respond(self, **more: Any) -> Any:
        return self.run(self.client.responses.create(model="m", input="Hello", **more))

    def response_events(self, **more: Any) -> list[Any]:
        return self.run(  # type: ignore[no-any-return]
            self.all_of(self.client.responses.create(model="m", input="Hello", stream=True, **more))
        )

    def models(self) -> list[str]:
        async def listed() -> list[str]:
            return [model.id async for model in self.client.models.list()]

        return self.run(listed())  # type: ignore[no-any-return]

    def close(self) -> None:
        self.run(self.client.close())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(kind: Any, server: ScriptedServer) -> Iterator[Any]:
    with LocalGateway(base_url=server.url, api_key="k", max_retries=0) as gateway:
        made = kind(base_url=gateway.url, api_key="k", max_retries=0)
        yield made
        made.close()


def test_chat(client: Any) -> None:
    found = client.chat(temperature=0.1)
    assert found.choices[0].message.content == TEXT
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.total_tokens == 0


def test_chat_streamed(client: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Kä", "se"], pause=0.05))
    chunks = client.chat_chunks(stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Käse"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert chunks[-1].usage.total_tokens == 0
    for chunk in chunks:
        type(chunk).model_validate(chunk.to_dict())  # the library itself does not check what it reads


def test_chat_many(client: Any) -> None:
    assert len(client.chat(n=3).choices) == 3
    chunks = client.chat_chunks(n=3, stop=["from"])
    for index in range(3):
        own = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in own) == "Hello "


def test_responses(client: Any) -> None:
    found = client.respond(instructions="Be brief.")
    assert found.output_text == TEXT
    assert (found.status, found.error) == ("completed", None)
    type(found).model_validate(found.to_dict())


def test_responses_streamed(client: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Kä", "se"], pause=0.05))
    found = client.response_events()
    assert "".join(event.delta for event in found if event.type == "response.output_text.delta") == "Käse"
    assert found[-1].type == "response.completed"
    assert found[-1].response.output_text == "Käse"
    assert [event.sequence_number for event in found] == list(range(len(found)))
    assert {type(event).__module__.rpartition(".")[0] for event in found} == {"openai.types.responses"}
    for event in found:
        type(event).model_validate(event.to_dict())


def test_models(client: Any) -> None:
    assert client.models() == ["gemini-1.5-pro"]


ERRORS: list[tuple[Reply, str, int]] = [
    (Reply.error(400, "x"), "BadRequestError", 400),
    (Reply.quota(), "RateLimitError", 429),
    (Reply.overloaded(), "InternalServerError", 503),
    (Reply.wrong_password(), "InternalServerError", 502),
    (Reply.in_band_error(), "InternalServerError", 502),
    (Reply(""), "InternalServerError", 502),
    (CUT, "", 502),
]


@pytest.mark.parametrize(("reply", "name", "status"), ERRORS)
def test_its_error_classes(client: Any, server: ScriptedServer, reply: Reply, name: str, status: int) -> None:
    server.default = reply
    calls = [client.chat, client.respond] + ([client.chat_chunks, client.response_events] if name else [])
    for call in calls:
        with pytest.raises(openai.APIStatusError) as caught:
            call()
        assert caught.value.status_code == status
        assert type(caught.value).__name__ == (name or "InternalServerError")
        assert caught.value.body["code"]


def test_what_is_refused_here(client: Any) -> None:
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat(tools=tools)
    assert caught.value.param == "tools"
    with pytest.raises(openai.BadRequestError) as caught:
        client.respond(previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


def test_a_wrong_key(kind: Any, server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, api_key="k") as gateway:
        made = kind(base_url=gateway.url, api_key="other")
        with pytest.raises(openai.AuthenticationError) as caught:
            made.chat()
        assert caught.value.code == "invalid_api_key"
        made.close()


def test_a_model_that_does_not_exist(kind: Any, server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, models=["other"]) as gateway:
        made = kind(base_url=gateway.url, api_key="none")
        with pytest.raises(openai.NotFoundError) as caught:
            made.chat()
        assert caught.value.code == "model_not_found"
        made.close()


def test_a_failure_after_the_first_piece_raises(client: Any, server: ScriptedServer) -> None:
    server.default = CUT
    with pytest.raises(openai.APIError) as caught:
        client.chat_chunks()
    assert "broke off" in str(caught.value)
    found = client.response_events()
    assert found[-1].type == "response.failed"
    assert found[-1].response.error.code == "server_error"


def test_its_retries(kind: Any, server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, max_retries=0) as gateway:
        made = kind(base_url=gateway.url, api_key="none", max_retries=2)
        server.enqueue(Reply.overloaded(), Reply.overloaded())
        assert made.chat().choices[0].message.content == TEXT  # the gateway leaves them to the library
        assert len(server.requests) == 3
        server.enqueue(Reply.wrong_password())
        with pytest.raises(openai.InternalServerError):
            made.chat()
        assert len(server.requests) == 4  # another attempt could not help
        made.close()
    with LocalGateway(base_url=server.url, max_retries=1) as gateway:
        made = kind(base_url=gateway.url, api_key="none", max_retries=2)
        server.enqueue(Reply.overloaded(), Reply.overloaded())
        with pytest.raises(openai.InternalServerError):
            made.chat()
        assert len(server.requests) == 6  # the gateway's own attempts are not multiplied
        made.close()


def test_the_helpers_for_streams(server: ScriptedServer) -> None:
    with (
        LocalGateway(base_url=server.url) as gateway,
        openai.OpenAI(base_url=gateway.url, api_key="none") as client,
    ):
        with client.responses.stream(model="m", input="Hello") as stream:
            assert stream.get_final_response().output_text == TEXT
        with client.chat.completions.stream(model="m", messages=HELLO) as stream:
            assert stream.get_final_completion().choices[0].message.content == TEXT
        raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO, seed=1)
        assert raw.headers["x-aichatfree-ignored"] == "seed"
        assert raw.parse()._request_id


def test_closing_its_stream_ends_the_call_below(server: ScriptedServer) -> None:
    server.default = Reply(["first", Pause(None)])
    with (
        LocalGateway(base_url=server.url) as gateway,
        openai.OpenAI(base_url=gateway.url, api_key="none") as client,
    ):
        with client.chat.completions.create(model="m", messages=HELLO, stream=True) as stream:
            assert any(chunk.choices[0].delta.content for chunk in stream)
        server.wait_idle()
