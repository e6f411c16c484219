"""``quicdist ping``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from quicdist.cli.options import NodeAddress, json_option, node_argument, node_options
from quicdist.cli.session import fail, reach_briefly
from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.otp.calling_node import CallingNode


@click.command()
@node_argument
@json_option
@node_options
def ping(node: NodeAddress, as_json: bool, **options: Any) -> None:
    """Ping NODE, as net_adm:ping/1 does; prints pong, or pang where it cannot be reached.

    NODE is [CARRIER://]NAME@HOST[:PORT], such as a@127.0.0.1 or tcp://a@127.0.0.1.
    """

    async def is_auth(local: CallingNode) -> float:
        began = time.perf_counter()
        await local.is_auth(node.node, timeout=options["timeout"])
        return time.perf_counter() - began

    try:
        seconds = reach_briefly(node, is_auth, doing=f"pinging {node.node}", options=options)
    except QuicDistError as error:
        click.echo(_json(node.node, "pang", None) if as_json else "pang")
        fail(error)
    click.echo(_json(node.node, "pong", seconds) if as_json else "pong")


def _json(node: str, answer: str, seconds: float | None) -> str:
    import json

    return json.dumps({"node": node, "answer": answer, "seconds": seconds})
