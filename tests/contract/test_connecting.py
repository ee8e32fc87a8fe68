"""Before a request is on its way: every stage of connecting has its limits, and ends at once when it is given up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import psutil
import pytest

from aichatfree import AsyncClient, Client, ConnectError, RequestTimeoutError, StreamInterruptedError, Timeout
from aichatfree._async.transport.exchange import AiohttpExchange
from aichatfree._sync.transport import connecting
from aichatfree.testing import Pause, Reply, ScriptedServer, Stall

SHORT = 0.3
HOUR = 3600.0
HANGS = 20.0
"""Seconds after which something that must not wait counts as hanging."""


@pytest.fixture
def silent_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name whose look-up gets no answer."""
    over = threading.Event()
    known = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "silent.invalid":
            return known(host, *args, **kwargs)
        over.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield "silent.invalid"
    over.set()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word: a TLS handshake stalls there, and a proxy's tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full: a connection attempt gets no answer."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


@pytest.fixture(params=["look-up", "connection", "handshake", "tunnel", "handshake with a proxy"])
def stalled(request: pytest.FixtureRequest, silent_name: str, silent_port: int, full_port: int) -> dict[str, Any]:
    """What a client is told, so that its connecting goes as far as one stage and no further."""
    stages = {
        "look-up": {"base_url": f"http://{silent_name}"},
        "connection": {"base_url": f"http://127.0.0.1:{full_port}"},
        "handshake": {"base_url": f"https://127.0.0.1:{silent_port}"},
        "tunnel": {"base_url": "https://example.invalid", "proxy": f"http://127.0.0.1:{silent_port}"},
        "handshake with a proxy": {"base_url": "http://example.invalid", "proxy": f"https://127.0.0.1:{silent_port}"},
    }
    return {"max_retries": 0, "timeout": None, **stages[request.param]}


@pytest.mark.parametrize("limits", [Timeout(SHORT, HOUR, HOUR), Timeout(HOUR, total=SHORT)], ids=["connect", "total"])
def test_every_stage_is_limited(face: Any, stalled: dict[str, Any], limits: Timeout) -> None:
    stalled["timeout"] = limits
    outcome = face.stream(face.client(stalled.pop("base_url"), **stalled))
    assert type(outcome.error) is RequestTimeoutError, repr(outcome.error)
    assert outcome.error.phase == ("total" if limits.total else "connect")
    assert f"{SHORT:g} s" in str(outcome.error)
    assert outcome.seconds >= SHORT - 0.02


def test_close_from_another_thread(no_leaks: None, stalled: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "SLICE_SECONDS", HOUR)  # what ends the wait is that the socket was shut down
    with Client(**stalled) as client:
        stream = client.stream("hi")
        ended: list[Exception] = []

        def read() -> None:
            try:
                stream.until_done()
            except Exception as error:
                ended.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        time.sleep(0.3)
        assert reader.is_alive()
        stream.close()
        reader.join(HANGS)
        assert [type(error) for error in ended] == [StreamInterruptedError]


@pytest.mark.parametrize("sessions", ["its own", "the user's"])
def test_aclose_from_another_task(no_leaks: None, stalled: dict[str, Any], sessions: str) -> None:
    if sessions == "the user's" and "proxy" in stalled:
        pytest.skip("the proxy is that session's affair")

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            if sessions == "the user's":
                stalled["session"] = await stack.enter_async_context(aiohttp.ClientSession())
            client = await stack.enter_async_context(AsyncClient(**stalled))
            stream = client.stream("hi")
            caught: list[BaseException] = []

            async def read() -> str:
                try:
                    await stream.until_done()
                except Exception as error:
                    caught.append(error)
                await asyncio.sleep(0.01)  # a task that is still being cancelled would end here
                return "alive"

            reader = asyncio.create_task(read())
            await asyncio.sleep(0.3)
            assert not caught
            await stream.aclose()
            await stream.aclose()
            assert await asyncio.wait_for(reader, HANGS) == "alive"
            assert [type(error) for error in caught] == [StreamInterruptedError]
            assert reader.cancelling() == 0

    run(main())


