"""AIChatFree: the class that users of provider frameworks, such as g4f, know by this name.

It offers what those frameworks look for (g4f 0.4.2.6 to 8.8.6) and needs none of them: nothing is imported from them,
and no class of theirs is inherited from.
"""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, TypeVar, Unpack, cast
from urllib.parse import urlsplit

import aiohttp

from .._async.client import AsyncClient
from .._core.progress import END, Interruptible
from .._core.settings import DEFAULT_BASE_URL, DEFAULT_MODEL, Options, Settings
from .._core.timeouts import Timeout
from .._core.wire.addresses import split_userinfo
from .._core.wire.messages import Messages, dump_as_given
from .generator import AsyncGeneratorProvider, ProviderModelMixin
from .pieces import ends_whole

__all__ = ["AIChatFree", "AsyncGeneratorProvider", "ProviderModelMixin"]


class _HidingUrl:
    """``url`` until someone sets it, as people may see it: without the user and password that it may hold.

    It is what was given to ``using``, else what the environment says, else the hosted service.
    """

    def __get__(self, instance: object, owner: "type[AIChatFree] | None" = None) -> str:
        given = owner._base_url if owner is not None else None
        return split_userinfo((given or os.environ.get("AICHATFREE_BASE_URL") or DEFAULT_BASE_URL).strip())[0]


_HIDING_URL = _HidingUrl()


_ProviderT = TypeVar("_ProviderT", bound="AIChatFree")


class AIChatFree(AsyncGeneratorProvider, ProviderModelMixin):
    """The provider for AIChatFree, and for any other GeminiProChat server.

    ::

        async for chunk in AIChatFree.create_async_generator(model="gemini-1.5-pro", messages=[...]):
            print(chunk, end="")

    Requests go to :attr:`url`: assign to it, set it in a subclass, or let :meth:`using` make the subclass. Until
    then it is ``AICHATFREE_BASE_URL``, or ``https://aichatfree.info``. ``AICHATFREE_PASSWORD`` and
    ``AICHATFREE_SECRET`` count where no password or secret was given.

    A call is one request. To try again, or elsewhere, is the business of the framework's list of providers, which
    should not wait here for a quota to return; ``using(max_retries=2)`` makes it ours.
    """

    __module__ = "aichatfree"

    url: ClassVar[str] = cast(str, _HIDING_URL)
    label = "AIChatFree"
    working = True
    supports_stream = True
    supports_message_history = True
    default_model = DEFAULT_MODEL
    models: ClassVar[list[str]] = [DEFAULT_MODEL]

    _options: ClassVar[Mapping[str, Any]] = {"max_retries": 0}
    _base_url: ClassVar[str | None] = None
    """What was given to :meth:`using`, where nobody has set another url since."""

    @classmethod
    def using(
        cls: type[_ProviderT], base_url: str | None = None, *, name: str | None = None, **options: Unpack[Options]
    ) -> type[_ProviderT]:
        """A subclass for another server, or with other settings.

        ::

            mine = AIChatFree.using(base_url="http://127.0.0.1:3000", password="...", secret="...")
            g4f.client.Client(provider=mine)

        Args:
            base_url: Its :attr:`url`; None leaves it as it is.
            name: The name of the subclass, under which g4f lists it and its errors; by default this class's, with
                the host if there is another ``base_url`` (``AIChatFree@127.0.0.1:3000``).
            **options: Any keyword of :class:`AsyncClient` but ``session`` and ``connector``, such as ``password``,
                ``secret``, ``proxy``, ``timeout``, ``max_retries``, ``headers``, ``verify``. ``model`` becomes the
                default model.

        Raises:
            InvalidRequestError: An unknown name, or a value that cannot work.
        """
        address: dict[str, Any] = {} if base_url is None else {"base_url": base_url}
        settings = Settings().change({**address, **options})
        if base_url is not None:
            address = {"url": _HIDING_URL, "_base_url": base_url}
            name = name or f"{cls.__name__.partition('@')[0]}@{urlsplit(settings.base_url).netloc}"
        named = {"default_model": settings.model, "models": [settings.model]} if "model" in options else {}
        attributes = {
            "__module__": cls.__module__,
            "label": name or cls.label,
            "live": 0,
            "_options": {**cls._options, **options},
            **address,
            **named,
        }
        return cast("type[_ProviderT]", type(name or cls.__name__, (cls,), attributes))

    @classmethod
    def _address(cls) -> str | None:
        """The base URL with the user and password that :attr:`url` does not show; None for the environment's."""
        hiding = next(vars(each)["url"] for each in cls.__mro__ if "url" in vars(each)) is _HIDING_URL
        return cls._base_url if hiding else cls.url

    @ends_whole
    async def create_async_generator(
        cls,  # noqa: N805 - ends_whole makes it a class method
        model: str,
        messages: Messages,
        proxy: str | None = None,
        connector: aiohttp.BaseConnector | None = None,
        *,
        base_url: str | None = None,
        api_key: str | Mapping[str, str] | None = None,
        password: str | None = None,
        secret: str | None = None,
        timeout: Timeout | float | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[str, None]:
        """Ask, and yield the reply piece by piece.

        The history is sent one to one, and the server judges it: unlike :class:`AsyncClient`, nothing is folded,
        merged or refused here. ``assistant`` (or ``model``) is sent as ``model``, every other role as ``user``.

        What is None, ``""`` or 0 counts as not given: frameworks pass such values for what their user left out.

        Args:
            model: A label; ``""`` means the default. The server chooses the model, and this is never sent.
            messages: A list of mappings with ``role`` and ``content``, or whatever else :class:`AsyncClient` takes.
            proxy: The proxy's URL; by default what the environment says.
            connector: An aiohttp connector of your own, made in the running loop. It stays open.
            base_url: The server for this call, instead of :attr:`url`.
            api_key: The site password, under the name that frameworks have for it; or a mapping of providers' names
                to their passwords.
            password: The site password, under its own name, which takes precedence over ``api_key``.
            secret: The server's ``PUBLIC_SECRET_KEY``.
            timeout: Seconds until the connection is there, until the first byte, and between pieces; or a
                :class:`Timeout`.
            **kwargs: Taken and without effect, since the protocol carries none of it: ``stream``, ``provider``,
                ``max_tokens``, ``stop``, ``temperature``, ``response_format``, ``media``, ``tools`` and so on. (g4f
                itself acts upon some of these, ``stop`` and ``tools`` among them.)

        Yields:
            Text, never empty, never half a character.

        Raises:
            RateLimitError: The quota is used up, or there were too many requests.
            AIChatFreeError: Any other failure; see :mod:`aichatfree.errors`.
        """
        if isinstance(api_key, Mapping):
            api_key = api_key.get(cls.get_parent())
        given = {
            "base_url": base_url or cls._address(),
            "proxy": proxy,
            "password": password or api_key,
            "secret": secret,
            "timeout": timeout,
        }
        options = {**cls._options, **{option: value for option, value in given.items() if value}}
        made = AsyncClient(**options, connector=connector)
        del (
            base_url,
            proxy,
            api_key,
            password,
            secret,
            given,
            options,
        )  # to be in no frame of a failure
        async with made as client:
            call = client._generate_call(messages, model=cls.get_model(model), dump=dump_as_given)
            async with aclosing(client._open_stream(call)) as stream:
                yield cast(str, Interruptible(stream._control.close))
                async for piece in stream:
                    yield piece
        yield END
