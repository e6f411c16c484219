"""The distribution handshake over a TCP connection, both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quicdist.carrier.errors import AcceptError
from quicdist.carrier.tcp.connection import TcpConnection
from quicdist.protocol import (
    Acceptor,
    Connected,
    ConnectionAlive,
    Event,
    Initiator,
    OldConnectionPending,
    PeerNamed,
    PeerProved,
    Status,
    StatusReceived,
)

if TYPE_CHECKING:
    from quicdist.carrier.contract import LocalNode

_REFUSALS = (Status.NOK, Status.NOT_ALLOWED)


async def initiate(connection: TcpConnection, node: str, local: LocalNode) -> Connected:
    """Run the dialling side, towards ``node``.

    Raises :class:`~quicdist.protocol.HandshakeError` and :class:`OSError`.
    """
    role = Initiator(
        local.identity, node, local.cookie_for(node), connection.framing, challenges=local.challenges
    )
    local.name_said(node)
    while True:
        for event in await _exchange(connection, role):
            if isinstance(event, Connected):
                return event
            if isinstance(event, StatusReceived) and event.status is Status.ALIVE:
                go_on = local.connection_alive(node)
                role.send_alive_answer(go_on)
                if not go_on:
                    _write(connection, role)
                    raise ConnectionAlive(node)


async def accept(
    connection: TcpConnection, local: LocalNode, *, named: Callable[[], None] = lambda: None
) -> Connected:
    """Run the accepting side; ``named`` is called when the peer has sent its name.

    Raises :class:`~quicdist.protocol.HandshakeError`, :class:`OSError`, and :class:`AcceptError`
    if ``local`` refuses the connection.
    """
    role = Acceptor(
        local.identity, connection.framing, local.cookie_for, challenges=local.challenges, confirm=True
    )
    while True:
        for event in await _exchange(connection, role):
            if isinstance(event, Connected):
                return event
            if isinstance(event, PeerNamed):
                named()
                status = local.connection_requested(event)
                try:
                    role.send_status(status)
                finally:
                    _write(connection, role)
                if status in _REFUSALS:
                    raise AcceptError(connection.remote_address, f"{event.name} was answered {status}")
            elif isinstance(event, OldConnectionPending):
                local.old_connection_pending(event.name)
                return _accepted(connection, role, role.old_connection_down())
            elif isinstance(event, PeerProved):
                while (own_dial := local.peer_proved(event.name)) is not None:
                    # A BEAM drops its own attempt, now that it has our name.
                    if await connection.ends_before(own_dial):
                        raise role.connection_closed()
                return _accepted(connection, role, role.acknowledge())


def _accepted(connection: TcpConnection, role: Acceptor, events: list[Event]) -> Connected:
    (connected,) = events
    _write(connection, role)
    assert isinstance(connected, Connected)
    return connected


async def _exchange(connection: TcpConnection, role: Initiator | Acceptor) -> list[Event]:
    """Write the role's messages, then read the next bytes of the peer; the events."""
    _write(connection, role)
    connection.expected = role.expects
    data = await connection.read()
    if not data:
        raise role.connection_closed()
    try:
        return role.receive_data(data)
    finally:
        _write(connection, role)  # the last message may be a refusal


def _write(connection: TcpConnection, role: Initiator | Acceptor) -> None:
    for message in role.data_to_send():
        connection.write(message)
