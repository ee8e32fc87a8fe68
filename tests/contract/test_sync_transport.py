"""What the synchronous transport keeps under hostile circumstances: forks, signals, aborts, early answers, canaries."""

from __future__ import annotations

import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests.adapters
import trustme
import urllib3.connection
import urllib3.connectionpool
from peers import Peer, Peers, chunk, chunked, head, sized

from aichatfree import (
    APIError,
    Client,
    ConnectError,
    RequestTimeoutError,
    RetryPolicy,
    StreamInterruptedError,
    Timeout,
)
from aichatfree._sync.transport import inbox
from aichatfree.testing import Pause, ProxyServer, Reply, ScriptedServer

AUTHORITY = trustme.CA()


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def ca(tmp_path: Path) -> str:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.fixture(params=["plain", "tls"])
def secured(request: pytest.FixtureRequest, tls: ssl.SSLContext, ca: str) -> Iterator[Any]:
    """Keywords for a server, and for a client of it."""
    yield ({}, {}) if request.param == "plain" else ({"tls": tls}, {"verify": ca})


def run(program: str, *arguments: str) -> str:
    """What a program prints, in an interpreter of its own."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def echo(peer: Peer) -> None:
    peer.send(chunked(peer.prompt.encode()))


# --- Forks ----------------------------------------------------------------------------------------------------------

FORK = """
import os, sys
from aichatfree import Client
url, ca = sys.argv[1:]
client = Client(url, verify=ca or True, trust_env=False, max_retries=0)
assert client.generate("warm") == "warm"
child = os.fork()
name = "parent" if child else "child"
wrong = [number for number in range(30) if client.generate(f"{name} {number}") != f"{name} {number}"]
if not child:
    client.close()
    os._exit(len(wrong))
_, status = os.waitpid(child, 0)
assert client.generate("still") == "still"
print(len(wrong), os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_has_connections_of_its_own(secured: Any) -> None:
    serving, asking = secured
    with Peers(echo, **serving) as server:
        assert run(FORK, server.url, asking.get("verify", "")).split() == ["0", "0"]
        assert server.accepted == 2


FORK_AMID = """
import multiprocessing, sys
from aichatfree import Client, StreamInterruptedError
url, ca = sys.argv[1:]
client = Client(url, verify=ca or True, trust_env=False, max_retries=0)
stream = client.stream("slowly")
assert next(stream) == "one "

def work():
    try:
        next(stream)
    except StreamInterruptedError as error:
        assert error.partial == "one ", error.partial
    else:
        raise AssertionError("the child has read what belongs to its parent")
    stream.close()
    client.close()

context = multiprocessing.get_context("fork")
process = context.Process(target=work)
process.start()
process.join()
assert process.exitcode == 0
print(stream.until_done())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_cannot_cut_the_stream_of_its_parent(secured: Any) -> None:
    """The child closes its copies; the parent, which asks for nothing before that, reads on."""
    serving, asking = secured

    def slowly(peer: Peer) -> None:
        peer.send(head("200 OK", "Transfer-Encoding: chunked") + chunk(b"one "))
        peer.over.wait(1)
        peer.send(chunk(b"two") + b"0\r\n\r\n")

    with Peers(slowly, **serving) as server:
        assert run(FORK_AMID, server.url, asking.get("verify", "")).split() == ["one", "two"]


# --- Signals --------------------------------------------------------------------------------------------------------

IN_A_HANDLER = """
import faulthandler, signal, sys, time
from aichatfree import Client
faulthandler.dump_traceback_later(30, exit=True)
client = Client(sys.argv[1], trust_env=False)
inside, handled = [], 0
def handler(*_):
    global handled
    if not inside:
        inside.append(1)
        assert client.generate("handler") == "handler"
        handled += 1
        inside.clear()
signal.signal(signal.SIGALRM, handler)
until = time.monotonic() + 2
while time.monotonic() < until:
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0007)
    for number in range(20):
        assert client.generate(f"program {number}") == f"program {number}"
    signal.setitimer(signal.ITIMER_REAL, 0)
