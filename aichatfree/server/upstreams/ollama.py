"""Ollama's own API: `/api/chat`, which streams a line of JSON a piece."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ... import Timeout
from ...errors import InvalidRequestError
from . import wording
from .base import Message, Upstream
from .events import JSONLines
from .options import Options
from .prompts import turns_of
from .reply import Reply, list_of, object_of

__all__ = ["Ollama"]


class Ollama(Upstream):
    """Ollama behind a server: `LocalServer(reply=Ollama(model="llama3.2"))`.

    Args:
        base_url: Its address.
        model: The model's name there; `ollama list` shows them.
        system: A system text for every conversation.
        temperature: How free the replies are, 0 or more; None: the model's default.
        max_tokens: How many tokens a reply has at most; None: the model's default.
        proxy: The URL of an HTTP proxy; the environment's are not used.
        timeout: The limits of one reply; see `aichatfree.Timeout`. Loading a model counts to the first byte.

    Raises:
        InvalidRequestError: An argument cannot work; the text says which.
    """

    __module__ = "aichatfree.server"
    name = "Ollama"
    decoder = JSONLines

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:11434",
        *,
        model: str,
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
        if urlsplit(options.url).path.endswith(("/api", "/v1", "/api/chat")):
            raise InvalidRequestError(
                f"base_url {options.url!r} must stop before the last part: give it as in http://127.0.0.1:11434 "
                "(for the OpenAI API under /v1 there is OpenAICompatible)"
            )
        super().__init__(options)

    async def probe(self) -> None:
        """Ask for the description of the model, without loading it; see `Upstream.probe`."""
        model = self._options.model
        answer = await self._probe("POST", "/api/show", json.dumps({"model": model}).encode())
        error = answer.error
        if error is not None and error.status == 404 and "] model " not in error.message:
            # Not Ollama's own words for a missing model: something that has its API only in part.
            answer = await self._probe("GET", "/api/tags")
            names = [each.get("name") for each in list_of(answer.document, "models") if isinstance(each, dict)]
            if answer.error is not None and answer.error.status == 404:
                return
            missing = bool(names) and model not in names and f"{model}:latest" not in names
            said = wording.Said(f"model {model!r} not found")
            error = answer.error or (wording.failure(404, "", said) if missing else None)
        if error is not None:
            raise self._sentence(error, f"ollama pull {model}" if error.status == 404 else "")

    def _path(self) -> str:
        return "/api/chat"

    def _payload(self, messages: Sequence[Message]) -> dict[str, Any]:
        roles = {"user": "user", "model": "assistant"}
        said = [{"role": roles[role], "content": text} for role, text in turns_of(messages)]
        if self._options.system is not None:
            said.insert(0, {"role": "system", "content": self._options.system})
        payload: dict[str, Any] = {"model": self._options.model, "messages": said, "stream": True}
        tuning = self._options.tuning(temperature="temperature", max_tokens="num_predict")
        return {**payload, "options": tuning} if tuning else payload

    def _read(self, event: dict[str, Any], reply: Reply) -> None:
        reply.add(object_of(event, "message").get("content"))
        if event.get("done") is True:
            reason = event.get("done_reason")
            if reason in ("load", "unload"):
                raise wording.broken(f"Ollama answered without a reply ({reason})")
            reply.finish = "length" if reason == "length" else "whole"
            reply.last = True
