"""The endpoints of a node: carriers with their discovery, made from a few settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quicdist.carrier import Carrier, Pem
from quicdist.carrier.liveness import NET_TICKTIME
from quicdist.config import Config, ConfigError
from quicdist.config.discovery_settings import quic_discovery, quic_port, tcp_discovery, tcp_ports
from quicdist.config.quic_settings import quic_settings as config_quic_settings
from quicdist.discovery import Discovery
from quicdist.discovery.static import Addresses
from quicdist.node.errors import NodeError

if TYPE_CHECKING:
    from quicdist.carrier import QuicCarrier, QuicSettings, TlsSettings

#: Bytes of the longest message that a peer may send.
MAX_FRAME = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One carrier, the discovery that knows addresses for it, and where to listen.

    Where ``last_port`` is greater than ``port``, the node listens at the first free port of that range.
    """

    carrier: Carrier
    discovery: Discovery
    host: str | None = None
    port: int = 0
    listen: bool = True
    last_port: int = 0


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """The settings that endpoints of a node are made from. Sizes are bytes, times seconds.

    ``nodes`` is the static table of addresses. ``port`` is the port to listen on, for every carrier; None is
    4433 for QUIC and any free port for TCP. ``epmd`` says whether the TCP carrier registers with epmd and
    asks it. ``config`` is the cluster's own configuration, which the others override; ``name`` is the
    node's.
    """

    nodes: Addresses = field(default_factory=dict)
    discovery: Discovery | None = None
    host: str | None = None
    port: int | None = None
    listen: bool = True
    epmd: bool = True
    hidden: bool = True
    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    cacert: Pem | None = None
    verify: bool = True
    net_ticktime: float = NET_TICKTIME
    max_frame: int = MAX_FRAME
    config: Config = field(default_factory=Config)
    #: Settings of the QUIC carrier, which override those of ``config``: see :func:`quic_settings`.
    quic: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: The settings of the TLS carrier, in place of those of ``config``.
    tls: TlsSettings | None = field(default=None, repr=False)
    name: str = ""


def quic_settings(settings: EndpointSettings) -> QuicSettings:
    """The settings of the QUIC carrier. Raises :class:`NodeError` for an unknown name in ``quic``."""
    try:
        return config_quic_settings(
            settings.config,
            settings.quic,
            cert=settings.cert,
            key=settings.key,
            cacert=settings.cacert,
            verify=settings.verify,
            net_ticktime=settings.net_ticktime,
            max_frame=settings.max_frame,
        )
    except ConfigError as error:
        raise NodeError(str(error)) from error


def _quic(settings: EndpointSettings) -> Endpoint:
    from quicdist.carrier import QuicCarrier

    config = settings.config
    carrier = QuicCarrier(quic_settings(settings))
    discovery = settings.discovery or quic_discovery(config, settings.nodes)
    port = quic_port(config, settings.name) if settings.port is None else settings.port
    return Endpoint(carrier, discovery, settings.host, port, settings.listen)


def _tcp(settings: EndpointSettings) -> Endpoint:
    from quicdist.carrier import TcpCarrier

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
    # Imported here, because most nodes do not need it.
    from quicdist.carrier.tls.carrier import TlsCarrier
    from quicdist.config.tls_settings import tls_settings

    tls = tls_settings(
        settings.config,
        settings.tls,
        cert=settings.cert,
        key=settings.key,
        cacert=settings.cacert,
        verify=settings.verify,
    )
    return _over_tcp(settings, functools.partial(TlsCarrier, tls))


_MAKERS: dict[str, Any] = {"quic": _quic, "tcp": _tcp, "tls": _tls}


def make_endpoints(carrier: str | Sequence[str], settings: EndpointSettings) -> list[Endpoint]:
    """An endpoint for each carrier named (``"quic"``, ``"tcp"``, ``"tls"``), in that order.

    Raises :class:`NodeError` for another name.
    """
    names = [carrier] if isinstance(carrier, str) else list(carrier)
    for name in names:
        if name not in _MAKERS:
            raise NodeError(f"unknown carrier {name!r}: choose from {', '.join(_MAKERS)}")
    return [_MAKERS[name](settings) for name in names]


def carrier_names(endpoints: Iterable[Endpoint]) -> list[str]:
    """The name of each carrier, in order; for a carrier of the program the name of its class."""
    # Not by class, because the name of the QUIC carrier would load it.
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
    raise NodeError("connect options need a QUIC carrier, and this node has none")
