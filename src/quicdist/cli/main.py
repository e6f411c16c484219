"""The command ``quicdist``.

Each subcommand is a module of :mod:`quicdist.cli.commands`, and imports what it needs when it runs:
``--help`` needs nothing of the library.
"""

from __future__ import annotations

import logging
from typing import Final

import click

import quicdist
from quicdist.cli.lazy_group import LazyGroup

#: The subcommands and what the list of them says of each.
COMMANDS: Final = {
    "call": "Call a function on a node and print its value.",
    "certs": "Make a development CA, a certificate and its key.",
    "completion": "Print the completion script of a shell.",
    "decode": "Decode external term format or distribution frames.",
    "gateway": "Carry the distribution of a BEAM over QUIC.",
    "names": "Print the node names that epmd knows.",
    "nodes": "Print which nodes of a cluster can be reached.",
    "pids": "List the processes of a node.",
    "ping": "Ping a node.",
    "send": "Send a message to a process.",
    "shell": "Call functions on a node from a prompt.",
    "top": "Watch the processes of a node.",
    "trace": "Print the messages of a connection.",
}


@click.group(
    cls=LazyGroup,
    package="quicdist.cli.commands",
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(quicdist.__version__, prog_name="quicdist")
def main() -> None:
    """Reach into an Erlang or Elixir cluster, over QUIC, TCP or TLS.

    Exit status: 0 on success, 1 when the peer cannot be reached or the call failed (the reason on
    standard error), 2 on wrong usage.
    """
    # Errors are logged as well as raised: print the reason once.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    logging.getLogger("quicdist.node.connections").setLevel(logging.ERROR)