print(handled > 20)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of this kind are POSIX's")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_call_in_a_signal_handler(host: str) -> None:
    with Peers(echo) as server:
        assert run(IN_A_HANDLER, server.url.replace("127.0.0.1", host)) == "True\n"


INTERRUPTED = """
import faulthandler, os, sys
from aichatfree import AIChatFreeError, Client
faulthandler.dump_traceback_later(45, exit=True)

def interrupted_at(step):
    left, struck = step, False
    def profile(frame, event, argument):
        nonlocal left, struck
        if event in ("call", "c_return"):
            left -= 1
            if left < 0 and not struck:
                struck = True
                sys.setprofile(None)
                raise KeyboardInterrupt
    sys.setprofile(profile)
    try:
        client.generate("interrupted")
    except (KeyboardInterrupt, AIChatFreeError):
        pass
    finally:
        sys.setprofile(None)
    return struck

client = Client(sys.argv[1], trust_env=False, timeout=5)
client.generate("warm")
at = 0
while interrupted_at(at):
    assert client.generate(f"after {at}") == f"after {at}"
    at += 3
print(at > 100)
"""


def test_a_client_after_a_keyboard_interrupt() -> None:
    """Wherever it strikes: nothing stays locked, and no answer is taken for another's."""
    with Peers(echo) as server:
        assert run(INTERRUPTED, server.url) == "True\n"


# --- Aborts ---------------------------------------------------------------------------------------------------------


def test_a_stream_closed_late_cuts_no_other_call(server: ScriptedServer) -> None:
    """Its connection serves the next call by then."""
    client = Client(server.url, trust_env=False, max_retries=0)
    server.enqueue(Reply("one"), Reply(["two ", Pause(0.2), "three"]))
    exchanges: list[Any] = []
    make = client._transport.exchange

    def exchange(*args: Any) -> Any:
        exchanges.append(make(*args))
        return exchanges[-1]

    client._transport.exchange = exchange  # type: ignore[method-assign]
    assert client.generate("Hi") == "one"
    stream = client.stream("Hi")
    assert next(stream) == "two "
    exchanges[0].abort()
    assert stream.until_done() == "two three"


def test_closing_under_load_interrupts_only_what_was_closed(server: ScriptedServer) -> None:
    """Threads that close streams at their very end never cut a call of another thread."""
    failures: list[BaseException] = []
    with Client(server.url, trust_env=False, max_retries=0) as client:

        def work() -> None:
            for number in range(60):
                stream = client.stream(f"{number}")
                closer = threading.Thread(target=stream.close)
                closes = number % 2 == 1
                try:
                    for _ in stream:
                        if closes and not closer.ident:
                            closer.start()
                except StreamInterruptedError as error:
                    if not closes:
                        failures.append(error)
                except BaseException as error:
                    failures.append(error)
                if closer.ident:
                    closer.join()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("size", [1, 30_000_000])
def test_closing_a_client_while_nothing_is_taken(secured: Any, size: int) -> None:
    """close() is bounded though the other end takes nothing, answers nothing, and says no goodbye to TLS."""
    serving, asking = secured
    with Peers(lambda peer: peer.over.wait(30), read_body=False, **serving) as server:
        client = Client(server.url, trust_env=False, max_retries=0, timeout=None, **asking)
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                client.generate("x" * size)
            except StreamInterruptedError as error:
                caught.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert server.wait_requests(1)
        client.close()
        thread.join(10)
        assert len(caught) == 1
        assert server.over.is_set() is False


# --- Early answers --------------------------------------------------------------------------------------------------


def refuse(size: int, end: str) -> Callable[[Peer], None]:
    def answer(peer: Peer) -> None:
        taken = 0
        while taken < size // 8:
            taken += len(peer.sock.recv(65536))
        fields = () if end == "stays" else ("Connection: close",)
        peer.send(sized(b"too large", *fields, status="413 Content Too Large"))
        if end == "closes":
            peer.sock.close()
        elif end == "ends":
            peer.finish()
        else:
            peer.over.wait(3)

    return answer


