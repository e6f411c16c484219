"""A debug function whose code is on another node."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from quicdist.errors import QuicDistError
from quicdist.otp.debug_events import Event
from quicdist.otp.debug_options import DONE, DebugOption, DebugOptions
from quicdist.otp.erpc import RemoteCall
from quicdist.term import Fun
from quicdist.term.shorten import shorten

#: Seconds that the other node has for one event.
CALL_TIME: Final = 5.0
#: Events that wait for the other node; with more the function is removed.
MAX_WAITING: Final = 1000


class RemoteInstalled(DebugOption):
    """``install`` of a fun of another node: it is called there with each event, in order. The server does not
    wait for it. It is removed when it returns ``done`` or raises, as with OTP, and when its node does not
    answer in time or cannot keep up."""

    def __init__(self, key: Any, call: RemoteCall, node: str, function: Fun, state: Any) -> None:
        super().__init__(key)
        self._call = call
        self._node = node
        self._function = function
        self._state = state
        self._events: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._removed = False

    def handle(self, options: DebugOptions, event: Event) -> bool:
        if self._removed:
            return False
        if len(self._events) >= MAX_WAITING:
            options.warn(f"the function of {self._node} cannot keep up, and is removed")
            return False
        self._events.append(event)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(options))
        return True

    async def _run(self, options: DebugOptions) -> None:
        while self._events and not self._removed:
            arguments = [self._function, [self._state, self._events.popleft(), options.name]]
            try:
                state = await self._call(self._node, "erlang", "apply", arguments, timeout=CALL_TIME)
            except QuicDistError as error:
                options.warn(f"the function of {self._node} is removed: {error}")
                self._remove(options)
                return
            if state == DONE:
                self._remove(options)
                return
            self._state = shorten(state)
        self._task = None

    def _remove(self, options: DebugOptions) -> None:
        self._removed = True
        self._task = None
        options.remove(self.key)

    def data(self, options: DebugOptions) -> Any:
        return self._state

    def close(self) -> None:
        self._removed = True
        self._events.clear()
        if self._task is not None:
            self._task.cancel()
