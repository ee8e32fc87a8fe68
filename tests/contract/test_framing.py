"""How strictly an answer is read: heads, lengths, chunks and trailers, alike in both clients.

What differs between HTTP libraries was decided once. Accepted: a line that ends with LF alone, empty lines before the
head, folded fields (RFC 9112, 5.2), control characters in fields of no meaning here, tabs around a coding. Refused: NUL
and bare CR in a head, a space before the colon, a Content-Length twice or beside a Transfer-Encoding, any
Transfer-Encoding whose last coding is not "chunked", and anything that does not belong between chunks.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest
import requests
from peers import Peer, Peers, chunk, chunked, head, sized

from aichatfree import AIChatFreeError, AsyncClient, Client, ConnectError, RetryPolicy, StreamInterruptedError
from aichatfree._async.transport import hooks
from aichatfree._async.transport.framing import Framing

LENGTH = b"Content-Length: 3\r\n"
CHUNKS = b"3\r\none\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def coded(coding: bytes, body: bytes = CHUNKS) -> bytes:
    return OK + b"Transfer-Encoding:" + coding + b"\r\n\r\n" + body


def fields(count: int, size: int = 1) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (number, b"y" * size) for number in range(count))


WHOLE = {
    "lines that end with LF": b"HTTP/1.1 200 OK\nContent-Length: 3\n\none",
    "lines that end either way": OK + b"Content-Length: 3\n\r\none",
    "an empty line before the head": b"\r\n" + OK + LENGTH + b"\r\none",
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\none",
    "a folded field": OK + b"X: a\r\n b\r\n" + LENGTH + b"\r\none",
    "a folded coding": coded(b"\r\n chunked"),
    "a vertical tab in a field": OK + b"X: a\x0bb\r\n" + LENGTH + b"\r\none",
    "a tab before the coding": coded(b"\tchunked"),
    "a coding in capitals": coded(b" CHUNKED"),
    "identity, chunked": coded(b" identity, chunked"),
    "codings on two lines": coded(b" identity\r\nTransfer-Encoding: chunked"),
    "HTTP/1.0 in chunks": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "HTTP/1.0 until its end": b"HTTP/1.0 200 OK\r\n\r\none",
    "a space behind a size": coded(b" chunked", b"3 \r\none\r\n0\r\n\r\n"),
    "extensions of chunks": coded(b" chunked", b'3;a=b;c="d"\r\none\r\n0;x\r\n\r\n'),
    "zeros before a size": coded(b" chunked", b"00000000000000000003\r\none\r\n000\r\n\r\n"),
    "a trailer": coded(b" chunked", b"3\r\none\r\n0\r\nX: y\r\n\r\n"),
    "a trailer of 12 kB": coded(b" chunked", b"3\r\none\r\n0\r\nX: %b\r\n\r\n" % (b"y" * 12_000)),
    "a trailer of 200 fields": coded(b" chunked", b"3\r\none\r\n0\r\n" + fields(200) + b"\r\n"),
    "250 fields": OK + fields(250) + LENGTH + b"\r\none",
    "a field of 9 kB": OK + fields(1, 9000) + LENGTH + b"\r\none",
    "a head of 60 kB": OK + fields(1, 60_000) + LENGTH + b"\r\none",
    "100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\none",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + OK + LENGTH + b"\r\none",
    "100 Continue of HTTP/1.0": b"HTTP/1.0 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\none",
    "an interim answer that closes": b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n"
    + OK
    + LENGTH
    + b"\r\none",
    "an interim answer with a length": b"HTTP/1.1 199 Wait\r\nContent-Length: 3\r\n\r\n" + OK + LENGTH + b"\r\none",
    "an interim answer in chunks": b"HTTP/1.1 199 Wait\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"
    + OK
    + LENGTH
    + b"\r\none",
}

REFUSED = {
    "a bare CR in a field": OK + b"X: a\rb\r\n" + LENGTH + b"\r\none",
    "a NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + LENGTH + b"\r\none",
    "a NUL in a field": OK + b"X: a\0b\r\n" + LENGTH + b"\r\none",
    "a space before the colon": OK + b"X : a\r\n" + LENGTH + b"\r\none",
    "a space behind a coding's name": OK + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    "a space behind a length's name": OK + b"Content-Length : 3\r\n\r\none",
    "a field without a name": OK + b": a\r\n" + LENGTH + b"\r\none",
    "a line that is no field": OK + b"nonsense\r\n" + LENGTH + b"\r\none",
    "a vertical tab before the coding": coded(b" \x0bchunked"),
    "chunked, identity": coded(b" chunked, identity"),
    "another coding on a second line": coded(b" chunked\r\nTransfer-Encoding: identity"),
    "xchunked": coded(b" xchunked"),
    "chunkedx": coded(b" chunkedx"),
    "a coding in quotes": coded(b' "chunked"'),
    "a coding with a parameter": coded(b" chunked;q=1"),
    "a compressed transfer": coded(b" gzip, chunked"),
    "a comma behind the coding": coded(b" chunked,"),
    "an empty coding": coded(b""),
    "a coding and a length": OK + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNKS,
    "a length and a coding": OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "two lengths": OK + LENGTH + b"Content-Length: 2\r\n\r\none",
    "one length twice": OK + LENGTH + LENGTH + b"\r\none",
    "a list of lengths": OK + b"Content-Length: 3, 3\r\n\r\none",
    "a length with a sign": OK + b"Content-Length: +3\r\n\r\none",
    "a negative length": OK + b"Content-Length: -3\r\n\r\none",
    "a hexadecimal length": OK + b"Content-Length: 0x3\r\n\r\none",
    "an empty length": OK + b"Content-Length: \r\n\r\none",
    "a length of 20 digits": OK + b"Content-Length: 99999999999999999999\r\n\r\none",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a length with a sign where there is no body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: +3\r\n\r\n",
    "two lengths where there is no body": b"HTTP/1.1 204 No Content\r\n" + LENGTH + LENGTH + b"\r\n",
    "a coding and a length where there is no body": b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n"
    + LENGTH
    + b"\r\n",
    "a version before HTTP had heads": b"HTTP/0.9 200 OK\r\n" + LENGTH + b"\r\none",
    "a version of its own": b"HTTP/1.2 200 OK\r\n" + LENGTH + b"\r\none",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n" + LENGTH + b"\r\none",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + LENGTH + b"\r\none",
    "300 fields": OK + fields(300) + LENGTH + b"\r\none",
    "a head of 140 kB": OK + fields(1, 140_000) + LENGTH + b"\r\none",
    "a head without end": OK + fields(1, 10_000_000),
    "a size after a space": coded(b" chunked", b" 3\r\none\r\n0\r\n\r\n"),
    "a size with 0x": coded(b" chunked", b"0x3\r\none\r\n0\r\n\r\n"),
    "a negative size": coded(b" chunked", b"-3\r\none\r\n0\r\n\r\n"),
    "a size that ends with LF": coded(b" chunked", b"3\none\n0\n\n"),
}

BROKEN = {
    "too much in a chunk": b"3\r\noneX\r\n0\r\n\r\n",
    "too little in a chunk": b"3\r\none",
    "no end": b"3\r\none\r\n",
    "no end behind the last chunk": b"3\r\none\r\n0\r\n",
    "nonsense for a size": b"3\r\none\r\nzz\r\ntwo\r\n0\r\n\r\n",
    "nonsense for a trailer": b"3\r\none\r\n0\r\nnonsense\r\n\r\n",
    "a trailer of 300 fields": b"3\r\none\r\n0\r\n" + fields(300) + b"\r\n",
    "a trailer of 140 kB": b"3\r\none\r\n0\r\n" + fields(1, 140_000) + b"\r\n",
}


def ended(data: bytes) -> Peers:
    """A server that sends ``data`` and ends the connection."""

    def answer(peer: Peer) -> None:
        peer.send(data)
        peer.finish()

    return Peers(answer)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_accepted(face: Any, name: str) -> None:
    with ended(WHOLE[name]) as server:
        assert face.generate(face.client(server.url, max_retries=0)) == "one"


@pytest.mark.parametrize("name", [name for name in WHOLE if "interim" in name or "100" in name])
def test_an_interim_answer_in_pieces_concerns_nobody(face: Any, name: str) -> None:
    def answer(peer: Peer) -> None:
        for at in range(len(WHOLE[name])):
            peer.send(WHOLE[name][at : at + 1])

    with Peers(answer) as server:
        assert face.generate(face.client(server.url, max_retries=0)) == "one"


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail ESMTP\r\n", b"HTTP/2 200 OK\r\n", b"\x15\x03"]
)
def test_what_is_not_http_is_refused_at_once(face: Any, greeting: bytes) -> None:
    # Such a server greets and waits. To wait with it, for more of its "head", would look as if it were slow.
    def answer(peer: Peer) -> None:
        peer.send(greeting)
        peer.wait_gone()

    with Peers(answer) as server:
        outcome = face.stream(face.client(server.url, max_retries=0, timeout=2))
    assert isinstance(outcome.error, ConnectError), outcome.error
    assert "HTTP" in str(outcome.error)


@pytest.mark.parametrize("name", [name for name in REFUSED if "no body" in name or "before HTTP" in name])
def test_what_is_refused_is_no_answer(face: Any, name: str) -> None:
    with ended(REFUSED[name]) as server:
        outcome = face.stream(face.client(server.url, max_retries=0))
    assert isinstance(outcome.error, ConnectError)


def test_a_fold_of_nothing_is_no_space(face: Any) -> None:
    with ended(OK + b"X:\r\n a\r\n" + LENGTH + b"\r\none") as server:
        assert face.stream(face.client(server.url, max_retries=0)).stream.headers["x"] == "a"


@pytest.mark.parametrize("length", ["0" * 30 + "3", "1" + "0" * 18])
def test_long_lengths(face: Any, length: str) -> None:
    with ended(OK + f"Content-Length: {length}\r\n\r\none".encode()) as server:
        outcome = face.stream(face.client(server.url, max_retries=0))
    assert outcome.text == "one"
    assert (outcome.error is None) == length.endswith("3")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(face: Any, name: str) -> None:
    with ended(REFUSED[name]) as server:
        outcome = face.stream(face.client(server.url, max_retries=0))
    assert isinstance(outcome.error, AIChatFreeError), outcome.pieces
    assert outcome.text == outcome.error.partial == ""


UNKNOWN_CODINGS = [name for name, data in REFUSED.items() if b"Transfer-Encoding:" in data and LENGTH not in data][:8]


@pytest.mark.parametrize("status", [b"200 OK", b"500 Internal Server Error"])
@pytest.mark.parametrize("name", UNKNOWN_CODINGS)
def test_a_coding_that_is_not_known(face: Any, name: str, status: bytes) -> None:
    """An answer came, and nobody can read its body: the same error in both clients."""
    with ended(REFUSED[name].replace(b"200 OK", status)) as server:
        outcome = face.stream(face.client(server.url, max_retries=0))
    assert isinstance(outcome.error, StreamInterruptedError), outcome.error
    assert outcome.stream.status_code == int(status[:3])


MISREAD = [
    name
    for name, data in REFUSED.items()
    if re.match(rb"(?i)HTTP/1.1 200 OK\r\n(Transfer-Encoding|Content-Length):", data) and "size" not in name
]


@pytest.mark.parametrize("name", MISREAD)
def test_what_is_refused_in_a_session_of_the_users(face: Any, name: str) -> None:
    """Whatever the library makes of the head, framing is never given out as text."""

    async def by_aiohttp(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            await AsyncClient(url, max_retries=0, session=session).generate("hi")

    def by_requests(url: str) -> None:
        with requests.Session() as session:
            Client(url, max_retries=0, session=session).generate("hi")

    with ended(REFUSED[name]) as server, pytest.raises(AIChatFreeError) as caught:
        face.run(lambda: by_requests(server.url), lambda: by_aiohttp(server.url))
    assert caught.value.partial == ""


def breaking(name: str, split: bool) -> Peers:
    """A server whose reply breaks off, its head in a packet of its own or not."""

    def answer(peer: Peer) -> None:
        first, rest = (head("200 OK", "Transfer-Encoding: chunked"), BROKEN[name])
        if split:
            peer.send(first)
            peer.send(rest[:8])
            first, rest = b"", rest[8:]
        peer.send(first + rest)
        peer.finish()

    return Peers(answer)


@pytest.mark.parametrize("split", [False, True], ids=["at once", "apart"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_off(face: Any, name: str, split: bool) -> None:
    """All that came before the fault is the reply's text so far, in the same packet or not."""
    with breaking(name, split) as server:
        outcome = face.stream(face.client(server.url, max_retries=0))
    assert isinstance(outcome.error, StreamInterruptedError), outcome.error
    assert outcome.text == outcome.error.partial == "one"


