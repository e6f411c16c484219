"""Python nodes in clusters of Debian's RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Node
from quicdist.node import NodeUp
from tests.brokers.page import run_program
from tests.brokers.service import COOKIE, RABBITMQ, RABBITMQ_BOOTED, Service, rabbitmq
from tests.carrier.security import TestCa
from tests.support.epmd import private_epmd

pytestmark = [
    pytest.mark.beam,
    pytest.mark.slow,
    pytest.mark.skipif(not RABBITMQ.exists(), reason="no RabbitMQ (Debian, Ubuntu: rabbitmq-server)"),
]


@pytest.fixture(autouse=True)
def _epmd() -> Iterator[None]:
    with private_epmd():
        yield


async def boots_beside(name: str, folder: Path, *, hidden: bool) -> float:
    """Seconds that a RabbitMQ takes to boot while a Python node is connected to it."""
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": "tcp", "host": "127.0.0.1", "hidden": hidden}
    with rabbitmq(name, folder) as service:
        async with Node(f"py_{name}@127.0.0.1", **options) as node:
            return await _boots_beside(node, service)


async def _boots_beside(node: Node, service: Service) -> float:
    events: list[Any] = []
    node.subscribe(events.append)
    await service.joined_by(node)
    assert RABBITMQ_BOOTED not in service.logged()
    seconds = await service.logs(RABBITMQ_BOOTED)
    assert await node.call(service.name, "rabbit", "is_running", []) is True
    assert [type(event) for event in events] == [NodeUp]  # and not lost meanwhile
    return seconds


async def test_rabbitmq_boots_beside_a_published_node_as_beside_a_hidden_one(tmp_path: Path) -> None:
    hidden, published = await asyncio.gather(
        boots_beside("hidden", tmp_path / "hidden", hidden=True),
        boots_beside("published", tmp_path / "published", hidden=False),
    )
    print(
        f"RabbitMQ booted in {hidden:.1f} s beside a hidden node, in {published:.1f} s beside a published one"
    )
    assert published < 1.5 * hidden, f"{published:.1f} s beside a published node, {hidden:.1f} s"


async def test_a_node_administers_a_cluster_of_two(tmp_path: Path) -> None:
    with rabbitmq("one", tmp_path / "one") as one, rabbitmq("two", tmp_path / "two") as two:
        async with Node("py@127.0.0.1", cookie=COOKIE, carrier="tcp", host="127.0.0.1") as node:
            await asyncio.gather(one.logs(RABBITMQ_BOOTED), two.logs(RABBITMQ_BOOTED))
            await _administer(node, one, two)


async def _administer(node: Node, one: Service, two: Service) -> None:
    async def call(service: Service, module: str, function: str, *arguments: Any) -> Any:
        return await node.call(service.name, module, function, list(arguments))

    # What `rabbitmqctl stop_app, join_cluster, start_app` does.
    await call(two, "rabbit", "stop")
    await call(two, "rabbit_mnesia", "join_cluster", Atom(one.name), Atom("disc"))
    await call(two, "rabbit", "start")
    running = await call(one, "rabbit_nodes", "all_running")
    assert sorted(map(str, running)) == [one.name, two.name]
    assert sorted(map(str, node.nodes("connected"))) == [one.name, two.name]

    queue = await call(one, "rabbit_misc", "r", b"/", Atom("queue"), b"jobs")
    durable, auto_delete, owner = True, False, Atom("none")
    await call(one, "rabbit_amqqueue", "declare", queue, durable, auto_delete, [], owner, b"py")
    name, messages, state = map(Atom, ("name", "messages", "state"))
    (row,) = await call(two, "rabbit_amqqueue", "info_all", b"/", [name, messages, state])
    assert row == [(name, queue), (messages, 0), (state, Atom("running"))]

    names = {"rabbit@db1": one.name, "py@db1": "py2@127.0.0.1"}
    printed = await run_program("RabbitMQ", names | {"/var/lib/rabbitmq/.erlang.cookie": str(one.cookie)})
    assert [sorted(map(str, printed[0])), *printed[1:]] == [
        [one.name, two.name],
        [],
        {name: queue, messages: 0},
    ]

    two.kill()
    await until(lambda: call(one, "rabbit_nodes", "all_running"), [Atom(one.name)])
    assert dict(await call(one, "rabbit", "status"))[Atom("alarms")] == []


async def test_a_node_joins_rabbitmq_over_tls(tmp_path: Path) -> None:
    ca = TestCa(tmp_path, "cluster-ca")
    shown = ca.sign()
    own = f'{{certfile, "{shown.cert}"}}, {{keyfile, "{shown.key}"}}, {{cacertfile, "{ca.file}"}}'
    options = tmp_path / "inter_node_tls.config"
    options.write_text(
        f"[{{server, [{own}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}},"
        f" {{client, [{own}, {{verify, verify_peer}}]}}].\n"
    )
    flags = f"-proto_dist inet_tls -ssl_dist_optfile {options}"
    vm_args = tmp_path / "vm.args"
    vm_args.write_text(f"-sname py@localhost\n-setcookie {COOKIE}\n{flags}\n")
    with rabbitmq("tls", tmp_path / "tls", host="localhost", erl_args=flags) as service:
        async with Node(vm_args=vm_args) as node:
            await service.joined_by(node)
            await service.logs(RABBITMQ_BOOTED)
            assert await node.call(service.name, "rabbit", "is_running", []) is True
            node.disconnect(service.name)
            assert await node.call(service.name, "rabbit_vhost", "list_names", []) == [b"/"]


async def until(ask: Callable[[], Awaitable[Any]], expected: Any) -> None:
    async with asyncio.timeout(30):
        answer = await ask()
        while answer != expected:
            await asyncio.sleep(0.05)
            answer = await ask()
