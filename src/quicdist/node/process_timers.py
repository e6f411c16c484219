"""The timers that a process starts."""

from __future__ import annotations

from typing import Any

from quicdist.node.process_lifecycle import ProcessLifecycle
from quicdist.term import Reference


class ProcessTimers(ProcessLifecycle):
    """The part of a :class:`~quicdist.node.process.Process` that starts and cancels timers.

    A timer belongs to nobody: it runs on when the process that started it ends, and each process of the
    node may cancel it. It is cancelled when the pid that it would send to ends.
    """

    __slots__ = ()

    def send_after(self, seconds: float, to: Any, message: Any) -> Reference:
        """Send ``message`` to a process of this node after so many seconds (``erlang:send_after/3``, whose
        time is in milliseconds). Returns the reference for :meth:`cancel_timer`.

        ``to`` is a pid or process of this node, or a registered name, which is looked up when the time has
        come; a message for a name that no process has then is dropped. Raises ValueError for a pid of
        another node, and for a negative time.
        """
        self.must_live()
        return self.runtime.start_timer(seconds, to, message, tagged=False)

    def start_timer(self, seconds: float, to: Any, message: Any) -> Reference:
        """As :meth:`send_after`, but the message sent is ``{timeout, Reference, Message}``
        (``erlang:start_timer/3``), so that the message of a timer that was cancelled too late can be told
        from those of others."""
        self.must_live()
        return self.runtime.start_timer(seconds, to, message, tagged=True)

    def cancel_timer(self, reference: Reference) -> float | None:
        """Cancel a timer (``erlang:cancel_timer/1``). The seconds that were left; None if there is no such
        timer, because it has expired or was cancelled: its message may be in the mailbox already."""
        return self.runtime.cancel_timer(reference)

    def read_timer(self, reference: Reference) -> float | None:
        """The seconds that are left until a timer expires (``erlang:read_timer/1``); None if there is no
        such timer."""
        return self.runtime.read_timer(reference)
