"""``quicdist call``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.arguments import argument_list, atom_text
from quicdist.cli.options import NodeAddress, json_option, node_argument, node_options
from quicdist.cli.session import errors_end, reach

if TYPE_CHECKING:
    from quicdist import Node


@click.command()
@node_argument
@click.argument("module", metavar="MODULE")
@click.argument("function", metavar="FUNCTION")
@click.argument("arguments", metavar="[ARGS]", default="[]")
@json_option
@node_options
def call(
    node: NodeAddress, module: str, function: str, arguments: str, as_json: bool, **options: Any
) -> None:
    """Call MODULE:FUNCTION on NODE and print what it returns, as Erlang prints it.

    ARGS is the list of arguments as an Erlang term: '[[1,2,3]]' is one argument, a list.
    """
    import quicdist

    module, function = atom_text(module, "MODULE"), atom_text(function, "FUNCTION")
    terms = argument_list(arguments)

    async def work(local: Node) -> Any:
        return await local.call(node.node, module, function, terms, timeout=options["timeout"])

    with errors_end():
        doing = f"calling {module}:{function}/{len(terms)} on {node.node}"
        result = reach(node, work, doing=doing, options=options)
        if as_json:
            from quicdist.cli.json_terms import dumps

            click.echo(dumps(result))
        else:
            click.echo(quicdist.format_term(result, "~tp"))
