"""What is shown of what came from outside: one line, no control characters, and none of our secrets. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from .signing import well_formed

MAX_SHOWN = 300
"""As many characters of the server's own words as an error's text repeats."""
_USERINFO = r"(?is)^([a-z][a-z0-9+.-]*://)?.*@"


def short(detail: object) -> str:
    """Foreign words on one line, without the control characters that would command a terminal."""
    words = " ".join(str(detail).split()) or type(detail).__name__
    shown = words if len(words) <= MAX_SHOWN else f"{words[:MAX_SHOWN]}..."
    return "".join(character if character.isprintable() else "\ufffd" for character in shown)


class Redactor:
    """Replaces secrets in texts that are shown: as they are, and as JSON, URLs and HTML write them.

    Args:
        secrets: What must not be shown; empty strings do not count.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = sorted(forms - {""}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``text`` with every secret in it replaced by ``***``."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text


def _forms(secret: str) -> tuple[str, ...]:
    import html

    sound = well_formed(secret)
    return (
        secret,
        " ".join(secret.split()),  # as the words of a page are shown
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(sound, safe=""),
        quote(sound, safe="!'()*"),  # JavaScript's encodeURIComponent
        quote_plus(sound),
        html.escape(secret),
        html.escape(secret, quote=False),
    )


def hide_userinfo(url: str) -> str:
    """A URL without the user and password it may hold."""
    return re.sub(_USERINFO, r"\1***@", url)
