"""What JavaScript makes of JSON: the real server is written in it, and so are its corner cases. No I/O.

Values are those of Python's ``json`` with every number a float; :data:`UNDEFINED` is what a missing property is.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from json.decoder import scanstring  # type: ignore[attr-defined]  # public by use: json.JSONDecoder is built on it
from typing import Any, Final

__all__ = [
    "BLANKS",
    "MAX_DEPTH",
    "UNDEFINED",
    "StackOverflowError",
    "json_string",
    "json_value",
    "last_of",
    "parse_json",
    "property_of",
    "to_string",
    "trim",
]


class _Undefined:
    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = _Undefined()
MAX_DEPTH = 3500
"""How deeply nested lists V8 can print before its stack overflows, about."""
MAX_SLOW_BYTES = 512 << 10
"""The largest body that is read without the C parser, whose own limit of depth is about a thousand."""

BLANKS = "\t\n\v\f\r \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000\ufeff"
"""What ``\\s`` matches in JavaScript, and ``trim`` removes; Python's own notion of a blank differs."""


class StackOverflowError(Exception):
    """JavaScript's RangeError: Maximum call stack size exceeded."""


def trim(text: str) -> str:
    """``text.trim()``."""
    return text.strip(BLANKS)


def parse_json(data: bytes) -> Any:
    """``await request.json()``: always UTF-8, one or two byte-order marks are ignored, numbers are doubles.

    Raises:
        ValueError: It is not JSON, or is nested deeply and larger than :data:`MAX_SLOW_BYTES`.
    """
    text = data.decode("utf-8-sig", "replace").removeprefix("\ufeff")
    try:
        return json.loads(text, parse_int=float, parse_constant=_no_constant)
    except RecursionError:
        pass
    if len(data) > MAX_SLOW_BYTES:
        raise ValueError("nested too deeply for its size")
    return _parse_nested(text)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_TOKEN = re.compile(
    r'[ \t\n\r]*(?:([\[\]{},:])|(")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null))'
)
_END = re.compile(r"[ \t\n\r]*\Z")
_WORDS = {"true": True, "false": False, "null": None}


def _parse_nested(text: str) -> Any:
    """A JSON parser that keeps its place in a list instead of on the stack, for what is nested deeply."""
    root: list[Any] = []
    stack: list[Any] = []
    container: Any = root
    key: str | None = None
    expecting = "value"  # value, value-or-end, key, key-or-end, colon, comma
    at = 0
    while not (expecting == "comma" and container is root):
        if (token := _TOKEN.match(text, at)) is None:
            raise ValueError(f"not JSON at {at}")
        at = token.end()
        sign = token[1]
        if sign is not None:
            if sign in "[{" and expecting.startswith("value"):
                value: Any = [] if sign == "[" else {}
                _put(container, key, value)
                stack.append(container)
                container, key = value, None
                expecting = "value-or-end" if sign == "[" else "key-or-end"
            elif sign in "]}" and (expecting == "comma" or expecting.endswith("-or-end")):
                if container is root or isinstance(container, list) is not (sign == "]"):
                    raise ValueError(f"not JSON at {at}")
                container, expecting = stack.pop(), "comma"
            elif sign == "," and expecting == "comma":
                expecting = "value" if isinstance(container, list) else "key"
            elif sign == ":" and expecting == "colon":
                expecting = "value"
            else:
                raise ValueError(f"not JSON at {at}")
            continue
        if token[2] is not None:
            value, at = scanstring(text, at, True)
            if expecting.startswith("key"):
                key, expecting = value, "colon"
                continue
        elif token[3] is not None:
            value = float(token[3])
        else:
            value = _WORDS[token[4]]
        if not expecting.startswith("value"):
            raise ValueError(f"not JSON at {at}")
        _put(container, key, value)
        expecting = "comma"
    if _END.match(text, at) is None:
        raise ValueError(f"not JSON at {at}")
    return root[0]


def _put(container: Any, key: str | None, value: Any) -> None:
    if isinstance(container, list):
        container.append(value)
    else:
        container[key] = value


def to_string(value: Any) -> str:
    """What ``${value}`` prints.

    Raises:
        TypeError: An object with a ``toString`` of its own, which is no function.
        StackOverflowError: Lists nested more deeply than :data:`MAX_DEPTH`.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _join(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, dict):
        if "toString" in value:
            raise TypeError("Cannot convert object to primitive value")
        return "[object Object]"
    return "undefined"


def _join(values: list[Any]) -> str:
    """``values.join(",")``, without Python's stack, which is smaller than V8's."""
    parts: list[str] = []
    stack = [iter(values)]
    first = True
    while stack:
        for value in stack[-1]:
            if not first:
                parts.append(",")
            first = False
            if isinstance(value, list):
                if len(stack) >= MAX_DEPTH:
                    raise StackOverflowError
                stack.append(iter(value))
                first = True
                break
            if value is not None:
                parts.append(to_string(value))
        else:
            stack.pop()
            first = False
    return "".join(parts)


def _number(value: float) -> str:
    """The shortest digits that give the number back, no `.0`; an exponent from 1e21 on and below 1e-6."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    if 1e-6 <= abs(number) < 1e21:
        return format(Decimal(repr(number)).normalize(), "f")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def property_of(value: Any, name: str) -> Any:
    """`value.name`: null has no properties at all, anything else has it or gives undefined."""
    if isinstance(value, dict):
        return value.get(name, UNDEFINED)
    if value is None or value is UNDEFINED:
        raise TypeError(f"Cannot read properties of {to_string(value)} (reading '{name}')")
    if name == "length" and isinstance(value, (str, list)):
        return float(len(value))
    return UNDEFINED


def last_of(messages: Any) -> Any:
    """`messages[messages.length - 1]`, also of an object that has a length, or none."""
    if isinstance(messages, list):
        return messages[-1]
    if isinstance(messages, dict):
        return messages.get(_number_before(messages.get("length", UNDEFINED)), UNDEFINED)
    if isinstance(messages, str):
        return messages[-1]
    return UNDEFINED


def _number_before(length: Any) -> str:
    """The property name `length - 1`."""
    if isinstance(length, bool) or length is None:
        return to_string(float(bool(length)) - 1)
    if isinstance(length, float):
        return to_string(length - 1)
    text = trim(to_string(length)) if length is not UNDEFINED else "NaN"
    if re.fullmatch(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|Infinity)", text, re.ASCII):
        return to_string(float(text) - 1)
    if re.fullmatch(r"0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)", text):
        return to_string(float(int(text, 0)) - 1)
    return "-1" if not text else "NaN"


def json_string(text: str) -> str:
    """``JSON.stringify(text)``: only halves of a surrogate pair without the other are escaped beyond ASCII."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    quoted = json.dumps(joined, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", quoted)


def json_value(value: Any) -> str:
    """``JSON.stringify`` of what is no list and no object."""
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value) if math.isfinite(value) else "null"
    return json.dumps(value)
