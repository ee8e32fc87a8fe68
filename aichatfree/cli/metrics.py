"""The switch ``--metrics``: figures for Prometheus, beside what a command serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from .report import Refusal

if TYPE_CHECKING:
    from aiohttp import web

PATH = "/metrics"

metrics_option = click.option(
    "--metrics", is_flag=True, help=f"Serve figures for Prometheus as well, under {PATH}; needs the extra metrics."
)


def preparation(wanted: bool) -> Callable[[web.Application], object] | None:
    """What is done to an application before it is served.

    Args:
        wanted: Whether there are to be figures.

    Raises:
        Refusal: What they need is not installed.
    """
    if not wanted:
        return None
    try:
        from ..integrations.prometheus import add_metrics
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise Refusal("--metrics needs prometheus-client 0.24 or newer: pip install 'aichatfree[metrics]'") from error
    return add_metrics
