"""What the shells complete, in the real shells. One that is not installed is skipped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pexpect
import pyte
import pytest

from aichatfree.cli.completers import add_completions
from aichatfree.cli.ollama_models import ollama_models
from aichatfree.testing import Reply, ScriptedServer

from .running import Command

WORDS = [
    ("aichatfree bat", "aichatfree batch "),
    ("aichatfree ask --js", "aichatfree ask --json "),
    ("aichatfree batch prom", "aichatfree batch prompts.jsonl "),
    ("aichatfree ask --file prom", "aichatfree ask --file prompts.jsonl "),
    ("aichatfree ask -f prom", "aichatfree ask -f prompts.jsonl "),
    ("aichatfree ask prom", "aichatfree ask prompts.jsonl "),
    ("aichatfree batch prompts.jsonl -o ./prom", "aichatfree batch prompts.jsonl -o ./prompts.jsonl "),
    ("aichatfree ask --config prom", "aichatfree ask --config prompts.jsonl "),
    ("aichatfree history exp", "aichatfree history export "),
    ("aichatfree history show la", "aichatfree history show last "),
    ("aichatfree history show 2", "aichatfree history show {id} "),
    ("aichatfree history delete 2", "aichatfree history delete {id} "),
    ("aichatfree chat --resume 2", "aichatfree chat --resume {id} "),
    ("aichatfree chat --resume prom", "aichatfree chat --resume prompts.jsonl "),
    ("aichatfree completion z", "aichatfree completion zsh "),
]


@pytest.fixture
def place(aichatfree: Command, server: ScriptedServer, tmp_path: Path) -> tuple[Path, dict[str, str], str]:
    """A folder with a file, the environment of a shell, and the id of a conversation."""
    server.default = Reply("ok")
    assert aichatfree("ask", "one\x1b]0;owned\x07").returncode == 0
    ((name, *_),) = (line.split() for line in aichatfree("history").stdout.decode().splitlines())
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "prompts.jsonl").touch()
    program = tmp_path / "bin" / "aichatfree"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m aichatfree "$@"\n')
    program.chmod(0o755)
    env = {
        **aichatfree.env,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path.cwd()),
        "PS1": "$ ",
        "TERM": "xterm",
        "INPUTRC": "/dev/null",
        "AICHATFREE_BASE_URL": "",
    }
    return folder, env, name


class Shell:
    """A shell on a terminal that is wide enough for every line."""

    def __init__(self, args: list[str], folder: Path, env: dict[str, str]) -> None:
        self._screen = pyte.Screen(200, 50)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._process = pexpect.spawn(args[0], args[1:], env=env, cwd=str(folder), dimensions=(50, 200), timeout=20)  # type: ignore[arg-type]

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.close(force=True)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def type(self, text: str) -> None:
        self._process.send(text)

    def look(self, words: str) -> None:
        deadline = time.monotonic() + 20
        while not self.text.endswith(words):
            assert time.monotonic() < deadline, f"{words!r} is not the end of this screen:\n{self.text}"
            try:
                data = self._process.read_nonblocking(65536, timeout=0.1)
            except pexpect.TIMEOUT:
                continue
            self.raw += data
            self._stream.feed(data)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(aichatfree completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        "PS1='$ '; unsetopt prompt_sp; autoload -U compinit; compinit -u -D; eval \"$(aichatfree completion zsh)\"",
    ),
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", SHELLS)
def test_in_a_shell_at_a_terminal(place: tuple[Path, dict[str, str], str], name: str) -> None:
    folder, env, record = place
    args, start = SHELLS[name]
    if shutil.which(args[0]) is None:
        pytest.skip(f"{name} is not installed")
    with Shell(args, folder, env) as shell:
        shell.look("$")
        shell.type(f"{start}; clear; echo rea''dy\r")
        shell.look("ready\n$")
        for typed, completed in WORDS:
            shell.type(typed + "\t")
            shell.type("Q")  # it shows where the cursor is, and that the shell is done
            shell.look(f"$ {completed.format(id=record)}Q")
            shell.type("\x03")
            shell.look("$")
        assert b"\x1b]0;owned" not in shell.raw


def test_in_fish(place: tuple[Path, dict[str, str], str]) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    folder, env, record = place
    asked = "; ".join(f"echo ==; complete -C '{typed}'" for typed, _ in WORDS)
    done = subprocess.run(
        [fish, "--no-config", "-c", f"aichatfree completion fish | source; {asked}"],
        env=env,
        cwd=folder,
        capture_output=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout
    answers = done.stdout.decode().split("==\n")[1:]
    assert len(answers) == len(WORDS)
    for answer, (typed, completed) in zip(answers, WORDS, strict=True):
        words = [line.split("\t")[0] for line in answer.splitlines()]
        wanted = completed.format(id=record).split()[-1]
        assert wanted.removeprefix("./") in [word.removeprefix("./") for word in words], (typed, words)


def completions(aichatfree: Command, words: str, **env: str) -> list[str]:
    """What bash is told for a line that is being typed."""
    count = str(len(words.split(" ")) - 1)
    asked = {"_AICHATFREE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count, **env}
    done = aichatfree(env=asked)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    "words", ["aichatfree nonsense ", "aichatfree history nonsense ", "aichatfree ask --nonsense "]
)
def test_nonsense_is_completed_in_silence(aichatfree: Command, words: str) -> None:
    completions(aichatfree, words)


def test_a_config_file_and_a_history_that_are_broken_do_not_matter(aichatfree: Command, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    config = tmp_path / "config.toml"
    config.write_text("nonsense")
    assert completions(aichatfree, "aichatfree history show ", AICHATFREE_CONFIG=str(config)) == [""]
    assert completions(aichatfree, "aichatfree ask --js", AICHATFREE_CONFIG=str(config)) == ["plain,--json"]


def test_models_are_completed_by_the_names_of_options() -> None:
    @click.command()
    @click.option("--model")
    @click.option("--name", multiple=True)
    @click.option("--upstream")
    @click.option("--prompt", type=click.Choice(["a"]))
    def command() -> None:
        """Nothing."""

    add_completions(command)
    context = click.Context(command)
    found = {param.name: [item.value for item in param.shell_complete(context, "g")] for param in command.params}
    assert "gemini-2.5-flash" in found["model"]
    assert found["name"] == found["model"]
    assert found["upstream"] == ["gemini"]
    assert found["prompt"] == []


class Ollama:
    """Answers every request alike, and keeps the connection open after that if it is to be slow."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.answer = b""
        self.slow = False
        self.asked: list[bytes] = []
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def tell(self, body: object, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.answer = b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self.asked.append(connection.recv(65536).partition(b"\r\n")[0])
                    connection.sendall(self.answer)
                    if self.slow:
                        self._over.wait(20)

    def close(self) -> None:
        self._over.set()
        self._socket.close()


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    running = Ollama()
    yield running
    running.close()


MODEL = "aichatfree serve --upstream ollama:{url} --model "


def test_the_models_of_an_ollama(aichatfree: Command, ollama: Ollama) -> None:
    names = ["qwen3:4b", "llama3.2:latest", "hf.co/a/B-c:Q4_K_M", "a b", "x\nplain,y", "$(id)", "\x1b[31m"]
    ollama.tell({"models": [{"name": name} for name in names]})
    words = MODEL.format(url=ollama.url)
    assert completions(aichatfree, words) == ["plain,hf.co/a/B-c:Q4_K_M", "plain,llama3.2", "plain,qwen3:4b"]
    assert completions(aichatfree, words + "qw") == ["plain,qwen3:4b"]
    assert ollama.asked == [b"GET /api/tags HTTP/1.1"] * 2


def test_words_that_bash_has_split_at_colons(aichatfree: Command, ollama: Ollama) -> None:
    ollama.tell({"models": [{"name": name} for name in ("qwen3:4b", "qwen3:8b", "hf.co/a/B-c:Q4_K_M")]})
    before = MODEL.format(url=ollama.url.replace(":", " : "))
    assert " : //127.0.0.1 : " in before
    assert completions(aichatfree, before) == ["plain,hf.co/a/B-c:Q4_K_M", "plain,qwen3:4b", "plain,qwen3:8b"]
    assert completions(aichatfree, before + "qwen3 :") == ["plain,4b", "plain,8b"]
    assert completions(aichatfree, before + "qwen3 : 4") == ["plain,4b"]
    assert completions(aichatfree, "aichatfree serve --upstream openai :") == ["plain,"]
    assert len(ollama.asked) == 3


@pytest.mark.timeout(180)
def test_a_model_with_a_colon_in_bash(place: tuple[Path, dict[str, str], str], ollama: Ollama) -> None:
    ollama.tell({"models": [{"name": "qwen3:4b"}, {"name": "qwen3:8b"}]})
    folder, env, _ = place
    args, start = SHELLS["bash"]
    if shutil.which(args[0]) is None:
        pytest.skip("bash is not installed")
    with Shell(args, folder, env) as shell:
        shell.look("$")
        shell.type(f"{start}; clear; echo rea''dy\r")
        shell.look("ready\n$")
        shell.type(MODEL.format(url=ollama.url) + "qw\t")
        shell.look("--model qwen3:")
        shell.type("8\tQ")
        shell.look("--model qwen3:8b Q")


@pytest.mark.parametrize("body", [{"models": [{"name": 1}]}, {"models": None}, {"error": "no"}, [], None, "x", [[]]])
def test_what_is_no_ollama_has_no_models(ollama: Ollama, body: object) -> None:
    ollama.tell(body)
    assert ollama_models(ollama.url) == []
    ollama.tell({"models": [{"name": "a"}]}, 404)
    assert ollama_models(ollama.url + "/") == []
    for broken in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"x" * 100_000, b"[" * 100_000):
        ollama.answer = broken
        assert ollama_models(ollama.url) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "nonsense", "http://[", "http://127.0.0.1:x"])
def test_an_ollama_that_is_not_there_is_silence(aichatfree: Command, url: str) -> None:
    assert completions(aichatfree, MODEL.format(url=url)) == [""]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_one_that_does_not_come_to_an_end_holds_nobody_up(ollama: Ollama, answer: bytes) -> None:
    ollama.slow, ollama.answer = True, answer
    assert ollama_models(ollama.url, limit_seconds=0.2) == []
    assert ollama.asked


def test_other_upstreams_have_other_models(aichatfree: Command) -> None:
    gemini = completions(aichatfree, "aichatfree serve --upstream gemini --model ")
    assert "plain,gemini-2.5-flash" in gemini
    assert completions(aichatfree, "aichatfree serve --model ") == gemini
    assert completions(aichatfree, "aichatfree serve --upstream openai:http://127.0.0.1:1/v1 --model ") == [""]


@pytest.fixture(autouse=True)
def no_shell_of_ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ZDOTDIR", raising=False)
    yield
