"""Cuts values of any size to terms of a bounded size, for reports and error texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from quicdist.term.atom import Atom
from quicdist.term.funs import Export
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.values import ImproperList

#: Values kept of a term, each number or 16 bytes of text counting as one.
BUDGET: Final = 500
#: Characters or bytes kept of one text.
TEXT: Final = 1000
#: How deep a term may be nested.
DEPTH: Final = 20

#: Marks a cut.
CUT: Final = Atom("...")

_WHOLE: Final = (bool, type(None), Atom, Pid, Port, Reference, Export)
_BYTES_A_VALUE: Final = 16
_INTEGER_BITS: Final = 4096


def shorten(value: Any, budget: int = BUDGET) -> Any:
    """``value`` as a term of a bounded size. Long lists, tuples, maps and texts are cut, and the atom
    ``'...'`` marks the cut; a value that has no Erlang term becomes its ``repr``. Raises nothing."""
    try:
        return _Shortener(budget).of(value, DEPTH)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of a class of the program, or for what another thread changes
        return f"<{type(value).__qualname__} that raised {type(error).__qualname__}>"


class _Shortener:
    def __init__(self, budget: int) -> None:
        self._left = budget

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or not depth:
            return CUT
        match value:
            case _ if isinstance(value, _WHOLE):
                return value
            case float():
                return float(value) if math.isfinite(value) else repr(float(value))
            case int():
                bits = value.bit_length()
                return int(value) if bits <= _INTEGER_BITS else f"an integer of {bits} bits"
            case str():
                return self._text(value, "...").encode(errors="backslashreplace").decode()
            case bytes() | bytearray() | memoryview():
                return self._text(bytes(value[: TEXT + 1]), b"...")
            case list():
                return self._all(value, depth)
            case tuple():
                return tuple(self._all(value, depth))
            case ImproperList(elements, tail):
                return ImproperList(self._all(elements, depth), self.of(tail, depth - 1))
            case Mapping():
                return self._mapping(value, depth)
        return self._text(_represented(value), "...")

    def _text(self, text: Any, cut: Any) -> Any:
        kept = text[:TEXT]
        self._left -= len(kept) // _BYTES_A_VALUE
        return kept if len(text) <= TEXT else kept + cut

    def _all(self, values: Iterable[Any], depth: int) -> list[Any]:
        shown = []
        for value in values:
            if self._left <= 0:
                shown.append(CUT)
                break
            shown.append(self.of(value, depth - 1))
        return shown

    def _mapping(self, values: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        shown = {}
        for key in values:
            if self._left <= 0:
                shown[CUT] = CUT
                break
            short = self.of(key, depth - 1)
            if isinstance(short, list | dict | ImproperList):
                short = self._text(_represented(short), "...")
            shown[short] = self.of(values[key], depth - 1)
        return shown


def _represented(value: Any) -> str:
    try:
        return repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<{type(value).__qualname__} whose __repr__ raised {type(error).__qualname__}>"
