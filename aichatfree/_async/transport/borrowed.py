"""What is done to one request of a session of the user's: the session and its other requests stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from ..._core.wire.interruption import interrupted
from .framing import is_chunked
from .hooks import Watched, watch
from .outgoing import SEND


async def framed(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    """A middleware, to have the answer to one request read with :class:`~.Framing`.

    aiohttp's own parser loses what stands in front of a fault in the same packet, the head of the answer too. The next
    request on the same connection is given a parser of aiohttp's again.
    """
    assert SEND is not None
    goes_out = getattr(type(request), SEND)

    async def send(connection: Any) -> Any:
        watch(connection)
        protocol = connection.protocol
        if isinstance(protocol, Watched) and not protocol.framed and not protocol.should_close:  # nothing came yet
            protocol.frame()
        return await goes_out(request, connection)

    setattr(request, SEND, send)
    try:
        response: aiohttp.ClientResponse = await handler(request)
    finally:
        delattr(request, SEND)  # each refers to the other
    return response


def check_end(protocol: Any, headers: Mapping[str, str], secrets: tuple[str, ...]) -> None:
    """Refuse the end of a body that is none: where only the end of the connection ends it, aiohttp takes any for that.

    Raises:
        StreamInterruptedError: The connection was cut.
    """
    lost = protocol.exception()
    if isinstance(lost, OSError):
        raise interrupted(lost, secrets) from lost
    by_eof = "content-length" not in headers and not is_chunked(headers)
    if isinstance(protocol, Watched) and by_eof and not protocol.connected and not protocol.ended:
        raise interrupted("the connection ended without saying so")
