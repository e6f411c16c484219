"""``quicdist shell``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.options import NodeAddress, json_option, node_argument, node_options
from quicdist.cli.session import errors_end, reach

if TYPE_CHECKING:
    from quicdist import Node


@click.command()
@node_argument
@json_option
@node_options
def shell(node: NodeAddress, as_json: bool, **options: Any) -> None:
    """Call functions on NODE from a prompt: module:function(Terms).

    On a BEAM each line may be any Erlang expression; variables stay bound. name ! Term sends a message to a
    registered process. Tab completes modules and functions. h() helps, q() or Ctrl-D ends it.

    Without a terminal each line of standard input is evaluated; the exit status is 1 if one failed.
    """

    async def work(local: Node) -> bool:
        from quicdist.cli.shell_loop import ShellLoop

        return await ShellLoop(local, node.node, options["timeout"], as_json).run()

    with errors_end():
        well = reach(node, work, doing="", options=options)
    sys.exit(0 if well else 1)
