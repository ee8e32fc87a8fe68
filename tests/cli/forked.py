"""Starts of the command without the start of an interpreter: a process that has loaded the libraries forks for each.

What is forked is a process like any other, with pipes or a terminal, signals and an exit status of its own. Only the
loading of libraries, most of the time of a short command, is done once, and they are not taken apart at its end
(fork_server.py).
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
READ_AT_THE_START = ("PYTHON", "LC_", "LANG")
"""Variables that an interpreter reads when it starts: whoever changes one needs an interpreter that starts."""

PROGRAM = str(Path(__file__).with_name("fork_server.py"))
START = "import sys; from aichatfree.cli import main; sys.exit(main())"


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
            command = [sys.executable, PROGRAM, str(number)]
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, pass_fds=[number])

    def fork(self, files: tuple[int, int, int], **order: Any) -> int:
        """Fork a process that runs ``aichatfree``.

        Args:
            files: Its stdin, stdout and stderr.
            order: What ``become`` of the server takes, and ``script`` and ``before`` of :class:`Forked`.

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