@pytest.mark.parametrize(
    ("size", "end"), [(2_000_000, "closes"), (2_000_000, "ends"), (12_000_000, "closes"), (12_000_000, "stays")]
)
def test_an_answer_to_what_was_not_read(secured: Any, size: int, end: str) -> None:
    serving, asking = secured
    with Peers(refuse(size, end), read_body=False, **serving) as server:
        client = Client(server.url, trust_env=False, max_retries=1, timeout=30, **asking)
        for count in (1, 2):
            with pytest.raises(APIError) as caught:
                client.generate("x" * size)
            assert caught.value.status_code == 413
            assert caught.value.message == "too large"
            assert len(server.heads) == server.accepted == count  # not tried again, and not on the same connection
        client.close()


def test_an_answer_to_what_was_not_read_through_proxies(tls: ssl.SSLContext, ca: str) -> None:
    size = 12_000_000
    with (
        ProxyServer() as proxy,
        Peers(refuse(size, "stays"), read_body=False) as plain,
        Peers(refuse(size, "stays"), read_body=False, tls=tls) as tunnelled,
    ):
        for server in (plain, tunnelled):
            client = Client(server.url, trust_env=False, max_retries=1, proxy=proxy.url, verify=ca)
            with pytest.raises(APIError) as caught:
                client.generate("x" * size)
            assert caught.value.status_code == 413
            client.close()


@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("pause", [0, 0.1])
def test_what_tls_has_decrypted_is_not_the_next_answer(
    tls: ssl.SSLContext, ca: str, pause: float, proxied: bool
) -> None:
    """A read ends just where the answer does, and nothing is left on the socket that could be polled for."""
    size = inbox._SMALL_READ_SIZE if pause else inbox._FIRST_READ_SIZE - len(head("200 OK", "Content-Length: 4000"))

    def answer(peer: Peer) -> None:
        first, rest = head("200 OK", f"Content-Length: {size}"), b"x" * size + sized(b"nobody asked")
        if pause:
            peer.send(first)
            time.sleep(pause)
            first = b""
        peer.send(first + rest)

    with Peers(answer, tls=tls) as server, ProxyServer() as proxy:
        proxy._tls = tls
        through = {"proxy": proxy.url} if proxied else {}
        with Client(server.url, verify=ca, trust_env=False, max_retries=0, **through) as client:
            assert [client.generate("Hi") for _ in range(3)] == ["x" * size] * 3


def test_interim_answers_during_an_upload(secured: Any) -> None:
    """They are no answer yet: the request goes out whole."""
    serving, asking = secured

    def answer(peer: Peer) -> None:
        for part in (b"HTTP/1.1 100 Con", b"tinue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"):
            peer.send(part)
            peer.over.wait(0.1)
        peer.read_body()
        peer.send(chunked(b"%d" % len(peer.prompt)))

    size = 8_000_000
    with Peers(answer, read_body=False, **serving) as server:
        with Client(server.url, trust_env=False, max_retries=0, **asking) as client:
            assert client.generate("x" * size) == str(size)
            assert client.generate("again") == "5"
        assert server.accepted == 1


