"""The chat page: a few static files, served with a strict Content-Security-Policy."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from aiohttp import web

__all__ = ["PAGE_PATHS", "page_response"]

PAGE_PATHS = {
    "/": ("index.html", "text/html"),
    "/password": ("index.html", "text/html"),
    "/page/chat.css": ("chat.css", "text/css"),
    "/page/chat.js": ("chat.js", "text/javascript"),
    "/page/conversation.js": ("conversation.js", "text/javascript"),
    "/page/protocol.js": ("protocol.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Where each file is served, its name here, and its media type."""

_HEADERS = {
    # No inline code, nothing from elsewhere, no frame around it, and text that only becomes text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_response(path: str) -> web.Response:
    """One file of the page; `path` is one of `PAGE_PATHS`."""
    name, kind = PAGE_PATHS[path]
    headers = {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}
    return web.Response(body=_content(name), headers=headers)


@lru_cache
def _content(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
