"""What a value is: small, immutable, and equal to another with the same fields. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

SelfT = TypeVar("SelfT", bound="Frozen")

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Any:
        return lambda kind: kind


@dataclass_transform(frozen_default=True)
class Frozen:
    """The base of values: their fields are the annotations of the class, and the arguments of its ``__init__``.

    Frozen dataclasses would do the same, and type checkers take these for such. But to import ``dataclasses`` and to
    make four of them takes as long as all the rest of this package, which is noticed where a script or a command
    imports a client only to ask one question.
    """

    _names: ClassVar[tuple[str, ...]] = ()
    """The fields, in the order of their arguments."""
    _hidden: ClassVar[frozenset[str]] = frozenset()
    """Those that the repr leaves out."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if Frozen in cls.__bases__:  # what users' subclasses add are no fields
            cls._names = cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[attr-defined, misc]

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def replace(self: SelfT, **changes: Any) -> SelfT:
        """The same value with some fields changed, and checked as any other."""
        return type(self)(**{**self._fields(), **changes})

    __replace__ = replace  # for copy.replace(), which Python has since 3.13

    if not TYPE_CHECKING:  # pragma: no branch - type checkers would take it for leave to set anything

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise AttributeError(f"a {type(self).__name__} cannot be changed: make another with .replace({name}=...)")

        def __delattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"a {type(self).__name__} cannot be changed: it needs its {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frozen) or type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((type(self), *self._fields().values()))

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._fields().items() if name not in self._hidden]
        return f"{type(self).__name__}({', '.join(shown)})"
