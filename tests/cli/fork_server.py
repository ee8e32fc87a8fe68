"""The process that has loaded what the command needs, and forks when forked.py asks for it.

With ``job`` and a command line it just runs that as a job of a shell, where nothing can be forked.
"""

from __future__ import annotations

import atexit
import fcntl
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
import sys
import termios
import threading
import traceback
from typing import Any

LIBRARIES = ("aiohttp.web", "prompt_toolkit", "requests", "rich.console", "rich.live", "rich.markdown", "sqlite3")
"""What the commands need, beside what their modules import as they are loaded."""


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
    if sys.argv[1] == "job":
        control_job()
        os.execv(sys.executable, [sys.executable, "-m", "aichatfree", *sys.argv[2:]])
    load()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        gc.collect()
        gc.freeze()
        order = serve(control)
    if order is not None:
        script = order.pop("script", None)
        before = order.pop("before", "")
        become(**order)
        exec(before)
        end(run(script))
