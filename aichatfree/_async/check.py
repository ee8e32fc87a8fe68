"""The two requests of ``AsyncClient.check()``; what they tell is read in the core."""

from __future__ import annotations

from typing import Any

from .._core.call import Call
from .._core.client import BaseClient
from .._core.diagnosis import CheckReport, Observation, once, report, tiny_call
from .._core.timeouts import ClientTimeout, Timeout
from ..errors import AIChatFreeError
from .stream import AsyncStream


async def check(client: BaseClient[Any, AsyncStream], timeout: Timeout | float | ClientTimeout | None) -> CheckReport:
    """See :meth:`AsyncClient.check`."""
    asker = client.with_options(**once(timeout))
    calls = asker._auth_call(None), tiny_call(asker)  # while it is open: what is found later is reported, not raised
    auth = await _ask(asker, calls[0])
    reply = await _ask(asker, calls[1]) if auth.hopeful else None
    return report(client, auth, reply)


async def _ask(asker: BaseClient[Any, AsyncStream], call: Call) -> Observation:
    error: AIChatFreeError | None = None
    try:
        await asker._open_stream(call).until_done()
    except AIChatFreeError as failure:
        error = failure
    return Observation.of(call, error, asker._signer)
