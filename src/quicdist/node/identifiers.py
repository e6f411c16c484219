"""New pids and references, as a node hands them out."""

from __future__ import annotations

import secrets

from quicdist.term import Atom, Pid, Reference

_WORD = 0xFFFF_FFFF
#: Wide enough for a node's life, and narrow enough for peers that keep to OTP 22's 15 bits of
#: ``id`` before they count ``serial`` up.
_ID_BITS = 15
#: A reference's first word holds 18 bits (erl_ext_dist, NEWER_REFERENCE_EXT, before OTP 24).
_FIRST_WORD = 0x3_FFFF


class Identifiers:
    """Allots the identifiers of one incarnation of a node; none is given out twice."""

    def __init__(self, node: str, creation: int) -> None:
        self.node = Atom(node)
        self.creation = creation
        self._next_pid = 1
        # References start at random so that those of a node that took the same creation by
        # chance do not meet requests of its former life.
        self._next_reference = secrets.randbits(48)

    def pid(self) -> Pid:
        """A pid no process of this node has had."""
        number = self._next_pid
        self._next_pid = number + 1
        return Pid(self.node, number & ((1 << _ID_BITS) - 1), (number >> _ID_BITS) & _WORD, self.creation)

    def reference(self) -> Reference:
        """A reference unlike all others of this node (``make_ref/0``)."""
        number = self._next_reference = self._next_reference + 1
        words = (number & _FIRST_WORD, (number >> 18) & _WORD, (number >> 50) & _WORD)
        return Reference(self.node, words, self.creation)
