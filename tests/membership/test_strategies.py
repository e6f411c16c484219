"""The strategies: lists, a fake epmd, and a name server in the event loop of the test."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, DiscoveryError
from quicdist.cluster import (
    ChangingNodes,
    DnsPoll,
    DnsSrv,
    EpmdHosts,
    ErlangHosts,
    LocalEpmd,
    StaticNodes,
    Strategy,
)
from quicdist.cluster.strategy import as_strategies
from quicdist.discovery import DnsError, EpmdUnreachable
from quicdist.protocol import InvalidNodeName
from tests.support.dns_server import dns_server

OWN = "own@127.0.0.1"


# -- lists -------------------------------------------------------------------------------------


async def test_a_static_list_is_looked_up_once_and_disconnects_nothing() -> None:
    strategy = StaticNodes("a@host", Atom("b@host"))
    assert (list(await strategy.nodes(OWN)), strategy.interval) == (["a@host", "b@host"], None)
    assert not strategy.disconnects
    assert repr(strategy) == "StaticNodes('a@host', 'b@host')"


@pytest.mark.parametrize("name", ["nohost", "a@b@c", "@host", "a@\n"])
def test_a_static_list_with_what_is_no_node_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidNodeName):
        StaticNodes(name)


async def test_a_function_is_called_at_each_lookup() -> None:
    lists = [["a@host"], ["b@host"]]
    plain = ChangingNodes(lambda: lists[0], interval=2)
    assert (await plain.nodes(OWN), plain.interval, plain.disconnects) == (["a@host"], 2, True)

    async def listed() -> list[str]:
        return lists.pop()

    waits = ChangingNodes(listed, disconnect=False)
    assert [await waits.nodes(OWN), await waits.nodes(OWN)] == [["b@host"], ["a@host"]]
    assert not waits.disconnects


async def test_an_asynchronous_iterable_gives_a_list_at_a_time_and_ends() -> None:
    async def lists() -> AsyncIterator[list[str]]:
        yield ["a@host"]
        yield []

    strategy = ChangingNodes(lists())
    assert [await strategy.nodes(OWN), await strategy.nodes(OWN)] == [["a@host"], []]
    with pytest.raises(StopAsyncIteration):
        await strategy.nodes(OWN)


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_an_interval_that_is_not_above_zero_is_refused(interval: float) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: ChangingNodes(list, interval=interval),
        lambda: EpmdHosts(["host"], interval=interval),
        lambda: DnsPoll("a.test", "app", interval=interval),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="interval is"):
            make()


def test_the_option_cluster_takes_names_strategies_and_lists_that_change() -> None:
    class Own:
        async def nodes(self, own: str) -> list[str]:
            return []

    def listed() -> list[str]:
        return []

    own = Own()
    kinds = [type(each).__name__ for each in as_strategies(["a@host", LocalEpmd(), "b@host", listed, own])]  # type: ignore[list-item]
    assert kinds == ["StaticNodes", "LocalEpmd", "ChangingNodes", "Own"]
    assert [type(each) for each in as_strategies(listed)] == [ChangingNodes]
    assert as_strategies(None) == as_strategies([]) == ()


@pytest.mark.parametrize(
    "wrong", ["a@host", Atom("a@host"), 17, [17], [["a@host"]], LocalEpmd, [StaticNodes]]
)
def test_what_is_no_list_of_names_and_no_strategy_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"expected|a node name is"):
        as_strategies(wrong)


def test_a_strategy_of_ones_own_has_the_defaults_of_its_base() -> None:
    class Own(Strategy):
        async def nodes(self, own: str) -> list[str]:
            return []

    assert (Own().interval, Own().disconnects) == (5.0, False)


# -- epmd --------------------------------------------------------------------------------------


@asynccontextmanager
async def fake_epmd(host: str, port: int, *names: str) -> AsyncIterator[int]:
    """Answers NAMES_REQ at ``host``; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(3) == b"\0\x01n"
        lines = "".join(f"name {name} at port 4000\n" for name in names)
        writer.write(struct.pack(">I", port) + lines.encode())
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_nodes_of_an_epmd_have_the_host_that_was_asked() -> None:
    async with fake_epmd("127.0.0.1", 0, "a", "app1", "app2") as port:
        assert list(await EpmdHosts(["127.0.0.1"], port=port).nodes(OWN)) == [
            "a@127.0.0.1",
            "app1@127.0.0.1",
            "app2@127.0.0.1",
        ]
        only = EpmdHosts(["127.0.0.1"], port=port, pattern="app*")
        assert list(await only.nodes(OWN)) == ["app1@127.0.0.1", "app2@127.0.0.1"]
        assert "a@box.test" in await LocalEpmd(port=port).nodes("own@box.test")


