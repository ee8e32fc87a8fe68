"""Many prompts at once. What is decided stands in the core (pacing), how to work side by side in the transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from functools import partial
from typing import Any

from .._core.call import Call
from .._core.client import BaseClient
from .._core.pacing import LOOK_SECONDS, Item, MapResult, Plan, check_prompts
from .._core.progress import END, Interruptible, MapProgress
from .._core.wire.messages import Messages
from ..errors import AIChatFreeError
from .stream import AsyncStream
from .transport.crew import PROMPT_KINDS, Crew, Rest
from .whole import AsyncWhole


def map_prompts(
    client: BaseClient[Any, AsyncStream], prompts: Iterable[Messages] | AsyncIterable[Messages], **options: Any
) -> AsyncGenerator[MapResult, None]:
    """See :meth:`AsyncClient.map`."""
    check_prompts(prompts, PROMPT_KINDS)
    return AsyncWhole(_results(client, prompts, Plan.of(client, **options)), MapProgress())


async def _results(
    client: BaseClient[Any, AsyncStream], prompts: Iterable[Messages] | AsyncIterable[Messages], plan: Plan
) -> AsyncGenerator[Any, None]:
    asker = client._asker()
    async with Crew(plan.window, prompts, partial(_answer, asker, plan)) as crew:
        try:
            yield Interruptible(crew.halt)
            while (result := await crew.next_result()) is not None:
                yield plan.leaving(result)
            if not crew.halted:
                yield END
        finally:
            asker._share.close()


async def _answer(asker: BaseClient[Any, AsyncStream], plan: Plan, rest: Rest, item: Item) -> MapResult:
    while True:
        while (seconds := plan.wait(item)) and not asker.closed:
            await rest(min(seconds, LOOK_SECONDS))
        call: Call | None = None
        try:
            call = plan.call(asker, item)
            text = await asker._open_stream(call).until_done()
        except AIChatFreeError as error:
            result = plan.failed(item, error, call)
            if result is not None:
                return result
        else:
            return plan.answered(item, text, call)
