"""The console of rich for those who may not need one: it is loaded when it is asked for, as it takes a while."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .console import SafeConsole


def console(*, stderr: bool = False) -> SafeConsole:
    """A console on stdout or stderr as they are now, whose content is filtered. It heeds NO_COLOR and TERM."""
    from .console import SafeConsole

    return SafeConsole(sys.stderr if stderr else sys.stdout)
