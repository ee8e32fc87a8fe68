"""The command ``aichatfree``. Its libraries come with the extra ``cli``, so this module itself needs none of them."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

_OF_THE_EXTRA = ("click", "rich", "prompt_toolkit", "platformdirs", "tomli")


def main(args: list[str] | None = None) -> int:
    """Run the command.

    Args:
        args: What stands after ``aichatfree`` on the command line; None takes it from ``sys.argv``.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
    """
    try:
        from .program import run

        return run(args)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_THE_EXTRA:
            raise
        print(f"aichatfree: the command line needs {missing}; install it with: {_install_command()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _install_command() -> str:
    root = Path(__file__).resolve().parents[2]
    # pip takes the name for the package that is installed already; a source tree that was never installed has a path.
    package = f"{root}[cli]" if (root / "setup.cfg").is_file() else "aichatfree[cli]"
    return f'"{sys.executable}" -m pip install "{package}"'
