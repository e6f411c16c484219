"""``quicdist ping``, ``quicdist call``, ``quicdist nodes``, ``quicdist certs``, ``quicdist gateway``.

Each command imports what it needs: ``--help`` needs nothing of the library.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

import quicdist
from quicdist.cli.gateway import gateway
from quicdist.cli.options import NodeNameType, make_node, node_options
from quicdist.errors import QuicDistError

_NODE = NodeNameType()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(quicdist.__version__, prog_name="quicdist")
def main() -> None:
    """Reach into an Erlang or Elixir cluster, over QUIC, TCP or TLS.

    Exit status: 0 on success, 1 when the peer cannot be reached or the call failed (the reason on
    standard error), 2 on wrong usage.
    """
    # Errors are logged as well as raised: print the reason once.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    logging.getLogger("quicdist.node.connections").setLevel(logging.ERROR)


@main.command()
@click.argument("node", metavar="NODE", type=_NODE)
@node_options
def ping(node: str, **options: Any) -> None:
    """Ping NODE, as net_adm:ping/1 does; prints pong, or pang where it cannot be reached."""
    try:
        local = make_node(**options, toward=node, listen=False, cluster=())

        async def run() -> None:
            async with local:
                if node != local.name:
                    await local.connect(node)
                await local.is_auth(node, timeout=options["timeout"])

        _run(run(), f"pinging {node}")
    except QuicDistError as error:
        click.echo("pang")
        _fail(error)
    click.echo("pong")


@main.command()
@click.argument("node", metavar="NODE", type=_NODE)
@click.argument("module", metavar="MODULE")
@click.argument("function", metavar="FUNCTION")
@click.argument("arguments", metavar="[ARGS]", default="[]")
@node_options
def call(node: str, module: str, function: str, arguments: str, **options: Any) -> None:
    """Call MODULE:FUNCTION on NODE and print what it returns, as Erlang prints it.

    ARGS is the list of arguments as an Erlang term: '[[1,2,3]]' is one argument, a list.
    """
    terms = _parse_arguments(arguments)
    try:
        local = make_node(**options, toward=node, listen=False, cluster=())

        async def run() -> Any:
            async with local:
                await local.connect(node)
                return await local.call(node, module, function, terms, timeout=options["timeout"])

        result = _run(run(), f"calling {module}:{function}/{len(terms)} on {node}")
        click.echo(quicdist.format_term(result, "~tp"))
    except QuicDistError as error:
        _fail(error)


@main.command()
@click.argument("listed", metavar="[NODE]...", nargs=-1, type=_NODE)
@click.option("--epmd", "hosts", metavar="HOST", multiple=True, help="All nodes that the epmd of HOST knows.")
@click.option("--dns", metavar="NAME@QUERY", multiple=True, help="NAME@ADDRESS for each address of QUERY.")
@click.option("--srv", metavar="NAME@QUERY", multiple=True, help="NAME@TARGET for each SRV record of QUERY.")
@node_options
def nodes(
    listed: tuple[str, ...],
    hosts: tuple[str, ...],
    dns: tuple[str, ...],
    srv: tuple[str, ...],
    **options: Any,
) -> None:
    """Look up the nodes of a cluster and print which of them can be reached.

    Without a NODE, --epmd, --dns and --srv, these are the topologies of libcluster in --config. The exit
    status is 1 when one of them is down.
    """
    from quicdist.cli.cluster import look, strategies

    found = strategies(listed, hosts, dns, srv)
    try:
        toward = listed[0] if listed else ""
        local = make_node(**options, toward=toward, listen=False, cluster=found or None)
        if not local.cluster.strategies:
            raise click.UsageError(
                "no nodes: name some, or --epmd, --dns, --srv, or a --config with topologies"
            )
        lines, well = _run(look(local, options["timeout"]), "looking up nodes")
    except QuicDistError as error:
        _fail(error)
    width = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        click.echo(f"{name:{width}}  {text}")
    sys.exit(0 if well else 1)


@main.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1", "::1"),
    show_default=True,
    help="Host name or IP address the certificate is for; can be given several times.",
)
@click.option("--force", is_flag=True, help="Replace the files that are there.")
def certs(directory: Path, hosts: tuple[str, ...], force: bool) -> None:
    """Make a development CA, a node certificate and its key in DIR."""
    there = [path.name for path in directory.glob("*.pem")] if directory.is_dir() else []
    if there and not force:
        _fail(f"{directory} holds {', '.join(sorted(there))} already; --force replaces them")
    try:
        with _progress("making keys"):
            files = quicdist.make_development_certificates(directory, hosts)
    except QuicDistError as error:
        _fail(error)
    click.echo(f"CA           {files.ca}")
    click.echo(f"certificate  {files.cert}  for {', '.join(hosts)}")
    click.echo(f"key          {files.key}")
    click.echo(f"SHA-256      {files.fingerprint}")


main.add_command(gateway)


def _parse_arguments(text: str) -> list[Any]:
    try:
        terms = quicdist.parse_term(text)
    except quicdist.ParseError as error:
        raise click.BadParameter(str(error), param_hint="ARGS") from error
    if not isinstance(terms, list):
        raise click.BadParameter(f"{text} is no list of arguments: write [{text}]", param_hint="ARGS")
    return terms


def _run(work: Coroutine[Any, Any, Any], doing: str) -> Any:
    with _progress(doing):
        return quicdist.run(work)


@contextlib.contextmanager
def _progress(doing: str) -> Iterator[None]:
    """Show progress if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from quicdist.cli.progress import spinner

    with spinner(doing):
        yield


def _fail(error: QuicDistError | str) -> NoReturn:
    click.echo(f"quicdist: {error}", err=True)
    if isinstance(error, quicdist.RemoteError):
        from quicdist.cli.stack import stack_lines

        for line in stack_lines(error.stack):
            click.echo(f"  {line}", err=True)
    sys.exit(1)
