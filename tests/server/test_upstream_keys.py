"""Keys: several take turns, and none is ever shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import logging
import ssl
import sys
import traceback
from typing import Any

import pytest
import trustme

from aichatfree import Timeout
from aichatfree.server import Gemini
from aichatfree.server.failures import UpstreamError, current_note
from aichatfree.server.upstreams.keys import Key, KeyRedactor, Keys

from .standin import HEAD, KINDS, MESSAGES, Kind, Peer, StandIn, plain, read, sse, stream

KEY = "AIzaSy-very+secret/key=1"
FETCHING = "[GoogleGenerativeAI Error]: Error fetching from  "


def quota(*fields: str) -> bytes:
    return plain(
        "429 x", {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}, *fields
    )


class Quotas:
    """Answers each key as it is told, by the key."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        key = peer.headers["x-goog-api-key"]
        self.asked.append(key)
        await peer.send(self.answers.get(key, KINDS[0].reply(f"by {key}")))


def asked(quotas: Quotas, keys: list[str], times: int = 1) -> list[str | UpstreamError]:
    async def main() -> list[str | UpstreamError]:
        async with StandIn(quotas) as server:
            upstream = Gemini(keys, base_url=server.url)
            found: list[str | UpstreamError] = []
            for _ in range(times):
                try:
                    found.append("".join(await read(upstream)))
                except UpstreamError as error:
                    found.append(error)
            await upstream.aclose()
            return found

    return asyncio.run(main())


def test_one_key_serves_until_its_quota_is_used_up() -> None:
    quotas = Quotas()
    assert asked(quotas, ["a", "b"], 3) == ["by a"] * 3
    quotas = Quotas(a=quota("Retry-After: 30"))
    assert asked(quotas, ["a", "b", "b", "c"], 3) == ["by b"] * 3
    assert quotas.asked == ["a", "b", "b", "b"], "within the same request, and then at once"


def test_a_quota_that_is_told_in_the_stream() -> None:
    error = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
    assert asked(Quotas(a=stream(*sse(error))), ["a", "b"], 2) == ["by b"] * 2
    after_text = [*KINDS[0].pieces("half", finish=False), *sse(error)]
    (failed,) = asked(Quotas(a=stream(*after_text)), ["a", "b"])
    assert isinstance(failed, UpstreamError), "what has been said cannot be taken back"
    assert failed.status == 429


def test_when_all_rest_the_client_is_told_the_shortest_wait() -> None:
    quotas = Quotas(a=quota("Retry-After: 30"), b=quota("Retry-After: 12"), c=quota())
    for error in asked(quotas, ["a", "b", "c"], 3):
        assert isinstance(error, UpstreamError)
        words = f"Quota exceeded for every key of this server. Please retry in {error.retry_after:g}s."
        assert error.message == f"{FETCHING}[429 Too Many Requests] {words}"
        assert error.retry_after == pytest.approx(12, abs=5)
        assert error.status == 429
    assert quotas.asked == ["a", "b", "c"], "keys that rest are not asked"


def test_a_key_that_is_refused_is_passed_over() -> None:
    refused = plain("400 x", {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}})
    forbidden = plain("403 x", {"error": {"code": 403, "message": "Suspended.", "status": "PERMISSION_DENIED"}})
    quotas = Quotas(a=refused, b=forbidden)
    assert asked(quotas, ["a", "b", "c"], 2) == ["by c"] * 2
    assert quotas.asked == ["a", "b", "c", "c"]
    (error,) = asked(Quotas(a=forbidden, b=refused), ["a", "b"])
    assert isinstance(error, UpstreamError)
    assert error.message == "API key not valid."
    (error,) = asked(Quotas(a=quota("Retry-After: 9"), b=refused), ["a", "b"])
    assert isinstance(error, UpstreamError)
    assert error.retry_after == pytest.approx(9, abs=5)


def test_a_probe_while_all_rest() -> None:
    async def main() -> None:
        async with StandIn(quota(), quota(), plain("200 OK", {"name": "models/x"})) as server:
            upstream = Gemini(["a", "b"], base_url=server.url)
            with pytest.raises(UpstreamError):
                await read(upstream)
            await upstream.probe()
            assert server.requests[-1].headers["x-goog-api-key"] == "b"
            await upstream.aclose()

    asyncio.run(main())


