"""What is shown of what came from outside: one line, no control characters, and none of our secrets. No I/O.

Servers and proxies repeat what they were sent: in status lines, headers, chunk sizes, addresses, error pages. Whatever
of theirs becomes part of an error, a log line or a header of ours passes through here, and only here.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import unquote

from .headers import Headers
from .spellings import Spellings, forms_of

MAX_SHOWN = 300
"""As many characters of foreign words as an error's text repeats."""

_TELLING = 6
"""Characters of which a secret is no word that stands in an address anyhow."""

_SCHEME = r"(?i)[a-z][a-z0-9+.-]*://"
_HOST_AND_PATH = (
    r"(?is)(\[[0-9a-f:.%]*\]|localhost|[0-9]{1,3}(\.[0-9]{1,3}){3})(:[0-9]*)?[/?#]"
    r"|[^:@/?#]+[/?#][^:]*@[^@]*\Z"
)
"""What holds an ``@`` and no user: an address that is nobody's name, or a name, and no colon as before a password."""

_PIECE = 4
"""Characters of a secret that are hidden where the rest of it was cut off."""

_LONGEST_EXCERPT = 2000

_EDGES = r"\.\.\.|['\"]|\Z"
"""Where an excerpt begins or ends, as parsers quote what they could not read; or the text, which may have been cut."""


def short(detail: object, secrets: Iterable[str] = ()) -> str:
    """Foreign words on one line, without secrets and without control characters, which would command a terminal."""
    words = " ".join(Redactor(secrets).of_an_excerpt(str(detail)).split()) or type(detail).__name__
    shown = words if len(words) <= MAX_SHOWN else f"{words[:MAX_SHOWN]}..."
    return "".join(character if character.isprintable() else "\ufffd" for character in shown)


