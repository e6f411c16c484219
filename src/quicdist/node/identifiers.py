"""Allocates the pids and references of a node."""

from __future__ import annotations

import secrets

from quicdist.term import Atom, Pid, Reference

_WORD = 0xFFFF_FFFF
#: Bits of ``id`` before ``serial`` is counted up, as in OTP 22: some peers allow no more.
_ID_BITS = 15
#: A reference's first word holds 18 bits (erl_ext_dist, NEWER_REFERENCE_EXT, before OTP 24).
_FIRST_WORD = 0x3_FFFF


class Identifiers:
    """Allocates the identifiers of one incarnation of a node, each once."""

    def __init__(self, node: str, creation: int) -> None:
        self.node = Atom(node)
        self.creation = creation
        self._next_pid = 1
        # References start at a random number: an incarnation that got the same creation by chance must not
        # use the references of earlier requests again.
        self._next_reference = secrets.randbits(48)

    def pid(self) -> Pid:
        """A pid no process of this node has had."""
        number = self._next_pid
        self._next_pid = number + 1
        return Pid(self.node, number & ((1 << _ID_BITS) - 1), (number >> _ID_BITS) & _WORD, self.creation)

    @property
    def pids_made(self) -> int:
        """How many pids there have been."""
        return self._next_pid - 1

    def reference(self) -> Reference:
        """A reference unlike all others of this node (``make_ref/0``)."""
        number = self._next_reference = self._next_reference + 1
        words = (number & _FIRST_WORD, (number >> 18) & _WORD, (number >> 50) & _WORD)
        return Reference(self.node, words, self.creation)
