"""``aichatfree batch``: every line once, whatever happens in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

from .running import Command, complaint


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.default = lambda request: Reply(f"Re: {request.prompt}")
    return server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'"prompt {number}"\n' for number in range(1, 41)))
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_form_of_a_line_and_every_mistake(
    aichatfree: Command, server: ScriptedServer, tmp_path: Path, output: Path
) -> None:
    lines = [
        b'\xef\xbb\xbf"text"',
        '{"prompt": "Käse", "id": "ä", "note": 1}'.encode(),
        b"",
        b'{"prompt": "two", "system": "Be brief.", "id": null}',
        b'[{"role": "user", "content": "three"}]',
        b'{"messages": [{"role": "user", "parts": [{"text": "four"}]}], "id": {"a": 1}}\r',
        b'{"promt": "typo", "id": 7}',
        b"not JSON",
        b'{"prompt": "caf\xe9"}',
        b"17",
        b'{"prompt": "  ", "messages": []}',
        b'{"messages": [{"role": "robot", "content": "x"}], "id": "\\ud800"}',
        b"[" * 100_000,
        b'"the last line has no newline"',
    ]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\n".join(lines))
    done = aichatfree("batch", str(source), "-o", str(output))
    assert done.returncode == 1
    *told, last = done.stderr.decode().splitlines()
    assert [line.split(":")[1].split()[1] for line in told] == ["7", "8", "9", "10", "11", "12", "13"]
    assert last == (
        f"aichatfree: all 13 lines are done, 7 of them failed: {output}; "
        "correct the lines named above, and the same command asks them again"
    )
    found = {result["line"]: result for result in results(output)}
    assert list(found) == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert {line: result["text"] for line, result in found.items() if "text" in result} == {
        1: "Re: text",
        2: "Re: Käse",
        4: "Re: Be brief.\n\ntwo",
        5: "Re: three",
        6: "Re: four",
        14: "Re: the last line has no newline",
    }
    assert [found[line]["id"] for line in (1, 2, 4, 6, 7, 12)] == [1, "ä", None, {"a": 1}, 7, "\ud800"]
    assert "needs either" in found[7]["error"]["message"]
    assert "line 8 is no JSON" in found[8]["error"]["message"]
    assert "'robot'" in found[12]["error"]["message"]
    assert all(found[line]["attempts"] == 0 for line in (7, 8, 9, 10, 11, 12, 13))
    assert (found[1]["attempts"], found[1]["seconds"] >= 0) == (1, True)


def test_a_failing_line_does_not_stop_the_others(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    def answer(request: Any) -> Reply:
        if request.prompt == "prompt 3":
            return Reply("Half a", fault=Drop("in-body"))
        return Reply.error(400, "No.") if request.prompt == "prompt 5" else Reply("ok")

    server.default = answer
    done = aichatfree("batch", str(source), "-o", str(output), "--retries", "0")
    assert done.returncode == 1
    failed = {result["line"]: result for result in results(output) if "error" in result}
    assert {line: result["error"]["type"] for line, result in failed.items()} == {
        3: "StreamInterruptedError",
        5: "BadRequestError",
    }
    assert failed[3]["partial"] == "Half a"

    server.default = Reply("better")
    done = aichatfree("batch", str(source), "-o", str(output), "--retry-failed")
    assert done.returncode == 0
    assert [result["line"] for result in results(output) if result["text"] == "better"] == [3, 5]
    assert [result["line"] for result in results(output)] == list(range(1, 41))


@pytest.mark.parametrize("order", [[], ["--as-completed"]])
def test_the_order_of_the_results(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, order: list[str]
) -> None:
    server.default = lambda request: Reply([Pause(0.5 if request.prompt == "prompt 1" else 0), "ok"])
    assert aichatfree("batch", str(source), "-o", str(output), *order).returncode == 0
    lines = [result["line"] for result in results(output)]
    assert sorted(lines) == list(range(1, 41))
    assert (lines[0] == 1) == (not order)


def test_as_many_at_once_as_asked_for(aichatfree: Command, server: ScriptedServer, source: Path, output: Path) -> None:
    most = 0

    def answer(request: Any) -> Reply:
        nonlocal most
        most = max(most, server.connections)
        return Reply([Pause(0.02), "ok"])

    server.default = answer
    assert aichatfree("batch", str(source), "-o", str(output), "--concurrency", "3").returncode == 0
    assert most == 3


def run_until(process: subprocess.Popen[bytes], output: Path, lines: int) -> None:
    """Wait until so many results are there."""
    deadline = time.monotonic() + 30
    while not output.exists() or output.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_after_an_interruption_the_same_command_goes_on(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, number: signal.Signals
) -> None:
    server.default = lambda request: Reply([Pause(0.02), f"Re: {request.prompt}"])
    command = ("batch", str(source), "-o", str(output), "--concurrency", "2")
    finished: dict[int, str] = {}
    for at_least in (5, 15, 25):
        with aichatfree.start(*command, stdin=subprocess.DEVNULL) as process:
            run_until(process, output, at_least)
            process.send_signal(number)
            error = process.communicate(timeout=20)[1].decode()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert error.startswith("aichatfree: stopped with ")
            assert "the same command goes on" in error
        whole = [line for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]
        now = {json.loads(line)["line"]: line for line in whole}
        assert finished.items() <= now.items()  # none lost, none done anew
        finished = now
    assert aichatfree(*command).returncode == 0
    assert [result["line"] for result in results(output)] == list(range(1, 41))
    assert all(result["text"] == f"Re: prompt {result['line']}" for result in results(output))
    # Only what was on its way when a run was interrupted, or had just come and was not written yet, was asked twice:
    # at most twice the concurrency.
    assert len(server.requests) <= 40 + 3 * 4


@pytest.mark.parametrize(
    "torn",
    ids=["cut", "brace", "zeros", "half a character"],
    argvalues=[b'{"line": 3, "id": 3, "te', b"{", b"\0" * 50, b'{"line": 3, "id": 3, "text": "\xc3'],
)
def test_a_torn_last_line_is_done_anew(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, torn: bytes
) -> None:
    command = ("batch", str(source), "-o", str(output))
    assert aichatfree(*command).returncode == 0
    whole = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join(whole[:2]) + torn)
    before = len(server.requests)
    assert aichatfree(*command).returncode == 0
    assert len(server.requests) - before == 38
    assert output.read_bytes().splitlines(keepends=True)[:2] == whole[:2]
    assert [result["line"] for result in results(output)] == list(range(1, 41))


def test_a_finished_batch_asks_nothing_again(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    command = ("batch", str(source), "-o", str(output))
    aichatfree(*command)
    before = output.read_bytes()
    assert aichatfree(*command).returncode == 0
    assert (len(server.requests), output.read_bytes()) == (40, before)
    source.write_text(source.read_text() + '"one more"\n')
    assert aichatfree(*command).returncode == 0
    assert len(server.requests) == 41
    assert output.read_bytes().startswith(before)


def test_all_wait_while_the_quota_is_used_up(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    refused: list[float] = []
    answered: list[float] = []

    def answer(request: Any) -> Reply:
        if not refused:
            refused.append(time.monotonic())
            return Reply.quota(retry_in=1)
        answered.append(time.monotonic())
        return Reply("ok")

    server.default = answer
    done = aichatfree("batch", str(source), "-o", str(output), "--concurrency", "1")
    assert done.returncode == 0
    assert min(answered) - refused[0] >= 0.9
    assert results(output)[0]["attempts"] == 2


def test_the_rate_is_kept(aichatfree: Command, server: ScriptedServer, tmp_path: Path, output: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('"a"\n"b"\n"c"\n"d"\n')
    times: list[float] = []

    def answer(request: Any) -> Reply:
        times.append(time.monotonic())
        return Reply("ok")

    server.default = answer
    assert aichatfree("batch", str(source), "-o", str(output), "--max-rate", "300").returncode == 0
    assert max(times) - min(times) >= 0.55


@pytest.mark.parametrize(
    "trouble",
    [Reply.quota(retry_in=0.01), Reply.wrong_password(), Reply.overloaded(), Reply.html(404, "nginx"), None],
)
def test_a_server_in_trouble_stops_the_batch_and_no_line_is_spent(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, trouble: Reply | None
) -> None:
    url = server.url if trouble else "http://127.0.0.1:1"
    if trouble:
        server.default = lambda request: trouble if int(request.prompt.split()[1]) > 10 else Reply("ok")
    done = aichatfree(
        "batch", str(source), "-o", str(output), "--retries", "0", "--concurrency", "2", "--base-url", url
    )
    assert done.returncode == 1
    assert complaint(done).startswith(f"stopped with {10 if trouble else 0} of 40 done: ")
    assert len(results(output)) == (10 if trouble else 0)

    server.default = Reply("ok")
    assert aichatfree("batch", str(source), "-o", str(output)).returncode == 0
    assert [result["line"] for result in results(output)] == list(range(1, 41))


def test_a_refusal_that_only_some_lines_meet_is_their_result(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    server.default = lambda request: Reply.html(403, "cloudflare") if request.prompt.endswith("1") else Reply("ok")
    assert aichatfree("batch", str(source), "-o", str(output), "--concurrency", "1").returncode == 1
    failed = [result["line"] for result in results(output) if "error" in result]
    assert failed == [1, 11, 21, 31]


def test_stdin_is_a_source(aichatfree: Command, server: ScriptedServer, output: Path) -> None:
    command = ("batch", "-", "-o", str(output))
    assert aichatfree(*command, stdin=b'"a"\n"b"\n').returncode == 0
    assert aichatfree(*command, stdin=b'"a"\n"b"\n"c"\n').returncode == 0
    assert [result["text"] for result in results(output)] == ["Re: a", "Re: b", "Re: c"]
    assert len(server.requests) == 3


def test_a_system_message_from_the_config_file_goes_along(
    aichatfree: Command, server: ScriptedServer, tmp_path: Path, output: Path
) -> None:
    (tmp_path / "c.toml").write_text('system = "Be brief."')
    command = ("batch", "-", "-o", str(output), "--config", str(tmp_path / "c.toml"), "--concurrency", "1")
    own = b'{"messages": [{"role": "system", "content": "Own."}, {"role": "user", "content": "b"}]}'
    assert aichatfree(*command, stdin=b'"a"\n' + own).returncode == 0
    assert [request.prompt for request in server.requests] == ["Be brief.\n\na", "Own.\n\nb"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("other line", "line 2 of {source} is not the one that {output} answers: give another -o"),
        ("fewer lines", "{output} answers line 2, which {source} has not: give another -o"),
        ("other file", "line 1 of {output} is no result of a batch: give another -o"),
        ("torn by others", "line 41 of {output} is no result of a batch: give another -o"),
        ("same file", "the input and -o are the same file: give -o another"),
        ("folder", "{output} is no file: give -o the path of a file to write"),
        ("no folder", "cannot write {output}/x: Not a directory"),
        ("no input", "cannot read {source}: No such file or directory: give a file with one prompt a line"),
        ("no rate", "--max-rate is -1.0: give requests a minute"),
    ],
)
def test_a_mistake_is_refused_and_nothing_is_overwritten(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, change: str, words: str
) -> None:
    aichatfree("batch", str(source), "-o", str(output))
    arguments = [str(source), "-o", str(output)]
    expected = words.format(source=source, output=output)
    if change == "other line":
        source.write_text(source.read_text().replace("prompt 2", "prompt zwei", 1))
    elif change == "fewer lines":
        source.write_text('"prompt 1"\n')
    elif change == "other file":
        output.write_text("my notes, which must stay")
    elif change == "torn by others":
        output.write_text(output.read_text() + "my notes")
    elif change == "same file":
        arguments[2] = str(source.parent / "." / source.name)
    elif change == "folder":
        output.unlink()
        output.mkdir()
    elif change == "no folder":
        arguments[2] = f"{output}/x"
    elif change == "no input":
        source.unlink()
    else:
        arguments += ["--max-rate", "-1"]
    before = output.read_bytes() if output.is_file() else b""
    asked = len(server.requests)
    done = aichatfree("batch", *arguments)
    assert done.returncode == 2
    assert complaint(done) == expected
    assert (output.read_bytes() if output.is_file() else b"") == before
    assert len(server.requests) == asked


def test_two_batches_do_not_write_one_file(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    server.default = Reply(["never", Pause(None)])
    with aichatfree.start("batch", str(source), "-o", str(output), stdin=subprocess.DEVNULL) as first:
        server.wait_requests(1)
        second = aichatfree("batch", str(source), "-o", str(output))
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert "another batch is writing" in complaint(second)


def test_a_full_disk_is_told_and_leaves_whole_lines(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    # A limit on the size of files is the disk that is full after 2 kB.
    script = 'ulimit -f 2 && exec "$@"'

    command = [sys.executable, "-m", "aichatfree", "batch", str(source), "-o", str(output)]
    env = {name: value for name, value in aichatfree.env.items() if not name.startswith("COVERAGE")}  # it needs files
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *command], env=env, capture_output=True, check=False)
    assert done.returncode == 1
    assert "File too large" in complaint(done)
    assert 0 < len(results(output)) < 40
    assert aichatfree("batch", str(source), "-o", str(output)).returncode == 0
    assert [result["line"] for result in results(output)] == list(range(1, 41))


@pytest.mark.parametrize("columns", [80, 40])
def test_the_progress_is_shown_on_a_terminal(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, columns: int
) -> None:
    server.default = lambda request: Reply([Pause(0.05), "ok"])
    with aichatfree.person("batch", str(source), "-o", str(output), "--concurrency", "2", columns=columns) as person:
        shown = person.look("/min")
        assert "/40" in shown
        assert person.wait() == 0
    assert "all 40 lines are done, 0 of them failed" in person.text.replace("\n", " ")
    assert "/min" not in person.text  # the bar goes when it has said all
