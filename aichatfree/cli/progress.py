"""How far a batch is, with its rate and the time that remains, where stderr is a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from .terminal import console

if TYPE_CHECKING:
    from .batch_output import Output


class Progress:
    """A bar on stderr; nothing where that is no terminal.

    Args:
        total: How many lines there are.
        results: Those that are done.
    """

    def __init__(self, total: int, results: Output) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._results = results
        self._bar = Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[failed]}", style="red"),
            console=console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, completed=len(results.digests), rate="", failed="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def update(self) -> None:
        """Show what is done now."""
        (task,) = self._bar.tasks
        self._bar.update(
            self._task,
            completed=len(self._results.digests),
            rate=f"{task.speed * 60:.0f}/min" if task.speed else "",
            failed=f"{len(self._results.failed)} failed" if self._results.failed else "",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
