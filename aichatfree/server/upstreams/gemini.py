"""Google's Gemini API: `models/{model}:streamGenerateContent`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ... import Timeout
from ..failures import BlockedError, UpstreamError
from . import wording
from .base import Message, Upstream
from .keys import Key, read_keys
from .options import Options
from .prompts import turns_of
from .reply import Reply, list_of, object_of

__all__ = ["Gemini"]

# v1, which the real server calls, has no `systemInstruction`.
_VERSION = "/v1beta"
_UNFILTERED = [
    {"category": f"HARM_CATEGORY_{category}", "threshold": "BLOCK_NONE"}
    for category in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]
"""What the real server asks for."""
_UNSPECIFIED = ("", "FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED")
_BLOCKS = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"}
)


class Gemini(Upstream):
    """Gemini behind a server: `LocalServer(reply=Gemini("your key"))`.

    The provider's filters are switched off as far as it allows, as the real server does; what is blocked all the same
    ends the reply with an error.

    Args:
        api_key: The key, or several: one whose quota is used up rests for as long as it was told, else for a minute,
            and the next serves, within the same request.
        model: The model's name.
        base_url: The address of the API, without its version.
        system: A system text for every conversation.
        temperature: How free the replies are, 0 or more; None: the model's default.
        max_tokens: How many tokens a reply has at most; None: the model's default.
        proxy: The URL of an HTTP proxy; the environment's are not used.
        timeout: The limits of one reply, with all its attempts; see `aichatfree.Timeout`.

    Raises:
        InvalidRequestError: An argument cannot work; the text says which, and never repeats a key.
    """

    __module__ = "aichatfree.server"
    name = "Gemini"

    def __init__(
        self,
        api_key: str | Sequence[str],
        *,
        model: str = "gemini-2.5-flash",
        base_url: str = "https://generativelanguage.googleapis.com",
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        proxy: str | None = None,
        timeout: Timeout | float | None = Timeout(),  # noqa: B008 - it cannot be changed
    ) -> None:
        keys = read_keys("api_key", api_key)
        options = Options(
            base_url,
            model=model,
            system=system,
            temperature=temperature,
            max_tokens=max_tokens,
            proxy=proxy,
            timeout=timeout,
        )
        options.url = options.url.removesuffix(_VERSION)
        super().__init__(options, keys)
        name = options.model if "/" in options.model else f"models/{options.model}"
        self._model_path = f"{_VERSION}/{quote(name, safe='/')}"

    async def probe(self) -> None:
        """Ask for the description of the model, which costs nothing; see `Upstream.probe`."""
        error = (await self._probe("GET", self._model_path)).error
        if error is None:
            return
        if error.status != 404:
            raise self._sentence(error)
        if "models/" in error.message:  # else what answered has only a part of the API
            raise self._sentence(error, "choose another model")

    def _path(self) -> str:
        return f"{self._model_path}:streamGenerateContent?alt=sse"

    def _payload(self, messages: Sequence[Message]) -> dict[str, Any]:
        contents = [{"role": role, "parts": [{"text": text}]} for role, text in turns_of(messages)]
        payload: dict[str, Any] = {"contents": contents, "safetySettings": _UNFILTERED}
        if self._options.system is not None:
            payload["systemInstruction"] = {"parts": [{"text": self._options.system}]}
        tuning = self._options.tuning(temperature="temperature", max_tokens="maxOutputTokens")
        if tuning:
            payload["generationConfig"] = tuning
        return payload

    def _credentials(self, key: Key | None) -> dict[str, str]:
        assert key is not None
        return {**super()._credentials(key), "x-goog-api-key": key.reveal()}

    def _read(self, event: dict[str, Any], reply: Reply) -> None:
        candidates = [each for each in list_of(event, "candidates") if isinstance(each, dict)]
        for candidate in candidates:
            if candidate.get("index") not in (None, 0):
                continue
            for part in list_of(object_of(candidate, "content"), "parts"):
                if isinstance(part, dict) and not part.get("thought"):
                    reply.add(part.get("text"))
            self._finish(candidate.get("finishReason"), reply)
        reason = object_of(event, "promptFeedback").get("blockReason")
        if isinstance(reason, str) and reason not in _UNSPECIFIED:
            raise _blocked("Text not available. Response", "prompt", reason)

    def _finish(self, reason: Any, reply: Reply) -> None:
        if not isinstance(reason, str) or reason in _UNSPECIFIED:
            return
        if reason == "STOP":
            reply.finish = reply.finish or "whole"
        elif reason == "MAX_TOKENS":
            reply.finish = "length"
        elif reason in _BLOCKS:
            raise _blocked("Candidate", "reply", reason)
        else:
            raise wording.broken(f"Gemini ended the reply early ({wording.named(reason)})")


def _blocked(what: str, which: str, reason: str) -> UpstreamError:
    named = wording.named(reason)
    return BlockedError(f"{wording.PREFIX}{what} was blocked due to {named}", reason=f"{which} blocked: {named}")
