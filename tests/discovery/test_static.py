from __future__ import annotations

import pytest

from quicdist.carrier import Address
from quicdist.discovery import NodeNotFound, StaticDiscovery, new_creation

TABLE: dict[str, Address | tuple[str, int]] = {
    "a@10.0.0.1": ("10.0.0.1", 4501),
    "b@h": Address("localhost", 4502),
}


async def test_what_is_listed_is_found() -> None:
    table = StaticDiscovery(TABLE)
    assert await table.lookup("a@10.0.0.1") == Address("10.0.0.1", 4501)
    assert await table.port_please("a", "10.0.0.1") == 4501
    assert await table.address_please("b", "h") == Address("localhost", 4502)
    assert await table.address_please("b", "h", "inet") == Address("127.0.0.1", 4502)
    assert await table.names("h") == [("b", 4502)]
    assert await table.names("elsewhere") == []


async def test_what_is_not_listed_is_not_found() -> None:
    with pytest.raises(NodeNotFound, match=r"^no address for c@h; static table: not known there$"):
        await StaticDiscovery(TABLE).lookup("c@h")


async def test_a_listed_host_that_does_not_resolve() -> None:
    table = StaticDiscovery({"a@h": ("no-such-host.invalid", 1)})
    with pytest.raises(NodeNotFound, match=r"no-such-host\.invalid:1, but host no-such-host\.invalid has no"):
        await table.address_please("a", "h", "inet")


async def test_a_default_port_for_all_others() -> None:
    table = StaticDiscovery(TABLE, default_port=4433)
    assert await table.lookup("c@h") == Address("h", 4433)
    assert await table.lookup("b@h") == Address("localhost", 4502)


async def test_the_table_changes_under_way() -> None:
    table = StaticDiscovery()
    table.add("c@h", ("127.0.0.1", 4503))
    assert await table.lookup("c@h") == Address("127.0.0.1", 4503)
    table.remove("c@h")
    table.remove("c@h")
    with pytest.raises(NodeNotFound):
        await table.lookup("c@h")


async def test_an_entry_made_by_hand_takes_precedence_over_registration() -> None:
    table = StaticDiscovery(TABLE)
    await table.register_node("py@127.0.0.1", 4600)
    await table.register_node("b@h", 4601)
    await table.register_node("nohost", 4602)
    assert await table.lookup("py@127.0.0.1") == Address("127.0.0.1", 4600)
    assert await table.lookup("b@h") == Address("localhost", 4502)
    await table.unregister_node("py@127.0.0.1")
    await table.unregister_node("b@h")
    assert await table.names("127.0.0.1") == []
    assert await table.lookup("b@h") == Address("localhost", 4502)


async def test_creations_are_32_bits_and_none_of_the_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 4 <= await StaticDiscovery().register_node("py@h", 1) < 1 << 32
    monkeypatch.setattr("secrets.randbelow", lambda below: below - 1)
    assert new_creation() == (1 << 32) - 1
    monkeypatch.setattr("secrets.randbelow", lambda below: 0)
    assert new_creation() == 4


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("a", ("h", 1)),
        ("@h", ("h", 1)),
        ("a@", ("h", 1)),
        ("a@h", ("", 1)),
        ("a@h", ("h", 0)),
        ("a@h", ("h", 65536)),
    ],
)
def test_what_cannot_be_an_entry_is_refused(node: str, address: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match=r"is not a node name|invalid address"):
        StaticDiscovery({node: address})
