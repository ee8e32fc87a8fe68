"""``aichatfree batch``: many prompts from a file, and a file of results that outlives any interruption."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from . import INTERRUPTED
from .batch_check import Plan, check_apart, check_lines
from .batch_lines import Source
from .batch_output import Output, Stdout
from .batch_progress import progress_of
from .batch_results import Results
from .batch_run import TROUBLE, Batch
from .options import Settings, connection_options, examples
from .reading import read_argument
from .report import FAILED, Refusal, as_options, os_words
from .terminal import complain


@click.command(
    epilog=examples(
        "aichatfree batch prompts.jsonl -o replies.jsonl",
        "aichatfree batch prompts.txt -o - --rate 30 | jq -r .text",
        "aichatfree batch requests.jsonl -o answers.jsonl --concurrency 2",
        "jq -c '{id: .nr, prompt: .title}' books.jsonl |",
        "  aichatfree batch - -o replies.jsonl",
    )
)
@click.argument("source", metavar="IN.jsonl", type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    metavar="OUT.jsonl",
    required=True,
    type=click.Path(allow_dash=True),
    help="Where the results go; - is stdout.",
)
@click.option("--system", "-s", metavar="TEXT", help="An instruction for every line that brings none.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=4, show_default=True, help="Requests at once.")
@click.option("--max-rate", "--rate", "max_rate", type=float, metavar="N", help="Requests a minute, at most.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Tries after the first one.")
@click.option("--as-completed", is_flag=True, help="Leave the results in the order in which they came.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on with what OUT.jsonl has, or refuse to.",
)
@click.option("--retry-failed", is_flag=True, help="Ask the lines again that failed in an earlier run.")
@connection_options
def batch(
    source: str,
    output: str,
    system: str | None,
    concurrency: int,
    max_rate: float | None,
    retries: int,
    as_completed: bool,
    resume: bool,
    retry_failed: bool,
    settings: Settings,
) -> int:
    """Ask every prompt of a file, some at once.

    Each line of IN.jsonl is a JSON text, {"prompt": "...", "id": ..., "system": "..."}, {"messages": [...]}, a list of
    messages, or a request of the OpenAI Batch API; - is stdin. If no line is JSON, each is a prompt as it is. Each line
    of OUT.jsonl has the line's number and id, its text or error, the attempts and the seconds it took; requests of the
    OpenAI Batch API are answered in its own form. A line that cannot be read becomes an error there.

    A result is on the disk as soon as it is known. After an interruption of any kind the same command goes on where it
    was; lines that could not be read and were corrected are asked then. When all is done, the results are put into the
    order of the input. Where the server itself is in trouble (away, quota used up, wrong password), the batch stops, to
    be gone on with later. The exit status is 1 if a line failed.
    """
    system = settings.system if system is None else read_argument(system)
    with settings.client(max_retries=retries) as client, closing(Source(source)) as lines:
        check_apart(lines, output)
        with closing(_output(lines, output, as_completed=as_completed)) as results:
            plan = check_lines(lines, results, system, output)
            if isinstance(results, Results):
                _prepare(results, plan, resume=resume, retry_failed=retry_failed, as_completed=as_completed)
            elif retry_failed:
                raise Refusal("--retry-failed needs an earlier run, and stdout has none: give -o a file")
            try:
                with progress_of(plan.total, results, quiet=output == "-") as progress:
                    job = Batch(client, lines, results, system=system, doubts=max(3, concurrency))
                    for _ in job.run(concurrency=concurrency, max_rate=max_rate):
                        progress.update()
            except KeyboardInterrupt:
                complain(f"stopped with {len(results.digests)} of {plan.total} done{_go_on(output)}")
                return INTERRUPTED
            except TROUBLE as error:
                done = f"{len(results.digests)} of {plan.total} done"
                complain(f"stopped with {done}: {as_options(str(error))}{_go_on(output).replace(':', ';', 1)}")
                return FAILED
            if not as_completed:
                _sort(results)
            return _tell_the_end(results, plan, output)


def _output(lines: Source, output: str, *, as_completed: bool) -> Output:
    if output != "-":
        return Results(Path(output))
    return Stdout(None if as_completed else iter([line.number for line in lines]))


def _prepare(results: Results, plan: Plan, *, resume: bool, retry_failed: bool, as_completed: bool) -> None:
    """Take out what is to be asked again, and try what would fail at the end.

    Raises:
        Refusal: That cannot be.
    """
    if results.digests and not resume:
        raise Refusal(f"{results.path} has results already: give another -o, or leave --no-resume out")
    again = plan.corrected | (results.failed if retry_failed else set())
    results.check(rewrite=bool(again) or not as_completed)
    results.forget(again)


def _sort(results: Output) -> None:
    """Bring the results into order; that this fails is no failure of the batch."""
    try:
        results.sort()
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"warning: the results stand in the order in which they came: {os_words(error)}")


def _tell_the_end(results: Output, plan: Plan, output: str) -> int:
    failed = len(results.failed)
    where = "" if output == "-" else f": {output}"
    advice = ""
    if plan.wrong & results.failed:
        advice = "; correct the lines named above, and the same command asks them again"
    if results.failed - plan.wrong and output != "-":
        advice += f"{' and' if advice else ';'} --retry-failed asks {'the others' if advice else 'them'} again"
    complain(f"all {plan.total} lines are done, {failed} of them failed{where}{advice}")
    return FAILED if failed else 0


def _go_on(output: str) -> str:
    return "" if output == "-" else ": the same command goes on"
