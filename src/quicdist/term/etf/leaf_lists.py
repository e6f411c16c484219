"""Writes elements of a list that are all of one type without parts, in few steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import isfinite
from operator import attrgetter
from struct import pack
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.etf.encoder import BINARIES

#: Appends the external forms of all elements, False if it cannot; then it has appended nothing.
WriteAll = Callable[[list[Any], list[bytes]], bool]

_form = attrgetter("_etf")


def formed(values: list[Any], parts: list[bytes]) -> bool:
    """Values that keep their external form."""
    parts.extend(map(_form, values))
    return True


def floats(values: list[float], parts: list[bytes]) -> bool:
    # A sum that is finite has finite terms only.
    if not isfinite(sum(values)) and not all(map(isfinite, values)):
        return False
    size = len(values)
    packed = pack(f">{size}d", *values)
    tagged = bytearray(b"F") * (9 * size)
    for at in range(8):
        tagged[at + 1 :: 9] = packed[at::8]
    parts.append(bytes(tagged))
    return True


def binaries(values: list[bytes], parts: list[bytes]) -> bool:
    """Binaries of less than 256 bytes."""
    try:
        heads = [*map(BINARIES.__getitem__, map(len, values))]
    except IndexError:
        return False
    parts.extend(chain.from_iterable(zip(heads, values, strict=True)))
    return True


def texts(values: list[str], parts: list[bytes]) -> bool:
    """Strings of less than 256 bytes."""
    return max(map(len, values)) < 256 and binaries([*map(str.encode, values)], parts)


#: By type of the elements.
OF_TYPE: dict[type, WriteAll] = {Atom: formed, float: floats, bytes: binaries, str: texts}
