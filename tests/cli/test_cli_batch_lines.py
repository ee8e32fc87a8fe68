"""The lines of a batch: every encoding and form, what is wrong with them, and the ones of the OpenAI Batch API."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from aichatfree.testing import Drop, RecordedRequest, Reply, ScriptedServer

from .running import Command, complaint


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.default = lambda request: Reply(f"Re: {request.prompt}")
    return server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def strict(data: bytes) -> list[dict[str, Any]]:
    def no(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=no) for line in data.splitlines()]


def request(name: object = "a", **body: Any) -> dict[str, Any]:
    body = {"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}], **body}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_with_a_mark(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, encoding: str
) -> None:
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    source.write_bytes(marks.get(encoding, b"") + '"Käse\u2028漢"\r\n\r\n{"prompt": "two"}'.encode(encoding))
    for _ in range(2):
        assert aichatfree("batch", str(source), "-o", str(output)).returncode == 0
    assert [result["text"] for result in strict(output.read_bytes())] == ["Re: Käse\u2028漢", "Re: two"]
    assert [result["line"] for result in strict(output.read_bytes())] == [1, 3]
    assert len(server.requests) == 2


def test_half_a_character_in_utf_16_is_refused(aichatfree: Command, server: ScriptedServer, source: Path) -> None:
    source.write_bytes(codecs.BOM_UTF16_LE + b'"\0x')
    done = aichatfree("batch", str(source), "-o", "-")
    assert done.returncode == 2
    assert "save it as UTF-8" in complaint(done)


def test_plain_lines_are_prompts(aichatfree: Command, server: ScriptedServer, tmp_path: Path, output: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text('Why?\n\n17\n"Hello," she said.\nnull\n')
    done = aichatfree("batch", str(source), "-o", str(output), "--system", "Be brief.")
    assert done.returncode == 0
    assert f"{source} holds no JSON: each of its lines is a prompt as it is" in done.stderr.decode()
    assert [request.prompt.removeprefix("Be brief.\n\n") for request in sorted(server.requests, key=len_of)] == [
        "17",
        "Why?",
        "null",
        '"Hello," she said.',
    ]


def len_of(request: RecordedRequest) -> tuple[int, str]:
    return len(request.prompt), request.prompt


@pytest.mark.parametrize("one", [b'{"prompt": ', b"[1", b'"right"', b'{"prompt": "right"}'])
def test_one_line_that_is_or_tries_to_be_json_makes_all_of_them_json(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, one: bytes
) -> None:
    source.write_bytes(b"plain words\n" + one + b"\n")
    assert aichatfree("batch", str(source), "-o", str(output)).returncode == 1
    assert "line 1 is no JSON" in strict(output.read_bytes())[0]["error"]["message"]


def test_every_wrong_line_is_named_before_anything_is_asked(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    lines = ['"right"', *["wrong"] * 30, '{"prompt": ""}', '{"prompt": ["x"], "system": 5}', '"right"', "{"]
    source.write_text("\n".join(lines))
    done = aichatfree("batch", str(source), "-o", str(output))
    assert done.returncode == 1
    *told, rest, last = done.stderr.decode().splitlines()
    assert len(told) == 20
    assert told[0].startswith("aichatfree: line 2 is no JSON")
    assert rest == "aichatfree: 13 more lines ask nothing: lines 22-33 and 35"
    assert last.endswith("correct the lines named above, and the same command asks them again")
    results = {result["line"]: result for result in strict(output.read_bytes())}
    assert "is empty" in results[32]["error"]["message"]
    assert '"system" in line 33' in results[33]["error"]["message"]
    assert len(server.requests) == 2


def test_what_was_corrected_is_asked_and_nothing_else(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    source.write_text('"one"\n{"prompt": \n"three"\nwrong\n')
    assert aichatfree("batch", str(source), "-o", str(output)).returncode == 1
    source.write_text('"one"\n{"prompt": "two"}\n"three"\nwrong\n')
    done = aichatfree("batch", str(source), "-o", str(output))
    assert done.returncode == 1
    assert b"1 of them failed" in done.stderr
    assert [result["line"] for result in strict(output.read_bytes())] == [1, 2, 3, 4]
    assert sorted(request.prompt for request in server.requests) == ["one", "three", "two"]


def test_lines_that_changed_are_all_named(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    source.write_text("".join(f'"{number}"\n' for number in range(1, 9)))
    assert aichatfree("batch", str(source), "-o", str(output)).returncode == 0
    source.write_text("".join(f'"{number if number in (1, 3, 8) else -number}"\n' for number in range(1, 9)))
    done = aichatfree("batch", str(source), "-o", str(output))
    assert done.returncode == 2
    assert complaint(done) == (f"lines 2 and 4-7 of {source} are not the ones that {output} answers: give another -o")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("NaN", 1),
        ("-Infinity", 1),
        ("[1e400]", 1),
        ('{"a": [NaN]}', 1),
        ("9" * 5000, 1),
        ("12345678901234567890123", 12345678901234567890123),
        ("1e3", 1000.0),
        ('"\\ud800"', "\ud800"),
        ('"\\u0000"', "\0"),
        ("null", None),
        ("[]", []),
        ("-0.0", -0.0),
    ],
)
def test_an_id_comes_back_or_the_line_is_wrong(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, name: str, kept: object
) -> None:
    source.write_text(f'{{"id": {name}, "prompt": "Hi"}}\n')
    done = aichatfree("batch", str(source), "-o", str(output))
    (result,) = strict(output.read_bytes())
    assert result["id"] == kept
    assert done.returncode == (1 if "error" in result else 0)
    assert ("error" in result) == (kept == 1)


def test_ids_of_lines_before_are_told(aichatfree: Command, server: ScriptedServer, source: Path, output: Path) -> None:
    source.write_text('{"id": "x", "prompt": "1"}\n{"id": "y", "prompt": "2"}\n{"id": "x", "prompt": "3"}\n')
    done = aichatfree("batch", str(source), "-o", str(output))
    assert done.returncode == 0
    assert "warning: line 3 has an id of a line before" in done.stderr.decode()


def test_requests_of_openai_are_answered_as_there(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    lines = [
        request("a", temperature=0.5, max_tokens=5, tools=[], seed=1, stop=["?", "H"]),
        request("b", messages=[{"role": "developer", "content": "Short."}, {"role": "user", "content": "Hi"}]),
        request("c", messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], stop="e"),
        {"custom_id": "d", "body": {"messages": [{"role": "user", "content": "no method"}]}},
    ]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = aichatfree("batch", str(source), "-o", str(output), "--system", "Given.")
    assert (done.returncode, complaint(done)) == (0, f"all 4 lines are done, 0 of them failed: {output}")
    results = strict(output.read_bytes())
    assert [result["custom_id"] for result in results] == ["a", "b", "c", "d"]
    for result in results:
        assert set(result) == {"id", "custom_id", "response", "error"}
        assert result["error"] is None
        assert result["response"]["status_code"] == 200
        assert result["response"]["request_id"]
        body = result["response"]["body"]
        assert body["object"] == "chat.completion"
        assert body["choices"][0]["finish_reason"] == "stop"
        assert body["usage"]["total_tokens"] == 0
    assert [result["response"]["body"]["choices"][0]["message"]["content"] for result in results] == [
        "Re: Given.\n\n",
        "Re: Short.\n\nHi",
        "R",
        "Re: Given.\n\nno method",
    ]
    assert [result["response"]["body"]["model"] for result in results] == ["gpt-x", "gpt-x", "gpt-x", ""]
    before = output.read_bytes()
    assert aichatfree("batch", str(source), "-o", str(output), "--system", "Given.").returncode == 0
    assert (len(server.requests), output.read_bytes()) == (4, before)
    done = aichatfree("batch", str(source), "-o", str(output), "--system", "Other.")
    assert done.returncode == 2
    assert "system message" in complaint(done)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (request(5), '"custom_id" in line 1 must be a text'),
        (request(""), '"custom_id" in line 1 must be a text'),
        ({**request(), "method": "GET"}, '"method" in line 1 must be POST'),
        ({**request(), "url": "/v1/embeddings"}, "only /v1/chat/completions can be asked here"),
        ({**request(), "body": None}, 'line 1 needs a "body"'),
        ({"custom_id": "a"}, 'line 1 needs a "body"'),
        (request(messages="Hi"), 'line 1 needs a "body" with "messages"'),
        (request(messages=[]), "there are no messages"),
        (request(messages=["Hi", None]), "line 1: "),
        (request(messages=[{"role": "tool", "content": "x"}]), "'tool'"),
        (request(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "'image_url'"),
        (request(tools=[{"type": "function"}]), '"tools"'),
        (request(response_format={"type": "json_object"}), '"response_format"'),
        (request(n=2), '"n" must be 1'),
        (request(stop=5), '"stop"'),
    ],
)
def test_requests_that_cannot_be_asked_here(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, line: dict[str, Any], words: str
) -> None:
    source.write_text(json.dumps(line) + "\n")
    done = aichatfree("batch", str(source), "-o", str(output))
    assert done.returncode == 1
    assert words in done.stderr.decode().splitlines()[0]
    (result,) = strict(output.read_bytes())
    assert result["response"]["status_code"] == 400
    assert words in result["response"]["body"]["error"]["message"]
    assert words in result["error"]["message"]
    assert not server.requests


def test_tools_that_must_not_be_called_are_none(aichatfree: Command, server: ScriptedServer, source: Path) -> None:
    source.write_text(json.dumps(request(tools=[{"type": "function"}], tool_choice="none")) + "\n")
    assert aichatfree("batch", str(source), "-o", "-").returncode == 0


def test_a_request_that_fails_is_asked_again_when_wanted(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    source.write_text("".join(json.dumps(request(name)) + "\n" for name in "ab"))
    server.enqueue(Reply("Half", fault=Drop("in-body")))
    done = aichatfree("batch", str(source), "-o", str(output), "--concurrency", "1", "--retries", "0")
    assert done.returncode == 1
    assert complaint(done).endswith("; --retry-failed asks them again")
    first, second = strict(output.read_bytes())
    assert (first["response"]["status_code"], first["error"]["code"]) == (502, "StreamInterruptedError")
    assert second["error"] is None
    assert aichatfree("batch", str(source), "-o", str(output), "--retry-failed").returncode == 0
    assert [result["error"] for result in strict(output.read_bytes())] == [None, None]
    assert len(server.requests) == 3
