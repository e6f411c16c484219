"""``erlang:ports/0`` and ``port_info/1,2``: the sockets of the node, one port for each.

OTP: ``erlang(3)``, ``ports/0``, ``port_info/2``; ``inet(3)``, ``getstat/1``. Each listener and each
connection to another node is a port, owned by ``net_kernel``. A QUIC connection is shown as ``udp_inet``,
although several share the socket of a listener. Sockets of the program itself are not known here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from quicdist.carrier import Link, LinkStats, NetAddress
from quicdist.node.local_node import LocalNode
from quicdist.otp.introspection.node_links import NodeLinks
from quicdist.otp.introspection.refusals import UNDEFINED, Export, badarg
from quicdist.otp.net_kernel import NET_KERNEL
from quicdist.term import Atom, Port, charlist

Items = list[tuple[Atom, Any]]

_NAME = Atom("registered_name")
_MORE = ("monitors", "monitored_by", "parallelism", "locking", "queue_size", "memory")


class PortFunctions:
    """The functions, with their names and arities on a BEAM."""

    def __init__(self, node: LocalNode, links: NodeLinks) -> None:
        self._node = node
        self._links = links

    def exports(self) -> Iterator[Export]:
        yield "erlang", "ports", self.ports
        yield "erlang", "port_info", self.port_info
        yield "observer_backend", "get_port_list", self.get_port_list

    def _port(self, number: int) -> Port:
        identifiers = self._node.runtime.identifiers
        return Port(identifiers.node, number, identifiers.creation)

    def ports(self) -> list[Port]:
        return [self._port(number) for number, _ in self._links.numbered()]

    def port_info(self, port: Any, wanted: Any = None) -> Any:
        if not isinstance(port, Port) or port.node != self._node.runtime.identifiers.node:
            raise badarg()
        socket = next((one for number, one in self._links.numbered() if self._port(number) == port), None)
        if socket is None:
            return UNDEFINED
        items = self._items(port.id, socket)
        if wanted is None:
            return items
        if wanted == _NAME:
            return []
        known = dict([*items, *self._more(socket)])
        if not isinstance(wanted, Atom) or wanted not in known:
            raise badarg()
        return (wanted, known[wanted])

    def get_port_list(self) -> list[Items]:
        return [
            [
                (Atom("port_id"), self._port(number)),
                *self._items(number, socket),
                *self._more(socket),
                (Atom("inet"), _inet(socket)),
            ]
            for number, socket in self._links.numbered()
        ]

    def _items(self, number: int, socket: NetAddress | Link) -> Items:
        """What ``port_info/1`` gives."""
        owner = self._node.runtime.whereis(NET_KERNEL)
        carried = socket.stats if isinstance(socket, Link) else LinkStats()
        return [
            (Atom("name"), charlist(_driver(socket))),
            (Atom("links"), [] if owner is None else [owner.pid]),
            (Atom("id"), number),
            (Atom("connected"), UNDEFINED if owner is None else owner.pid),
            (Atom("input"), carried.bytes_in),
            (Atom("output"), carried.bytes_out),
            (Atom("os_pid"), UNDEFINED),
        ]

    def _more(self, socket: NetAddress | Link) -> Items:
        queued = socket.pending if isinstance(socket, Link) else 0
        values: tuple[Any, ...] = ([], [], False, False, queued, 0)
        return [(Atom(name), value) for name, value in zip(_MORE, values, strict=True)]


def _driver(socket: NetAddress | Link) -> str:
    """The name of the BEAM's driver for such a socket."""
    carrier = socket.carrier_name if isinstance(socket, Link) else socket.protocol
    return "udp_inet" if carrier.lower() == "quic" else "tcp_inet"


def _inet(socket: NetAddress | Link) -> Items:
    """Addresses and counters of a socket."""
    if isinstance(socket, NetAddress):
        return [*_address("local", socket.host, socket.port), (Atom("options"), [])]
    stats = socket.stats
    counters = {
        "recv_oct": stats.bytes_in,
        "recv_cnt": stats.messages_in + stats.ticks_in,
        "send_oct": stats.bytes_out,
        "send_cnt": stats.messages_out + stats.ticks_out,
        "send_pend": socket.pending,
    }
    return [
        (Atom("statistics"), [(Atom(name), count) for name, count in counters.items()]),
        *_address("remote", socket.remote_address.host, socket.remote_address.port),
        *_address("local", socket.local_address.host, socket.local_address.port),
        (Atom("options"), []),
    ]


def _address(which: str, host: str, port: int) -> Items:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return [(Atom(f"{which}_port"), port)]  # such as a socket that listens on all addresses
    size = 1 if ip.version == 4 else 2
    packed = ip.packed
    numbers = [int.from_bytes(packed[index : index + size], "big") for index in range(0, len(packed), size)]
    return [(Atom(f"{which}_address"), tuple(numbers)), (Atom(f"{which}_port"), port)]
