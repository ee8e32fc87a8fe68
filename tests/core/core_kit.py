"""What the tests of the core share: the recordings as data, clocks that stand still, an answer without a transport."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from aichatfree._core.call import Call, Clocks
from aichatfree._core.failures import failure
from aichatfree._core.settings import Settings
from aichatfree._core.wire.headers import Headers
from aichatfree._core.wire.messages import dump_contents, to_contents
from aichatfree._core.wire.requests import Request, RequestBuilder
from aichatfree._core.wire.signing import Signer
from aichatfree.errors import APIError

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"
INDEX: dict[str, dict[str, str]] = json.loads((RECORDINGS / "index.json").read_text("utf-8"))["recordings"]
RECORDED_AT = 1764000000.0
"""Seconds since the epoch of every request in the recordings."""
URL = "http://h:3000/api/generate"


class Recorded(NamedTuple):
    """One recorded answer; ``chunks`` are the pieces in which its body arrived."""

    status: int
    headers: Headers
    chunks: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


def recorded(name: str) -> Recorded:
    head, _, rest = (RECORDINGS / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    chunks = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length:
            chunks.append(rest[:length])
        rest = rest[length + 2 :]
    pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return Recorded(int(first.split(" ")[1]), Headers(pairs), chunks)


def sent(name: str) -> dict[str, Any]:
    """The request body that drew a recording."""
    body: dict[str, Any] = json.loads(INDEX[name]["request"])
    return body


SIGNED = sorted(name for name in INDEX if '"sign"' in INDEX[name]["request"])


def fail(status: int = 500, body: bytes | str = b"", url: str = URL, secrets: Any = (), **headers: str) -> APIError:
    data = body.encode() if isinstance(body, str) else body
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return failure(status, Headers(pairs), data, url=url, now=RECORDED_AT, secrets=secrets)


def said(message: Any, **more: Any) -> str:
    return json.dumps({"error": {"message": message, **more}})


def upstream(message: str) -> str:
    """How the server words a failure of the model's provider."""
    return said(f"[GoogleGenerativeAI Error]: Error fetching from  {message}", code="Error")


class Clock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def settings(**given: Any) -> Settings:
    given.setdefault("base_url", "http://h:3000")
    return Settings.resolve(environ={}, **given)


@dataclass
class Answer:
    """What a transport would tell of an answer."""

    request: Request
    status: int = 200
    headers: Headers = field(default_factory=Headers)


class Bench:
    """One call with everything it needs, and clocks to turn by hand."""

    def __init__(self, messages: Any = "hello", *, auth: bool = False, restartable: bool = False, **given: Any) -> None:
        self.monotonic, self.wall = Clock(100.0), Clock(RECORDED_AT)
        self.settings = settings(**given)
        self.signer = Signer(self.settings.secret, self.wall)
        builder = RequestBuilder(self.settings, self.signer, "aichatfree/test")
        contents = to_contents(messages)

        def make_request(url: str | None) -> Request:
            if auth:
                return builder.auth(None, url)
            return builder.generate(dump_contents(contents), contents[-1].text, url)

        self.call = Call(
            self.settings,
            self.signer,
            Clocks(self.monotonic, self.wall, lambda: 0.5),
            make_request,
            auth=auth,
            restartable=restartable,
        )

    def answer(self, status: int = 200, headers: dict[str, str] | None = None, url: str = URL) -> Answer:
        request = Request("POST", url, {}, b"", self.settings.secrets)
        return Answer(request, status, Headers((headers or {}).items()))


locations = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="htps:/\\@#?[]%.0123456789", max_size=30),
    st.sampled_from(
        [URL, "/x", "///evil", "http://", "//h:3000/x", "https://h/x", "http://[::1", "http://h:port/", "x:y"]
    ),
)
"""What a server may say in ``Location``."""
