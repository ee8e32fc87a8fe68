"""Proxies and certificates, as both transports use them: from the settings, or read once from the environment."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
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
        InvalidRequestError: Certificates are named that cannot be read, or a SOCKS proxy without the extra for it.
    """

    def __init__(self, settings: Settings) -> None:
        self._proxy = _usable(settings.proxy)
        self.verify = settings.verify
        """As in the settings; a path as it was when the client was made, whatever the working directory becomes."""
        self._proxies: dict[str, str] = {}
        self._authority: tuple[str, str] | None = None
        if settings.trust_env:
            self._proxies = urllib.request.getproxies() if settings.proxy is None else {}
            self._authority = _environment_authority() if settings.verify is True else None
        if isinstance(settings.verify, str):
            self.verify = _existing("verify", settings.verify)
            self._authority = ("verify", self.verify)
        if isinstance(settings.verify, str) or (self._authority and settings.base_url.startswith("https:")):
            _ = self.ssl_context  # read now, and refused now if it cannot be used
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
        if proxy.lower().startswith("socks") and _is_loopback(parts.hostname or ""):
            return None  # no proxy elsewhere reaches this machine's own loopback
        try:
            return _usable(Settings().change({"proxy": proxy}).proxy)
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
        """What TLS trusts.

        Made when TLS is first used, since reading the certificates takes some 20 ms; the user's own are read at once.
        It does not take a connection that was cut for one that has ended: a reply of which only the end of the
        connection says that it is whole could be cut short on the way, unseen. That holds for a context that the user
        passed in as well.
        """
        context = self.verify if isinstance(self.verify, ssl.SSLContext) else self._new_context()
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        return context

    def _new_context(self) -> ssl.SSLContext:
        if self.verify is False:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        name, path = self._authority or ("certifi", certifi.where())
        try:
            context = ssl.create_default_context(cafile=path) if Path(path).is_file() else _folder_context(Path(path))
        except OSError as error:  # an SSLError is one
            raise InvalidRequestError(
                f"{name} names {path!r}, where no certificates can be read: give a file of them in PEM form, or a "
                f"folder that `openssl rehash` has prepared ({error.strerror or error})"
            ) from error
        return context


def _folder_context(folder: Path) -> ssl.SSLContext:
    """What TLS trusts, from a folder as OpenSSL wants it; read now and not when it is needed."""
    context: ssl.SSLContext | None = None
    for path in sorted(folder.iterdir()):
        if re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", path.name):
            with suppress(OSError):
                if context is None:
                    context = ssl.create_default_context(cafile=path)
                else:
                    context.load_verify_locations(cafile=path)
    if context is None:
        raise OSError("it has none")
    return context


def _networks(no_proxy: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks in ``NO_PROXY`` (``10.0.0.0/8``), and its addresses, of IPv6 with brackets or without.

    The standard library compares names alone, and takes what follows the last colon of an address for a port.
    """
    for entry in no_proxy.split(","):
        with suppress(ValueError):
            yield ipaddress.ip_network(entry.strip().strip("[]"), strict=False)


def _environment_authority() -> tuple[str, str] | None:
    for variable in _CA_VARIABLES:
        if path := os.environ.get(variable):
            return variable, _existing(variable, path)
    return None


def _existing(name: str, path: str) -> str:
    if not Path(path).exists():
        raise InvalidRequestError(f"{name} names {path!r}, which does not exist: give a file or folder of certificates")
    return str(Path(path).absolute())


def _usable(proxy: str | None) -> str | None:
    """A proxy's URL, once it is sure that it can be spoken to."""
    if proxy is not None and proxy.startswith("socks") and importlib.util.find_spec("python_socks") is None:
        raise InvalidRequestError("a SOCKS proxy needs the package python-socks: pip install 'aichatfree[socks]'")
    return proxy


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
