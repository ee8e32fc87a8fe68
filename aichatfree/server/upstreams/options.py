"""The options of an upstream, checked before any I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote

from ... import Timeout
from ..._core.wire.addresses import read_base_url, read_proxy, split_userinfo
from ..._core.wire.signing import well_formed
from ...errors import InvalidRequestError

__all__ = ["Options"]


class Options:
    """What `Gemini`, `OpenAICompatible` and `Ollama` have in common, checked.

    Args:
        base_url: The address of the upstream.
        model: The model's name there.
        system: A system text, or None; an empty one is none.
        temperature: 0 or more, or None: the upstream's default.
        max_tokens: How long a reply may become, or None: the upstream's default.
        proxy: The URL of an HTTP proxy, or None.
        timeout: The limits of a call.

    Raises:
        InvalidRequestError: A value cannot work; the text says which and what to give instead.
    """

    def __init__(
        self,
        base_url: object,
        *,
        model: object,
        system: object,
        temperature: object,
        max_tokens: object,
        proxy: object,
        timeout: Timeout | float | None,
    ) -> None:
        parts = read_base_url(base_url)
        self.url, self.authorization = split_userinfo(parts.geturl())
        self.model = _read_model(model)
        self.system = _read_system(system)
        self.temperature = _read_temperature(temperature)
        self.max_tokens = _read_max_tokens(max_tokens)
        self.proxy = read_proxy(proxy)
        if self.proxy is not None and self.proxy.startswith("socks"):
            raise InvalidRequestError("proxy is a SOCKS proxy, which an upstream does not speak: give an HTTP proxy")
        self.timeout = Timeout.of(timeout)
        self.secrets = [*_secrets_of(parts), *_secrets_of(self.proxy)]

    def tuning(self, **names: str) -> Mapping[str, Any]:
        """Temperature and length as far as they were given, under the names that an upstream has for them."""
        given = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {names[name]: value for name, value in given.items() if value is not None}


def _read_model(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"model is of type {type(value).__name__}: give the model's name, a str")
    if not value or not value.isprintable() or any(character.isspace() for character in value):
        raise InvalidRequestError(f"model is {value!r}: give the name that the upstream has for the model")
    return value


def _read_system(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequestError(f"system is of type {type(value).__name__}: give a str, or None")
    return well_formed(value) or None


def _read_temperature(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise InvalidRequestError(f"temperature is {value!r}: give a number from 0 up, or None for the model's own")
    return value


def _read_max_tokens(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequestError(f"max_tokens is {value!r}: give a positive int, or None for the model's own limit")
    return value


def _secrets_of(url: SplitResult | str | None) -> list[str]:
    """The password in a URL, as it is written there and as it is meant, and the whole of user and password."""
    text = url.geturl() if isinstance(url, SplitResult) else url or ""
    found = re.match(r"[^/]*//([^/]*)@", text)
    if not found:
        return []
    user, password = found[1], found[1].partition(":")[2]
    return [user, unquote(user), password, unquote(password)]
