"""Bytes -> text: how the body of an answer is read. No I/O.

The readers have one interface, so that a driver needs no cases: ``feed(data)`` returns the text that can be emitted
now, and ``finish()``, at the end of the body, the rest. Either may raise what the answer turns out to be;
then, as when the body breaks off, ``flush(error)`` returns the text that was still held back.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from ...errors import AIChatFreeError, APIError, EmptyReplyError, ReplyTooLargeError, StreamInterruptedError
from .inflate import Inflater

_new_decoder = codecs.getincrementaldecoder("utf-8")
_PAGE_STARTS = ("<!doctype html", "<html")
_LONGEST_OPENING = 4096

MAX_BODY_BYTES = 64 * 1024
"""As much of an error's body as is read."""


class AnswerReader(Protocol):
    """What reads the body of an answer."""

    def feed(self, data: bytes) -> str:
        """Take the next bytes; return the text that may be emitted now, ``""`` if none."""
        ...

    def finish(self) -> str:
        """The body has ended: return the last text, or raise what the answer turned out to be."""
        ...

    def flush(self, error: AIChatFreeError) -> str:
        """The body broke off with ``error``: return the text still held back, or raise what is known better."""
        ...


@lru_cache(maxsize=16)
def _prepare(in_band_errors: tuple[str, ...]) -> tuple[list[str], set[str], int]:
    """The same errors for every reply of a client: longest first, their first letters, the length of the longest."""
    ordered = sorted(in_band_errors, key=len, reverse=True)
    return ordered, {error[0] for error in ordered}, max(map(len, ordered), default=0)


class ReplyReader:
    """Reads a reply: UTF-8 in any split, and the in-band failure at its end.

    Text that may be the beginning of an in-band error is held back only while it may be that, and is emitted the
    moment more text follows: only at the very end of the body do those words mean a failure.

    Args:
        max_bytes: The largest reply, in decoded bytes.
        in_band_errors: The texts that mean a failure at the end of the body.
        web_page: Makes the error to raise should the body turn out to be a page of HTML; None where it cannot be one.
        inflater: What decodes a compressed body; None where it is not compressed.
    """

    def __init__(
        self,
        max_bytes: int,
        in_band_errors: Sequence[str],
        web_page: Callable[[bytes], APIError] | None = None,
        inflater: Inflater | None = None,
    ) -> None:
        self._decoder = _new_decoder("replace")
        self._decode = self._decoder.decode
        self._max_bytes = max_bytes
        self._room = max_bytes
        self._in_band_errors, self._first_letters, self._longest = _prepare(tuple(in_band_errors))
        self._web_page = web_page
        self._page: FailureReader | None = None
        self._inflater = inflater
        self._opening = ""
        self._held = ""
        self._empty = True

    def feed(self, data: bytes) -> str:
        """Take the next bytes.

        Raises:
            ReplyTooLargeError: The byte after the last one allowed has come.
            StreamInterruptedError: The body is compressed, and broken.
            APIError: The body is a web page.
        """
        fault = None
        if self._inflater is not None:
            data = self._inflater.decode(data, self._room + 1)
            fault = self._inflater.fault
        if len(data) > self._room:
            data = data[: self._room + 1]  # how much more has come with it, is chance, and is not to be counted
        self._room -= len(data)
        text = self._decode(data if self._room >= 0 else data[: self._room])
        if self._web_page is not None:
            text = self._sniff(text, self._web_page)
        if self._page is not None:
            self._page.feed(text.encode())
            return "" if self._room >= 0 and fault is None else self._page.finish()
        if self._room < 0:
            self._held += text
            raise ReplyTooLargeError(
                f"the reply is larger than {self._max_bytes} bytes: raise max_reply_bytes if that is expected"
            )
        text = self._release(text) if text else ""
        if fault is not None:
            self._held = text + self._held
            raise fault
        return text

    def finish(self) -> str:
        """The last text.

        Raises:
            StreamInterruptedError: The body ended with an in-band error, or before its compression.
            EmptyReplyError: There was no text at all.
            APIError: The body was a web page.
        """
        if self._page is not None:
            return self._page.finish()
        if self._inflater is not None:
            self._inflater.finish()
        text = self._opening + self._held + self._decode(b"", True)
        for error in self._in_band_errors:
            if text.endswith(error):
                self._opening, self._held = "", text[: -len(error)]
                raise _in_band_failure(error, blocked=self._empty and not self._held)
        if self._empty and not text:
            raise EmptyReplyError("the server answered with success and no text: ask again, or in other words")
        return text

    @property
    def bytes_received(self) -> int:
        """Decoded bytes of the reply fed so far; a web page is none."""
        return self._max_bytes - self._room if self._page is None else 0

    def flush(self, error: AIChatFreeError) -> str:
        """The text held back; an incomplete character is not emitted.

        Where the connection was cut right behind an in-band error, the server has said why, and those words are no
        text either.

        Raises:
            APIError: The body was a web page, as far as it came.
        """
        if self._page is not None:
            return self._page.flush(error)
        text, self._opening, self._held = self._opening + self._held, "", ""
        cut = type(error) is StreamInterruptedError and not error.in_band and not error.by_caller
        if cut and not self._decoder.getstate()[0]:  # else there is more than those words, if less than a character
            for words in self._in_band_errors:
                if text.endswith(words):
                    text = text[: -len(words)]
                    said = _in_band_failure(words, blocked=self._empty and not text)
                    error.in_band, error.args = True, said.args  # type: ignore[attr-defined]
                    break
        return text

    def _release(self, text: str) -> str:
        """``text`` after what was held, but for the longest end of it that an in-band error begins with."""
        if self._held:
            text = self._held + text
        length = len(text)
        cut = length
        for letter in self._first_letters:
            at = text.find(letter, -self._longest)
            while 0 <= at < cut:
                tail = text[at:]
                for error in self._in_band_errors:
                    if error.startswith(tail):
                        cut = at
                at = text.find(letter, at + 1)
        if cut == length:
            self._held = ""
        else:
            self._held = text[cut:]
            text = text[:cut]
        if text:
            self._empty = False
        return text

    def _sniff(self, text: str, web_page: Callable[[bytes], APIError]) -> str:
        self._opening += text
        start = self._opening.lstrip("\ufeff \t\r\n").lower()
        if start.startswith(_PAGE_STARTS):
            self._page = FailureReader(web_page)  # what it is called, may stand further down
            page, self._opening, self._web_page = self._opening, "", None
            return page
        if len(self._opening) < _LONGEST_OPENING and any(page.startswith(start) for page in _PAGE_STARTS):
            return ""
        text, self._opening, self._web_page = self._opening, "", None
        return text


