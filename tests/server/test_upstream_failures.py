"""Failures of upstreams in the words that clients of the protocol know, and for the operator."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any

import pytest

from aichatfree.server.failures import UpstreamError
from aichatfree.server.upstreams import wording
from aichatfree.server.upstreams.waits import seconds_in_words

from .standin import KINDS, MESSAGES, Answer, Kind, StandIn, gemini, lines, openai, plain, read, sse, stream

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
FETCHING = "[GoogleGenerativeAI Error]: Error fetching from  "


def failed(kind: Kind, answer: Answer, **options: Any) -> UpstreamError:
    async def main() -> UpstreamError:
        async with StandIn(answer) as server:
            upstream = kind.make(server.url, **options)
            with pytest.raises(UpstreamError) as caught:
                await read(upstream)
            await upstream.aclose()
            return caught.value

    return asyncio.run(main())


def google(code: int, message: str, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    error = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": list(details)} if details else error}


QUOTA = "You exceeded your current quota, see https://ai.google.dev/gemini-api/x.\n* Quota exceeded"
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26s"}
VLLM = {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}
FASTAPI = {"detail": [{"loc": ["body", "temperature"], "msg": "Input should be less than 2", "input": "my words"}]}
OPENAI_QUOTA = {
    "error": {
        "message": "Rate limit reached for gpt-x. Limit 3, used 3. Please try again in 1m20s. Visit https://x/y",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
}

CASES: list[tuple[str, bytes, str, float | None, str]] = [
    # What an upstream answers: its message, the wait, the reason.
    (
        "429 Too Many Requests",
        plain("429 Too Many Requests", google(429, "Quota exceeded.", "RESOURCE_EXHAUSTED"), "Retry-After: 12"),
        f"{FETCHING}[429 Too Many Requests] Quota exceeded. Please retry in 12s.",
        12.0,
        "429 Too Many Requests (RESOURCE_EXHAUSTED)",
    ),
    (
        "RetryInfo",
        plain("429 x", google(429, QUOTA, "RESOURCE_EXHAUSTED", {"@type": "Help"}, RETRY_INFO)),
        f"{FETCHING}[429 Too Many Requests] You exceeded your current quota, see * Quota exceeded Please retry in 26s.",
        26.0,
        "429 Too Many Requests (RESOURCE_EXHAUSTED)",
    ),
    (
        "retry in",
        plain("429 x", google(429, "Quota.\nPlease retry in 47.174066935s.", "RESOURCE_EXHAUSTED")),
        f"{FETCHING}[429 Too Many Requests] Quota. Please retry in 47.174066935s.",
        47.174066935,
        "429 Too Many Requests (RESOURCE_EXHAUSTED)",
    ),
    (
        "try again in",
        plain("429 x", OPENAI_QUOTA),
        f"{FETCHING}[429 Too Many Requests] Rate limit reached for gpt-x. Limit 3, used 3. Visit Please retry in 80s.",
        80.0,
        "429 Too Many Requests (rate_limit_exceeded)",
    ),
    (
        "retry-after-ms",
        plain("429 x", {"error": {"message": "Slow down"}}, "retry-after-ms: 1500", "Retry-After: 2"),
        f"{FETCHING}[429 Too Many Requests] Slow down Please retry in 1.5s.",
        1.5,
        "429 Too Many Requests",
    ),
    (
        "no wait",
        plain("429 x", {"error": {"message": "Too many."}}, "Retry-After: soon"),
        f"{FETCHING}[429 Too Many Requests] Too many.",
        None,
        "429 Too Many Requests",
    ),
    (
        "503",
        plain("503 x", google(503, "Overloaded. Please try again later.", "UNAVAILABLE"), "Retry-After: 3"),
        f"{FETCHING}[503 Service Unavailable] Overloaded. Please try again later. Please retry in 3s.",
        3.0,
        "503 Service Unavailable (UNAVAILABLE)",
    ),
    (
        "400",
        plain("400 Bad Request", google(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT")),
        "API key not valid. Please pass a valid API key.",
        None,
        "400 Bad Request (INVALID_ARGUMENT)",
    ),
    (
        "400 without words",
        plain("400 x", b""),
        "The model's provider refused the request and gave no reason.",
        None,
        "400 Bad Request",
    ),
    (
        "400 in a list",
        plain("400 x", [google(400, "lost at the real server", "INVALID_ARGUMENT")]),
        "lost at the real server",
        None,
        "400 Bad Request (INVALID_ARGUMENT)",
    ),
    (
        "400 that looks like something else",
        plain("400 x", {"error": "[GoogleGenerativeAI Error]: [503 Service Unavailable] is not [429 ] or [x]"}),
        "(503 Service Unavailable] is not (429 ] or [x]",
        None,
        "400 Bad Request",
    ),
    (
        "401",
        plain("401 x", {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}),
        f"{FETCHING}[401 Unauthorized] Incorrect API key provided.",
        None,
        "401 Unauthorized (invalid_api_key)",
    ),
    (
        "403 page",
        plain("403 x", "<html><head><title>Access denied</title></head><body>x</body></html>"),
        f"{FETCHING}[403 Forbidden] Access denied",
        None,
        "403 Forbidden",
    ),
    (
        "404 Ollama",
        plain("404 Not Found", {"error": "model 'llama9' not found"}),
        f"{FETCHING}[404 Not Found] model 'llama9' not found",
        None,
        "404 Not Found",
    ),
    (
        "404 vLLM",
        plain("404 x", VLLM),
        f"{FETCHING}[404 Not Found] The model `x` does not exist.",
        None,
        "404 Not Found (NotFoundError)",
    ),
    ("404 empty", plain("404 x"), f"{FETCHING}[404 Not Found]", None, "404 Not Found"),
    (
        "408",
        plain("408 x", "Timed\0 out\x1b[0m"),
        f"{FETCHING}[408 Request Timeout] Timed\ufffd out\ufffd[0m",
        None,
        "408 Request Timeout",
    ),
    (
        "422 FastAPI",
        plain("422 x", FASTAPI),
        f"{FETCHING}[422 Unprocessable Entity] body.temperature: Input should be less than 2",
        None,
        "422 Unprocessable Entity",
    ),
    (
        "500 text",
        plain("500 x", "Internal Server Error"),
        f"{FETCHING}[500 Internal Server Error] Internal Server Error",
        None,
        "500 Internal Server Error",
    ),
    (
        "502 page",
        plain("502 x", "<html><style>p{}</style><h1>502 &amp; more</h1>\n<script>x</script></html>"),
        f"{FETCHING}[502 Bad Gateway] 502 & more",
        None,
        "502 Bad Gateway",
    ),
    (
        "504",
        plain("504 x", {"error": {"message": None}}),
        f"{FETCHING}[504 Gateway Timeout]",
        None,
        "504 Gateway Timeout",
    ),
    (
        "529",
        plain("529 Site is overloaded", {"message": "Busy"}),
        f"{FETCHING}[529 Site is overloaded] Busy",
        None,
        "529 Site is overloaded",
    ),
    ("599", plain("599 [what]", b"\xff"), f"{FETCHING}[599 ] \ufffd", None, "599"),
    (
        "302",
        plain("302 Found", b"", "Location: http://elsewhere.example/"),
        f"{FETCHING}[302 Found] The provider redirects elsewhere, and requests are not sent there.",
        None,
        "302 Found (redirect)",
    ),
]


@pytest.mark.parametrize(
    ("answer", "message", "wait", "reason"), [each[1:] for each in CASES], ids=[each[0] for each in CASES]
)
def test_statuses_in_the_words_that_clients_know(answer: bytes, message: str, wait: float | None, reason: str) -> None:
    for kind in KINDS:
        error = failed(kind, answer)
        assert error.message == message
        assert error.retry_after == wait
        assert error.reason == str(error) == reason
        assert error.code == "Error"
        assert error.status == int(answer.split()[1])


def test_request_entity_too_large_whatever_python_calls_it() -> None:
    error = failed(KINDS[1], plain("413 x", {"error": {"message": "Too large"}}))
    assert error.message.startswith(f"{FETCHING}[413 ")
    assert error.message.endswith("] Too large")


def test_a_wait_until_a_date() -> None:
    now = time.time()
    fields = (f"Date: {formatdate(now - 3600, usegmt=True)}", f"Retry-After: {formatdate(now - 3570, usegmt=True)}")
    error = failed(KINDS[0], plain("503 x", b"", *fields))
    assert error.retry_after == 30
    assert error.message.endswith("Please retry in 30s.")
    past = failed(KINDS[0], plain("503 x", b"", f"Retry-After: {formatdate(now - 60, usegmt=True)}"))
    assert past.retry_after == 0


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 6m0s.", 360),
        ("try again in 547ms", 0.547),
        ("Retry after 5 seconds", 5),
        ("retry in 1h2m3.5s", 3723.5),
        ("retry in 2 minutes", 120),
        ("retry in 12", 12),
        ("Please try again later.", None),
        ("retry in 9999999999999999s", None),
        ("retry in 999999999s", None),
        ("retry in " + "9" * 100_000, None),
    ],
)
def test_waits_in_words(words: str, seconds: float | None) -> None:
    found = seconds_in_words(words)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@every_kind
def test_long_words_are_cut(kind: Kind) -> None:
    error = failed(kind, plain("500 x", {"error": {"message": "x" * 100_000}}))
    assert len(error.message) < 1200


@every_kind
def test_an_error_whose_body_never_ends(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    from aichatfree.server.upstreams import base

    monkeypatch.setattr(base, "ERROR_SECONDS", 0.05)
    head = b"HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\n"
    assert failed(kind, head).message == f"{FETCHING}[503 Service Unavailable] Please retry in 7s."
    assert failed(kind, head + b"Busy").message.endswith("Busy Please retry in 7s.")


# --- Errors in a stream


IN_STREAM = [
    (
        "gemini",
        google(503, "The model is overloaded.", "UNAVAILABLE"),
        f"{FETCHING}[503 Service Unavailable] The model is overloaded.",
    ),
    (
        "gemini",
        google(429, "Quota exceeded.", "RESOURCE_EXHAUSTED", RETRY_INFO),
        f"{FETCHING}[429 Too Many Requests] Quota exceeded. Please retry in 26s.",
    ),
    (
        "gemini",
        google(400, "Request contains an invalid argument.", "INVALID_ARGUMENT"),
        "Request contains an invalid argument.",
    ),
    (
        "openai",
        {
            "error": {"code": 502, "message": "Provider returned error"},
            "choices": [{"delta": {"content": ""}, "finish_reason": "error"}],
        },
        f"{FETCHING}[502 Bad Gateway] Provider returned error",
    ),
    (
        "openai",
        {"error": {"type": "rate_limit_error", "message": "Slow down, try again in 3s"}},
        f"{FETCHING}[429 Too Many Requests] Slow down, Please retry in 3s.",
    ),
    (
        "openai",
        {"error": {"type": "server_error", "code": None, "message": "Oops"}},
        f"{FETCHING}[500 Internal Server Error] Oops",
    ),
    ("openai", {"error": {"code": "400", "message": "Too long"}}, "Too long"),
    ("openai", {"error": "what happened", "code": 404}, f"{FETCHING}[404 Not Found] what happened"),
    ("openai", VLLM, f"{FETCHING}[404 Not Found] The model `x` does not exist."),
    ("openai", {"error": {"message": "something"}}, "[GoogleGenerativeAI Error]: something"),
    ("openai", {"error": {"code": 14}}, "[GoogleGenerativeAI Error]: the model's provider failed"),
    (
        "ollama",
        {"error": "an error was encountered while running the model"},
        "[GoogleGenerativeAI Error]: an error was encountered while running the model",
    ),
]


@pytest.mark.parametrize(("name", "event", "message"), IN_STREAM)
def test_errors_in_a_stream_before_and_after_text(name: str, event: dict[str, Any], message: str) -> None:
    kind = next(each for each in KINDS if each.name == name)
    write = lines if name == "ollama" else sse

    async def main() -> None:
        bodies = [
            b"".join(write(event)),
            b"".join([*kind.pieces("Half", finish=False), *write(event), *kind.pieces("rest")]),
        ]
        async with StandIn(*(stream(body) for body in bodies), plain("200 OK", event)) as server:
            upstream = kind.make(server.url)
            for expected in ([], ["Half"], []):
                got: list[str] = []
                with pytest.raises(UpstreamError) as caught:
                    async for piece in upstream(MESSAGES):
                        got.append(piece)
                assert (got, caught.value.message) == (expected, message)
                assert message.rpartition("]")[2].strip() not in caught.value.reason
            await upstream.aclose()

    asyncio.run(main())


def test_an_event_that_is_named_error() -> None:
    error = failed(KINDS[1], stream(b'event: error\ndata: {"message": "Oops", "code": 503}\n\n'))
    assert error.message == f"{FETCHING}[503 Service Unavailable] Oops"


def test_a_page_in_place_of_a_stream() -> None:
    for kind in KINDS:
        error = failed(kind, plain("200 OK", "<!doctype html><title>Welcome</title>\n", "Content-Type: text/html"))
        assert error.message == "[GoogleGenerativeAI Error]: Error reading from the stream"
        assert "Welcome" not in error.reason


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "5",
        '"x"',
        "[]",
        "{}",
        "[" * 100_000,
        '{"error": 5}',
        '{"error": [1]}',
        '{"message": {"a": 1}}',
        '{"detail": [1, {"msg": 2}]}',
        "\x00",
        "<" * 65536,
        "&#" + "9" * 60_000,
        "<script>" * 8000,
        "[429 " * 12_000,
        "retry in 1m" * 5000,
    ],
)
def test_bodies_as_an_enemy_would_write_them(body: str) -> None:
    for status in (400, 429, 500):
        error = wording.refusal(status, "", {}, body.encode(), redact=str, now=0.0)
        assert error.status == status
        assert error.message.startswith(f"{FETCHING}[{status} ") == (status != 400)
        assert len(error.message) < 1200


# --- No answer, or half of one


@every_kind
def test_a_connection_that_is_refused_or_a_name_that_is_unknown(kind: Kind) -> None:
    async def main() -> None:
        async with StandIn(b"") as server:
            url = server.url
        for address, reason in (
            (url, "the connection was refused"),
            ("http://no.invalid", "the name cannot be resolved"),
        ):
            upstream = kind.make(address)
            with pytest.raises(UpstreamError) as caught:
                await read(upstream)
            await upstream.aclose()
            assert caught.value.message == f"{FETCHING}fetch failed"
            assert caught.value.reason == reason
            assert caught.value.status is None
            assert caught.value.__cause__ is not None

    asyncio.run(main())


@every_kind
def test_what_is_not_http_and_connections_that_go(kind: Kind) -> None:
    async def close(peer: Any) -> None:
        peer.writer.close()

    async def reset(peer: Any) -> None:
        peer.reset()

    for answer in (close, reset, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"):
        error = failed(kind, answer)
        assert error.message == f"{FETCHING}fetch failed"
        assert error.status is None


@every_kind
def test_a_reply_that_is_cut(kind: Kind) -> None:
    pieces = kind.pieces("Half a ", "sentence", finish=False)
    arrived = asyncio.Event()

    async def close(peer: Any) -> None:
        await peer.send(stream(*pieces, end=b""))
        peer.writer.close()

    async def reset(peer: Any) -> None:
        await peer.send(stream(*pieces, end=b""))
        peer.reset()

    async def short(peer: Any) -> None:
        await peer.send(plain("200 OK", b"".join(pieces) + b"x" * 100)[:-100])
        peer.writer.close()

    async def damaged(peer: Any) -> None:
        await peer.send(stream(*pieces, end=b""))
        await arrived.wait()
        await peer.send(b"zz\r\n")

    async def main() -> None:
        for answer in (close, reset, short, damaged):
            arrived.clear()
            async with StandIn(answer) as server:
                upstream = kind.make(server.url)
                got = ""
                with pytest.raises(UpstreamError) as caught:
                    async for piece in upstream(MESSAGES):
                        got += piece
                        arrived.set()
                await upstream.aclose()
            if got or answer is not reset:  # which may overtake what was sent before it
                assert got == "Half a sentence", answer
                assert caught.value.message == "[GoogleGenerativeAI Error]: Error reading from the stream"
                assert caught.value.status == 200

    asyncio.run(main())


def test_events_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from aichatfree.server.upstreams import base

    class Small(base.EventStream):
        def __init__(self) -> None:
            super().__init__(10_000)

    monkeypatch.setattr(KINDS[0].make("http://x").__class__, "decoder", Small)
    error = failed(KINDS[0], stream(*sse(gemini("x" * 20_000, finish="STOP"))))
    assert "larger than 10,000 bytes" in error.reason
    assert len(sse(openai("x" * 9000))[0]) < 10_000
