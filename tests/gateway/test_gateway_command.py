"""``aichatfree gateway``: the gateway as a process, from its options to SIGTERM."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from cli.running import Command, complaint
from faces import eventually

from aichatfree.gateway import local
from aichatfree.testing import Pause, Reply, ScriptedServer

from .kit import HELLO, error_of


class Served:
    """A gateway that runs as a command.

    Args:
        process: The process.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stderr is not None
        self.said = process.stderr.readline().decode() + process.stderr.readline().decode()
        self.url = re.findall(r"http://127\.0\.0\.1:\d+/v1", self.said)[0]

    def chat(self, *, key: str | None = None, stream: bool = False) -> requests.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        body = {"model": "m", "messages": HELLO, "stream": stream}
        return requests.post(f"{self.url}/chat/completions", json=body, headers=headers, stream=stream, timeout=30)


@pytest.fixture
def aichatfree(server: ScriptedServer, tmp_path: Path) -> Command:
    return Command(server.url, tmp_path)


@contextmanager
def serving(
    command: Command, *args: str, ends: int = signal.SIGINT, grace: float | None = None, **env: str
) -> Iterator[Served]:
    before = "" if grace is None else f"from aichatfree.gateway import local; local.GRACE_SECONDS = {grace}"
    with command.start("gateway", "--port", "0", *args, env=env, stdin=subprocess.DEVNULL, before=before) as process:
        try:
            yield Served(process)
        finally:
            process.send_signal(ends)
        assert process.wait(20) == 0
        assert process.stderr is not None
        rest = process.stderr.read().decode()
        assert rest.endswith("Stopped.\n")
        assert "Traceback" not in rest


def test_it_serves_until_ctrl_c_and_says_a_line_for_each_request(aichatfree: Command) -> None:
    with serving(aichatfree) as gateway:
        assert "without a key" in gateway.said
        assert aichatfree.env["AICHATFREE_BASE_URL"] in gateway.said
        assert gateway.chat().json()["choices"][0]["message"]["content"] == "Hello from the scripted server."
        assert gateway.process.stderr is not None
        line = gateway.process.stderr.readline().decode()
        assert re.fullmatch(r"\d\d:\d\d:\d\d POST /v1/chat/completions 200 in .*\n", line)


def test_it_wants_the_key_of_the_environment(aichatfree: Command) -> None:
    with serving(aichatfree, AICHATFREE_GATEWAY_KEY="k3y-of-mine") as gateway:
        assert "with a key" in gateway.said
        assert "k3y" not in gateway.said
        error_of(gateway.chat(), 401)
        assert gateway.chat(key="k3y-of-mine").status_code == 200


def test_it_wants_the_key_of_the_file(aichatfree: Command, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('gateway_key = "k3y-of-mine"\n')
    file.chmod(0o600)
    with serving(aichatfree, "--config", str(file)) as gateway:
        error_of(gateway.chat(), 401)
        assert gateway.chat(key="k3y-of-mine").status_code == 200


def test_names_origins_and_limits(aichatfree: Command, server: ScriptedServer) -> None:
    args = ("--name", "one", "--name", "two", "--allow-origin", "https://chat.example", "--max-concurrent", "1")
    with serving(aichatfree, *args, "--max-retries", "0") as gateway:
        answer = requests.get(f"{gateway.url}/models", headers={"Origin": "https://chat.example"}, timeout=20)
        assert [model["id"] for model in answer.json()["data"]] == ["one", "two"]
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        error_of(gateway.chat(), 404)
        body = {"model": "one", "messages": HELLO, "n": 2}
        error_of(requests.post(f"{gateway.url}/chat/completions", json=body, timeout=20), 503)
        server.enqueue(Reply.overloaded())
        answer = requests.post(f"{gateway.url}/chat/completions", json={**body, "n": 1}, timeout=20)
        error_of(answer, 503)
        assert "x-should-retry" not in answer.headers
    assert len(server.requests) == 1


def test_metrics_want_the_key_as_well(aichatfree: Command) -> None:
    with serving(aichatfree, "--metrics", AICHATFREE_GATEWAY_KEY="k3y-of-mine") as gateway:
        url = gateway.url.removesuffix("/v1") + "/metrics"
        assert f"Figures for Prometheus are on {url}, with the key" in gateway.said
        error_of(requests.get(url, timeout=20), 401)
        assert gateway.chat(key="k3y-of-mine").status_code == 200
        text = requests.get(url, headers={"Authorization": "Bearer k3y-of-mine"}, timeout=20).text
        assert 'aichatfree_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0' in text
        assert "k3y" not in text


def test_password_and_secret_go_below(tmp_path: Path) -> None:
    with ScriptedServer(password="open sesame", secret="s3cret") as server:
        command = Command(server.url, tmp_path)
        with serving(command, "--password", "open sesame", "--secret", "s3cret") as gateway:
            assert gateway.chat().status_code == 200


def test_sigterm_lets_running_replies_end(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(["first ", Pause(1.0), "last"])
    with serving(aichatfree, ends=signal.SIGTERM) as gateway:
        answer = gateway.chat(stream=True)
        lines = answer.iter_lines()
        assert any(b"first" in line for line in lines)
        rest: list[bytes] = []
        reading = threading.Thread(target=lambda: rest.extend(lines))
        reading.start()
    reading.join(10)
    assert b"data: [DONE]" in rest


@pytest.mark.parametrize(
    ("first", "second", "grace"),
    [(signal.SIGTERM, None, 0.2), (signal.SIGTERM, signal.SIGTERM, 1000), (signal.SIGINT, None, 1000)],
    ids=["after a while", "at a second signal", "at Ctrl-C"],
)
def test_what_still_runs_is_cut_visibly(
    aichatfree: Command, server: ScriptedServer, first: int, second: int | None, grace: float
) -> None:
    server.default = Reply(["first ", Pause(None)])
    with serving(aichatfree, ends=first if second is None else second, grace=grace) as gateway:
        answer = gateway.chat(stream=True)
        lines = answer.iter_lines()
        assert any(b"first" in line for line in lines)
        rest: list[bytes] = []
        reading = threading.Thread(target=lambda: rest.extend(lines))
        reading.start()
        if second is not None:
            gateway.process.send_signal(first)
            assert eventually(lambda: not listens(gateway.url))  # two signals that wait together are one
    reading.join(10)
    assert b"data: [DONE]" not in rest
    assert b'finish_reason":"stop' not in b"".join(rest)
    assert b"shutting_down" in b"".join(rest)


def test_it_is_ten_seconds_after_which_the_rest_is_cut() -> None:
    assert local.GRACE_SECONDS == 10


def listens(url: str) -> bool:
    where = urlsplit(url)
    with socket.socket() as connection:
        return connection.connect_ex((where.hostname, where.port)) == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--host", "0.0.0.0"), "AICHATFREE_GATEWAY_KEY"),
        (("--port", "70000"), "70000"),
        (("--allow-origin", "nonsense"), "origin"),
        (("--base-url", "nonsense"), "--base-url"),
        (("--max-concurrent", "0"), "max-concurrent"),
        (("--max-retries", "-1"), "max-retries"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(aichatfree: Command, args: tuple[str, ...], words: str) -> None:
    done = aichatfree("gateway", *args)
    assert done.returncode == 2
    assert words in complaint(done)


def test_a_port_that_is_taken(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree("gateway", "--port", server.url.rpartition(":")[2])
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in complaint(done)
