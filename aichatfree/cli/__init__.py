"""The command ``aichatfree``. Its libraries come with the extra ``cli``, so this module itself needs none of them."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

_OF_THE_EXTRA = ("click", "rich", "markdown_it", "prompt_toolkit", "platformdirs", "tomli")


def main(args: list[str] | None = None) -> int:
    """Run the command.

    Args:
        args: What stands after ``aichatfree`` on the command line; None is a program's own start: it takes
            them from ``sys.argv``, and handles signals.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for wrong usage, 128 and its number after a signal.
    """
    if (sys.argv[1:] if args is None else args) == ["--version"]:
        return _print_version()
    if args is not None:
        return _run(args)
    from . import collecting, signals
    from .borrowed import abandon_all

    collecting.starting()
    signals.arm()
    try:
        status = _run(None)
        signals.working(False)
    except KeyboardInterrupt:
        signals.working(False)
        status = INTERRUPTED
    except signals.Terminated as error:
        signals.working(False)
        status = 128 + error.number
    abandon_all()
    collecting.ending()
    signals.finish()
    return status


def _run(args: list[str] | None) -> int:
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


def _print_version() -> int:
    """Answer without loading a library: scripts ask for the version often."""
    try:
        if sys.stdout is not None:
            sys.stdout.write(f"aichatfree {_version()}\n")
            sys.stdout.flush()
    except (KeyboardInterrupt, OSError) as error:
        from .report import report  # the rare way may load what it needs
        from .terminal import drop_output

        drop_output()
        return report(error)
    return 0


def _version() -> str:
    """The installed version, read off the first folder of a distribution on the path, as importlib.metadata does."""
    for folder in sys.path:
        try:
            names = [name for name in os.listdir(folder or ".") if name.startswith("aichatfree")]  # noqa: PTH208 - fast
        except OSError:
            continue
        found = [name for name in names if name.endswith((".dist-info", ".egg-info"))]
        if found:
            number = found[0].removeprefix("aichatfree-").removesuffix(".dist-info")
            if found[0].endswith(".egg-info"):  # of a source tree that was built
                number = _number_in(f"{folder or '.'}/{found[0]}/PKG-INFO")
            if len(found) == 1 and number.replace(".", "").isalnum():
                return number
            break
    from .. import __version__

    return str(__version__)


def _number_in(metadata: str) -> str:
    try:
        with open(metadata, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes as long as all the rest
            return next((line.split()[1] for line in file if line.startswith("Version: ")), "")
    except OSError:
        return ""


def _install_command() -> str:
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    # pip takes the name for the package that is installed already; a source tree that was never installed has a path.
    package = f"{root}[cli]" if (root / "setup.cfg").is_file() else "aichatfree[cli]"
    return f'"{sys.executable}" -m pip install "{package}"'
