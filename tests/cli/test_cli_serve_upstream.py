"""``aichatfree serve --upstream``: a model behind the server, here a stand-in that speaks the OpenAI API."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from aichatfree import Client, RateLimitError

from .running import Command

KEY = "sk-private-key"


class StandIn:
    """As much of the OpenAI API as a server asks for."""

    def __init__(self) -> None:
        self.models = ["tiny"]
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.wait = asyncio.Event()
        self.wait.set()
        self.called, self.gone = threading.Event(), threading.Event()

    async def list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        if self.asked[-1]["messages"][-1]["content"] == "fail":
            error = {"error": {"message": "Rate limit reached, please try again in 7s."}}
            return web.json_response(error, status=429)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._send(response, {"delta": {"content": "A private "}})
        self.called.set()
        try:
            await self.wait.wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        await self._send(response, {"delta": {"content": "answer."}})
        await self._send(response, {"delta": {}, "finish_reason": "stop"})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(self, response: web.StreamResponse, choice: dict[str, Any]) -> None:
        await response.write(f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode())


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """It runs in a thread; `url` is where."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[StandIn, web.AppRunner]:
        made = StandIn()
        app = web.Application()
        app.router.add_get("/v1/models", made.list_models)
        app.router.add_post("/v1/chat/completions", made.complete)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"  # type: ignore[attr-defined]
        return made, runner

    made, runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield made
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextmanager
def serving(command: Command, upstream: str, *args: str, **env: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    options = ("--port", "0", "--upstream", f"openai:{upstream}", *args)
    with command.start("serve", *options, env=env, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            url = re.findall(r"http://127\.0\.0\.1:\d+", process.stderr.readline().decode())[0]
            process.stderr.readline()
            yield url, process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> str:
    """What it still said, after Ctrl-C."""
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    said = process.stderr.read().decode()
    assert process.wait(20) == 0
    return said


def test_a_question_goes_to_the_model_and_its_answer_back(aichatfree: Command, standin: Any) -> None:
    tuned = ("--system", "Be brief.", "--temperature", "0", "--max-tokens", "50")
    with serving(aichatfree, standin.url, "--model", "tiny", *tuned, AICHATFREE_UPSTREAM_KEY=KEY) as (url, process):
        done = aichatfree("ask", "--base-url", url, "A private question")
        assert (done.returncode, done.stdout.decode().strip()) == (0, "A private answer.")
        with Client(url, max_retries=0) as client, pytest.raises(RateLimitError):
            client.generate("fail")
        said = ended(process)
    asked = standin.asked[0]
    assert asked["model"] == "tiny"
    assert (asked["temperature"], asked["max_tokens"]) == (0, 50)
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "A private question"},
    ]
    assert set(standin.keys) == {f"Bearer {KEY}"}
    assert "warning" not in said
    assert re.search(r"POST /api/generate 200 \S+ [12] pieces", said)
    assert re.search(r"POST /api/generate 500 \S+ 0 pieces upstream 429 \(", said)
    assert "private" not in said


def test_the_key_can_stand_in_the_config_file(aichatfree: Command, standin: Any) -> None:
    config = aichatfree.home / "config.toml"
    config.write_text(f'upstream_key = "{KEY}"\n')
    config.chmod(0o600)
    with serving(aichatfree, standin.url, "--model", "tiny", "--config", str(config)) as (url, _):
        assert aichatfree("ask", "--base-url", url, "Hello").returncode == 0
    assert standin.keys == [f"Bearer {KEY}"]


def test_a_model_that_the_upstream_does_not_have_is_a_warning_at_the_start(aichatfree: Command, standin: Any) -> None:
    with serving(aichatfree, standin.url, "--model", "other") as (_, process):
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith("aichatfree: warning: ")
        assert "other" in line
        assert ended(process) == "Stopped.\n"


def test_an_upstream_that_is_not_there_is_a_warning_unless_it_is_not_asked(aichatfree: Command) -> None:
    with serving(aichatfree, "http://127.0.0.1:1/v1", "--model", "m") as (_, process):
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"aichatfree: warning: ")
        assert ended(process) == "Stopped.\n"
    with serving(aichatfree, "http://127.0.0.1:1/v1", "--model", "m", "--no-probe") as (_, process):
        assert ended(process) == "Stopped.\n"


def test_a_client_that_is_stopped_ends_the_upstreams_request(aichatfree: Command, standin: Any) -> None:
    standin.wait.clear()
    with serving(aichatfree, standin.url, "--model", "tiny") as (url, _):
        with aichatfree.start("ask", "--base-url", url, "Hello", stdin=subprocess.DEVNULL) as asking:
            assert standin.called.wait(30)
            asking.send_signal(signal.SIGINT)
            assert asking.wait(20) == 130
        assert standin.gone.wait(20)


def test_the_option_of_a_wrong_value_is_named(aichatfree: Command) -> None:
    from .running import complaint

    for option, value in (("--temperature", "-1"), ("--upstream-proxy", "ftp://x"), ("--upstream", "openai:ftp://x")):
        upstream = () if option == "--upstream" else ("--upstream", "openai:http://127.0.0.1:1/v1")
        done = aichatfree("serve", *upstream, "--model", "m", option, value)
        assert done.returncode == 2
        assert option in complaint(done)
