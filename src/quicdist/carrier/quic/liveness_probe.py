"""A signal that the other node must answer.

Two things make it needed, both seen up to quic_dist 1.8.1:

* A live but idle quic_dist sends neither messages nor ticks. It takes the acknowledgements of its
  QUIC connection for something written, so it does not tick, and it does not answer ticks either:
  the clock it waits on for that begins below zero. After ``net_kernel:disconnect/1`` its QUIC
  connection stays, owned by nobody, and goes on acknowledging. From outside the two look alike.
* What its send queue (16 MiB) did not take it keeps back until the VM has something more to send on
  this connection. The end of a burst then never comes.

So a process nobody has registered is monitored: the answer, ``noproc``, comes from the VM itself,
leaves nothing behind, and takes along what was kept back.
"""

from __future__ import annotations

import secrets
from typing import Any

from quicdist.protocol import LocalIdentity, MonitorP, MonitorPExit, PayloadMonitorPExit
from quicdist.term import Atom, Pid, Reference

Message = tuple[Any, Any]

#: A name no process is registered under.
UNREGISTERED = Atom("quicdist_nobody")

#: What goes with an answer.
NOPROC = Atom("noproc")

_KINDS = frozenset((MonitorP, MonitorPExit, PayloadMonitorPExit))


class LivenessProbe:
    """The nudges of one link, and the answers to those of the peer."""

    __slots__ = ("_reference", "signal")

    def __init__(self, local: LocalIdentity) -> None:
        words = (secrets.randbits(18), secrets.randbits(32), secrets.randbits(32))
        # The same each time: there is no monitor that a second one could be mistaken for.
        self._reference = Reference(local.name, words, local.creation)
        #: What is to be sent.
        self.signal = MonitorP(Pid(local.name, 0, 0, local.creation), UNREGISTERED, self._reference)

    def concerns(self, messages: list[Message]) -> bool:
        """Whether there may be a nudge or an answer among ``messages``; quick."""
        return any(type(control) in _KINDS for control, _ in messages)

    def sort_out(self, messages: list[Message]) -> tuple[list[Message], list[PayloadMonitorPExit]]:
        """The messages that are for the node, and the answers due to nudges among the others."""
        rest: list[Message] = []
        answers: list[PayloadMonitorPExit] = []
        for message in messages:
            control = message[0]
            if isinstance(control, MonitorP) and control.to_proc == UNREGISTERED:
                answers.append(PayloadMonitorPExit(UNREGISTERED, control.from_pid, control.ref))
            elif not (type(control) in _KINDS and control.ref == self._reference):
                rest.append(message)
        return rest, answers
