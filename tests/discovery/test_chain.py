from __future__ import annotations

import pytest

from quicdist.carrier import Address
from quicdist.discovery import (
    ChainDiscovery,
    DiscoveryError,
    EpmdDiscovery,
    EpmdUnreachable,
    NodeNameTaken,
    NodeNotFound,
    StaticDiscovery,
)
from quicdist.discovery.contract import Family
from tests.support.epmd import free_port


class Taken(StaticDiscovery):
    async def register_node(self, name: str, port: int, family: Family = "inet") -> int:
        raise NodeNameTaken(name, "another place")


def no_epmd() -> EpmdDiscovery:
    return EpmdDiscovery(port=free_port(), start_epmd=False)


async def test_the_first_that_knows_a_node_gives_its_address() -> None:
    first, second = StaticDiscovery({"a@h": ("h1", 1)}), StaticDiscovery({"a@h": ("h2", 2), "b@h": ("h2", 3)})
    chain = ChainDiscovery(first, second)
    assert await chain.lookup("a@h") == Address("h1", 1)
    assert await chain.lookup("b@h") == Address("h2", 3)
    assert await chain.port_please("b", "h") == 3
    assert sorted(await chain.names("h")) == [("a", 1), ("b", 3)]


async def test_a_node_found_nowhere_is_told_with_every_place() -> None:
    epmd = no_epmd()
    with pytest.raises(NodeNotFound) as caught:
        await ChainDiscovery(StaticDiscovery(), epmd).lookup("a@127.0.0.1")
    assert [looked.where for looked in caught.value.looked] == [
        "static table",
        f"epmd at 127.0.0.1:{epmd.port}",
    ]


async def test_a_node_runs_without_epmd(caplog: pytest.LogCaptureFixture) -> None:
    chain = ChainDiscovery(StaticDiscovery({"a@h": ("h1", 1)}), no_epmd())
    assert await chain.register_node("py@127.0.0.1", 4600) >= 4
    assert "py@127.0.0.1 is not registered: epmd at" in caplog.text
    assert await chain.names("127.0.0.1") == [("py", 4600)]
    await chain.close()


async def test_registering_fails_if_it_fails_everywhere() -> None:
    with pytest.raises(EpmdUnreachable):
        await ChainDiscovery(no_epmd(), no_epmd()).register_node("py@h", 4600)
    with pytest.raises(DiscoveryError):
        await ChainDiscovery(no_epmd(), no_epmd()).names("127.0.0.1")


async def test_a_name_taken_anywhere_is_taken_and_nothing_stays_registered() -> None:
    first = StaticDiscovery()
    with pytest.raises(NodeNameTaken):
        await ChainDiscovery(first, Taken()).register_node("py@h", 4600)
    assert await first.names("h") == []


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(DiscoveryError):
        ChainDiscovery()
