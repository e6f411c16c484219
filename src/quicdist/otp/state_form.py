"""The form in which ``sys`` of each node sends a state.

OTP: ``sys:get_state/1``, ``sys:replace_state/2``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quicdist.errors import QuicDistError
from quicdist.node.connections import ConnectionTable
from quicdist.node.runtime import Runtime
from quicdist.otp.erpc import ErpcClient
from quicdist.term import Atom

_STDLIB, _VSN = Atom("stdlib"), Atom("vsn")
#: From stdlib 5.1 (OTP 26.1) on a state travels as ``{ok, State}``, before that bare.
_WRAPPING_STDLIB = (5, 1)
#: Seconds to wait for the version of a node.
_VERSION_TIME = 5.0
#: Nodes whose form is remembered.
_MAX_KNOWN = 1000


class StateForm:
    """The form in which ``sys`` of each node expects and sends a state. OTP has changed it: BEAMs of versions
    before and after the change cannot read each other's states."""

    def __init__(self, runtime: Runtime, connections: ConnectionTable, erpc: ErpcClient) -> None:
        self._runtime = runtime
        self._connections = connections
        self._erpc = erpc
        self._known: dict[tuple[str, int], bool] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}

    def known(self, node: str) -> bool | None:
        """Whether ``node`` uses ``{ok, State}``; None if not known yet."""
        link = self._connections.link(node)
        if node == self._runtime.name or link is None:
            return True
        return self._known.get((node, link.peer.creation))

    async def wrapped(self, node: str) -> bool:
        """The same; asks ``node`` if it is not known. True for a node that is not a BEAM."""
        known = self.known(node)
        return await asyncio.shield(self._asking_of(node)) if known is None else known

    def when_known(self, node: str, callback: Callable[[bool], None]) -> None:
        """Call ``callback`` later, when it is known whether ``node`` uses ``{ok, State}``."""
        self._asking_of(node).add_done_callback(
            lambda task: None if task.cancelled() else callback(task.result())
        )

    def _asking_of(self, node: str) -> asyncio.Task[bool]:
        task = self._asking.get(node)
        if task is None:
            task = self._asking[node] = asyncio.ensure_future(self._ask(node))
            task.add_done_callback(lambda _: self._asking.pop(node))
        return task

    async def _ask(self, node: str) -> bool:
        link = self._connections.link(node)
        wrapped = await self._wraps_states(node)
        if link is not None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[node, link.peer.creation] = wrapped
        return wrapped

    async def _wraps_states(self, node: str) -> bool:
        try:
            _, version = await self._erpc.call(
                node, "application", "get_key", [_STDLIB, _VSN], timeout=_VERSION_TIME
            )
            major, minor = bytes(version).decode("ascii").split(".")[:2]
            return (int(major), int(minor)) >= _WRAPPING_STDLIB
        except (QuicDistError, TypeError, ValueError):
            return True
