"""Where AIChatFree goes, what it is called, and what frameworks look for."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import aichatfree
from aichatfree import (
    AIChatFree,
    AsyncGeneratorProvider,
    ConnectError,
    InvalidPasswordError,
    InvalidRequestError,
    ProviderModelMixin,
)
from aichatfree.testing import Reply, ScriptedServer

from .asking import MESSAGES, Ask, in_a_running_loop, in_one_task, synchronously


def test_a_subclass_with_another_url(provider: type[AIChatFree], server: ScriptedServer) -> None:
    assert provider.url == server.url
    in_one_task(provider)
    assert [request.path for request in server.requests] == ["/api/generate"]


def test_the_url_is_the_hosted_service_until_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AIChatFree.url == "https://aichatfree.info"
    monkeypatch.setattr(AIChatFree, "url", "http://127.0.0.1:1")
    assert AIChatFree.get_dict()["url"] == "http://127.0.0.1:1"
    with pytest.raises(ConnectError):
        in_one_task(AIChatFree)
    monkeypatch.undo()
    assert AIChatFree.url == "https://aichatfree.info"


def test_the_environment_counts_where_nothing_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(password="pw", secret="s3cret") as server:
        server.default = Reply("Hi")
        monkeypatch.setenv("AICHATFREE_BASE_URL", server.url)
        monkeypatch.setenv("AICHATFREE_PASSWORD", "pw")
        monkeypatch.setenv("AICHATFREE_SECRET", "s3cret")
        assert AIChatFree.url == server.url
        assert in_one_task(AIChatFree) == ["Hi"]
        with pytest.raises(InvalidPasswordError):
            in_one_task(AIChatFree, password="other")
        with pytest.raises(ConnectError):
            in_one_task(AIChatFree.using("http://127.0.0.1:1"))


def test_base_url_of_a_call_goes_before_the_class(provider: type[AIChatFree], ask: Ask) -> None:
    with ScriptedServer() as other:
        other.default = Reply("other")
        assert ask(provider, base_url=other.url) == ["other"]


def test_models() -> None:
    assert AIChatFree.default_model == "gemini-1.5-pro"
    assert AIChatFree.models == AIChatFree.get_models(api_key="x", timeout=3) == ["gemini-1.5-pro"]
    assert AIChatFree.model_aliases == {}
    assert AIChatFree.get_model("") == AIChatFree.get_model(None) == "gemini-1.5-pro"


def test_an_alias_stands_for_its_model() -> None:
    class Named(AIChatFree):
        model_aliases = {"pro": "gemini-1.5-pro"}

    assert Named.get_model("pro") == "gemini-1.5-pro"


def test_a_mixin_with_nothing_but_a_default() -> None:
    class Plain(ProviderModelMixin):
        default_model = "one"

    assert Plain.get_models() == ["one"]


def test_an_unknown_model_is_accepted_and_said_once(
    provider: type[AIChatFree], server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="aichatfree"):
        for _ in range(3):
            assert "".join(in_one_task(provider, model="no-such-model")) == "Hello, wörld"
        in_one_task(provider, model="")
        in_one_task(provider, model="gemini-1.5-pro")
    said = [record for record in caplog.records if "no-such-model" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert sum("knows no model" in record.getMessage() for record in caplog.records) == 1
    assert provider.last_model == "gemini-1.5-pro"
    assert "no-such-model" not in server.requests[0].body.decode()


def test_a_model_that_is_no_str_is_refused(provider: type[AIChatFree]) -> None:
    with pytest.raises(InvalidRequestError, match="model is of type list"):
        in_one_task(provider, model=["gemini-1.5-pro"])


def test_using_makes_a_subclass_and_leaves_the_class_alone(server: ScriptedServer) -> None:
    before = dict(vars(AIChatFree))
    mine = AIChatFree.using(base_url=f"  {server.url}/ ", password="pw", model="mine")
    assert issubclass(mine, AIChatFree)
    assert mine.url == f"{server.url}/"
    assert (mine.get_model(""), mine.get_models()) == ("mine", ["mine"])
    assert mine.get_dict() == {"name": mine.__name__, "url": mine.url, "label": mine.label}
    mine.live += 1
    assert dict(vars(AIChatFree)) == before
    assert AIChatFree.live == 0


def test_the_names_of_subclasses_tell_servers_apart() -> None:
    """g4f keeps errors, and whom it trusts, under these names."""
    one = AIChatFree.using("http://127.0.0.1:3000/chat")
    two = one.using("https://user:word@example.org")
    assert (one.__name__, two.__name__) == ("AIChatFree@127.0.0.1:3000", "AIChatFree@example.org")
    assert (one.get_parent(), one.label) == (one.__name__, one.__name__)
    assert one.using(password="x").__name__ == one.__name__
    named = one.using(name="Mine")
    assert (named.__name__, named.label, named.url, named.get_parent()) == ("Mine", "Mine", one.url, "Mine")


def test_options_add_up() -> None:
    with ScriptedServer(password="pw", secret="s3cret") as server:
        server.default = Reply("in")
        half = AIChatFree.using(server.url, secret="s3cret")
        assert in_one_task(half.using(password="pw")) == ["in"]
        with pytest.raises(InvalidPasswordError):
            in_one_task(half)
        with pytest.raises(InvalidPasswordError):
            in_one_task(half.using(password="pw"), api_key="what the call says goes first")


def test_all_options_of_a_client_are_taken(server: ScriptedServer) -> None:
    mine = AIChatFree.using(
        server.url,
        headers={"X-Mine": "yes"},
        max_reply_bytes=3,
        timeout=None,
        in_band_errors=(),
        trust_env=False,
        verify=False,
        proxy=None,
        max_retries=1,
    )
    server.default = Reply("1234")
    with pytest.raises(aichatfree.ReplyTooLargeError):
        in_one_task(mine)
    assert server.requests[0].headers["x-mine"] == "yes"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "127.0.0.1:3000"}, "http://"),
        ({"pasword": "x"}, "no option 'pasword': did you mean 'password'"),
        ({"session": None}, "no option 'session'"),
        ({"timeout": -1}, "timeout"),
        ({"model": 3}, "model"),
    ],
)
def test_using_refuses_what_cannot_work(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        AIChatFree.using(**options)


def test_no_credentials_where_people_look() -> None:
    mine = AIChatFree.using("http://user:hunter2@127.0.0.1:1", password="pa55", secret="s3cret", proxy="http://p:q9@h")
    shown = f"{mine!r} {mine.get_dict()} {mine.__name__} {mine.label} {mine.__doc__}"
    with pytest.raises(InvalidRequestError) as caught:
        mine.using(max_reply_bytes=-1)
    shown += str(caught.value)
    assert not [word for word in ("hunter2", "pa55", "s3cret", "q9") if word in shown]


def test_attributes_and_bases() -> None:
    assert AIChatFree.__bases__ == (AsyncGeneratorProvider, ProviderModelMixin)
    assert AIChatFree.__name__ == AIChatFree.label == AIChatFree.get_parent() == "AIChatFree"
    assert AIChatFree.working and AIChatFree.supports_stream and AIChatFree.supports_message_history
    assert not AIChatFree.needs_auth and not AIChatFree.supports_system_message
    assert AIChatFree.use_stream_timeout is True and AIChatFree.live == 0
    assert AIChatFree.get_dict() == {"name": "AIChatFree", "url": "https://aichatfree.info", "label": "AIChatFree"}


def test_the_older_entrances(provider: type[AIChatFree]) -> None:
    async def collect(generator: AsyncGenerator[str, None]) -> str:
        return "".join([piece async for piece in generator])

    for generator in (provider.get_async_create_function()("", MESSAGES), provider.async_create_function("", MESSAGES)):
        assert asyncio.run(collect(generator)) == "Hello, wörld"
    for pieces in (provider.get_create_function()("", MESSAGES), provider.create_function("", MESSAGES)):
        assert "".join(pieces) == "Hello, wörld"


def test_a_provider_of_ones_own_gets_every_entrance() -> None:
    class Shouting(AIChatFree):
        @classmethod
        async def create_async_generator(cls, model: str, messages: Any, **kwargs: Any) -> AsyncGenerator[str, None]:
            for word in ("one", "", "two"):
                await asyncio.sleep(0)
                yield word.upper()

    assert synchronously(Shouting) == in_a_running_loop(Shouting) == ["ONE", "", "TWO"]
    assert list(Shouting.get_create_function()("", MESSAGES)) == ["ONE", "", "TWO"]
    with pytest.raises(NotImplementedError, match="AsyncGeneratorProvider has no create_async_generator"):
        synchronously(AsyncGeneratorProvider)


def test_no_framework_is_imported() -> None:
    code = "import sys, aichatfree.provider; sys.exit('g4f' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def test_the_example_runs_offline_with_g4f_or_without(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "g4f_provider.py"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, example], capture_output=True, encoding="utf-8", check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "“Why is the sky blue?”" in done.stdout or "pip install g4f" in done.stdout
