"""A conversation: the asynchronous twin of conversation.py."""

import asyncio

from aichatfree import AsyncClient
from aichatfree.server import LocalServer


async def main() -> None:
    with LocalServer() as server:
        async with AsyncClient(base_url=server.url) as client:
            conversation = client.conversation(system="Be brief.")
            print(await conversation.generate("Hello!"))
            async for piece in conversation.stream("And again?"):
                print(piece, end="", flush=True)
            print()
            conversation.undo()
            print(*conversation.messages, sep="\n")


asyncio.run(main())
