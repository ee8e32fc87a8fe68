"""``python -m tests.benchmarks``: what this library costs, beside what people would use instead."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from .canned_server import allow_many_files
from .cases import all_cases, running_server
from .measuring import Result
from .report import environment, print_table, write_json, write_plot

QUICK_ROUNDS = 3


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
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("drawing needs matplotlib: pip install 'aichatfree[bench]'")
    return output(text)


def arguments() -> argparse.Namespace:
    names = [case.name for case in all_cases()]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller cases and fewer rounds")
    parser.add_argument(
        "--rounds", type=at_least_one, help=f"by default as many as a case needs, with --quick {QUICK_ROUNDS}"
    )
    parser.add_argument("--only", action="append", choices=names, metavar="CASE", help=f"one of {', '.join(names)}")
    parser.add_argument("--json", type=output, metavar="FILE", help="write everything that was found")
    parser.add_argument("--plot", type=svg, metavar="FILE.svg", help="draw the ratios (needs matplotlib)")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    allow_many_files()
    results: list[Result] = []
    print(environment())
    with running_server() as server:
        for case in all_cases(given.quick):
            if not given.only or case.name in given.only:
                found = case.measure(server, given.rounds or (QUICK_ROUNDS if given.quick else case.rounds))
                print_table(found)
                results += found
    if given.json:
        write_json(given.json, results)
    if given.plot:
        write_plot(given.plot, results)


if __name__ == "__main__":
    main()
