"""The two requests of ``client.check()``; what they tell is read in core/report.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import BaseClient
from .core.call import Call
from .core.report import PROMPT, CheckReport, Observation, judge
from .core.settings import Timeout
from .errors import AIChatFreeError

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client


def check(client: Client, timeout: Timeout | float | None) -> CheckReport:
    """See :meth:`Client.check`."""
    with client.with_options(**_once(timeout)) as asker:
        auth = _ask(asker, asker._auth_call(None))
        reply = _ask(asker, _tiny_call(asker)) if auth.hopeful else None
    return _report(client, auth, reply)


def _ask(asker: Client, call: Call) -> Observation:
    from .stream import Stream

    error: AIChatFreeError | None = None
    try:
        Stream(asker, call).until_done()
    except AIChatFreeError as failure:
        error = failure
    return Observation.of(call, error, asker._signer)


async def check_async(client: AsyncClient, timeout: Timeout | float | None) -> CheckReport:
    """See :meth:`AsyncClient.check`."""
    async with client.with_options(**_once(timeout)) as asker:
        auth = await _ask_async(asker, asker._auth_call(None))
        reply = await _ask_async(asker, _tiny_call(asker)) if auth.hopeful else None
    return _report(client, auth, reply)


async def _ask_async(asker: AsyncClient, call: Call) -> Observation:
    from .async_stream import AsyncStream

    error: AIChatFreeError | None = None
    try:
        await AsyncStream(asker, call).until_done()
    except AIChatFreeError as failure:
        error = failure
    return Observation.of(call, error, asker._signer)


def _once(timeout: Timeout | float | None) -> dict[str, Any]:
    """The options of a client that tries once, within ``timeout``."""
    return {"max_retries": 0} if timeout is None else {"max_retries": 0, "timeout": timeout}


def _tiny_call(asker: BaseClient[Any]) -> Call:
    return asker._generate_call(PROMPT, model=None, timeout=None)


def _report(client: BaseClient[Any], auth: Observation, reply: Observation | None) -> CheckReport:
    return judge(client.base_url, bool(client._settings.password), auth, reply)
