"""The output of a batch: stdout, files that are not ours, and what would fail at the end fails at the beginning."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aichatfree.testing import Pause, Reply, ScriptedServer

from .running import Command, complaint

WITHOUT_CAPABILITIES = """
import ctypes, os, sys
for capability in (1, 2, 3): ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""For root, too, a folder is read-only once these are gone."""


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.default = lambda request: Reply(f"Re: {request.prompt}")
    return server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'"{number}"\n' for number in range(1, 6)))
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def results(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.parametrize("order", [[], ["--as-completed"]])
def test_stdout_bears_the_results_and_nothing_else(
    aichatfree: Command, server: ScriptedServer, source: Path, order: list[str]
) -> None:
    server.default = lambda request: Reply([Pause(0.5 if request.prompt == "1" else 0), "Käse \x9b"])
    done = aichatfree("batch", str(source), "-o", "-", *order, cwd=source.parent)
    assert (done.returncode, complaint(done)) == (0, "all 5 lines are done, 0 of them failed")
    lines = [result["line"] for result in results(done.stdout)]
    assert sorted(lines) == [1, 2, 3, 4, 5]
    assert (lines[0] == 1) == (not order)
    assert "Käse \x9b".encode() in done.stdout
    assert not (source.parent / "-").exists()


def test_stdout_that_is_a_terminal_is_not_commanded(aichatfree: Command, server: ScriptedServer, source: Path) -> None:
    server.default = Reply("a\x1b]0;owned\x07b")
    with aichatfree.person("batch", str(source), "-o", "-") as person:
        assert person.wait() == 0
    assert b"\x1b]0" not in person.raw


def test_stdout_whose_reader_goes_away(aichatfree: Command, server: ScriptedServer, source: Path) -> None:
    server.default = lambda request: Reply([Pause(0.0 if request.prompt == "1" else 1.0), "x" * 100_000])
    with aichatfree.start("batch", str(source), "-o", "-", stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read().decode()
        process.wait(30)
    assert "Traceback" not in errors
    assert "fault of this program" not in errors


def test_results_that_were_held_for_the_order_come_when_the_batch_stops(
    aichatfree: Command, server: ScriptedServer, source: Path
) -> None:
    server.default = lambda request: Reply([Pause(None) if request.prompt == "1" else "", "ok"])
    command = ("batch", str(source), "-o", "-", "--concurrency", "2")
    with aichatfree.start(*command, stdin=subprocess.DEVNULL) as process:
        server.wait_requests(5)  # one line is asked after the other, but for the first
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    lines = [result["line"] for result in results(out)]
    assert {2, 3} <= set(lines) <= {2, 3, 4, 5}
    assert lines == sorted(lines)


def test_stdout_knows_no_earlier_run(aichatfree: Command, server: ScriptedServer, source: Path) -> None:
    done = aichatfree("batch", str(source), "-o", "-", "--retry-failed")
    assert (done.returncode, b"--retry-failed needs an earlier run" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\n",
        b"\0" * 50,
        b'{"line": ',
        b'{"line": 1, "id": 1, "te',
        b'{"line": 1, "poem": "mine"}',
        b'{"line": 1, "poem": "mine"}\n',
        b'{"line": true, "input": "x"}\n',
        b'{"id": "batch_req_1"}\n',
        b'{"id": "batch_req_abc", "custom_id": "a", "response": {}, "error": null}\n',
        b"my notes",
    ],
)
def test_what_no_batch_wrote_stays_as_it_is(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, content: bytes
) -> None:
    output.write_bytes(content)
    for more in ([], ["--as-completed"], ["--retry-failed"]):
        done = aichatfree("batch", str(source), "-o", str(output), *more)
        assert done.returncode == 2
        assert complaint(done) == f"line 1 of {output} is no result of a batch: give another -o"
        assert output.read_bytes() == content
    assert not server.requests


@pytest.mark.parametrize("how", ["same", "symlink", "hard link", "stdin", "stdout"])
def test_the_input_is_never_the_output(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, how: str
) -> None:
    before = source.read_bytes()
    args, options = ["batch", str(source), "-o", str(output)], {}
    if how == "same":
        args[-1] = f"{source.parent}/./{source.name}"
    elif how == "symlink":
        output.symlink_to(source)
    elif how == "hard link":
        os.link(source, output)
    elif how == "stdin":
        output.symlink_to(source)
        args[1] = "-"
        options["stdin"] = source.open("rb")
    else:
        args[-1] = "-"
        options.update(stdout=source.open("ab"), stderr=subprocess.PIPE)
    if how == "stdin":
        file = options.pop("stdin")
        done = subprocess.run(
            [sys.executable, "-m", "aichatfree", *args], stdin=file, capture_output=True, env=aichatfree.env, timeout=50
        )
        file.close()
    else:
        done = aichatfree(*args, **options)
    if "stdout" in options:
        options["stdout"].close()
    assert done.returncode == 2
    assert complaint(done) == "the input and -o are the same file: give -o another"
    assert source.read_bytes() == before
    assert not server.requests


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("more", [[], ["--as-completed"]])
def test_a_folder_that_cannot_be_written(
    aichatfree: Command, server: ScriptedServer, tmp_path: Path, more: list[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "in.jsonl").write_text('"b"\n"a"\n')
    (folder / "out.jsonl").touch()
    folder.chmod(0o555)
    command = ("batch", "in.jsonl", "-o", "out.jsonl", *more)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_CAPABILITIES, "-m", "aichatfree", *command],
            env={**aichatfree.env, "PYTHONPATH": str(Path.cwd())},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=40,
        )
    finally:
        folder.chmod(0o755)
    if more:  # nothing has to be replaced
        assert done.returncode == 0, done.stderr
        assert len(results((folder / "out.jsonl").read_bytes())) == 2
    else:
        assert done.returncode == 2
        assert f"the folder {folder} cannot be written" in complaint(done)
        assert not server.requests
    assert sorted(path.name for path in folder.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_and_a_mounted_file(aichatfree: Command, server: ScriptedServer, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    inside = f"""
