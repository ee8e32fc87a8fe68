"""Proxies and certificates, as both transports use them: from the settings, or read once from the environment."""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import certifi

from ..errors import InvalidRequestError
from .settings import Settings
from .wire.addresses import userinfo_secrets

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Network:
    """How the outside world is reached.

    The environment (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``,
    ``CURL_CA_BUNDLE``, ``SSL_CERT_FILE``, ``SSL_CERT_DIR``) is read here, when the client is made, and not again.

    Args:
        settings: ``proxy`` and ``verify`` take precedence over the environment, which counts only with ``trust_env``.

    Raises:
        InvalidRequestError: Certificates are named that do not exist, or the environment names a SOCKS proxy.
    """

    def __init__(self, settings: Settings) -> None:
        self._proxy = settings.proxy
        self._verify = settings.verify
        self._proxies: dict[str, str] = {}
        self._authority: str | None = None
        if settings.trust_env:
            self._proxies = urllib.request.getproxies() if settings.proxy is None else {}
            self._authority = _environment_authority() if settings.verify is True else None
        if isinstance(settings.verify, str):
            self._authority = _existing("verify", settings.verify)
        self.proxy_for(settings.base_url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown of the proxies that the environment names."""
        return tuple(secret for proxy in self._proxies.values() for secret in userinfo_secrets(proxy) if secret)

    def proxy_for(self, url: str) -> str | None:
        """The proxy for ``url``, None to go there directly."""
        if self._proxy is not None:
            return self._proxy
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if not proxy or self._bypassed(parts):
            return None
        try:
            return Settings().change({"proxy": proxy}).proxy
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{error} (it comes from the environment; see trust_env=)") from None

    def _bypassed(self, url: SplitResult) -> bool:
        host = url.netloc.rpartition("@")[2]
        if urllib.request.proxy_bypass_environment(host, self._proxies):  # type: ignore[attr-defined]
            return True
        try:
            address = ipaddress.ip_address(url.hostname or "")
        except ValueError:
            return False
        return any(address in network for network in _networks(self._proxies.get("no", "")))

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """What TLS trusts. Made when TLS is first used, since reading the certificates takes some 20 ms."""
        if isinstance(self._verify, ssl.SSLContext):
            return self._verify
        if self._verify is False:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        path = self._authority or certifi.where()
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)


def _networks(no_proxy: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks in ``NO_PROXY`` (``10.0.0.0/8``): requests knows them, the standard library does not."""
    for entry in no_proxy.split(","):
        if "/" in entry:
            with suppress(ValueError):
                yield ipaddress.ip_network(entry.strip(), strict=False)


def _environment_authority() -> str | None:
    for variable in _CA_VARIABLES:
        if path := os.environ.get(variable):
            return _existing(variable, path)
    return None


def _existing(name: str, path: str) -> str:
    if not Path(path).exists():
        raise InvalidRequestError(f"{name} names {path!r}, which does not exist: give a file or folder of certificates")
    return path
