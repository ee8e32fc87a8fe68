"""``python -m tests.benchmarks``: what this library costs, beside what people would use instead."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TypeVar

from .canned_server import allow_many_files
from .cases import Case, all_cases
from .children import canned_server
from .report.page import DOCS, PAGE, PLOT, write_page
from .report.saved import Found, environment
from .report.tables import print_table

Read = TypeVar("Read")
QUICK_ROUNDS = 3
CASE_SECONDS = 420
"""A case that takes longer for its own number of rounds hangs, and is given up."""


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def output(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: name a file in a folder that exists")
    return path


def svg(text: str) -> Path:
    if not text.endswith(".svg"):
        raise argparse.ArgumentTypeError("the file's name must end with .svg")
    need_matplotlib()
    return output(text)


def need_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("drawing needs matplotlib: pip install 'aichatfree[bench]'")


def docs(text: str) -> Path:
    folder = Path(text)
    if not (folder / PAGE).is_file() or not (folder / PLOT).parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} has no {PAGE}, or no folder for {PLOT}")
    need_matplotlib()
    return folder


def refuse_with(parser: argparse.ArgumentParser, read: Callable[[str], Read], value: Path) -> Read:
    """What is read from a path that nobody typed as such an argument."""
    try:
        return read(str(value))
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))


def results_in(text: str) -> Found:
    try:
        return Found.load(Path(text))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {error}") from None


def arguments() -> argparse.Namespace:
    names = [case.name for case in all_cases()]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--list", action="store_true", help="print the cases' names, and measure nothing")
    add("--quick", action="store_true", help="smaller cases and fewer rounds: do they run?")
    add("--rounds", type=at_least_one, help=f"by default as many as a case needs, with --quick {QUICK_ROUNDS}")
    add("--only", action="append", choices=names, metavar="CASE", help=f"one of {', '.join(names)}")
    add("--json", type=output, metavar="FILE", help="write everything that was found, after each case")
    add("--resume", action="store_true", help="go on with --json FILE: measure what it lacks, or what --only names")
    add("--from", type=results_in, dest="found", metavar="FILE", help="measure nothing: show what --json wrote")
    add("--plot", type=svg, metavar="FILE.svg", help="draw the ratios (needs matplotlib)")
    add(
        "--docs",
        nargs="?",
        type=docs,
        const=DOCS,
        metavar="FOLDER",
        help=f"write the figures into {PAGE} and its plot, in {DOCS.name} or another folder (needs matplotlib)",
    )
    given = parser.parse_args()
    if given.resume and not given.json:
        parser.error("--resume needs --json FILE")
    if given.found and (given.resume or given.only or given.quick or given.rounds):
        parser.error("--from measures nothing, so that nothing else can be said about measuring")
    if given.docs:
        refuse_with(parser, docs, given.docs)
    if given.resume and given.json.exists():
        given.found = refuse_with(parser, results_in, given.json)
        if given.found.quick != given.quick:
            parser.error(f"{given.json} was made {'with' if given.found.quick else 'without'} --quick")
        given.found.environment = environment()
    return given


def measure(case: Case, server: str, rounds: int, found: Found) -> None:
    """Measure one case; where that fails, say why and go on."""
    started = time.perf_counter()
    try:
        with time_limit(CASE_SECONDS * max(1, rounds // case.rounds)):
            results = case.measure(server, rounds)
    except Exception as error:
        traceback.print_exc()
        found.failed[case.name] = f"{type(error).__name__}: {error}"
        print(f"{case.name} could not be measured", file=sys.stderr)
        return
    found.add(case.name, results, time.perf_counter() - started)
    print_table(results)
    print(f"{case.name}: {found.seconds[case.name]:.0f} s", flush=True)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError after so many seconds. Windows has no such alarm."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(given: argparse.Namespace) -> Found:
    """Measure what was asked for."""
    found: Found = given.found or Found(quick=given.quick)
    print(found.environment)
    with canned_server() as server:
        for case in all_cases(given.quick):
            if given.only and case.name not in given.only:
                continue
            if given.resume and not given.only and found.of(case.name):
                continue
            measure(case, server, given.rounds or (QUICK_ROUNDS if given.quick else case.rounds), found)
            if given.json:
                found.save(given.json)
    return found


def main() -> int:
    given = arguments()
    if given.list:
        print(*(case.name for case in all_cases()), sep="\n")
        return 0
    if given.found and not given.resume:
        found: Found = given.found
        print(found.environment)
        for name in dict.fromkeys(result.case for result in found.results):
            print_table(found.of(name))
    else:
        allow_many_files()
        found = run(given)
    if given.plot:
        from .report.plots import write_ratios

        write_ratios(given.plot, found.results)
    if given.docs:
        write_page(given.docs, found)
    for name, reason in found.failed.items():
        print(f"not measured: {name}: {reason}", file=sys.stderr)
    return 1 if found.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
