"""The usual ways to other nodes, made from a few settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quicdist.carrier import Address, Carrier
from quicdist.carrier.certificates import TlsConfig
from quicdist.carrier.quic import QuicCarrier
from quicdist.carrier.quic_settings import DEFAULT_PORT, QuicSettings
from quicdist.carrier.tcp import TcpCarrier
from quicdist.discovery import ChainDiscovery, Discovery, EpmdDiscovery, StaticDiscovery
from quicdist.node.connections import Endpoint
from quicdist.node.errors import NodeError
from quicdist.node.liveness import NET_TICKTIME

Addresses = Mapping[str, Address | tuple[str, int]]


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What the endpoints of a node are made from. Sizes are bytes, times seconds.

    ``nodes`` is the static table of addresses. ``port`` is where to listen, for every carrier;
    None is 4433 for QUIC and any free port for TCP. ``epmd`` says whether the TCP carrier
    registers with epmd and asks it.
    """

    nodes: Addresses = field(default_factory=dict)
    discovery: Discovery | None = None
    host: str | None = None
    port: int | None = None
    listen: bool = True
    epmd: bool = True
    hidden: bool = True
    tls: TlsConfig = field(default_factory=TlsConfig)
    net_ticktime: float = NET_TICKTIME
    max_frame: int = 128 * 1024 * 1024


def _quic(settings: EndpointSettings) -> Endpoint:
    carrier = QuicCarrier(
        QuicSettings(tls=settings.tls, net_ticktime=settings.net_ticktime, max_frame=settings.max_frame)
    )
    # quic_epmd takes a node nobody lists for one that listens on the default port of its host.
    discovery = settings.discovery or StaticDiscovery(settings.nodes, default_port=DEFAULT_PORT)
    port = DEFAULT_PORT if settings.port is None else settings.port
    return Endpoint(carrier, discovery, settings.host, port, settings.listen)


def _tcp(settings: EndpointSettings) -> Endpoint:
    discovery = settings.discovery
    if discovery is None:
        discovery = StaticDiscovery(settings.nodes)
        if settings.epmd:
            # What is listed by hand goes first: to ask a host's epmd can take its time.
            discovery = ChainDiscovery(discovery, EpmdDiscovery(hidden=settings.hidden))
    carrier: Carrier = TcpCarrier(max_frame=settings.max_frame)
    return Endpoint(carrier, discovery, settings.host, settings.port or 0, settings.listen)


_MAKERS: dict[str, Any] = {"quic": _quic, "tcp": _tcp}


def make_endpoints(carrier: str | Sequence[str], settings: EndpointSettings) -> list[Endpoint]:
    """An endpoint for each carrier named (``"quic"``, ``"tcp"``), in that order.

    Raises :class:`NodeError` for a name that is neither.
    """
    names = [carrier] if isinstance(carrier, str) else list(carrier)
    for name in names:
        if name not in _MAKERS:
            raise NodeError(f"there is no carrier {name!r}: choose from {', '.join(_MAKERS)}")
    return [_MAKERS[name](settings) for name in names]
