"""One call from its arguments to its end, without a transport."""

from __future__ import annotations

import json
import logging
import tracemalloc
from typing import Any

import pytest
from core_kit import RECORDED_AT, URL, Bench, recorded

from aichatfree._core.call import Stats
from aichatfree._core.retry import RetryPolicy
from aichatfree._core.timeouts import Timeout
from aichatfree._core.wire.replies import AuthReader, FailureReader, ReplyReader
from aichatfree._core.wire.signing import Signer
from aichatfree.errors import (
    AIChatFreeError,
    APIError,
    ConnectError,
    EmptyReplyError,
    InvalidPasswordError,
    ServerError,
    StreamInterruptedError,
)


def run(bench: Bench, *answers: tuple[int, dict[str, str], list[bytes]]) -> str:
    """Drive a call as the clients do, over answers that are there already."""
    call = bench.call
    flow = call.start()
    attempt = next(flow)
    for status, headers, chunks in answers:
        reader = None
        bench.monotonic.now += attempt.delay
        call.sending(attempt)
        bench.monotonic.now += 1
        try:
            try:
                reader = call.answered(bench.answer(status, headers))
                for chunk in chunks:
                    bench.monotonic.now += 1
                    if text := reader.feed(chunk):
                        call.emit(text)
                if text := reader.finish():
                    call.emit(text)
                call.finish()
                break
            except AIChatFreeError as error:
                if reader is not None and (text := reader.flush(error)):
                    call.emit(text)
                raise
        except AIChatFreeError as error:
            call.failed(error)
            try:
                attempt = flow.throw(error)
            except AIChatFreeError:
                call.end()
                raise
            call.restart()
    call.end()
    return call.text


def test_before_anything_is_sent() -> None:
    call = Bench().call
    assert (call.text, call.status_code, dict(call.headers)) == ("", None, {})
    assert not call.complete
    assert not call.accepted
    assert call.stats == Stats(0, None, 0.0, 0, 0)
    assert call.model == "gemini-1.5-pro"


def test_a_recorded_reply() -> None:
    bench = Bench(secret="s3cret", password="pw1")
    answer = recorded("ok")
    assert run(bench, (answer.status, dict(answer.headers), answer.chunks)) == "你好，世界 — you said: hello"
    assert bench.call.complete
    assert (bench.call.status_code, bench.call.headers["connection"]) == (200, "close")
    assert bench.call.stats == Stats(
        attempts=1, first_text_seconds=2, total_seconds=5, bytes_received=len(answer.body), pieces=4
    )
    bench.monotonic.now += 100
    bench.call.end()
    assert bench.call.stats.total_seconds == 5, "the time of a call that ended stands"


def test_time_runs_on_while_the_call_does() -> None:
    bench = Bench()
    next(bench.call.start())
    bench.monotonic.now += 3
    assert bench.call.stats.total_seconds == 3


def test_limits_count_from_the_start_of_the_call_and_not_from_its_making() -> None:
    bench = Bench(timeout=Timeout(connect=None, total=10))
    bench.monotonic.now += 60
    assert bench.call.deadline.expired()
    attempt = next(bench.call.start())
    bench.call.sending(attempt)
    assert bench.call.deadline.remaining() == 10
    assert bench.call.stats.total_seconds == 0


def test_sending_signs_and_begins_the_connect_limit() -> None:
    bench = Bench("hi", secret="s", timeout=Timeout(connect=7))
    attempt = next(bench.call.start())
    bench.wall.now += 5
    request = bench.call.sending(attempt)
    sent = json.loads(request.body)
    assert (sent["time"], sent["sign"]) == Signer("s", lambda: RECORDED_AT + 5).sign("hi")
    assert bench.call.deadline.phase == "connect"
    assert bench.call.deadline.remaining() == 7


def test_what_is_started_over_has_no_first_text_yet() -> None:
    call = Bench(restartable=True).call
    next(call.start())
    call.emit("some")
    assert call.stats.first_text_seconds == 0
    call.restart()
    assert (call.stats.first_text_seconds, call.stats.pieces, call.text) == (None, 0, "")


