"""Which shapes the fast paths of decoder and encoder know, and when they learn one."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.malformed import NeedsDecoder
from quicdist.term.etf.readers import ReadAny, ReadWhole
from quicdist.term.tags import VERSION

if TYPE_CHECKING:
    from quicdist.term.etf.shapes import Shape
    from quicdist.term.etf.value_shapes import ValueShape

R = TypeVar("R", bound=Callable[..., Any])
K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

#: The version byte.
VERSIONED = bytes((VERSION,))

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
#: If there is no room, so many times the threshold of terms with a key are handled without a function before
#: the oldest one makes room for theirs: they take ten times as long as to compile it.
_REPLACES = 256
#: A key whose shape was widened so many times gets none.
_MAX_WIDENED = 10


class _Table(Generic[K, S, R]):
    """Functions for terms of one shape, by key, which says little about a term. Threads may share a table.

    A key gets a shape when ``threshold`` terms with it have been handled in the other way. Each time that
    some more terms do not have this shape, it is widened. ``compile_shape`` makes the function; ``most_any``
    is the part of a shape that may be any term.

    A program may have more kinds of terms than there is room for. To compile functions for all of them in
    turn would take longer than they save. So a function is only replaced by one for terms that are frequent.
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
        #: Keys whose shapes had too many parts for the room that was left.
        self._too_large: set[K] = set()
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
            if self._refuses(key, counted):
                if len(counts) > _MAX_COUNTED:
                    counts.clear()
                return
            # If another thread learns a shape, one of the next terms with this key gives this one.
            if self._learning.acquire(blocking=False):
                try:
                    self._learn(key, self._shape_of(term, at))
                finally:
                    self._learning.release()
        elif len(counts) > _MAX_COUNTED:
            counts.clear()

    def _refuses(self, key: K, counted: int) -> bool:
        """Whether there is no room for a function for this key."""
        if key in self.functions or (len(self.functions) < _MAX_SHAPES and key not in self._too_large):
            return False
        return counted < _REPLACES * self._threshold

    def _learn(self, key: K, shape: S) -> None:
        old_parts = widenings = 0
        if key in self._shapes:
            old, widenings, old_parts = self._shapes[key]
            shape = self._widened(old, shape)
            if shape == old:  # there was another reason, such as an atom that was not in the cache
                self._counts[key] = -64 * self._threshold
                return
            widenings += 1
        parts, unknown, depth = self._measured(shape)
        known = unknown <= parts * self._most_any and depth <= self._levels and widenings <= _MAX_WIDENED
        if not known:
            parts = 0
        counted = self._counts.get(key, 0)
        if not old_parts and self._parts + parts > _MAX_PARTS and counted < _REPLACES * self._threshold:
            if len(self._too_large) >= _MAX_COUNTED:
                self._too_large.clear()
            self._too_large.add(key)
            return
        self._compiled += 1
        if self._compiled % _CHEAP_SHAPES == 0:
            self._threshold *= 2
        self._forget(key)
        self._make_room(parts)
        if not known:
            self.functions[key] = False
            return
        self._parts += parts
        self._shapes[key] = shape, widenings, parts
        self.functions[key] = self._compile(shape)
        self._counts[key] = self._threshold - _MISSES

    def _make_room(self, parts: int) -> None:
        """Forget the oldest shapes until there is room for another one with so many parts."""
        # tuple() is one step, so that other threads can look up functions meanwhile.
        for key in tuple(self.functions):
            if len(self.functions) < _MAX_SHAPES and self._parts + parts <= _MAX_PARTS:
                break
            self._too_large.clear()
            self._forget(key)
            self._counts.pop(key, None)

    def _forget(self, key: K) -> None:
        self.functions.pop(key, None)
        if key in self._shapes:
            self._parts -= self._shapes.pop(key)[2]


class ShapeTable(_Table[bytes, "Shape", R]):
    """Functions that read terms, by the first bytes of a term. Only well-formed terms are passed to
    :meth:`missed`. ``compile_whole`` makes a reader of whole messages from a shape and its key."""

    def __init__(
        self,
        known: DecodeCache,
        read_any: ReadAny,
        compile_shape: Callable[[Shape], R],
        *,
        compile_whole: Callable[[Shape, bytes], ReadWhole] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(compile_shape, **options)
        self.readers = self.functions
        #: Readers of whole messages, by the version byte and the first three bytes of the key.
        self.wholes: dict[bytes, ReadWhole] = {}
        self._known = known
        self._read_any = read_any
        self._compile_whole = compile_whole

    def _learn(self, key: bytes, shape: Shape) -> None:
        before = self.readers.get(key)
        super()._learn(key, shape)
        reader = self.readers.get(key)
        if self._compile_whole is not None and reader and reader is not before:
            self.wholes[VERSIONED + key[:3]] = self._compile_whole(self._shapes[key][0], key)

    def _forget(self, key: bytes) -> None:
        super()._forget(key)
        if not any(other[:3] == key[:3] for other in self._shapes):
            self.wholes.pop(VERSIONED + key[:3], None)

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
    """Functions that write terms. ``forget`` is called with the key of one that is forgotten."""

    def __init__(
        self,
        compile_shape: Callable[[ValueShape], R],
        *,
        none: bool,
        maps: bool,
        forget: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(compile_shape, **options)
        self._none = none
        self._maps = maps
        self._forget_too = forget

    def _forget(self, key: tuple[Any, ...]) -> None:
        super()._forget(key)
        if self._forget_too is not None:
            self._forget_too(key)

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
