"""A peer that breaks the protocol together with the last message of its handshake."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from quicdist import Node, NotConnected
from quicdist.carrier import Carrier, TcpCarrier
from quicdist.discovery import StaticDiscovery
from quicdist.node.endpoints import Endpoint
from quicdist.protocol import FrameError

ONE, TWO = "one@127.0.0.1", "two@127.0.0.1"


class FaultyPeers(TcpCarrier):
    """Reads a frame that is none behind the handshake of each dialled peer."""

    def _link(self, connected: Any, *arguments: Any) -> Any:
        return super()._link(dataclasses.replace(connected, leftover=b"\0\0\0\x01\xff"), *arguments)


async def test_a_link_that_ends_as_it_starts_fails_the_callers_and_is_told_to_nobody() -> None:
    table = StaticDiscovery({})
    carrier: Carrier = FaultyPeers()
    async with (
        Node(TWO, cookie="lost", carrier="tcp", host="127.0.0.1", discovery=table),
        Node(ONE, cookie="lost", endpoints=[Endpoint(carrier, table, listen=False)]) as one,
    ):
        told: list[Any] = []
        one.subscribe(told.append)
        one.send(("name", TWO), 1)
        async with asyncio.timeout(30):
            with pytest.raises(NotConnected) as caught:
                await one.connect(TWO)
        assert [type(error) for error in caught.value.attempts] == [FrameError]
        assert told == []
        assert one.nodes("connected") == []
