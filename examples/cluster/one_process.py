"""What one process of this machine reaches: processor time a call, for the arithmetic in docs/cluster.md."""

import asyncio
import subprocess
import sys
import time

from aichatfree import AsyncClient, Client

SERVER = """
import asyncio, sys
from aichatfree.server import LocalServer

async def reply(messages):
    for _ in range(20):
        await asyncio.sleep(0.05)
        yield "word " * 5

with LocalServer(reply=reply) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


def ask(url: str, count: int, concurrency: int) -> int:
    with Client(url) as client:
        return sum(result.ok for result in client.map(["Hi"] * count, concurrency=concurrency, ordered=False))


def ask_async(url: str, count: int, concurrency: int) -> int:
    async def main() -> int:
        async with AsyncClient(url) as client:
            results = client.map(["Hi"] * count, concurrency=concurrency, ordered=False)
            return sum([result.ok async for result in results])

    return asyncio.run(main())


def main(count: int = 600) -> None:
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=-1, stdout=-1, text=True)
    with server, server.stdin, server.stdout:  # type: ignore[union-attr]
        url = server.stdout.readline().strip()  # type: ignore[union-attr]
        for way, concurrency in ((ask_async, 50), (ask_async, 400), (ask, 50), (ask, 200)):
            way(url, 20, 20)  # what is loaded once is not counted
            began, used = time.perf_counter(), time.process_time()
            whole = way(url, count, concurrency)
            used, took = time.process_time() - used, time.perf_counter() - began
            each = used / count * 1e3
            print(f"{way.__name__}, {concurrency} at once: {whole} replies in {took:.1f} s, {each:.2f} ms each")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
