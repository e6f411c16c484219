"""``quicdist nodes``."""

from __future__ import annotations

import sys
from typing import Any

import click

from quicdist.cli.options import NodeAddress, NodeType, json_option, make_node, node_options
from quicdist.cli.session import complain, errors_end, run_with_progress


@click.command()
@click.argument("listed", metavar="[NODE]...", nargs=-1, type=NodeType())
@click.option("--epmd", "hosts", metavar="HOST", multiple=True, help="All nodes that the epmd of HOST knows.")
@click.option("--dns", metavar="NAME@QUERY", multiple=True, help="NAME@ADDRESS for each address of QUERY.")
@click.option("--srv", metavar="NAME@QUERY", multiple=True, help="NAME@TARGET for each SRV record of QUERY.")
@json_option
@node_options
def nodes(
    listed: tuple[NodeAddress, ...],
    hosts: tuple[str, ...],
    dns: tuple[str, ...],
    srv: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Look up the nodes of a cluster and print which of them can be reached.

    Without a NODE, --epmd, --dns and --srv, these are the topologies of libcluster in --config. The exit
    status is 1 when one of them is down, or none was found.
    """
    from quicdist.cli.cluster import look, strategies

    found = strategies([each.node for each in listed], hosts, dns, srv)
    options["addresses"] += listed
    with errors_end():
        toward = listed[0].node if listed else ""
        if listed and all(each.port for each in listed) and not (hosts or dns or srv):
            options["epmd"] = False
        local = make_node(**options, toward=toward, listen=False, cluster=found or None)
        if not local.cluster.strategies:
            raise click.UsageError(
                "no nodes: name some, or --epmd, --dns, --srv, or a --config with topologies"
            )
        lines, well = run_with_progress(look(local, options["timeout"]), "looking up nodes")
    if not lines:
        complain("no node was found")
        well = False
    if as_json:
        import json

        click.echo(json.dumps([{"node": name, "state": text} for name, text in lines]))
    else:
        width = max((len(name) for name, _ in lines), default=0)
        for name, text in lines:
            click.echo(f"{name:{width}}  {text}")
    sys.exit(0 if well else 1)
