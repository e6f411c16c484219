"""Discovery by DNS, against a name server in the same event loop."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from quicdist.carrier import Address
from quicdist.discovery import (
    ChainDiscovery,
    DnsBackend,
    DnsClient,
    DnsDiscovery,
    DnsError,
    NodeNotFound,
    StaticDiscovery,
)
from quicdist.discovery.dns_cache import TtlCache
from quicdist.discovery.srv import Service, in_order
from tests.support.dns_server import DnsServer, dns_server

OF_NODE1 = "_erlang-dist._quic.node1.cluster.test"
OF_ALL = "_erlang-dist._quic.cluster.test"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Lot:
    """Draws what it was told to, and keeps the sums it was given."""

    def __init__(self, *drawn: int) -> None:
        self.drawn = list(drawn)
        self.sums: list[int] = []

    def randint(self, a: int, b: int) -> int:
        assert a == 0
        self.sums.append(b)
        return self.drawn.pop(0)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(server: DnsServer, clock: Clock) -> DnsClient:
    return DnsClient([server.address], clock=clock)


@pytest.fixture
def backend(client: DnsClient) -> DnsBackend:
    return DnsBackend("cluster.test", client, default_port=4500)


class TestLookup:
    async def test_the_nodes_own_service(self, server: DnsServer, backend: DnsBackend) -> None:
        server.records = [
            f"{OF_NODE1} 30 SRV 0 0 4501 target.cluster.test.",
            "target.cluster.test 30 A 10.0.0.1",
            "target.cluster.test 30 AAAA fd00::1",
        ]
        (found,) = await backend.lookup_all("a@node1", "node1")
        assert found == Address("target.cluster.test", 4501)
        assert found.addresses == ("fd00::1", "10.0.0.1")
        assert server.asked[0] == f"{OF_NODE1} SRV"
        assert sorted(server.asked[1:]) == ["target.cluster.test A", "target.cluster.test AAAA"]

    async def test_the_list_of_the_whole_cluster(self, server: DnsServer, backend: DnsBackend) -> None:
        server.records = [
            f"{OF_ALL} 30 SRV 0 0 4501 node1.cluster.test.",
            f"{OF_ALL} 30 SRV 0 0 4502 Node2.cluster.test.",
        ]
        assert await backend.lookup("a@node2", "node2") == Address("Node2.cluster.test", 4502)
        assert server.asked[:2] == ["_erlang-dist._quic.node2.cluster.test SRV", f"{OF_ALL} SRV"]
        whole = "node1.cluster.test"
        assert await backend.lookup(f"a@{whole}", whole) == Address(whole, 4501)
        # What quic_discovery_dns:list_nodes/1 makes of that target.
        assert await backend.lookup("node1@cluster.test", "cluster.test") == Address(whole, 4501)
        assert await backend.lookup("a@node3", "node3") == Address("node3", 4500)

    async def test_the_host_with_the_default_port(self, server: DnsServer, backend: DnsBackend) -> None:
        server.records = ["node1.test 30 A 10.0.0.1"]
        (found,) = await backend.lookup_all("a@node1.test", "node1.test")
        assert (found, found.addresses) == (Address("node1.test", 4500), ("10.0.0.1",))

    async def test_a_host_that_the_dns_does_not_know_is_left_to_this_machine(
        self, server: DnsServer, backend: DnsBackend
    ) -> None:
        (found,) = await backend.lookup_all("a@no.test", "no.test")
        assert (found, found.addresses) == (Address("no.test", 4500), ())

    async def test_an_ip_address(self, server: DnsServer, backend: DnsBackend) -> None:
        assert await backend.lookup("a@127.0.0.1", "127.0.0.1") == Address("127.0.0.1", 4500)
        assert server.asked == ["_erlang-dist._quic.127.0.0.1.cluster.test SRV", f"{OF_ALL} SRV"]
        server.records = ["_erlang-dist._quic.127.0.0.2.cluster.test 30 SRV 0 0 4501 10.0.0.7."]
        assert await backend.lookup("a@127.0.0.2", "127.0.0.2") == Address("10.0.0.7", 4501)

    async def test_several_records_in_their_order(self, server: DnsServer, client: DnsClient) -> None:
        server.records = [
            f"{OF_NODE1} 30 SRV 10 0 4501 last.test.",
            f"{OF_NODE1} 30 SRV 0 1 4502 seldom.test.",
            f"{OF_NODE1} 30 SRV 0 9 4503 often.test.",
        ]
        backend = DnsBackend("cluster.test.", client, chance=Lot(2, 1, 0))
        found = await backend.lookup_all("a@node1", "node1")
        assert [str(address) for address in found] == [
            "often.test:4503",
            "seldom.test:4502",
            "last.test:4501",
        ]

    async def test_a_service_whose_target_is_a_dot_raises_node_not_found(
        self, server: DnsServer, backend: DnsBackend
    ) -> None:
        server.records = [f"{OF_NODE1} 30 SRV 0 0 0 .", "node1 30 A 10.0.0.1"]
        with pytest.raises(NodeNotFound, match=rf"no address for a@node1; {OF_NODE1}: the service is not"):
            await backend.lookup("a@node1", "node1")

    async def test_more_targets_than_anyone_dials(self, server: DnsServer, backend: DnsBackend) -> None:
        server.records = [f"{OF_NODE1} 30 SRV {n} 0 4501 h{n}.test." for n in range(20)]
        found = await backend.lookup_all("a@node1", "node1")
        assert [address.host for address in found] == [f"h{n}.test" for n in range(8)]

    async def test_an_alias_lives_as_long_as_its_shortest_part(
        self, server: DnsServer, client: DnsClient, clock: Clock
    ) -> None:
        server.records = [
            f"{OF_NODE1} 10 CNAME other.test.",
            "other.test 30 SRV 0 0 4501 host.test.",
        ]
        assert await client.services(OF_NODE1) == (Service(0, 0, 4501, "host.test"),)
        clock.now += 10
        await client.services(OF_NODE1)
        assert len(server.asked) == 2


class TestDiscovery:
    async def test_the_contract(self, server: DnsServer) -> None:
        server.records = [
            f"{OF_NODE1} 30 SRV 0 0 4501 one.test.",
            f"{OF_NODE1} 30 SRV 1 0 4502 two.test.",
            "one.test 30 AAAA fd00::1",
            "two.test 30 A 10.0.0.2",
        ]
        found = DnsDiscovery("cluster.test", nameservers=[server.address], default_port=4500)
        assert await found.register_node("py@node2", 4501) >= 4
        assert await found.port_please("a", "node1") == 4501
        assert await found.lookup("a@node1") == Address("one.test", 4501)
        assert await found.lookup_all("a@node1") == [Address("one.test", 4501), Address("two.test", 4502)]
        assert await found.lookup_all("a@node1", "inet") == [Address("10.0.0.2", 4502)]
        assert await found.lookup_all("a@node1", "inet6") == [Address("fd00::1", 4501)]
        chain = ChainDiscovery(StaticDiscovery({"b@node1": ("10.0.0.9", 1)}), found)
        assert await chain.lookup("b@node1") == Address("10.0.0.9", 1)
        assert len(await chain.lookup_all("a@node1")) == 2

    async def test_names(self, server: DnsServer) -> None:
        found = DnsDiscovery("cluster.test", nameservers=[server.address])
        assert await found.names("cluster.test") == []
        server.records = ["cluster.test 30 SRV 0 0 4501 a.cluster.test."]
        found = DnsDiscovery("cluster.test", nameservers=[server.address])
        assert await found.names("cluster.test") == [("a", 4501)]
        server.records.append(f"{OF_ALL} 30 SRV 0 0 4502 b.cluster.test.")
        server.records.append(f"{OF_ALL} 30 SRV 0 0 4503 b.elsewhere.test.")
        found = DnsDiscovery("cluster.test", nameservers=[server.address])
        assert await found.names("cluster.test") == [("b", 4502)]
        assert await found.names("elsewhere.test") == [("b", 4503)]


class TestTimeToLive:
    async def test_an_answer_is_kept_for_as_long_as_it_says(
        self, server: DnsServer, client: DnsClient, clock: Clock
    ) -> None:
        server.records = [f"{OF_NODE1} 30 SRV 0 0 4501 t.test."]
        first = await client.services(OF_NODE1)
        server.records = [f"{OF_NODE1} 30 SRV 0 0 4502 t.test."]
        clock.now += 29.9
        assert await client.services(OF_NODE1.upper()) == first
        assert len(server.asked) == 1
        clock.now += 0.1
        assert [service.port for service in await client.services(OF_NODE1)] == [4502]
        assert len(server.asked) == 2

    async def test_an_answer_is_cached_no_longer_than_the_limit(
        self, server: DnsServer, clock: Clock
    ) -> None:
        client = DnsClient([server.address], max_ttl=5, clock=clock)
        server.records = ["h.test 30 A 10.0.0.1", "h.test 30 AAAA fd00::1"]
        await client.addresses("h.test")
        clock.now += 4.9
        await client.addresses("h.test")
        assert len(server.asked) == 2
        clock.now += 0.1
        await client.addresses("h.test")
        assert len(server.asked) == 4

    async def test_a_negative_answer_is_cached_by_the_soa(
        self, server: DnsServer, client: DnsClient, clock: Clock
    ) -> None:
        server.records = ["h.test 30 TXT x"]
        for name, there in (("gone.test", "no such name"), ("h.test", "no such type")):
            assert await client.services(name) == (), there
            clock.now += 59.9
            assert await client.services(name) == ()
            assert server.asked_since() == [f"{name} SRV"]
            clock.now += 0.1
            await client.services(name)
            assert server.asked_since() == [f"{name} SRV"]

    async def test_a_failure_is_not_kept(self, server: DnsServer, client: DnsClient) -> None:
        server.failing = {OF_NODE1}
        with pytest.raises(DnsError):
            await client.services(OF_NODE1)
        server.failing = set()
        assert await client.services(OF_NODE1) == ()

    def test_the_cache_is_bounded(self, clock: Clock) -> None:
        cache: TtlCache[int, str] = TtlCache(2, clock)
        cache.put(1, "one", 10)
        cache.put(2, "two", 10)
        assert cache.get(1) == "one"
        cache.put(3, "three", 10)
        assert [cache.get(key) for key in (1, 2, 3)] == ["one", None, "three"]
        assert len(cache) == 2
        cache.put(3, "gone", 0)
        assert cache.get(3) is None
        cache.clear()
        assert len(cache) == 0

    async def test_names_asked_for_are_bounded(self, server: DnsServer, clock: Clock) -> None:
        client = DnsClient([server.address], cache_size=3, clock=clock)
        for number in range(5):
            await client.services(f"h{number}.test")
        await client.services("h4.test")
        await client.services("h0.test")
        assert len(server.asked) == 6


class TestErrors:
    async def test_nobody_answers(self, server: DnsServer, clock: Clock) -> None:
        client = DnsClient([server.address], timeout=0.05, clock=clock)
        server.silent = {OF_NODE1}
        with pytest.raises(DnsError, match=rf"^DNS question {OF_NODE1} SRV: no answer within 0.05 s$"):
            await client.services(OF_NODE1)

    async def test_the_server_fails(self, server: DnsServer, client: DnsClient) -> None:
        server.failing = {"h.test"}
        with pytest.raises(DnsError, match=r"^DNS question h\.test (A|AAAA): .*SERVFAIL"):
            await client.addresses("h.test")

    @pytest.mark.parametrize("name", ["x..y", "a" * 64 + ".test"])
    async def test_what_can_be_no_name(self, client: DnsClient, name: str) -> None:
        with pytest.raises(DnsError, match="DNS question"):
            await client.services(name)

    async def test_without_an_answer_the_next_thing_is_tried_and_a_line_says_so(
        self, server: DnsServer, backend: DnsBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.failing = {OF_NODE1}
        server.records = ["node1 30 A 10.0.0.1"]
        with caplog.at_level(logging.WARNING, "quicdist.discovery.dns"):
            assert await backend.lookup("a@node1", "node1") == Address("node1", 4500)
        assert f"DNS question {OF_NODE1} SRV" in caplog.text


class TestOrder:
    """RFC 2782, *Usage rules*."""

    def test_priorities_go_before_weights(self) -> None:
        low, high = Service(1, 0, 1, "low"), Service(2, 100, 1, "high")
        assert in_order([high, low]) == [low, high]

    @pytest.mark.parametrize(("drawn", "first"), [(0, "none"), (1, "one"), (2, "nine"), (10, "nine")])
    def test_the_lot_decides_by_running_sums(self, drawn: int, first: str) -> None:
        services = [Service(0, 9, 1, "nine"), Service(0, 1, 1, "one"), Service(0, 0, 1, "none")]
        lot = Lot(drawn, 0, 0)
        ordered = in_order(services, lot)
        assert ordered[0].target == first
        assert sorted(ordered) == sorted(services)
        assert lot.sums[0] == 10

    def test_without_a_lot_of_ones_own(self) -> None:
        services = [Service(0, n, 1, f"h{n}") for n in range(5)]
        assert sorted(in_order(services)) == services
        assert in_order([]) == []
