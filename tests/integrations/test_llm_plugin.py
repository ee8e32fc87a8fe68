"""The plugin inside the real llm: its command as a process of its own, its Python API in this one."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llm")

import llm
from llm.parts import AttachmentPart, ReasoningPart, TextPart
from llm.parts import Message as LlmMessage

from aichatfree.errors import InvalidPasswordError, InvalidRequestError, StreamInterruptedError
from aichatfree.server import LocalServer
from aichatfree.testing import Drop, Reply, ScriptedServer


def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llm", *arguments], input=stdin, capture_output=True, text=True, timeout=50, check=False
    )


def model(server: LocalServer | ScriptedServer, **options: object) -> tuple[object, dict[str, object]]:
    return llm.get_model("aichatfree"), {"base_url": server.url, "max_retries": 0, **options}


@pytest.mark.timeout(240)  # each command is a process, which loads all of llm
class TestCommand:
    def test_is_listed_with_alias_options_and_key(self) -> None:
        listed = command("models", "--options", "-m", "geminiprochat")
        assert "AIChatFreeModel: aichatfree (aliases: geminiprochat)" in listed.stdout
        assert "base_url: str" in listed.stdout
        assert "- async" in listed.stdout
        assert "env_var: AICHATFREE_PASSWORD" in listed.stdout

    def test_a_prompt_and_its_continuation(self, echo: LocalServer) -> None:
        assert command("models", "options", "set", "aichatfree", "base_url", echo.url).returncode == 0
        first = command("-m", "aichatfree", "-s", "Be brief.", "Hi")
        assert (first.stdout, first.stderr) == ("user: Be brief.\n\nHi\n", "")
        second = command("-c", "Again")
        assert second.stdout == "user: Be brief.\n\nHi | model: user: Be brief.\n\nHi | user: Again\n"
        logged = json.loads(command("logs", "-n", "1", "--json").stdout)[0]
        assert logged["response"] == second.stdout.removesuffix("\n")
        assert logged["response_json"]["attempts"] == 1

    def test_piped_input_fragments_and_no_stream(self, echo: LocalServer, tmp_path: Path) -> None:
        fragment = tmp_path / "fragment.txt"
        fragment.write_text("From a file.")
        arguments = ("-m", "aichatfree", "-o", "base_url", echo.url, "-f", str(fragment), "--no-stream", "Sum up.")
        assert command(*arguments, stdin="From a pipe.").stdout == "user: From a file.\nFrom a pipe. Sum up.\n"

    def test_async(self, echo: LocalServer) -> None:
        assert command("-m", "aichatfree", "-o", "base_url", echo.url, "--async", "Hi").stdout == "user: Hi\n"

    def test_the_password_is_a_stored_key_and_is_not_logged(self) -> None:
        with LocalServer(reply="In.", password="open sesame", secret="s3cret") as server:
            ask = ("-m", "aichatfree", "-o", "base_url", server.url, "Hi")
            refused = command(*ask)
            assert refused.returncode == 1
            assert "Invalid password." in refused.stderr
            command("keys", "set", "aichatfree", "--value", "open sesame")
            command("keys", "set", "aichatfree-secret", "--value", "s3cret")
            assert command(*ask).stdout == "In.\n"
            logs = Path(command("logs", "path").stdout.strip()).read_bytes()
            assert b"base_url" in logs
            assert b"sesame" not in logs
            assert b"s3cret" not in logs

    def test_attachments_are_refused(self, echo: LocalServer, tmp_path: Path) -> None:
        (tmp_path / "note.txt").write_text("text")
        refused = command("-m", "aichatfree", "-o", "base_url", echo.url, "-a", str(tmp_path / "note.txt"), "Hi")
        assert refused.returncode == 1
        assert re.search("does not support attachments|no attachments", refused.stderr)

    def test_a_cut_reply_is_a_failure_and_is_shown(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply("half of it", fault=Drop("in-body")))
            cut = command("-m", "aichatfree", "-o", "base_url", server.url, "Hi")
        assert cut.returncode == 1
        assert cut.stdout.startswith("half of it")
        assert "Error: " in cut.stderr


class TestPython:
    def test_a_conversation(self, echo: LocalServer) -> None:
        asked, options = model(echo)
        conversation = asked.conversation()  # type: ignore[attr-defined]
        conversation.prompt("One", system="Sys.", **options).text()
        assert (
            conversation.prompt("Two", **options).text() == "user: Sys.\n\nOne | model: user: Sys.\n\nOne | user: Two"
        )

    def test_an_async_conversation(self, echo: LocalServer) -> None:
        async def main() -> str:
            conversation = llm.get_async_model("aichatfree").conversation()
            await conversation.prompt("One", base_url=echo.url).text()
            response = conversation.prompt("Two", base_url=echo.url)
            return "".join([piece async for piece in response])

        assert asyncio.run(main()) == "user: One | model: user: One | user: Two"

    def test_async_without_stream(self, echo: LocalServer) -> None:
        async def main() -> str:
            return await llm.get_async_model("aichatfree").prompt("a,b", base_url=echo.url, stream=False).text()

        assert asyncio.run(main()) == "user: ab"

    def test_not_streaming_asks_again_where_a_reply_broke_off(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply("half", fault=Drop("in-body")), Reply("whole"))
            asked, options = model(server, max_retries=1)
            assert asked.prompt("Hi", stream=False, **options).text() == "whole"  # type: ignore[attr-defined]

    def test_the_key_may_come_from_the_environment_the_call_or_the_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with LocalServer(reply="In.", password="open sesame") as server:
            asked, options = model(server)
            with pytest.raises(InvalidPasswordError):
                asked.prompt("Hi", **options).text()  # type: ignore[attr-defined]
            assert asked.prompt("Hi", key="open sesame", **options).text() == "In."  # type: ignore[attr-defined]
            monkeypatch.setenv("AICHATFREE_PASSWORD", "open sesame")
            assert asked.prompt("Hi", **options).text() == "In."  # type: ignore[attr-defined]
            monkeypatch.setenv("AICHATFREE_PASSWORD", "wrong")
            asked.key = "open sesame"  # type: ignore[attr-defined]
            assert asked.prompt("Hi", **options).text() == "In."  # type: ignore[attr-defined]

    def test_errors_are_ours(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply("half", fault=Drop("in-body")))
            asked, options = model(server)
            with pytest.raises(StreamInterruptedError) as caught:
                asked.prompt("Hi", **options).text()  # type: ignore[attr-defined]
            assert caught.value.partial == "half"

    def test_streams_and_leaving_early_closes_the_connection(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply(["one", "two"], pause=30))
            asked, options = model(server)
            pieces = iter(asked.prompt("Hi", **options))  # type: ignore[attr-defined]
            assert next(pieces) == "one"
            pieces.close()  # type: ignore[attr-defined]
            # closing the server waits for nobody: a reply of 30 s that went on would be a thread left behind

    @pytest.mark.parametrize(
        ("message", "word"),
        [
            (LlmMessage("user", [AttachmentPart(llm.Attachment(content=b"x", type="image/png"))]), "AttachmentPart"),
            (LlmMessage("tool", [TextPart("42")]), "'tool'"),
        ],
    )
    def test_what_is_no_text_is_refused_before_anything_is_sent(self, message: object, word: str) -> None:
        with ScriptedServer() as server:
            asked, options = model(server)
            with pytest.raises(InvalidRequestError, match=f"{word}.*text only"):
                asked.prompt("Hi", messages=[message], **options).text()  # type: ignore[attr-defined]
            assert not server.requests

    def test_reasoning_is_not_part_of_what_was_said(self, echo: LocalServer) -> None:
        asked, options = model(echo)
        history = [
            LlmMessage("user", [TextPart("One")]),
            LlmMessage("assistant", [ReasoningPart("Hm."), TextPart("1")]),
        ]
        response = asked.prompt("Two", messages=history, **options)  # type: ignore[attr-defined]
        assert response.text() == "user: One | model: 1 | user: Two"

    def test_options_with_a_password_are_refused_without_showing_it(self) -> None:
        with pytest.raises(ValueError, match="would be written to llm's log") as caught:
            llm.get_model("aichatfree").prompt("Hi", base_url="http://user:geheim@127.0.0.1")
        assert "geheim" not in str(caught.value)

    def test_limits_reach_the_client(self) -> None:
        with ScriptedServer() as server:
            server.enqueue(Reply(["soon", "late"], pause=30))
            asked, options = model(server, total_timeout=0.2)
            with pytest.raises(Exception, match="total") as caught:
                asked.prompt("Hi", **options).text()  # type: ignore[attr-defined]
        assert caught.value.phase == "total"  # type: ignore[attr-defined]


OLD = """
import sys, types
llm = types.ModuleType("llm"); models = types.ModuleType("llm.models")
{members}
sys.modules["llm"] = llm; sys.modules["llm.models"] = models
import aichatfree.integrations._llm_entry as entry
print(entry.usable, hasattr(entry, "register_models"), "requests" in sys.modules)
"""


@pytest.mark.parametrize(
    "members",
    [
        "",
        "llm.hookimpl = lambda f: f",
        "llm.hookimpl = print; models.KeyModel = models.AsyncKeyModel = models.Prompt = type('M', (), {})",
        "models.__getattr__ = lambda name: 1 / 0",
    ],
    ids=["empty", "without models", "without messages", "broken"],
)
def test_an_llm_that_is_too_old_or_broken_gets_nothing(members: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", OLD.format(members=members)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["False", "False", "False"]


def test_models_that_cannot_be_imported_are_not_registered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from aichatfree.integrations import _llm_entry

    monkeypatch.setitem(sys.modules, "aichatfree.integrations.llm", None)
    registered: list[object] = []
    _llm_entry.register_models(lambda *models, aliases: registered.append(models))
    assert registered == []
    assert "the llm plugin is not available" in caplog.text


def test_registering_loads_no_http_library() -> None:
    code = (
        "import sys; from aichatfree.integrations import _llm_entry as entry; registered = []\n"
        "entry.register_models(lambda *models, aliases: registered.extend(models))\n"
        "print(len(registered), [name for name in ('requests', 'aiohttp') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "2 []\n"


def test_the_entry_point_names_the_guard() -> None:
    from importlib.metadata import entry_points

    (point,) = [point for point in entry_points(group="llm") if point.name == "aichatfree"]
    assert point.load().register_models
