"""Ask, and print the reply as it arrives: the asynchronous twin of stream.py."""

import asyncio

from aichatfree import AsyncClient
from aichatfree.server import LocalServer


async def main() -> None:
    with LocalServer() as server:
        async with AsyncClient(base_url=server.url) as client:
            async for piece in client.stream("Hello, how are you?"):
                print(piece, end="", flush=True)
            print()


asyncio.run(main())
