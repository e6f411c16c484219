"""Discovery beside the real ``quic_epmd`` and ``quic_discovery_dns``: same inputs, same answers.

Where theirs is not to be had, the test says what it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from quicdist.carrier import Address
from quicdist.config import read_config
from quicdist.config.discovery_settings import quic_discovery
from quicdist.discovery import Discovery, DnsBackend, DnsClient, NodeNotFound
from tests.support.beam import Beam
from tests.support.dns_server import DnsServer, dns_server

pytestmark = pytest.mark.quic_dist

NODES = (
    "[{'a@10.0.0.1', {\"10.0.0.1\", 4501}}, {'b@node', {{10,0,0,2}, 4502}}, "
    "{'c@local', {\"localhost\", 4503}}]"
)


def theirs(answer: str) -> Address | None:
    """``{ok, Ip, Port, 5}`` as an address; None for an error."""
    if answer.startswith("{error,"):
        return None
    found = re.fullmatch(r"\{ok,\{(\d+),(\d+),(\d+),(\d+)\},(\d+),5\}", answer)
    assert found, answer
    *parts, port = found.groups()
    return Address(".".join(parts), int(port))


async def ours(discovery: Discovery, name: str, host: str) -> Address | None:
    try:
        return await discovery.address_please(name, host, "inet")
    except NodeNotFound:
        return None


@contextlib.contextmanager
def both(directory: Path, quic: str) -> Iterator[tuple[Beam, Discovery]]:
    """A BEAM and a discovery with the same sys.config."""
    (directory / "sys.config").write_text(f"[{{quic, [{quic}]}}].")
    inetrc = directory / "inetrc"
    inetrc.write_text('{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file]}.\n')
    # Not the session's: its configuration is the test's.
    with Beam(["-config", str(directory / "sys"), "-kernel", "inetrc", f'"{inetrc}"']) as beam:
        # What is not loaded exports nothing to quic_discovery.
        beam.eval_now("{module, _} = code:ensure_loaded(quic_discovery_static)")
        beam.eval_now("{ok, _} = application:ensure_all_started(quic)")
        yield beam, quic_discovery(read_config(directory / "sys.config"), {})


@pytest.mark.parametrize("port", ["", "{dist_port, 4500},"])
async def test_addresses(port: str, tmp_path: Path) -> None:
    with both(tmp_path, f"{port} {{dist, [{{nodes, {NODES}}}]}}") as (beam, discovery):
        for name, host in [
            ("a", "10.0.0.1"),
            ("b", "node"),
            ("c", "local"),
            ("x", "127.0.0.1"),
            ("x", "localhost"),
            ("x", "no-such-host.invalid"),
        ]:
            answer = await beam.eval(f'quic_epmd:address_please("{name}", "{host}", inet)')
            assert await ours(discovery, name, host) == theirs(answer), f"{name}@{host}"


async def test_another_node_of_a_listed_host(tmp_path: Path) -> None:
    """quic_discovery_static gives the address of the other node, which is not the one asked for; here
    the host's default port is tried."""
    with both(tmp_path, f"{{dist, [{{nodes, {NODES}}}]}}") as (beam, discovery):
        answer = await beam.eval('quic_epmd:address_please("x", "10.0.0.1", inet)')
        assert theirs(answer) == Address("10.0.0.1", 4501)
        assert await ours(discovery, "x", "10.0.0.1") == Address("10.0.0.1", 4433)


async def test_ports(tmp_path: Path) -> None:
    with both(tmp_path, f"{{dist, [{{nodes, {NODES}}}]}}") as (beam, discovery):
        assert await beam.eval('quic_epmd:port_please("a", "10.0.0.1")') == "{port,4501,5}"
        assert await discovery.port_please("a", "10.0.0.1") == 4501
        # Theirs assumes a default port for address_please/3 alone.
        assert await beam.eval('quic_epmd:port_please("x", "elsewhere")') == "noport"
        assert await discovery.port_please("x", "elsewhere") == 4433


async def test_names(tmp_path: Path) -> None:
    """Theirs knows none before something is registered, and then those of all hosts."""
    nodes = "[{'a@h', {\"10.0.0.1\", 1}}, {'b@h', {\"10.0.0.2\", 2}}, {'c@elsewhere', {\"10.0.0.3\", 3}}]"
    with both(tmp_path, f"{{dist, [{{nodes, {nodes}}}]}}") as (beam, discovery):
        assert await beam.eval('quic_epmd:names("h")') == "{ok,[]}"
        await beam.eval("{ok, _} = quic_epmd:register_node('own@h', 4500)")
        await discovery.register_node("own@h", 4500)
        known = await beam.eval('begin {ok, L} = quic_epmd:names("h"), lists:sort(L) end')
        assert known == '[{"a",1},{"b",2},{"c",3},{"own",4500}]'
        assert sorted(await discovery.names("h")) == [("a", 1), ("b", 2), ("own", 4500)]


