"""Time limits behind a proxy's tunnel: neither a drip inside of it nor a slow way into it stretches them."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peers import Peer, Peers, chunk, head

from aichatfree import RequestTimeoutError, Timeout

HOUR = 3600.0
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
ANSWER = head("200 OK", "Transfer-Encoding: chunked")


class Behind:
    """TLS as a server speaks it behind a proxy's tunnel, which both are here.

    Args:
        peer: The connection to the proxy.
        tls: The server's certificate.
        drips: Whether the handshake goes out byte by byte.
    """

    def __init__(self, peer: Peer, tls: ssl.SSLContext, drips: bool) -> None:
        self._peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._do(self._tls.do_handshake, drips)
        self._do(lambda: self._tls.read(65536), drips)

    def _do(self, step: Callable[[], Any], drips: bool) -> None:
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                self._flush(drips)
                self._incoming.write(self._peer.sock.recv(65536))
            else:
                self._flush(drips)
                return

    def _flush(self, drips: bool) -> None:
        data = self._outgoing.read()
        for part in (data[at : at + 1] for at in range(len(data))) if drips else [data] * bool(data):
            self._peer.send(part)
            time.sleep(0.05 * drips)

    def send(self, data: bytes, *, drips: bool = False) -> None:
        """Send data, as one record of TLS."""
        self._tls.write(data)
        self._flush(drips)


@contextlib.contextmanager
def dripping(phase: str, tls: ssl.SSLContext) -> Iterator[str]:
    """A proxy of https, behind which everything comes byte by byte from a phase on, while no piece of it is whole."""

    def answer(peer: Peer) -> None:
        peer.send(OPEN)
        server = Behind(peer, tls, phase == "connect")
        if phase == "idle":
            server.send(ANSWER + chunk(b"some text"))
            server.send(chunk(b"x" * 200), drips=True)
        server.send(ANSWER, drips=True)

    with Peers(answer, tls=tls, read_body=False) as proxy:
        yield proxy.url


@pytest.mark.parametrize("total", [False, True], ids=["own", "total"])
@pytest.mark.parametrize("phase", ["connect", "first_byte", "idle"])
def test_a_drip_of_tls_in_tls(
    face: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, phase: str, total: bool
) -> None:
    """Which has reads of its own, one for each byte here."""
    limited = "total" if total else phase
    limits = {**dict.fromkeys(("connect", "first_byte", "idle", "total"), HOUR), limited: 0.7}
    with dripping(phase, server_tls) as proxy:
        client = face.client(
            "https://origin.test", proxy=proxy, verify=client_tls, max_retries=0, timeout=Timeout(**limits)
        )
        outcome = face.stream(client)
    assert type(outcome.error) is RequestTimeoutError, repr(outcome.error)
    assert outcome.error.phase == limited
    assert outcome.seconds < 3
    assert outcome.text == outcome.error.partial == ("some text" if phase == "idle" else "")


def slow_connect(peer: Peer) -> None:
    time.sleep(0.8)
    peer.send(OPEN)
    peer.wait_gone()


def slow_socks(peer: Peer) -> None:
    peer.send(b"\x05\x00")
    peer.sock.recv(300)
    time.sleep(0.8)
    peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
    peer.wait_gone()


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
def test_a_slow_proxy_leaves_the_handshake_what_is_left(
    face: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is one for all of connecting."""
    answer = slow_connect
    if scheme == "socks5h":
        answer = slow_socks
        monkeypatch.setattr(Peer, "read_head", lambda peer: bool(peer.sock.recv(300)))  # the greeting
    with Peers(answer, tls=server_tls if scheme == "https" else None, read_body=False) as proxy:
        client = face.client(
            "https://origin.test",
            proxy=f"{scheme}://127.0.0.1:{proxy.port}",
            verify=client_tls,
            max_retries=0,
            timeout=Timeout(connect=1.0),
        )
        outcome = face.stream(client)
    assert type(outcome.error) is RequestTimeoutError, repr(outcome.error)
    assert outcome.error.phase == "connect"
    assert 0.95 < outcome.seconds < 1.6
