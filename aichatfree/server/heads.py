"""What a request is refused for before it is known what it asks: its size, its method, its Host, its Origin."""

from __future__ import annotations

from aiohttp import HttpVersion11, web

from . import protocol
from .connections import bare
from .sites import Sites

__all__ = ["expect", "forbidden", "refusal_of"]

MAX_HEAD_BYTES = 16 << 10
"""Node's limit of a request's target and header fields together."""

_METHODS = frozenset(
    """ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY
    OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK
    UNLOCK UNSUBSCRIBE""".split()  # noqa: SIM905  # a list of strings would take as many lines
)
"""Those that Node's parser knows."""

_BAD_REQUEST = protocol.Verdict(400, "Bad Request")
_TOO_LARGE = protocol.Verdict(431, "Request Header Fields Too Large")


def refusal_of(request: web.Request, sites: Sites) -> web.Response | None:
    """The answer to a request that is refused whatever it asks for; None for any other."""
    method, target, host = request.method, request.raw_path, request.headers.get("Host")
    size = len(target) + sum([len(name) + len(value) for name, value in request.raw_headers])
    if size >= MAX_HEAD_BYTES:
        return bare(_TOO_LARGE, close=True)
    if method not in _METHODS or method == "CONNECT" or (host is None and request.version >= HttpVersion11):
        return bare(_BAD_REQUEST, close=True)
    if refusal := sites.host_refusal(host):
        return forbidden(refusal)
    return None


def forbidden(why: str) -> web.Response:
    """The answer to a site that may not ask."""
    return bare(protocol.Verdict(403, "Forbidden", protocol.ERROR_TYPE, protocol.error_body(why)))


async def expect(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect` as Node does."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return bare(protocol.Verdict(417, "Expectation Failed"), close=True)
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    return None
