"""What a configuration makes of carriers, discovery and ports."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.carrier import Address, ListenError, NetAddress
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.config import Config
from quicdist.config.discovery_settings import quic_discovery, quic_port, tcp_discovery, tcp_ports
from quicdist.discovery import (
    BackendDiscovery,
    ChainDiscovery,
    Discovery,
    DnsDiscovery,
    EpmdDiscovery,
    NodeNotFound,
    StaticDiscovery,
)
from quicdist.node.connections import ConnectionTable
from quicdist.node.endpoints import Endpoint, EndpointSettings, make_endpoints

A = Address("10.0.0.1", 4501)


class Own:
    """A back end that knows one node, and keeps the options that it was given."""

    async def init(self, options: Any) -> None:
        self.options = options

    async def lookup(self, node: str, host: str) -> Address | None:
        return Address("10.9.9.9", 9) if node == "own@h" else None


def kinds(discovery: Discovery) -> list[type[Discovery]]:
    members = discovery.discoveries if isinstance(discovery, ChainDiscovery) else [discovery]
    return [type(each) for each in members]


class TestQuicDiscovery:
    async def test_nodes_are_looked_up_in_the_static_table(self) -> None:
        found = quic_discovery(Config(nodes={"a@h": A}), {"b@h": ("10.0.0.2", 2)})
        assert kinds(found) == [StaticDiscovery]
        assert await found.lookup("a@h") == A
        assert await found.lookup("b@h") == Address("10.0.0.2", 2)
        assert await found.lookup("c@h") == Address("h", 4433)
        assert await quic_discovery(Config(dist_port=4500), {}).lookup("c@h") == Address("h", 4500)

    async def test_addresses_of_the_program_override_those_of_the_files(self) -> None:
        found = quic_discovery(Config(nodes={"a@h": A}), {"a@h": ("10.0.0.2", 2)})
        assert await found.lookup("a@h") == Address("10.0.0.2", 2)

    async def test_quic_discovery_dns_asks_dns(self) -> None:
        config = Config(discovery_module="quic_discovery_dns", dns_domain="c.test", dist_port=4500)
        found = quic_discovery(config, {})
        assert isinstance(found, DnsDiscovery)
        assert (found.dns.domain, found.dns.default_port) == ("c.test", 4500)
        assert kinds(quic_discovery(config, {"a@h": A})) == [StaticDiscovery, DnsDiscovery]
        assert isinstance(
            local := quic_discovery(Config(discovery_module="quic_discovery_dns"), {}), DnsDiscovery
        )
        assert local.dns.domain == "local"

    async def test_a_module_in_modules_is_asked(self) -> None:
        own = Own()
        config = Config(
            discovery_module="my_discovery",
            modules={"my_discovery": own},  # type: ignore[dict-item]
            nodes={"a@h": A},
            dist={"dns_ttl": 5},
        )
        found = quic_discovery(config, {})
        assert kinds(found) == [StaticDiscovery, BackendDiscovery]
        assert await found.lookup("a@h") == A
        assert await found.lookup("own@h") == Address("10.9.9.9", 9)
        assert await found.lookup("c@h") == Address("h", 4433)
        assert own.options == {"dns_ttl": 5}
        table = StaticDiscovery()
        assert quic_discovery(Config(discovery_module="t", modules={"t": table}), {}) is table

    async def test_an_unknown_module_falls_back_to_the_static_table(self) -> None:
        assert kinds(quic_discovery(Config(discovery_module="unknown"), {})) == [StaticDiscovery]

    @pytest.mark.parametrize(
        ("module", "expected"),
        [
            (None, [StaticDiscovery, EpmdDiscovery]),
            ("erl_epmd", [StaticDiscovery, EpmdDiscovery]),
            ("quic_epmd", [StaticDiscovery]),
        ],
    )
    async def test_register_with_epmd_adds_epmd(
        self, module: str | None, expected: list[type[Discovery]]
    ) -> None:
        config = Config(register_with_epmd=True, epmd_module=module)
        assert kinds(quic_discovery(config, {})) == expected


class TestTcpDiscovery:
    def test_tcp_asks_epmd_first(self) -> None:
        config = Config(epmd_port=4370)
        found = tcp_discovery(config, {"a@h": A}, epmd=True, hidden=True)
        assert kinds(found) == [EpmdDiscovery, StaticDiscovery]
        assert isinstance(found, ChainDiscovery)
        assert isinstance(found.discoveries[0], EpmdDiscovery)
        assert found.discoveries[0].port == 4370
        assert kinds(tcp_discovery(config, {}, epmd=False, hidden=True)) == [StaticDiscovery]

    async def test_tcp_without_epmd_uses_the_static_table(self) -> None:
        found = tcp_discovery(Config(nodes={"a@h": A}), {}, epmd=False, hidden=True)
        with pytest.raises(NodeNotFound):  # `nodes` are UDP ports, and mean nothing over TCP
            await found.lookup("a@h")

    async def test_erl_epmd_port_is_the_port_of_every_node(self) -> None:
        config = Config(erl_epmd_port=9100)
        found = tcp_discovery(config, {}, epmd=True, hidden=True)
        assert kinds(found) == [StaticDiscovery, EpmdDiscovery]
        assert await found.lookup("a@h") == Address("h", 9100)
        assert tcp_ports(config) == (9100, 9100)

    async def test_another_epmd_module_is_asked_in_place_of_epmd(self) -> None:
        found = tcp_discovery(Config(epmd_module="quic_epmd", nodes={"a@h": A}), {}, epmd=True, hidden=True)
        assert await found.lookup("a@h") == A
        own = Config(epmd_module="my_epmd", modules={"my_epmd": Own()})  # type: ignore[dict-item]
        assert await tcp_discovery(own, {}, epmd=True, hidden=True).lookup("own@h") == Address("10.9.9.9", 9)


class TestPorts:
    @pytest.mark.parametrize(
        ("config", "port"),
        [
            (Config(), 4433),
            (Config(nodes={"py@h": A}), 4501),
            (Config(nodes={"a@h": A}), 4433),
            (Config(nodes={"py@h": A}, dist_port=4600), 4600),
            (Config(nodes={"py@h": A}, dist_port=4600, port=0), 0),
        ],
    )
    def test_quic(self, config: Config, port: int) -> None:
        assert quic_port(config, "py@h") == port
        (endpoint,) = make_endpoints("quic", EndpointSettings(config=config, name="py@h"))
        assert endpoint.port == port
        (endpoint,) = make_endpoints("quic", EndpointSettings(config=config, name="py@h", port=1))
        assert endpoint.port == 1

    @pytest.mark.parametrize(
        ("config", "ports"),
        [
            (Config(), (0, 0)),
            (Config(tcp_port_min=9100), (9100, 9100)),
            (Config(tcp_port_min=9100, tcp_port_max=9105), (9100, 9105)),
            (Config(tcp_port_max=9105), (0, 0)),
        ],
    )
    def test_tcp(self, config: Config, ports: tuple[int, int]) -> None:
        (endpoint,) = make_endpoints("tcp", EndpointSettings(config=config))
        assert (endpoint.port, endpoint.last_port) == ports
        (endpoint,) = make_endpoints("tcp", EndpointSettings(config=config, port=7))
        assert (endpoint.port, endpoint.last_port) == (7, 7)

    async def test_the_first_free_port_of_the_range_is_used(self, free_port: Callable[[], int]) -> None:
        first = free_port()
        table = ConnectionTable(None, None, None)  # type: ignore[arg-type]
        with socket.create_server(("127.0.0.1", first)):
            endpoint = Endpoint(TcpCarrier(), StaticDiscovery(), "127.0.0.1", first, True, first + 20)
            try:
                listener = await table.listen(endpoint, "py@127.0.0.1")
                assert first < listener.address.port <= first + 20
                with pytest.raises(ListenError, match=f"port {first}: Address already in use"):
                    await table.listen(Endpoint(TcpCarrier(), StaticDiscovery(), "127.0.0.1", first), "py@h")
            finally:
                await table.close()


class TestCarriers:
    def test_quic(self) -> None:
        config = Config(idle_timeout=45.0, keep_alive_interval=2.5, max_data=1 << 20, max_stream_data=1 << 16)
        (endpoint,) = make_endpoints("quic", EndpointSettings(config=config))
        assert isinstance(endpoint.carrier, QuicCarrier)
        settings = endpoint.carrier.settings
        assert (settings.idle_timeout, settings.ping_interval) == (45.0, 2.5)
        assert (settings.max_data, settings.max_stream_data) == (1 << 20, 1 << 16)

    def test_keep_alive_auto_is_half_the_idle_timeout(self) -> None:
        config = Config(idle_timeout=45.0, keep_alive_interval="auto")
        assert config.quic_settings() == {"idle_timeout": 45.0, "keep_alive_interval": 22.5}
        # quic_dist's idle timeout is 300 s, which would be too seldom for net_ticktime.
        assert Config(keep_alive_interval="auto").quic_settings() == {}

    def test_tcp(self) -> None:
        config = Config(tcp_family="inet6", tcp_host="::1")
        (endpoint,) = make_endpoints("tcp", EndpointSettings(config=config))
        assert endpoint.carrier.address() == NetAddress("", 0, "tcp", "inet6")
        assert endpoint.host == "::1"
        (endpoint,) = make_endpoints("tcp", EndpointSettings(config=config, host="127.0.0.1"))
        assert endpoint.host == "127.0.0.1"
