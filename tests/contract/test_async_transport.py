"""What the asynchronous transport does that its twin does in ways of its own: loops, forks, hooks, uploads, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_server import Peer, RawServer, chunk, chunked, head, plain

import aichatfree
from aichatfree import AsyncClient, RetryPolicy, Timeout
from aichatfree._async.transport import hooks, outgoing, resolver
from aichatfree._async.transport.exchange import AiohttpExchange
from aichatfree.testing import ProxyServer, Reply, ScriptedServer

NO_WAIT = RetryPolicy(max_retries=1, initial_delay=0)


def ask(url: str, prompt: str = "hi", **options: Any) -> tuple[str, Exception | None]:
    """The text and the error of one stream."""

    async def main() -> tuple[str, Exception | None]:
        text = ""
        async with AsyncClient(url, **{"max_retries": 0, "trust_env": False, **options}) as client:
            try:
                async for piece in client.stream(prompt):
                    text += piece
            except Exception as error:
                return text, error
        return text, None

    return asyncio.run(asyncio.wait_for(main(), 30))


class TestFraming:
    def test_a_fault_right_behind_the_head(self) -> None:
        bad = head("Transfer-Encoding: chunked") + chunk("größe ".encode()) + b"zz\r\n"
        with RawServer(lambda peer: peer.sock.sendall(bad)) as server:
            text, error = ask(server.url)
        assert type(error) is aichatfree.StreamInterruptedError
        assert error.partial == text == "größe "

    @pytest.mark.parametrize("said", [True, False])
    def test_the_end_of_tls(self, tls: Any, said: bool) -> None:
        def answer(peer: Peer) -> None:
            peer.sock.sendall(head("Connection: close") + b"Pay nobody")
            if said:
                with contextlib.suppress(OSError):
                    peer.sock.unwrap()  # type: ignore[attr-defined]
            peer.sock.close()

        with RawServer(answer, tls=tls[0]) as server:
            text, error = ask(server.url, verify=tls[1])
        assert text == "Pay nobody"
        if said:
            assert error is None
        else:
            assert type(error) is aichatfree.StreamInterruptedError
            assert error.partial == text

    def test_the_end_of_tls_in_a_session_of_the_users(self, tls: Any) -> None:
        def answer(peer: Peer) -> None:
            peer.sock.sendall(head("Connection: close") + b"Pay nobody")
            peer.wait(0.2)
            peer.sock.close()

        async def main() -> None:
            context = ssl.create_default_context(cafile=tls[1])
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
                await AsyncClient(server.url, session=session, max_retries=0).generate("hi")

        with RawServer(answer, tls=tls[0]) as server, pytest.raises(aichatfree.StreamInterruptedError) as caught:
            asyncio.run(main())
        assert caught.value.partial == "Pay nobody"

    def test_bytes_that_nobody_asked_for(self) -> None:
        def answer(peer: Peer) -> None:
            peer.sock.sendall(plain(b"right"))
            peer.wait(0.05)
            peer.sock.sendall(plain(b"wrong"))

        async def main() -> list[str]:
            async with AsyncClient(server.url, trust_env=False) as client:
                texts = []
                for _ in range(4):
                    texts.append(await client.generate("hi"))
                    await asyncio.sleep(0.1)
                return texts

        with RawServer(answer) as server:
            assert asyncio.run(main()) == ["right"] * 4

    @pytest.mark.parametrize("size", [9_000, 60_000])
    def test_a_long_field(self, size: int) -> None:
        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one", fields=(f"X: {'y' * size}",)))) as server:
            assert ask(server.url) == ("one", None)

    def test_fields_are_utf8_or_latin1(self) -> None:
        fields = ("X-Utf: größe", "X-Latin: gr\udcf6\udcdfe", "X-Twice: a", "x-twice: b")

        async def main() -> Any:
            async with AsyncClient(server.url) as client:
                stream = client.stream("hi")
                await stream.until_done()
                return stream.headers

        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one", fields=fields))) as server:
            headers = asyncio.run(main())
        assert headers["x-utf"] == headers["x-latin"] == "größe"
        assert headers["x-twice"] == "a, b"

    def test_an_answer_before_the_question(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                for _ in range(1):
                    sock, _ = listener.accept()
                    sock.sendall(plain(b"too many connections", "Connection: close", status="503 Busy"))
                    sock.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(OSError):
                        while sock.recv(65536):
                            pass
                    sock.close()

            thread = threading.Thread(target=serve)
            thread.start()
            _, error = ask(f"http://127.0.0.1:{listener.getsockname()[1]}")
            thread.join(10)
        assert type(error) is aichatfree.OverloadedError


class TestUploads:
    @pytest.mark.parametrize("size", [200_000, 400_000, 8_000_000])
    @pytest.mark.parametrize("round_", range(4))
    def test_an_answer_that_comes_early(self, size: int, round_: int) -> None:
        def refuse(peer: Peer) -> None:
            taken = 0
            while taken < size // 4:
                taken += len(peer.sock.recv(65536))
            peer.sock.sendall(plain(b"too large", "Connection: close", status="413 Content Too Large"))
            peer.sock.close()

        with RawServer(refuse, read_body=False) as server:
            _, error = ask(server.url, "x" * size, retry=NO_WAIT)
            assert len(server.requests) == 1
        assert isinstance(error, aichatfree.APIError)
        assert error.status_code == 413

    @pytest.mark.parametrize("body", [b"", b"too large"])
    @pytest.mark.parametrize("secure", [False, True])
    def test_a_server_that_never_reads_the_rest(
        self, secure: bool, body: bytes, tls: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing may follow on that connection, whose end the server would not learn of either."""
        create = hooks.Connector._create_direct_connection
        sockets: list[Any] = []

        async def create_small(self: Any, *args: Any, **kwargs: Any) -> Any:
            made = await create(self, *args, **kwargs)
            sockets.append(made[0].get_extra_info("socket"))
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            return made

        def answer(peer: Peer) -> None:
            if len(server.requests) > 1:
                peer.sock.sendall(chunked(b"fine"))
            else:
                peer.sock.sendall(plain(body, status="413 Content Too Large"))
                peer.wait()

        async def main() -> str:
            options: Any = {"verify": tls[1]} if secure else {}
            async with AsyncClient(server.url, max_retries=0, timeout=Timeout(first_byte=5), **options) as client:
                with pytest.raises(aichatfree.APIError):
                    await client.generate("x" * 200_000)
                text = await client.generate("hi")
                assert [sock.fileno() >= 0 for sock in sockets] == [False, True]
                return text

        monkeypatch.setattr(hooks.Connector, "_create_direct_connection", create_small)
        with RawServer(answer, tls=tls[0] if secure else None, read_body=False) as server:
            assert asyncio.run(main()) == "fine"

    @pytest.mark.parametrize("size", [200_000, 8_000_000])
    def test_over_tls(self, tls: Any, size: int) -> None:
        def refuse(peer: Peer) -> None:
            peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else it may never leave that side
            taken = 0
            while taken < size // 4:
                taken += len(peer.sock.recv(65536))
            peer.sock.sendall(plain(b"too large", "Connection: close", status="413 Content Too Large"))
            peer.sock.close()

        with RawServer(refuse, tls=tls[0], read_body=False) as server:
            _, error = ask(server.url, "x" * size, retry=NO_WAIT, verify=tls[1])
            assert len(server.requests) == 1
        assert isinstance(error, aichatfree.APIError)
        assert error.status_code == 413

    def test_an_early_answer_on_a_connection_that_stays_open(self) -> None:
        def refuse(peer: Peer) -> None:
            peer.sock.sendall(plain(b"too large", status="413 Content Too Large"))
            peer.wait()

        with RawServer(refuse, read_body=False) as server:
            _, error = ask(server.url, "x" * 20_000_000)
        assert isinstance(error, aichatfree.APIError)
        assert error.status_code == 413

    def test_aclose_while_nobody_takes_it(self) -> None:
        asked = threading.Event()

        def ignore(peer: Peer) -> None:
            asked.set()
            peer.wait()

        async def main() -> float:
            client = AsyncClient(server.url, max_retries=0)
            call = asyncio.create_task(client.generate("x" * 20_000_000))
            await asyncio.to_thread(asked.wait, 10)
            began = time.monotonic()
            await client.aclose()
            with pytest.raises(aichatfree.TransportError):
                await asyncio.wait_for(call, 5)
            return time.monotonic() - began

        with RawServer(ignore, read_body=False) as server:
            assert asyncio.run(main()) < 5

    @pytest.mark.parametrize("size", [10, 65_536, 65_537, 262_144, 262_145, 1_048_576, 3_000_000])
    def test_any_size_arrives(self, server: ScriptedServer, size: int) -> None:
        server.enqueue(Reply("fine"))
        assert ask(server.url, "y" * size) == ("fine", None)
        assert server.requests[0].json["messages"][0]["parts"][0]["text"] == "y" * size