@pytest.mark.parametrize("closed_too", [False, True], ids=["alone", "closed too"])
def test_cancellation(no_leaks: None, stalled: dict[str, Any], closed_too: bool) -> None:
    if closed_too and sys.version_info < (3, 11):
        pytest.skip("before Python 3.11 a task does not count who cancels it")

    async def main() -> None:
        async with AsyncClient(**stalled) as client:
            stream = client.stream("hi")
            reader = asyncio.create_task(stream.until_done())
            await asyncio.sleep(0.3)
            if closed_too:
                await stream.aclose()
            reader.cancel()
            await asyncio.wait({reader}, timeout=HANGS)
            assert reader.cancelled()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11 a task does not count who cancels it")
def test_aclose_in_a_task_that_was_cancelled_before(stalled: dict[str, Any]) -> None:
    """Whoever cleans up after a cancellation may make calls, and have them closed, like anyone else."""

    async def main() -> None:
        async with AsyncClient(**stalled) as client:
            stream = client.stream("hi")

            async def work() -> str:
                try:
                    await asyncio.sleep(30)
                finally:
                    with contextlib.suppress(StreamInterruptedError):
                        await stream.until_done()
                    cleaned.append("up")
                return "never"

            cleaned: list[str] = []
            worker = asyncio.create_task(work())
            await asyncio.sleep(0.05)
            worker.cancel()
            await asyncio.sleep(0.3)
            await stream.aclose()
            with pytest.raises(asyncio.CancelledError):
                await worker
            assert cleaned == ["up"]
            assert worker.cancelling() == 1

    run(main())


def test_aclose_while_a_session_of_the_users_waits_for_the_answer(server: ScriptedServer, no_leaks: None) -> None:
    server.enqueue(Reply("x", fault=Stall("before-answer")))

    async def main() -> None:
        async with aiohttp.ClientSession() as session, AsyncClient(server.url, session=session, timeout=None) as client:
            stream = client.stream("hi")
            reader = asyncio.create_task(stream.until_done())
            await asyncio.to_thread(server.wait_requests, 1)
            await stream.aclose()
            with pytest.raises(StreamInterruptedError):
                await asyncio.wait_for(reader, HANGS)

    run(main())


