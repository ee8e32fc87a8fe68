"""What two requests tell about a server: the report of ``client.check()``. No I/O.

One request goes to ``/api/auth``, and if that leaves hope, a tiny one to ``/api/generate``. The server checks the
password, then the signature, and asks the model last; so what the second request fails with tells how far it came.
"""

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, Literal, NamedTuple

from ..errors import (
    AIChatFreeError,
    APIError,
    AuthenticationError,
    InvalidPasswordError,
    InvalidSignatureError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    StreamInterruptedError,
    TransportError,
)
from .call import Call
from .client import BaseClient
from .timeouts import CLIENT_TIMEOUT, ClientTimeout, Timeout
from .wire.frozen import Frozen
from .wire.redaction import hide_userinfo
from .wire.signing import CLEAR_SKEW_SECONDS, Signer

NAMES = ("reachable", "protocol", "password", "signature", "upstream", "reply")
PROMPT = "Reply with the word OK and nothing else."
"""What the model is asked; it costs next to no quota."""

WIDTH = 80
"""Columns of the printed report."""

CheckStatus = Literal["ok", "failed", "skipped"]


class CheckResult(NamedTuple):
    """One thing that was checked.

    Args:
        name: One of :data:`NAMES`.
        status: ``"ok"``, ``"failed"``, or ``"skipped"`` where something before it failed or does not tell.
        explanation: What was found.
        remedy: What to do about it, ``""`` if nothing.
        seconds: What it took, where it took a request of its own: ``reachable`` until the answer to the first one,
            ``reply`` until the first text.
    """

    name: str
    status: CheckStatus
    explanation: str
    remedy: str = ""
    seconds: float | None = None


CheckResult.__module__ = "aichatfree"


class CheckReport(Frozen):
    """What ``client.check()`` found. ``print(report)`` shows it as a table.

    Args:
        base_url: The server that was checked.
        results: One for each thing, in the order in which they depend on each other.
    """

    __module__ = "aichatfree"

    base_url: str
    results: tuple[CheckResult, ...]

    def __init__(self, base_url: str, results: tuple[CheckResult, ...]) -> None:
        super().__init__(base_url=base_url, results=results)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not any(result.status == "failed" for result in self.results)

    def __iter__(self) -> Iterator[CheckResult]:
        return iter(self.results)

    def __getitem__(self, name: str) -> CheckResult:
        """The result of that name."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {"base_url": self.base_url, "ok": self.ok, "results": [result._asdict() for result in self.results]}

    def __str__(self) -> str:
        lines = [f"{self.base_url}: {'all is well' if self.ok else 'something is wrong'}"]
        for result in self.results:
            lines += _row(f"  {result.status:<7}  {result.name:<9}  ", result.explanation)
            if result.remedy:
                lines += _row(f"{'':<22}-> ", result.remedy)
        return "\n".join(lines)

    def __repr__(self) -> str:
        states = ", ".join(f"{result.name} {result.status}" for result in self.results)
        return f"<CheckReport of {self.base_url}: {states}>"


class Observation(NamedTuple):
    """How one request of a check ended.

    Args:
        error: What it failed with, None if it did not.
        accepted: Of the first request: the server accepts the password.
        status: The HTTP status, None if there was no answer.
        seconds: What it took.
        first_text_seconds: What it took until the first text, None if there was none.
        skew: By how many seconds the server's clock is ahead of this machine's, None if it does not tell.
        resigned: The signatures are made with the server's clock, since this machine's was refused.
    """

    error: AIChatFreeError | None
    accepted: bool
    status: int | None
    seconds: float
    first_text_seconds: float | None
    skew: float | None
    resigned: bool

    @classmethod
    def of(cls, call: Call, error: AIChatFreeError | None, signer: Signer) -> "Observation":
        """What a call that has just ended tells."""
        return cls(
            error=error,
            accepted=call.accepted,
            status=call.status_code,
            seconds=call.stats.total_seconds,
            first_text_seconds=call.stats.first_text_seconds,
            skew=signer.skew(call.headers.get("date")),
            resigned=signer.offset_seconds != 0,
        )

    @property
    def hopeful(self) -> bool:
        """Of the first request: whether the second one may tell more."""
        if self.error is None:
            return self.accepted
        return self.status is not None and not isinstance(self.error, RedirectError)

    @property
    def speaks(self) -> bool:
        """Of the second request: whether the answer was that of a GeminiProChat server."""
        return self.past_signature or isinstance(self.error, (InvalidPasswordError, InvalidSignatureError))

    @property
    def past_signature(self) -> bool:
        """Of the second request: whether the server went on to ask the model."""
        if isinstance(self.error, APIError):
            return self.error.upstream_status is not None or (self.error.status_code == 500 and bool(self.error.code))
        return self.status == 200


def once(timeout: Timeout | float | ClientTimeout | None) -> dict[str, Any]:
    """The options of a client that makes one attempt, within ``timeout``."""
    return {"max_retries": 0} if timeout is CLIENT_TIMEOUT else {"max_retries": 0, "timeout": timeout}


def tiny_call(asker: BaseClient[Any, Any]) -> Call:
    """The second request of a check."""
    return asker._generate_call(PROMPT, model=None)


def report(client: BaseClient[Any, Any], auth: Observation, reply: Observation | None) -> CheckReport:
    """The report on a client's server, see :func:`judge`."""
    return judge(client.base_url, bool(client._settings.password), auth, reply)