def test_thousands_of_pieces() -> None:
    call = Bench().call
    pieces = [f"{number} " for number in range(5000)]
    for piece in pieces:
        call.emit(piece)
    assert call.text == "".join(pieces)
    assert call.stats.pieces == 5000


def test_a_new_attempt_has_received_nothing() -> None:
    bench = Bench(restartable=True, retry=RetryPolicy(initial_delay=0))
    flow = bench.call.start()
    bench.call.sending(next(flow))
    bench.call.answered(bench.answer()).feed(b"some text")
    assert bench.call.stats.bytes_received == 9
    error = StreamInterruptedError("cut")
    bench.call.sending(flow.throw(bench.call.failed(error)))
    assert bench.call.stats.bytes_received == 0


def test_limits_and_label_of_the_call_go_before_the_clients() -> None:
    bench = Bench(model="label")
    assert bench.call.model == "label"
    kinds = Bench().call
    other = type(kinds)(
        bench.settings,
        bench.signer,
        bench.call._clocks,
        bench.call._make_request,
        timeout=Timeout(connect=1),
        model="",
    )
    assert other.model == ""
    other.sending(next(other.start()))
    assert other.deadline.remaining() == 1


def test_tries_again_until_a_reply_comes() -> None:
    bench = Bench(retry=RetryPolicy(initial_delay=4))
    text = run(bench, (502, {}, [b"<h1>Bad gateway</h1>"]), (503, {"retry-after": "10"}, []), (200, {}, [b"hi"]))
    assert text == "hi"
    assert bench.call.stats == Stats(3, 1 + 1 + 2 + 1 + 10 + 2, 17, 2, 1)


def test_the_error_of_the_last_try_has_those_before_it() -> None:
    bench = Bench(max_retries=1)
    with pytest.raises(ServerError) as caught:
        run(bench, (502, {}, []), (504, {}, []))
    assert [error.status_code for error in caught.value.attempts if isinstance(error, APIError)] == [502]
    assert not bench.call.complete
    assert bench.call.stats.attempts == 2


def test_a_failure_has_exactly_what_the_caller_was_given() -> None:
    bench = Bench(max_retries=5)
    with pytest.raises(StreamInterruptedError) as caught:
        run(bench, (200, {}, [b"Half an ", b"ans", b"Internal server error"]))
    assert caught.value.partial == bench.call.text == "Half an ans"
    assert bench.call.stats.attempts == 1


def test_a_reply_that_is_started_over_begins_from_nothing() -> None:
    bench = Bench(restartable=True)
    chunks = recorded("cut_mid_reply").chunks
    assert run(bench, (200, {}, chunks), (200, {}, [b"whole"])) == "whole"
    assert bench.call.stats.pieces == 1
    assert bench.call.stats.bytes_received == 5


def test_the_text_grows_with_each_piece() -> None:
    call = Bench().call
    for expected in ("a", "ab", "abc"):
        assert call.emit(expected[-1]) == expected[-1]
        assert call.text == call.text == expected
    assert call.stats.pieces == 3


def answered(bench: Bench, status: int, **headers: str) -> Any:
    pairs = {name.replace("_", "-"): value for name, value in headers.items()}
    return bench.call.answered(bench.answer(status, pairs))


def test_each_kind_of_answer_has_its_reader() -> None:
    assert type(answered(Bench(), 200)) is ReplyReader
    assert type(answered(Bench(), 500)) is FailureReader
    assert type(answered(Bench(), 201)) is FailureReader
    assert type(answered(Bench(auth=True), 200)) is AuthReader
    assert type(answered(Bench(auth=True), 500)) is FailureReader


@pytest.mark.parametrize("status", [204, 205])
@pytest.mark.parametrize("auth", [False, True])
def test_an_answer_that_can_have_no_text(status: int, auth: bool) -> None:
    with pytest.raises(EmptyReplyError, match=f"HTTP {status}, which has no text: ask again"):
        answered(Bench(auth=auth), status)


