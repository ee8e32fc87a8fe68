"""Which sites may reach a server: the Host and Origin rules, and what a request's target means. No I/O.

A server on a loopback address can be reached by every web page that its user opens: with a name of the page's own that
resolves to 127.0.0.1 (DNS rebinding), which shows in `Host`, or from the page's site, which shows in `Origin`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

__all__ = ["Sites", "is_loopback", "path_of"]


class Sites:
    """Whom a server answers.

    Args:
        host: The address or name that it listens on.
        allow_origins: Further sites, such as `https://chat.example`, whose pages may ask it. Each one's name is taken
            as a Host as well.

    Raises:
        ValueError: One of `allow_origins` is not an origin.
    """

    def __init__(self, host: str, allow_origins: Iterable[str] = ()) -> None:
        if isinstance(allow_origins, str):
            allow_origins = [allow_origins]
        self.allowed = frozenset(map(_origin, allow_origins))
        self._strict = is_loopback(host)
        self._names = {host.lower(), *(urlsplit(origin).hostname for origin in self.allowed)}

    def bound_to(self, addresses: Iterable[str]) -> None:
        """Say which addresses are really listened on: `127.1` and names of one's own can be loopback addresses, too."""
        self._strict = all(is_loopback(address.partition("%")[0]) for address in addresses)

    def host_refusal(self, host: str | None) -> str | None:
        """Why a request with this `Host` (None: with none) is refused, as a sentence, or None."""
        if self._strict and host and not self._knows(_name(host)):
            return "this server is bound to a loopback address and answers only to loopback names (Host)"
        return None

    def origin_refusal(self, origin: str, host: str | None) -> str | None:
        """Why a request from this `Origin` is refused, as a sentence, or None."""
        if self._strict and not self._same_site(origin.lower(), (host or "").lower()):
            return "this server does not answer pages of other sites (Origin); allow_origins can name them"
        return None

    def allows(self, origin: str | None) -> bool:
        """Whether pages of that origin were allowed by name, so that they may read the answer (CORS)."""
        return origin is not None and origin.lower() in self.allowed

    def _knows(self, name: str | None) -> bool:
        return name is not None and (name in self._names or is_loopback(name))

    def _same_site(self, origin: str, host: str) -> bool:
        if origin in self.allowed:
            return True
        scheme, separator, authority = origin.partition("://")
        if not separator or scheme not in ("http", "https") or "/" in authority:
            return False  # "null" among others: a page without a site
        return authority == host or is_loopback(_name(authority) or "")


def _origin(origin: str) -> str:
    """An origin as browsers send it.

    Raises:
        ValueError: It is not one.
    """
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{origin!r} is not an origin: it looks like https://chat.example or http://127.0.0.1:8080")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" if port in (None, default) else f"{parts.scheme}://{host}:{port}"


def _name(host: str) -> str | None:
    """The name or address in a `Host`, lower case, without port and brackets; None if it is not well formed."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\\\s]+)(?::\d*)?", host)
    return match[1].strip("[]").lower() if match else None


def is_loopback(name: str) -> bool:
    """Whether a name or address is this machine's own and no other's: localhost, 127.0.0.1, ::1 and their kin."""
    name = name.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,4})?")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]<>^|%:@\s*]+)(?::([0-9]*))?")
_ENCODED_DOT = re.compile(r"%2e", re.IGNORECASE)


def path_of(target: str, host: str) -> str:
    r"""The path that a request's target means to the real server, percent-decoded.

    That server puts `http://`, the `Host` and the target together and reads the whole as browsers read a URL: dot
    segments are resolved, `\\` is `/`, and the absolute form of a target gives no URL at all.

    Raises:
        ValueError: No URL comes of it, or a percent sign is broken; the server then dies of it (a 500).
    """
    if host and not (_PLAIN_HOST.fullmatch(host) and target.startswith("/")):
        # Wherever the first of these signs is, the authority ends.
        host, target = re.match(r"([^/\\?#]*)(.*)", host + target, re.DOTALL).groups()  # type: ignore[union-attr]
        port = _HOST.fullmatch(host)
        if port is None or int(port[2] or 0) > 65535:
            raise ValueError("no URL")
    path = re.split("[?#]", target, maxsplit=1)[0].replace("\\", "/") or "/"
    if "." in path or "%2e" in path.lower():
        path = _resolve_dots(path)
    if "%" not in path:
        return path
    if re.search("%(?![0-9a-fA-F]{2})", path):
        raise ValueError("a broken percent sign")
    # Reserved characters stay encoded, as by decodeURI; what is not UTF-8 is an error.
    kept = re.sub("%(2[346bcf]|3[abdf]|40)", r"%25\1", path, flags=re.IGNORECASE)
    return unquote(kept, errors="strict")


def _resolve_dots(path: str) -> str:
    segments: list[str] = []
    parts = path.split("/")[1:]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        dots = _ENCODED_DOT.sub(".", part)
        if dots == "..":
            if segments:
                segments.pop()
        elif dots != ".":
            segments.append(part)
            continue
        if last:
            segments.append("")
    return "/" + "/".join(segments)