@pytest.mark.parametrize("split", [False, True], ids=["at once", "apart"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_off_in_a_session_of_the_users(name: str, split: bool) -> None:
    """aiohttp's own parser would lose the head of the answer with the chunk in front of the fault."""

    async def main(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            client = AsyncClient(url, session=session)
            pieces = []
            with pytest.raises(StreamInterruptedError) as caught:
                async for piece in client.stream("hi"):
                    pieces.append(piece)
            assert "".join(pieces) == caught.value.partial == "one"

    with breaking(name, split) as server:
        asyncio.run(main(server.url))
        assert len(server.heads) == 1  # what has reached the caller is not asked for again


SESSIONS = {
    "closed behind its length": (b"Connection: close\r\n" + LENGTH, [b"on", b"e"], "one"),
    "cut amid a size": (b"Transfer-Encoding: chunked\r\n", [b"3\r\none\r\n0"], None),
    "cut behind the last size": (b"Transfer-Encoding: chunked\r\n", [b"3\r\none\r\n0\r\n"], None),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_the_end_of_a_body_in_a_session_of_the_users(face: Any, name: str) -> None:
    """http.client closes a connection behind a length, and takes the end of one for that of a line."""
    fields, pieces, whole = SESSIONS[name]

    def answer(peer: Peer) -> None:
        peer.send(OK + fields + b"\r\n")
        for piece in pieces:
            peer.send(piece)
        peer.finish()

    async def by_aiohttp(url: str) -> Any:
        async with aiohttp.ClientSession() as session:
            return await AsyncClient(url, max_retries=0, session=session).generate("hi")

    def by_requests(url: str) -> Any:
        with requests.Session() as session:
            return Client(url, max_retries=0, session=session).generate("hi")

    with Peers(answer) as server:
        if whole is not None:
            assert face.run(lambda: by_requests(server.url), lambda: by_aiohttp(server.url)) == whole
        else:
            with pytest.raises(StreamInterruptedError) as caught:
                face.run(lambda: by_requests(server.url), lambda: by_aiohttp(server.url))
            assert caught.value.partial == "one"


def test_a_connection_that_a_session_has_used_before() -> None:
    """A client with a connector of the user's reads as strictly on it as on one of its own."""
    answers = [chunked(b"first"), OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\nzz"]

    async def main(url: str) -> None:
        async with aiohttp.TCPConnector() as connector, aiohttp.ClientSession(connector=connector) as session:
            assert await AsyncClient(url, session=session).generate("hi") == "first"
            async with AsyncClient(url, connector=connector, max_retries=0) as client:
                with pytest.raises(StreamInterruptedError) as caught:
                    await client.generate("hi")
                assert caught.value.partial == "one"

    with Peers(lambda peer: peer.send(answers.pop(0))) as server:
        asyncio.run(main(server.url))
        assert server.accepted == 1


class OwnRequest(aiohttp.ClientRequest):
    """A request class of the user's."""


@pytest.mark.parametrize("request_class", [aiohttp.ClientRequest, OwnRequest])
def test_a_session_of_the_users_stays_as_it_is(request_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its middlewares see the request, a reply that broke off starts over, and its own requests are read by aiohttp."""
    framed = 0

    class Counted(Framing):
        def __init__(self, *args: Any) -> None:
            nonlocal framed
            framed += 1
            super().__init__(*args)

    monkeypatch.setattr(hooks, "Framing", Counted)
    answers = [
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\nzz",
        sized(b"two"),
        sized(b"own"),
        sized(b"three"),
    ]
    seen: list[str] = []

    async def see(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        seen.append(request.url.path)
        response: aiohttp.ClientResponse = await handler(request)
        return response

    async def main(url: str) -> None:
        async with aiohttp.ClientSession(middlewares=[see], request_class=request_class) as session:
            client = AsyncClient(url, session=session, retry=RetryPolicy(initial_delay=0.01))
            assert await client.generate("hi") == "two"
            async with session.get(f"{url}/own") as response:
                assert await response.text() == "own"
            assert await client.generate("hi") == "three"
        assert seen == ["/api/generate", "/api/generate", "/own", "/api/generate"]

    with Peers(lambda peer: peer.send(answers.pop(0))) as server:
        asyncio.run(main(server.url))
        assert (server.accepted, framed) == (2, 3)


def test_a_bad_size_is_not_waited_upon(face: Any) -> None:
    """A line that can be no size any more is refused at once, though it does not end."""

    def answer(peer: Peer) -> None:
        peer.send(head("200 OK", "Transfer-Encoding: chunked") + chunk(b"one") + b"<html>")
        peer.wait_gone()

    with Peers(answer) as server:
        outcome = face.stream(face.client(server.url, max_retries=0, timeout=50))
    assert isinstance(outcome.error, StreamInterruptedError)
    assert outcome.error.partial == "one"


AFTERWARDS = {
    "bytes past the length": lambda text: sized(text) + sized(b"evil"),
    "bytes past the chunks": lambda text: chunked(text) + chunked(b"evil"),
    "half an answer past the length": lambda text: sized(text) + b"HTTP/1.1 200 OK\r\nContent-Le",
    "an empty line past the length": lambda text: sized(text) + b"\r\n",
    "bytes past no content": lambda text: sized(text) + b"\0",
}


@pytest.mark.parametrize("name", AFTERWARDS)
def test_what_follows_an_answer_belongs_to_nothing(face: Any, name: str) -> None:
    with Peers(lambda peer: peer.send(AFTERWARDS[name](peer.prompt.encode()))) as server:
        client = face.client(server.url)
        assert [face.generate(client, prompt) for prompt in ("one", "two", "three")] == ["one", "two", "three"]


def test_a_field_in_utf_8(face: Any) -> None:
    answer = OK + "X-A: größe\r\n".encode() + LENGTH + b"\r\none"
    with ended(answer) as server:
        stream = face.client(server.url).stream("hi")
        if face.is_async:
            face.wait(stream.until_done())
        else:
            stream.until_done()
        assert stream.headers["x-a"] == "größe"
