"""What is done to one request of a session of the user's: the session and its other requests stay as they are."""

from __future__ import annotations

from typing import Any

import aiohttp

from .hooks import _SEND, Watched, watch


async def framed(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    """A middleware, to have the answer to one request read with :class:`~.Framing`.

    aiohttp's own parser loses what stands in front of a fault in the same packet, the head of the answer too. The next
    request on the same connection is given a parser of aiohttp's again.
    """
    assert _SEND is not None
    goes_out = getattr(type(request), _SEND)

    async def send(connection: Any) -> Any:
        watch(connection)
        protocol = connection.protocol
        if isinstance(protocol, Watched) and not protocol.framed and not protocol.should_close:  # nothing came yet
            protocol.frame()
        return await goes_out(request, connection)

    setattr(request, _SEND, send)
    try:
        response: aiohttp.ClientResponse = await handler(request)
    finally:
        delattr(request, _SEND)  # each refers to the other
    return response
