"""The life of a LocalServer, and of `run` in the foreground."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from aichatfree.gateway import LocalGateway
from aichatfree.server import LocalServer

from .helpers import open_stream, payload, post
from .raw import read_all, request


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def test_start_and_close_by_hand() -> None:
    server = LocalServer("ok")
    assert repr(server) == "<LocalServer not running>"
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = server.url
    assert server.start() is server
    assert server.url in repr(server)
    assert post(server.url, payload()).body == b"ok"
    server.close()
    server.close()
    with pytest.raises(OSError):
        post(server.url, payload())


def test_closing_one_that_never_ran_does_nothing() -> None:
    LocalServer().close()


def test_it_is_started_once() -> None:
    with LocalServer() as server, pytest.raises(RuntimeError, match="started once"):
        server.start()
    with pytest.raises(RuntimeError, match="started once"):
        server.start()


def test_a_port_that_is_taken_is_an_error_for_the_caller() -> None:
    before = threading.active_count()
    with LocalServer() as server, pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1, port \d+: ") as info:
        LocalServer(port=port_of(server.url)).start()
    assert info.value.errno
    assert threading.active_count() == before


@pytest.mark.parametrize("options", [{"port": 1 << 20}, {"host": "203.0.113.1"}])
def test_an_impossible_address_is_an_error_for_the_caller(options: Any) -> None:
    with pytest.raises(OSError, match="cannot listen on"):
        LocalServer(**options).start()


def test_the_chosen_port_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with LocalServer(port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"


def test_listening_everywhere_still_gives_a_url_to_connect_to() -> None:
    with LocalServer("ok", host="0.0.0.0") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert post(server.url, payload()).body == b"ok"


def stalls(messages: object) -> Iterator[str]:
    yield "a"
    stop.wait(30)
    yield "b"


async def stalls_async(messages: object) -> AsyncIterator[str]:
    yield "a"
    await asyncio.sleep(30)


stop = threading.Event()


@pytest.mark.parametrize("reply", [stalls, stalls_async])
def test_close_does_not_wait_for_stalled_replies(reply: Any) -> None:
    stop.clear()
    server = LocalServer(reply).start()
    with open_stream(server.url, payload()) as stream:
        assert stream.read_some() == b"a"
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 2  # about 0.5 s; the machine may be busy
    stop.set()


def test_nothing_is_left_after_close(no_leaks: None) -> None:
    stop.clear()
    server = LocalServer(stalls).start()
    with open_stream(server.url, payload()) as stream:
        assert stream.read_some() == b"a"
        stop.set()
        server.close()


def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from aichatfree.server import connections

    assert connections.KEEP_ALIVE_SECONDS == 5
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.1)
    body = payload()
    with (
        LocalServer("ok") as server,
        socket.create_connection(("127.0.0.1", port_of(server.url)), timeout=10) as connection,
    ):
        connection.sendall(
            f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        data = b""
        while more := connection.recv(65536):
            data += more
    assert data.endswith(b"0\r\n\r\n")


def python(code: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


RUN = """
from aichatfree.server import run
run("ok", port=0, secret="s", on_start=lambda url: print(url, flush=True))
print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly_at_a_signal(number: signal.Signals) -> None:
    with python(RUN) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert post(url, payload(secret="s")).body == b"ok"
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "ended\n", "")


SLOW = """
import asyncio
from aichatfree.server import local
local.GRACE_SECONDS = {grace}
async def reply(messages):
    yield "one"
    await asyncio.sleep({seconds})
    yield "two"
local.run(reply, port=0, on_start=lambda url: print(url, flush=True))
print("ended")
"""


def test_sigterm_lets_replies_end_and_takes_no_more_requests() -> None:
    with python(SLOW.format(grace=10, seconds=0.5)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with open_stream(url, payload()) as stream, socket.create_connection(("127.0.0.1", port_of(url))) as idle:
            assert stream.read_some() == b"one"
            process.send_signal(signal.SIGTERM)
            assert idle.recv(100) == b""  # closed, as a connection between two requests is
            with pytest.raises(OSError):
                post(url, payload())
            assert stream.read_some() == b"two"
            assert stream.read_some() == b""
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "ended\n", "")


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)])
def test_what_is_late_after_a_signal_is_cut_visibly(numbers: tuple[signal.Signals, ...]) -> None:
    grace = 0.3 if len(numbers) == 1 else 60  # a second signal cuts at once
    with python(SLOW.format(grace=grace, seconds=60)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=20) as connection:
            connection.sendall(request(url, payload()))
            data = b""
            while b"one" not in data:
                data += connection.recv(1000)
            for number in numbers:
                process.send_signal(number)
                time.sleep(0.1)  # two at once are one
            data += read_all(connection)
        out, err = process.communicate(timeout=20)
    assert data.endswith(b"3\r\none\r\n15\r\nInternal server error\r\n")
    assert (process.returncode, out, err) == (0, "ended\n", "")


def test_an_empty_host_is_refused() -> None:
    for host in ("", " "):
        with pytest.raises(ValueError, match="host must not be empty"):
            LocalServer(host=host)


def test_run_reports_a_port_that_is_taken() -> None:
    from aichatfree.server import run

    with LocalServer() as server, pytest.raises(OSError, match="cannot listen on"):
        run(port=port_of(server.url))


def test_run_closes_the_server_when_on_start_fails(no_leaks: None) -> None:
    from aichatfree.server import run

    def on_start(url: str) -> None:
        raise ValueError(url)

    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:") as info:
        run(port=0, on_start=on_start)
    with pytest.raises(OSError):
        post(str(info.value), payload())


def test_a_server_that_nobody_closes_does_not_hold_up_the_end_of_the_program() -> None:
    with python("from aichatfree.server import LocalServer\nprint(LocalServer().start().url)") as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.startswith("http://127.0.0.1:")
    assert err == ""


def test_importing_the_package_imports_no_aiohttp() -> None:
    code = (
        "import sys, aichatfree.server\n"
        "assert not {'aiohttp', 'asyncio', 'ssl'} & set(sys.modules)\n"
        "assert 'LocalServer' in dir(aichatfree.server)\n"
        "aichatfree.server.LocalServer, aichatfree.server.create_app, aichatfree.server.run\n"
        "assert 'aiohttp' in sys.modules\n"
        "assert not hasattr(aichatfree.server, 'nope')\n"
    )
    with python(code) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, ""), out


@pytest.mark.parametrize("kind", [LocalServer, LocalGateway])
def test_connections_that_come_as_it_stops(
    kind: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")  # in which asyncio shows what it breaks off
    server = kind(base_url="http://127.0.0.1:9") if kind is LocalGateway else kind("ok")
    server.start()
    address = ("127.0.0.1", port_of(server.url))
    loop = server._thread._loop
    busy = threading.Event()
    loop.call_soon_threadsafe(lambda: (busy.set(), time.sleep(0.3)))
    assert busy.wait(5)
    connections = [socket.create_connection(address, 5) for _ in range(5)]  # taken in the round in which it closes
    server.close()
    for connection in connections:
        connection.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