def test_a_connection_that_is_cut_during_an_upload() -> None:
    def answer(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.reset()

    with Peers(answer, read_body=False) as server:
        with Client(server.url, trust_env=False, max_retries=0) as client, pytest.raises(ConnectError):
            client.generate("x" * 5_000_000)


# --- Limits ---------------------------------------------------------------------------------------------------------


def test_an_upload_that_is_taken_too_slowly() -> None:
    def answer(peer: Peer) -> None:
        while not peer.over.wait(0.02):
            peer.sock.recv(100)

    with Peers(answer, read_body=False) as server:
        limits = Timeout(None, first_byte=None, total=0.5)
        with Client(server.url, trust_env=False, max_retries=0, timeout=limits) as client:
            with pytest.raises(RequestTimeoutError) as caught:
                client.generate("x" * 30_000_000)
        assert caught.value.phase == "total"


@pytest.mark.parametrize("passed", range(6))
def test_a_total_that_runs_out_between_two_steps(passed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps at each place where it is asked: no library ever sees a limit of 0."""
    from aichatfree._core import client as core_client

    asked = 0

    def clock() -> float:
        nonlocal asked
        asked += 1
        return 0.0 if asked <= passed + 2 else 100.0

    monkeypatch.setattr(core_client, "CLOCKS", core_client.CLOCKS._replace(monotonic=clock))
    with Peers(echo) as server, Client(server.url, trust_env=False, timeout=Timeout(total=5)) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            client.generate("Hi")
        assert caught.value.phase == "total"


# --- Canaries -------------------------------------------------------------------------------------------------------


def renamed(owner: Any, hook: str) -> Callable[[pytest.MonkeyPatch], None]:
    """As if a newer library called ``hook`` by another name: what overrides it is not called any more."""
    known = getattr(owner, hook)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def lookup(self: Any, name: str) -> Any:
            return known.__get__(self) if name == hook else object.__getattribute__(self, name)

        monkeypatch.setattr(owner, "__getattribute__", lookup)

    return patch


CANARIES = {
    "_new_conn": renamed(urllib3.connection.HTTPConnection, "_new_conn"),
    "request": renamed(urllib3.connection.HTTPConnection, "request"),
    "send": renamed(urllib3.connection.HTTPConnection, "send"),
    "response_class": lambda monkeypatch: monkeypatch.setattr(
        urllib3.connection.HTTPConnection,
        "__getattribute__",
        lambda self, name: (
            urllib3.connection.HTTPConnection.response_class
            if name == "response_class"
            else object.__getattribute__(self, name)
        ),
    ),
    "_get_conn": renamed(urllib3.connectionpool.HTTPConnectionPool, "_get_conn"),
}


@pytest.mark.parametrize("hook", CANARIES)
def test_a_hook_that_is_not_called(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call fails, in words that name the library, rather than wait without limit."""
    CANARIES[hook](monkeypatch)
    with Peers(echo) as server, Client(server.url, trust_env=False, max_retries=0, timeout=3) as client:
        with pytest.raises(ConnectError, match=r"was not called.*requests \d.*urllib3 \d") as caught:
            client.generate("Hi")
        assert caught.value.__traceback__ is not None
        gc.collect()


def test_an_adapter_hook_that_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests would then look for a pool that is not there: it fails, and does not go around the limits."""
    renamed(requests.adapters.HTTPAdapter, "get_connection_with_tls_context")(monkeypatch)
    with Peers(echo) as server, Client(server.url, trust_env=False, max_retries=0, timeout=3) as client:
        with pytest.raises((ConnectError, AttributeError)):
            client.generate("Hi")


# --- What is kept ---------------------------------------------------------------------------------------------------


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    """Neither URLs nor servers of which a client has seen one once stay with it."""
    numbers = iter(range(1_000_000))

    def answer(peer: Peer) -> None:
        if b"?" in peer.head.split(b"\r\n", 1)[0]:
            peer.send(chunked(b"one"))
        else:
            location = f"Location: /api/generate?{next(numbers)}{'x' * 5000}"
            peer.send(sized(b"", location, status="307 Temporary Redirect"))

    with Peers(answer) as server, Client(server.url, trust_env=False) as client:
        traced = []
        tracemalloc.start()
        try:
            for _ in range(2):  # what is kept on purpose (by urllib.parse as well) is full after the first time
                for _ in range(70):
                    assert client.generate("Hi") == "one"
                server.heads.clear()
                gc.collect()
                traced.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        grown = traced[1] - traced[0]
    assert grown < 70 * 5000 / 2


def test_a_stream_that_waits_for_a_piece_holds_little(server: ScriptedServer) -> None:
    server.enqueue(Reply(["one", Pause(None)]))
    held = 0

    def look() -> None:
        nonlocal held
        ends = time.monotonic() + 10
        while not held and time.monotonic() < ends:
            files = tracemalloc.take_snapshot().statistics("filename")
            held = sum(each.size for each in files if each.traceback[0].filename.endswith("inbox.py"))
        stream.close()

    with Client(server.url) as client:
        stream = client.stream("Hi")
        assert next(stream) == "one"
        tracemalloc.start()
        try:
            looking = threading.Thread(target=look)
            looking.start()
            with pytest.raises(StreamInterruptedError):
                next(stream)
            looking.join()
        finally:
            tracemalloc.stop()
    assert 0 < held < 1024


def test_connections_to_many_servers_are_bounded() -> None:
    """The pools of servers that were not used for longest go, with their idle connections."""
    from aichatfree._sync.transport.hooks import MAX_POOLS

    with Peers(echo) as server, Client(server.url, trust_env=False) as client:
        for number in range(1, MAX_POOLS + 30):
            url = f"http://127.0.{number // 200}.{number % 200 + 1}:{server.port}"
            try:
                other = client.with_options(base_url=url, max_retries=0, timeout=2)
                other.generate("Hi")
            except ConnectError:
                pass  # this server listens at one address only
            assert client.generate("Hi") == "Hi"
        assert server.wait_open(1)
        assert server.accepted <= 2  # the one that is always used is never the oldest


def test_names_audit_hooks_and_dots_are_as_in_requests() -> None:
    program = """
import sys, requests, socket
from aichatfree import Client
seen = []
own = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(("socket.", "http.client.")) else None)
url = sys.argv[1].replace("127.0.0.1", "localhost")
requests.Session().post(url, data=b"x")
plain, seen[:] = set(seen), []
Client(url, trust_env=False).generate("Hi")
print(sorted(plain - set(seen)))
asked = []
def getaddrinfo(host, *args, **kwargs):
    asked.append(host)
    raise socket.gaierror(socket.EAI_NONAME, "no such name")
socket.getaddrinfo = getaddrinfo
try:
    Client("http://rooted.invalid.", trust_env=False, max_retries=0).generate("Hi")
except Exception as error:
    print(type(error).__name__, asked)
"""
    with Peers(lambda peer: peer.send(chunked(b"one"))) as server:
        assert run(program.replace("requests.Session()", "requests"), server.url).splitlines() == [
            "[]",
            "ConnectError ['rooted.invalid.']",
        ]


def test_a_zone_reaches_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ConnectError):
        Client("http://[fe80::1%25lo]:9", trust_env=False, max_retries=0).generate("Hi")
    assert seen == ["fe80::1%lo"]


def test_no_descriptor_is_left() -> None:
    program = """
import os, resource, socket, sys
from aichatfree import Client
client = Client(sys.argv[1], trust_env=False, max_retries=0)
named = client.with_options(base_url=sys.argv[1].replace("127.0.0.1", "localhost"))
client.generate("warm"), named.generate("warm")
import html, encodings.idna
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for each in (client, named):
    try:
        each.generate("once more")
    except Exception as error:
        print(type(error).__name__, error)
"""
    answer = chunked(b"one", fields=("Connection: close",))

    def close(peer: Peer) -> None:
        peer.send(answer)
        peer.finish()

    with Peers(close) as server:
        lines = run(program, server.url).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("ConnectError")
        assert "may open no more files" in line


def test_connections_of_a_client_that_nobody_closes_go_with_it(server: ScriptedServer) -> None:
    client = Client(server.url, trust_env=False)
    client.generate("Hi")
    del client
    gc.collect()
    server.wait_connections(0)


def test_a_call_leaves_no_cycles(server: ScriptedServer) -> None:
    """Nothing of a call waits for the garbage collector: not after a redirect, a retry, or a failure."""
    retry = RetryPolicy(max_retries=1, initial_delay=0)
    with Client(server.url, trust_env=False, retry=retry) as client:
        moved = Reply("", status=307, headers={"Location": "/api/generate?"})
        gc.collect()
        gc.disable()
        try:
            for replies in ([moved, Reply("one")], [Reply("busy", status=503), Reply("one")], [Reply("one")]):
                server.enqueue(*replies)
                assert client.generate("Hi") == "one"
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [
                each for each in gc.garbage if type(each).__module__.startswith(("aichatfree", "urllib3", "requests"))
            ]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []
