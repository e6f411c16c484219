"""Which shapes the fast paths of decoder and encoder know, and when they learn one."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.malformed import NeedsDecoder

if TYPE_CHECKING:
    from quicdist.term.etf.shape_readers import ReadAny
    from quicdist.term.etf.shapes import Shape
    from quicdist.term.etf.value_shapes import ValueShape

R = TypeVar("R", bound=Callable[..., Any])
K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

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


class _Table(Generic[K, S, R]):
    """Functions for terms of one shape, by key, which says little about a term. Threads may share a table.

    A key gets a shape when ``threshold`` terms with it have been handled in the other way. Each time that
    some more terms do not have this shape, it is widened. ``compile_shape`` makes the function; ``most_any``
    is the part of a shape that may be any term.
    """

    def __init__(
        self, compile_shape: Callable[[S], R], *, levels: int, threshold: int, most_any: float
    ) -> None:
        #: To look up, only; False for a key whose terms have too little in common.
        self.functions: dict[K, R | Literal[False]] = {}
        self._compile = compile_shape
        self._levels = levels
        self._threshold = threshold
        self._most_any = most_any
        #: By key: the shape, how often it was widened, and how many parts it has.
        self._shapes: dict[K, tuple[S, int, int]] = {}
        self._parts = 0
        self._counts: dict[K, int] = {}
        self._compiled = 0
        self._learning = threading.Lock()

    @abstractmethod
    def _shape_of(self, term: Any, at: int) -> S:
        """The shape of a term, or of the one at an offset of bytes."""

    @abstractmethod
    def _widened(self, one: S, other: S) -> S:
        """The narrowest shape that both have."""

    @abstractmethod
    def _measured(self, shape: S) -> tuple[int, int, int]:
        """How many parts a shape has, how many of them may be any term, and how deep it is."""

    def missed(self, key: K, term: Any, at: int = 0, count: int = 1) -> None:
        """The term, one of ``count``, was not handled by a function from here."""
        counts = self._counts
        counted = counts.get(key, 0) + count
        counts[key] = counted
        if counted >= self._threshold:
            # If another thread learns a shape, one of the next terms with this key gives this one.
            if self._learning.acquire(blocking=False):
                try:
                    self._learn(key, self._shape_of(term, at))
                finally:
                    self._learning.release()
        elif len(counts) > _MAX_COUNTED:
            counts.clear()

    def _learn(self, key: K, shape: S) -> None:
        if len(self.functions) >= _MAX_SHAPES and key not in self.functions:
            self._forget()
        old_parts = widenings = 0
        if key in self._shapes:
            old, widenings, old_parts = self._shapes[key]
            shape = self._widened(old, shape)
            if shape == old:  # there was another reason, such as an atom that was not in the cache
                self._counts[key] = -64 * self._threshold
                return
            widenings += 1
        self._compiled += 1
        if self._compiled % _CHEAP_SHAPES == 0:
            self._threshold *= 2
        parts, unknown, depth = self._measured(shape)
        if unknown > parts * self._most_any or depth > self._levels or widenings > _MAX_WIDENED:
            self.functions[key] = False
            self._shapes.pop(key, None)
            self._parts -= old_parts
            return
        if self._parts - old_parts + parts > _MAX_PARTS:
            self._forget()
            old_parts = 0
        self._parts += parts - old_parts
        self._shapes[key] = shape, widenings, parts
        self.functions[key] = self._compile(shape)
        self._counts[key] = self._threshold - _MISSES

    def _forget(self) -> None:
        self.functions.clear()
        self._shapes.clear()
        self._counts.clear()
        self._parts = 0


class ShapeTable(_Table[bytes, "Shape", R]):
    """Functions that read terms, by the first bytes of a term. Only well-formed terms are passed to
    :meth:`missed`."""

    def __init__(
        self, known: DecodeCache, read_any: ReadAny, compile_shape: Callable[[Shape], R], **options: Any
    ) -> None:
        super().__init__(compile_shape, **options)
        self.readers = self.functions
        self._known = known
        self._read_any = read_any

    # The imports are here: a program that decodes little loads none of it.

    def _shape_of(self, term: bytes, at: int) -> Shape:
        from quicdist.term.etf.shapes import ANY, shape_of

        try:
            return shape_of(term, at, self._end_of)
        except NeedsDecoder:  # a part is too deep to be decoded alone from here
            return ANY

    def _widened(self, one: Shape, other: Shape) -> Shape:
        from quicdist.term.etf.shapes import widened

        return widened(one, other)

    def _measured(self, shape: Shape) -> tuple[int, int, int]:
        from quicdist.term.etf.shapes import depth_of, leaves

        return *leaves(shape), depth_of(shape)

    def _end_of(self, data: bytes, i: int) -> int:
        return self._read_any(data, i, 0)[1]


class ValueTable(_Table[tuple[Any, ...], "ValueShape", R]):
    """Functions that write terms."""

    def __init__(
        self, compile_shape: Callable[[ValueShape], R], *, none: bool, maps: bool, **options: Any
    ) -> None:
        super().__init__(compile_shape, **options)
        self._none = none
        self._maps = maps

    # The imports are here: a program that encodes little loads none of it.

    def _shape_of(self, term: Any, at: int) -> ValueShape:
        from quicdist.term.etf.value_shapes import value_shape

        return value_shape(term, none=self._none, maps=self._maps)

    def _widened(self, one: ValueShape, other: ValueShape) -> ValueShape:
        from quicdist.term.etf.value_shapes import widened

        return widened(one, other)

    def _measured(self, shape: ValueShape) -> tuple[int, int, int]:
        from quicdist.term.etf.value_shapes import depth_of, leaves

        return *leaves(shape), depth_of(shape)


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
