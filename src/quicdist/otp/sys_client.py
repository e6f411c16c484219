"""``sys`` toward other processes: look into a server of any node, hold it, end it.

OTP: ``sys(3)``. Works with ``gen_server``, ``gen_statem``, ``supervisor`` and all others that know
system messages.
"""

from __future__ import annotations

from typing import Any

from quicdist.node.exits import NORMAL
from quicdist.otp.gen import SYSTEM, Caller
from quicdist.term import Atom


class SysClient:
    """Sends system messages. ``timeout`` is in seconds; the errors are those of a call."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get_state(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """The state of a server (``sys:get_state/2``)."""
        return await self._ask(to, Atom("get_state"), timeout)

    async def get_status(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """``{status, Pid, {module, Module}, Items}`` (``sys:get_status/2``)."""
        return await self._ask(to, Atom("get_status"), timeout)

    async def suspend(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Let a server take system messages only (``sys:suspend/2``)."""
        await self._ask(to, Atom("suspend"), timeout)

    async def resume(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Let a suspended server go on (``sys:resume/2``)."""
        await self._ask(to, Atom("resume"), timeout)

    async def terminate(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = 5.0) -> None:
        """Tell a server to end with ``reason`` (``sys:terminate/3``)."""
        await self._ask(to, (Atom("terminate"), reason), timeout)

    async def _ask(self, to: Any, request: Any, timeout: float | None) -> Any:
        return await self._caller.call(to, request, label=SYSTEM, timeout=timeout)
