"""What an upstream is made with: refused before any I/O where it cannot work, and probes."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
from typing import Any

import pytest

import aichatfree.server
from aichatfree import InvalidRequestError, Timeout
from aichatfree.server import Gemini, Ollama, OpenAICompatible
from aichatfree.server.failures import BlockedError, UpstreamError
from aichatfree.server.upstreams.options import Options

from .standin import KINDS, Kind, Peer, StandIn, plain, read

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
COMMON = "*, {}system=None, temperature=None, max_tokens=None, proxy=None, timeout=Timeout("


def signature(kind: type) -> str:
    parameters = inspect.signature(kind).parameters.values()
    return ", ".join(str(each.replace(annotation=each.empty)) for each in parameters)


def test_signatures_are_the_design_s() -> None:
    common = f"system=None, temperature=None, max_tokens=None, proxy=None, timeout={Timeout()!r}"
    google = "https://generativelanguage.googleapis.com"
    assert signature(Gemini) == f"api_key, model='gemini-2.5-flash', base_url='{google}', {common}"
    assert signature(OpenAICompatible) == f"base_url, model, api_key=None, {common}"
    assert signature(Ollama) == f"base_url='http://127.0.0.1:11434', model, {common}"
    for kind in (Gemini, OpenAICompatible, Ollama):
        assert kind.__module__ == "aichatfree.server"
        assert kind.__name__ in aichatfree.server.__all__
        assert inspect.isasyncgenfunction(kind.__call__)
        positional = [each for each in inspect.signature(kind).parameters.values() if each.kind != each.KEYWORD_ONLY]
        assert len(positional) == 1
    with pytest.raises(InvalidRequestError):
        OpenAICompatible(model="m", base_url=None)  # type: ignore[arg-type]


@every_kind
@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("system", [5, b"x", ["x"]]),
        ("temperature", ["1", True, float("nan"), float("inf"), -0.1]),
        ("max_tokens", [0, -1, 1.5, True, "5"]),
        ("proxy", [5, "socks5://127.0.0.1:1", "ftp://x", "http://"]),
        ("timeout", ["5", 0, -1, True, (1, 2)]),
        ("model", ["", 5, None, "a b", "a\n", "\0"]),
        (
            "base_url",
            [5, None, "", "127.0.0.1:1", "ftp://x", "http://", "http://x:port", "http://x/?key=1", "http://x y"],
        ),
    ],
)
def test_values_that_cannot_work(kind: Kind, option: str, values: list[Any]) -> None:
    makers: dict[str, Any] = {"gemini": Gemini, "openai": OpenAICompatible, "ollama": Ollama}
    needed: dict[str, Any] = {"base_url": "http://127.0.0.1:1", "model": "m"}
    if kind.name == "gemini":
        needed["api_key"] = "k"
    for value in values:
        with pytest.raises(InvalidRequestError) as caught:
            makers[kind.name](**{**needed, option: value})
        assert option in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["", " ", "a b", "key\n", "ключ", "é", "a\0", "a\ud800", 5, None, b"key", ["ok", ""], [], ["ok", 5], {"a": 1}],
)
def test_keys_that_cannot_work(key: Any) -> None:
    with pytest.raises(InvalidRequestError, match="api_key") as caught:
        Gemini(key)
    assert "ключ" not in str(caught.value)
    if not isinstance(key, list) and key is not None:
        with pytest.raises(InvalidRequestError, match="api_key"):
            OpenAICompatible("http://x/v1", model="m", api_key=key)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OpenAICompatible("http://x/v1/chat/completions", model="m"),
        lambda: OpenAICompatible("http://u:p@x/v1", model="m", api_key="k"),
        lambda: Ollama("http://x/api", model="m"),
        lambda: Ollama("http://x/v1", model="m"),
    ],
)
def test_addresses_that_are_another_s(make: Any) -> None:
    with pytest.raises(InvalidRequestError, match="base_url"):
        make()


def test_reprs_show_no_credentials() -> None:
    secret = "se-cr-et"
    for upstream in (
        Gemini([secret, "b"], proxy=f"http://u:{secret}@proxy:1"),
        OpenAICompatible("http://x/v1", model="m", api_key=secret),
        Ollama(f"http://u:{secret}@x", model="m"),
    ):
        assert secret not in repr(upstream)
        assert "at http" in repr(upstream)


def test_zero_is_given() -> None:
    options = Options("http://x", model="m", system=None, temperature=0, max_tokens=None, proxy="", timeout=5)
    assert options.tuning(temperature="t", max_tokens="m") == {"t": 0}
    assert options.timeout == Timeout(5, 5, 5)
    assert options.proxy is None


def test_errors_can_be_pickled() -> None:
    for kind in (UpstreamError, BlockedError):
        error = kind("words", code=None, status=429, reason="why", retry_after=1.5)
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind
        assert (vars(copy), str(copy)) == (vars(error), "why")
    assert str(UpstreamError("words")) == UpstreamError("words").reason == "words"


# --- Probes


def probed(kind: Kind, *answers: Any, **options: Any) -> tuple[str | None, list[Peer]]:
    """The sentence of a probe that failed, else None; and what was asked."""

    async def main() -> tuple[str | None, list[Peer]]:
        async with StandIn(*answers) as server:
            upstream = kind.make(server.url, **options)
            try:
                await upstream.probe()
                said = None
            except UpstreamError as error:
                said = str(error).replace(server.url.partition("//")[2], "HOST")
            await upstream.aclose()
            return said, server.requests

    return asyncio.run(main())


@every_kind
def test_a_probe_that_succeeds_is_one_question(kind: Kind) -> None:
    said, requests = probed(kind, plain("200 OK", {"data": [{"id": "m"}]}))
    assert said is None
    asked = [(each.method, each.path) for each in requests]
    assert (
        asked
        == {
            "gemini": [("GET", "/v1beta/models/gemini-2.5-flash")],
            "openai": [("GET", "/v1/models")],
            "ollama": [("POST", "/api/show")],
        }[kind.name]
    )
    if kind.name == "ollama":
        assert json.loads(requests[0].body) == {"model": "m"}


@every_kind
def test_a_probe_that_fails_is_a_sentence(kind: Kind) -> None:
    name = {"gemini": "Gemini", "openai": "The model's server", "ollama": "Ollama"}[kind.name]
    start = f"{name} at HOST does not answer as it should: "
    for status, words in ((401, "[401 Unauthorized] No."), (500, "[500 Internal Server Error] No.")):
        assert probed(kind, plain(f"{status} x", {"error": {"message": "No."}}))[0] == start + words
    said, _ = probed(kind, plain("400 x", {"error": {"message": "API key not valid."}}))
    assert said == f"{start}400 Bad Request: API key not valid."

    async def close(peer: Peer) -> None:
        peer.writer.close()

    assert probed(kind, close)[0] == start + "the connection was cut"
    assert probed(kind, plain("200 OK"), timeout=None)[0] is None


def test_a_model_that_the_upstream_does_not_have() -> None:
    gone = {"error": {"code": 404, "message": "models/gemini-2.5-flash is not found", "status": "NOT_FOUND"}}
    said, _ = probed(KINDS[0], plain("404 x", gone))
    assert said is not None
    assert said.endswith("[404 Not Found] models/gemini-2.5-flash is not found (choose another model)")
    models = {"data": [{"id": f"model-{number}"} for number in range(9)]}
    said, _ = probed(KINDS[1], plain("200 OK", models))
    assert said is not None
    assert said.endswith("[404 Not Found] no model 'm'; there are model-0, model-1, model-2, model-3, model-4, ...")
    said, _ = probed(KINDS[2], plain("404 x", {"error": "model 'm' not found"}))
    assert said is not None
    assert said.endswith("[404 Not Found] model 'm' not found (ollama pull m)")


def test_what_cannot_be_known_is_no_failure() -> None:
    assert probed(KINDS[0], plain("404 Not Found", "404: Not Found"))[0] is None
    for answer in (
        plain("404 Not Found", "404: Not Found"),
        plain("200 OK", "what?"),
        plain("200 OK", {"data": [{"id": "/models/x.gguf", "owned_by": "llamacpp"}]}),
    ):
        assert probed(KINDS[1], answer)[0] is None
    nothing = plain("404 Not Found", "404 page not found")
    assert probed(KINDS[2], nothing, nothing)[0] is None


def test_ollama_without_its_description_of_models() -> None:
    nothing = plain("404 Not Found", "404 page not found")
    for tags, known in (("m", True), ("m:latest", True), ("other", False)):
        said, requests = probed(KINDS[2], nothing, plain("200 OK", {"models": [{"name": tags}]}))
        assert (said is None) == known
        assert [each.path for each in requests] == ["/api/show", "/api/tags"]


def test_a_probe_takes_no_longer_than_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from aichatfree.server.upstreams import base

    monkeypatch.setattr(base, "PROBE_SECONDS", 0.05)
    for kind in KINDS:
        said, _ = probed(kind, b"", timeout=None)
        assert said is not None
        assert "within 0.05 s" in said


def test_a_probe_leaves_the_upstream_usable() -> None:
    async def main() -> None:
        async with StandIn(plain("200 OK", {"data": []}), KINDS[1].reply("x")) as server:
            upstream = KINDS[1].make(server.url)
            await upstream.probe()
            assert await read(upstream) == ["x"]
            assert server.connections == 1
            await upstream.aclose()

    asyncio.run(main())
