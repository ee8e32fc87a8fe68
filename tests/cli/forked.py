"""Starts of the command without the start of an interpreter: a process that has loaded the libraries forks for each.

What is forked is a process like any other, with pipes or a terminal, signals and an exit status of its own. Only the
loading of libraries, most of the time of a short command, is done once, and they are not taken apart at its end.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import functools
import gc
import importlib
import io
import json
import logging
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
READ_AT_THE_START = ("PYTHON", "LC_", "LANG")
"""Variables that an interpreter reads when it starts: whoever changes one needs an interpreter that starts."""

JOB_CONTROL = __file__
"""This file as a program runs ``aichatfree`` with its arguments as a job of a shell; with this, it is the server:"""
ORDERS = "--orders-come-from="

START = "import sys; from aichatfree.cli import main; sys.exit(main())"

LIBRARIES = ("aiohttp.web", "prompt_toolkit", "requests", "rich.console", "rich.live", "rich.markdown", "sqlite3")
"""What the commands need, beside what their modules import as they are loaded."""


class ForkServer:
    """A process that forks when it is asked to, for as long as this one runs.

    Args:
        env: The environment it starts in.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.start = read_at_the_start(env)
        self._lock = threading.Lock()
        # What is forked loses its parent at once, and becomes a child of this process, as if it had been started here.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot adopt processes")
        self._control, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, __file__, f"{ORDERS}{number}"]
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=[number])

    def fork(self, files: tuple[int, int, int], **order: Any) -> int:
        """Fork a process that runs ``aichatfree``.

        Args:
            files: Its stdin, stdout and stderr.
            order: What :func:`become` takes.

        Returns:
            Its process id.
        """
        with tempfile.TemporaryFile() as written, self._lock:
            written.write(json.dumps(order).encode())
            written.flush()
            socket.send_fds(self._control, [b"\n"], [*files, written.fileno()])
            pid = int(self._control.recv(64) or 0)
        assert pid > 0, "the fork server has ended"
        return pid


@functools.cache
def _server_of(pid: int) -> ForkServer | None:
    from .screen import environment

    return ForkServer(environment(PYTHONPATH=os.getcwd())) if sys.platform == "linux" else None


def fork_server(env: Mapping[str, str]) -> ForkServer | None:
    """The one of this process, if a command with this environment can be forked by it."""
    server = _server_of(os.getpid())
    return server if server is not None and server.start == read_at_the_start(env) else None


def read_at_the_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_THE_START) and name != "PYTHONPATH"}


