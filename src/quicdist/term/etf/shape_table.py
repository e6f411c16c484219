"""Which shapes the fast path of the decoder knows, and when it learns one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.malformed import NeedsDecoder
from quicdist.term.etf.readers import ReadAny, ReadWhole

if TYPE_CHECKING:
    from quicdist.term.etf.shapes import Shape

R = TypeVar("R", bound=Callable[..., Any])

#: Shapes that are kept, and the parts that they have together, each of which takes up to 1 KiB.
_MAX_SHAPES = 128
_MAX_PARTS = 2048
#: Keys whose terms are counted.
_MAX_COUNTED = 1024
#: After so many shapes each further one needs twice as many terms as before: to compile one takes up to 10
#: milliseconds.
_CHEAP_SHAPES = 64
#: Terms that do not have the shape of their key before it is widened by one of them.
_MISSES = 4
#: A key whose shape was widened so many times gets none.
_MAX_WIDENED = 10


class ShapeTable(Generic[R]):
    """Functions that read terms of one shape, by key: the first bytes of a term, which say little about it.
    Threads may share a table.

    A key gets a shape when ``threshold`` terms with it have been decoded in the other way. Each time that
    some more terms do not have this shape, it is widened. ``compile_shape`` makes the function; ``most_any``
    is the part of a shape that may be any term.
    """

    def __init__(
        self,
        known: DecodeCache,
        read_any: ReadAny,
        compile_shape: Callable[[Shape, bytes], R],
        *,
        levels: int,
        threshold: int,
        most_any: float,
    ) -> None:
        #: To look up, only; False for a key whose terms have too little in common.
        self.readers: dict[bytes, R | Literal[False]] = {}
        #: Readers of whole messages, made by ``compile_shape``, by the version byte and the first three bytes
        #: of the key. They are forgotten with the others.
        self.wholes: dict[bytes, ReadWhole] = {}
        self._known = known
        self._read_any = read_any
        self._compile = compile_shape
        self._levels = levels
        self._threshold = threshold
        self._most_any = most_any
        #: By key: the shape, how often it was widened, and how many parts it has.
        self._shapes: dict[bytes, tuple[Shape, int, int]] = {}
        self._parts = 0
        self._counts: dict[bytes, int] = {}
        self._compiled = 0
        self._learning = threading.Lock()

    def missed(self, key: bytes, data: bytes, i: int, count: int = 1) -> None:
        """The well-formed term at ``i``, one of ``count``, was not read by a function from here."""
        counts = self._counts
        counted = counts.get(key, 0) + count
        counts[key] = counted
        if counted >= self._threshold:
            # If another thread learns a shape, one of the next terms with this key gives this one.
            if self._learning.acquire(blocking=False):
                try:
                    self._learn(key, data, i)
                finally:
                    self._learning.release()
        elif len(counts) > _MAX_COUNTED:
            counts.clear()

    def _learn(self, key: bytes, data: bytes, i: int) -> None:
        # Here: a program that decodes little loads none of it.
        from quicdist.term.etf.shapes import ANY, depth_of, leaves, shape_of, widened

        if len(self.readers) >= _MAX_SHAPES and key not in self.readers:
            self._forget()
        try:
            shape = shape_of(data, i, self._end_of)
        except NeedsDecoder:  # a part is too deep to be decoded alone from here
            shape = ANY
        old_parts = widenings = 0
        if key in self._shapes:
            old, widenings, old_parts = self._shapes[key]
            shape = widened(old, shape)
            if shape == old:  # there was another reason, such as an atom that was not in the cache
                self._counts[key] = -64 * self._threshold
                return
            widenings += 1
        self._compiled += 1
        if self._compiled % _CHEAP_SHAPES == 0:
            self._threshold *= 2
        parts, unknown = leaves(shape)
        if unknown > parts * self._most_any or depth_of(shape) > self._levels or widenings > _MAX_WIDENED:
            self.readers[key] = False
            self.wholes.pop(b"\x83" + key, None)
            self._shapes.pop(key, None)
            self._parts -= old_parts
            return
        if self._parts - old_parts + parts > _MAX_PARTS:
            self._forget()
            old_parts = 0
        self._parts += parts - old_parts
        self._shapes[key] = shape, widenings, parts
        self.readers[key] = self._compile(shape, key)
        self._counts[key] = self._threshold - _MISSES

    def _forget(self) -> None:
        self.readers.clear()
        self.wholes.clear()
        self._shapes.clear()
        self._counts.clear()
        self._parts = 0

    def _end_of(self, data: bytes, i: int) -> int:
        return self._read_any(data, i, 0)[1]


def message_key(data: bytes, i: int) -> bytes:
    """The first bytes of a tuple or map: to the end of its first part if that is an atom, such as the name of
    a request; else to the tag of that part."""
    at = i + 2 if data[i] == 104 else i + 5
    tag = data[at]
    if tag == 119:
        return data[i : at + 2 + data[at + 1]]
    if tag == 100:
        return data[i : at + 3 + data[at + 2]]
    return data[i : at + 1]


def element_key(data: bytes, i: int) -> bytes:
    """The first tags of an element of a list, and sizes of what has parts, without values."""
    tag = data[i]
    if tag == 104:
        at = i + 2
        first = data[at]
        if first == 119:
            at += 2 + data[at + 1]
        elif first == 100:
            at += 3 + data[at + 2]
        return data[i : i + 3] + data[at : at + 1]
    if tag == 116:
        return message_key(data, i)
    if tag == 108:
        return data[i : i + 6]
    if tag == 90 or tag == 114:
        return data[i : i + 4]
    return data[i : i + 1]
