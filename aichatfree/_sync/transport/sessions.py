"""Requests through a session of the user's, whose adapters, hooks and authentication do what the user made them for."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email.errors import MissingHeaderBodySeparatorDefect
from functools import partial
from types import FunctionType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3.exceptions
from urllib3 import BaseHTTPResponse, HTTPHeaderDict, HTTPResponse

from ..._core.deadlines import Deadline
from ..._core.settings import Settings
from ..._core.wire.requests import Request
from ...errors import InvalidRequestError
from .foreign import FOREIGN_ERRORS, causes_of
from .framing import Framing, Head, framing_of
from .inbox import READ_SIZE

_LEAST_SECONDS = 0.001
"""A limit of 0 is none to some libraries, and an error to others."""

_LAST_SECONDS = 0.05
"""For as long at most, what came in time is read after the limit has passed, however much more comes."""

_TOO_MANY = re.compile(r"too many (\d{3}) error responses")

_NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


def is_replaced(send: object) -> bool:
    """Whether a library that mocks or observes requests has put something in the place of ``Session.send``."""
    return not isinstance(send, FunctionType) or send.__code__.co_filename != requests.sessions.__file__


def limits(deadline: Deadline) -> tuple[float | None, float | None]:
    """The limits that a library is handed: never 0, which has passed already.

    Raises:
        TimeoutError: The call's has.
    """
    connect, read = deadline.limit("connect"), deadline.limit("first_byte")
    if connect == 0 or read == 0:
        raise TimeoutError("the limit passed")
    return (
        None if connect is None else max(connect, _LEAST_SECONDS),
        None if read is None else max(read, _LEAST_SECONDS),
    )


def check_session(session: object) -> None:
    """Refuse what is no session of requests.

    Raises:
        InvalidRequestError: It is something else.
    """
    if not isinstance(session, requests.Session):
        kind = type(session)
        raise InvalidRequestError(
            f"session is of type {kind.__module__}.{kind.__qualname__}: Client takes a requests.Session "
            f"(an aiohttp.ClientSession belongs to AsyncClient; for other libraries, see transport=)"
        )


def post(session: requests.Session, settings: Settings, request: Request, deadline: Deadline) -> requests.Response:
    """Send a request through the user's session; what it raises about an answer's status is that answer."""
    own: dict[str, Any] = {}
    if settings.proxy is not None:
        proxy = _as_requests_reads(settings.proxy)
        own["proxies"] = {"http": proxy, "https": proxy}
    if settings.verify is not True:
        own["verify"] = settings.verify
    if "authorization" in map(str.lower, request.headers):
        own["auth"] = _leave  # or requests would put what its session, or a netrc file, says in its place
    answers: list[requests.Response] = []

    def note(response: requests.Response, *args: Any, **kwargs: Any) -> None:
        answers.append(response)

    hooks = session.hooks.get("response") or []
    own["hooks"] = {"response": [note, *([hooks] if callable(hooks) else hooks)]}
    try:
        return session.request(
            request.method,
            request.url,
            data=request.body,
            headers=request.headers,
            stream=True,
            allow_redirects=False,
            timeout=limits(deadline),
            **own,
        )
    except BaseException as error:
        found = _answer_in(error, answers) if isinstance(error, Exception) else None
        for answer in answers:
            if answer is not found:
                answer.close()
        if found is None:
            raise
        return found


def _answer_in(error: Exception, answers: list[requests.Response]) -> requests.Response | None:
    """The answer that the session, its adapter or a hook of it has made an error of; None if there was none."""
    if isinstance(response := getattr(error, "response", None), requests.Response) and response.raw is not None:
        return response
    causes = list(causes_of(error))
    for cause in causes:
        if isinstance(cause, urllib3.exceptions.ResponseError) and (found := _TOO_MANY.search(str(cause))):
            return _bare(int(found[1]))
    if answers and answers[-1].status_code != 200 and not any(isinstance(cause, _NO_ANSWER) for cause in causes):
        return answers[-1]
    return None


def _bare(status: int) -> requests.Response:
    """The answer of which an adapter that tried again by itself told no more than its status."""
    response = requests.Response()
    response.status_code = status
    response.raw = HTTPResponse(b"", status=status, preload_content=False)
    return response


def _leave(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that leaves the headers as they are."""
    return prepared


