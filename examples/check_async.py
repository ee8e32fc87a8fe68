"""Find out what is wrong: the asynchronous twin of check.py."""

import asyncio

from aichatfree import AsyncClient
from aichatfree.server import LocalServer


async def main() -> None:
    with LocalServer(secret="s3cret") as server:
        print(await AsyncClient(base_url=server.url, secret="s3cret").check())
        print(await AsyncClient(base_url=server.url, secret="wrong").check())


asyncio.run(main())