def test_other_failures_are_no_matter_of_keys() -> None:
    quotas = Quotas(a=plain("503 x"), b=plain("400 x", {"error": {"message": "Request contains an invalid argument."}}))
    for key in "ab":
        (error,) = asked(quotas, [key, "c"])
        assert isinstance(error, UpstreamError)
    assert quotas.asked == ["a", "b"]


def test_a_single_key_is_always_asked() -> None:
    quotas = Quotas(a=quota("Retry-After: 30"))
    for error in asked(quotas, ["a"], 2):
        assert isinstance(error, UpstreamError)
        assert error.message == f"{FETCHING}[429 Too Many Requests] Quota exceeded. Please retry in 30s."
    assert quotas.asked == ["a", "a"]


def test_the_log_hears_of_a_quota_by_number() -> None:
    notes: list[str] = []
    current_note.set(notes.append)
    try:
        asked(Quotas(secret=quota()), ["secret", "b"])
    finally:
        current_note.set(None)
    assert notes == ["the quota of key 1 of 2 is used up"]


def test_keys_rest_as_long_as_they_were_told() -> None:
    now = [100.0]
    a, b = Key("a"), Key("b")
    keys = Keys([a, b], lambda: now[0])
    assert next(keys.serving()) is a
    keys.rest(a, 10)
    assert list(keys.serving()) == [b]
    assert keys.shortest_wait() == 10
    keys.rest(b, None)
    assert list(keys.serving()) == []
    assert keys.shortest_wait() == 10
    keys.rest(a, 5)  # what was told later, by another request, does not shorten the rest
    assert keys.shortest_wait() == 10
    now[0] += 10
    assert list(keys.serving()) == [a]
    assert keys.shortest_wait() == 50
    now[0] += 50
    assert next(keys.serving()) is a, "the one that served last goes on"
    assert keys.shortest_wait() == 0
    assert list(Keys([]).serving()) == [None]


# --- Nothing shows a key


def test_short_keys_leave_words_as_they_are() -> None:
    redact = KeyRedactor(["k", "key", "pass", "AIzaSy-very-secret-1"])
    said = "API key not valid (k): do not bypass; pass, AIzaSy-very-secret-1x"
    assert redact(said) == "API key not valid (k): do not bypass; ***, ***x"
    assert KeyRedactor(["", "k"])(said) == said
    assert "secret" not in repr(redact)


def everything(error: BaseException) -> str:
    """An error with its causes, as they are printed and with the variables of every frame in which they passed."""
    shown = []
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        each = queue.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        shown += [str(each), repr(each), repr(each.args), repr(vars(each))]
        frames = traceback.TracebackException.from_exception(each, capture_locals=True)
        shown += [line for part in frames.format() for line in [part] if "tests/server" not in part]
        queue += [each.__cause__, each.__context__]
    return "\n".join(shown)


FORMS = [KEY, "AIzaSy-very%2Bsecret%2Fkey%3D1", base64.b64encode(KEY.encode()).decode().rstrip("=")]


async def _reset(peer: Peer) -> None:
    peer.reset()


ECHOES: list[Any] = [
    *[plain(f"400 {form}", {"error": {"message": f"no {form}", "code": form}}) for form in FORMS],
    *[plain(f"599 {form}", {"error": {"message": f"no {form}", "code": form}}) for form in FORMS],
    plain("500 x", f"<html><title>Bad {KEY}</title></html>"),
    plain(f"302 {KEY}", b"", f"Location: http://127.0.0.1:1/{KEY}"),
    f"HTTP/1.1 {KEY}\r\n\r\n".encode(),
    f"{KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
    f"HTTP/1.1 200 OK\r\n{KEY}\0: x\r\n\r\n".encode(),
    plain("200 OK", f"data: {KEY}\n\n"),
    stream(*sse({"error": {"message": f"no {KEY}", "type": KEY}})),
    stream(*sse({"error": f"no {KEY}", "code": 429})),
    stream(*sse({"candidates": [{"finishReason": KEY}]})),
    _reset,
    HEAD,
]


