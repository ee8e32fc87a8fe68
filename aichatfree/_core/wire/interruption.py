"""The exceptions for a reply that broke off. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import StreamInterruptedError
from .redaction import short


def interrupted(detail: object, secrets: Iterable[str] = ()) -> StreamInterruptedError:
    """The exception for a reply whose connection broke.

    Args:
        detail: What happened, in the HTTP library's own words.
        secrets: What must not be shown of them.
    """
    error = StreamInterruptedError(f"the reply broke off before its end: ask again ({short(detail, secrets)})")
    error._own_words = "the reply broke off before its end: ask again"
    return error


def closed_by_caller() -> StreamInterruptedError:
    """The exception that a reader meets when somebody else closes its stream."""
    error = StreamInterruptedError(
        "the stream was closed, or given up, before the reply was whole; what had come is in .partial"
    )
    error.by_caller = True
    return error