def _as_requests_reads(proxy: str) -> str:
    """A proxy's URL of which requests makes credentials in UTF-8: it sends what it reads there as Latin-1."""
    parts = urlsplit(proxy)
    if proxy.startswith("socks") or parts.username is None:
        return proxy
    user, password = (
        quote(unquote(text or "").encode().decode("latin-1"), safe="") for text in (parts.username, parts.password)
    )
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def was_read(response: requests.Response) -> bool:
    """Whether a hook has read the body."""
    return isinstance(getattr(response, "_content", False), bytes)


def headers_of(response: requests.Response) -> Mapping[str, str]:
    """The headers of an answer, repeated fields apart, in UTF-8 where they are that."""
    headers = HTTPHeaderDict()
    raw = getattr(response.raw, "headers", None)
    for name, value in (response.headers if raw is None else raw).items():
        if name.lower() == "content-encoding" and was_read(response):
            continue  # requests has decoded it
        headers.add(name, _utf8(str(value)))
    return headers


def _utf8(value: str) -> str:
    try:
        return value if value.isascii() else value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _framing_in(response: requests.Response) -> Framing | None:
    """How an answer is framed; None where it came from no connection.

    Raises:
        http.client.HTTPException: http.client has read the head too leniently, so that framing would be taken for
            text: it took a line that it could not read for the end of the head, which may go on behind it, or made its
            choice among fields that contradict each other.
    """
    original = getattr(response.raw, "_original_response", None)
    if type(original) is not http.client.HTTPResponse:
        return None  # a mock's
    message = original.msg
    if any(isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in message.defects):
        raise http.client.HTTPException("a line of its head is not a header field")
    framing = framing_of(Head(original.version, original.status, "", list(message.items())))
    if framing.chunked != bool(original.chunked):
        raise http.client.HTTPException("its transfer coding is not known here")
    return framing


def body_of(response: requests.Response, deadline: Deadline) -> Iterator[bytes]:
    """The body from a connection that is not ours: each read is limited as well as that can be done."""
    framing = _framing_in(response)
    if was_read(response):
        if response.content:
            yield response.content
        return
    raw: Any = response.raw
    read = _read_of(raw)
    if framing is not None and framing.chunked and raw._original_response.fp is not None:
        read = _strictly(read, raw._original_response)
    sock = _socket_of(raw)
    if framing is not None and not framing.chunked and framing.length is None and hasattr(sock, "suppress_ragged_eofs"):
        sock.suppress_ragged_eofs = False  # the end of the connection is to say that it is the end, and not a cut
    while True:
        if sock is not None and sock.fileno() < 0:
            sock = None  # http.client closes it behind the last byte, if the server does
        elif deadline.expired():
            last, whole = _read_the_last(read, sock) if sock is not None else (b"", False)
            if last:
                yield last
            if whole:
                return
            raise TimeoutError("the limit passed")
        if sock is not None:
            sock.settimeout(deadline.remaining())
        data = read(READ_SIZE)
        if not data:
            return
        yield data


def _read_the_last(read: Callable[[int], bytes], sock: Any) -> tuple[bytes, bool]:
    """What had come when the limit passed, and had not been fetched; and whether the body ends there."""
    sock.settimeout(_LEAST_SECONDS)
    last = b""
    ends = time.monotonic() + _LAST_SECONDS
    with suppress(*FOREIGN_ERRORS):
        while time.monotonic() < ends:
            data = read(READ_SIZE)
            if not data:
                return last, True
            last += data
    return last, False


def _read_of(raw: Any) -> Callable[[int], bytes]:
    """What reads what has arrived, not decoded."""
    if isinstance(raw, BaseHTTPResponse):
        return partial(raw.read1, decode_content=False)
    return getattr(raw, "read1", None) or raw.read  # type: ignore[no-any-return]  # a stand-in, as vcrpy's


class _Lines:
    """What http.client reads an answer from, with the last line that it has read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = line = self._file.readline(limit)
        return line  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _strictly(read: Callable[[int], bytes], original: Any) -> Callable[[int], bytes]:
    """``read``, of a body in chunks: http.client takes the end of the connection for that of any line, as of a "0a"."""
    lines = original.fp = _Lines(original.fp)

    def read_strictly(size: int) -> bytes:
        data = read(size)
        if not data and lines.last not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(b"")
        return data

    return read_strictly


def _socket_of(raw: Any) -> Any:
    """The socket under an answer of urllib3's, None if there is none (a mock), or none to be seen."""
    sock = getattr(getattr(raw, "connection", None), "sock", None)
    if sock is None:  # the connection is closed behind this answer, and has let go of it
        file = getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None)
        sock = getattr(file, "_sock", None)
    return sock if hasattr(sock, "settimeout") else None
