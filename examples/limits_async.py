"""Time limits and retries: the asynchronous twin of limits.py."""

import asyncio

from aichatfree import AsyncClient, RetryPolicy, Timeout
from aichatfree.testing import Reply, ScriptedServer, Stall

limits = Timeout(connect=5, first_byte=0.2, idle=10, total=60)
retry = RetryPolicy(max_retries=3, initial_delay=0.05)


async def main() -> None:
    with ScriptedServer() as server:
        server.enqueue(Reply("", fault=Stall("before-answer")), Reply.overloaded(), Reply("Here I am."))
        async with AsyncClient(base_url=server.url, timeout=limits, retry=retry) as client:
            stream = client.stream("Hello")
            print(await stream.until_done())
            print(stream.stats)


asyncio.run(main())
