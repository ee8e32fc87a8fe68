"""What a value is: small, immutable, and equal to another with the same fields. No I/O."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

SelfT = TypeVar("SelfT", bound="Value")


class Value:
    """The base of values: their fields are the annotations of the class, and the arguments of its ``__init__``.

    Frozen dataclasses would do the same. But to import ``dataclasses`` and to make four of them takes as long as all
    the rest of this package, which is noticed where a script or a command imports a client only to ask one question.
    """

    __hidden__: frozenset[str] = frozenset()
    """Fields that the repr leaves out."""

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[attr-defined, misc]

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def replace(self: SelfT, **changes: Any) -> SelfT:
        """The same value with some fields changed, and checked as any other."""
        return type(self)(**{**vars(self), **changes})

    __replace__ = replace  # for copy.replace(), which Python has since 3.13

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed: make another with .replace({name}=...)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed: it needs its {name}")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in vars(self).items() if name not in self.__hidden__]
        return f"{type(self).__name__}({', '.join(shown)})"
