"""What was found, in a file that is written after each case."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..measuring import Goal, Result, Spread

PACKAGES = ("aichatfree", "requests", "urllib3", "aiohttp", "openai", "ollama", "litellm")
_SPREADS = ("cpu_ms", "wall_ms", "ratio")


def environment() -> dict[str, Any]:
    """What was measured, and on what."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass
class Found:
    """Everything that was found.

    Args:
        quick: Whether the cases were the small ones.
        environment: What was measured, and on what.
        results: By case, one after the other.
        failed: Why a case could not be measured, by its name.
        seconds: What a case took, by its name.
    """

    quick: bool = False
    environment: dict[str, Any] = field(default_factory=environment)
    results: list[Result] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, case: str) -> list[Result]:
        """The results of one case."""
        return [result for result in self.results if result.case == case]

    def add(self, case: str, results: Sequence[Result], seconds: float) -> None:
        """A case was measured."""
        self.failed.pop(case, None)
        self.results = [result for result in self.results if result.case != case] + list(results)
        self.seconds[case] = round(seconds, 1)

    def save(self, path: Path) -> None:
        """Write all of it. Whatever ends the program, the file is whole."""
        results = []
        for result in self.results:
            spreads = {name: spread._asdict() for name in _SPREADS if (spread := getattr(result, name))}
            results.append({**asdict(result), **spreads})
        text = json.dumps({**vars(self), "results": results}, indent=1)
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(f"{text}\n", "utf-8")
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Found:
        """Read what `save` wrote.

        Raises:
            ValueError: It is no such file.
        """
        try:
            read = json.loads(path.read_text("utf-8"))
            return cls(**{**read, "results": [_result(each) for each in read["results"]]})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} does not hold results of these benchmarks") from error


def _result(read: dict[str, Any]) -> Result:
    spreads = {name: Spread(**read[name]) for name in _SPREADS if read[name]}
    return Result(**{**read, **spreads, "goals": tuple(Goal(**goal) for goal in read["goals"])})
