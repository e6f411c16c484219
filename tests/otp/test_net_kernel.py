"""net_kernel between two Python nodes."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist import Atom, CallTimeout, Global, Node, NodeError, NoSuchProcess, NotConnected

UP, DOWN = Atom("nodeup"), Atom("nodedown")
ALL = [("node_type", "all")]


def mailbox(node: Node) -> tuple[Any, list[Any]]:
    messages: list[Any] = []
    return node.spawn(lambda _, message: messages.append(message)), messages


async def test_each_monitor_of_nodes_counts_and_one_call_ends_all_with_its_options(
    one: Node, two: Node
) -> None:
    process, messages = mailbox(one)
    for options in (ALL, ALL, ["nodedown_reason", *ALL]):
        one.net_kernel.monitor_nodes(process, options=options)
    await one.connect(two.name)
    assert len(messages) == 3
    one.net_kernel.monitor_nodes(process, False, ALL)
    messages.clear()
    one.disconnect(two.name)
    reason, kind = (Atom("nodedown_reason"), Atom("disconnect")), (Atom("node_type"), Atom("hidden"))
    assert messages == [(DOWN, Atom(two.name), [reason, kind])]


async def test_an_ended_process_gets_no_node_messages(one: Node, two: Node) -> None:
    process, messages = mailbox(one)
    one.net_kernel.monitor_nodes(process, options=ALL)
    process.stop()
    await one.connect(two.name)
    assert messages == []
    assert one.net_kernel._monitors == []


async def test_connection_ids_differ(one: Node, two: Node) -> None:
    process, messages = mailbox(one)
    one.net_kernel.monitor_nodes(process, options={"connection_id": True, "node_type": "all"})
    for _ in range(2):
        await one.connect(two.name)
        one.disconnect(two.name)
    ids = [info[Atom("connection_id")] for _, _, info in messages]
    assert ids[0] == ids[1] != ids[2] == ids[3]


@pytest.mark.parametrize("options", [["nothing"], [("node_type", "secret")], {"nothing": True}])
async def test_unknown_options_of_monitor_nodes_are_an_error(node: Node, options: Any) -> None:
    with pytest.raises(NodeError, match="monitor_nodes"):
        node.net_kernel.monitor_nodes(node.spawn(lambda *_: None), options=options)


async def test_kinds_of_nodes(one: Node, two: Node) -> None:
    assert (one.nodes("this"), one.nodes("known"), one.nodes("connected")) == ([one.name], [one.name], [])
    await one.connect(two.name)
    assert (one.nodes(), one.nodes("visible")) == ([], []), "a connection of a hidden node is hidden"
    assert one.nodes("hidden") == one.nodes(Atom("connected")) == [two.name]
    assert one.nodes("hidden", "this") == [two.name, one.name]
    one.disconnect(two.name)
    assert (one.nodes("connected"), one.nodes("known")) == ([], [two.name, one.name])


async def test_another_kind_of_nodes_is_an_error(node: Node) -> None:
    with pytest.raises(NodeError, match="secret"):
        node.nodes("secret")
    with pytest.raises(TypeError, match="a kind of nodes"):
        node.nodes(["hidden"])  # type: ignore[arg-type]


async def test_visible_nodes_are_the_default() -> None:
    options: dict[str, Any] = {"cookie": "otp tests", "carrier": "tcp", "epmd": False, "hidden": False}
    options["host"] = "127.0.0.1"
    async with Node("b@127.0.0.1", **options) as there:
        nodes = {there.name: ("127.0.0.1", there.addresses[0].port)}
        async with Node("a@127.0.0.1", nodes=nodes, **options) as here:
            await here.connect(there.name)
            assert here.nodes() == here.nodes("visible") == [there.name]
            assert here.nodes("hidden") == []


async def test_other_nodes_cannot_change_this_one_by_net_kernel(one: Node, two: Node) -> None:
    there = ("net_kernel", two.name)
    for request in (
        (Atom("allow"), [Atom(one.name)]),
        (Atom("disconnect"), Atom(one.name)),
        (Atom("new_ticktime"), 1000, 0),
    ):
        with pytest.raises(CallTimeout):
            await one.gen_server.call(there, request, timeout=0.02)
    one.send(there, "noise")
    assert await one.gen_server.call(there, Atom("allowed")) == (Atom("ok"), [])
    assert two.nodes("connected") == [one.name]


async def test_ticktime_and_cookies(node: Node) -> None:
    assert node.net_kernel.get_net_ticktime() == 60.0
    node.net_kernel.set_cookie("other@127.0.0.1", "special")
    assert node.net_kernel.get_cookie("other@127.0.0.1") == "special"
    assert node.net_kernel.get_cookie("third@127.0.0.1") == "otp tests"


async def test_global_names_need_a_node_that_knows_them(one: Node, two: Node) -> None:
    with pytest.raises(NoSuchProcess):
        await one.gen_server.call(Global("name"), 1)
    await one.connect(two.name)  # which is no BEAM
    assert await one.global_names.whereis_name("name") is None
    with pytest.raises(NotConnected):
        await one.global_names.register_name("name", one.spawn(lambda *_: None))
    one.gen_server.cast(Global("name"), 1)


async def test_ping_of_a_node_that_answers_is_true(one: Node, two: Node) -> None:
    assert await one.ping(two.name) is True
    assert await one.ping(Atom(two.name)) is True
    assert await one.ping(one.name) is True


async def test_ping_of_a_node_that_cannot_be_reached_is_false(one: Node) -> None:
    assert await one.ping("nobody@127.0.0.1", timeout=1) is False
