"""However it ends or is stopped, the terminal is left as it was found, and there is no traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pexpect
import psutil
import pytest

from aichatfree.testing import Pause, Reply, ScriptedServer

from .running import Command
from .screen import CTRL_C, CTRL_D, CTRL_Z, ENTER, Person


def ready(screen: str) -> bool:
    """Whether a chat waits for a message: an empty prompt is the last thing on the screen."""
    return screen.splitlines()[-1:] == [">"]


def job(person: Person) -> int:
    """The process id of the program."""
    found = re.search(r"\[job (\d+)\]", person.look("[job"))
    assert found
    return int(found[1])


def assert_ended(person: Person, *statuses: int) -> None:
    shown = person.look("[ended")
    found = re.search(r"\[ended (-?\d+), (.+?)\]", shown)
    assert found, shown
    assert int(found[1]) in statuses, shown
    assert found[2] == "as found", shown
    assert "Traceback" not in shown
    assert "ignored" not in shown
    person.wait()
    person.assert_left_as_found()


@pytest.fixture
def half(server: ScriptedServer) -> ScriptedServer:
    server.default = Reply(["Half a reply", Pause(None)])
    return server


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_a_signal_amid_a_reply(
    aichatfree: Command, half: ScriptedServer, number: signal.Signals, plain: list[str]
) -> None:
    with aichatfree.job("ask", *plain, "Hello") as person:
        pid = job(person)
        person.look("Half a reply")
        os.kill(pid, number)
        assert_ended(person, 128 + number)
    assert person.text.count("Half a reply") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("at", ["prompt", "reply"])
def test_a_signal_in_a_chat(aichatfree: Command, half: ScriptedServer, number: signal.Signals, at: str) -> None:
    with aichatfree.job("chat") as person:
        pid = job(person)
        person.look(ready)
        if at == "reply":
            person.type("Hello" + ENTER)
            person.look("Half a reply")
        os.kill(pid, number)
        assert_ended(person, 128 + number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_the_password_prompt(aichatfree: Command, number: signal.Signals) -> None:
    with aichatfree.job("ask", "--password", "-", "Hello") as person:
        pid = job(person)
        person.look("Password:")
        os.kill(pid, number)
        assert_ended(person, 128 + number)


WAITING = """
import ctypes, operator, os, select, sys
from functools import partial
from aichatfree.cli import keyboard, main, signals

def preceded(wait):  # by a signal, without a moment in which Python could handle it
    def run(*arguments):
        send = partial(ctypes.CDLL(None).kill, os.getpid(), NUMBER)
        return [*map(operator.call, [send, partial(wait, *arguments)])][1]
    return run

class Library:
    def __init__(self, library, **replaced):
        self.__dict__.update(vars(library), **replaced)

keyboard.os = Library(os, read=preceded(os.read))
signals.select = Library(select, select=preceded(select.select))
sys.exit(main())
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_a_moment_before_the_wait_for_a_password(aichatfree: Command, number: signal.Signals) -> None:
    code = WAITING.replace("NUMBER", str(int(number)))
    command = ["-c", code, "ask", "--password", "-", "Hello"]
    with pexpect.spawn(sys.executable, command, env=aichatfree.env, timeout=20) as program:
        program.expect(pexpect.EOF)
        assert b"Traceback" not in program.before
    assert program.exitstatus == 128 + number


@pytest.mark.parametrize("at", ["prompt", "reply"])
def test_a_terminal_that_goes_though_its_signal_is_ignored(aichatfree: Command, half: ScriptedServer, at: str) -> None:
    program = pexpect.spawn(
        sys.executable, ["-m", "aichatfree", "chat"], env=aichatfree.env, timeout=20, ignore_sighup=True
    )
    try:
        program.expect("This is a chat")
        program.expect(">")  # the prompt
        if at == "reply":
            half.enqueue(Reply(["Half a reply", Pause(1), " and the rest."]))
            program.send("Hello" + ENTER)
            program.expect("Half a reply")
        os.close(program.child_fd)
        process = psutil.Process(program.pid)
        with suppress(psutil.NoSuchProcess):
            process.wait(20)
    finally:
        with suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGKILL)
        program.closed = True


