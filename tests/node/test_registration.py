"""Discovery is code of the program: whatever it does may cost a start, but no stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quicdist import DiscoveryError, Node, NodeNameTaken, NotConnected, containment
from quicdist.carrier import Address
from quicdist.discovery import BackendDiscovery, ChainDiscovery, Discovery, EpmdDiscovery, StaticDiscovery
from quicdist.node import registration
from quicdist.node.lifecycle import NodeState
from tests.support.epmd import private_epmd

NAME = "py@127.0.0.1"


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def cancelled() -> Any:
    task = asyncio.get_running_loop().create_future()
    task.cancel()
    return task


async def never() -> None:
    await asyncio.Event().wait()


async def never_at_all() -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if LEFT.is_set():
                raise


#: Set where what is left behind may end.
LEFT = asyncio.Event()


def raises(error: BaseException) -> Callable[[], Any]:
    async def function() -> None:
        raise error

    return function


FAULTS: dict[str, Callable[[], Any]] = {
    "Exception": raises(ValueError("a fault")),
    "DiscoveryError": raises(DiscoveryError("a fault")),
    "no text": raises(NoText()),
    "SystemExit": raises(SystemExit(3)),
    "GeneratorExit": raises(GeneratorExit()),
    "CancelledError": raises(asyncio.CancelledError()),
    "a cancelled task": cancelled,
    "StopAsyncIteration": raises(StopAsyncIteration()),
    "never returns": never,
    "swallows its cancellation": never_at_all,
    "no coroutine": lambda: 1 / 0,
}


class Faulty(Discovery):
    """Does what it is told in one of its functions."""

    def __init__(self, function: str, fault: Callable[[], Any]) -> None:
        self.function = function
        self.fault = fault
        self.called: list[str] = []

    def _does(self, function: str, result: Any = None) -> Any:
        self.called.append(function)

        async def done() -> Any:
            return result

        return self.fault() if function == self.function else done()

    def register_node(self, name: str, port: int, family: Any = "inet") -> Any:
        return self._does("register_node", 7)

    def unregister_node(self, name: str) -> Any:
        return self._does("unregister_node")

    def close(self) -> Any:
        return self._does("close")

    def lookup_all(self, node: Any, family: Any = None) -> Any:
        return self._does("lookup_all", [])

    async def port_please(self, name: str, host: str) -> int:
        raise NotImplementedError

    async def address_please(self, name: str, host: str, family: Any = None) -> Address:
        raise NotImplementedError

    async def names(self, host: str) -> list[Any]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containment, "CANCEL_TIME", 0.05)
    for name in ("REGISTER_TIME", "WITHDRAW_TIME"):
        monkeypatch.setattr(registration, name, 0.05)


@pytest.fixture(autouse=True)
async def _end_what_was_left_behind() -> Any:
    LEFT.clear()
    yield
    LEFT.set()
    left = [task for task in asyncio.all_tasks() if "settle" in repr(task)]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def node(discovery: Discovery, **options: Any) -> Node:
    return Node(NAME, cookie="c", carrier="tcp", host="127.0.0.1", discovery=discovery, **options)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_register_fails_the_start_and_is_undone(fault: str) -> None:
    faulty = Faulty("register_node", FAULTS[fault])
    it = node(faulty)
    with pytest.raises(DiscoveryError) as caught:
        async with asyncio.timeout(30):
            await it.start()
    assert it._local.lifecycle.state is NodeState.STOPPED
    assert faulty.called == ["register_node", "unregister_node", "close"]
    said = "a fault" if fault == "DiscoveryError" else "registering py@127.0.0.1 with Faulty"
    assert said in str(caught.value)
    async with node(StaticDiscovery({}), port=it.addresses[0].port):
        pass


@pytest.mark.parametrize("function", ["unregister_node", "close"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_while_the_node_stops_is_logged(
    fault: str, function: str, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Faulty(function, FAULTS[fault])
    async with asyncio.timeout(30):
        async with node(faulty) as it:
            pass
    assert it._local.lifecycle.state is NodeState.STOPPED
    assert faulty.called == ["register_node", "unregister_node", "close"]
    doing = "unregistering" if function == "unregister_node" else "closing"
    (record,) = [each for each in caplog.records if each.name == "quicdist.node"]
    assert (record.levelname, record.getMessage().split(" with ")[0]) == ("ERROR", f"{doing} {NAME}")


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_lookup_fails_the_dial_only(fault: str) -> None:
    async with node(Faulty("lookup_all", FAULTS[fault]), setup_time=0.05) as it:
        with pytest.raises(NotConnected) as caught:
            await it.connect("other@127.0.0.1")
        (attempt,) = caught.value.attempts
        assert "a fault" in str(attempt) or "Faulty" in str(attempt)
        assert it._local.lifecycle.state is NodeState.RUNNING


@pytest.mark.parametrize("creation", [None, 0, -1, 1 << 32, "7"])
async def test_a_creation_that_is_none_is_refused(creation: Any) -> None:
    class Gives(StaticDiscovery):
        async def register_node(self, name: str, port: int, family: Any = "inet") -> int:
            return creation  # type: ignore[no-any-return]

    with pytest.raises(DiscoveryError, match="an integer of 32 bits is needed"):
        await node(Gives({})).start()


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_way_of_a_chain_does_not_keep_the_others_registered(fault: str) -> None:
    faulty, good = Faulty("unregister_node", FAULTS[fault]), Faulty("", never)
    async with asyncio.timeout(30), node(ChainDiscovery(faulty, good)):
        pass
    assert good.called == ["register_node", "unregister_node", "close"]


async def test_a_backend_that_fails_in_register_is_asked_to_unregister() -> None:
    called = []

    class Backend:
        async def register(self, node: str, port: int) -> None:
            called.append("register")
            raise ConnectionError("the registry is away")

        async def unregister(self, node: str) -> None:
            called.append("unregister")

        async def lookup(self, node: str, host: str) -> Any: ...

    with pytest.raises(DiscoveryError, match="register raised ConnectionError: the registry is away"):
        await node(BackendDiscovery(Backend())).start()  # type: ignore[arg-type]
    assert called == ["register", "unregister"]


class TestWithEpmd:
    async def test_a_taken_name_stays_with_its_node(self) -> None:
        with private_epmd():
            shared = EpmdDiscovery()
            async with node(shared):
                with pytest.raises(NodeNameTaken):
                    await node(shared).start()
                assert [each.name for each in await shared.names("127.0.0.1")] == ["py"]
            assert await shared.names("127.0.0.1") == []

    async def test_who_stops_does_not_take_out_others(self) -> None:
        """One object serves several nodes: it is closed with the last of them."""
        with private_epmd():
            shared = EpmdDiscovery()
            options: dict[str, Any] = {"cookie": "c", "carrier": "tcp", "discovery": shared}
            async with Node("one@127.0.0.1", **options):
                async with Node("two@127.0.0.1", **options):
                    names = {each.name for each in await shared.names("127.0.0.1")}
                    assert names == {"one", "two"}
                assert [each.name for each in await shared.names("127.0.0.1")] == ["one"]
            async with Node("three@127.0.0.1", **options):
                assert [each.name for each in await shared.names("127.0.0.1")] == ["three"]
