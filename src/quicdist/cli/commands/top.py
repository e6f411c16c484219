"""``quicdist top``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.options import (
    NodeAddress,
    Seconds,
    json_option,
    lines_option,
    node_argument,
    node_options,
    sort_option,
)
from quicdist.cli.session import errors_end, reach

if TYPE_CHECKING:
    from quicdist import Node


@click.command()
@node_argument
@sort_option("reductions")
@click.option(
    "--interval",
    type=Seconds(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@lines_option
@click.option("--once", is_flag=True, help="Look twice, print once and end.")
@json_option
@node_options
def top(
    node: NodeAddress,
    sort: str,
    interval: float,
    lines: int | None,
    once: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Watch the processes of NODE, a BEAM or a Python node, as etop does.

    Reductions are those since the last look; a Python node has none, and its processes are sorted by memory.
    Keys: r, m, g, n, p sort by reductions, memory, messages, name, pid; q or Ctrl-C ends it. With --json
    each look is one line. Where standard output is no terminal, one table is printed.
    """

    import sys

    async def watch(local: Node) -> None:
        from quicdist.cli.top_view import TopView, print_looks

        view = TopView(node.node, sort, interval, lines)
        if as_json or once or not sys.stdout.isatty():
            await print_looks(local, view, options["timeout"], once=once or not as_json, as_json=as_json)
        else:
            await view.show(local, options["timeout"])

    with errors_end(), contextlib.suppress(KeyboardInterrupt):
        reach(node, watch, doing="", options=options)
