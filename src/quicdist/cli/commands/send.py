"""``quicdist send``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.arguments import atom_text, term
from quicdist.cli.options import NodeAddress, json_option, node_argument, node_options
from quicdist.cli.session import errors_end, reach

if TYPE_CHECKING:
    from quicdist import Node


@click.command()
@node_argument
@click.argument("to", metavar="NAME")
@click.argument("message", metavar="TERM")
@click.option(
    "--replies",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Wait for N messages to '$self', and print each.",
)
@json_option
@node_options
def send(node: NodeAddress, to: str, message: str, replies: int, as_json: bool, **options: Any) -> None:
    """Send the Erlang term TERM to the process that is registered as NAME on NODE.

    The atom '$self' in TERM stands for the pid of the sender: "{'$self',hello}" is a message that an echo
    process can answer. The exit status is 1 if no process has that name.
    """
    import quicdist

    to = atom_text(to, "NAME")
    to_send = term(message, "TERM")
    receiver = (quicdist.Atom(to), quicdist.Atom(node.node))

    def show(answer: Any) -> None:
        from quicdist.cli.json_terms import dumps

        click.echo(dumps(answer) if as_json else quicdist.format_term(answer, "~tp"))

    async def work(local: Node) -> None:
        from quicdist.cli.exchange import exchange

        await exchange(local, receiver, to_send, replies=replies, timeout=options["timeout"], show=show)

    with errors_end():
        reach(node, work, doing=f"sending to {to} on {node.node}", options=options)
