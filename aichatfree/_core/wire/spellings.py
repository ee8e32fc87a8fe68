"""How secrets come back: as they are, and as JSON, URLs, HTML, reprs and Base64 write them. No I/O."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

from .signing import well_formed

_LONG = 6
"""Bytes of which the Base64, or the digits, stand nowhere by chance."""


def forms_of(secret: str) -> Iterator[str]:
    """A secret as it is, and as the usual encoders write it: what is searched for as it stands, and in pieces."""
    sound = well_formed(secret)
    encoded = sound.encode()
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    # As html.escape writes it; to load that takes longer, and cannot be done where no file can be opened any more.
    escaped = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield escaped.replace('"', "&quot;").replace("'", "&#x27;")
    for data in dict.fromkeys((encoded, sound.encode("latin-1", "replace"))):
        yield repr(data)[2:-1]
        yield data.decode("latin-1")  # UTF-8 that was read as Latin-1, as http.client reads headers
        quoted = quote(data, safe="")
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
        yield from _base64_forms(data)
    for digits in (secret, encoded.hex()):
        if len(digits) >= _LONG and re.fullmatch("[0-9a-f]+", digits):  # of the secret's bytes, or it is a signature
            yield digits
            yield digits.upper()


class Spellings:
    """Finds a secret however each of its characters is escaped: twice, in parts, in one way here and in another there.

    Args:
        secret: One with characters that are escaped somewhere, so other ones than ASCII's letters and digits.
    """

    def __init__(self, secret: str) -> None:
        self.size = len(secret)
        self._core = max(re.findall("[A-Za-z0-9]*", secret), key=len)  # this is escaped nowhere, and found at once
        self._pattern = re.compile("".join(map(_escaped, re.findall(r"\\+|\s+|.", well_formed(secret)))))

    def sub(self, text: str) -> str:
        """``text`` with the secret replaced."""
        return self._pattern.sub("***", text) if self._core in text else text


def _escaped(part: str) -> str:
    """A pattern of all that may stand for one character, or for a run of backslashes or white space.

    It never goes back, and repeats nothing without a bound: the text that is searched is the server's.
    """
    if part.isascii() and part.isalnum():
        return part
    forms = {form for character in part for form in _escapes(character)}
    if part[0] == "\\":
        forms = {rf"\\{{{len(part)},{4 * len(part)}}}", *(f"(?:{form}){{{len(part)}}}" for form in forms)}
    elif part.isspace():
        forms |= {r"\s", r"\+", r"\\{1,4}[nrtfv]", "&nbsp;"}
    escaped = "|".join(sorted(forms, key=len, reverse=True))
    return rf"(?:(?>{escaped}){{{len(part)}}}|(?>\s{{1,9}}))" if part.isspace() else rf"\\{{0,8}}(?>{escaped})"


def _escapes(character: str) -> Iterator[str]:
    code, encoded = ord(character), character.encode()
    yield re.escape(character)
    yield rf"&(?:amp;){{0,3}}#(?:0{{0,6}}{code}|[xX]0{{0,6}}(?i:{code:x}));?"
    yield "".join(rf"\\{{1,4}}u(?i:{unit})" for unit in character.encode("utf-16-be").hex(" ", 2).split())
    for data in (encoded, character.encode("latin-1", "replace")):
        yield "".join(map(_escaped_byte, data))
    if character in _NAMED:
        yield f"&(?:amp;){{0,3}}{_NAMED[character]};"
    elif not character.isascii() and not character.isspace():
        yield from (rf"\\{{1,4}}U(?i:{code:08x})", "&(?:amp;){0,3}[A-Za-z]{2,8};", r"\?", "\ufffd{1,4}")
        yield from (re.escape(encoded.decode(coding, "replace")) for coding in ("latin-1", "cp1252"))


def _escaped_byte(byte: int) -> str:
    literal = "" if byte < 128 else f"|{re.escape(chr(byte))}"
    return rf"(?>%(?:25){{0,3}}(?i:{byte:02x})|\\{{1,4}}(?:x|u00)(?i:{byte:02x}){literal})"


_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


def _base64_forms(data: bytes) -> Iterator[str]:
    """The Base64 of a secret, also amid that of something longer: with one or two bytes before it, it is another."""
    if len(data) <= 2:  # that of less says nothing, and stands in many words
        return
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        for before in range(3) if len(data) >= _LONG else ():
            inner = encode(bytes(before) + data).decode().rstrip("=")
            whole = (before + len(data)) * 8 // 6  # characters without bits of what follows
            yield inner[-(-before * 8 // 6) : whole]
