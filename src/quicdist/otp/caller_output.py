"""Standard output of called functions, written where the caller sees it.

On a BEAM a process inherits the group leader of the process that spawned it, so what a function prints that
``rpc`` calls on another node appears in the shell of the caller. Here ``sys.stdout`` is replaced, from the
first such call until the node stops, by a stream that writes the text of called functions to the group leader
of their call, and all other text where it went before.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from quicdist.node.code_output import code_output
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.exports import Exports
from quicdist.otp.outcome import Outcome
from quicdist.otp.output import Output, Outputs
from quicdist.otp.redirected_stdout import redirect, restore
from quicdist.term import Pid

#: Characters of a line that is not complete; what is longer is sent in parts.
_MAX_LINE: Final = 64 * 1024


class CallOutput:
    """The output of one called function, or of one spawned process."""

    __slots__ = ("_leader", "_line", "_lock", "_output", "_outputs", "_queue", "_thread", "begins", "used")

    def __init__(self, outputs: Outputs, runtime: Runtime, leader: Pid) -> None:
        self._outputs = outputs
        self._queue = runtime.signal_queue
        self._thread = threading.get_ident()
        self._leader = leader
        self._output: Output | None = None
        self._lock = threading.Lock()
        self._line = ""
        #: The function is called now, from the queue of signals.
        self.begins = False
        #: Whether anything was written.
        self.used = False

    @property
    def is_current(self) -> bool:
        """Whether the code that runs is the function's own: not that of a process to which it sends, which
        handles the message before ``send`` returns."""
        return self.begins or not self._queue.busy or threading.get_ident() != self._thread

    def write(self, text: str) -> None:
        """Write ``text``, line by line; from any thread."""
        with self._lock:
            self.used = True
            lines, end, self._line = (self._line + text).rpartition("\n")
            ready = lines + end
            if len(self._line) > _MAX_LINE:
                ready, self._line = ready + self._line, ""
            if ready:
                self._send(ready)

    def flush(self) -> None:
        """Write the line that is not complete."""
        with self._lock:
            line, self._line = self._line, ""
            if line:
                self._send(line)

    def _send(self, text: str) -> None:
        if self._output is None:
            self._output = self._outputs.of(self._leader)
        for start in range(0, len(text), _MAX_LINE):
            self._output.write(text[start : start + _MAX_LINE])

    def when_written(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the device has written the text, after a bounded time at the latest."""
        self.flush()
        if self._output is None:
            callback()
        else:
            self._output.when_written(callback)


class CallerOutput:
    """The outputs of the functions that other nodes call on this one."""

    def __init__(self, runtime: Runtime, outputs: Outputs, exports: Exports) -> None:
        self._runtime = runtime
        self._outputs = outputs
        self._exports = exports
        #: ``sys.stdout`` when it was redirected last.
        self._redirected: Any = None

    def of(self, process: Process) -> CallOutput | None:
        """The output of a call that ``process`` runs; None if it is this program's own standard output."""
        leader = process.group_leader
        if not self._exports.output_to_caller or leader is None or leader == self._runtime.group_leader:
            return None
        if sys.stdout is not self._redirected:
            self._redirected = redirect(self)
        return CallOutput(self._outputs, self._runtime, leader)

    @contextlib.contextmanager
    def entering(self, process: Process) -> Iterator[None]:
        """Start the body of a process that another node has spawned."""
        output = self.of(process)
        if output is None:
            yield
            return
        process.on_end(output.flush)
        token = code_output.set(output)
        output.begins = True
        try:
            yield
        finally:
            output.begins = False
            code_output.reset(token)

    def finish(
        self, process: Process, output: CallOutput, done: Callable[[Outcome], object], outcome: Outcome
    ) -> None:
        """Call ``done`` with the outcome of a call, when its output is written."""

        def written() -> None:
            if process.alive:
                done(outcome)

        if output.used:
            output.when_written(written)
        else:
            done(outcome)

    def close(self) -> None:
        """The node has stopped."""
        self._redirected = None
        restore(self)
