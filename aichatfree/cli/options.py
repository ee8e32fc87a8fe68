"""Options that several commands share, and the client they make."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .._core.wire.frozen import Frozen
from ..errors import InvalidRequestError
from . import collecting
from .config import read_config
from .keyboard import read_secret
from .proxies import spare_loopback
from .report import Refusal, as_options
from .terminal import drop_output, one_line

if TYPE_CHECKING:
    from .. import Client

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_log = logging.getLogger("aichatfree")
_SETTINGS = ("base_url", "secret", "password", "proxy", "timeout", "system", "log", "gateway_key", "upstream_key")
_ENVIRONMENT = {
    "base_url": "AICHATFREE_BASE_URL",
    "secret": "AICHATFREE_SECRET",
    "password": "AICHATFREE_PASSWORD",
    "gateway_key": "AICHATFREE_GATEWAY_KEY",
    "upstream_key": "AICHATFREE_UPSTREAM_KEY",
}


class _StderrHandler(logging.Handler):
    """Writes to stderr as it is at that moment. A record is one line, whatever a server put into it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{one_line(self.format(record))}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            drop_output(sys.stderr)  # that the log cannot be written does not stop the work


def _start_logging(ctx: click.Context, param: click.Parameter, verbose: bool) -> None:
    if verbose and not any(isinstance(handler, _StderrHandler) for handler in _log.handlers):
        handler = _StderrHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S"))
        _log.addHandler(handler)
        _log.setLevel(logging.DEBUG)


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_start_logging,
    help="Tell on stderr what is sent and received, without passwords and secrets.",
)


class Settings(Frozen):
    """What options, environment and config file say, and where each of it comes from."""

    _hidden = frozenset({"secret", "password", "proxy", "gateway_key", "upstream_key"})

    base_url: str | None
    secret: str | None
    password: str | None
    proxy: str | None
    timeout: float | None
    system: str | None
    log: bool
    gateway_key: str | None
    upstream_key: str | None
    sources: dict[str, str]

    def __init__(
        self,
        base_url: str | None = None,
        secret: str | None = None,
        password: str | None = None,
        proxy: str | None = None,
        timeout: float | None = None,
        system: str | None = None,
        log: bool = True,
        gateway_key: str | None = None,
        upstream_key: str | None = None,
        sources: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            base_url=base_url,
            secret=secret,
            password=password,
            proxy=proxy,
            timeout=timeout,
            system=system,
            log=log,
            gateway_key=gateway_key,
            upstream_key=upstream_key,
            sources=sources or {},
        )

    def client(self, **more: Any) -> Client:
        """The client for these settings.

        Args:
            **more: Further arguments of :class:`aichatfree.Client`.

        Raises:
            Refusal: A setting cannot work; the text says which, and where it comes from.
        """
        from .. import Client

        collecting.loaded()
        if self.timeout is not None:
            more["timeout"] = self.timeout
        try:
            spare_loopback(self.base_url)
            client = Client(self.base_url, secret=self.secret, password=self.password, proxy=self.proxy, **more)
        except InvalidRequestError as error:
            raise Refusal(self._blame(str(error))) from error
        _log.debug("settings: %r", client)
        return client

    def _blame(self, text: str) -> str:
        for name, source in self.sources.items():
            if text.startswith(name):
                return source + as_options(text.removeprefix(name))
        return as_options(text)


def resolve(given: dict[str, Any], config: str | None) -> Settings:
    """Take each setting from the options, then the environment, then the config file.

    Args:
        given: Values of options by name, None where an option was not given.
        config: The config file that was named, if any.

    Raises:
        Refusal: The config file cannot be used, or there is no terminal to ask for a password at.
    """
    path, configured = read_config(config)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in _SETTINGS:
        variable = _ENVIRONMENT.get(name)
        if given.get(name) is not None:
            values[name], sources[name] = given[name], f"--{name.replace('_', '-')}"
        elif variable and (os.environ.get(variable) or (variable in os.environ and name != "base_url")):
            values[name], sources[name] = os.environ[variable], variable
        elif name in configured:
            values[name], sources[name] = configured[name], f"{path}: {name}"
    for name in ("secret", "password", "gateway_key"):
        if given.get(name) == "-":
            values[name] = ask_secret(name)
        elif isinstance(values.get(name), str):
            # Whoever keeps it in a file and passes that on does not mean the newline at the file's end.
            values[name] = values[name].removesuffix("\n").removesuffix("\r")
    return Settings(**values, sources=sources)


def ask_secret(name: str) -> str:
    """Ask for a password or secret at the terminal, without echo.

    Raises:
        Refusal: There is no terminal, or nothing that could be a password was typed.
    """
    try:
        secret = read_secret(f"{name.capitalize()}: ")
    except EOFError:
        raise Refusal(f"no {name} was typed") from None
    except UnicodeDecodeError:
        raise Refusal(f"the {name} could not be read as text: check that the locale fits this terminal") from None
    if secret is None:
        raise Refusal(f"there is no terminal to ask for the {name} at: set {_ENVIRONMENT[name]} instead")
    return secret


_SEEN = "Other users of this machine can see it on the command line; - asks for it."

_CREDENTIALS = (
    click.option("--password", metavar="TEXT", help=f"The site password. {_SEEN}"),
    click.option("--secret", metavar="TEXT", help=f"The server's PUBLIC_SECRET_KEY. {_SEEN}"),
)
_CONFIG = (
    click.option("--config", metavar="FILE", type=click.Path(), help="A config file in place of the usual one."),
    verbose_option,
)
_CONNECTION = (
    click.option("--base-url", metavar="URL", help="The server's root, such as http://127.0.0.1:3000."),
    *_CREDENTIALS,
    click.option("--proxy", metavar="URL", help="Send through this HTTP proxy."),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=float,
        help="Give up when nothing comes for this long.",
    ),
    *_CONFIG,
)


def connection_options(command: CommandT) -> Callable[..., Any]:
    """Add the options of a client; the command gets them as ``settings``."""
    return _with_settings(command, _CONNECTION)


def client_options(command: CommandT) -> Callable[..., Any]:
    """Add the options of a client; the command gets each as it is given, and ``config``."""
    result: Callable[..., Any] = command
    for option in reversed(_CONNECTION):
        result = option(result)
    return result


def server_options(command: CommandT) -> Callable[..., Any]:
    """Add the credentials of a server; the command gets them as ``settings``."""
    return _with_settings(command, (*_CREDENTIALS, *_CONFIG))


def _with_settings(command: CommandT, options: tuple[Callable[[Any], Any], ...]) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapper(*args: Any, config: str | None, **named: Any) -> Any:
        ours = {name: named.pop(name) for name in _SETTINGS if name in named and name not in ("system", "log")}
        return command(*args, settings=resolve(ours, config), **named)

    result: Callable[..., Any] = wrapper
    for option in reversed(options):
        result = option(result)
    return result


def examples(*lines: str, title: str = "Examples") -> str:
    """The end of a help text: lines that click does not wrap."""
    return "\b\n" + "\n".join((f"{title}:", *(f"  {line}" for line in lines)))
