"""Dials beside a dial of which nothing comes back: who decides, and what is left of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quicdist.carrier import Address, ConnectError, PeerUnreachable
from quicdist.carrier.errors import DialAgain
from quicdist.carrier.happy_eyeballs import Claim
from quicdist.carrier.quic.source_ports import (
    EXTRA_DIAL_TIME,
    MAX_EXTRA_DIALS,
    START_TIMES,
    Dialler,
    dial_from_several_ports,
)
from tests.support.virtual_time import in_virtual_time

NODE, THERE = "a@127.0.0.1", Address("192.0.2.1", 4433)
STALLED = DialAgain(NODE, THERE, "nothing came")
REFUSED = ConnectError(NODE, THERE, "refused")


class Dials:
    """What is begun, and what is not over yet."""

    def __init__(self) -> None:
        self.begun = self.open = 0
        self.places = asyncio.Semaphore(MAX_EXTRA_DIALS)

    def dialler(self, work: Callable[[Claim], Awaitable[str]]) -> Dialler[str]:
        async def dial(claim: Claim) -> str:
            self.begun += 1
            self.open += 1
            try:
                return await work(claim)
            finally:
                self.open -= 1

        return dial

    async def run(
        self,
        first: Callable[[Claim], Awaitable[str]],
        other: Callable[[Claim], Awaitable[str]],
        *,
        claim: Claim = lambda: True,
        silent: bool = True,
    ) -> str:
        before = asyncio.all_tasks()
        try:
            return await dial_from_several_ports(
                self.dialler(first),
                self.dialler(other),
                silent=lambda: silent,
                claim=claim,
                places=self.places,
            )
        finally:
            assert self.open == 0
            assert asyncio.all_tasks() == before
            assert self.places._value == MAX_EXTRA_DIALS


async def never(claim: Claim) -> str:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def stalls(claim: Claim) -> str:
    await asyncio.sleep(EXTRA_DIAL_TIME)
    raise STALLED


async def connects(claim: Claim) -> str:
    await asyncio.sleep(0.1)
    assert claim()
    await asyncio.sleep(0.1)
    return "other"


async def refuses(claim: Claim) -> str:
    raise REFUSED


@in_virtual_time
async def test_one_that_is_through_ends_all_others() -> None:
    dials = Dials()
    assert await dials.run(never, connects) == "other"
    assert dials.begun == 2


@in_virtual_time
async def test_the_first_decides_where_the_others_hear_nothing() -> None:
    dials = Dials()

    async def fails_late(claim: Claim) -> str:
        await asyncio.sleep(START_TIMES[-1] + 2)
        raise PeerUnreachable(NODE, THERE, "no way")

    with pytest.raises(PeerUnreachable):
        await dials.run(fails_late, stalls)
    assert dials.begun == 1 + len(START_TIMES)


@in_virtual_time
async def test_a_peer_that_refuses_another_speaks_for_all() -> None:
    dials = Dials()
    with pytest.raises(ConnectError) as caught:
        await dials.run(never, refuses)
    assert caught.value is REFUSED


@in_virtual_time
async def test_none_begins_where_something_has_come() -> None:
    dials = Dials()

    async def slow(claim: Claim) -> str:
        await asyncio.sleep(START_TIMES[-1] + 2)
        assert claim()
        return "first"

    assert await dials.run(slow, connects, silent=False) == "first"
    assert dials.begun == 1


@in_virtual_time
async def test_none_begins_where_all_places_are_taken() -> None:
    dials = Dials()
    for _ in range(MAX_EXTRA_DIALS):
        await dials.places.acquire()
    task = asyncio.create_task(
        dial_from_several_ports(
            dials.dialler(stalls_late),
            dials.dialler(connects),
            silent=lambda: True,
            claim=lambda: True,
            places=dials.places,
        )
    )
    with pytest.raises(DialAgain):
        await task
    assert dials.begun == 1


async def stalls_late(claim: Claim) -> str:
    await asyncio.sleep(START_TIMES[-1] + 2)
    raise STALLED


@in_virtual_time
async def test_one_that_is_called_off_leaves_nothing() -> None:
    dials = Dials()
    task = asyncio.create_task(dials.run(never, never))
    await asyncio.sleep(START_TIMES[-1] + 1)
    assert dials.open == 1 + len(START_TIMES)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert dials.open == 0
