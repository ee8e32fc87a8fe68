"""The collector of cyclic garbage and the command: it is left alone until there is a client, and elsewhere."""

from __future__ import annotations

import pytest

from .running import Command

PROGRAM = """
import gc, sys
usual, seen = gc.get_threshold(), []
gc.callbacks.append(lambda phase, info: seen.append(gc.get_threshold()))
from aichatfree.cli import main
{setting}
status = main({args})
assert status == {status}, status
print(f"\\n{{gc.get_threshold() == usual}} {{set(seen) <= {{usual}}}} {{gc.get_freeze_count() > 1000}}")
"""


def tell(command: Command, args: list[str], *, program: bool, status: int = 0) -> list[str]:
    """Whether its settings are the usual ones at the end, were so whenever it ran, and whether modules are frozen."""
    setting = f"sys.argv = ['aichatfree', *{args!r}]" if program else ""
    code = PROGRAM.format(setting=setting, args="" if program else repr(args), status=status)
    done = command.run_python(code)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()[-1].split()


def test_it_does_not_run_while_a_program_is_loaded(aichatfree: Command) -> None:
    assert tell(aichatfree, ["ask", "x"], program=True) == ["True", "True", "True"]


def test_it_works_as_ever_while_a_server_runs(aichatfree: Command) -> None:
    """What cannot be listened on ends it after all was loaded."""
    args = ["serve", "--host", "192.0.2.1"]
    assert tell(aichatfree, args, program=True, status=1) == ["True", "True", "True"]


@pytest.mark.parametrize("args", [["ask", "x"], ["history"]])
def test_it_is_left_alone_where_the_command_is_no_program(aichatfree: Command, args: list[str]) -> None:
    assert tell(aichatfree, args, program=False) == ["True", "True", "False"]
