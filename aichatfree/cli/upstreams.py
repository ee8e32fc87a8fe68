"""The model behind ``aichatfree serve``: the options that name it, and the upstream they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ..errors import InvalidRequestError
from .report import Refusal

__all__ = ["UpstreamOptions", "upstream_options"]

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_KINDS = "gemini, openai:URL, ollama or ollama:URL"
_OPTIONS = {
    "base_url": "--upstream",
    "api_key": "AICHATFREE_UPSTREAM_KEY",
    "model": "--model",
    "system": "--system",
    "temperature": "--temperature",
    "max_tokens": "--max-tokens",
    "proxy": "--upstream-proxy",
}


@dataclass(frozen=True)
class UpstreamOptions:
    """What the command line says of the model behind the server."""

    upstream: str | None = None
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    upstream_proxy: str | None = None

    def make(self, key: str | None) -> Any:
        """The upstream, or None where there is none.

        Args:
            key: The key or keys, with commas between.

        Raises:
            Refusal: It cannot work; the text says which option is wrong.
        """
        if self.upstream is None:
            self._refuse_without_upstream()
            return None
        try:
            return self._make([part.strip() for part in (key or "").split(",") if part.strip()])
        except InvalidRequestError as error:
            text = str(error)
            for name, option in _OPTIONS.items():
                if text.startswith(name):
                    text = option + text.removeprefix(name)
                    break
            raise Refusal(text) from error

    def _refuse_without_upstream(self) -> None:
        for name, value in vars(self).items():
            if value is not None:
                option = f"--{name.replace('_', '-')}"
                raise Refusal(f"{option} is for a model, and there is none: say which with --upstream ({_KINDS})")

    def _make(self, keys: list[str]) -> Any:
        from .. import server

        assert self.upstream is not None
        kind, colon, url = self.upstream.partition(":")
        common: dict[str, Any] = {
            "system": self.system,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "proxy": self.upstream_proxy,
        }
        address: dict[str, Any] = {"base_url": url} if colon else {}
        if kind not in ("gemini", "openai", "ollama") or (colon and not url):
            raise Refusal(f"--upstream is {self.upstream!r}: there are {_KINDS}")
        if kind == "gemini":
            if not keys:
                raise Refusal(
                    "the upstream gemini needs a key: set AICHATFREE_UPSTREAM_KEY, or upstream_key in the config file "
                    "(a comma between several)"
                )
            model: dict[str, Any] = {} if self.model is None else {"model": self.model}
            return server.Gemini(keys, **model, **address, **common)
        if kind == "openai" and not colon:
            raise Refusal("--upstream openai needs an address, such as openai:http://127.0.0.1:8080/v1")
        if self.model is None:
            raise Refusal(f"the upstream {kind} needs --model: the name that it has for the model")
        if kind == "ollama":
            return server.Ollama(**address, model=self.model, **common)
        if len(keys) > 1:
            raise Refusal("the upstream openai takes one key, and AICHATFREE_UPSTREAM_KEY holds several")
        return server.OpenAICompatible(url, model=self.model, api_key=keys[0] if keys else None, **common)


def upstream_options(command: CommandT) -> CommandT:
    """Add the options of the model behind a server; the command gets them by the fields of :class:`UpstreamOptions`."""
    options = (
        click.option(
            "--upstream",
            metavar="KIND",
            help=f"The model behind the server: {_KINDS}. The key is taken from AICHATFREE_UPSTREAM_KEY, or from "
            "upstream_key in the config file.",
        ),
        click.option("--model", metavar="NAME", help="The model's name at the upstream."),
        click.option("--system", metavar="TEXT", help="A system text for every conversation."),
        click.option("--temperature", metavar="X", type=float, help="How free the replies are, 0 or more."),
        click.option("--max-tokens", metavar="N", type=click.IntRange(1), help="How long a reply may become."),
        click.option("--upstream-proxy", metavar="URL", help="Ask the upstream through this HTTP proxy."),
    )
    for option in reversed(options):
        command = option(command)
    return command
