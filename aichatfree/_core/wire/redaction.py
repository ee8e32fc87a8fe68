"""What is shown of what came from outside: one line, no control characters, and none of our secrets. No I/O.

Servers and proxies repeat what they were sent: in status lines, headers, chunk sizes, addresses, error pages. Whatever
of theirs becomes part of an error, a log line or a header of ours passes through here, and only here.
"""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, quote_plus, unquote

from .headers import Headers
from .signing import well_formed

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


def short(detail: object, secrets: Iterable[str] = ()) -> str:
    """Foreign words on one line, without secrets and without control characters, which would command a terminal."""
    words = " ".join(Redactor(secrets)(str(detail)).split()) or type(detail).__name__
    shown = words if len(words) <= MAX_SHOWN else f"{words[:MAX_SHOWN]}..."
    return "".join(character if character.isprintable() else "\ufffd" for character in shown)


class Redactor:
    """Replaces secrets in texts that are shown: as they are, and as JSON, URLs, HTML, reprs and Base64 write them.

    Args:
        secrets: What must not be shown; empty strings do not count.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._forms = sorted(forms - {""}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``text`` with every secret in it replaced by ``***``."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text

    def is_repeated_in(self, text: str) -> bool:
        """Whether ``text``, of which a part may be percent-encoded, repeats a secret that is too long for chance."""
        texts = (text, unquote(text))
        return any(form in each for form in self._forms if len(form) >= _TELLING for each in texts)

    def headers(self, pairs: Iterable[tuple[str, str]]) -> Headers:
        """Headers without secrets."""
        return Headers((self(name), self.of_an_address(value)) for name, value in pairs)

    def of_an_address(self, text: str) -> str:
        """``text`` without secrets, also where it has percent signs in places that nobody would put them."""
        shown = self(text)
        return self(unquote(shown)) if "%" in shown and self.is_repeated_in(shown) else shown


def _forms(secret: str) -> Iterator[str]:
    sound = well_formed(secret)
    encoded = sound.encode()
    yield secret
    yield " ".join(secret.split())  # as the words of a page are shown
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield repr(encoded)[2:-1]
    yield encoded.decode("latin-1")  # UTF-8 that was read as Latin-1, as http.client reads headers
    yield repr(encoded.decode("latin-1"))[1:-1]
    for safe in ("", "!'()*"):  # the latter is JavaScript's encodeURIComponent
        quoted = quote(sound, safe=safe)
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    yield quote_plus(sound)
    # As html.escape writes it; to load that takes longer, and cannot be done where no file can be opened any more.
    escaped = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield escaped
    yield escaped.replace('"', "&quot;").replace("'", "&#x27;")
    if len(encoded) > 2:  # the Base64 of less says nothing, and stands in many words
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(encoded).decode().rstrip("=")


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
    if all(redactor(text) == text for each in chain for text in _texts(each)):
        return error
    causes: BaseException | None = None
    for each in reversed(chain):
        words = redactor(str(each)) or type(each).__name__
        stand_in = RedactedError(f"{type(each).__module__}.{type(each).__qualname__}: {words}")
        stand_in.__cause__ = causes
        causes = stand_in
    assert causes is not None
    return causes


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
