"""URLs that users give: checked, in one spelling, and shown without the credentials in them. No I/O."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from ...errors import InvalidRequestError
from .redaction import hide_userinfo

_TELLING: Final = 3
"""Characters of which a user's name is hidden by itself: shorter ones stand in every other word."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def split_userinfo(url: str) -> tuple[str, str | None]:
    """A URL without its user and password, and the ``Basic`` credentials (RFC 7617) they make, if there were any."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, "Basic " + base64.b64encode(user.encode()).decode()


def userinfo_secrets(url: str) -> list[str]:
    """What must not be shown of the user and password in a URL: in each spelling, and as ``Basic`` credentials."""
    if "://" not in url:  # as a proxy may be named in the environment
        url = f"http://{url}"
    user, at, _ = url.partition("://")[2].rpartition("@")
    if not at:
        return []
    _, authorization = split_userinfo(url)
    name, _, password = user.partition(":")
    names = [name, unquote(name)] if len(name) >= _TELLING else []
    return [user, unquote(user), password, unquote(password), *names, (authorization or "").partition(" ")[2]]


def basic_secrets(authorization: str) -> list[str]:
    """What must not be shown of ``Basic`` credentials: the user with the password, and the password alone."""
    user = base64.b64decode(authorization.partition(" ")[2]).decode("utf-8", "replace")
    return [user, user.partition(":")[2]]


def _read_url(name: str, value: object, example: str, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is of type {type(value).__name__}: give a str such as {example}")
    text = str.__str__(value).strip()
    shown = hide_userinfo(text)
    if not text.isprintable() or " " in text:
        raise InvalidRequestError(
            f"{name} {shown!r} holds white space or a control character: give an address such as {example}"
        )
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # its own words repeat what may be a piece of the password
        raise InvalidRequestError(
            f"{name} {shown!r} is not a URL: check its host and port, as in {example}, "
            f"and write '/', '@' and the like in a password as %2F, %40"
        ) from None
    if "@" in url.path:
        raise InvalidRequestError(f"{name} {shown!r} has an '@' after its host: write '/' in a password as %2F")
    if url.scheme.lower() not in schemes:
        *others, last = (f"{scheme}://" for scheme in schemes)
        raise InvalidRequestError(f"{name} {shown!r} must begin with {', '.join(others)} or {last}, such as {example}")
    if not url.hostname or port == 0:
        raise InvalidRequestError(f"{name} {shown!r} names no host: give an address such as {example}")
    return url._replace(scheme=url.scheme.lower())


def read_base_url(value: object) -> SplitResult:
    """Check a base URL, and write it as a browser would; it may still hold a user and password."""
    example = "http://127.0.0.1:3000"
    url = _read_url("base_url", value, example)
    shown = hide_userinfo(url.geturl())
    if url.query or url.fragment:
        raise InvalidRequestError(f"base_url {shown!r} has a query or fragment: give the address alone, like {example}")
    path = url.path.rstrip("/")
    if path.endswith(("/api/generate", "/api/auth")):
        raise InvalidRequestError(f"base_url {shown!r} must stop before /api: the paths below it are added here")
    try:
        netloc = _normal_netloc(url)
    except UnicodeError:
        raise InvalidRequestError(f"base_url {shown!r} has a host that is not a name: check its spelling") from None
    return url._replace(netloc=netloc, path=path)


def _normal_netloc(url: SplitResult) -> str:
    """User, host and port as a browser writes them: servers compare ``Origin`` with their own address by the letter."""
    host = url.hostname or ""
    if ":" in host:
        host.encode("ascii")  # a zone is written into headers as it is
        host = f"[{host}]"
    elif host.isascii():
        host.encode("idna")  # no label is empty or too long
    else:
        import idna  # some milliseconds, for the few that need it

        host = idna.encode(host, uts46=True).decode()
    user, at, _ = url.netloc.rpartition("@")
    port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
    return f"{user}{at}{host}{port}"


def read_proxy(value: object) -> str | None:
    """Check the URL of a proxy; it may hold a user and password."""
    if value is None or value == "":
        return None
    example = "http://127.0.0.1:8080"
    if isinstance(value, str) and "://" not in value:
        value = f"http://{value}"
    return _read_url("proxy", value, example, ("http", "https", "socks5", "socks5h")).geturl()
