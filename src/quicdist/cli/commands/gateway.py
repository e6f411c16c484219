"""``quicdist gateway``."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from quicdist.cli.options import NodeAddress, NodeNameType, Seconds, shared_options, table


@click.command()
@click.argument("name", metavar="[NAME@HOST]", type=NodeNameType(), required=False)
@shared_options("config", "vm_args", "address")
@click.option(
    "--remote-host",
    "hosts",
    metavar="HOST[=ADDRESS]",
    multiple=True,
    help="A remote host, and its address in 127.0.0.0/8 for the local node; can be given several times.",
)
@click.option("--inetrc", type=click.Path(dir_okay=False), help="File to write, for ERL_INETRC.")
@click.option("--listen-host", help="Where to listen for QUIC; all addresses by default.")
@click.option("--port", type=click.IntRange(1, 65535), help="UDP port to listen on; 4433 by default.")
@click.option(
    "--epmd-port",
    type=click.IntRange(0, 65535),
    help="Port of epmd, for the local node too; $ERL_EPMD_PORT or 4369 by default.",
)
@click.option(
    "--epmd",
    type=click.Choice(["auto", "own", "system"]),
    default="auto",
    show_default=True,
    help="own: the gateway is the epmd of this host. system: an epmd runs at 127.0.0.1.",
)
@shared_options("cert", "key", "cacert", "verify")
@click.option(
    "--client-certificate",
    type=click.Choice(["none", "request", "require"]),
    help="Whether nodes that dial over QUIC have to show a certificate of --cacert.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="TCP port of the metrics page.")
@click.option("--net-ticktime", type=Seconds(min=1), help="As in the kernel of the BEAM, in seconds.")
@click.option("--setup-time", type=Seconds(min=1), help="Seconds for a handshake; 7 by default.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is normal too.")
def gateway(
    name: str | None,
    addresses: tuple[NodeAddress, ...],
    hosts: tuple[str, ...],
    listen_host: str | None,
    client_certificate: str | None,
    verbose: bool,
    **options: Any,
) -> None:
    """Carry the distribution of the BEAM beside this command, NAME@HOST, over QUIC.

    Start it before the BEAM. The BEAM needs no other code and no flags: see docs/how-to/gateway.md.
    """
    import quicdist
    from quicdist.cli.service import notify
    from quicdist.gateway import Gateway

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("quic").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if (options["cert"] is None) != (options["key"] is None):
        raise click.UsageError("--cert and --key go together: only one of them is given")
    options |= {"nodes": table(addresses), "hosts": _hosts(hosts), "host": listen_host}
    options["quic"] = {} if client_certificate is None else {"client_certificate": client_certificate}

    async def run() -> None:
        async with Gateway(name, **options) as running:
            notify("READY=1")
            await running.run_forever()
            notify("STOPPING=1")

    try:
        quicdist.run(run())
    except quicdist.ConfigError as error:
        raise click.UsageError(str(error)) from error
    except quicdist.QuicDistError as error:
        click.echo(f"quicdist: {error}", err=True)
        sys.exit(1)


def _hosts(given: tuple[str, ...]) -> dict[str, str | None]:
    parts = (each.partition("=") for each in given)
    return {host: address or None for host, _, address in parts}
