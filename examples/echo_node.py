"""A node with an echo server.

``{From, Msg}`` sent to its process ``echo`` brings ``Msg`` back to ``From``,
``gen_server:call({echo, Node}, Msg)`` returns ``Msg``, and so does ``rpc:call(Node, echo, echo, [Msg])``.
From an Erlang shell in the same cluster:

    {echo, 'py@127.0.0.1'} ! {self(), hello}, flush().
    gen_server:call({echo, 'py@127.0.0.1'}, hello).
    rpc:call('py@127.0.0.1', echo, echo, [hello]).
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

import quicdist
from quicdist import GenServer, Node, Pid, QuicDistError, make_development_certificates
from quicdist.cli import make_node, node_options

CERTS = Path(__file__).resolve().parent.parent / "certs"


class Echo(GenServer):
    """Answers calls with their request, and ``{From, Msg}`` with ``Msg``."""

    def handle_call(self, request: Any, sender: Any) -> Any:
        return request

    def handle_info(self, message: Any) -> None:
        match message:
            case (Pid() as sender, body):
                self.process.send(sender, body)
            case _:
                super().handle_info(message)


@click.command()
@node_options
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen; 4433 for QUIC by default.")
@click.option("--host", help="Address to listen on; all of them by default.")
def main(port: int | None, host: str | None, **options: Any) -> None:
    """Run a node with an echo server until SIGINT or SIGTERM."""
    log_to_stderr()
    options["name"] = options["name"] or "py@127.0.0.1"
    try:
        configured = options["cert"] or options["config"] or options["vm_args"]
        if not configured and "quic" in (options["carriers"] or ["quic"]):
            files = development_certificate()
            options.update(cert=str(files / "cert.pem"), key=str(files / "key.pem"))
            options["cacert"] = options["cacert"] or str(files / "ca.pem")
        quicdist.run(run(make_node(**options, port=port, host=host)))
    except QuicDistError as error:
        click.echo(f"echo_node: {error}", err=True)
        sys.exit(1)


def log_to_stderr() -> None:
    """Log accepted and refused connections, but not aioquic's warnings about packets."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("quic").setLevel(logging.CRITICAL)


def development_certificate() -> Path:
    """The directory of the development certificate, which is made if it does not exist."""
    if not (CERTS / "key.pem").exists():
        make_development_certificates(CERTS)
        click.echo(f"made a development certificate in {CERTS}", err=True)
    click.echo(f"using the development certificate in {CERTS}: for tests only, not for a cluster", err=True)
    return CERTS


async def run(node: Node) -> None:
    """Run the node with its echo until SIGINT or SIGTERM."""

    @node.export("echo")
    def echo(message: Any) -> Any:
        return message

    async with node:
        node.serve(Echo(), name="echo")
        for address in node.addresses:
            print(f"{node.name} listens on {address}", flush=True)
        await node.run_forever()


if __name__ == "__main__":
    main()
