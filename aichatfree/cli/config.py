"""The config file: TOML in the platform's own place."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from .._core.wire.redaction import hide_userinfo
from .folders import user_folder
from .report import Refusal, os_words
from .terminal import complain

Value = str | float | bool

KINDS: dict[str, tuple[type, ...]] = {
    "base_url": (str,),
    "secret": (str,),
    "password": (str,),
    "proxy": (str,),
    "timeout": (int, float),
    "system": (str,),
    "log": (bool,),
    "upstream_key": (str,),
    "gateway_key": (str,),
}
"""What the file may hold."""

SECRETS = ("secret", "password", "upstream_key", "gateway_key")
"""Of these, what is never shown."""

_WANTED: dict[type, str] = {str: "a text in quotes", int: "a number of seconds", bool: "true or false"}


def config_path() -> Path | None:
    """Where the config file is, if nothing names another; None where there is no home folder."""
    folder = user_folder("config")
    return None if folder is None else folder / "config.toml"


def read_config(
    named: str | None, environ: Mapping[str, str] = os.environ, *, lenient: bool = False
) -> tuple[Path | None, dict[str, Value]]:
    """Read the config file, and warn if others can read a password or secret in it.

    Args:
        named: The path given with ``--config``, if any; next comes ``AICHATFREE_CONFIG``.
        environ: Where that is looked up.
        lenient: A setting that cannot be used is a warning, and is left out.

    Returns:
        The file's path, None if there is no place for one, and its settings, none if the file in the platform's place
        does not exist.

    Raises:
        Refusal: A file that was named does not exist, or the file cannot be read or understood.
    """
    named = named or environ.get("AICHATFREE_CONFIG")
    path = _expanded(named) if named else config_path()
    if path is None:
        return None, {}
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        if named:
            raise Refusal(f"there is no config file {path}: check --config and AICHATFREE_CONFIG") from None
        return path, {}
    except OSError as error:
        raise Refusal(f"cannot read the config file {os_words(error)}") from error
    except UnicodeDecodeError as error:
        raise Refusal(f"the config file {path} is no UTF-8: save it as UTF-8") from error
    settings = _parsed(path, text)
    for name, problem in _problems(path, settings).items():
        if not lenient:
            raise Refusal(problem)
        complain(f"warning: {problem}")
        del settings[name]
    if _holds_password(settings) and others_can_read(path):
        complain(f"warning: {path} holds a password or secret, and others can read it: run chmod 600 {path}")
    return path, settings


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise Refusal(f"there is no home folder for the config file {name}: give the whole path") from error


def _parsed(path: Path, text: str) -> dict[str, Value]:
    import tomllib  # it takes a while, and there may be no file

    try:
        settings: dict[str, Value] = tomllib.loads(text)
    except RecursionError as error:
        raise Refusal(f'{path} is nested too deeply: write settings as base_url = "http://..."') from error
    except ValueError as error:
        raise Refusal(f'{path} is no TOML ({error}): write settings as base_url = "http://..."') from error
    return settings


def _problems(path: Path, settings: dict[str, Value]) -> dict[str, str]:
    """What is wrong with settings, by their names."""
    problems: dict[str, str] = {}
    for name, value in settings.items():
        kinds = KINDS.get(name)
        if kinds is None:
            from difflib import get_close_matches

            alike = get_close_matches(name, KINDS, n=1)
            advice = f"; did you mean {alike[0]}?" if alike else ""
            problems[name] = f"{path} has the unknown setting {name!r}: there are {', '.join(KINDS)}{advice}"
        elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            problems[name] = f"{name} in {path} must be {_WANTED[kinds[0]]}"
    return problems


def _holds_password(settings: dict[str, Value]) -> bool:
    """Whether there is a password, also as a part of an address."""
    addresses = [str(settings.get(name, "")) for name in ("base_url", "proxy")]
    return bool(settings.keys() & set(SECRETS)) or any(hide_userinfo(address) != address for address in addresses)


def others_can_read(path: Path) -> bool:
    """Whether somebody else than the owner of a file may read it."""
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
