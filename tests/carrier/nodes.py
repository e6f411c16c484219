"""What a carrier needs above and around it, in tests: a node that records what it is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from quicdist.carrier import Link
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    DEFAULT_FLAGS,
    Challenges,
    ControlMessage,
    DistFlag,
    LocalIdentity,
    PeerNamed,
    Status,
)
from quicdist.term import Codec, Pid


class FakeNode:
    """A :class:`~quicdist.carrier.LocalNode` that answers as it was told to."""

    def __init__(
        self,
        name: str,
        *,
        cookie: str = "secret",
        creation: int = 0x12345678,
        flags: DistFlag = DEFAULT_FLAGS,
        status: Status = Status.OK,
        go_on: bool = True,
    ) -> None:
        self.challenges = Challenges()
        self.identity = LocalIdentity(name, creation, flags)
        self.codec = Codec()
        self.cookie = cookie
        self.status = status
        self.go_on = go_on
        self.requested: list[PeerNamed] = []
        self.names_said: list[str] = []
        self.alive_asked: list[str] = []
        self.taken_down: list[str] = []

    @property
    def name(self) -> str:
        return self.identity.name

    def pid(self, number: int = 1) -> Pid:
        return Pid(self.name, number, 0, self.identity.creation)

    def cookie_for(self, node: str) -> str:
        return self.cookie

    def connection_requested(self, peer: PeerNamed) -> Status:
        self.requested.append(peer)
        return self.status

    def connection_alive(self, node: str) -> bool:
        self.alive_asked.append(node)
        return self.go_on

    def name_said(self, node: str) -> None:
        self.names_said.append(node)

    def peer_proved(self, node: str) -> asyncio.Future[None] | None:
        return None

    def old_connection_pending(self, node: str) -> None:
        self.taken_down.append(node)


@dataclass
class Inbox:
    """What came over a started link, and how the link ended."""

    link: Link
    messages: asyncio.Queue[tuple[ControlMessage, Any]] = field(default_factory=asyncio.Queue)
    lost: asyncio.Future[QuicDistError | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @classmethod
    def of(cls, link: Link) -> Inbox:
        """Start ``link`` with a new inbox."""
        inbox = cls(link)
        link.start(inbox._on_message, inbox.lost.set_result)
        return inbox

    def _on_message(self, control: ControlMessage, payload: Any) -> None:
        self.messages.put_nowait((control, payload))

    async def get(self) -> tuple[ControlMessage, Any]:
        """The next message; fails if the link ends first, or nothing comes for half a minute."""
        getting = asyncio.ensure_future(self.messages.get())
        either: set[asyncio.Future[Any]] = {getting, self.lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        if getting.done():
            return getting.result()
        getting.cancel()
        raise AssertionError(f"no message came; the link ended: {self.lost}")

    async def end(self) -> QuicDistError | None:
        """What the link ended with."""
        async with asyncio.timeout(30):
            return await asyncio.shield(self.lost)