def _row(margin: str, text: str) -> list[str]:
    return wrap(
        text,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=" " * len(margin),
        break_long_words=False,
        break_on_hyphens=False,
    )


def judge(base_url: str, has_password: bool, auth: Observation, reply: Observation | None) -> CheckReport:
    """Make the report.

    Args:
        base_url: The server that was asked.
        has_password: Whether the client has a password.
        auth: The request to ``/api/auth``.
        reply: The request to ``/api/generate``, None if it was not made.
    """
    reachable = _reachable(auth)
    protocol = _protocol(auth, reply)
    if reply is None or protocol.status != "ok":
        passed = () if protocol.status != "ok" else (_password(has_password, None),)
        first = (reachable, protocol, *passed)
        return CheckReport(base_url, first + tuple(map(_not_reached, NAMES[len(first) :])))
    checks = (_password(has_password, reply), _signature(auth.skew, reply), _upstream(reply), _reply(reply))
    return CheckReport(base_url, (reachable, protocol, *checks))


def _not_reached(name: str) -> CheckResult:
    return CheckResult(name, "skipped", "not reached")


def _reachable(auth: Observation) -> CheckResult:
    if auth.status is not None:
        return CheckResult("reachable", "ok", f"an answer came after {_time(auth.seconds)}", seconds=auth.seconds)
    remedy = "do what that says, or give another server as base_url=... or AICHATFREE_BASE_URL"
    if _was_closed(auth.error):
        remedy = _STAY_OPEN
    return CheckResult("reachable", "failed", _words(auth.error), remedy, auth.seconds)


def _protocol(auth: Observation, reply: Observation | None) -> CheckResult:
    if auth.status is None:
        return _not_reached("protocol")
    if auth.error is None:
        return CheckResult("protocol", "ok", "it answers as a GeminiProChat server")
    if reply is not None and reply.speaks:
        return CheckResult("protocol", "ok", f"/api/generate answers as it should; /api/auth does not: {auth.error}")
    return CheckResult("protocol", "failed", _words(auth.error), _stranger_remedy(auth.error))


_STAY_OPEN = "check again with a client that nobody closes meanwhile"


def _was_closed(error: AIChatFreeError | None) -> bool:
    """Whether the client, and not the server, has ended a request."""
    return isinstance(error, StreamInterruptedError) and error.by_caller


def _words(error: AIChatFreeError | None) -> str:
    return "the client was closed during the check" if _was_closed(error) else str(error)


