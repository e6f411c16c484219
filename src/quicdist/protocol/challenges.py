"""The challenges of one node that have not been answered yet, in handshakes of either role.

The digest of a challenge does not depend on who answers it. A peer without the cookie could therefore
hand a challenge of this node back to it, on a connection that this node dials, and use the answer on the
one that the challenge came from. So an outstanding challenge is never answered. A stock BEAM answers it.
"""

from __future__ import annotations

import secrets
import weakref
from typing import Protocol


class Challenger(Protocol):
    """A handshake whose challenge is outstanding."""

    def challenge_reflected(self) -> None:
        """The challenge came back on another connection: no answer to it counts any more."""


class Challenges:
    """Draws the challenges of one node, and knows those that are outstanding.

    A challenge is outstanding until its handshake ends or is freed.
    """

    def __init__(self) -> None:
        self._outstanding: weakref.WeakValueDictionary[int, Challenger] = weakref.WeakValueDictionary()

    def draw(self, owner: Challenger) -> int:
        """A random challenge of 32 bits that is not outstanding yet, for ``owner``."""
        while True:
            challenge = secrets.randbits(32)
            if challenge not in self._outstanding:
                self._outstanding[challenge] = owner
                return challenge

    def give_up(self, challenge: int, owner: Challenger) -> None:
        """The handshake of ``owner`` is over."""
        if self._outstanding.get(challenge) is owner:
            del self._outstanding[challenge]

    def is_reflected(self, challenge: int) -> bool:
        """Whether a peer's challenge is one of this node's own. The handshake that it was taken from can
        no longer succeed."""
        owner = self._outstanding.get(challenge)
        if owner is None:
            return False
        owner.challenge_reflected()
        return True
