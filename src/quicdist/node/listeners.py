"""The listeners of a node."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator

from quicdist.carrier import Carrier, Incoming, Listener, ListenError
from quicdist.containment import settle
from quicdist.logs import get_logger
from quicdist.node.endpoints import Endpoint

log = get_logger("quicdist.node")


class Listeners:
    """The listeners of one node, with their carriers."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Carrier, Listener]] = []

    async def listen(self, endpoint: Endpoint, name: str) -> Listener:
        """Listen at an endpoint, at the first port of its range that is free. Raises
        :class:`~quicdist.carrier.ListenError`."""
        port = endpoint.port
        while True:
            try:
                listener = await endpoint.carrier.listen(name, host=endpoint.host, port=port)
            except ListenError as error:
                taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
                if not taken or port >= endpoint.last_port:
                    raise
                port += 1
            else:
                self._listeners.append((endpoint.carrier, listener))
                return listener

    def incoming(self) -> list[tuple[Carrier, Listener, AsyncIterator[Incoming]]]:
        """For each listener its incoming connections, until :meth:`stop`."""
        return [(carrier, listener, carrier.accept(listener)) for carrier, listener in self._listeners]

    def failed(self) -> Iterator[tuple[str, str, int]]:
        """The connections that ended in the handshake of a carrier: its name, the reason and their number."""
        for carrier, listener in self._listeners:
            for reason, number in listener.failed.items():
                yield carrier.family, reason, number

    async def stop(self) -> None:
        """Stop listening; incoming connections in their handshake are closed."""
        listeners, self._listeners = self._listeners, []
        for carrier, listener in listeners:
            _, error = await settle(carrier.close(listener))
            if error is not None:
                log.error("closing the listener at %s failed", listener.address, exc_info=error)
