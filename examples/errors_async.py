"""What to catch: the asynchronous twin of errors.py."""

import asyncio

from aichatfree import AIChatFreeError, AsyncClient, RateLimitError, StreamInterruptedError
from aichatfree.testing import Drop, Reply, ScriptedServer


async def ask(client: AsyncClient) -> None:
    try:
        print(await client.stream("Hello").until_done())
    except StreamInterruptedError as error:
        print(f"Broken off after {error.partial!r}: {error}")
    except RateLimitError as error:
        print(f"Wait {error.retry_after} s: {error}")
    except AIChatFreeError as error:
        print(f"{type(error).__name__}: {error}")


with ScriptedServer() as server:
    server.enqueue(Reply("The first half", fault=Drop("in-body")), Reply.quota(retry_in=58.8), Reply.overloaded())
    for _ in range(3):
        asyncio.run(ask(AsyncClient(base_url=server.url, max_retries=0)))
