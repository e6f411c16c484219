"""``quicdist trace``."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.arguments import argument_list, atom_text
from quicdist.cli.options import NodeAddress, json_option, node_argument, node_options
from quicdist.cli.session import errors_end, reach

if TYPE_CHECKING:
    from quicdist import Node


@click.command()
@node_argument
@click.argument("module", metavar="[MODULE]", required=False)
@click.argument("function", metavar="[FUNCTION]", required=False)
@click.argument("arguments", metavar="[ARGS]", default="[]")
@click.option(
    "--register",
    "names",
    metavar="NAME",
    multiple=True,
    help="Register a process as NAME, which takes all messages; can be given several times.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@json_option
@node_options
def trace(
    node: NodeAddress,
    module: str | None,
    function: str | None,
    arguments: str,
    names: tuple[str, ...],
    count: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Print the messages of the connection between this command and NODE, decoded: each control message
    with its elements, and its payload.

    With MODULE and FUNCTION it calls that function and ends with the answer. Otherwise it ends when NODE
    closes the connection, or with Ctrl-C; --name is the name under which NODE knows it.

    Only this connection can be seen. For messages inside of NODE, use sys:trace or dbg there.
    """
    if (module is None) is not (function is None):
        raise click.UsageError("MODULE needs a FUNCTION")
    if module is not None and function is not None:
        module, function = atom_text(module, "MODULE"), atom_text(function, "FUNCTION")
    names = tuple(atom_text(name, "--register") for name in names)
    terms = argument_list(arguments)

    async def work(local: Node) -> None:
        for name in names:
            local.spawn(lambda process, message: None, name=name)
        if module is None or function is None:
            await printer.over(local, node.node)
        else:
            call = local.call(node.node, module, function, terms, timeout=options["timeout"])
            await printer.until(asyncio.ensure_future(call))

    from quicdist.cli.message_printer import MessagePrinter

    printer = MessagePrinter(as_json, count)
    # Without a function Ctrl-C is the way to end it.
    ends = contextlib.nullcontext() if module is not None else contextlib.suppress(KeyboardInterrupt)
    with errors_end(), ends:
        reach(node, work, doing="", options=options, traced_by=printer.show)
