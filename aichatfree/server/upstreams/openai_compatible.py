"""Whatever speaks the OpenAI API: `/chat/completions` of llama.cpp, vLLM, LM Studio, OpenRouter, OpenAI and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ... import Timeout
from ...errors import InvalidRequestError
from ..failures import BlockedError, UpstreamError
from . import wording
from .base import Message, Upstream
from .events import BrokenStreamError
from .keys import Key, read_key
from .options import Options
from .prompts import turns_of
from .reply import Reply, list_of

__all__ = ["OpenAICompatible"]

_LENGTHS = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_BLOCKS = frozenset({"content_filter", "refusal", "safety", "recitation", "prohibited_content", "sensitive"})
_FAILURES = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "timeout", "network_error", "insufficient_system_resource"}
)
"""Finish reasons with which OpenRouter, vLLM, DeepSeek and others say that a reply is not whole."""


class OpenAICompatible(Upstream):
    """A server of the OpenAI API behind a server: `OpenAICompatible("http://127.0.0.1:8080/v1", model="NAME")`.

    Args:
        base_url: The address as such servers print it, mostly with `/v1` at its end.
        model: The model's name there.
        api_key: The key, where one is needed.
        system: A system text for every conversation.
        temperature: How free the replies are, 0 or more; None: the upstream's default.
        max_tokens: How many tokens a reply has at most; None: the upstream's default.
        proxy: The URL of an HTTP proxy; the environment's are not used.
        timeout: The limits of one reply; see `aichatfree.Timeout`.

    Raises:
        InvalidRequestError: An argument cannot work; the text says which, and never repeats a key.
    """

    __module__ = "aichatfree.server"
    name = "The model's server"

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        proxy: str | None = None,
        timeout: Timeout | float | None = Timeout(),  # noqa: B008 - it cannot be changed
    ) -> None:
        options = Options(
            base_url,
            model=model,
            system=system,
            temperature=temperature,
            max_tokens=max_tokens,
            proxy=proxy,
            timeout=timeout,
        )
        if urlsplit(options.url).path.endswith(("/completions", "/responses", "/models")):
            raise InvalidRequestError(
                f"base_url {options.url!r} must stop before the last part: give it as in http://127.0.0.1:8080/v1"
            )
        if api_key is not None and options.authorization is not None:
            raise InvalidRequestError(
                "base_url has a user and password, and api_key is given too: one header bears both"
            )
        super().__init__(options, [] if api_key is None else [read_key("api_key", api_key)])

    async def probe(self) -> None:
        """Ask for the list of models; see `Upstream.probe`."""
        answer = await self._probe("GET", "/models")
        if answer.error is not None:
            if answer.error.status in (404, 405, 501):
                return  # not every server has a list
            raise self._sentence(answer.error)
        models = [each for each in list_of(answer.document, "data") if isinstance(each, dict)]
        names = [each["id"] for each in models if isinstance(each.get("id"), str)]
        if not names or self._options.model in names or any(each.get("owned_by") == "llamacpp" for each in models):
            return  # llama.cpp answers to any name
        some = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
        missing = wording.failure(404, "", wording.Said(f"no model {self._options.model!r}; there are {some}"))
        raise self._sentence(missing)

    def _path(self) -> str:
        return "/chat/completions"

    def _payload(self, messages: Sequence[Message]) -> dict[str, Any]:
        roles = {"user": "user", "model": "assistant"}
        said = [{"role": roles[role], "content": text} for role, text in turns_of(messages)]
        if self._options.system is not None:
            said.insert(0, {"role": "system", "content": self._options.system})
        # OpenAI's own newer models refuse the name that all the others know.
        own = urlsplit(self._options.url).hostname == "api.openai.com"
        tuning = self._options.tuning(
            temperature="temperature", max_tokens="max_completion_tokens" if own else "max_tokens"
        )
        return {"model": self._options.model, "messages": said, "stream": True, **tuning}

    def _credentials(self, key: Key | None) -> dict[str, str]:
        return super()._credentials(key) if key is None else {"Authorization": f"Bearer {key.reveal()}"}

    def _read(self, event: dict[str, Any], reply: Reply) -> None:
        for choice in list_of(event, "choices"):
            if not isinstance(choice, dict) or choice.get("index") not in (0, None):
                continue
            message = choice.get("delta") or choice.get("message")  # the latter where it did not stream
            if isinstance(message, dict):
                _add(message.get("content"), reply)
                if message.get("refusal"):
                    raise _blocked("refusal")
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                self._finish(reason, reply)

    def _finish(self, reason: str, reply: Reply) -> None:
        word = reason.lower()
        if word in _BLOCKS:
            raise _blocked(reason)
        if word in _FAILURES:
            raise wording.broken(f"the upstream ended the reply early ({wording.named(reason)})")
        reply.finish = "length" if word in _LENGTHS else reply.finish or "whole"


def _add(content: Any, reply: Reply) -> None:
    """Take the content of a message: a text, or parts, of which those that are text count."""
    if not isinstance(content, list):
        reply.add(content)
        return
    for part in content:
        if not isinstance(part, dict):
            raise BrokenStreamError("the answer has something other than text where its text should be")
        if part.get("type") in ("text", "output_text"):
            reply.add(part.get("text"))


def _blocked(reason: str) -> UpstreamError:
    named = wording.named(reason)
    return BlockedError(f"{wording.PREFIX}Candidate was blocked due to {named}", reason=f"reply blocked: {named}")