def _stranger_remedy(error: AIChatFreeError) -> str:
    """What to do about an answer that does not come from the server itself, or not from such a server."""
    if _was_closed(error):
        return _STAY_OPEN
    if isinstance(error, NotFoundError):
        return "give the server's root as base_url=..., such as http://127.0.0.1:3000"
    if isinstance(error, RedirectError):
        return f"if you trust {hide_userinfo(error.location) or 'the other server'}, give its root as base_url=..."
    if isinstance(error, AuthenticationError):
        return "something before the server wants credentials: give them in base_url=..., or as headers=..."
    if isinstance(error, PermissionDeniedError):
        return "something before the server refuses you: try from another network, or another server"
    if isinstance(error, TransportError) or (isinstance(error, APIError) and error.status_code in _PASSING):
        return "try again later, or give another server as base_url=..."
    return "give the address of a GeminiProChat server as base_url=..."


_PASSING = (408, 425, 429, *range(500, 600))


def _password(has_password: bool, reply: Observation | None) -> CheckResult:
    """``reply`` is None where ``/api/auth`` has refused the password."""
    if reply is None or isinstance(reply.error, InvalidPasswordError):
        found = "the server refuses the password" if has_password else "the server wants a password"
        return CheckResult("password", "failed", found, "give the site's as password=... or AICHATFREE_PASSWORD")
    found = "the server accepts the password, or needs none" if has_password else "the server needs no password"
    return CheckResult("password", "ok", found)


def _signature(skew: float | None, reply: Observation) -> CheckResult:
    off = skew is not None and abs(skew) >= CLEAR_SKEW_SECONDS
    clock = f"its clock is {abs(skew or 0):.0f} s {'ahead of' if (skew or 0) > 0 else 'behind'} this machine's"
    if isinstance(reply.error, InvalidSignatureError):
        remedy = "give the server's PUBLIC_SECRET_KEY as secret=... or AICHATFREE_SECRET"
        if off:
            found = f"the server refuses the signature, also with its own time ({clock}): the secret is wrong"
            remedy += ", and set this machine's clock"
        elif skew is None:
            found = "the server refuses the signature and tells no time: the secret is wrong, or the clock"
            remedy += ", and check this machine's clock"
        else:
            found = "the server refuses the signature, and the clocks agree: the secret is wrong"
        return CheckResult("signature", "failed", found, remedy)
    if not reply.past_signature:
        return _not_reached("signature")
    found = "the server accepts the signature"
    if not off:
        return CheckResult("signature", "ok", found)
    found += f", but only with its own time: {clock}" if reply.resigned else f"; {clock}"
    return CheckResult("signature", "ok", found, "set this machine's clock; some servers check it")


def _upstream(reply: Observation) -> CheckResult:
    """What the model's provider says to the server."""
    error = reply.error
    if error is None:
        return CheckResult("upstream", "ok", "the model's provider serves the server")
    if not reply.past_signature:
        return _not_reached("upstream")
    if isinstance(error, RateLimitError):
        wait = "" if error.retry_after is None else f" {error.retry_after:.0f} s"
        return CheckResult("upstream", "failed", str(error), f"wait{wait or ' a while'}, or use another server")
    if isinstance(error, (PermissionDeniedError, NotFoundError)):
        return CheckResult("upstream", "failed", str(error), "use another server, or tell this one's operator")
    if isinstance(error, APIError) or (isinstance(error, StreamInterruptedError) and error.in_band):
        return CheckResult("upstream", "failed", str(error), "try again later, or use another server")
    return CheckResult("upstream", "skipped", "the reply did not arrive whole")


def _reply(reply: Observation) -> CheckResult:
    if reply.error is None:
        first = reply.first_text_seconds or 0.0
        found = f"the first text after {_time(first)}, the whole reply after {_time(reply.seconds)}"
        return CheckResult("reply", "ok", found, seconds=first)
    if isinstance(reply.error, (InvalidPasswordError, InvalidSignatureError)) or _upstream(reply).status == "failed":
        return _not_reached("reply")
    later = reply.past_signature and not _was_closed(reply.error)
    remedy = "check again later, or use another server" if later else _stranger_remedy(reply.error)
    return CheckResult("reply", "failed", _words(reply.error), remedy, reply.seconds)


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
