"""Paths to parts of a term, written as Python code: ``term[1]['a'][3]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicdist.term.atom import Atom

#: Steps shown at each end of a path that is longer than twice this.
_SHOWN = 12


def join_path(steps: Sequence[str]) -> str:
    """The path through these steps, the outermost first."""
    if len(steps) > 2 * _SHOWN:
        left_out = len(steps) - 2 * _SHOWN
        steps = [*steps[:_SHOWN], f"...{left_out} more...", *steps[-_SHOWN:]]
    return "term" + "".join(steps)


def frames_path(frames: Sequence[tuple[int, list[Any], object]], kinds: Sequence[str]) -> str:
    """The path to the element that was about to be read in the innermost frame.

    A frame is a compound term that is being decoded: the index of its kind in ``kinds``, and its parts so
    far (of a map: key, value, key, value).
    """
    left_out = max(0, len(frames) - 2 * _SHOWN)
    # Only the parts shown are formatted: there may be 200,000.
    shown = [*frames[:_SHOWN], *frames[_SHOWN + left_out :]] if left_out else frames
    steps = [_step(kinds[kind], done) for kind, done, _ in shown]
    return join_path([*steps[:_SHOWN], *("",) * left_out, *steps[_SHOWN:]])


def _step(kind: str, done: list[Any]) -> str:
    at = len(done)
    if kind == "map":
        return key_step(done[-1], at // 2) if at % 2 else f"{{key {at // 2}}}"
    if kind == "tail":
        return ".tail"
    if kind in ("fun", "record"):
        return f"{{{kind} part {at}}}"
    return f"[{at}]"


def key_step(key: Any, number: int) -> str:
    """The step to the value of ``key``, the map's key of that number, spelled out if it is short."""
    if type(key) is Atom or type(key) is bool or key is None:
        return f"[{key!r}]"
    if type(key) in (str, bytes) and len(key) <= 40:
        return f"[{key!r}]"
    if type(key) is int and key.bit_length() <= 64:
        return f"[{key}]"
    return f"{{value {number}}}"
