"""AIChatFree as users of provider frameworks know it; it needs no framework."""

import asyncio

from aichatfree import AIChatFree
from aichatfree.server import LocalServer


async def main() -> None:
    with LocalServer() as server:
        provider = AIChatFree.using(base_url=server.url)
        messages = [{"role": "user", "content": "Hello!"}]
        async for chunk in provider.create_async_generator(model="gemini-1.5-pro", messages=messages):
            print(chunk, end="", flush=True)
        print()


asyncio.run(main())
