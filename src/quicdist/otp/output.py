"""Output of this node's code to group leaders and other I/O devices, without waiting for them.

``io:format`` on a BEAM sends a request of the I/O protocol to the group leader and waits for the answer. Code
in an event loop cannot wait, so its text is queued here: at most :data:`WINDOW` requests to a device are
unanswered, what is written meanwhile is joined in the next request. The queues are bounded; a device that
does not answer costs what does not fit, and stops nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
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
MAX_DEVICES: Final = 100
#: Requests to one device that are not answered yet.
WINDOW: Final = 16
#: Calls whose results are sent in one iteration of the event loop.
_AT_ONCE: Final = 50
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
        #: The unanswered requests with what they cost, oldest first, and the monitor of the device.
        self._unanswered: dict[Reference, tuple[Any, int]] = {}
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
        return not self._unanswered and not self._items

    def write(self, text: str) -> None:
        """Queue ``text``; from any thread."""
        if text:
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
        """Go on with what waits: not all at once, where a device keeps many waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiters, self._waiters = self._waiters, []
        self._outputs.go_on(waiters)

    # -- in the event loop -------------------------------------------------------------------------

    def send(self) -> None:
        """Send what may be sent now."""
        while True:
            with self._lock:
                self._woken = False
                request = self._next() if len(self._unanswered) < WINDOW else None
            if request is None:
                break
            self._outputs.request(self, *request)
        if self.idle:
            self._end()

    def _next(self) -> tuple[Any, int] | None:
        """The next request and what it costs: texts joined up to a bounded size. None if there is none."""
        texts: list[str] = []
        size = costs = 0
        while self._items:
            item, cost = self._items[0]
            if not isinstance(item, str):
                if texts:
                    break
                self._items.popleft()
                return item, cost
            if texts and size + len(item) > _PIECE:
                break
            self._items.popleft()
            costs += cost
            texts.append(item)
            size += len(item)
        return ((PUT_CHARS, UNICODE, _encodable("".join(texts))), costs) if texts else None

    def _took(self, cost: int) -> None:
        with self._lock:
            self._waiting -= cost
        self._outputs.took(cost)

    def sent(self, request: Any, cost: int, reference: Reference, monitor: Reference | None) -> None:
        self._unanswered[reference] = request, cost
        self._monitor = monitor or self._monitor

    @property
    def is_monitored(self) -> bool:
        return self._monitor is not None

    def answered(self, reference: Reference, answer: Any) -> None:
        """The device has answered a request."""
        request = self._unanswered.pop(reference, None)
        if request is None:
            return
        self._took(request[1])
        self._slow = False
        if answer != _OK:
            log.debug("%s answered %s to a text", self.device, shown(answer))
        self.send()

    def ended(self, request: Any = None, cost: int = 0) -> None:
        """The device has ended, or its node is gone: what is not known to be written goes to this node's
        group leader, and so does ``request``, which was not sent."""
        self._monitor = None
        left, self._unanswered = self._unanswered, {}
        self._outputs.forget(left)
        items = [*left.values(), *([(request, cost)] if request is not None else [])]
        with self._lock:
            items += self._items
            self._items.clear()
        self._took(sum(its_cost for _, its_cost in items))
        here = self._outputs.here(self.device)
        if here is not None:
            texts = [item if isinstance(item, str) else item[2] for item, _ in items]
            here.write("".join(text for text in texts if isinstance(text, str)))
        self._end()

    def restarted(self) -> None:
        """The process that sends the requests is another one: answers will not come."""
        left, self._unanswered = self._unanswered, {}
        for _, cost in left.values():
            self._took(cost)
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
        self._going_on: deque[Callable[[], object]] = deque()

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

    async def settle(self, device: Any) -> None:
        """Wait until what was written to a device is there, for a bounded time: what asks it for input does
        so after that."""
        output = self._by_device.get(device) if isinstance(device, Pid) else None
        if output is not None:
            await output.written()

    # -- for its outputs ---------------------------------------------------------------------------

    def admit(self, waiting: int, cost: int) -> bool:
        """Whether so much may wait in addition; it is counted then."""
        with self._lock:
            if waiting and (waiting + cost > MAX_WAITING or self._waiting + cost > MAX_WAITING_ALL):
                return False
            self._waiting += cost
            return True

    def go_on(self, callbacks: Iterable[Callable[[], object]]) -> None:
        """Call functions in order, a bounded number in each iteration of the event loop."""
        begins = not self._going_on
        self._going_on.extend(callbacks)
        if begins:
            self._some_go_on()

    def _some_go_on(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._going_on))):
            self._going_on.popleft()()
        if self._going_on:
            self._loop.call_soon(self._some_go_on)

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

    def request(self, output: Output, request: Any, cost: int) -> None:
        runtime, source = self._runtime, self._process.pid
        if not self._is_reachable(output.device):
            output.ended(request, cost)
            return
        reference = runtime.identifiers.reference()
        self._unanswered[reference] = output
        monitor = None if output.is_monitored else runtime.identifiers.reference()
        output.sent(request, cost, reference, monitor)
        self._by_device.setdefault(output.device, output)
        if monitor is not None:
            runtime.monitors.monitor(None, source, output.device, lambda _: output.ended(), reference=monitor)
        runtime.send(source, output.device, (IO_REQUEST, source, reference, request))

    def forget(self, references: Iterable[Reference]) -> None:
        """The answers to requests will not come."""
        for reference in references:
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
