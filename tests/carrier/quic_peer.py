"""A node over QUIC in a process of its own, for tests: ``python -m tests.carrier.quic_peer``.

``listen CERT KEY [PORT]`` prints its port and sends every message back. ``dial PORT`` prints ``linked``
and then, by the word that follows, ``leave``s (the program just ends), ``exit``s (by SystemExit in
the middle of the loop) or ``stay``s.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from quicdist.carrier import Address, Link
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.tls_config import TlsConfig
from quicdist.protocol import RegSend
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode

SERVER = "server@127.0.0.1"
CLIENT = "client@127.0.0.1"

ECHO = Atom("echo")
NOTHING = Atom("")


async def listen(cert: str, key: str, port: str = "0") -> None:
    carrier = QuicCarrier(QuicSettings(tls=TlsConfig(cert, key)))
    node = FakeNode(SERVER)
    listener = await carrier.listen(SERVER, host="127.0.0.1", port=int(port))
    print(listener.address.port, flush=True)
    async for incoming in carrier.accept(listener):
        echo(node, await carrier.accept_connection(incoming, node, setup_time=10))


def echo(node: FakeNode, link: Link) -> None:
    me = node.pid()

    def on_message(control: Any, payload: Any) -> None:
        link.send(RegSend(me, NOTHING, ECHO), payload)

    link.start(on_message, lambda error: None)


async def dial(port: str, then: str) -> None:
    node = FakeNode(CLIENT)
    link = await QuicCarrier().setup(SERVER, Address("127.0.0.1", int(port)), node, setup_time=10)
    link.start(lambda control, payload: None, lambda error: None)
    print("linked", flush=True)
    if then == "exit":
        sys.exit(0)
    if then == "stay":
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run((listen if sys.argv[1] == "listen" else dial)(*sys.argv[2:]))
