"""``aichatfree config``: every setting, its value, and where it comes from."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any, NamedTuple

import click

from .._core.settings import DEFAULT_BASE_URL
from .._core.wire.redaction import hide_userinfo
from .config import KINDS, SECRETS, read_config
from .folders import user_folder
from .options import client_options, examples
from .reading import read_argument
from .terminal import one_line, print_json

_DEFAULTS: dict[str, object] = {
    "base_url": DEFAULT_BASE_URL,
    "timeout": 60,
    "log": True,
}
_PROXIES = ("all_proxy", "https_proxy", "http_proxy")
_ENVIRONMENT = {
    "base_url": "AICHATFREE_BASE_URL",
    "secret": "AICHATFREE_SECRET",
    "password": "AICHATFREE_PASSWORD",
    "upstream_key": "AICHATFREE_UPSTREAM_KEY",
    "gateway_key": "AICHATFREE_GATEWAY_KEY",
}


class _Row(NamedTuple):
    name: str
    value: object
    """None where there is none."""
    source: str


@click.command(
    epilog=examples(
        "aichatfree config",
        "aichatfree config --json | jq -r .base_url.source",
        "aichatfree config --config other.toml",
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: value and source of each setting.")
@click.option("--system", "-s", metavar="TEXT", help="As of ask, chat and batch.")
@client_options
def config(as_json: bool, config: str | None, **given: Any) -> int:
    """Show every setting, its value, and where it comes from.

    That is an option given here, a variable of the environment, the config file, or the default. Passwords and secrets
    are not shown. What the config file has and cannot be used is told.
    """
    rows = _rows(given, config)
    if as_json:
        print_json({row.name: {"value": row.value, "source": row.source} for row in rows})
    else:
        _print(rows)
    return 0


def _rows(given: dict[str, Any], config: str | None) -> list[_Row]:
    path, configured = read_config(config, lenient=True)
    rows = []
    for name in KINDS:
        variable = _ENVIRONMENT.get(name, "")
        if given.get(name) is not None:
            value, source = given[name], f"option: --{name.replace('_', '-')}"
        elif os.environ.get(variable) or (variable in os.environ and name != "base_url"):
            value, source = os.environ[variable], f"environment: {variable}"
        elif name in configured:
            value, source = configured[name], f"file: {path}"
        elif name == "proxy" and (proxy := _proxy_variable()):
            value, source = os.environ[proxy], f"environment: {proxy}"
        else:
            value, source = _DEFAULTS.get(name), "default"
        rows.append(_Row(name, _shown(name, value), source))
    state = user_folder("state")
    named = "AICHATFREE_CONFIG" if os.environ.get("AICHATFREE_CONFIG") else None
    source = "option: --config" if config else f"environment: {named}" if named else "default"
    missing = "" if path is not None and path.exists() else ", does not exist"
    rows.append(_Row("config file", None if path is None else str(path), source + missing))
    rows.append(_Row("history", None if state is None else str(state / "conversations"), "default"))
    return rows


def _shown(name: str, value: object) -> object:
    """A value as it may be seen."""
    if value is None:
        return None
    if name in SECRETS:
        return ("(asked for)" if value == "-" else "(hidden)") if value else ""
    text = read_argument(value) if isinstance(value, str) else value
    return hide_userinfo(str(text)) if name in ("base_url", "proxy") else text


def _proxy_variable() -> str | None:
    """The variable that names a proxy for addresses that none of ``no_proxy`` covers, if one does."""
    names = (name for lower in _PROXIES for name in (lower, lower.upper()))
    return next((name for name in names if os.environ.get(name)), None)


def _print(rows: list[_Row]) -> None:
    """A table, or on a narrow screen one line under the other; every value is shown whole."""
    texts = [(row.name, _text(row.value), f"({row.source})") for row in rows]
    name_width = max(len(name) for name, _, _ in texts)
    value_width = max(len(one_line(value)) for _, value, _ in texts)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    wide = not width or name_width + value_width + max(len(source) for *_, source in texts) + 4 <= width
    for name, value, source in texts:
        value = one_line(value)
        if wide:
            click.echo(f"{name:{name_width}}  {value:{value_width}}  {one_line(source)}")
        else:
            click.echo(f"{name:{name_width}}  {value}\n{'':{name_width}}  {one_line(source)}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
