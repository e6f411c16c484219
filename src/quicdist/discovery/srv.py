"""Orders SRV records by priority and weight (RFC 2782)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Service(NamedTuple):
    """One SRV record. ``target`` is a host name without the dot at its end."""

    priority: int
    weight: int
    port: int
    target: str


class Chance(Protocol):
    """A source of random numbers, such as :class:`random.Random`."""

    def randint(self, a: int, b: int, /) -> int: ...


def in_order(services: Iterable[Service], chance: Chance | None = None) -> list[Service]:
    """The lowest priority first; within one, drawn by lot, each as likely as its weight.

    Section *Usage rules* of RFC 2782, literally: those of weight 0 come first, a number is drawn up to the
    sum of the weights, and the first whose running sum reaches it is next.
    """
    draw = chance or random.SystemRandom()
    ordered: list[Service] = []
    for _, group in itertools.groupby(sorted(services), key=lambda service: service.priority):
        left = sorted(group, key=lambda service: service.weight)
        while left:
            number = draw.randint(0, sum(service.weight for service in left))
            sums = itertools.accumulate(service.weight for service in left)
            ordered.append(left.pop(next(index for index, total in enumerate(sums) if total >= number)))
    return ordered
