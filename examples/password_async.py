"""A server with a site password and a secret of its own: the asynchronous twin of password.py."""

import asyncio

from aichatfree import AsyncClient, InvalidPasswordError
from aichatfree.server import LocalServer


async def main() -> None:
    with LocalServer(reply="Welcome.", password="open sesame", secret="s3cret") as server:
        async with AsyncClient(base_url=server.url, secret="s3cret") as client:
            print("Is it 'sesame'?", await client.verify_password("sesame"))
            try:
                await client.generate("Hello")
            except InvalidPasswordError as error:
                print(error)
            print(await client.with_options(password="open sesame").generate("Hello"))


asyncio.run(main())
