"""Send a history: the asynchronous twin of history.py."""

import asyncio

from aichatfree import AsyncClient, Message
from aichatfree.server import LocalServer

history = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    Message("user", "And of Japan?"),
]


async def main() -> None:
    with LocalServer(reply=lambda contents: f"{len(contents)} messages arrived.") as server:
        async with AsyncClient(base_url=server.url) as client:
            print(await client.generate(history))


asyncio.run(main())
