"""A proxy from the environment is no obstacle where none is needed: a server on this machine."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

_VARIABLES = ("all_proxy", "http_proxy", "https_proxy")


def spare_loopback(base_url: str | None) -> None:
    """Let this process reach a server on this machine directly where the environment names a SOCKS proxy.

    Such a proxy is another machine as a rule, which cannot reach this one, and it takes an extra to speak to it. Other
    proxies stay as they are, and so does ``no_proxy`` but for the host that is added.

    Args:
        base_url: The server, if one is set.
    """
    host = _loopback_host(base_url or "")
    if host is None or not any(_is_socks(os.environ.get(name) or os.environ.get(name.upper())) for name in _VARIABLES):
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = f"{known},{host}" if known else host


def _is_socks(proxy: str | None) -> bool:
    return bool(proxy) and str(proxy).strip().lower().startswith("socks")


def _loopback_host(url: str) -> str | None:
    try:
        host = urlsplit(url.strip()).hostname or ""
    except ValueError:
        return None
    if host == "localhost" or host.endswith(".localhost"):
        return host
    try:
        return host if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None
