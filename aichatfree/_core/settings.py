"""What a client is told once: addresses, credentials, limits. No I/O; the environment is read when asked to."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, ForwardRef, TypedDict, Union
from urllib.parse import SplitResult

from ..errors import InvalidRequestError
from .retry import RetryPolicy
from .timeouts import Timeout, did_you_mean
from .wire.addresses import basic_secrets, read_base_url, read_proxy, split_userinfo, userinfo_secrets
from .wire.frozen import Frozen
from .wire.headers import is_secret_header
from .wire.redaction import hide_userinfo

DEFAULT_BASE_URL: Final = "https://aichatfree.info"
DEFAULT_MODEL: Final = "gemini-1.5-pro"
DEFAULT_MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""The server caps a reply at 8000 tokens, some tens of kilobytes; this is only there to bound memory."""
DEFAULT_MAX_MESSAGES: Final = 99
"""As many messages of history as the browser's page keeps."""
IN_BAND_ERRORS: Final = ("Internal server error",)
"""What the server appends to a reply that failed after its first byte (recorded: cut_mid_reply)."""

if TYPE_CHECKING:
    import ssl

    Verify = bool | str | os.PathLike[str] | ssl.SSLContext
else:  # readers of annotations find the class without our loading ssl, which brings sockets along
    Verify = Union[bool, str, os.PathLike[str], ForwardRef("SSLContext", module="ssl")]  # noqa: UP007


class Options(TypedDict, total=False):
    """The options of a client, once: whatever makes or changes a client takes their names and types from here."""

    secret: str | None
    """The server's ``PUBLIC_SECRET_KEY``; by default ``AICHATFREE_SECRET``, then empty."""
    password: str | None
    """The site password; by default ``AICHATFREE_PASSWORD``, then none. ``""`` means none in any case."""
    model: str
    """A label recorded on each stream. The server chooses the model, and this is never sent."""
    timeout: Timeout | float | None
    """Seconds, a :class:`Timeout`, or None for no limit."""
    max_retries: int
    """How often a call is retried while no text of the reply has reached the caller; 2 by default."""
    retry: RetryPolicy | None
    """A :class:`RetryPolicy`, which also says how long to wait; it takes precedence over ``max_retries``."""
    headers: Mapping[str, str] | None
    """HTTP headers that are added to each request, or replace the ones sent by default."""
    proxy: str | None
    """The proxy's URL; by default what the environment says, as it was when the client was made."""
    verify: Verify
    """True, False, a path to CA certificates, or an SSLContext. True, the default, trusts the bundle that
    ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names, else certifi's."""
    trust_env: bool
    """Whether the environment's proxies and certificates count; True by default."""
    max_reply_bytes: int
    """The largest reply, in decoded bytes; 64 MiB by default."""
    in_band_errors: tuple[str, ...]
    """Texts that mean a failure where a reply ends with them."""


Options.__module__ = "aichatfree"


class AllOptions(Options, total=False):
    """The options of a client, and the address of its server, for where it is one option among others."""

    base_url: str | None
    """The server's root; by default ``AICHATFREE_BASE_URL``, then ``https://aichatfree.info``."""


_NO_HEADERS: Mapping[str, str] = {}