class TestRequestsSideBySide:
    def test_they_leave_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """But for the first, which is alone when it goes out."""
        steps: list[str] = []
        connected, check_idle = AiohttpExchange.connected, AiohttpExchange.check_idle

        def note_connected(self: AiohttpExchange, connection: Any) -> None:
            connected(self, connection)
            steps.append("connected")

        def note_check(self: AiohttpExchange) -> None:
            check_idle(self)
            steps.append("checked")

        async def main() -> None:
            async with AsyncClient(server.url, max_retries=0) as client:
                await asyncio.gather(*[client.generate("hi") for _ in range(3)])
                monkeypatch.setattr(AiohttpExchange, "connected", note_connected)
                monkeypatch.setattr(AiohttpExchange, "check_idle", note_check)
                await asyncio.gather(*[client.generate("hi") for _ in range(3)])
                assert steps == [*["checked", "connected"] * 3, *["checked"] * 2]
                del steps[:]
                await client.generate("hi")
                assert steps == ["checked", "connected"]  # alone, it need not wait for anybody

        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            asyncio.run(main())

    @pytest.mark.parametrize("taken", [1, 20, None])
    def test_what_comes_on_an_idle_connection_meanwhile(
        self, taken: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not all of it need have come when the request goes out."""
        check_idle = AiohttpExchange.check_idle
        about_to_go: list[AiohttpExchange] = []

        def check_late(self: AiohttpExchange) -> None:
            if self._connection is not None and self.deadline.phase == "first_byte":
                about_to_go.append(self)
                if len(about_to_go) == 1:
                    answer = plain(b"gone", "Connection: close", status="408 Request Timeout")
                    self._protocol.data_received(answer[:taken])
                    if taken:
                        self._loop.call_soon(self._protocol.data_received, answer[taken:])
            check_idle(self)

        async def main() -> list[str]:
            async with AsyncClient(server.url, max_retries=0) as client:
                await asyncio.gather(*[client.generate("hi") for _ in range(3)])
                monkeypatch.setattr(AiohttpExchange, "check_idle", check_late)
                return await asyncio.gather(*[client.generate("hi") for _ in range(3)])

        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            assert asyncio.run(main()) == ["one"] * 3
        assert len(about_to_go) >= 2


class TestHooks:
    @pytest.mark.parametrize("timeout", [1, None])
    def test_a_hook_that_is_not_called(self, monkeypatch: pytest.MonkeyPatch, timeout: float | None) -> None:
        name = outgoing.SEND
        assert name is not None
        known = getattr(aiohttp.ClientRequest, name)

        def lookup(self: Any, attribute: str) -> Any:
            return known.__get__(self) if attribute == name else object.__getattribute__(self, attribute)

        monkeypatch.setattr(aiohttp.ClientRequest, "__getattribute__", lookup)
        with RawServer(lambda peer: peer.wait()) as server:
            _, error = ask(server.url, timeout=timeout)
        assert type(error) is aichatfree.TransportError
        assert "aiohttp" in str(error)

    @pytest.mark.parametrize(
        ("owner", "name"), [(hooks.ResponseHandler, "set_response_params"), (aiohttp.StreamReader, "_read_nowait")]
    )
    def test_a_hook_that_is_gone(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        monkeypatch.delattr(owner, name)
        with RawServer(lambda peer: peer.wait()) as server:
            _, error = ask(server.url)
        assert type(error) is aichatfree.TransportError
        assert name in str(error)

    def test_no_name_for_what_sends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hooks, "SEND", None)
        with RawServer(lambda peer: peer.wait()) as server:
            _, error = ask(server.url)
        assert type(error) is aichatfree.TransportError

    def test_connections_of_another_make(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hooks, "ResponseHandler", type("Other", (hooks.ResponseHandler,), {}))
        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            _, error = ask(server.url)
        assert type(error) is aichatfree.TransportError

    def test_a_parser_that_is_kept_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def set_response_params(self: Any, **options: Any) -> None:
            self._parser = None

        monkeypatch.setattr(hooks.ResponseHandler, "set_response_params", set_response_params)
        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            _, error = ask(server.url)
        assert type(error) is aichatfree.TransportError

    def test_a_response_that_is_made_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outgoing, "_AT_ONCE", False)  # aiohttp then sends as it always does
        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            for size in (2, 100_000, 3_000_000):
                assert ask(server.url, "x" * size) == ("one", None)


class TestLoops:
    def test_generators_that_were_shut_down(self, recwarn: pytest.WarningsRecorder) -> None:
        async def main() -> None:
            async with AsyncClient(server.url) as client:
                assert await client.generate("hi") == "one"
                await asyncio.get_running_loop().shutdown_asyncgens()
                transport = client._transport
                assert isinstance(transport, aichatfree._async.transport.transport.AiohttpTransport)
                held = transport.session_for(server.url)
                assert held is not None
                assert not held.closed

        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            asyncio.run(main())

    @pytest.mark.parametrize("where", ["another loop", "another thread"])
    def test_aclose_from_elsewhere(self, where: str) -> None:
        reading = threading.Event()

        def slow(peer: Peer) -> None:
            peer.sock.sendall(head("Transfer-Encoding: chunked") + chunk(b"one "))
            peer.wait()

        async def read(stream: Any) -> str:
            try:
                async for _ in stream:
                    reading.set()
            except aichatfree.StreamInterruptedError as error:
                return error.partial
            return "whole"

        with RawServer(slow) as server:
            client = AsyncClient(server.url, max_retries=0)
            stream = client.stream("hi")
            outcome: list[str] = []
            reader = threading.Thread(target=lambda: outcome.append(asyncio.run(read(stream))))
            reader.start()
            assert reading.wait(10)
            asyncio.run(stream.aclose() if where == "another loop" else client.aclose())
            reader.join(10)
            assert outcome == ["one "]
            asyncio.run(client.aclose())

    def test_a_loop_that_was_closed_without_a_word(self) -> None:
        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            client = AsyncClient(server.url)
            for _ in range(3):
                loop = asyncio.new_event_loop()
                assert loop.run_until_complete(client.generate("hi")) == "one"
                loop.close()
            del client
            gc.collect()

    def test_sessions_and_connectors_of_another_loop(self) -> None:
        async def make() -> tuple[aiohttp.ClientSession, aiohttp.TCPConnector]:
            return aiohttp.ClientSession(), aiohttp.TCPConnector()

        async def use(client: AsyncClient) -> None:
            await client.generate("hi")

        loop = asyncio.new_event_loop()
        session, connector = loop.run_until_complete(make())
        for options in ({"session": session}, {"connector": connector}):
            with pytest.raises(aichatfree.InvalidRequestError, match="another event loop"):
                asyncio.run(use(AsyncClient("http://127.0.0.1:9", **options)))
        loop.run_until_complete(session.close())
        loop.run_until_complete(connector.close())
        loop.close()


FORK = """
import asyncio, os, sys, warnings
from aichatfree import AsyncClient
client = AsyncClient(sys.argv[1], trust_env=False, max_retries=0, verify=sys.argv[2] if len(sys.argv) > 2 else True)

async def ask(name, count):
    return [text for number in range(count) if (text := await client.generate("x")) != "one two"]

async def parent():
    stream = client.stream("x")
    first = await anext(stream)
    await client.generate("x")  # one connection lies idle, another is in use
    child = os.fork()
    if not child:
        try:
            wrong = asyncio.new_event_loop().run_until_complete(ask("child", 10))
            client.__dict__.clear()
        except BaseException as error:
            print("child", repr(error), file=sys.stderr)
            os._exit(3)
        os._exit(len(wrong))
    wrong = await ask("parent", 10)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    rest = first + "".join([piece async for piece in stream])
    return rest, wrong, os.waitstatus_to_exitcode(status)

print(*asyncio.run(parent()), sep="|")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("secure", [False, True])
def test_a_fork_has_connections_of_its_own(secure: bool, tls: Any) -> None:
    def answer(peer: Peer) -> None:
        peer.sock.sendall(head("Transfer-Encoding: chunked") + chunk(b"one "))
        peer.wait(0.05)
        peer.sock.sendall(chunk(b"two") + b"0\r\n\r\n")

    with RawServer(answer, tls=tls[0] if secure else None) as server:
        command = [sys.executable, "-c", FORK, server.url, *([tls[1]] if secure else [])]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert ran.stdout.strip() == "one two|[]|0", (ran.stdout, ran.stderr)


class TestSessionsOfTheUsers:
    def test_one_that_raises_by_itself(self) -> None:
        async def main() -> None:
            async with aiohttp.ClientSession(raise_for_status=True) as session:
                await AsyncClient(server.url, session=session, retry=NO_WAIT).generate("hi")

        refusal = plain(b'{"error":{"message":"Invalid password."}}', status="401 Unauthorized")
        with RawServer(lambda peer: peer.sock.sendall(refusal)) as server:
            with pytest.raises(aichatfree.InvalidPasswordError):
                asyncio.run(main())
            assert len(server.requests) == 1

    def test_a_hook_that_raises(self) -> None:
        async def hook(session: Any, context: Any, end: Any) -> None:
            end.response.raise_for_status()

        async def main() -> None:
            trace = aiohttp.TraceConfig()
            trace.on_request_end.append(hook)
            async with aiohttp.ClientSession(trace_configs=[trace]) as session:
                await AsyncClient(server.url, session=session, retry=NO_WAIT).generate("hi")

        with RawServer(lambda peer: peer.sock.sendall(plain(b"x", "Retry-After: 7", status="403 No"))) as server:
            with pytest.raises(aichatfree.PermissionDeniedError) as caught:
                asyncio.run(main())
            assert caught.value.headers["retry-after"] == "7"
            assert len(server.requests) == 1

    @pytest.mark.parametrize("kind", [object(), aiohttp.ClientSession, None.__class__, "session"])
    def test_what_is_no_session(self, kind: Any) -> None:
        with pytest.raises(aichatfree.InvalidRequestError, match=r"aiohttp\.ClientSession"):
            AsyncClient("http://127.0.0.1:9", session=kind)

    @pytest.mark.parametrize("explicit", ["url", "header"])
    def test_a_netrc_file(self, explicit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login other password other\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        seen: list[str] = []

        async def middleware(request: aiohttp.ClientRequest, handler: Any) -> Any:
            seen.append(str(request.url))
            return await handler(request)

        async def main() -> str:
            options: Any = {}
            url = server.url
            if explicit == "url":
                url = url.replace("http://", "http://me:mine@")
            else:
                options["headers"] = {"authorization": "Bearer mine"}
            async with aiohttp.ClientSession(trust_env=True, middlewares=(middleware,)) as session:
                return await AsyncClient(url, session=session, **options).generate("hi")

        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            assert asyncio.run(main()) == "one"
        expected = b"Basic bWU6bWluZQ==" if explicit == "url" else b"Bearer mine"
        lines = [line for line in server.requests[0].split(b"\r\n") if line.lower().startswith(b"authorization")]
        assert [line.split(b": ")[1] for line in lines] == [expected]
        assert seen

    def test_a_connector_of_the_users(self) -> None:
        async def main() -> list[str]:
            connector = aiohttp.TCPConnector(limit=1)
            async with AsyncClient(server.url, connector=connector) as client:
                texts = await asyncio.gather(*(client.generate("hi") for _ in range(5)))
            assert not connector.closed
            await connector.close()
            return texts

        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            assert asyncio.run(main()) == ["one"] * 5
            assert server.connections == 1


class TestNames:
    def test_one_look_up_for_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        go_on = threading.Event()
        known = socket.getaddrinfo

        def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(host)
            go_on.wait(10)
            return known("127.0.0.1", port, *args, **kwargs)

        async def main() -> list[str]:
            async with (
                AsyncClient(f"http://many.invalid:{server.port}") as first,
                AsyncClient(first.base_url) as second,
            ):
                calls = [asyncio.create_task(each.generate("hi")) for each in [first, second] * 10]
                while not asked:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                go_on.set()
                return await asyncio.gather(*calls)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with RawServer(lambda peer: peer.sock.sendall(chunked(b"one"))) as server:
            assert asyncio.run(main()) == ["one"] * 20
        assert asked == ["many.invalid"]

    def test_a_look_up_that_hangs_uses_nobody_elses_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        over = threading.Event()

        def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")

        async def main() -> str:
            async with AsyncClient("http://hangs.invalid", timeout=Timeout(connect=0.2), max_retries=0) as client:
                with pytest.raises(aichatfree.RequestTimeoutError):
                    await client.generate("hi")
            assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]
            return "ended"

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        try:
            assert asyncio.run(main()) == "ended"
        finally:
            over.set()

    @pytest.mark.parametrize(
        "error", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long"), OSError("no")]
    )
    def test_every_failure_is_a_connect_error(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
            raise error

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        _, met = ask("http://failing.invalid.")
        assert type(met) is aichatfree.ConnectError
        assert "cannot be resolved" in str(met)

    def test_a_host_without_addresses_and_a_zone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found: list[Any] = []
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        with pytest.raises(OSError, match="no address"):
            asyncio.run(resolver.Resolver().resolve("empty.invalid", 80))
        found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3)))
        (address,) = asyncio.run(resolver.Resolver().resolve("local.invalid", 80))
        assert address["host"] == "fe80::1%3"

    def test_threads_that_cannot_be_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="can't start new thread"):
            asyncio.run(resolver.look_up("any.invalid", 80))


