"""The usual ways to other nodes, made from a few settings."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quicdist.carrier import Carrier, TcpCarrier, TlsConfig
from quicdist.config import Config
from quicdist.config.discovery_settings import quic_discovery, quic_port, tcp_discovery, tcp_ports
from quicdist.config.tls_settings import tls_settings
from quicdist.discovery import Discovery
from quicdist.discovery.static import Addresses
from quicdist.node.connections import Endpoint
from quicdist.node.errors import NodeError
from quicdist.node.liveness import NET_TICKTIME

if TYPE_CHECKING:
    from quicdist.carrier import QuicCarrier


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What the endpoints of a node are made from. Sizes are bytes, times seconds.

    ``nodes`` is the static table of addresses. ``port`` is where to listen, for every carrier;
    None is 4433 for QUIC and any free port for TCP. ``epmd`` says whether the TCP carrier
    registers with epmd and asks it. ``config`` is the cluster's own configuration, which says what
    these do not; ``name`` is the node's.
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
    config: Config = field(default_factory=Config)
    #: Settings of the QUIC carrier that go before those of ``config``.
    quic: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


#: What :class:`EndpointSettings` has itself.
_OWN = {"tls", "net_ticktime", "max_frame"}


def _quic(settings: EndpointSettings) -> Endpoint:
    # A node over TCP does without aioquic and cryptography, which take longest to load.
    from quicdist.carrier import QuicCarrier, QuicSettings

    config = settings.config
    known = {field.name for field in dataclasses.fields(QuicSettings)} - _OWN
    unknown = set(settings.quic) - known
    if unknown:
        raise NodeError(f"no settings for quic: {', '.join(sorted(unknown))}; choose from {sorted(known)}")
    carrier = QuicCarrier(
        QuicSettings(
            tls=settings.tls,
            net_ticktime=settings.net_ticktime,
            max_frame=settings.max_frame,
            **{**config.quic_settings(), **settings.quic},
        )
    )
    discovery = settings.discovery or quic_discovery(config, settings.nodes)
    port = quic_port(config, settings.name) if settings.port is None else settings.port
    return Endpoint(carrier, discovery, settings.host, port, settings.listen)


def _tcp(settings: EndpointSettings) -> Endpoint:
    return _over_tcp(settings, TcpCarrier)


def _over_tcp(settings: EndpointSettings, make: Callable[..., Carrier]) -> Endpoint:
    """An endpoint of a carrier whose port is in epmd: TCP, or TLS on it."""
    config = settings.config
    discovery = settings.discovery or tcp_discovery(
        config, settings.nodes, epmd=settings.epmd, hidden=settings.hidden
    )
    carrier = make(
        address_family="inet6" if config.tcp_family == "inet6" else "inet", max_frame=settings.max_frame
    )
    first, last = tcp_ports(config) if settings.port is None else (settings.port, settings.port)
    host = settings.host or config.tcp_host
    return Endpoint(carrier, discovery, host, first, settings.listen, last)


def _tls(settings: EndpointSettings) -> Endpoint:
    # Only what listens or dials over TLS reads its certificates.
    from quicdist.carrier.tls.carrier import TlsCarrier

    return _over_tcp(settings, functools.partial(TlsCarrier, tls_settings(settings.config, settings.tls)))


_MAKERS: dict[str, Any] = {"quic": _quic, "tcp": _tcp, "tls": _tls}


def make_endpoints(carrier: str | Sequence[str], settings: EndpointSettings) -> list[Endpoint]:
    """An endpoint for each carrier named (``"quic"``, ``"tcp"``, ``"tls"``), in that order.

    Raises :class:`NodeError` for another name.
    """
    names = [carrier] if isinstance(carrier, str) else list(carrier)
    for name in names:
        if name not in _MAKERS:
            raise NodeError(f"there is no carrier {name!r}: choose from {', '.join(_MAKERS)}")
    return [_MAKERS[name](settings) for name in names]


def carrier_names(endpoints: Iterable[Endpoint]) -> list[str]:
    """The name of each carrier, in that order; of one that is not of this package, its class's."""
    # Not by class: to name that of QUIC would load it.
    return [
        carrier.family if type(carrier).__module__.startswith("quicdist.") else type(carrier).__name__
        for carrier in (endpoint.carrier for endpoint in endpoints)
    ]


def quic_carriers(endpoints: Iterable[Endpoint]) -> list[QuicCarrier]:
    """The QUIC carriers among ``endpoints``. Raises :class:`NodeError` if there is none."""
    carriers = [endpoint.carrier for endpoint in endpoints if endpoint.carrier.family == "quic"]
    if carriers:
        from quicdist.carrier import QuicCarrier

        found = [carrier for carrier in carriers if isinstance(carrier, QuicCarrier)]
        if found:
            return found
    raise NodeError("connect options are for QUIC, and this node has no such carrier")
