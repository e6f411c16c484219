"""From the external term format to Python's values (erl_ext_dist).

One loop over the bytes with an explicit stack, so that the depth of a term is not limited by Python's. Counts
and sizes are compared with the bytes that are left before anything is built.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import repeat
from struct import Struct
from struct import error as struct_error
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.errors import DecodeError, TermError
from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.key_depth import HASHABLE_DEPTH, too_deep_to_hash
from quicdist.term.etf.malformed import Malformed, TooDeep, bad_reference, too_few
from quicdist.term.etf.numeric_lists import RUN_TAGS, read_runs
from quicdist.term.etf.paths import frames_path
from quicdist.term.etf.uncommon_tags import read_uncommon
from quicdist.term.funs import MAX_FREE_VARIABLES, SMALL_LIMIT, Fun
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Pid, Reference
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.values import ImproperList, Local, Record

_uint16 = Struct(">H").unpack_from
_uint32 = Struct(">I").unpack_from
_int32 = Struct(">i").unpack_from
_double = Struct(">d").unpack_from
fun_head = Struct(">IB16sII").unpack_from
_record_head = Struct(">IB").unpack_from

_new = object.__new__
_set = object.__setattr__

#: ``TIMES[n]`` is something to loop over ``n`` times, made once.
TIMES = [(None,) * n for n in range(256)]

#: Python's hash of a tuple recurses in C without a limit, some 80 bytes of stack for each level. So a term
#: with this many tuples directly in one another is refused. The nesting is checked at every multiple of the
#: number only, so up to twice as many can pass. (Lists cannot be hashed; other values are hashed in Python.)
_ONLY_TUPLES = 5_000

# The frames of the stack; ROOT is the frame around the whole term.
_ROOT, _TUPLE, _LIST, _TAIL, _MAP, _FUN, _RECORD = range(7)
_KINDS = ("root", "tuple", "list", "tail", "map", "fun", "record")


class Decoder(DecodeCache):
    """Decodes with one choice of limits and of the atom that is ``None``."""

    __slots__ = ("_view_from",)

    def __init__(self, none: Atom | None, limits: Limits, view_from: int = sys.maxsize) -> None:
        super().__init__(none, limits)
        self._view_from = view_from

    def decode(self, data: bytes | memoryview, offset: int = 0, outer: int = 0) -> tuple[Any, int]:
        """The term that begins at ``offset``, and the offset after it. No version byte.

        ``outer`` is the number of levels around it. With any, the DecodeError has no path: the whole term is
        decoded again for it.
        """
        atoms, nodes, pids = self.atoms, self.nodes, self.pids
        max_depth = self._limits.max_depth - outer
        next_check = min(HASHABLE_DEPTH, max_depth)
        text: Any
        left: Iterator[Any]
        copy = type(data) is not bytes  # slices of a view are no values yet
        size = len(data)
        i = offset
        stack: list[tuple[int, list[Any], Iterator[Any]]] = []
        funs: list[int] = []  # the offsets of the funs around the current term
        kind, left = _ROOT, iter((None,))
        items: list[Any] = []
        value: Any
        too_deep = False
        if not 0 <= offset <= size:
            raise DecodeError(f"offset {offset} of {size} bytes", offset=offset)
        try:
            while True:
                for _ in left:
                    tag = data[i]
                    if tag == 119:  # SMALL_ATOM_UTF8_EXT
                        end = i + 2 + data[i + 1]
                        text = data[i:end]
                        if copy:
                            text = bytes(text)
                        try:
                            items.append(atoms[text])
                        except KeyError:
                            items.append(self.new_atom(data, i, text)[0])
                        i = end
                        continue
                    if tag == 97:  # SMALL_INTEGER_EXT
                        items.append(data[i + 1])
                        i += 2
                        continue
                    if tag == 104:  # SMALL_TUPLE_EXT
                        count = data[i + 1]
                        i += 2
                        if not count:
                            items.append(())
                            continue
                        if len(stack) >= next_check:
                            next_check = self._deeper(stack, max_depth)
                        stack.append((kind, items, left))
                        kind, items, left = _TUPLE, [], iter(TIMES[count])
                        break
                    if tag == 108:  # LIST_EXT
                        count = _uint32(data, i + 1)[0]
                        i += 5
                        if count >= size - i:
                            raise Malformed(too_few("list", count + 1, size - i))
                        if len(stack) >= next_check:
                            next_check = self._deeper(stack, max_depth)
                        stack.append((kind, items, left))
                        kind, items = _LIST, []
                        if count > 3 and data[i] in RUN_TAGS:
                            i = read_runs(data, i, size, count, items)
                            count -= len(items)
                        left = iter(TIMES[count]) if count < 256 else repeat(None, count)
                        break
                    if tag == 109:  # BINARY_EXT
                        end = i + 5 + _uint32(data, i + 1)[0]
                        if end > size:
                            raise Malformed(too_few("binary", end - i - 5, size - i - 5))
                        if copy:
                            items.append(bytes(data[i + 5 : end]))
                        elif end - i - 5 >= self._view_from:
                            items.append(memoryview(data)[i + 5 : end])
                        else:
                            items.append(data[i + 5 : end])
                        i = end
                        continue
                    if tag == 98:  # INTEGER_EXT
                        items.append(_int32(data, i + 1)[0])
                        i += 5
                        continue
                    if tag == 106:  # NIL_EXT
                        items.append([])
                        i += 1
                        continue
                    if tag == 116:  # MAP_EXT
                        count = 2 * _uint32(data, i + 1)[0]
                        i += 5
                        if not count:
                            items.append({})
                            continue
                        if count > size - i:
                            raise Malformed(too_few("map", count, size - i))
                        opened = _MAP
                    elif tag == 107:  # STRING_EXT
                        end = i + 3 + _uint16(data, i + 1)[0]
                        if end > size:
                            raise Malformed(too_few("string", end - i - 3, size - i - 3))
                        if len(stack) >= max_depth and end > i + 3:
                            self._deeper(stack, max_depth)
                        items.append([*data[i + 3 : end]])
                        i = end
                        continue
                    elif tag == 88 and data[i + 1] == 119:  # NEW_PID_EXT
                        end = i + 15 + data[i + 2]
                        text = data[i:end]
                        if copy:
                            text = bytes(text)
                        try:
                            items.append(pids[text])
                        except KeyError:
                            items.append(self.new_pid(data, i, text)[0])
                        i = end
                        continue
                    elif tag == 90 and data[i + 3] == 119:  # NEWER_REFERENCE_EXT
                        end = i + 5 + data[i + 4]
                        text = data[i + 3 : end]
                        if copy:
                            text = bytes(text)
                        try:
                            node = nodes[text]
                        except KeyError:
                            value, i = read_uncommon(self, data, i)
                            items.append(value)
                            continue
                        words = data[i + 2]
                        if data[i + 1] or not 0 < words <= MAX_REFERENCE_WORDS:
                            raise Malformed(bad_reference(_uint16(data, i + 1)[0]))
                        end += 4 + 4 * words
                        if end > size:
                            raise IndexError
                        value = _new(Reference)
                        value._node = node
                        value._etf = bytes(data[i:end]) if copy else data[i:end]
                        items.append(value)
                        i = end
                        continue
                    elif tag == 70:  # NEW_FLOAT_EXT
                        value = _double(data, i + 1)[0]
                        if value - value:  # the difference is NaN for infinity and NaN
                            raise Malformed(f"a float that is not finite: {value}")
                        items.append(value)
                        i += 9
                        continue
                    elif tag == 110 or tag == 111:  # SMALL_BIG_EXT, LARGE_BIG_EXT
                        start = i + 3 if tag == 110 else i + 6
                        end = start + (data[i + 1] if tag == 110 else _uint32(data, i + 1)[0])
                        if end > size:
                            raise Malformed(too_few("integer", end - start, size - start))
                        value = int.from_bytes(data[start:end], "little")
                        items.append(-value if data[start - 1] else value)
                        i = end
                        continue
                    elif tag == 105:  # LARGE_TUPLE_EXT
                        count = _uint32(data, i + 1)[0]
                        i += 5
                        if not count:
                            items.append(())
                            continue
                        if count > size - i:
                            raise Malformed(too_few("tuple", count, size - i))
                        opened = _TUPLE
                    elif tag == 112:  # NEW_FUN_EXT
                        extent, _arity, _uniq, _index, free = fun_head(data, i + 1)
                        if i + 1 + extent > size:
                            raise Malformed(too_few("fun", extent, size - i - 1))
                        if free > MAX_FREE_VARIABLES:
                            raise Malformed(f"a fun with an environment of {free} terms")
                        funs.append(i)
                        i += 30
                        count = 4 + free
                        opened = _FUN
                    elif tag == 67:  # NATIVE_RECORD_EXT
                        count, flags = _record_head(data, i + 1)
                        if flags > 1:
                            raise Malformed(f"a record with flags {flags}; only 0 and 1 are known")
                        i += 6
                        count = 2 + 2 * count
                        if count > size - i:
                            raise Malformed(too_few("record", count, size - i))
                        opened = _RECORD
                    elif tag == 121 and not stack and not outer:  # LOCAL_EXT
                        items.append(Local(data[i + 1 :]))
                        i = size
                        continue
                    else:
                        value, i = read_uncommon(self, data, i)
                        items.append(value)
                        continue
                    # A compound term: its elements come next.
                    if len(stack) >= next_check:
                        next_check = self._deeper(stack, max_depth)
                    stack.append((kind, items, left))
                    kind, items, left = opened, [], repeat(None, count)
                    if opened == _RECORD:
                        items.append(flags)
                    break
                else:
                    # All elements are there.
                    if kind == _TUPLE:
                        value = tuple(items)
                    elif kind == _LIST:
                        tag = data[i]
                        if tag == 106:
                            i += 1
                        elif tag == 108:  # a list as the tail is more of the same list
                            count = _uint32(data, i + 1)[0]
                            if count > size - i:
                                raise Malformed(too_few("list", count, size - i))
                            i += 5
                            left = repeat(None, count)
                            continue
                        elif tag == 107:
                            end = i + 3 + _uint16(data, i + 1)[0]
                            if end > size:
                                raise Malformed(too_few("string", end - i - 3, size - i - 3))
                            items += data[i + 3 : end]
                            i = end
                        else:
                            kind, left = _TAIL, repeat(None, 1)
                            continue
                        value = items
                    elif kind == _MAP:
                        pairs = iter(items)
                        try:
                            if next_check != HASHABLE_DEPTH and too_deep_to_hash(items[::2]):
                                raise TypeError
                            value = dict(zip(pairs, pairs, strict=False))
                        except (TypeError, RecursionError):
                            value = None
                        if value is None or 2 * len(value) != len(items):
                            # Some keys cannot be hashed, or Python takes them for one another.
                            value = Map(zip(items[::2], items[1::2], strict=True))
                    elif kind == _TAIL:
                        tail = items.pop()
                        value = ImproperList(items, tail) if items else tail
                    elif kind == _FUN:
                        value = self.new_fun(data, funs.pop(), i, items, bool(funs))
                    elif kind == _RECORD:
                        value = self._record(items)
                    else:
                        return items[0], i
                    kind, items, left = stack.pop()
                    items.append(value)
        except (IndexError, struct_error):
            problem = f"ends in the middle of a term, after {size} bytes"
        except Malformed as error:
            problem, too_deep = str(error), type(error) is TooDeep
        except TermError as error:  # a value's own rules: a key twice, an atom too long
            problem = str(error)
        if outer:
            raise DecodeError(problem, offset=i)
        if stack:
            stack.append((kind, items, left))
        failed = DecodeError(problem, offset=i, path=frames_path(stack[1:], _KINDS))
        failed.too_deep = too_deep
        if len(stack) > 1 and stack[1][0] == _TUPLE:
            failed.begun = tuple(stack[1][1])
        raise failed

    def _deeper(self, stack: list[tuple[int, list[Any], Iterator[Any]]], max_depth: int) -> int:
        """Check the nesting at ``next_check``; returns the next depth to check at. Raises TooDeep."""
        depth = len(stack)
        if depth >= max_depth:
            raise TooDeep(f"nested deeper than {self._limits.max_depth}")
        if depth >= _ONLY_TUPLES and all(entry[0] == _TUPLE for entry in stack[-_ONLY_TUPLES:]):
            raise TooDeep(f"more than {depth} tuples directly in one another")
        return min(max_depth, depth - depth % _ONLY_TUPLES + _ONLY_TUPLES)

    # -- the ends of the rarer compounds -------------------------------------------------------

    def new_fun(self, data: Any, start: int, end: int, items: list[Any], inside: bool) -> Fun | Local:
        """The fun from ``start`` to ``end``, whose terms are ``items``; ``inside`` another fun or not."""
        extent = _uint32(data, start + 1)[0]
        if end != start + 1 + extent:
            raise Malformed(f"a fun has {end - start - 1} bytes, its header says {extent}")
        _, old_index, old_uniq, pid = items[:4]
        small = all(type(n) is int and -SMALL_LIMIT <= n < SMALL_LIMIT for n in (old_index, old_uniq))
        if not small or type(pid) is not Pid:
            raise Malformed("a fun lacks its index, uniq or pid")
        module, _ = self.node(data, start + 30)
        if inside:
            # Part of another fun, which is kept as bytes: a copy each would grow without bound.
            return Local(b"%d" % start)
        fun = _new(Fun)
        _set(fun, "_etf", bytes(data[start:end]))
        _set(fun, "module", module)
        _set(fun, "pid", pid)
        return fun

    def _record(self, items: list[Any]) -> Record:
        exported, *items = items
        count = len(items) // 2 - 1
        names = [self.as_atom(name) for name in items[: 2 + count]]
        return Record(
            names[0], names[1], zip(names[2:], items[2 + count :], strict=True), exported=bool(exported)
        )