def _in_band_failure(words: str, *, blocked: bool) -> StreamInterruptedError:
    if blocked:
        text = "the model's provider blocked the prompt or failed at once; put it differently, or try again later"
    else:
        text = "the model's provider broke off or blocked the reply half way; ask again, or in other words"
    error = StreamInterruptedError(f"the reply ended with the server's error text {words!r}: {text}")
    error.in_band = True
    return error


class FailureReader:
    """Reads the body of an answer that is not a reply, as far as :data:`MAX_BODY_BYTES`, and raises it.

    Args:
        make_error: Makes the exception from the body.
        inflater: What decodes a compressed body; None where it is not compressed.
    """

    def __init__(self, make_error: Callable[[bytes], APIError], inflater: Inflater | None = None) -> None:
        self._make_error = make_error
        self._inflater = inflater
        self._body = bytearray()

    def feed(self, data: bytes) -> str:
        """Take the next bytes; raises once enough is known."""
        if self._inflater is not None:
            data = self._inflater.decode(data, MAX_BODY_BYTES)
        self._body += data
        if len(self._body) >= MAX_BODY_BYTES or (self._inflater is not None and self._inflater.fault is not None):
            raise self._error()
        return ""

    def finish(self) -> str:
        """Raise the error."""
        raise self._error()

    def flush(self, error: AIChatFreeError) -> str:
        """Raise the error for what had come of the body; that it broke off changes nothing about it."""
        if isinstance(error, APIError):
            return ""
        raise self._error() from error

    def _error(self) -> APIError:
        return self._make_error(bytes(self._body[:MAX_BODY_BYTES]))


class AuthReader(FailureReader):
    """Reads the answer of ``/api/auth``: ``{"code": 0}`` means that the password is right (recorded: auth_ok).

    Args:
        make_error: Makes the exception where the body is not such an answer.
    """

    accepted: bool = False

    def finish(self) -> str:
        """Set :attr:`accepted`; there is no text.

        Raises:
            APIError: The body is not an answer of this protocol.
        """
        try:
            answer = json.loads(bytes(self._body))
        except (ValueError, RecursionError):
            answer = None
        code = answer.get("code") if isinstance(answer, dict) else None
        if isinstance(code, bool) or not isinstance(code, int):
            raise self._error()
        self.accepted = code == 0
        return ""

    def flush(self, error: AIChatFreeError) -> str:
        """Nothing: an answer that broke off is not the server's failure, and may be asked for again."""
        return ""
