"""Many prompts at once. What is decided stands in the core (pacing), how to work side by side in the transport."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from typing import Any

from .._core.call import Call
from .._core.client import BaseClient
from .._core.pacing import LOOK_SECONDS, Item, MapResult, Plan, check_prompts
from .._core.progress import END, Interruptible, MapProgress
from .._core.wire.messages import Messages
from ..errors import AIChatFreeError
from .stream import Stream
from .transport.crew import PROMPT_KINDS, Crew, Rest
from .whole import Whole


def map_prompts(client: BaseClient[Any, Stream], prompts: Iterable[Messages], **options: Any) -> Generator[MapResult]:
    """See :meth:`Client.map`."""
    check_prompts(prompts, PROMPT_KINDS)
    return Whole(_results(client, prompts, Plan.of(client, **options)), MapProgress())


def _results(client: BaseClient[Any, Stream], prompts: Iterable[Messages], plan: Plan) -> Generator[Any]:
    asker = client._asker()
    with Crew(plan.window, prompts, partial(_answer, asker, plan)) as crew:
        try:
            yield Interruptible(crew.halt)
            while (result := crew.next_result()) is not None:
                yield plan.leaving(result)
            if not crew.halted:
                yield END
        finally:
            asker._share.close()


def _answer(asker: BaseClient[Any, Stream], plan: Plan, rest: Rest, item: Item) -> MapResult:
    while True:
        while (seconds := plan.wait(item)) and not asker.closed:
            rest(min(seconds, LOOK_SECONDS))
        call: Call | None = None
        try:
            call = plan.call(asker, item)
            text = asker._open_stream(call).until_done()
        except AIChatFreeError as error:
            result = plan.failed(item, error, call)
            if result is not None:
                return result
        else:
            return plan.answered(item, text, call)