# -- DNS -----------------------------------------------------------------------------------------


class Asking:
    """A BEAM and a back end of ours, both asking one name server."""

    def __init__(self, beam: Beam, server: DnsServer) -> None:
        self.beam = beam
        self.server = server

    async def lookup(self, node: str) -> tuple[tuple[str, int], list[str]]:
        """What ``quic_discovery_dns`` answers for a node, and the SRV questions it asks."""
        self.server.asked_since()
        host = node.partition("@")[2]
        await self.beam.eval("ets:delete_all_objects(quic_discovery_dns_cache)")
        answer = await self.beam.eval(f"quic_discovery_dns:lookup('{node}', \"{host}\")")
        found = re.fullmatch(r"\{ok,\{\{(\d+),(\d+),(\d+),(\d+)\},(\d+)\}\}", answer)
        assert found, answer
        *parts, port = found.groups()
        return (".".join(parts), int(port)), self.questions()

    async def ours(self, node: str) -> tuple[tuple[str, int], list[str]]:
        self.server.asked_since()
        backend = DnsBackend("cluster.test", DnsClient([self.server.address]))
        (first, *_) = await backend.lookup_all(node, node.partition("@")[2])
        return (first.addresses[-1], first.port), self.questions()

    def questions(self) -> list[str]:
        return [question for question in self.server.asked_since() if question.endswith(" SRV")]


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    async with dns_server() as server:
        inetrc = tmp_path / "inetrc"
        inetrc.write_text(
            f'{{resolv_conf, ""}}.\n{{lookup, [dns]}}.\n{{nameserver, {{127,0,0,1}}, {server.address[1]}}}.\n'
        )
        with Beam(["-kernel", "inetrc", f'"{inetrc}"']) as beam:
            await beam.eval(
                "ok = application:load(quic), "
                'ok = application:set_env(quic, dist, [{dns_domain, "cluster.test"}]), '
                "{ok, _} = quic_discovery_dns:init([])"
            )
            yield Asking(beam, server)


async def test_the_dns_is_asked_the_same_for_a_nodes_service(asking: Asking) -> None:
    asking.server.records = [
        "_erlang-dist._quic.node1.cluster.test 30 SRV 5 0 4509 far.test.",
        "_erlang-dist._quic.node1.cluster.test 30 SRV 0 0 4501 near.test.",
        "near.test 30 A 10.0.0.1",
        "far.test 30 A 10.0.0.9",
    ]
    expected = ("10.0.0.1", 4501), ["_erlang-dist._quic.node1.cluster.test SRV"]
    assert await asking.lookup("a@node1") == expected
    assert await asking.ours("a@node1") == expected


async def test_without_a_service_the_host_is_asked_for(asking: Asking) -> None:
    asking.server.records = ["node2.test 30 A 10.0.0.2"]
    own = "_erlang-dist._quic.node2.test.cluster.test SRV"
    assert await asking.lookup("a@node2.test") == (("10.0.0.2", 4433), [own])
    answer, questions = await asking.ours("a@node2.test")
    assert answer == ("10.0.0.2", 4433)
    # The list of the whole cluster, which theirs documents and does not ask for.
    assert questions == [own, "_erlang-dist._quic.cluster.test SRV"]


async def test_the_documented_list_of_a_cluster(asking: Asking) -> None:
    """``QUIC_DIST.md`` has one SRV name for all nodes; ``quic_discovery_dns`` never asks for it."""
    asking.server.records = [
        "_erlang-dist._quic.cluster.test 30 SRV 0 0 4503 node3.cluster.test.",
        "node3.cluster.test 30 A 10.0.0.3",
    ]
    node = "a@node3.cluster.test"
    assert (await asking.lookup(node))[0] == ("10.0.0.3", 4433)
    assert (await asking.ours(node))[0] == ("10.0.0.3", 4503)


async def test_the_nodes_of_a_domain(asking: Asking) -> None:
    """Theirs asks for the SRV records of the bare domain."""
    asking.server.records = ["cluster.test 30 SRV 0 0 4501 a.host.test."]
    assert await asking.beam.eval('quic_discovery_dns:list_nodes("h")') == "{ok,[{'a@host.test',4501}]}"
    assert asking.questions() == ["cluster.test SRV"]
    backend = DnsBackend("cluster.test", DnsClient([asking.server.address]))
    assert await backend.list_nodes("h") == [("a@host.test", 4501)]