@pytest.mark.parametrize("kind", KINDS[:2], ids=repr)
def test_a_key_that_is_echoed_is_not_shown(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        for echo in ECHOES:
            async with StandIn(echo) as server:
                upstream = kind.make(server.url, api_key=KEY, timeout=Timeout(first_byte=0.2))
                for asking in (read(upstream), upstream.probe()):
                    try:
                        await asking
                    except UpstreamError as error:
                        shown = everything(error) + error.message + str(error.code)
                        for form in FORMS:
                            assert form not in shown, echo
                assert KEY in str(server.requests[0].headers)
                assert KEY not in repr(upstream) + str(upstream)
                await upstream.aclose()

    asyncio.run(main())
    for form in FORMS:
        assert form not in caplog.text


@pytest.mark.parametrize("kind", KINDS[:2], ids=repr)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_key_follows_no_redirect(kind: Kind, status: int) -> None:
    async def main() -> None:
        async with (
            StandIn(kind.reply("stolen")) as other,
            StandIn(plain(f"{status} x", b"", f"Location: {other.url}/v1/chat/completions")) as server,
        ):
            upstream = kind.make(server.url, api_key=KEY)
            for asking in (read(upstream), upstream.probe()):
                with pytest.raises(UpstreamError) as caught:
                    await asking
                assert caught.value.status == status
            await upstream.aclose()
            assert other.requests == []

    asyncio.run(main())


def test_a_cookie_is_not_kept() -> None:
    async def main() -> None:
        answer = KINDS[1].reply("x").replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1)
        async with StandIn(answer) as server:
            upstream = KINDS[1].make(server.url)
            await read(upstream)
            await read(upstream)
            assert "cookie" not in server.requests[1].headers
            await upstream.aclose()

    asyncio.run(main())


def test_the_environment_s_proxies_and_netrc_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def main() -> None:
        async with StandIn(KINDS[2].reply("x")) as server:
            upstream = KINDS[2].make(server.url)
            assert await read(upstream) == ["x"]
            assert "authorization" not in server.requests[0].headers
            await upstream.aclose()

    asyncio.run(main())


# --- Proxies and TLS


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_a_proxy_is_used_and_its_password_is_not_shown(kind: Kind) -> None:
    async def main() -> None:
        async with StandIn(kind.reply("by proxy"), plain("407 x", "no me:p@ss bWU6cEBzcw==")) as proxy:
            url = proxy.url.replace("//", "//me:p%40ss@")
            upstream = kind.make("http://model.invalid", proxy=url)
            assert await read(upstream) == ["by proxy"]
            assert proxy.requests[0].path.startswith("http://model.invalid/")
            assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
            with pytest.raises(UpstreamError) as caught:
                await read(upstream)
            await upstream.aclose()
            shown = everything(caught.value) + caught.value.message + repr(upstream)
            for secret in ("p@ss", "p%40ss", "bWU6cEBzcw"):
                assert secret not in shown

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_tls_is_checked(kind: Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def main() -> None:
        async with StandIn(kind.reply("x"), tls=context) as server:
            upstream = kind.make(server.url)
            with contextlib.redirect_stderr(io.StringIO()), pytest.raises(UpstreamError) as caught:
                await read(upstream)
            assert caught.value.message == f"{FETCHING}fetch failed"
            assert caught.value.reason.startswith("no secure connection (")
            await upstream.aclose()
            authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            upstream = kind.make(server.url)
            assert await read(upstream) == ["x"]
            await upstream.aclose()

    asyncio.run(main())
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize("kind", KINDS[:2], ids=repr)
def test_a_cancelled_call_shows_no_key(kind: Kind) -> None:
    async def main() -> None:
        async with StandIn(HEAD) as server:
            upstream = kind.make(server.url, api_key=KEY)
            task = asyncio.ensure_future(anext(upstream(MESSAGES)))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await upstream.aclose()

    asyncio.run(main())
