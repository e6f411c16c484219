"""A signal that the other node must answer.

Two cases need it, both seen up to quic_dist 1.8.1:

* A live but idle quic_dist sends neither messages nor ticks. It counts acknowledgements of its QUIC
connection
  as data written, so it does not tick, and it does not answer ticks either: the counter for that starts below
  zero. After ``net_kernel:disconnect/1`` its QUIC connection stays, without an owner, and still acknowledges.
  The peer cannot distinguish the two.
* Data that its send queue (16 MiB) did not take is held back until the VM sends something more on this
  connection. Without that, the end of a burst never arrives.

The probe monitors a process name that is not registered. The answer, ``noproc``, comes from the VM itself,
leaves no state behind, and flushes the data held back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from quicdist.protocol import ControlMessage, LocalIdentity, MonitorP, MonitorPExit, PayloadMonitorPExit
from quicdist.term import Atom, Pid, Reference

Message = tuple[Any, Any]

#: A name under which no process is registered.
UNREGISTERED = Atom("quicdist_nobody")

#: The reason in an answer.
NOPROC = Atom("noproc")

#: Probes and answers are of these types, and so are signals of the node.
PROBE_TYPES: Final = frozenset((MonitorP, MonitorPExit, PayloadMonitorPExit))


def _ignore(control: ControlMessage, payload: Any) -> None:
    """Sends nothing."""


class LivenessProbe:
    """The probes of one link, and the answers to those of the peer, sent by ``send(control, payload)``."""

    __slots__ = ("_reference", "_send", "signal")

    def __init__(self, local: LocalIdentity, send: Callable[[ControlMessage, Any], object]) -> None:
        words = (secrets.randbits(18), secrets.randbits(32), secrets.randbits(32))
        # The same for each probe: no other monitor has this reference.
        node, creation = local.of_own_identifiers
        self._reference = Reference(node, words, creation)
        self._send = send
        #: The probe.
        self.signal = MonitorP(Pid(node, 0, 0, creation), UNREGISTERED, self._reference)

    @property
    def mark(self) -> bytes:
        """Bytes that an answer to a probe contains in external form: the words of its reference."""
        return b"".join(word.to_bytes(4, "big") for word in self._reference.ids)

    def take_own(self, messages: list[Message]) -> list[Message]:
        """Answer the probes among ``messages``, and drop the answers. Returns the messages for the node."""
        return [message for message in messages if not self._is_own(message[0])]

    def stop(self) -> None:
        """The link has ended: nothing is answered."""
        self._send = _ignore

    def _is_own(self, control: ControlMessage) -> bool:
        if isinstance(control, MonitorP) and control.to_proc == UNREGISTERED:
            self._send(PayloadMonitorPExit(UNREGISTERED, control.from_pid, control.ref), NOPROC)
            return True
        return isinstance(control, MonitorPExit | PayloadMonitorPExit) and control.ref == self._reference