def test_a_proxy_that_wants_a_password() -> None:
    with pytest.raises(ConnectError, match=r"no answer from http://h:3000: the proxy .*check proxy=.*HTTP 407"):
        answered(Bench(), 407)


@pytest.mark.parametrize("content_type", ["text/html", "TEXT/HTML; charset=utf-8"])
def test_a_web_page_where_a_reply_should_be(content_type: str) -> None:
    reader = answered(Bench(), 200, content_type=content_type)
    with pytest.raises(APIError, match=r"HTTP 200 .*is base_url right \(http://h:3000/api/generate\)\?"):
        reader.feed(b"<!doctype html><title>Parked</title>")
        reader.finish()


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
def test_html_as_plain_text_is_a_reply(content_type: str) -> None:
    reader = answered(Bench(), 200, content_type=content_type)
    assert reader.feed(b"<html>") + reader.finish() == "<html>"


def test_the_settings_reach_the_reader() -> None:
    bench = Bench(max_reply_bytes=3, in_band_errors=("zzz",))
    assert answered(bench, 200).feed(b"azz") == "a"
    with pytest.raises(AIChatFreeError, match="larger than 3 bytes"):
        answered(bench, 200).feed(b"1234")


def test_a_failure_hides_the_secrets_of_its_request() -> None:
    bench = Bench(password="hunter2")
    with pytest.raises(InvalidPasswordError) as caught:
        run(bench, (401, {}, [b'{"error":{"message":"Invalid password: hunter2"}}']))
    assert caught.value.message == "Invalid password: ***"
    assert "hunter2" not in str(caught.value) + caught.value.body


def test_what_an_earlier_attempt_was_signed_with_stays_a_secret() -> None:
    """A server may send it back now."""
    bench = Bench()
    flow = bench.call.start()
    first = bench.call.sending(next(flow))
    bench.wall.now += 5
    second = bench.call.sending(flow.throw(ConnectError("reset")))
    signs = [json.loads(request.body)["sign"] for request in (first, second)]
    assert signs[0] != signs[1]
    assert set(signs) <= set(second.secrets)
    flow.close()


def test_a_retry_after_date_counts_from_the_wall_clock() -> None:
    reader = answered(Bench(), 429, retry_after="Mon, 24 Nov 2025 16:00:07 GMT")
    with pytest.raises(APIError) as caught:
        reader.finish()
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(("name", "accepted"), [("auth_ok", True), ("auth_wrong", False)])
def test_the_password_check(name: str, accepted: bool) -> None:
    bench = Bench(auth=True, password="pw")
    answer = recorded(name)
    assert run(bench, (answer.status, dict(answer.headers), answer.chunks)) == ""
    assert bench.call.complete
    assert bench.call.accepted is accepted
    assert bench.call.stats.bytes_received == 0


def test_the_log_tells_the_story_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench("my question", password="hunter2", secret="s3cret")
    with caplog.at_level(logging.DEBUG, logger="aichatfree"):
        run(bench, (502, {}, [b"hunter2"]), (200, {}, [b"my answer"]))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith(f"attempt 1: <Request POST {URL}, ")
    assert any(line.startswith("answer: HTTP 502 after 1.000 s") for line in lines)
    assert any(line.startswith("attempt 1 failed: ServerError: HTTP 502 (***)") for line in lines)
    assert lines[-1].startswith("whole reply: Stats(attempts=2")
    for secret in ("hunter2", "s3cret", "my question", "my answer", bench.signer.sign("my question").sign):
        assert secret not in caplog.text


def test_the_log_of_a_call_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="aichatfree"), pytest.raises(EmptyReplyError):
        run(Bench(), (200, {}, []))
    assert caplog.records[-1].getMessage().startswith("no whole reply: ")


def test_text_in_large_pieces_is_never_held_twice() -> None:
    call = Bench().call
    size, count = 10_000, 5_000
    tracemalloc.start()
    try:
        for _ in range(count):
            call.emit(" " * size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(call.text) == size * count
    assert peak < 1.1 * size * count
