"""The kinds of functions by which the fast path of the decoder reads terms, many of them compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

#: What a function for terms of one shape returns for any other: no term, and no offset.
NOT_READ = None, -1

#: Reads any term: data, offset, levels that may be entered; the term and the offset after it.
ReadAny: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]
#: Reads a term, if it has the shape: as ReadAny, and the offset is not after the end, or NOT_READ.
ReadOne: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]
#: Reads a term with its version byte, which is all of the data: the term, or NOT_READ.
ReadWhole: TypeAlias = Callable[[bytes], Any]
#: Reads up to so many terms, as long as they have the shape: data, offset, number, levels that may be
#: entered, and the list that they are added to. Returns the offset after them.
ReadMany: TypeAlias = Callable[[bytes, int, int, int, list[Any]], int]
#: The same for numbers, without levels.
ReadNumbers: TypeAlias = Callable[[bytes, int, int, list[Any]], int]
