"""Whatever goes wrong becomes one line on stderr and an exit status."""

from __future__ import annotations

import errno
import logging
import sys
import traceback

import click

from ..errors import AIChatFreeError, APIError, InvalidRequestError
from . import INTERRUPTED, signals
from .terminal import complain, drop_output

FAILED = 1
WRONG_USAGE = 2
CLOSED_PIPE = 128 + 13
"""Nobody reads the output any more: 128 and the number of SIGPIPE, as shells have it."""
_DEVICE_TROUBLE = (errno.ENOSPC, errno.EFBIG, errno.EIO)

# The library speaks of its arguments; here they are options.
_OPTIONS = (
    ("base_url=...", "--base-url"),
    ("base_url", "--base-url"),
    ("password=...", "--password -"),
    ("secret=...", "--secret -"),
    ("proxy=...", "--proxy"),
    ("verify=...", "SSL_CERT_FILE"),
    ("max_rate", "--max-rate"),
    (", or None for no limit", ""),
)


class Refusal(click.ClickException):
    """What was asked for, or set, cannot be done; the text says all there is to say."""

    exit_code = WRONG_USAGE


def report(error: BaseException) -> int:
    """Tell what went wrong in one line, or nothing where there is nothing to tell; return the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if (number := signals.received()) is not None:  # whatever else went wrong since, it ends the program
        return 128 + number
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        drop_output()  # whoever reads has read enough
        return CLOSED_PIPE
    if isinstance(error, click.ClickException):
        complain(_usage(error))
        return error.exit_code
    if isinstance(error, AIChatFreeError):
        complain(as_options(str(error)))
        refused_here = isinstance(error, InvalidRequestError) and not isinstance(error, APIError)
        return WRONG_USAGE if refused_here else FAILED
    if isinstance(error, OSError):
        complain(os_words(error))
        if error.filename is None and error.errno in _DEVICE_TROUBLE:
            drop_output()
        return FAILED
    if logging.getLogger("aichatfree").isEnabledFor(logging.DEBUG):
        sys.stderr.write("".join(traceback.format_exception(error)))
    complain(f"a fault of this program, {type(error).__name__}: {error}; --verbose shows where, please report it")
    return FAILED


def flush(status: int) -> int:
    """Send what is left in stdout and stderr, so that nothing is left to fail at the end of the interpreter.

    Args:
        status: The exit status so far.

    Returns:
        The exit status.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        failed = report(error)
        drop_output()
        status = status or failed
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        drop_output(sys.stderr)
    return status


def as_options(text: str) -> str:
    """A text of the library, in terms of the command line."""
    for argument, option in _OPTIONS:
        text = text.replace(argument, option)
    return text


def os_words(error: OSError) -> str:
    """What the system says of a file, or of anything else, without the number."""
    if error.filename is None:
        words = error.strerror or str(error)
        return f"cannot write the output: {words}" if error.errno in _DEVICE_TROUBLE else words
    return f"{error.filename}: {error.strerror}"


def _usage(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    return f"{message}; see {error.ctx.command_path} --help"
