"""Many prompts, some at once: the asynchronous twin of many.py."""

import asyncio

from aichatfree import AsyncClient
from aichatfree.server import LocalServer

prompts = [f"Question {number}" for number in range(5)]


async def main() -> None:
    with LocalServer(reply=lambda contents: "Answer to " + contents[-1]["parts"][0]["text"]) as server:
        async with AsyncClient(base_url=server.url) as client:
            async for result in client.map([*prompts, ""], concurrency=3):
                print(result.index, result.text or result.error)


asyncio.run(main())
