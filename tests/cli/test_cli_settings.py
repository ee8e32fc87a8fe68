"""Where settings come from, the help texts, and the command without its libraries."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click.testing import CliRunner

from aichatfree.cli import main
from aichatfree.cli.program import COMMANDS, program
from aichatfree.testing import ScriptedServer

from .running import Command, complaint


@pytest.fixture
def config(aichatfree: Command) -> Path:
    path = aichatfree.home / "config" / "aichatfree" / "config.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    return path


def test_options_go_before_the_environment_before_the_file(
    aichatfree: Command, server: ScriptedServer, config: Path
) -> None:
    config.write_text(f'base_url = "{server.url}"\npassword = "from the file"\nsystem = "Be brief."\ntimeout = 5\n')
    del aichatfree.env["AICHATFREE_BASE_URL"]
    assert aichatfree("ask", "one").returncode == 0
    env = {"AICHATFREE_PASSWORD": "from the environment"}
    assert aichatfree("ask", "two", env=env).returncode == 0
    assert aichatfree("ask", "--password", "given", "--system", "", "three", env=env).returncode == 0
    assert aichatfree("ask", "four", env={"AICHATFREE_PASSWORD": ""}).returncode == 0
    assert [request.json["pass"] for request in server.requests] == [
        "from the file",
        "from the environment",
        "given",
        None,
    ]
    assert [request.prompt for request in server.requests][1:3] == ["Be brief.\n\ntwo", "three"]


@pytest.mark.parametrize("how", ["option", "variable"])
def test_another_config_file_may_be_named(
    aichatfree: Command, server: ScriptedServer, config: Path, tmp_path: Path, how: str
) -> None:
    config.write_text("this is no TOML")
    (tmp_path / "other.toml").write_text('\ufeffsecret = "s3cret"\n', "utf-8")
    (tmp_path / "other.toml").chmod(0o600)
    args = ["--config", "other.toml"] if how == "option" else []
    env = {"PYTHONPATH": str(Path.cwd()), **({} if args else {"AICHATFREE_CONFIG": "other.toml"})}
    done = aichatfree("ask", *args, "x", cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr.decode()[:30]) == (1, "aichatfree: HTTP 401 (Invalid ")


def test_a_password_that_others_can_read_is_told_and_used(
    aichatfree: Command, server: ScriptedServer, config: Path
) -> None:
    config.write_text('password = "pa55"')
    config.chmod(0o644)
    done = aichatfree("ask", "x")
    assert done.returncode == 0
    assert complaint(done) == (
        f"warning: {config} holds a password or secret, and others can read it: run chmod 600 {config}"
    )
    config.write_text("timeout = 5")
    assert aichatfree("ask", "x").stderr == b""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"base_url = ", "is no TOML (Invalid value"),
        (b"base_url = 'ftp://x'", "config.toml: base_url 'ftp://x' must begin with http://"),
        (b"timeout = '5'", "must be a number of seconds"),
        (b"timeout = true", "must be a number of seconds"),
        (b"timeout = 0", "timeout is 0: give seconds as a positive number"),
        (b"password = 5", "must be a text in quotes"),
        (b"passwort = 'x'", "has the unknown setting 'passwort': there are base_url"),
        (b"[server]\nbase_url = 'x'", "has the unknown setting 'server'"),
        (b"proxy = 'ftp://x'", "must begin with http://, https://, socks5://"),
        (b"password = '\xe9'", "is no UTF-8"),
        (None, "Is a directory"),
    ],
)
def test_a_config_file_that_cannot_be_used(
    aichatfree: Command, server: ScriptedServer, config: Path, text: bytes | None, words: str
) -> None:
    del aichatfree.env["AICHATFREE_BASE_URL"]
    if text is None:
        config.unlink()
        config.mkdir()
    else:
        config.write_bytes(text)
    done = aichatfree("ask", "x")
    assert done.returncode == 2
    assert words in complaint(done)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_says_what_there_is(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/the/config")
    for option in ("--help", "-h"):
        result = CliRunner().invoke(program, [*command, option])
        assert result.exit_code == 0
        assert "Usage:" in result.output
        assert "aichatfree" in result.output
    if not command:
        assert all(name in result.output for name in COMMANDS)
        assert "AICHATFREE_BASE_URL" in result.output
        assert str(Path("/the/config/aichatfree/config.toml")) in result.output


@pytest.mark.parametrize("command", ["ask", "chat", "check", "batch", "serve"])
def test_help_warns_of_secrets_on_the_command_line(command: str) -> None:
    text = " ".join(CliRunner().invoke(program, [command, "--help"]).output.split())
    assert text.count("Other users of this machine can see it on the command line; - asks for it.") == 2


def test_no_command_shows_the_help_and_fails() -> None:
    result = CliRunner().invoke(program, [])
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_the_version() -> None:
    from aichatfree import __version__

    result = CliRunner().invoke(program, ["--version"])
    assert (result.exit_code, result.output) == (0, f"aichatfree {__version__}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(program, ["completion", shell])
    assert result.exit_code == 0
    assert f"_AICHATFREE_COMPLETE={shell}_complete" in result.output


def test_the_shell_gets_completions(aichatfree: Command) -> None:
    env = {"_AICHATFREE_COMPLETE": "bash_complete", "COMP_WORDS": "aichatfree ask --pa", "COMP_CWORD": "2"}
    done = aichatfree(env=env)
    assert (done.returncode, done.stdout) == (0, b"plain,--password\n")


@pytest.mark.parametrize(
    ("package", "command"),
    [("click", "ask x"), ("rich", "ask x"), ("prompt_toolkit", "chat")],
)
def test_without_its_libraries_the_command_says_how_to_get_them(
    aichatfree: Command, package: str, command: str
) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from aichatfree.cli import main; sys.exit(main())"
    env: Any = {**aichatfree.env, "TERM": "xterm"}
    output, status = pexpect.run(
        f"{sys.executable} -c {shlex.quote(script)} {command}", env=env, withexitstatus=True, timeout=20
    )
    assert status == 1
    last = output.decode().splitlines()[-1]
    assert last.startswith(f"aichatfree: the command line needs {package}; install it with: ")
    assert '-m pip install "' in last
    assert last.endswith('[cli]"')
    assert "Traceback" not in output.decode()


def test_the_demo_in_a_pipe_needs_no_terminal_libraries() -> None:
    script = (
        "import sys; sys.modules['rich'] = sys.modules['prompt_toolkit'] = None; "
        "from aichatfree.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_missing_module_of_another_package_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aichatfree.cli.program", None)
    with pytest.raises(ModuleNotFoundError):
        main(["ask", "x"])


def test_a_fault_of_the_program_is_one_line_and_a_traceback_when_verbose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **named: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("aichatfree.cli.ask.read_question", broken)
    assert main(["ask", "x"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("aichatfree: a fault of this program, RuntimeError: boom")
    assert len(error.splitlines()) == 1
    log = logging.getLogger("aichatfree")
    handlers = log.handlers[:]
    try:
        assert main(["ask", "--verbose", "x"]) == 1
    finally:
        log.handlers[:] = handlers
        log.setLevel(logging.NOTSET)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (["--version"], "click requests rich importlib.metadata pathlib aichatfree.cli.program"),
        (["ask", "Hello"], "rich markdown_it prompt_toolkit platformdirs aiohttp asyncio"),
    ],
)
def test_what_is_not_needed_is_not_loaded(
    aichatfree: Command, server: ScriptedServer, args: list[str], unwanted: str
) -> None:
    code = (
        "import sys; before = set(sys.modules); from aichatfree.cli import main\n"
        f"sys.argv[1:] = {args!r}\n"
        "status = main()\n"
        f"sys.exit(status or ' '.join(set({unwanted.split()!r}) & (sys.modules.keys() - before)))"
    )
    done = aichatfree.run_python(code)
    assert done.stderr.strip() == b""
    assert done.stdout.startswith((b"aichatfree ", b"Hello from"))


def test_the_version_is_the_one_that_is_installed(aichatfree: Command) -> None:
    from aichatfree import __version__

    assert aichatfree("--version").stdout.decode() == f"aichatfree {__version__}\n"
