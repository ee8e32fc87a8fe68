"""What type checkers tell users of the library: mypy reports each line that is ignored here, and no other.

It is checked and never run: ``mypy tests/typing_by_users.py``, where an ignore that ignores nothing is an error too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from aichatfree import AIChatFree, AsyncClient, Client, Message, RetryPolicy, Timeout


def values(message: Message) -> str:
    message.role = "user"  # type: ignore[misc]
    message.rule = "user"  # type: ignore[attr-defined]
    Timeout(read=5)  # type: ignore[call-overload]
    RetryPolicy(max_retries="3")  # type: ignore[arg-type]
    limits: Timeout = Timeout(connect=1).replace(idle=5)
    match message:
        case Message(role, content):
            return f"{role} {content} {limits.idle}"


def replies(client: Client) -> Iterator[str]:
    yield from client.stream([Message("user", "a"), {"role": "assistant", "content": "b"}, "c"])
    yield client.generate(5)  # type: ignore[arg-type]
    yield client.generate("a", timeout="5")  # type: ignore[arg-type]


async def async_replies(client: AsyncClient) -> AsyncIterator[str]:
    async for piece in client.stream("a", timeout=5):
        yield piece
    yield await client.generate(("a",))
    yield client.generate("a")  # type: ignore[misc]


def options(client: Client) -> Client:
    Client(tiemout=5)  # type: ignore[call-arg]
    AsyncClient(verify=5)  # type: ignore[arg-type]
    client.with_options(max_retry=1)  # type: ignore[call-arg]
    AIChatFree.using(pasword="x")  # type: ignore[call-arg]
    with client.with_options(timeout=None, base_url="http://127.0.0.1:3000") as other:
        return other


def misspelt() -> None:
    from aichatfree import Cliant  # type: ignore[attr-defined]  # noqa: F401
    from aichatfree.testing import ScriptedSever  # type: ignore[attr-defined]  # noqa: F401


class Mine(Client):
    """A client of somebody's own stays one."""


def derived(mine: Mine) -> Mine:
    with mine as entered:
        return entered.with_options(timeout=Timeout(5, total=9))
