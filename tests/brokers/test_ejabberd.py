"""Python nodes beside Debian's ejabberd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Node
from tests.brokers.page import run_program
from tests.brokers.service import COOKIE, EJABBERD_BOOTED, Service, ejabberd, has_ejabberd
from tests.support.epmd import private_epmd

pytestmark = [
    pytest.mark.beam,
    pytest.mark.slow,
    pytest.mark.skipif(not has_ejabberd(), reason="no ejabberd (Debian, Ubuntu: ejabberd)"),
]


@pytest.fixture(autouse=True)
def _epmd() -> Iterator[None]:
    with private_epmd():
        yield


@pytest.mark.parametrize("hidden", [True, False], ids=["hidden", "published"])
async def test_a_node_administers_ejabberd(tmp_path: Path, hidden: bool) -> None:
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": "tcp", "host": "127.0.0.1", "hidden": hidden}
    with ejabberd("ej", tmp_path / "ej") as service:
        async with Node("py@127.0.0.1", **options) as node:
            await service.joined_by(node)
            await service.logs(EJABBERD_BOOTED)
            await _administer(node, service)


async def _administer(node: Node, service: Service) -> None:
    async def call(module: str, function: str, *arguments: Any) -> Any:
        return await node.call(service.name, module, function, list(arguments))

    started, _ = await call("ejabberd_admin", "status")
    assert started == Atom("ok")
    # A Python node is no node of its cluster, whatever it is connected to.
    assert await call("mnesia", "system_info", Atom("running_db_nodes")) == [Atom(service.name)]
    assert await call("ejabberd_cluster", "get_nodes") == [Atom(service.name)]

    names = {"ejabberd@localhost": service.name, "py@localhost": "py2@127.0.0.1"}
    names["/var/lib/ejabberd/.erlang.cookie"] = str(service.cookie)
    printed = await run_program("ejabberd", names)
    assert printed == [[], Atom("ok"), Atom("ok"), [Atom(service.name)]]
    assert await call("ejabberd_auth", "get_users", b"localhost") == [(b"ann", b"localhost")]
    printed = await run_program("ejabberd", names, number=1)
    assert printed == [[b"ann@localhost/python"], (b"admin", b"hello")]
    assert await call("ejabberd_sm", "connected_users") == []
