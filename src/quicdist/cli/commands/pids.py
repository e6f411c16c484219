"""``quicdist pids``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.options import (
    NodeAddress,
    json_option,
    lines_option,
    node_argument,
    node_options,
    sort_option,
)
from quicdist.cli.session import errors_end, reach

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.cli.processes import Snapshot


@click.command()
@node_argument
@sort_option("pid")
@lines_option
@json_option
@node_options
def pids(node: NodeAddress, sort: str, lines: int | None, as_json: bool, **options: Any) -> None:
    """List the processes of NODE, as etop shows them: pid, name or initial call, reductions, memory,
    messages that wait, current function.

    A Python node has to call node.exports.introspection().
    """

    async def look(local: Node) -> Snapshot:
        from quicdist.cli.processes import process_source

        async with process_source(local, node.node, options["timeout"]) as source:
            return await source.look()

    with errors_end():
        found = reach(node, look, doing=f"listing the processes of {node.node}", options=options)
    from quicdist.cli.processes import ordered

    processes = ordered(found.processes, sort)[:lines]
    if as_json:
        import json

        click.echo(json.dumps([each.as_json() for each in processes]))
        return
    from rich.console import Console

    from quicdist.cli.process_table import process_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(process_table(processes))
    if found.left_out:
        click.echo(f"{found.left_out} processes are not shown", err=True)
