"""Output of this node's code to group leaders and other I/O devices, without waiting for them.

``io:format`` on a BEAM sends a request of the I/O protocol to the group leader and waits for the answer. Code
in an event loop cannot wait, so its text is queued here: at most one request to a device is unanswered, what
is written meanwhile is joined in the next request. The queues are bounded; a device that does not answer
costs what does not fit, and stops nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from quicdist.logs import RateLimit, get_logger
from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.io_server import IO_REPLY, IO_REQUEST, PUT_CHARS, UNICODE
from quicdist.otp.kernel_supervisor import spawn_kernel_process
from quicdist.term import Atom, Pid, Reference, charlist

log = get_logger("quicdist.otp")

#: Characters that wait for one device, and for all devices together. What exceeds them is lost and logged.
MAX_WAITING: Final = 4 * 1024 * 1024
MAX_WAITING_ALL: Final = 32 * 1024 * 1024
#: Devices with text that waits. Text for further ones goes to this node's group leader.
MAX_DEVICES: Final = 250
#: Characters of one request.
_PIECE: Final = 64 * 1024
#: What each item in a queue costs in addition, in characters.
_ITEM_COST: Final = 100
#: Seconds that :meth:`Output.written` waits for a device.
FLUSH_TIME: Final = 2.0

_OK = Atom("ok")
_IO_LIB, _FORMAT = Atom("io_lib"), Atom("format")


class Output:
    """What is to be written to one device, in order. Of the node's event loop, except :meth:`write`."""

    __slots__ = (
        "_items",
        "_lock",
        "_monitor",
        "_outputs",
        "_reference",
        "_slow",
        "_timer",
        "_unanswered",
        "_waiters",
        "_waiting",
        "_woken",
        "device",
    )

    def __init__(self, outputs: Outputs, device: Pid) -> None:
        self._outputs = outputs
        self.device = device
        self._lock = threading.Lock()
        #: Texts, and other requests with what they cost.
        self._items: deque[tuple[Any, int]] = deque()
        self._waiting = 0
        #: A thread has asked the event loop to send.
        self._woken = False
        #: The unanswered request, and the monitor of the device.
        self._reference: Reference | None = None
        self._unanswered: Any = None
        self._monitor: Reference | None = None
        #: The device has not answered within :data:`FLUSH_TIME`: nobody waits for it until it does.
        self._slow = False
        self._waiters: list[Callable[[], object]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Characters that wait, with what each text costs in addition."""
        return self._waiting

    @property
    def idle(self) -> bool:
        """Whether everything is written."""
        return self._reference is None and not self._items

    def write(self, text: str) -> None:
        """Queue ``text``; from any thread."""
        self._put(text, len(text) + _ITEM_COST)

    def format(self, form: str, *arguments: Any) -> None:
        """Queue ``io:format(Device, form, arguments)``, which the node of the device formats. The arguments
        are terms of a bounded size."""
        self._put((PUT_CHARS, UNICODE, _IO_LIB, _FORMAT, [charlist(form), list(arguments)]), _PIECE // 8)

    def _put(self, item: Any, cost: int) -> None:
        with self._lock:
            admitted = self._outputs.admit(self._waiting, cost)
            wakes = admitted and not self._woken
            if admitted:
                self._waiting += cost
                self._items.append((item, cost))
                self._woken = True
        if wakes:
            self._outputs.wake(self)
        elif not admitted:
            self._outputs.lost(self.device)

    async def written(self) -> None:
        """Wait for :meth:`when_written`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_written(lambda: None if done.done() else done.set_result(None))
        await done

    def when_written(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when what was queued before is written, or the device has ended, after
        :data:`FLUSH_TIME` at the latest; at once for a device that has not answered before."""
        self.send()
        if self.idle or self._slow:
            callback()
            return
        self._waiters.append(callback)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_TIME, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        self._slow = True
        self._call_waiters()

    def _call_waiters(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiters, self._waiters = self._waiters, []
        for callback in waiters:
            callback()

    # -- in the event loop -------------------------------------------------------------------------

    def send(self) -> None:
        """Send the next request, unless one is unanswered."""
        with self._lock:
            self._woken = False
            if self._reference is not None:
                return
            request = self._next()
        if request is None:
            self._end()
        else:
            self._outputs.request(self, request)

    def _next(self) -> Any:
        """The next request: texts joined up to a bounded size. None if there is none."""
        texts: list[str] = []
        size = 0
        while self._items:
            item, cost = self._items[0]
            if not isinstance(item, str):
                if texts:
                    break
                self._items.popleft()
                self._took(cost)
                return item
            if texts and size + len(item) > _PIECE:
                break
            self._items.popleft()
            self._took(cost)
            texts.append(item)
            size += len(item)
        return (PUT_CHARS, UNICODE, _encodable("".join(texts))) if texts else None

    def _took(self, cost: int) -> None:
        self._waiting -= cost
        self._outputs.took(cost)

    def sent(self, request: Any, reference: Reference, monitor: Reference | None) -> None:
        self._unanswered, self._reference = request, reference
        self._monitor = monitor or self._monitor

    @property
    def is_monitored(self) -> bool:
        return self._monitor is not None

    def answered(self, reference: Reference, answer: Any) -> None:
        """The device has answered a request."""
        if reference != self._reference:
            return
        self._reference = self._unanswered = None
        self._slow = False
        if answer != _OK:
            log.debug("%s answered %s to a text", self.device, shown(answer))
        self.send()

    def refused(self, request: Any) -> None:
        """The node of the device is not connected."""
        self._unanswered = request
        self.ended()

    def ended(self) -> None:
        """The device has ended, or its node is gone: what is not known to be written goes to this node's
        group leader."""
        request, self._unanswered = self._unanswered, None
        self._outputs.forget(self._reference)
        self._monitor = self._reference = None
        here = self._outputs.here(self.device)
        with self._lock:
            items, self._items = self._items, deque()
            for _, cost in items:
                self._took(cost)
        if here is not None:
            if request is not None and isinstance(request[2], str):
                here.write(request[2])
            for item, _ in items:
                if isinstance(item, str):
                    here.write(item)
        self._end()

    def restarted(self) -> None:
        """The process that sends the requests is another one: the answer will not come."""
        self._reference = None
        self.send()

    def _end(self) -> None:
        self._call_waiters()
        monitor, self._monitor = self._monitor, None
        self._outputs.finished(self, monitor)


class Outputs:
    """The outputs of a node, by device, while they have text to write."""

    def __init__(self, runtime: Runtime, is_connected: Callable[[str], bool]) -> None:
        self._runtime = runtime
        self._is_connected = is_connected
        self._by_device: dict[Pid, Output] = {}
        self._unanswered: dict[Reference, Output] = {}
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._lock = threading.Lock()
        self._process: Process
        self._losses = RateLimit()

    def start(self) -> Process:
        """Start the process that sends the requests, also in place of one that has ended."""
        self._process = spawn_kernel_process(self._runtime, self._received)
        self._unanswered.clear()
        for output in list(self._by_device.values()):
            output.restarted()
        return self._process

    def of(self, device: Pid | None) -> Output:
        """The output to a device, None: this node's group leader. Text for a device of a node that is not
        connected, or beyond :data:`MAX_DEVICES`, goes to this node's group leader."""
        here = self._runtime.group_leader
        if device is None:
            device = here or self._process.pid
        output = self._by_device.get(device)
        if output is not None:
            return output
        full = len(self._by_device) >= MAX_DEVICES
        if here is not None and device != here and (full or not self._is_reachable(device)):
            return self.of(here)
        output = self._by_device[device] = Output(self, device)
        return output

    def _is_reachable(self, device: Pid) -> bool:
        return device.node.name == self._runtime.name or self._is_connected(device.node.name)

    def here(self, device: Pid) -> Output | None:
        """The output to this node's group leader, None if that is ``device`` itself."""
        here = self._runtime.group_leader
        return None if here is None or here == device else self.of(here)

    # -- for its outputs ---------------------------------------------------------------------------

    def admit(self, waiting: int, cost: int) -> bool:
        """Whether so much may wait in addition; it is counted then."""
        with self._lock:
            if waiting and (waiting + cost > MAX_WAITING or self._waiting + cost > MAX_WAITING_ALL):
                return False
            self._waiting += cost
            return True

    def lost(self, device: Pid) -> None:
        with self._lock:
            note = self._losses.admit(device)
        if note is not None:
            log.warning("a text for %s is lost: too many wait for it%s", device, note)

    def took(self, cost: int) -> None:
        with self._lock:
            self._waiting -= cost

    def wake(self, output: Output) -> None:
        """Have ``output`` send, from any thread."""
        try:
            if asyncio.get_running_loop() is self._loop:
                output.send()
                return
        except RuntimeError:
            pass  # another thread
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(output.send)

    def request(self, output: Output, request: Any) -> None:
        runtime, source = self._runtime, self._process.pid
        if not self._is_reachable(output.device):
            output.refused(request)
            return
        reference = runtime.identifiers.reference()
        self._unanswered[reference] = output
        monitor = None
        if not output.is_monitored:
            monitor = runtime.identifiers.reference()
        output.sent(request, reference, monitor)
        self._by_device.setdefault(output.device, output)
        if monitor is not None:
            runtime.monitors.monitor(None, source, output.device, lambda _: output.ended(), reference=monitor)
        runtime.send(source, output.device, (IO_REQUEST, source, reference, request))

    def forget(self, reference: Reference | None) -> None:
        """The answer to a request will not come."""
        if reference is not None:
            self._unanswered.pop(reference, None)

    def finished(self, output: Output, monitor: Reference | None) -> None:
        if monitor is not None:
            self._runtime.monitors.demonitor(monitor, self._process.pid)
        if self._by_device.get(output.device) is output and output.idle:
            del self._by_device[output.device]

    def _received(self, _: Process, message: Any) -> None:
        """``{io_reply, Reference, Answer}``."""
        match message:
            case (tag, Reference() as reference, answer) if tag == IO_REPLY:
                output = self._unanswered.pop(reference, None)
                if output is not None:
                    output.answered(reference, answer)


def _encodable(text: str) -> str:
    """``text`` with surrogates escaped, which have no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text
