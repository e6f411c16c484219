"""The time between attempts: exponential, bounded, with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: Doublings after which the time does not grow any more, whatever the maximum is.
_MAX_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class Backoff:
    """The time between attempts to reach a node, in seconds.

    It is ``initial`` after the first failure, doubles with each further one, and is ``maximum`` at most. The
    time waited is drawn between half of that and all of it, so that the nodes of a cluster do not all dial a
    restarted one at the same moment. A connection that lasted for ``maximum`` seconds resets the count.

    Raises :class:`ValueError` unless ``0 < initial <= maximum``.
    """

    initial: float = 1.0
    maximum: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.maximum:
            raise ValueError(
                f"Backoff(initial={self.initial!r}, maximum={self.maximum!r}): "
                "expected seconds with 0 < initial <= maximum"
            )

    def delay(self, failures: int, chance: random.Random | random.SystemRandom) -> float:
        """Seconds to wait after that many failures in a row, at least one."""
        full = min(self.maximum, self.initial * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
        return full * chance.uniform(0.5, 1.0)
