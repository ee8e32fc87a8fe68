"""Proxies and TLS: the same meaning in both clients."""

from __future__ import annotations

import asyncio
import pickle
import queue
import select
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
import trustme
from peers import Peer, Peers, head

import aichatfree
from aichatfree import AsyncClient, Client, ConnectError, InvalidRequestError
from aichatfree.testing import Drop, Pause, ProxyServer, Reply, ScriptedServer, Stall


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with ScriptedServer(tls=context) as server:
        yield server


class TestTLS:
    def test_an_unknown_authority_is_refused(self, face: Any, tls_server: ScriptedServer) -> None:
        outcome = face.stream(face.client(tls_server, max_retries=0))
        assert type(outcome.error) is ConnectError
        assert "verify=" in str(outcome.error)
        assert outcome.error.__cause__ is not None
        assert tls_server.requests == []

    def test_a_file_of_authorities(self, face: Any, tls_server: ScriptedServer, ca_file: str) -> None:
        assert face.generate(face.client(tls_server, verify=ca_file))

    def test_a_path_of_authorities(self, face: Any, tls_server: ScriptedServer, ca_file: str) -> None:
        assert face.generate(face.client(tls_server, verify=Path(ca_file)))

    def test_a_context(self, face: Any, tls_server: ScriptedServer, ca_file: str) -> None:
        assert face.generate(face.client(tls_server, verify=ssl.create_default_context(cafile=ca_file)))

    def test_no_verification_warns_of_nothing(self, face: Any, tls_server: ScriptedServer) -> None:
        client = face.client(tls_server, verify=False)
        assert face.generate(client)
        assert face.generate(client)

    def test_a_wrong_host_name(self, face: Any, authority: trustme.CA, ca_file: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("other.example").configure_cert(context)
        with ScriptedServer(tls=context) as server:
            outcome = face.stream(face.client(server, verify=ca_file, max_retries=0))
            assert type(outcome.error) is ConnectError

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_the_environment(
        self, face: Any, tls_server: ScriptedServer, ca_file: str, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, ca_file)
        client = face.client(tls_server, max_retries=0)
        distrusting = face.client(tls_server, max_retries=0, trust_env=False)
        monkeypatch.delenv(variable)
        assert face.generate(client)
        assert type(face.stream(distrusting).error) is ConnectError

    def test_the_environment_names_nothing(self, face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        with pytest.raises(InvalidRequestError, match="REQUESTS_CA_BUNDLE"):
            face.client("https://localhost")

    @pytest.mark.parametrize("path", ["/nowhere/ca.pem", Path("/nowhere"), "a\x00b"])
    def test_a_path_that_does_not_exist(self, face: Any, path: Any) -> None:
        with pytest.raises(InvalidRequestError, match=r"verify names .*, which does not exist"):
            face.client("https://localhost", verify=path)

    @pytest.mark.parametrize("content", ["this is no certificate\n", "", "\0"])
    @pytest.mark.parametrize("url", ["https://127.0.0.1:9", "http://127.0.0.1:9"])
    def test_a_file_without_certificates(self, face: Any, tmp_path: Path, url: str, content: str) -> None:
        (tmp_path / "bad.pem").write_text(content)
        with pytest.raises(InvalidRequestError, match=r"verify names .*bad\.pem.* no certificates"):
            face.client(url, verify=str(tmp_path / "bad.pem"))

    def test_a_folder_without_certificates(self, face: Any, tmp_path: Path, ca_file: str) -> None:
        with pytest.raises(InvalidRequestError, match=r"verify names .*rehash"):
            face.client("https://127.0.0.1:9", verify=tmp_path)

    def test_the_environment_names_a_file_without_certificates(
        self, face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "bad.pem").write_text("nothing")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bad.pem"))
        with pytest.raises(InvalidRequestError, match=r"SSL_CERT_FILE names .* no certificates"):
            face.client("https://127.0.0.1:9")
        assert face.client("http://127.0.0.1:9")  # which needs none

    def test_a_file_that_is_gone_later(self, face: Any, tls_server: ScriptedServer, ca_file: str) -> None:
        client = face.client(tls_server, verify=ca_file, max_retries=0)
        Path(ca_file).unlink()
        assert face.generate(client)

    @pytest.mark.parametrize("variable", [None, "SSL_CERT_DIR"])
    def test_a_folder_that_is_gone_later(
        self, face: Any, tls_server: ScriptedServer, ca_file: str, monkeypatch: pytest.MonkeyPatch, variable: str | None
    ) -> None:
        Path(ca_file).rename(Path(ca_file).with_name("0123abcd.0"))
        options: Any = {"verify": Path(ca_file).parent}
        if variable:
            monkeypatch.setenv(variable, str(options.pop("verify")))
        client = face.client(tls_server, max_retries=0, **options)
        Path(ca_file).with_name("0123abcd.0").unlink()
        assert face.generate(client)

    def test_a_relative_path(
        self, face: Any, tls_server: ScriptedServer, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is settled when the client is made, for what is derived from it and for its pickles as well."""
        monkeypatch.chdir(tmp_path)
        client = face.client(tls_server, verify="ca.pem", max_retries=0)
        monkeypatch.chdir("/")
        assert face.generate(client)
        other = client.with_options(trust_env=False)
        assert face.generate(other)
        face.close(other)
        copy = pickle.loads(pickle.dumps(client))
        assert face.generate(copy)
        face.close(copy)

    def test_a_reply_that_was_cut_in_a_session_of_the_users(
        self, face: Any, authority: trustme.CA, ca_file: str
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        answers = ["cut", "whole"]

        def answer(peer: Peer) -> None:
            peer.send(head("200 OK") + b"Pay nobody, ")
            if answers.pop(0) == "cut":
                peer.sock.close()
            else:
                peer.finish()

        def by_requests(url: str) -> str:
            with requests.Session() as session:
                return Client(url, session=session, verify=ca_file, max_retries=0).generate("hi")

        async def by_aiohttp(url: str) -> str:
            async with aiohttp.ClientSession() as session:
                return await AsyncClient(url, session=session, verify=ca_file, max_retries=0).generate("hi")

        with Peers(answer, tls=context) as server:
            with pytest.raises(aichatfree.StreamInterruptedError) as caught:
                face.run(lambda: by_requests(server.url), lambda: by_aiohttp(server.url))
            assert caught.value.partial == "Pay nobody, "
            assert face.run(lambda: by_requests(server.url), lambda: by_aiohttp(server.url)) == "Pay nobody, "

    @pytest.mark.parametrize("own", ["file", "context"])
    def test_a_reply_that_was_cut(self, face: Any, authority: trustme.CA, ca_file: str, own: str) -> None:
        """Where only the end of the connection ends a reply, TLS has to say that end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        whole: list[bool] = []

        def answer(peer: Peer) -> None:
            peer.send(head("200 OK", "Connection: close") + b"Pay nobody, ")
            if whole:
                peer.finish()
            else:
                peer.sock.close()

        verify: Any = ca_file if own == "file" else ssl.create_default_context(cafile=ca_file)
        with Peers(answer, tls=context) as server:
            client = face.client(server.url, verify=verify, max_retries=0)
            outcome = face.stream(client)
            assert isinstance(outcome.error, aichatfree.StreamInterruptedError)
            assert outcome.error.partial == "Pay nobody, "
            whole.append(True)
            assert face.generate(client) == "Pay nobody, "

    def test_an_explicit_verify_goes_before_the_environment(
        self, face: Any, tls_server: ScriptedServer, ca_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
        assert face.generate(face.client(tls_server, verify=ca_file))

    def test_plain_http_at_a_tls_port(self, face: Any, tls_server: ScriptedServer) -> None:
        outcome = face.stream(face.client(tls_server.url.replace("https:", "http:"), max_retries=0))
        assert isinstance(outcome.error, aichatfree.TransportError)

    def test_tls_at_a_plain_port(self, face: Any, server: ScriptedServer) -> None:
        url = server.url.replace("http:", "https:")
        outcome = face.stream(face.client(url, max_retries=0, timeout=0.3))
        assert type(outcome.error) is aichatfree.RequestTimeoutError  # this server waits for the rest of a line
        assert outcome.error.phase == "connect"

    @pytest.mark.parametrize("fault", [Drop("before-answer"), Drop("in-body"), Drop("in-body", reset=True)])
    def test_faults(self, face: Any, tls_server: ScriptedServer, ca_file: str, fault: Any) -> None:
        tls_server.enqueue(Reply("some text", fault=fault))
        outcome = face.stream(face.client(tls_server, verify=ca_file, max_retries=0))
        assert isinstance(outcome.error, aichatfree.TransportError)
        assert outcome.text in ("", "some text")

    def test_limits_and_early_ends(self, face: Any, tls_server: ScriptedServer, ca_file: str) -> None:
        client = face.client(tls_server, verify=ca_file, max_retries=0, timeout=0.3)
        tls_server.enqueue(Reply("x", fault=Stall("before-answer")), Reply(["x", Pause(None)]))
        for phase in ("first_byte", "idle"):
            outcome = face.stream(client)
            assert outcome.error.phase == phase
        tls_server.wait_connections(0)


class TestProxies:
    @pytest.fixture
    def proxy(self) -> Iterator[ProxyServer]:
        with ProxyServer() as proxy:
            yield proxy

    @pytest.fixture
    def guarded(self) -> Iterator[ProxyServer]:
        with ProxyServer(user="us er", password="hunt:er2") as proxy:
            yield proxy

    def test_an_explicit_proxy(self, face: Any, server: ScriptedServer, proxy: ProxyServer) -> None:
        assert face.generate(face.client(server, proxy=proxy.url))
        assert len(proxy.targets) == 1
        assert server.requests[0].path == "/api/generate"

    def test_a_tunnel(self, face: Any, tls_server: ScriptedServer, proxy: ProxyServer, ca_file: str) -> None:
        assert face.generate(face.client(tls_server, proxy=proxy.url, verify=ca_file))
        assert len(proxy.targets) == 1

    @pytest.mark.parametrize(
        "said", [b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01", b"", b"HTTP/1.1 200 OK\r\nX: y"]
    )
    def test_who_is_blamed_for_a_bad_answer(self, face: Any, said: bytes) -> None:
        """Before there is a tunnel, only the proxy has been asked anything."""

        def answer(peer: Peer) -> None:
            peer.send(said)
            peer.finish()

        with Peers(answer) as proxy:
            tunnelled = face.stream(face.client("https://example.test", proxy=proxy.url, max_retries=0))
            forwarded = face.stream(face.client("http://example.test", proxy=proxy.url, max_retries=0))
        assert type(tunnelled.error) is type(forwarded.error) is ConnectError
        assert "check proxy=" in str(tunnelled.error)
        assert "check proxy=" not in str(forwarded.error)
        assert "RawResponseMessage" not in str(tunnelled.error)

    @pytest.mark.parametrize("tls", [False, True], ids=["forwarded", "tunnelled"])
    def test_a_user_and_password(
        self,
        face: Any,
        server: ScriptedServer,
        tls_server: ScriptedServer,
        guarded: ProxyServer,
        ca_file: str,
        tls: bool,
    ) -> None:
        target = tls_server if tls else server
        url = guarded.url.replace("http://", "http://us%20er:hunt%3Aer2@")
        assert face.generate(face.client(target, proxy=url, verify=ca_file, max_retries=0))
        assert "Proxy-Authorization" not in target.requests[0].headers
        for bad in (guarded.url, guarded.url.replace("http://", "http://me:hunter3@")):
            outcome = face.stream(face.client(target, proxy=bad, verify=ca_file, max_retries=0))
            assert type(outcome.error) is ConnectError
            assert "proxy" in str(outcome.error)
            assert "hunter3" not in str(outcome.error)
        assert guarded.refused == 2

    def test_the_environment(
        self, face: Any, server: ScriptedServer, proxy: ProxyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        client = face.client(server)
        without = face.client(server, trust_env=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        excepted = face.client(server)
        monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,127.0.0.0/8")
        network = face.client(server)
        assert face.generate(client)
        assert len(proxy.targets) == 1
        for other in (without, excepted, network):
            assert face.generate(other)
        assert len(proxy.targets) == 1

    @pytest.mark.parametrize("excepted", ["fd00::1", "[fd00::1]", "10.0.0.0/8, FD00::1 ", "fd00::/8"])
    def test_addresses_that_the_environment_excepts(
        self, excepted: str, face: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", excepted)
        network = face.client("http://[fd00::1]:3000")._transport._network
        assert network.proxy_for("http://[fd00::1]:3000") is None
        assert network.proxy_for("http://[fe00::1]:3000") == "http://127.0.0.1:1"

    def test_the_password_of_a_proxy_without_a_scheme(
        self, face: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", server.url.replace("http://", "me:proxy-hunter3@"))
        server.enqueue(Reply("proxy-hunter3 is wrong", status=403))
        error: Any = face.stream(face.client("http://server.invalid", max_retries=0)).error
        assert error.body == "*** is wrong"

    def test_all_proxy(
        self, face: Any, server: ScriptedServer, proxy: ProxyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("all_proxy", proxy.url)
        assert face.generate(face.client(server))
        assert len(proxy.targets) == 1

    def test_a_proxy_that_is_away(self, face: Any, server: ScriptedServer) -> None:
        with ProxyServer() as gone:
            url = gone.url
        outcome = face.stream(face.client(server, proxy=url, max_retries=0))
        assert type(outcome.error) is ConnectError
        assert "proxy" in str(outcome.error)

    def test_socks_in_the_environment(self, face: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is no obstacle to a server on this machine, whatever is installed."""
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        assert face.generate(face.client(server, max_retries=0))


class TestAnswersToConnect:
    """What a proxy says before it lets anything through."""

    @pytest.fixture
    def tls(self, authority: trustme.CA) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        return context

    @pytest.mark.skipif(
        not hasattr(select, "POLLRDHUP"), reason="only Linux tells the end of a connection from its last word"
    )
    @pytest.mark.parametrize("says", [b"", b"HTTP/1.1 2", b"HTTP/1.1 500 No\r\n\r\n", b"no HTTP\r\n\r\n"])
    def test_a_connection_that_comes_to_nothing_is_gone_at_once(
        self, face: Any, tls: ssl.SSLContext, ca_file: str, says: bytes
    ) -> None:
        gone: queue.SimpleQueue[bool] = queue.SimpleQueue()

        def answer(peer: Peer) -> None:
            peer.send(says)
            end = select.poll()
            end.register(peer.sock, select.POLLRDHUP)
            gone.put(bool(end.poll(10_000)))

        with Peers(answer, tls=tls) as proxy:
            client = face.client(
                "https://127.0.0.1:1", proxy=proxy.url, verify=ca_file, max_retries=0, timeout=aichatfree.Timeout(0.5)
            )
            outcome = face.stream(client)
            assert isinstance(outcome.error, aichatfree.TransportError)
            # The client is still open, and its loop runs.
            assert face.run(lambda: gone.get(timeout=20), lambda: asyncio.to_thread(gone.get, timeout=20))

    def test_an_interim_answer_is_passed_over(self, face: Any) -> None:
        def answer(peer: Peer) -> None:
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 Not so\r\n\r\n")
            peer.finish()

        with Peers(answer) as proxy:
            outcome = face.stream(face.client("https://127.0.0.1:1", proxy=proxy.url, max_retries=0))
        assert "the proxy did not let the request through" in str(outcome.error)
        assert "407" in str(outcome.error)

    @pytest.mark.parametrize("fields", [f"X-Policy: {'x' * 9000}\r\n", "X-Policy: x\r\n" * 150])
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_long_head(self, face: Any, tls: ssl.SSLContext, ca_file: str, fields: str, scheme: str) -> None:
        def answer(peer: Peer) -> None:
            peer.send(f"HTTP/1.1 407 Not so\r\n{fields}\r\n".encode())
            peer.finish()

        with Peers(answer, tls=tls if scheme == "https" else None) as proxy:
            client = face.client("https://127.0.0.1:1", proxy=proxy.url, verify=ca_file, max_retries=0)
            outcome = face.stream(client)
        assert "the proxy did not let the request through" in str(outcome.error)
