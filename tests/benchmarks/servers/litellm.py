"""litellm's proxy as a contender, where it is installed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LITELLM = "litellm proxy"
KEY = b"sk-benchmarks"
START_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """A gateway or proxy that runs.

    Args:
        port: Where it listens.
        used: Seconds of processor time and bytes of memory, so far and now.
    """

    port: int
    used: Callable[[], dict[str, float]]


def _used_by(pid: int) -> dict[str, float]:
    """What the system says of a program that does not tell what it used, and of its children."""
    import psutil

    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    times = [member.cpu_times() for member in family]
    memory = sum(member.memory_info().rss for member in family)
    return {"cpu": sum(each.user + each.system for each in times), "memory": memory}


@contextmanager
def running_litellm(upstream: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--model", "openai/m", "--api_base", f"{upstream}/v1", "--host", "127.0.0.1", "--port", str(port))
    command = [sys.executable, "-c", "from litellm.proxy.proxy_cli import run_server; run_server()", *options]
    environment = {
        **os.environ,
        "OPENAI_API_KEY": KEY.decode(),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, for as long as this runs
    }
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent, env=environment) as process:
        try:
            _wait_for(port, process)
            yield Server(port, lambda: _used_by(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("litellm's proxy did not start") from None
            time.sleep(0.2)
