"""Results of the benchmark: rows, their bounds, and their text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Sense(Enum):
    """Whether a lower or a higher ratio is better."""

    LESS = "at most"  # a time against a time, a peak against a peak
    MORE = "at least"  # a rate against a rate


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of the table: what is compared, with the bound and the aim of the ratio."""

    key: str
    title: str
    peer: str
    sense: Sense = Sense.MORE
    #: The bound of the ratio; None for a row for comparison only.
    at_least: float | None = None
    aim: float | None = None
    #: For a row that is compared with a unit: what the figures are, such as ``KiB``. The ratio is then the
    #: figure itself.
    unit: str = ""

    def figure(self, value: float | None) -> str:
        """A ratio or a figure as text."""
        return f"{times(value)} {self.unit}".strip() if value is not None else ""

    def limit(self, value: float | None) -> str:
        """A bound or an aim as text."""
        return f"{bound(self.sense, value)} {self.unit}".strip() if value is not None else ""


@dataclass(slots=True)
class Result:
    """A measured row: both sides as text with unit, and their ratio; or why it was not measured."""

    goal: Goal
    ours: str = ""
    theirs: str = ""
    ratio: float | None = None
    #: The lowest and highest ratio of the rounds.
    spread: tuple[float, float] | None = None
    skipped: str = ""
    failed: str = ""
    #: A condition other than the ratio that does not hold.
    broken: str = ""
    #: Cores that other programs used meanwhile; None if not known.
    others: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool | None:
        """Whether the ratio is within its bound; None if there is none, or no measurement."""
        if self.failed:
            return False
        if self.goal.at_least is None or self.ratio is None:
            return None
        return not self.broken and reaches(self.goal.sense, self.ratio, self.goal.at_least)

    @property
    def reaches_aim(self) -> bool:
        aim = self.goal.aim
        return self.ratio is not None and aim is not None and reaches(self.goal.sense, self.ratio, aim)

    @property
    def verdict(self) -> str:
        if self.skipped:
            return "not measured"
        if self.failed:
            return "failed"
        if self.holds is None:
            return ""
        if not self.holds:
            return f"no: {self.broken}" if self.broken else "no"
        return "yes, and the aim" if self.reaches_aim else "yes"


def reaches(sense: Sense, ratio: float, bound: float) -> bool:
    return ratio <= bound if sense is Sense.LESS else ratio >= bound


def times(ratio: float | None) -> str:
    """A ratio as text."""
    if ratio is None:
        return ""
    if ratio >= 100:
        return f"{ratio:.0f}"
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def bound(sense: Sense, value: float | None) -> str:
    if value is None:
        return ""
    return f"{'≤' if sense is Sense.LESS else '≥'} {value:g}"


# -- units -------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def rate(seconds: float) -> str:
    """Messages a second, from the seconds of one message."""
    a_second = 1 / seconds
    return f"{a_second / 1000:.1f} k/s" if a_second >= 1000 else f"{a_second:.0f}/s"


def megabytes(seconds: float) -> str:
    """MiB a second, from the seconds of one MiB."""
    return f"{1 / seconds:.1f} MiB/s"


# -- rounds ------------------------------------------------------------------------------------


def summary(
    goal: Goal, unit: Callable[[float], str], ours: Sequence[float], theirs: Sequence[float]
) -> Result:
    """The medians of both sides' seconds, of their ratio, and its lowest and highest."""
    pairs = zip(ours, theirs, strict=True)
    ratios = [one / other if goal.sense is Sense.LESS else other / one for one, other in pairs]
    return Result(
        goal,
        unit(statistics.median(ours)),
        unit(statistics.median(theirs)),
        statistics.median(ratios),
        (min(ratios), max(ratios)),
    )


def figures(goal: Goal, values: Sequence[float], theirs: str = "") -> Result:
    """The median of a row that is compared with a unit, and its lowest and highest."""
    median = statistics.median(values)
    return Result(goal, goal.figure(median), theirs, median, (min(values), max(values)))