class Redactor:
    """Replaces secrets in texts that are shown: as they are, and as JSON, URLs, HTML, reprs and Base64 write them.

    Args:
        secrets: What must not be shown; empty strings do not count.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        named = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        forms = {form for secret in named for form in forms_of(secret)}
        self._forms = sorted(forms - {""}, key=len, reverse=True)
        self._spellings = [Spellings(secret) for secret in named if not (secret.isascii() and secret.isalnum())]

    def __call__(self, text: str) -> str:
        """``text`` with every secret in it replaced by ``***``."""
        for form in self._forms:
            text = text.replace(form, "***")
        for spellings in self._spellings:
            text = spellings.sub(text)
        return text

    def of_an_excerpt(self, text: str) -> str:
        """``text`` without secrets, also where only the beginning or the end of one stands at the edge of a quotation.

        The libraries quote what they had received when they gave up, or the first hundred bytes of it.
        """
        text = self(text)
        if not self._forms:
            return text
        if len(text) > _LONGEST_EXCERPT:
            text = f"{text[:_LONGEST_EXCERPT]}..."
        parts: list[str] = []
        begins = 0
        for edge in re.finditer(_EDGES, text):
            parts += (self._without_pieces(text[begins : edge.start()]), edge[0])
            begins = edge.end()
        return "".join(parts)

    def of_a_cut(self, text: str) -> str:
        """``text`` without secrets, also where it ends amid one: the connection may have been cut there."""
        text = self(text)
        for form in self._forms:
            if len(form) > _PIECE:
                text = _without_beginning(text, form)
        return text

    def _without_pieces(self, excerpt: str) -> str:
        if len(excerpt) < _PIECE:
            return excerpt
        for form in self._forms:
            if excerpt in form:
                return "***"
            if len(form) > _PIECE:
                excerpt = _without_end(_without_beginning(excerpt, form), form)
        return excerpt

    def is_repeated_in(self, text: str) -> bool:
        """Whether ``text``, of which a part may be percent-encoded, repeats a secret that is too long for chance."""
        texts = (text, unquote(text))
        if any(form in each for form in self._forms if len(form) >= _TELLING for each in texts):
            return True
        telling = [spellings for spellings in self._spellings if spellings.size >= _TELLING]
        return any(spellings.sub(each) != each for spellings in telling for each in texts)

    def headers(self, pairs: Iterable[tuple[str, str]]) -> Headers:
        """Headers without secrets."""
        return Headers((self._of_a_name(name), self.of_an_address(value)) for name, value in pairs)

    def _of_a_name(self, name: str) -> str:
        lowered = name.lower()  # as it may have come, and as who iterates over the headers gets it
        return "***" if any(form.lower() in lowered for form in self._forms) else name

    def of_an_address(self, text: str) -> str:
        """``text`` without secrets, also where it has percent signs in places that nobody would put them."""
        shown = self(text)
        return self(unquote(shown)) if "%" in shown and self.is_repeated_in(shown) else shown


def _without_beginning(text: str, form: str) -> str:
    """A text at the end of which the beginning of a form of a secret is replaced."""
    begun = form[:_PIECE]
    at = text.find(begun, max(0, len(text) - len(form)))
    while at >= 0 and not form.startswith(text[at:]):
        at = text.find(begun, at + 1)
    return text if at < 0 else f"{text[:at]}***"


def _without_end(text: str, form: str) -> str:
    """A text at the beginning of which the end of a form of a secret is replaced."""
    ended = form[-_PIECE:]
    at = text.rfind(ended, 0, len(form))
    while at >= 0 and not form.endswith(text[: at + _PIECE]):
        at = text.rfind(ended, 0, at + _PIECE - 1)
    return text if at < 0 else f"***{text[at + _PIECE :]}"


class RedactedError(Exception):
    """Stands for an exception of a library whose words showed a secret: the same words without it."""


def sealed(error: BaseException, secrets: Iterable[str]) -> BaseException:
    """An exception as it may be the cause of one of ours: neither its words nor its frames show a secret.

    The frames of its traceback lose their local variables, among which are the request's body and headers; the lines
    stay. The exception loses the request and the answer, which some libraries tie to it. One that shows a secret, or
    has one in its chain that does, is replaced by one that does not.

    Args:
        error: What a library raised. It must have been caught: its frames have ended.
        secrets: What must not be shown.

    Returns:
        ``error`` itself, where that shows nothing.
    """
    chain = list(_chain(error))
    for each in chain:
        if each.__traceback__ is not None:
            traceback.clear_frames(each.__traceback__)
        for name in ("request", "response"):
            if getattr(each, name, None) is not None:
                with suppress(AttributeError):
                    setattr(each, name, None)
    redactor = Redactor(secrets)
    if all(redactor.of_an_excerpt(text) == text for each in chain for text in _texts(each)):
        return error
    causes: BaseException | None = None
    for each in reversed(chain):
        words = redactor.of_an_excerpt(str(each)) or type(each).__name__
        stand_in = RedactedError(f"{type(each).__module__}.{type(each).__qualname__}: {words}")
        stand_in.__cause__ = causes
        causes = stand_in
    assert causes is not None
    return causes


def clear_locals(error: BaseException) -> None:
    """Empty the frames of an exception of ours, and of its causes, of their local variables."""
    cause: BaseException | None = error
    while cause is not None:  # not its context, which may be the caller's
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from: libraries wrap errors as arguments as often as by ``raise from``."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += (each.__context__, *each.args, getattr(each, "reason", None), each.__cause__)


def _texts(error: BaseException) -> Iterator[str]:
    yield str(error)
    yield repr(error)
    for name, value in vars(error).items():
        if isinstance(value, (str, bytes)) or (name == "headers" and isinstance(value, Mapping)):
            yield repr(value) if not isinstance(value, Mapping) else repr(dict(value))


def hide_userinfo(url: str) -> str:
    """A URL without the user and password it may hold.

    People may have typed it: ``/``, ``?``, ``#`` and ``@`` stand in their passwords as they are, where a URL ends its
    host. So all up to the last ``@`` is hidden, but where it can only be part of a path or a query.
    """
    if "@" not in url:  # nor are the patterns compiled, which takes longer than all of the rest
        return url
    scheme = re.match(_SCHEME, url)
    begins = scheme.end() if scheme else 0
    at = url.rfind("@", begins)
    if at < 0 or re.compile(_HOST_AND_PATH).match(url, begins):
        return url
    return f"{url[:begins]}***{url[at:]}"
