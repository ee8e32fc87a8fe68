"""Who may ask: the key, the Host and Origin rules, and what browsers are told."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from aichatfree import AsyncClient
from aichatfree.gateway import LocalGateway, create_app, guard
from aichatfree.testing import ScriptedServer

from .kit import CHAT, HELLO, Caller, error_of

KEY = "k-Schlüssel"
SITE = "https://chat.example"


@pytest.fixture
def locked(server: ScriptedServer) -> Iterator[LocalGateway]:
    with LocalGateway(base_url=server.url, api_key="k-1", allow_origins=[SITE]) as running:
        yield running


@pytest.mark.parametrize("shown", ["Bearer k-1", "bearer k-1", "BEARER   k-1 "])
def test_the_right_key(locked: LocalGateway, shown: str) -> None:
    caller = Caller(locked)
    assert caller.get("/models", headers={"Authorization": shown}).status_code == 200


@pytest.mark.parametrize(
    "shown",
    [None, "", "Bearer", "Bearer ", "Bearer k-2", "Bearer k-1x", "Bearer k-", "Basic k-1", "k-1", "Bearer \xff"],
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", CHAT, "not json"),
        ("POST", CHAT, json.dumps({"model": "m", "messages": HELLO})),
        ("GET", CHAT, None),
        ("GET", "/models", None),
        ("GET", "/nope", None),
        ("OPTIONS", CHAT, None),
    ],
)
def test_the_key_is_judged_before_anything_else(
    locked: LocalGateway, server: ScriptedServer, shown: str | None, method: str, path: str, body: str | None
) -> None:
    caller = Caller(locked)
    headers = {"Host": "evil.example", "Origin": "https://evil.example"}
    if shown is not None:
        headers["Authorization"] = shown  # type: ignore[assignment]
    raw: dict[str, Any] = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = caller.session.request(method, caller.url + path, data=body, headers=raw, timeout=20)
    error = error_of(answer, 401)
    assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "k-1" not in answer.text
    assert server.requests == []


def test_a_wrong_key_is_told_before_the_body_is_there(locked: LocalGateway) -> None:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", locked.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        return line

    assert b" 401 " in asyncio.run(ask())


def test_keys_are_compared_in_constant_time(locked: LocalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    plain = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return plain(one, other)

    monkeypatch.setattr(guard.hmac, "compare_digest", compare)
    assert Caller(locked, "k-1").get("/models").status_code == 200
    monkeypatch.undo()
    assert len(compared) == 1
    assert {len(text) for pair in compared for text in pair} == {32}, "of one length, whatever is shown"


def test_a_key_that_is_not_ascii(server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, api_key=KEY) as gateway:
        caller = Caller(gateway)
        shown = {"Authorization": f"Bearer {KEY}".encode()}
        assert caller.get("/models", headers=shown).status_code == 200  # type: ignore[arg-type]


def test_health_needs_no_key(locked: LocalGateway) -> None:
    caller = Caller(locked)
    answer = caller.session.get(f"{caller.url.removesuffix('/v1')}/healthz", timeout=20)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_without_a_key_any_is_taken(caller: Caller) -> None:
    assert caller.get("/models", headers={"Authorization": "Bearer whatever"}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_only_loopback_addresses_are_served(server: ScriptedServer, host: str, key: str | None) -> None:
    with pytest.raises(ValueError, match="AICHATFREE_GATEWAY_KEY"):
        LocalGateway(base_url=server.url, host=host, api_key=key)


def test_with_a_key_every_address_is_served(server: ScriptedServer) -> None:
    with LocalGateway(base_url=server.url, host="0.0.0.0", api_key="k-1") as gateway:
        assert gateway.url == f"http://127.0.0.1:{gateway.port}/v1"
        caller = Caller(gateway, "k-1")
        assert caller.get("/models", headers={"Host": "my-machine.example"}).status_code == 200


def test_an_embedded_application_without_a_key_refuses_other_addresses(server: ScriptedServer) -> None:
    class Elsewhere:
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return ("192.0.2.7", 80)

    async def ask() -> web.StreamResponse:
        from aiohttp.test_utils import make_mocked_request

        async with AsyncClient(server.url) as client:
            app = create_app(client)
            app.freeze()
            request = make_mocked_request("GET", "/v1/models", transport=Elsewhere(), app=app)
            return await app._handle(request)

    response = asyncio.run(ask())
    assert response.status == 403
    assert json.loads(response.body)["error"]["code"] == "no_api_key_set"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "8.8.8.8"]
)
def test_other_names_of_this_machine_are_refused(caller: Caller, host: str) -> None:
    error = error_of(caller.get("/models", headers={"Host": host}), 403)
    assert error["code"] == "site_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:80", "127.9.9.9", "a.localhost"])
def test_loopback_names_are_served(caller: Caller, host: str) -> None:
    assert caller.get("/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://"])
def test_pages_of_other_sites_are_refused(caller: Caller, server: ScriptedServer, origin: str) -> None:
    answer = caller.post(CHAT, {"model": "m", "messages": HELLO}, headers={"Origin": origin})
    assert error_of(answer, 403)["code"] == "site_not_allowed"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert server.requests == []


def test_pages_of_this_machine_are_served(caller: Caller) -> None:
    assert caller.get("/models", headers={"Origin": "http://localhost:5173"}).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_allowed_site_may_read_the_answer(locked: LocalGateway, stream: bool) -> None:
    caller = Caller(locked, "k-1")
    caller.session.headers["Origin"] = SITE
    answer = caller.chat(stream=stream, temperature=1)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "x-aichatfree-ignored" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"


def test_an_allowed_site_may_read_refusals_too(locked: LocalGateway) -> None:
    answer = Caller(locked).get("/models", headers={"Origin": SITE})
    error_of(answer, 401)
    assert answer.headers["access-control-allow-origin"] == SITE


def test_the_preflight_of_an_allowed_site_needs_no_key(locked: LocalGateway) -> None:
    caller = Caller(locked)
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = caller.session.options(caller.url + CHAT, headers=headers, timeout=20)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == headers["Access-Control-Request-Headers"]
    assert answer.headers["access-control-allow-private-network"] == "true"
    headers["Access-Control-Request-Headers"] = "a b"
    answer = caller.session.options(caller.url + CHAT, headers=headers, timeout=20)
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    headers["Origin"] = "https://evil.example"
    answer = caller.session.options(caller.url + CHAT, headers=headers, timeout=20)
    error_of(answer, 401)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["chat.example", "https://chat.example/path", "ftp://x", "*"])
def test_what_is_not_an_origin(server: ScriptedServer, origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        LocalGateway(base_url=server.url, allow_origins=[origin])


def test_several_callers_with_and_without_the_key(locked: LocalGateway) -> None:
    async def ask() -> list[int]:
        async def one(key: str) -> int:
            async with session.post(
                locked.url + CHAT,
                json={"model": "m", "messages": HELLO},
                headers={"Authorization": f"Bearer {key}"},
            ) as answer:
                return answer.status

        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(one(f"k-{number % 2}") for number in range(20)))

    assert asyncio.run(ask()) == [401, 200] * 10