def link_local_address() -> tuple[str, str] | None:
    """An address of this machine that means nothing without its interface, and that interface."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, *_, device = line.split()
            if digits.startswith("fe80"):
                return ":".join(digits[at : at + 4] for at in range(0, 32, 4)), device
    return None


@pytest.mark.skipif(link_local_address() is None, reason="no link-local address")
@pytest.mark.parametrize("percent", ["%25", "%"])
def test_an_address_with_a_zone(percent: str) -> None:
    local = link_local_address()
    assert local is not None
    address, device = local
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(socket.getaddrinfo(f"{address}%{device}", 0)[0][4])
        listener.listen()
        port = listener.getsockname()[1]
        seen: list[bytes] = []

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                data = b""
                while b"sign" not in data:
                    data += sock.recv(65536)
                seen.append(data)
                sock.sendall(chunked(b"one", fields=("Connection: close",)))

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(f"http://[{address}{percent}{device}]:{port}") == ("one", None)
        thread.join(10)
    assert f"Host: [{address}]:{port}\r\n".encode() in seen[0]


@pytest.mark.parametrize("own", [True, False])
def test_recorded_by_vcrpy(own: bool, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr")

    async def main() -> str:
        async with contextlib.AsyncExitStack() as stack:
            options: dict[str, Any] = {}
            if not own:
                options["session"] = await stack.enter_async_context(aiohttp.ClientSession())
            client = await stack.enter_async_context(AsyncClient(server.url, max_retries=0, **options))
            return await client.generate("hi")

    with RawServer(lambda peer: peer.sock.sendall(chunked("größe".encode()))) as server:
        for _ in range(3):
            with vcr.use_cassette(str(tmp_path / "cassette.yaml"), match_on=["method", "uri"]):
                assert asyncio.run(main()) == "größe"
        assert len(server.requests) == 1


@contextlib.contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of this machine on Linux only")
def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    known = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "two.invalid":
            return known(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port))) for each in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with RawServer(lambda peer: peer.sock.sendall(chunked(b"here"))) as server, black_hole("127.0.0.2", server.port):
        assert ask(f"http://two.invalid:{server.port}", timeout=Timeout(connect=5)) == ("here", None)


def test_a_proxy_password_beyond_ascii(server: ScriptedServer) -> None:
    with ProxyServer(user="me", password="pässwörd") as proxy:
        for written in ("me:pässwörd", "me:p%C3%A4ssw%C3%B6rd"):
            server.enqueue(Reply("through"))
            assert ask(server.url, proxy=proxy.url.replace("http://", f"http://{written}@")) == ("through", None)


@pytest.mark.parametrize("microseconds", [1, 20, 60, 120, 200, 400])
def test_a_total_that_runs_out_before_the_connection(microseconds: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(5):
            _, error = ask(url, timeout=Timeout(None, None, None, total=microseconds / 1e6))
            assert type(error) is aichatfree.RequestTimeoutError
            assert error.phase == "total"


def test_a_read_given_up_leaves_the_exchange_as_it_was(server: ScriptedServer) -> None:
    from aichatfree._core.deadlines import Deadline
    from aichatfree._core.settings import Settings
    from aichatfree._core.wire.requests import Request

    go_on = threading.Event()

    def answer(peer: Peer) -> None:
        peer.sock.sendall(head("Transfer-Encoding: chunked") + chunk(b"one "))
        go_on.wait(10)
        peer.sock.sendall(chunk(b"two") + b"0\r\n\r\n")

    async def main() -> bytes:
        transport = aichatfree._async.transport.transport.AiohttpTransport(Settings())
        request = Request("POST", raw.url + "/api/generate", {}, b"body")
        exchange = transport.exchange(request, Deadline(Timeout(), time.monotonic))
        await exchange.send()
        data = await anext(exchange)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(exchange), 0.1)
        go_on.set()
        async for more in exchange:
            data += more
        await exchange.aclose()
        await transport.aclose()
        return data

    with RawServer(answer) as raw:
        assert asyncio.run(main()) == b"one two"


def test_nothing_grows_with_the_number_of_faulty_calls() -> None:
    replies = [
        chunked(b"fine"),
        head("Transfer-Encoding: chunked") + chunk(b"some") + b"zz\r\n",
        plain(b"short")[:-2],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        plain(b"no", status="500 No"),
        plain(b"more") + b"and more",
        head("Content-Length: 9") + b"cut",
    ]

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        async with AsyncClient(server.url, max_retries=0, trust_env=False) as client:

            async def call(number: int) -> None:
                with contextlib.suppress(aichatfree.AIChatFreeError):
                    await client.with_options(base_url=f"{server.url}/{number}").generate("hi")

            for number in range(210):
                await call(number)
            gc.collect()
            tasks, descriptors = len(asyncio.all_tasks(loop)), len(os.listdir("/proc/self/fd"))
            before = tracemalloc.get_traced_memory()[0]
            for number in range(700):
                await call(number)
            await asyncio.sleep(0.1)
            gc.collect()
            assert len(asyncio.all_tasks(loop)) <= tasks
            assert len(os.listdir("/proc/self/fd")) <= descriptors + 4
            return before, tracemalloc.get_traced_memory()[0]

    count = 0

    def answer(peer: Peer) -> None:
        nonlocal count
        count += 1
        reply = replies[count % len(replies)]
        peer.sock.sendall(reply)
        if reply is not replies[0] and reply is not replies[4]:
            peer.sock.close()

    with RawServer(answer) as server:
        server.requests = Forgetful()
        server._threads = Forgetful()
        tracemalloc.start()
        try:
            before, after = asyncio.run(main())
        finally:
            tracemalloc.stop()
    assert after - before < 100_000


class Forgetful(list[Any]):
    """Remembers nothing."""

    def append(self, item: Any) -> None:
        pass
