"""From a name to a connection in the synchronous client: all addresses of a host, and resolvers that hang."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from peers import Peer, Peers, chunked

from aichatfree import Client, ConnectError, InvalidRequestError, RequestTimeoutError, StreamInterruptedError, Timeout
from aichatfree._sync.transport.connecting import interleaved
from aichatfree._sync.transport.resolver import Lookup
from aichatfree.testing import ProxyServer, ScriptedServer

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8")


@contextlib.contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """A port whose queue is full, so that a connection attempt gets no answer at all."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield


def resolve(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> list[Any]:
    """Have ``many.invalid`` resolve to these addresses; return what is looked up."""
    known, asked = socket.getaddrinfo, []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        if host != "many.invalid":
            return known(host, port, *args, **kwargs)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def here(peer: Peer) -> None:
    peer.send(chunked(b"here"))


@linux
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
def test_addresses_that_do_not_answer(proxied: bool, monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    resolve(monkeypatch, ["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Peers(here))
        port, options = server.port, {}
        url = f"http://many.invalid:{port}"
        if proxied:
            port = stack.enter_context(ProxyServer()).port
            url, options = server.url, {"proxy": f"http://many.invalid:{port}"}
        for host in ("127.0.0.2", "127.0.0.3"):
            stack.enter_context(black_hole(host, port))
        with Client(url, trust_env=False, max_retries=0, timeout=Timeout(connect=20), **options) as client:
            assert client.generate("Hi") == "here"
        server.wait_open(0)


@linux
def test_no_address_answers(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    resolve(monkeypatch, ["127.0.0.2", "127.0.0.3"])
    with socket.create_server(("127.0.0.4", 0)) as free:
        port = free.getsockname()[1]
    with black_hole("127.0.0.2", port), black_hole("127.0.0.3", port):
        client = Client(f"http://many.invalid:{port}", trust_env=False, max_retries=0, timeout=Timeout(connect=0.6))
        with pytest.raises(RequestTimeoutError) as caught:
            client.generate("Hi")
        assert caught.value.phase == "connect"


@linux
def test_closing_while_no_address_answers(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    resolve(monkeypatch, ["127.0.0.2", "127.0.0.3"])
    with socket.create_server(("127.0.0.4", 0)) as free:
        port = free.getsockname()[1]
    with black_hole("127.0.0.2", port), black_hole("127.0.0.3", port):
        stream = Client(f"http://many.invalid:{port}", trust_env=False, max_retries=0, timeout=None).stream("Hi")
        closer = threading.Timer(0.4, stream.close)
        closer.start()
        with pytest.raises(StreamInterruptedError):
            stream.until_done()
        closer.join()


def test_what_all_addresses_said(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    """The refusal counts, and not that a family has no route."""
    resolve(monkeypatch, ["2001:db8::1", "127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectError, match="nothing accepts connections there"):
        Client(f"http://many.invalid:{port}", trust_env=False, max_retries=0, timeout=5).generate("Hi")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_address_of_ipv6() -> None:
    try:
        server = Peers(here, host="::1")
    except OSError:
        pytest.skip("there is no ::1 here")
    with server, Client(server.url, trust_env=False, max_retries=0) as client:
        assert client.generate("Hi") == "here"
        assert f"Host: [::1]:{server.port}".encode() in server.heads[0]


def test_families_take_turns() -> None:
    addresses = [(family, 0, 0, "", number) for number, family in enumerate([6, 6, 6, 4, 4, 6])]
    assert [each[-1] for each in interleaved(addresses)] == [0, 3, 1, 4, 2, 5]
    assert list(interleaved([])) == []


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that says nothing until the test is over; the names that it was asked."""
    over, asked = threading.Event(), list[str]()

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        over.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


def test_many_calls_at_a_resolver_that_hangs(silent: list[str]) -> None:
    """The limit holds for each, and they wait for one thread."""
    client = Client("http://silent.invalid", trust_env=False, max_retries=0, timeout=Timeout(connect=0.5))
    phases: list[str] = []

    def ask() -> None:
        try:
            client.generate("Hi")
        except RequestTimeoutError as error:
            phases.append(error.phase)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert phases == ["connect"] * 40
    assert len(silent) < 10


def test_closing_while_a_name_is_looked_up(silent: list[str]) -> None:
    stream = Client("http://silent.invalid", trust_env=False, max_retries=0, timeout=None).stream("Hi")
    closer = threading.Timer(0.2, stream.close)
    closer.start()
    with pytest.raises(StreamInterruptedError):
        stream.until_done()
    closer.join()


def test_a_look_up_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
    def start(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", start)
    assert Lookup("localhost", 80, socket.AF_UNSPEC).result(1)


def test_a_look_up_is_asked_anew_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(monkeypatch, ["127.0.0.1"])
    for _ in range(3):
        Lookup("many.invalid", 80, socket.AF_UNSPEC).result(5)
    assert asked == ["many.invalid"] * 3


# --- SOCKS ----------------------------------------------------------------------------------------------------------


class SocksServer(Peers):
    """A SOCKS5 proxy (RFC 1928, RFC 1929) that keeps what it was asked."""

    def __init__(self, user: bytes | None = None, answers: bool = True) -> None:
        super().__init__(lambda peer: None)
        self.url = self.url.replace("http", "socks5h")
        self.targets: list[tuple[Any, int]] = []
        self._user = user
        self._answers = answers

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            if not self._answers:
                sock.recv(100)
                self.over.wait(20)
                return
            methods = sock.recv(2 + 255)[2:]
            if self._user is None:
                sock.sendall(b"\x05\x00")
            elif 2 not in methods:
                sock.sendall(b"\x05\xff")
                return
            else:
                sock.sendall(b"\x05\x02")
                told = sock.recv(513)
                user, rest = told[2 : 2 + told[1]], told[2 + told[1] :]
                good = user + b":" + rest[1:] == self._user
                sock.sendall(b"\x01\x00" if good else b"\x01\x01")
                if not good:
                    return
            asked = sock.recv(300)
            if asked[3] == 3:
                host: Any = asked[5:-2].decode()
            else:
                host = socket.inet_ntop(socket.AF_INET if asked[3] == 1 else socket.AF_INET6, asked[4:-2])
            port = int.from_bytes(asked[-2:], "big")
            self.targets.append((host, port))
            try:
                upstream = socket.create_connection(("127.0.0.1" if host == "inside.invalid" else host, port), 5)
            except OSError:
                sock.sendall(b"\x05\x05\x00\x01" + bytes(6))
                return
            with upstream:
                sock.sendall(b"\x05\x00\x00\x01" + bytes(6))
                back = threading.Thread(target=self._pump, args=(upstream, sock))
                back.start()
                self._pump(sock, upstream)
                back.join()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_socks_looks_the_name_up_itself() -> None:
    with SocksServer() as proxy, Peers(here) as server:
        url = f"http://inside.invalid:{server.port}"
        with Client(url, proxy=proxy.url, trust_env=False, max_retries=0) as client:
            assert client.generate("Hi") == client.generate("again") == "here"
        assert proxy.targets == [("inside.invalid", server.port)]
        assert server.heads[0].startswith(b"POST /api/generate HTTP/1.1\r\n")


def test_socks_with_names_looked_up_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that the proxy cannot reach leaves the next one its turn."""
    resolve(monkeypatch, ["127.0.0.77", "127.0.0.1"])
    with SocksServer() as proxy, Peers(here) as server:
        url = f"http://many.invalid:{server.port}"
        client = Client(url, proxy=proxy.url.replace("socks5h", "socks5"), trust_env=False, max_retries=0)
        assert client.generate("Hi") == "here"
        assert proxy.targets[-1] == ("127.0.0.1", server.port)
        client.close()


@pytest.mark.parametrize("quoted", [True, False])
def test_socks_with_a_user(quoted: bool) -> None:
    with SocksServer("mé:päss".encode()) as proxy, Peers(here) as server:
        user = "m%C3%A9:p%C3%A4ss" if quoted else "mé:päss"
        with Client(server.url, proxy=proxy.url.replace("//", f"//{user}@"), trust_env=False, max_retries=0) as client:
            assert client.generate("Hi") == "here"
        for wrong in (proxy.url, proxy.url.replace("//", "//me:hunter2@")):
            with Client(server.url, proxy=wrong, trust_env=False, max_retries=0) as client:
                with pytest.raises(ConnectError, match="proxy") as caught:
                    client.generate("Hi")
                assert "hunter2" not in str(caught.value)


def test_socks_that_says_nothing() -> None:
    with SocksServer(answers=False) as proxy, Peers(here) as server:
        client = Client(server.url, proxy=proxy.url, trust_env=False, max_retries=0, timeout=Timeout(connect=0.4))
        with pytest.raises(RequestTimeoutError) as caught:
            client.generate("Hi")
        assert caught.value.phase == "connect"


def test_socks_that_cannot_reach_the_server_or_is_away() -> None:
    with SocksServer() as proxy:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for proxy_url in (proxy.url, f"socks5h://127.0.0.1:{port}"):
            with Client(f"http://127.0.0.1:{port}", proxy=proxy_url, trust_env=False, max_retries=0) as client:
                with pytest.raises(ConnectError, match="proxy"):
                    client.generate("Hi")


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "python_socks" else known(name, *args)
    )


@pytest.mark.usefixtures("without_extra")
class TestWithoutTheExtra:
    REMEDY = r"pip install 'aichatfree\[socks\]'"

    def test_an_explicit_proxy(self) -> None:
        with pytest.raises(InvalidRequestError, match=self.REMEDY):
            Client("http://127.0.0.1:9", proxy="socks5://127.0.0.1:1080")

    def test_the_environment_matters_where_it_would_be_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1080")
        with pytest.raises(InvalidRequestError, match=f"{self.REMEDY}.*environment"):
            Client("http://elsewhere.invalid")
        monkeypatch.setenv("NO_PROXY", ".invalid")
        assert Client("http://elsewhere.invalid")

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_the_environment_is_no_obstacle_to_loopback(self, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
        with Peers(here) as server, Client(server.url.replace("127.0.0.1", host), max_retries=0) as client:
            assert client.generate("Hi") == "here"


@pytest.mark.parametrize("proxy", ["socks4://127.0.0.1:1080", "socks://127.0.0.1:1080", "ftp://127.0.0.1"])
def test_other_proxies_are_refused(proxy: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"must begin with .*socks5h://"):
        Client("http://127.0.0.1:9", proxy=proxy)


def test_the_environment_is_used_where_the_extra_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksServer() as proxy, Peers(here) as server:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with Client(f"http://inside.invalid:{server.port}", max_retries=0) as client:
            assert client.generate("Hi") == "here"
        assert proxy.targets