class Forked(subprocess.Popen[bytes]):
    """A process that runs ``aichatfree``, or a script, forked where that is the same as starting it.

    Args:
        args: Its command line.
        env: Its environment.
        script: The path of a script, if that is what runs.
        before: Code that runs before the command, such as one that shortens a limit.
        options: What subprocess.Popen takes.
    """

    def __init__(
        self,
        args: Sequence[str],
        env: Mapping[str, str],
        *,
        script: str | None = None,
        before: str = "",
        **options: Any,
    ) -> None:
        server = None if "preexec_fn" in options or "pass_fds" in options else fork_server(env)
        self._fork = server and functools.partial(
            server.fork,
            args=args,
            script=script,
            before=before,
            env=dict(env),
            cwd=str(options.get("cwd") or os.getcwd()),
            umask=options.get("umask", -1),
        )
        what = ["-c", f"{before}\n{START}"] if before else ["-m", "aichatfree"] if script is None else [script]
        super().__init__([sys.executable, *what, *args], env=env, **options)

    def _execute_child(self, *args: Any) -> None:  # what subprocess.Popen calls once it has made the pipes
        if self._fork is None:
            super()._execute_child(*args)  # type: ignore[misc]
            return
        stdin, _, _, stdout, _, stderr = pipes = args[10:16]
        self.pid = self._fork(
            (stdin if stdin != -1 else 0, stdout if stdout != -1 else 1, stderr if stderr != -1 else 2)
        )
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def run_forked(
    args: Sequence[str],
    env: Mapping[str, str],
    *,
    script: str | None = None,
    input: bytes | None = None,
    timeout: float = 50,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """As subprocess.run, for what :class:`Forked` runs."""
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    with Forked(args, env, script=script, **{"stdin": stdin, **options}) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def load() -> None:
    """Import what any command may import. That each does so by itself is what test_cli_starts.py is for."""
    # asyncio's debug mode times every step, which on a busy machine says something of the machine.
    logging.getLogger("asyncio").addFilter(lambda record: not str(record.msg).startswith("Executing "))
    for name in LIBRARIES:
        importlib.import_module(name)
    for part in ("_core", "_sync", "_async", "server", "gateway", "testing", "cli"):
        package = importlib.import_module(f"aichatfree.{part}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each order; return it in the process that shall carry it out, and None where there are no more."""
    while True:
        said, files, *_ = socket.recv_fds(control, 1, 4)
        if not said:
            return None
        reader, writer = os.pipe()
        if (between := os.fork()) == 0:
            if (pid := os.fork()) != 0:
                os.write(writer, b"%d" % pid)
                os._exit(0)
            control.close()
            for number, file in enumerate(files[:3]):
                os.dup2(file, number)
            with os.fdopen(files[3], "rb") as written:
                written.seek(0)
                order: dict[str, Any] = json.load(written)
            os.closerange(3, 1024)
            return order
        os.waitpid(between, 0)  # its child has been adopted now
        control.send(os.read(reader, 64))
        for file in (reader, writer, *files):
            os.close(file)


def become(
    args: list[str], env: dict[str, str], cwd: str, umask: int = -1, terminal: bool = False, job: bool = False
) -> None:
    """Be as a process that starts.

    Args:
        args: The command line.
        env: The environment.
        cwd: The working directory.
        umask: The mask, if it changes.
        terminal: Whether stdin is a terminal that shall be the controlling one, of a session of its own.
        job: Whether it is a job of a shell there: its parent stays in control of the terminal.
    """
    if terminal:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if job:
        control_job()
    if umask != -1:
        os.umask(umask)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["aichatfree", *args]
    sys.path[0] = cwd
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr)


def control_job() -> None:
    """Be as much of a shell as job control needs, and tell when the job stops or ends, and how that left the terminal.

    It returns in another process, the job.
    """
    found = termios.tcgetattr(0)
    lasting = termios.tcgetattr(0)
    lasting[3] |= termios.NOFLSH  # else Ctrl-C, typed once more as the job ends, throws away what is told here
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (job := os.fork()) == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return
    os.write(1, b"[job %d]\n" % job)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpgrp())
        left = "as found" if termios.tcgetattr(0) == found else "changed"
        termios.tcsetattr(0, termios.TCSANOW, lasting)
        if not os.WIFSTOPPED(status):
            os.write(1, f"[ended {os.waitstatus_to_exitcode(status)}, {left}]\n".encode())
            os._exit(0)
        os.write(1, f"[stopped, {left}]\n".encode())
        termios.tcsetattr(0, termios.TCSANOW, found)
        os.read(0, 1024)
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)


def _stream(number: int, mode: str, before: Any) -> io.TextIOWrapper:
    file = open(number, mode + "b", closefd=False)
    lines = number == 2 or file.isatty()
    made = io.TextIOWrapper(
        file,
        encoding=before.encoding,
        errors=before.errors,
        newline="\n" if mode == "w" else None,
        line_buffering=lines,
    )
    made.mode = mode  # type: ignore[misc]
    return made


def end(status: int) -> None:
    """End as an interpreter does, without taking the libraries apart piece by piece, which takes longest."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    gc.collect()  # whatever was not closed, and not frozen below, complains here
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = 120
    os._exit(status)


def run(script: str | None) -> int:
    """Run a script, or the command as ``python -m aichatfree`` does, and return its exit status."""
    from aichatfree.cli import main

    try:
        if script is None:
            return main()
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    if not sys.argv[1].startswith(ORDERS):
        control_job()
        os.execv(sys.executable, [sys.executable, "-m", "aichatfree", *sys.argv[1:]])
    load()
    with socket.socket(fileno=int(sys.argv[1].removeprefix(ORDERS))) as control:
        gc.collect()
        gc.freeze()
        order = serve(control)
    if order is not None:
        script = order.pop("script", None)
        before = order.pop("before", "")
        become(**order)
        exec(before)
        end(run(script))