class Settings(Frozen):
    """Everything that shapes a call, checked. Made by :meth:`resolve`; no secret appears in its repr."""

    base_url: str = DEFAULT_BASE_URL
    authorization: str | None = None
    """The user and password of the base URL, for the ``Authorization`` header."""
    secret: str = ""
    password: str | None = None
    model: str = DEFAULT_MODEL
    timeout: Timeout = Timeout()
    retry: RetryPolicy = RetryPolicy()
    headers: Mapping[str, str] = _NO_HEADERS
    proxy: str | None = None
    verify: Verify = True
    trust_env: bool = True
    max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES
    in_band_errors: tuple[str, ...] = IN_BAND_ERRORS

    _hidden = frozenset({"authorization", "secret", "password", "headers", "proxy"})

    def __init__(self, **given: Any) -> None:
        super().__init__(**{name: given.pop(name, getattr(Settings, name)) for name in self._names})
        if given:
            raise TypeError(f"there is no such setting: {', '.join(given)}")

    @classmethod
    def resolve(cls, *, environ: Mapping[str, str], **given: Any) -> Settings:
        """Check what the user gave, and take what was not given from the environment, then from the defaults.

        Args:
            environ: Where ``AICHATFREE_BASE_URL``, ``AICHATFREE_SECRET`` and ``AICHATFREE_PASSWORD`` are looked up.
            **given: The keyword arguments of ``Client``; None for base_url, secret and password means not given,
                ``""`` for secret and password means none, whatever the environment says.

        Raises:
            InvalidRequestError: A value cannot work; the text says which and what to give instead.
        """
        base_url = given.pop("base_url", None)
        if base_url is None:
            base_url = environ.get("AICHATFREE_BASE_URL") or DEFAULT_BASE_URL
        secret = given.pop("secret", None)
        password = given.pop("password", None)
        return cls()._changed(
            base_url=base_url,
            secret=environ.get("AICHATFREE_SECRET", "") if secret is None else secret,
            password=environ.get("AICHATFREE_PASSWORD") if password is None else password,
            **given,
        )

    def change(self, changes: Mapping[str, Any]) -> Settings:
        """The same settings with some changed, under the names ``Client`` gives them.

        Raises:
            InvalidRequestError: An unknown name, or a value that cannot work.
        """
        return self._changed(**changes)

    def _changed(self, **given: Any) -> Settings:
        for name in given:
            if name not in AllOptions.__annotations__:
                raise InvalidRequestError(
                    f"there is no option {name!r}{did_you_mean(name, AllOptions.__annotations__)}"
                )
        retry = given.pop("retry", None)
        if "max_retries" in given:
            fewer = self.retry.replace(max_retries=given.pop("max_retries"))  # checked, whatever comes of it
            retry = retry or fewer
        if retry is not None:
            given["retry"] = retry
        for name, read in _READERS.items():
            if name in given:
                given[name] = read(given[name])
        if isinstance(given.get("base_url"), SplitResult):
            given["base_url"], given["authorization"] = split_userinfo(given["base_url"].geturl())
        return self.replace(**given)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every string that must never be shown."""
        hidden = [self.secret, self.password or ""]
        credentials = [value for name, value in self.headers.items() if is_secret_header(name)]
        for value in (*credentials, self.authorization or ""):
            hidden += [value, value.partition(" ")[2]]  # also without its "Bearer" or "Basic"
        if self.authorization:
            hidden += basic_secrets(self.authorization)
        if self.proxy:
            hidden += userinfo_secrets(self.proxy)
        return tuple(text for text in hidden if text)

    def describe(self) -> str:
        """The settings in a few words, for the repr of a client."""
        words = [repr(self.base_url)]
        if self.password:
            words.append("password=***")
        if self.secret:
            words.append("secret=***")
        if self.proxy:
            words.append(f"proxy={hide_userinfo(self.proxy)!r}")
        return ", ".join(words)


def _read_text(name: str) -> Any:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise InvalidRequestError(f"{name} is of type {type(value).__name__}: give a str")
        return str.__str__(value)  # of a member of a (str, Enum) class its value

    return read


def _read_password(value: object) -> str | None:
    return _read_text("password")(value) or None if value is not None else None


_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = r"[\t\x20-\x7e\x80-\xff]*"


def _read_headers(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"headers is of type {type(value).__name__}: give a mapping of names to values")
    for name, text in value.items():
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise InvalidRequestError(f"headers has the name {name!r}, which is not an HTTP header name")
        if not isinstance(text, str) or re.fullmatch(_VALUE, text) is None:
            raise InvalidRequestError(f"headers[{name!r}] must be a str of Latin-1 without control characters")
        if name.lower() in ("content-length", "transfer-encoding"):
            raise InvalidRequestError(f"headers may not set {name}: it follows from the request's body")
    return {str.__str__(name): str.__str__(text) for name, text in value.items()}


def _read_verify(value: object) -> Verify:
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, os.PathLike)) and os.fspath(value):
        return os.path.abspath(os.fsdecode(value))  # noqa: PTH100  # as it is now, whatever becomes the working directory
    ssl = sys.modules.get("ssl")  # who has a context has loaded it
    if ssl is not None and isinstance(value, ssl.SSLContext):
        return value  # type: ignore[no-any-return]
    raise InvalidRequestError(f"verify is {value!r}: give True, False, a path to CA certificates, or an SSLContext")


def _read_retry(value: object) -> RetryPolicy:
    if not isinstance(value, RetryPolicy):
        raise InvalidRequestError(f"retry is of type {type(value).__name__}: give a RetryPolicy, or max_retries=2")
    return value


def _read_trust_env(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"trust_env is {value!r}: give True or False")
    return value


def _read_max_reply_bytes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequestError(f"max_reply_bytes is {value!r}: give a positive int of bytes")
    return value


def _read_in_band_errors(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (tuple, list)):
        raise InvalidRequestError(f"in_band_errors is {value!r}: give a tuple of str; () switches the check off")
    if not all(isinstance(text, str) and text for text in value):
        raise InvalidRequestError("in_band_errors holds something that is not text: give a tuple of non-empty str")
    return tuple(value)


_READERS: Final = {
    "base_url": read_base_url,
    "secret": _read_text("secret"),
    "password": _read_password,
    "model": _read_text("model"),
    "timeout": Timeout.of,
    "retry": _read_retry,
    "headers": _read_headers,
    "proxy": read_proxy,
    "verify": _read_verify,
    "trust_env": _read_trust_env,
    "max_reply_bytes": _read_max_reply_bytes,
    "in_band_errors": _read_in_band_errors,
}
