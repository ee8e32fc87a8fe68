"""The two requests of ``client.check()``; what they tell is read in the core."""

from __future__ import annotations

from typing import Any

from .._core.call import Call
from .._core.client import BaseClient
from .._core.diagnosis import CheckReport, Observation, once, report, tiny_call
from .._core.timeouts import ClientTimeout, Timeout
from ..errors import AIChatFreeError
from .stream import Stream


def check(client: BaseClient[Any, Stream], timeout: Timeout | float | ClientTimeout | None) -> CheckReport:
    """See :meth:`Client.check`."""
    asker = client.with_options(**once(timeout))
    calls = asker._auth_call(None), tiny_call(asker)  # while it is open: what is found later is reported, not raised
    auth = _ask(asker, calls[0])
    reply = _ask(asker, calls[1]) if auth.hopeful else None
    return report(client, auth, reply)


def _ask(asker: BaseClient[Any, Stream], call: Call) -> Observation:
    error: AIChatFreeError | None = None
    try:
        asker._open_stream(call).until_done()
    except AIChatFreeError as failure:
        error = failure
    return Observation.of(call, error, asker._signer)
