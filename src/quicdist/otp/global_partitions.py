"""Which lost connections a node has heard of, for ``prevent_overlapping_partitions``.

OTP: ``global(3)``, *Prevention of Overlapping Partitions*. A node that loses a connection tells all other
nodes, and each of them ends its own connection to one of the two, so that a cluster that loses a connection
becomes two clusters, each fully connected. Each loss has a number of the node that lost the connection, so
that everybody acts once.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from random import Random

#: Seconds for which a loss is remembered.
REMEMBERED = 3600.0
#: Losses that are remembered; OTP has no limit.
MAX_REMEMBERED = 10_000


class LostConnections:
    """The losses that a node has heard of. Times are those of a monotonic clock, in seconds."""

    def __init__(self, creation: int, random: Random) -> None:
        #: This node's creation, with random bits above it (``creation_extension``).
        extension = random.randrange((1 << 60) - 1) & ~((1 << 32) - 1)
        self.creation = extension + creation - (1 << 59)
        self._numbers = itertools.count(1)
        #: By both nodes: the creation and the number of the last loss, and when it is forgotten.
        self._heard: OrderedDict[tuple[str, str], tuple[int, int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heard)

    def next_number(self) -> int:
        """The number of a loss of this node."""
        return next(self._numbers)

    def is_new(self, pair: tuple[str, str], creation: int, number: int, now: float) -> bool:
        """Whether a loss was not heard of before; then it is remembered."""
        while self._heard and next(iter(self._heard.values()))[2] <= now:
            self._heard.popitem(last=False)
        known = self._heard.get(pair)
        if known is not None and known[0] == creation and number <= known[1]:
            return False
        self._heard.pop(pair, None)
        if len(self._heard) >= MAX_REMEMBERED:
            self._heard.popitem(last=False)
        self._heard[pair] = creation, number, now + REMEMBERED
        return True