def test_aclose_where_something_catches_the_cancelling(
    server: ScriptedServer, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.enqueue(Reply(["first", Pause(None)]))

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            post = client._transport.post

            async def stubborn(*args: Any) -> Any:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(30)
                return await post(*args)

            monkeypatch.setattr(client._transport, "post", stubborn)
            stream = client.stream("hi")
            reader = asyncio.create_task(stream.until_done())
            await asyncio.sleep(0.1)
            await stream.aclose()
            with pytest.raises(StreamInterruptedError):
                await asyncio.wait_for(reader, HANGS)
            assert reader.cancelling() == 0
            await asyncio.to_thread(server.wait_connections, 0)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11 a task does not count who cancels it")
def test_the_client_is_closed_during_a_look_up(silent_name: str) -> None:
    async def main() -> None:
        client = AsyncClient(f"http://{silent_name}", max_retries=0)
        reader = asyncio.create_task(client.stream("hi").until_done())
        await asyncio.sleep(0.1)
        await client.aclose()
        with pytest.raises(StreamInterruptedError):  # and not CancelledError, since nobody cancels the task
            await reader
        assert reader.cancelling() == 0

    run(main())


@contextlib.asynccontextmanager
async def client_with_a_callback(server: ScriptedServer, at_the_end: Any) -> AsyncIterator[AsyncClient]:
    """A client with a session of the user's, which calls back when the headers of an answer are there."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_end.append(at_the_end)
    async with (
        aiohttp.ClientSession(trace_configs=[tracing]) as session,
        AsyncClient(server.url, session=session) as client,
    ):
        yield client


@pytest.mark.parametrize("ticks", range(4))
def test_aclose_about_when_the_answer_comes_through_a_session_of_the_users(server: ScriptedServer, ticks: int) -> None:
    server.enqueue(Reply(["first", Pause(None)]))

    async def main() -> None:
        arrived = asyncio.Event()

        async def end(*_: Any) -> None:
            arrived.set()

        async with client_with_a_callback(server, end) as client:
            stream = client.stream("hi")
            reader = asyncio.create_task(stream.until_done())
            await arrived.wait()
            for _ in range(ticks):
                await asyncio.sleep(0)
            await stream.aclose()
            with pytest.raises(StreamInterruptedError):
                await asyncio.wait_for(reader, 5)

    run(main())


def test_aclose_in_a_callback_of_the_session(server: ScriptedServer) -> None:
    server.enqueue(Reply(["first", Pause(None)]))

    async def main() -> None:
        async def end(*_: Any) -> None:
            await stream.aclose()

        async with client_with_a_callback(server, end) as client:
            stream = client.stream("hi")
            with pytest.raises(StreamInterruptedError):
                await asyncio.wait_for(stream.until_done(), 5)

    run(main())


def test_aclose_as_the_request_goes_out(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp writes in a task of its own, which must not be left without what it writes to."""
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with AsyncClient(server.url) as client:
            stream = client.stream("hi")
            connected = AiohttpExchange.connected

            def and_closed(exchange: AiohttpExchange, connection: Any) -> None:
                asyncio.get_running_loop().call_soon(stream._control.close)
                connected(exchange, connection)

            monkeypatch.setattr(AiohttpExchange, "connected", and_closed)
            with pytest.raises(StreamInterruptedError):
                await stream.until_done()
        gc.collect()

    run(main())
    assert complaints == []


def run(main: Any) -> None:
    """asyncio.run(), but for the wait for threads: one of them waits for the answer that never comes."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert not asyncio.all_tasks(loop)
    finally:
        loop.close()


class TestLookup:
    """The synchronous client's; asyncio has its own."""

    def test_an_address_needs_no_thread(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "127.0.0.1" in server.url
        server.enqueue(Reply("Hello"))

        def start(self: threading.Thread) -> None:
            pytest.fail("a thread was started")

        with Client(server.url) as client:
            monkeypatch.setattr(threading.Thread, "start", start)
            assert client.generate("hi") == "Hello"

    def test_without_threads(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        server.enqueue(Reply("Hello"))

        def start(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with Client(server.url.replace("127.0.0.1", "localhost")) as client:
            monkeypatch.setattr(threading.Thread, "start", start)
            assert client.generate("hi") == "Hello"

    def test_whatever_the_resolver_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Stop(BaseException):
            pass

        def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
            raise Stop

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with Client("http://a.invalid", timeout=None) as client, pytest.raises(Stop):
            client.generate("hi")

    def test_of_several_addresses_the_first_that_answers(
        self, server: ScriptedServer, no_leaks: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = socket.getaddrinfo
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            (good,) = known("127.0.0.1", *args, **kwargs)
            return [(*good[:4], ("127.0.0.1", port))] * 3 + [good]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        server.enqueue(Reply(["first", Pause(None)]))
        with Client(server.url.replace("127.0.0.1", "several.invalid")) as client:
            before = psutil.Process().num_fds()
            stream = client.stream("hi")
            assert next(stream) == "first"
            assert psutil.Process().num_fds() - before == 2  # one end here, one in the server
            stream.close()

    def test_without_a_descriptor_to_spare(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        def dup(self: socket.socket) -> socket.socket:
            raise OSError(errno.EMFILE, "too many open files")

        server.enqueue(Reply("Hello"))
        with Client(server.url) as client:
            monkeypatch.setattr(socket.socket, "dup", dup)
            assert client.generate("hi") == "Hello"

    def test_a_name(self, server: ScriptedServer, no_leaks: None) -> None:
        server.enqueue(Reply("Hello"))
        with Client(server.url.replace("127.0.0.1", "localhost")) as client:
            assert client.generate("hi") == "Hello"


def hang_up(sock: socket.socket, *, reset: bool) -> None:
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture(params=[False, True], ids=["closed", "reset"])
def no_tls(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that takes whatever comes, accepts a CONNECT, and hangs up where TLS would begin."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                if sock.recv(65536).startswith(b"CONNECT"):
                    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    sock.recv(65536)
                hang_up(sock, reset=request.param)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("proxied", [False, True])
def test_a_connection_that_ends_before_tls_has_begun(face: Any, no_tls: int, proxied: bool) -> None:
    """Something accepts connections there, and both clients say what it did then."""
    here = f"127.0.0.1:{no_tls}"
    url, options = ("https://example.invalid", {"proxy": f"http://{here}"}) if proxied else (f"https://{here}", {})
    outcome = face.stream(face.client(url, max_retries=0, **options))
    assert type(outcome.error) is ConnectError
    words = str(outcome.error)
    assert "no secure connection" in words or "the connection was closed before an answer came" in words
    for untrue in ("nothing accepts", "Cannot connect", "None", "the proxy did not let"):
        assert untrue not in words


def test_a_port_where_nothing_listens(face: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("http", "https"):
        outcome = face.stream(face.client(f"{scheme}://127.0.0.1:{port}", max_retries=0))
        assert "nothing accepts connections there" in str(outcome.error)
