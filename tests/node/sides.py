"""Two nodes without a wire: what one transmits, the other dispatches."""

from __future__ import annotations

from typing import Any

from quicdist.node.runtime import Runtime
from quicdist.protocol import NO_PAYLOAD, ControlMessage


class Side:
    """One node's processes; ``sent`` holds what it has transmitted."""

    def __init__(self, name: str) -> None:
        self.runtime = Runtime(
            name, 7, owner=self, transmit=self._transmit, is_connected=lambda node: node in self.peers
        )
        self.spawning = self.runtime.spawning
        self.signals = self.runtime.signals
        self.peers: dict[str, Side] = {}
        self.sent: list[ControlMessage] = []

    def _transmit(
        self, node: str, control: ControlMessage, payload: Any = NO_PAYLOAD, pair: Any = None
    ) -> bool:
        self.sent.append(control)
        peer = self.peers.get(node)
        if peer is not None:
            peer.signals.dispatch(self.runtime.name, control, payload)
        else:
            self.lose(node)
        return True

    def lose(self, node: str) -> None:
        """The connection to ``node`` is gone, or could not be made."""
        self.peers.pop(node, None)
        self.runtime.connection_lost(node)

    def mailbox(self) -> tuple[Any, list[Any]]:
        """A process that keeps what it is sent, and the list it keeps it in."""
        messages: list[Any] = []
        return self.runtime.spawn(lambda _, message: messages.append(message)), messages


def connected() -> tuple[Side, Side]:
    """Two nodes, connected."""
    one, two = Side("one@host"), Side("two@host")
    one.peers["two@host"], two.peers["one@host"] = two, one
    return one, two
