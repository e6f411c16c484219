"""``net_kernel`` and ``net_adm``: being pinged, and pinging."""

from __future__ import annotations

import logging
from typing import Any

from quicdist.errors import QuicDistError
from quicdist.node.connections import ConnectionTable
from quicdist.node.process import Process
from quicdist.otp.gen import GEN_CALL, Caller, is_from, reply
from quicdist.term import Atom

log = logging.getLogger("quicdist.otp")

NET_KERNEL = "net_kernel"
PONG = Atom("pong")
PANG = Atom("pang")

_IS_AUTH = Atom("is_auth")
_YES = Atom("yes")


def answer(process: Process, message: Any) -> None:
    """The registered process ``net_kernel``: answers ``{is_auth, Node}``, which is
    ``net_adm:ping/1``."""
    match message:
        case (label, sender, (request, _)) if label == GEN_CALL and is_from(sender) and request == _IS_AUTH:
            reply(process, sender, _YES)
        case _:
            log.debug("net_kernel was sent something it does not know: %r", message)


async def is_auth(connections: ConnectionTable, caller: Caller, own: str, node: str, timeout: float) -> None:
    """What ``net_adm:ping/1`` asks of ``node``. Raises why it cannot be pinged."""
    await connections.connect(node)
    answer = await caller.call((NET_KERNEL, node), (_IS_AUTH, Atom(own)), timeout=timeout)
    if answer != _YES:
        raise QuicDistError(f"{node} answered {answer!r} to a ping")
