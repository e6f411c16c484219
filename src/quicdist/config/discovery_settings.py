"""Discovery and listen ports of each carrier, from a configuration."""

from __future__ import annotations

from quicdist.carrier import Address
from quicdist.carrier.quic import DEFAULT_PORT
from quicdist.config.config import Config
from quicdist.discovery import (
    Backend,
    BackendDiscovery,
    ChainDiscovery,
    Discovery,
    DnsDiscovery,
    EpmdDiscovery,
    StaticDiscovery,
)
from quicdist.discovery.dns import DEFAULT_DOMAIN
from quicdist.discovery.static import Addresses
from quicdist.protocol.names import node_name


def quic_discovery(config: Config, nodes: Addresses) -> Discovery:
    """Discovery as ``quic_dist`` does it: ``nodes``, then the ``discovery_module``, then the host in the
    node's name with the default port, ``dist_port`` or 4433 (``quic_epmd:resolve_host/2``)."""
    table = _merged(config, nodes)
    found = _module(config, table)
    # With erl_epmd, `register_with_epmd` publishes the UDP port for tools that ask epmd.
    if config.register_with_epmd and config.epmd_module in (None, "erl_epmd"):
        return ChainDiscovery(found, _epmd(config, hidden=True))
    return found


def tcp_discovery(config: Config, nodes: Addresses, *, epmd: bool, hidden: bool) -> Discovery:
    """Discovery as ``inet_tcp_dist`` does it: the ``-epmd_module``, by default epmd."""
    table = _merged(config, nodes)
    if config.epmd_module == "quic_epmd" or config.epmd_module in config.modules:
        return _module(config, table, config.modules.get(str(config.epmd_module)))
    if config.erl_epmd_port is not None:
        # All nodes listen on that port (erl_epmd:port_please1/4): no lookup, but a registration.
        own = StaticDiscovery(nodes, default_port=config.erl_epmd_port)
        return ChainDiscovery(own, _epmd(config, hidden=hidden)) if epmd else own
    listed = StaticDiscovery(nodes)
    return ChainDiscovery(_epmd(config, hidden=hidden), listed) if epmd else listed


def _merged(config: Config, nodes: Addresses) -> dict[str, Address | tuple[str, int]]:
    """The addresses of the configuration, overridden by those of the program."""
    table: dict[str, Address | tuple[str, int]] = dict(config.nodes)
    for node, address in nodes.items():
        table[node_name(node)] = address
    return table


def quic_port(config: Config, name: str) -> int:
    """The UDP port to listen on: ``-quic_dist_port``, ``dist_port``, the port of the node ``name`` in
    ``nodes``, or 4433."""
    for port in (config.port, config.dist_port):
        if port is not None:
            return port
    listed = config.nodes.get(name)
    return DEFAULT_PORT if listed is None else listed.port


def tcp_ports(config: Config) -> tuple[int, int]:
    """The first and last TCP port to try (``inet_tcp_dist:get_port_range/0``); 0 is any port."""
    if config.erl_epmd_port is not None:
        return config.erl_epmd_port, config.erl_epmd_port
    first = config.tcp_port_min
    if first is None:
        return 0, 0
    return first, first if config.tcp_port_max is None else config.tcp_port_max


def _module(config: Config, table: Addresses, module: Backend | Discovery | None = None) -> Discovery:
    default_port = DEFAULT_PORT if config.dist_port is None else config.dist_port
    name = config.discovery_module or "quic_discovery_static"
    module = module or config.modules.get(name)
    if isinstance(module, Discovery):
        found = module
    elif module is not None:
        found = BackendDiscovery(module, config.dist, label=name, default_port=default_port)
    elif name == "quic_discovery_dns":
        found = DnsDiscovery(
            config.dns_domain or DEFAULT_DOMAIN, default_port=default_port, max_ttl=config.dns_ttl
        )
    else:
        return StaticDiscovery(table, default_port=default_port)
    return ChainDiscovery(StaticDiscovery(table), found) if table else found


def _epmd(config: Config, *, hidden: bool) -> Discovery:
    start = True if config.start_epmd is None else config.start_epmd
    return EpmdDiscovery(port=config.epmd_port, start_epmd=start, hidden=hidden)
