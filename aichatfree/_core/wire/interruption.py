"""The exceptions for a reply that broke off. No I/O."""

from __future__ import annotations

from ...errors import StreamInterruptedError
from .redaction import short


def interrupted(detail: object) -> StreamInterruptedError:
    """The exception for a reply whose connection broke, in the HTTP library's own words (``detail``)."""
    return StreamInterruptedError(f"the reply broke off before its end: ask again ({short(detail)})")


def closed_by_caller() -> StreamInterruptedError:
    """The exception that a reader meets when somebody else closes its stream."""
    return StreamInterruptedError("the stream was closed while it was being read; what had come is in .partial")
