"""The examples of a deployment: behind the real nginx and HAProxy, under systemd, in a container."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aichatfree import Client, StreamInterruptedError
from aichatfree.server import LocalServer
from aichatfree.server.failures import UpstreamError

EXAMPLES = Path(__file__).parents[2] / "examples" / "server"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


class Model:
    """Says who it is, waits until it may go on, and knows when it was given up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go_on = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        self.ended.clear()
        try:
            yield f"{self.name}: "
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
            if messages[-1]["parts"][0]["text"] == "fail":
                raise UpstreamError("it failed")
            yield "the rest"
        finally:
            self.ended.set()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def configured(name: str, ports: dict[str, int]) -> str:
    """An example's text, with other ports."""
    text = (EXAMPLES / name).read_text("utf-8")
    for old, new in ports.items():
        text, times = re.subn(rf"\b{old}\b(?=;|$| check)", str(new), text, flags=re.MULTILINE)
        assert times == 1, old
    return text


@contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            ends = time.monotonic() + 20
            while True:
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < ends
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextmanager
def nginx(tmp_path: Path, first: int, second: int) -> Iterator[str]:
    port = free_port()
    site = configured("nginx.conf", {"3000": first, "3001": second, "8080": port})
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = f"""daemon off; pid {tmp_path}/pid; error_log stderr; worker_processes 2;
    events {{}} http {{ access_log off; {temporary} {site} }}"""
    (tmp_path / "nginx.conf").write_text(whole)
    assert NGINX
    with running([NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], port) as url:
        yield url


@contextmanager
def haproxy(tmp_path: Path, first: int, second: int) -> Iterator[str]:
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(configured("haproxy.cfg", {"3000": first, "3001": second, "8080": port}))
    assert HAPROXY
    with running([HAPROXY, "-db", "-f", str(tmp_path / "haproxy.cfg")], port) as url:
        yield url


balancers = pytest.mark.parametrize(
    "balancer",
    [
        pytest.param(nginx, marks=[pytest.mark.nginx, pytest.mark.skipif(NGINX is None, reason="there is no nginx")]),
        pytest.param(haproxy, marks=pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy")),
    ],
)


@balancers
def test_several_servers_behind_a_load_balancer(balancer: Any, tmp_path: Path) -> None:
    one, two = Model("one"), Model("two")
    with LocalServer(one) as first, LocalServer(two) as second:
        ports = [int(server.url.rpartition(":")[2]) for server in (first, second)]
        with balancer(tmp_path, *ports) as url, Client(url, trust_env=False, max_retries=0) as client:
            # The first piece is there before the second is made, and the second call goes to the other server.
            with client.stream("Hi") as left, client.stream("Hi") as right:
                assert {next(left), next(right)} == {"one: ", "two: "}
                one.go_on.set()
                two.go_on.set()
                assert next(left) == next(right) == "the rest"
            # A reply that fails does not look whole.
            with pytest.raises(StreamInterruptedError):
                client.generate("fail")
            # A client that goes away ends its reply.
            for model in (one, two):
                model.go_on.clear()
                model.ended.clear()
            with client.stream("Hi") as stream:
                busy = one if next(stream) == "one: " else two
            assert busy.ended.wait(10)


@balancers
def test_a_server_that_is_down_is_left_out(balancer: Any, tmp_path: Path) -> None:
    model = Model("one")
    model.go_on.set()
    with LocalServer(model) as server:
        with balancer(tmp_path, int(server.url.rpartition(":")[2]), free_port()) as url:
            client = Client(url, trust_env=False, max_retries=3)
            for _ in range(4):
                assert client.generate("Hi") == "one: the rest"
            client.close()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_unit_is_one(tmp_path: Path) -> None:
    text = (EXAMPLES / "aichatfree.service").read_text("utf-8")
    command = re.search(r"ExecStart=(\S+) serve", text)
    assert command
    unit = tmp_path / "aichatfree.service"
    unit.write_text(text.replace(command[1], sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert unit.name not in done.stderr, done.stderr


def test_the_commands_of_the_examples_are_understood() -> None:
    unit = re.search(r"ExecStart=\S+/aichatfree (.*)", (EXAMPLES / "aichatfree.service").read_text("utf-8"))
    assert unit
    container = (EXAMPLES / "Dockerfile").read_text("utf-8")
    found = [json.loads(line) for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)", container, re.MULTILINE)]
    assert found[0][0] == "aichatfree"
    for arguments in (unit[1].split(), [*found[0][1:], *found[1]]):
        done = subprocess.run(
            [sys.executable, "-m", "aichatfree", *arguments, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        known = set(re.findall(r"--[a-z-]+", done.stdout))
        assert {argument for argument in arguments if argument.startswith("--")} <= known
