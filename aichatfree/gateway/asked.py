"""What a request asks for, whichever of the two APIs it speaks. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .problems import Problem

__all__ = ["Asked", "Parameters", "parse_object"]

MAX_MODEL_LENGTH = 512
"""Characters. Every piece of a stream repeats the name."""
MAX_STOPS = 4
MAX_STOP_LENGTH = 1024
"""Characters. The API names no limit; one is needed, since what may begin a stop sequence is held back."""
_MAX_NAMED = 40
_MAX_NAME_LENGTH = 64


@dataclass(frozen=True)
class Asked:
    """One request, understood.

    Args:
        model: The model's name, as the caller gave it.
        messages: What the client is to send.
        stream: Whether the reply is wanted piece by piece.
        stop: Sequences before which the reply ends.
        count: How many replies are wanted.
        include_usage: Whether a stream ends with a usage chunk.
        instructions: What the Responses API calls so, to be repeated in its answer.
        ignored: Names of parameters that have no effect here, fit for a header.
    """

    model: str
    messages: list[dict[str, Any]]
    stream: bool
    stop: tuple[str, ...] = ()
    count: int = 1
    include_usage: bool = False
    instructions: str | None = None
    ignored: tuple[str, ...] = ()


def parse_object(body: bytes) -> dict[str, Any]:
    """Read the JSON object that a body must be.

    Raises:
        Problem: It is none.
    """
    try:
        parsed = json.loads(body.decode().removeprefix("\ufeff"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Problem(400, "The body is not UTF-8: send JSON in UTF-8.", code="invalid_json") from error
    except RecursionError as error:
        raise Problem(400, "The body's JSON is nested too deeply.", code="invalid_json") from error
    except ValueError as error:
        raise Problem(400, f"The body is not JSON ({_where(error)}).", code="invalid_json") from error
    if not isinstance(parsed, dict):
        raise Problem(400, "The body must be a JSON object.", code="invalid_json")
    return parsed


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "a number or constant in it is not allowed"


class Parameters:
    """The parameters of a request, each of which is taken once; what is left over is ignored, and named.

    A null says the same as no parameter at all.

    Args:
        given: The request's JSON object.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._left = {name: value for name, value in given.items() if value is not None}

    def take(self, name: str) -> Any:
        """The value of a parameter, None if there is none."""
        return self._left.pop(name, None)

    def take_typed(self, name: str, kind: type, words: str) -> Any:
        """The value of a parameter that must be of a type; ``words`` say of which.

        Raises:
            Problem: It is of another.
        """
        value = self.take(name)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise Problem(400, f"{name} must be {words}.", param=name, code="invalid_type")
        return value

    def model(self) -> str:
        """The name of the model.

        Raises:
            Problem: There is none, or it is no name.
        """
        name: str | None = self.take_typed("model", str, "the name of a model")
        if not name:
            raise Problem(400, "You must provide a model parameter.", param="model", code="missing_required_parameter")
        if len(name) > MAX_MODEL_LENGTH:
            words = f"model must have at most {MAX_MODEL_LENGTH} characters."
            raise Problem(400, words, param="model", code="invalid_value")
        return name

    def stop(self) -> tuple[str, ...]:
        """The stop sequences.

        Raises:
            Problem: They are not a text, nor up to four.
        """
        value = self.take("stop")
        sequences = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(sequences, list) or not all(isinstance(sequence, str) for sequence in sequences):
            raise Problem(400, "stop must be a string or a list of strings.", param="stop", code="invalid_type")
        if len(sequences) > MAX_STOPS:
            raise Problem(400, f"stop must have at most {MAX_STOPS} sequences.", param="stop", code="invalid_value")
        if any(len(sequence) > MAX_STOP_LENGTH for sequence in sequences):
            words = f"A stop sequence must have at most {MAX_STOP_LENGTH} characters."
            raise Problem(400, words, param="stop", code="invalid_value")
        return tuple(sequence for sequence in sequences if sequence)

    def count(self, most: int) -> int:
        """How many replies are wanted, 1 unless ``n`` says otherwise.

        Raises:
            Problem: ``n`` is no number from 1 to ``most``.
        """
        count: int | None = self.take_typed("n", int, f"a number from 1 to {most}")
        if count is not None and not 1 <= count <= most:
            raise Problem(400, f"n must be a number from 1 to {most}.", param="n", code="invalid_value")
        return 1 if count is None else count

    def refuse(self, name: str, what: str, *, unless: bool = False) -> None:
        """Take a parameter that asks for what the protocol cannot carry; false and empty values ask for nothing.

        Args:
            name: The parameter.
            what: What it asks for, as the subject of a sentence.
            unless: It asks for nothing, whatever its value.

        Raises:
            Problem: It asks for something.
        """
        value = self.take(name)
        if not unless and value not in (None, False, [], {}, "", 0):
            raise unsupported(name, what)

    def ignored(self) -> tuple[str, ...]:
        """What was not taken and is not empty, as names that are fit for a header."""
        names = [name for name, value in self._left.items() if value not in ([], {})]
        shown = [quote(name[:_MAX_NAME_LENGTH], safe="[]", errors="replace") or "%00" for name in names[:_MAX_NAMED]]
        return (*shown, "...") if len(names) > _MAX_NAMED else tuple(shown)

    def tools(self, name: str, choice: str) -> None:
        """Take a list of tools and the choice among them, which must be that none is used.

        Raises:
            Problem: The model may, or must, use one.
        """
        chosen = self.take(choice)
        what = "The use of tools"
        self.refuse(name, what, unless=chosen == "none")
        if chosen not in (None, "none", "auto"):
            raise unsupported(choice, what)


def unsupported(name: str, what: str) -> Problem:
    """The refusal of a parameter that would change what is answered."""
    return Problem(
        400,
        f"{what} is not supported by this server: leave out {name}.",
        param=name,
        code="unsupported_parameter",
    )
