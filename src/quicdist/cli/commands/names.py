"""``quicdist names``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from quicdist.cli.options import Seconds, json_option
from quicdist.cli.session import complain, run_with_progress

if TYPE_CHECKING:
    from quicdist.discovery import DiscoveryError, RegisteredName


@click.command()
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@click.option(
    "--epmd-port", type=click.IntRange(1, 65535), help="Port of epmd; $ERL_EPMD_PORT or 4369 by default."
)
@click.option(
    "--timeout",
    type=Seconds(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for the answer of each epmd.",
)
@json_option
def names(hosts: tuple[str, ...], epmd_port: int | None, timeout: float, as_json: bool) -> None:
    """Print the names that the epmd of each HOST knows, with their ports, as epmd -names and
    net_adm:names/1 do. HOST is this host by default.

    Nodes over TCP and TLS are listed, hidden ones too. Nodes over QUIC do not register with epmd. The exit
    status is 1 if an epmd does not answer.
    """
    hosts = hosts or ("127.0.0.1",)
    answers = run_with_progress(_ask(hosts, epmd_port, timeout), "asking epmd")
    failed = False
    rows: list[dict[str, object]] = []
    for host, answer in zip(hosts, answers, strict=True):
        if isinstance(answer, Exception):
            complain(answer)
            failed = True
        else:
            rows += [{"host": host, "name": each.name, "port": each.port} for each in answer]
    if as_json:
        import json

        click.echo(json.dumps(rows))
    else:
        width = max((len(str(row["name"])) for row in rows), default=0)
        for row in rows:
            at = f"  at {row['host']}" if len(hosts) > 1 else ""
            click.echo(f"{row['name']:{width}}  port {row['port']}{at}")
    if failed:
        raise SystemExit(1)


async def _ask(
    hosts: tuple[str, ...], port: int | None, timeout: float
) -> list[list[RegisteredName] | DiscoveryError]:
    from quicdist.discovery import DiscoveryError, EpmdDiscovery

    epmd = EpmdDiscovery(port=port, timeout=timeout)

    async def one(host: str) -> list[RegisteredName] | DiscoveryError:
        try:
            return sorted(await epmd.names(host))
        except DiscoveryError as error:
            return error

    return list(await asyncio.gather(*map(one, hosts)))
