"""What is refused of a client's and a call's options, and how they show themselves."""

from __future__ import annotations

import copy
import gzip
import pickle
from pathlib import Path
from typing import Any

import pytest
import trustme

from aichatfree import AsyncClient, Client, InvalidRequestError, RetryPolicy, StreamInterruptedError, Timeout
from aichatfree._core.deadlines import Deadline
from aichatfree._core.network import Network
from aichatfree._core.retry import Attempt, attempts
from aichatfree._core.settings import Settings
from aichatfree._core.timeouts import CLIENT_TIMEOUT
from aichatfree._core.wire.inflate import Inflater
from aichatfree._core.wire.messages import dump_messages
from aichatfree._core.wire.replies import ReplyReader
from aichatfree._core.wire.signing import Signer
from aichatfree.testing import AsyncMemoryTransport, MemoryTransport, Reply


def test_the_limits_of_a_call() -> None:
    assert Timeout(5) == Timeout(5, 5, 5)
    assert Timeout(5, total=9) == Timeout(5, 5, 5, 9)
    assert Timeout(5, idle=7) == Timeout(5, 5, 7)
    assert Timeout(None) == Timeout(None, None, None)
    assert Timeout(connect=5) == Timeout(5, 60, 60)
    assert Timeout(1, 2) == Timeout(1, 2, 60)
    assert Timeout(None, None, None, 3) == Timeout(None, total=3)


@pytest.mark.parametrize(
    ("limits", "named", "words"),
    [
        ((1, 2, 3, 4, 5), {}, "4 limits, not 5: connect, first_byte, idle, total"),
        ((1, 2), {"connect": 3}, "is given connect twice"),
        ((1,), {"connect": 3}, "is given connect twice"),
        ((), {"conect": 3}, "no limit 'conect': did you mean 'connect'"),
        (("5",), {}, "timeout connect is '5'"),
    ],
)
def test_limits_that_cannot_be_meant(limits: tuple[Any, ...], named: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        Timeout(*limits, **named)


def test_what_help_shows_of_a_call_that_is_given_no_timeout() -> None:
    assert repr(CLIENT_TIMEOUT) == "<the client's timeout>"
    assert copy.copy(CLIENT_TIMEOUT) is pickle.loads(pickle.dumps(CLIENT_TIMEOUT)) is CLIENT_TIMEOUT


def test_an_attempt_shows_nothing_of_its_request() -> None:
    deadline = Deadline(Timeout(), lambda: 0.0)
    signer = Signer("s3cret", lambda: 0.0)
    policy = RetryPolicy()
    flow = attempts(lambda url: None, policy=policy, deadline=deadline, signer=signer, random=lambda: 0.0)  # type: ignore[arg-type, return-value]
    attempt: Attempt = next(flow)
    assert repr(attempt) == "<Attempt 1, after 0 s>"


def test_a_model_is_a_label() -> None:
    with pytest.raises(InvalidRequestError, match="model is of type int: give a str"):
        Client(transport=MemoryTransport()).stream("Hi", model=5)  # type: ignore[arg-type]


def test_a_stream_cannot_be_copied() -> None:
    stream = Client(transport=MemoryTransport()).stream("Hi")
    for make in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match=r"a Stream cannot be copied or pickled: .* take \.text"):
            make(stream)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Client, {"transport": object()}, r"transport is of type object: .*exchange\(request, deadline\) and close"),
        (Client, {"transport": MemoryTransport}, "transport is of type type"),
        (AsyncClient, {"transport": object()}, "exchange"),
        (Client, {"transport": AsyncMemoryTransport()}, r"has no close\(\): .*AsyncClient"),
        (AsyncClient, {"transport": MemoryTransport()}, r"has no aclose\(\): .*belongs to Client"),
        (Client, {"transport": MemoryTransport(), "proxy": "http://p:1"}, "proxy= and verify= have no effect"),
        (AsyncClient, {"transport": AsyncMemoryTransport(), "verify": False}, "proxy= and verify= have no effect"),
        (Client, {"transport": MemoryTransport(), "session": object()}, "session= or transport=, not both"),
        (AsyncClient, {"transport": AsyncMemoryTransport(), "connector": object()}, "only one of them"),
    ],
)
def test_what_is_not_a_transport(kind: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        kind("http://127.0.0.1:9", trust_env=False, **given)


def test_a_transport_that_was_passed_in_stays_open() -> None:
    class Closing(MemoryTransport):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    transport = Closing()
    with Client(transport=transport) as client:
        transport.enqueue(Reply("one"))
        assert client.generate("Hi") == "one"
        with pytest.raises(InvalidRequestError, match="proxy cannot be changed on a client with transport="):
            client.with_options(proxy="http://p:1")
        with pytest.raises(TypeError, match="transport= cannot be pickled"):
            pickle.dumps(client)
    assert transport.closed == 0


def test_another_secret_shares_what_is_known_of_the_clock() -> None:
    signer = Signer("a", lambda: 1000.0)
    other = signer.with_secret("b")
    assert signer.with_secret("a") is signer
    other.offset_seconds = 60
    assert signer.sign("x").time == other.sign("x").time == 1_060_000
    assert signer.sign("x").sign != other.sign("x").sign


def test_surrogates_take_the_careful_way() -> None:
    dumped, text = dump_messages([{"role": "user", "content": "a\ud800b"}])
    assert (text, b"".join(dumped)) == ("a\ufffdb", '[{"role":"user","parts":[{"text":"a\ufffdb"}]}]'.encode())


def test_text_before_damage_is_text() -> None:
    reader = ReplyReader(1000, ("Internal server error",), None, Inflater("gzip"))
    body = gzip.compress(b"one two") + b"more"
    with pytest.raises(StreamInterruptedError, match="something behind its end") as caught:
        reader.feed(body)
    assert reader.flush(caught.value) == "one two"


def test_what_is_decoded_before_a_fault_is_bounded() -> None:
    inflater = Inflater("gzip")
    body = gzip.compress(b"x" * 100_000)[:-8] + b"\0" * 8
    assert len(inflater.decode(body, 100_000)) == 100_000
    assert inflater.fault is not None or len(inflater.decode(b"", 10)) == 0


def test_a_password_to_verify_is_a_str() -> None:
    with pytest.raises(InvalidRequestError, match="password is of type int: give a str"):
        Client(transport=MemoryTransport()).verify_password(5)  # type: ignore[arg-type]


def test_a_folder_of_certificates_is_read_whole(tmp_path: Path) -> None:
    for number in range(2):
        trustme.CA().cert_pem.write_to_path(str(tmp_path / f"{number:08x}.0"))
    (tmp_path / "README").write_text("not one of them")
    context = Network(Settings().change({"verify": str(tmp_path), "trust_env": False})).ssl_context
    assert len(context.get_ca_certs()) == 2
