"""Signals: whatever ends or stops the program, the terminal is left as it was found, and there is no traceback.

The first signal to end becomes an exception, so that what has come of a reply is shown and files are closed. Until the
work begins, after it, and from the second signal on, the program ends at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .borrowed import abandon_all, give_all_back, take_all_again

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 5.0
"""Seconds that remain for an orderly end: a terminal that is paused, as by Ctrl-S, would hold it up for ever."""


class Terminated(SystemExit):
    """SIGTERM or SIGHUP has come; a kind of SystemExit, as event loops hold back other exceptions.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


class _State:
    working = False
    """Whether a signal may become an exception."""
    received: int | None = None
    since = 0.0
    """When it came."""
    goes_on = False
    """Whether the program goes on after Ctrl-C, so that people type it more than once and do not mean its end."""
    instead: Callable[[], None] | None = None
    """What Ctrl-C does in such a program while there is nothing that it could stop."""


_state = _State()


def arm() -> None:
    """From now on signals end the program quietly. What is ignored, as under ``nohup``, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return  # Python has signals handled by the main thread alone
    for name in _ENDING:
        _install(name, _end)
    _install("SIGTSTP", _stop)
    _install("SIGCONT", _continue)
    sys.unraisablehook = _unraisable


def working(yes: bool) -> None:
    """Say whether there is something to be ended in order."""
    _state.working = yes


def go_on(instead: Callable[[], None]) -> None:
    """A program that goes on after Ctrl-C has dealt with one, if there was one: the next one is a first one again.

    Args:
        instead: Called for each Ctrl-C outside :func:`interruptible`, where it raises nothing: nobody would expect it.
    """
    _state.instead = instead  # before the rest: from then on it may be called
    _state.received = None
    _state.goes_on = True


@contextmanager
def interruptible() -> Iterator[None]:
    """What a program that goes on does here can be stopped: a Ctrl-C is an exception, and further ones are the same."""
    instead, _state.instead = _state.instead, None
    try:
        yield
    finally:
        _state.instead = instead


def received() -> int | None:
    """The signal that is ending the program, if any."""
    return _state.received


def finish() -> None:
    """The status is known. While the interpreter ends, which it does in a moment, Ctrl-C changes nothing any more."""
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    main = threading.current_thread() is threading.main_thread()
    if main and all(thread.daemon for thread in others):  # else it may wait for them, and must not do so for ever
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def wait_for_input(descriptor: int) -> bool:
    """Wait until there is something to read, or a signal has come; return whether there is something to read.

    A read is ended by a signal that comes while it waits, but not by one that came a moment before, of which Python has
    taken note and not told anybody yet: that would be handled after the read.
    """
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            return descriptor in select.select([descriptor, reader], [], [])[0]
        finally:
            signal.set_wakeup_fd(before)
    finally:
        os.close(reader)
        os.close(writer)


def _install(name: str, handler: Any) -> None:
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
        signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _state.goes_on and number == signal.SIGINT:
        if number == _state.received and now - _state.since < _PATIENCE:
            return  # it is being dealt with
        if _state.received is None and _state.instead is not None:
            _state.instead()
            return
    if not _state.working or _state.received is not None:
        _end_now(number)
    _state.received, _state.since = number, now
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    warnings.simplefilter("ignore")  # of coroutines, say, that now nobody is going to await
    watch = threading.Timer(_PATIENCE, _end_now, [number])
    watch.daemon = True
    watch.start()
    raise Terminated(number)


def _end_now(number: int) -> None:
    try:  # beside this thread, as a terminal that is paused takes nothing
        thread = threading.Thread(target=abandon_all, daemon=True)
        thread.start()
        thread.join(1.0)
    except RuntimeError:  # the interpreter is ending: all was given back
        pass
    os._exit(128 + number)


def _stop(number: int, frame: FrameType | None) -> None:
    """Ctrl-Z: give the terminal back, stop, and continue here."""
    give_all_back()
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)  # os.kill might be a moment late
    signal.signal(signal.SIGTSTP, _stop)
    take_all_again()


def _continue(number: int, frame: FrameType | None) -> None:
    """``fg`` after ``bg``: the terminal is ours again."""
    take_all_again()


def _unraisable(unraisable: Any) -> None:
    """An exception of ours that came up where Python drops exceptions, in ``__del__``, is raised once more."""
    if isinstance(unraisable.exc_value, (KeyboardInterrupt, Terminated)):
        number, _state.received = _state.received, None
        again = threading.Timer(0.01, os.kill, [os.getpid(), number or signal.SIGINT])  # when this hook is done
        again.daemon = True
        again.start()
        return
    sys.__unraisablehook__(unraisable)