@pytest.mark.parametrize("times", [2, 3, 10])
def test_ctrl_c_again_and_again(aichatfree: Command, half: ScriptedServer, times: int) -> None:
    with aichatfree.job("ask", "Hello") as person:
        person.look("Half a reply")
        for number in range(times):
            person.type(CTRL_C)
            person.watch(0.003 * number)
        assert_ended(person, 130)


def test_signals_while_it_starts(aichatfree: Command, half: ScriptedServer) -> None:
    """As soon as it runs at all: the first milliseconds, in which libraries are loaded, among them."""
    code = "import os, signal, sys; from aichatfree import cli; sys.argv = ['aichatfree', 'ask', 'Hello']\n"
    hook = (
        "from aichatfree.cli import signals; arm = signals.arm\n"
        "signals.arm = lambda: (arm(), os.kill(os.getpid(), signal.SIGINT))\n"
    )
    done = aichatfree.run_python(code + hook + "sys.exit(cli.main())")
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("how", ["ask", "chat"])
def test_ctrl_z_and_fg_amid_a_reply(aichatfree: Command, server: ScriptedServer, how: str) -> None:
    server.default = Reply(["Half a reply", Pause(1.5), " and the rest."])
    with aichatfree.job(how, *(["Hello"] if how == "ask" else [])) as person:
        if how == "chat":
            person.look(ready)
            person.type("Hello" + ENTER)
        person.look("Half a reply")
        person.type(CTRL_Z)
        person.look("[stopped, as found]")
        person.assert_left_as_found()
        person.type(ENTER)
        person.look("Half a reply and the rest.")
        if how == "chat":
            person.look(ready)
            person.type(CTRL_D)
        assert_ended(person, 0)
    assert person.text.count("Half a reply") == 1


def test_ctrl_z_and_fg_at_the_prompt_of_a_chat(aichatfree: Command, server: ScriptedServer) -> None:
    with aichatfree.job("chat") as person:
        person.look(ready)
        person.type(CTRL_Z)
        person.look("[stopped, as found]")
        person.assert_left_as_found()
        person.type(ENTER)
        person.look(ready)
        person.type("Hello" + ENTER)
        person.look("scripted")
        person.look(ready)
        person.type(CTRL_D)
        assert_ended(person, 0)


def test_ctrl_z_and_fg_at_the_password_prompt(aichatfree: Command) -> None:
    with ScriptedServer(password="0pen") as server:
        with aichatfree.job("ask", "--password", "-", "Hello", AICHATFREE_BASE_URL=server.url) as person:
            person.look("Password:")
            person.type(CTRL_Z)
            person.look("[stopped, as found]")
            person.type(ENTER)
            person.look(lambda text: text.count("Password:") == 2)
            person.type("0pen" + ENTER)
            person.look("scripted")
            assert_ended(person, 0)
        assert "0pen" not in person.text
        assert server.requests[0].json["pass"] == "0pen"


def test_ctrl_d_at_the_password_prompt(aichatfree: Command) -> None:
    with aichatfree.job("ask", "--password", "-", "Hello") as person:
        person.look("Password:")
        person.type(CTRL_D)
        assert_ended(person, 2)
    assert "no password was typed" in person.text


def test_what_is_ignored_stays_ignored(aichatfree: Command, server: ScriptedServer) -> None:
    """As under nohup."""
    server.default = Reply(["Half", Pause(0.5), " and whole"])
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    options: dict[str, Any] = {"stdin": -3, **ignore}
    with aichatfree.start("ask", "Hello", **options) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"Half"
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
        assert process.stdout.read() == b" and whole"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_where_there_is_no_terminal(aichatfree: Command, half: ScriptedServer, number: signal.Signals) -> None:
    with aichatfree.start("ask", "Hello", stdin=-3) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4) == b"Half"
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert process.stderr.read() == b""


BETWEEN = """
import os, signal, time
from aichatfree.cli import signals
async def prompt(): pass
def ask():
    made = prompt()
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(20)
signals.arm()
signals.working(True)
ask()
"""


@pytest.mark.parametrize("warnings", ["error", "default"])
def test_nothing_is_said_of_what_a_signal_left_unfinished(warnings: str) -> None:
    """An event loop makes a coroutine, and the signal comes before it runs."""
    ended = subprocess.run([sys.executable, "-W", warnings, "-c", BETWEEN], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGHUP, "", "")
