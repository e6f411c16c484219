"""A back end of one's own, with all callbacks and with only the one that must be there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from quicdist.carrier import Address
from quicdist.discovery import Backend, BackendDiscovery, DiscoveryError, NodeNotFound, resolve


class Everything(Backend):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def init(self, options: Mapping[str, Any]) -> None:
        self.calls.append(("init", dict(options)))

    async def register(self, node: str, port: int) -> None:
        self.calls.append(("register", node, port))

    async def unregister(self, node: str) -> None:
        self.calls.append(("unregister", node))

    async def lookup(self, node: str, host: str) -> tuple[str, int] | None:
        self.calls.append(("lookup", node, host))
        return ("127.0.0.1", 4501) if node == "a@h" else None

    async def list_nodes(self, host: str) -> list[tuple[str, int]]:
        return [("a@h", 4501), ("b@elsewhere", 4502), ("bare", 4503)]


class OnlyLookup:
    async def lookup(self, node: str, host: str) -> Address | None:
        return Address("127.0.0.1", 4501)


async def test_the_callbacks_are_called_as_quic_epmd_calls_them() -> None:
    backend = Everything()
    found = BackendDiscovery(backend, {"dns_domain": "cluster.example.com"})
    assert await found.register_node("py@h", 4600) >= 4
    assert await found.lookup("a@h") == Address("127.0.0.1", 4501)
    with pytest.raises(NodeNotFound, match="Everything: not known there"):
        await found.lookup("c@h")
    assert await found.names("h") == [("a", 4501), ("bare", 4503)]
    await found.unregister_node("py@h")
    assert backend.calls == [
        ("init", {"dns_domain": "cluster.example.com"}),
        ("register", "py@h", 4600),
        ("lookup", "a@h", "h"),
        ("lookup", "c@h", "h"),
        ("unregister", "py@h"),
    ]


async def test_one_callback_is_enough() -> None:
    found = BackendDiscovery(OnlyLookup())  # type: ignore[arg-type]
    assert await found.register_node("py@h", 4600) >= 4
    assert await found.port_please("a", "h") == 4501
    assert await found.names("h") == []
    await found.unregister_node("py@h")
    await found.close()


async def test_resolve() -> None:
    assert await resolve("127.0.0.1", 1) == [Address("127.0.0.1", 1)]
    assert await resolve("::1", 1, "inet6") == [Address("::1", 1)]
    assert Address("127.0.0.1", 7) in await resolve("localhost", 7)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid", "x..y"])
async def test_a_name_that_does_not_resolve(host: str) -> None:
    with pytest.raises(DiscoveryError, match=f"host {host} has no address") as caught:
        await resolve(host, 1)
    assert isinstance(caught.value, DiscoveryError)