mount -t tmpfs -o size=64k none {place} || exit 99
echo '"one"' > {tmp_path}/in.jsonl
head -c 60000 /dev/zero > {place}/filler
$BATCH {tmp_path}/in.jsonl -o {place}/out.jsonl; echo "full $?"
rm {place}/filler
touch {tmp_path}/mounted.jsonl {place}/mounted.jsonl
mount --bind {place}/mounted.jsonl {tmp_path}/mounted.jsonl || exit 99
$BATCH {tmp_path}/in.jsonl -o {tmp_path}/mounted.jsonl; echo "mounted $?"
$BATCH {tmp_path}/in.jsonl -o {tmp_path}/mounted.jsonl --as-completed; echo "as completed $?"
"""
    env = {name: value for name, value in aichatfree.env.items() if not name.startswith("COVERAGE")}
    env["BATCH"] = f"{sys.executable} -m aichatfree batch"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside], env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=50
    )
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    assert done.stdout.decode().splitlines() == ["full 2", "mounted 2", "as completed 0"]
    full, mounted, _ = done.stderr.decode().splitlines()
    assert "No space left on device; make room" in full
    assert "is mounted and cannot be replaced" in mounted
    assert len(server.requests) == 1


def test_results_of_an_earlier_run_can_be_refused(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path
) -> None:
    command = ("batch", str(source), "-o", str(output))
    assert aichatfree(*command, "--no-resume").returncode == 0
    before = output.read_bytes()
    done = aichatfree(*command, "--no-resume")
    assert done.returncode == 2
    assert "has results already" in complaint(done)
    assert aichatfree(*command, "--resume").returncode == 0
    assert (output.read_bytes(), len(server.requests)) == (before, 5)


@pytest.mark.parametrize("form", ["own", "openai"])
def test_killed_at_any_moment_it_goes_on_and_asks_little_twice(
    aichatfree: Command, server: ScriptedServer, source: Path, output: Path, form: str
) -> None:
    lines = 30
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    source.write_text(
        "".join(
            (json.dumps({"custom_id": str(number), "body": body}) if form == "openai" else f'"{number}"') + "\n"
            for number in range(lines)
        )
    )
    server.default = lambda request: Reply([Pause(0.01), "x" * 20_000])
    command = ("batch", str(source), "-o", str(output), "--concurrency", "2", "--rate", "6000")
    chance = random.Random(form)
    finished: set[bytes] = set()
    kills = 0
    while kills < 8:
        with aichatfree.start(*command, stdin=subprocess.DEVNULL) as process:
            before = len(server.requests)
            deadline = time.monotonic() + 30
            while process.poll() is None and len(server.requests) < before + chance.randint(0, 4):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(chance.random() * 0.05)
            process.kill()
            process.communicate()
        kills += 1
        now = (
            {line for line in output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")}
            if output.exists()
            else set()
        )
        assert finished <= now
        finished = now
    done = aichatfree(*command)
    assert done.returncode == 0, done.stderr
    final = results(output.read_bytes())
    assert [int(result.get("custom_id", result.get("line", 0))) for result in final] == [
        number + (form == "own") for number in range(lines)
    ]
    assert finished <= set(output.read_bytes().splitlines(keepends=True))
    assert len(server.requests) <= lines + kills * 4
    assert not list(output.parent.glob(".out.jsonl.*")) or kills


def test_a_log_file_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from aichatfree.cli import batch_progress
    from aichatfree.cli.batch_output import Stdout

    monkeypatch.setattr(batch_progress, "_FIRST", 0.01)
    results = Stdout(None)
    results.digests.update({1: "a", 2: "b"})
    results.failed.add(2)
    with batch_progress.progress_of(10, results) as progress:
        progress.update()
        seen = ""
        deadline = time.monotonic() + 20
        while seen.count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
            seen += capsys.readouterr().err
            if seen:
                results.digests[3] = "c"
    first, second = seen.splitlines()[:2]
    assert first == "aichatfree: 2 of 10 done, 1 of them failed, 0 a minute"
    assert second.startswith("aichatfree: 3 of 10 done, 1 of them failed, ")
    assert second.endswith(" s left")
