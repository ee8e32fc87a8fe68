"""The config file: TOML in the platform's own place."""

from __future__ import annotations

import importlib
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from .report import Refusal, os_words
from .terminal import complain

# The same parser under two names: it entered the standard library with 3.11.
_toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Value = str | float

_KINDS: dict[str, tuple[type, ...]] = {
    "base_url": (str,),
    "secret": (str,),
    "password": (str,),
    "proxy": (str,),
    "timeout": (int, float),
    "system": (str,),
    "gateway_key": (str,),
    "upstream_key": (str,),
}


def config_path() -> Path:
    """Where the config file is, if nothing names another."""
    import platformdirs

    return platformdirs.user_config_path("aichatfree", appauthor=False) / "config.toml"


def read_config(named: str | None, environ: Mapping[str, str] = os.environ) -> tuple[Path, dict[str, Value]]:
    """Read the config file, and warn if others can read a password or secret in it.

    Args:
        named: The path given with ``--config``, if any; next comes ``AICHATFREE_CONFIG``.
        environ: Where that is looked up.

    Returns:
        The file's path and its settings, none if the file in the platform's place does not exist.

    Raises:
        Refusal: A file that was named does not exist, or the file cannot be read or understood.
    """
    named = named or environ.get("AICHATFREE_CONFIG")
    path = Path(named).expanduser() if named else config_path()
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
    settings = _checked(path, text)
    if settings.keys() & {"secret", "password", "gateway_key", "upstream_key"} and _others_can_read(path):
        complain(f"warning: {path} holds a password or secret, and others can read it: run chmod 600 {path}")
    return path, settings


def _checked(path: Path, text: str) -> dict[str, Value]:
    try:
        settings: dict[str, Value] = _toml.loads(text)
    except ValueError as error:
        raise Refusal(f'{path} is no TOML ({error}): write settings as base_url = "http://..."') from error
    for name, value in settings.items():
        if name not in _KINDS:
            raise Refusal(f"{path} has the unknown setting {name!r}: there are {', '.join(_KINDS)}")
        kinds = _KINDS[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = "a text in quotes" if kinds == (str,) else "a number of seconds"
            raise Refusal(f"{name} in {path} must be {wanted}")
    return settings


def _others_can_read(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
