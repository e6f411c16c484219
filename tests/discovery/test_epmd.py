"""Against the real epmd, on a port of the tests' own, and with real BEAMs beside us in it."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicdist.carrier import Address
from quicdist.discovery import (
    EpmdDiscovery,
    EpmdTimeout,
    EpmdUnreachable,
    NodeNameTaken,
    NodeNotFound,
    RegisteredName,
)
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import Epmd, free_port, listens, private_epmd, stops_listening

pytestmark = pytest.mark.beam


@pytest.fixture
def epmd() -> Iterator[Epmd]:
    with private_epmd() as running:
        yield running


async def test_registered_found_listed_and_gone(epmd: Epmd) -> None:
    ours = EpmdDiscovery(start_epmd=False)
    creation = await ours.register_node("py@127.0.0.1", 4502)
    assert 0 < creation < 1 << 32
    assert await ours.port_please("py", "127.0.0.1") == 4502
    assert await ours.address_please("py", "localhost") == Address("localhost", 4502)
    assert await ours.address_please("py", "localhost", "inet") == Address("127.0.0.1", 4502)
    assert await ours.names("127.0.0.1") == [("py", 4502)]
    await ours.unregister_node("py@127.0.0.1")
    assert await ours.names("127.0.0.1") == []


async def test_a_name_can_be_registered_again_as_soon_as_it_is_unregistered(epmd: Epmd) -> None:
    for number in range(100):
        ours = EpmdDiscovery(start_epmd=False)
        await ours.register_node("py@127.0.0.1", 4502 + number)
        await ours.unregister_node("py@127.0.0.1")


async def gone(discovery: EpmdDiscovery, name: str) -> None:
    """Wait until epmd has seen that the connection of ``name`` is closed."""
    async with asyncio.timeout(30):
        while True:
            try:
                await discovery.port_please(name, "127.0.0.1")
            except NodeNotFound:
                return


async def names_if_there(discovery: EpmdDiscovery) -> list[RegisteredName]:
    try:
        return await discovery.names("127.0.0.1")
    except EpmdUnreachable:
        return []


async def test_names_beyond_ascii_come_back_as_they_went(epmd: Epmd) -> None:
    ours = EpmdDiscovery(start_epmd=False)
    await ours.register_node("жук@127.0.0.1", 4502)
    assert await ours.names("127.0.0.1") == [("жук", 4502)]
    assert await ours.port_please("жук", "127.0.0.1") == 4502
    await ours.close()


async def test_a_node_that_is_not_there_is_not_found(epmd: Epmd) -> None:
    with pytest.raises(NodeNotFound) as caught:
        await EpmdDiscovery(start_epmd=False).port_please("nobody", "127.0.0.1")
    assert str(caught.value) == (
        f"no address for nobody@127.0.0.1; epmd at 127.0.0.1:{epmd.port}: not registered"
    )


async def test_a_beam_and_we_see_each_other_and_names_are_taken_once(epmd: Epmd) -> None:
    ours = EpmdDiscovery(start_epmd=False)
    await ours.register_node("py@127.0.0.1", 4502)
    async with Beam(tcp_args("b@127.0.0.1")) as beam:
        assert await beam.eval('erl_epmd:port_please("py", {127,0,0,1})') == "{port,4502,6}"
        assert (
            await beam.eval('lists:keyfind("py", 1, element(2, erl_epmd:names({127,0,0,1})))')
            == '{"py",4502}'
        )
        listening = await ours.port_please("b", "127.0.0.1")
        assert dict(await ours.names("127.0.0.1")) == {"py": 4502, "b": listening}
        with pytest.raises(NodeNameTaken, match=r"the name b@127\.0\.0\.1 is taken"):
            await ours.register_node("b@127.0.0.1", 4503)
    await ours.close()


async def test_registered_again_when_epmd_was_restarted(epmd: Epmd, caplog: pytest.LogCaptureFixture) -> None:
    ours = EpmdDiscovery(start_epmd=False, reconnect_after=0.01)
    await ours.register_node("py@127.0.0.1", 4502)
    await ours.register_node("other@127.0.0.1", 4503)
    epmd.kill()
    epmd.start()
    async with asyncio.timeout(10):
        while len(await names_if_there(ours)) < 2:
            pass  # each turn asks epmd, which is another program
    assert dict(await ours.names("127.0.0.1")) == {"py": 4502, "other": 4503}
    assert "py@127.0.0.1 is not registered now" in caplog.text
    await ours.close()
    await gone(ours, "py")
    await gone(ours, "other")


async def test_epmd_is_started_if_none_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("ERL_EPMD_PORT", str(port))
    monkeypatch.setenv("ERL_EPMD_ADDRESS", "127.0.0.1")
    monkeypatch.setenv("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
    ours = EpmdDiscovery()
    try:
        await ours.register_node("py@127.0.0.1", 4502)
        assert await ours.names("127.0.0.1") == [("py", 4502)]
    finally:
        await ours.close()
        if listens(port):
            await asyncio.to_thread(subprocess.run, ["epmd", "-kill"], stdout=subprocess.DEVNULL, check=True)
    assert await asyncio.to_thread(stops_listening, port)


async def test_no_epmd_is_started_when_that_is_switched_off() -> None:
    port = free_port()
    with pytest.raises(EpmdUnreachable, match="cannot be reached"):
        await EpmdDiscovery(port=port, start_epmd=False).register_node("py", 4502)
    assert not listens(port)


async def test_no_epmd_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EpmdUnreachable, match="not running, and there is no epmd on PATH"):
        await EpmdDiscovery(port=free_port()).register_node("py", 4502)


async def test_an_epmd_that_does_not_come_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "epmd"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(EpmdTimeout, match=f"started as {fake}, does not listen after 0.2 s"):
        await EpmdDiscovery(port=free_port(), timeout=0.2).register_node("py", 4502)