async def test_a_host_without_epmd_lists_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with fake_epmd("127.0.0.1", 0, "a") as port:
        strategy = EpmdHosts(["127.0.0.2", "127.0.0.1"], port=port)
        assert list(await strategy.nodes(OWN)) == ["a@127.0.0.1"]
    assert [f"epmd at 127.0.0.2:{port}" in line for line in caplog.messages] == [True]


async def test_a_lookup_without_any_epmd_raises_epmd_unreachable() -> None:
    async with fake_epmd("127.0.0.1", 0) as port:
        pass
    with pytest.raises(EpmdUnreachable, match=f"127.0.0.1:{port}"):
        await EpmdHosts(["127.0.0.1", "127.0.0.2"], port=port).nodes(OWN)


async def test_the_hosts_of_hosts_erlang_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ROOTDIR", str(tmp_path))
    monkeypatch.chdir(here)
    async with fake_epmd("127.0.0.1", 0, "a") as port:
        strategy = ErlangHosts(port=port)
        with pytest.raises(DiscoveryError, match=r"there is no \.hosts\.erlang"):
            await strategy.nodes(OWN)
        (tmp_path / ".hosts.erlang").write_text("'nobody.invalid'.\n")
        (home / ".hosts.erlang").write_text("% comment\n'127.0.0.1'.\n")
        assert list(await strategy.nodes(OWN)) == ["a@127.0.0.1"]
        (here / ".hosts.erlang").write_text("'127.0.0.1'. localhost.\n")
        assert list(await strategy.nodes(OWN)) == ["a@127.0.0.1", "a@localhost"]
    assert repr(strategy) == "ErlangHosts()"


@pytest.mark.parametrize("text", ["'host'", '"host".', "{host}.", "\xff".encode("latin-1"), "17."])
async def test_a_hosts_file_without_atoms_is_an_error_that_names_it(
    tmp_path: Path, text: str | bytes
) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DiscoveryError, match=f"{path}: "):
        await ErlangHosts(path).nodes(OWN)


# -- DNS ---------------------------------------------------------------------------------------


async def test_each_address_of_a_name_is_a_node() -> None:
    async with dns_server(
        "app.test 30 A 10.1.0.95", "app.test 30 A 10.1.0.96", "app.test 30 AAAA fd00::1"
    ) as dns:
        strategy = DnsPoll("app.test.", "app", nameservers=[dns.address])
        found = ["app@fd00::1", "app@10.1.0.95", "app@10.1.0.96"]
        assert sorted(await strategy.nodes(OWN)) == sorted(found)
        dns.records.pop(0)
        assert sorted(await strategy.nodes(OWN)) == sorted(["app@fd00::1", "app@10.1.0.96"]), (
            "nothing is cached"
        )
        assert strategy.disconnects
        assert repr(strategy) == "DnsPoll('app.test', 'app')"


async def test_each_target_of_a_service_is_a_node() -> None:
    service = "app-headless.default.svc.cluster.test"
    async with dns_server(
        f"{service} 30 SRV 10 50 0 app-1.{service}.",
        f"{service} 30 SRV 10 50 0 app-0.{service}.",
        f"{service} 30 SRV 20 50 4369 app-0.{service}.",
    ) as dns:
        strategy = DnsSrv(service, "app", nameservers=[dns.address])
        assert list(await strategy.nodes(OWN)) == [f"app@app-0.{service}", f"app@app-1.{service}"]
        dns.records[:] = [f"{service} 30 SRV 0 0 0 ."]
        assert list(await strategy.nodes(OWN)) == [], "the service is not available (RFC 2782)"


async def test_no_record_is_an_answer_and_a_failure_of_the_server_is_none() -> None:
    async with dns_server("other.test 30 A 10.0.0.1") as dns:
        dns.failing.add("bad.test")
        assert list(await DnsPoll("app.test", "app", nameservers=[dns.address]).nodes(OWN)) == []
        with pytest.raises(DnsError, match=r"bad\.test"):
            await DnsPoll("bad.test", "app", nameservers=[dns.address], timeout=1).nodes(OWN)


@pytest.mark.parametrize(("query", "basename"), [("", "app"), ("app.test", ""), ("app.test", "app@host")])
def test_a_dns_strategy_without_a_query_or_basename_is_refused(query: str, basename: str) -> None:
    for kind in (DnsPoll, DnsSrv):
        with pytest.raises(ValueError, match="expected a name in the DNS"):
            kind(query, basename)
