"""From the external term format to Python's values (erl_ext_dist).

One loop over the bytes with a stack of its own for what stands in what, so that no term is too deep
for Python's. Counts and sizes are held against the bytes that are left before anything is built.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from math import isfinite
from struct import Struct, unpack
from struct import error as struct_error
from typing import Any

from quicdist.term.atoms import Atom
from quicdist.term.errors import DecodeError, TermError
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Pid, Port, Reference
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.paths import Frame, frames_path
from quicdist.term.tags import Tag
from quicdist.term.values import BitString, ImproperList, Local, Record

_uint16 = Struct(">H").unpack_from
_uint32 = Struct(">I").unpack_from
_int32 = Struct(">i").unpack_from
_double = Struct(">d").unpack_from
_pid = Struct(">III").unpack_from
_old_pid = Struct(">IIB").unpack_from
_new_port = Struct(">II").unpack_from
_old_port = Struct(">IB").unpack_from
_v4_port = Struct(">QI").unpack_from
_fun_head = Struct(">IB16sII").unpack_from
_record_head = Struct(">IB").unpack_from

_new = object.__new__
_set = object.__setattr__
_set_node = Reference.node.__set__  # type: ignore[attr-defined, misc]
_set_etf = Reference._etf.__set__  # type: ignore[attr-defined, misc]

#: FLOAT_EXT: "%.20e" in 31 bytes, filled up with zeros.
_FLOAT_TEXT = re.compile(rb"[ ]*[+-]?[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?\0*")

#: Elements of one tag and one size, which can be read many at a time: bytes each, type for struct.
_RUNS = {Tag.SMALL_INTEGER_EXT: (2, "B"), Tag.INTEGER_EXT: (5, "i"), Tag.NEW_FLOAT_EXT: (9, "d")}
RUN_TAGS = frozenset(map(int, _RUNS))

#: Something to loop over ``n`` times, made once.
TIMES = [(None,) * n for n in range(256)]

#: Below this depth a key may be hashed and compared by Python, which recurses; deeper, only by ours.
_HASHABLE_DEPTH = 100

# What the stack holds; ROOT is the frame around the whole term.
_ROOT, _TUPLE, _LIST, _TAIL, _MAP, _FUN, _RECORD = range(7)
_KINDS = ("root", "tuple", "list", "tail", "map", "fun", "record")

#: Longer external forms are not worth remembering; so a cache stays small whatever a peer sends.
_MAX_CACHED = 128


class _Malformed(Exception):
    """What is wrong with the bytes; offset and path are added where they are known."""


class Decoder:
    """Decodes with one choice of limits and of the atom that is ``None``; remembers recent atoms and pids."""

    __slots__ = ("_limits", "_none", "_view_from", "atoms", "nodes", "pids")

    def __init__(self, none: Atom | None, limits: Limits, view_from: int = sys.maxsize) -> None:
        self._none = none
        self._limits = limits
        self._view_from = view_from
        self.atoms: dict[bytes, Any] = {}
        self.nodes: dict[bytes, Atom] = {}
        self.pids: dict[bytes, Pid] = {}

    def decode(self, data: bytes | memoryview, offset: int = 0, outer: int = 0) -> tuple[Any, int]:
        """One term that begins at ``offset``, and the offset behind it. No version byte.

        ``outer`` is how many levels it stands in already.
        """
        atoms, nodes, pids = self.atoms, self.nodes, self.pids
        max_depth = self._limits.max_depth - outer
        careful_depth = min(_HASHABLE_DEPTH, max_depth)
        text: Any
        left: Iterator[Any]
        copy = type(data) is not bytes  # slices of a view are no values yet
        size = len(data)
        i = offset
        stack: list[tuple[int, list[Any], Iterator[Any]]] = []
        funs: list[int] = []  # where the funs began that we are inside of
        kind, left = _ROOT, iter((None,))
        items: list[Any] = []
        value: Any
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
                            items.append(self._new_atom(data, i, text)[0])
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
                        if len(stack) >= careful_depth:
                            careful_depth = self._deeper(len(stack), max_depth)
                        stack.append((kind, items, left))
                        kind, items, left = _TUPLE, [], iter(TIMES[count])
                        break
                    if tag == 109:  # BINARY_EXT
                        end = i + 5 + _uint32(data, i + 1)[0]
                        if end > size:
                            raise _Malformed(_too_few("binary", end - i - 5, size - i - 5))
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
                    if tag == 108:  # LIST_EXT
                        count = _uint32(data, i + 1)[0]
                        i += 5
                        if count >= size - i:
                            raise _Malformed(_too_few("list", count + 1, size - i))
                        if len(stack) >= careful_depth:
                            careful_depth = self._deeper(len(stack), max_depth)
                        stack.append((kind, items, left))
                        kind, items = _LIST, []
                        if count > 3 and data[i] in RUN_TAGS:
                            i = runs(data, i, size, count, items)
                            count -= len(items)
                        left = iter(TIMES[count]) if count < 256 else repeat(None, count)
                        break
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
                            raise _Malformed(_too_few("map", count, size - i))
                        opened = _MAP
                    elif tag == 107:  # STRING_EXT
                        end = i + 3 + _uint16(data, i + 1)[0]
                        if end > size:
                            raise _Malformed(_too_few("string", end - i - 3, size - i - 3))
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
                            items.append(self._new_pid(data, i, text)[0])
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
                            node = self._node(data, i + 3)[0]
                        words = data[i + 2]
                        if data[i + 1] or not 0 < words <= MAX_REFERENCE_WORDS:
                            raise _Malformed(_bad_reference(_uint16(data, i + 1)[0]))
                        end += 4 + 4 * words
                        if end > size:
                            raise IndexError
                        value = _new(Reference)
                        _set_node(value, node)
                        _set_etf(value, bytes(data[i:end]) if copy else data[i:end])
                        items.append(value)
                        i = end
                        continue
                    elif tag == 70:  # NEW_FLOAT_EXT
                        value = _double(data, i + 1)[0]
                        if value - value:  # that is not a number, for those that are none
                            raise _Malformed(f"a float that is not finite: {value}")
                        items.append(value)
                        i += 9
                        continue
                    elif tag == 110 or tag == 111:  # SMALL_BIG_EXT, LARGE_BIG_EXT
                        start = i + 3 if tag == 110 else i + 6
                        end = start + (data[i + 1] if tag == 110 else _uint32(data, i + 1)[0])
                        if end > size:
                            raise _Malformed(_too_few("integer", end - start, size - start))
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
                            raise _Malformed(_too_few("tuple", count, size - i))
                        opened = _TUPLE
                    elif tag == 112:  # NEW_FUN_EXT
                        extent, _arity, _uniq, _index, free = _fun_head(data, i + 1)
                        if i + 1 + extent > size:
                            raise _Malformed(_too_few("fun", extent, size - i - 1))
                        if free > extent:
                            raise _Malformed(_too_few("fun's environment", free, extent))
                        funs.append(i)
                        i += 30
                        count = 4 + free
                        opened = _FUN
                    elif tag == 67:  # NATIVE_RECORD_EXT
                        count, flags = _record_head(data, i + 1)
                        if flags > 1:
                            raise _Malformed(f"a record with flags {flags}, of which only 0 and 1 are known")
                        i += 6
                        count = 2 + 2 * count
                        if count > size - i:
                            raise _Malformed(_too_few("record", count, size - i))
                        opened = _RECORD
                    elif tag == 121 and not stack and not outer:  # LOCAL_EXT
                        items.append(Local(data[i + 1 :]))
                        i = size
                        continue
                    else:
                        value, i = self._rare(data, i)
                        items.append(value)
                        continue
                    # A term with others in it: they come next, then we go on here.
                    if len(stack) >= careful_depth:
                        careful_depth = self._deeper(len(stack), max_depth)
                    stack.append((kind, items, left))
                    kind, items, left = opened, [], repeat(None, count)
                    if opened == _RECORD:
                        items.append(flags)
                    break
                else:
                    # All elements are there.
                    if kind == _TUPLE:
                        value = (*items,)
                    elif kind == _LIST:
                        tag = data[i]
                        if tag == 106:
                            i += 1
                        elif tag == 108:  # a list as the tail is more of the same list
                            count = _uint32(data, i + 1)[0]
                            if count > size - i:
                                raise _Malformed(_too_few("list", count, size - i))
                            i += 5
                            left = repeat(None, count)
                            continue
                        elif tag == 107:
                            end = i + 3 + _uint16(data, i + 1)[0]
                            if end > size:
                                raise _Malformed(_too_few("string", end - i - 3, size - i - 3))
                            items += data[i + 3 : end]
                            i = end
                        else:
                            kind, left = _TAIL, repeat(None, 1)
                            continue
                        value = items
                    elif kind == _MAP:
                        pairs = iter(items)
                        try:
                            if careful_depth != _HASHABLE_DEPTH and too_deep_to_hash(items[::2]):
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
                        value = self._fun(data, funs.pop(), i, items, bool(funs))
                    elif kind == _RECORD:
                        value = self._record(items)
                    else:
                        return items[0], i
                    kind, items, left = stack.pop()
                    items.append(value)
        except (IndexError, struct_error):
            problem = f"ends in the middle of a term, after {size} bytes"
        except _Malformed as error:
            problem = str(error)
        except TermError as error:  # a value's own rules: a key twice, an atom too long
            problem = str(error)
        frames = [Frame(_KINDS[entry[0]], entry[1]) for entry in stack[1:]]
        if stack:
            frames.append(Frame(_KINDS[kind], items))
        raise DecodeError(problem, offset=i, path=frames_path(frames))

    def _deeper(self, depth: int, max_depth: int) -> int:
        """What to do at ``careful_depth``: go on to ``max_depth``, which is returned, and no further."""
        if depth >= max_depth:
            raise _Malformed(f"nested deeper than {self._limits.max_depth}")
        return max_depth

    # -- atoms and what has one in it ----------------------------------------------------------

    def _new_atom(self, data: Any, i: int, etf: bytes) -> tuple[Any, int]:
        """An atom not seen lately, as the value it stands for."""
        atom, end = self._node(data, i)
        value: Any = atom
        if atom.name == "true":
            value = True
        elif atom.name == "false":
            value = False
        elif atom is self._none:
            value = None
        _remember(self.atoms, etf, value, self._limits.cache_size)
        return value, end

    def _node(self, data: Any, i: int) -> tuple[Atom, int]:
        """The atom at ``i``, always as an Atom: names of nodes, modules, functions, fields."""
        tag = data[i]
        if tag == Tag.SMALL_ATOM_UTF8_EXT or tag == Tag.SMALL_ATOM_EXT:
            start = i + 2
            end = start + data[i + 1]
        elif tag == Tag.ATOM_EXT or tag == Tag.ATOM_UTF8_EXT:
            start = i + 3
            end = start + _uint16(data, i + 1)[0]
        else:
            raise _Malformed(f"{_named(tag)} where an atom has to be")
        if end > len(data):
            raise _Malformed(_too_few("atom", end - start, len(data) - start))
        etf = bytes(data[i:end])
        found = self.nodes.get(etf)
        if found is not None:
            return found, end
        if tag == Tag.ATOM_EXT or tag == Tag.SMALL_ATOM_EXT:
            name = etf[start - i :].decode("latin-1")
        else:
            try:
                name = etf[start - i :].decode()
            except UnicodeDecodeError as error:
                raise _Malformed(f"an atom that is not UTF-8: {error.reason}") from None
        atom = Atom(name)
        _remember(self.nodes, etf, atom, self._limits.cache_size)
        return atom, end

    def _new_pid(self, data: Any, i: int, etf: bytes) -> tuple[Pid, int]:
        """A pid not seen lately."""
        node, j = self._node(data, i + 1)
        id, serial, creation = _pid(data, j)
        pid = Pid(node, id, serial, creation)
        _remember(self.pids, etf, pid, self._limits.cache_size)
        return pid, j + 12

    def _rare(self, data: Any, i: int) -> tuple[Any, int]:
        """Tags that a current OTP sends seldom or no more."""
        tag = data[i]
        if tag in (Tag.ATOM_EXT, Tag.SMALL_ATOM_EXT, Tag.ATOM_UTF8_EXT, Tag.SMALL_ATOM_UTF8_EXT):
            head = 2 if tag == Tag.SMALL_ATOM_EXT else 3
            length = data[i + 1] if head == 2 else _uint16(data, i + 1)[0]
            etf = bytes(data[i : i + head + length])
            try:
                return self.atoms[etf], i + head + length
            except KeyError:
                return self._new_atom(data, i, etf)
        if tag == Tag.BIT_BINARY_EXT:
            length, bits = _record_head(data, i + 1)
            end = i + 6 + length
            if end > len(data):
                raise _Malformed(_too_few("bitstring", length, len(data) - i - 6))
            if bits == 8 or length == bits == 0:
                return bytes(data[i + 6 : end]), end
            return BitString(data[i + 6 : end], bits), end
        if tag == Tag.EXPORT_EXT:
            module, j = self._node(data, i + 1)
            function, j = self._node(data, j)
            if data[j] != Tag.SMALL_INTEGER_EXT:
                raise _Malformed(f"{_named(data[j])} where an export has its arity")
            return Export(module, function, data[j + 1]), j + 2
        if tag == Tag.NEW_PID_EXT:
            node, j = self._node(data, i + 1)
            id, serial, creation = _pid(data, j)
            return Pid(node, id, serial, creation), j + 12
        if tag == Tag.PID_EXT:
            node, j = self._node(data, i + 1)
            id, serial, creation = _old_pid(data, j)
            return Pid(node, id, serial, creation), j + 9
        if tag == Tag.V4_PORT_EXT:
            node, j = self._node(data, i + 1)
            id, creation = _v4_port(data, j)
            return Port(node, id, creation), j + 12
        if tag == Tag.NEW_PORT_EXT:
            node, j = self._node(data, i + 1)
            id, creation = _new_port(data, j)
            return Port(node, id, creation), j + 8
        if tag == Tag.PORT_EXT:
            node, j = self._node(data, i + 1)
            id, creation = _old_port(data, j)
            return Port(node, id, creation), j + 5
        if tag == Tag.REFERENCE_EXT:
            node, j = self._node(data, i + 1)
            id, creation = _old_port(data, j)
            return Reference(node, (id,), creation), j + 5
        if tag == Tag.NEW_REFERENCE_EXT or tag == Tag.NEWER_REFERENCE_EXT:
            count = _uint16(data, i + 1)[0]
            if not 0 < count <= MAX_REFERENCE_WORDS:
                raise _Malformed(_bad_reference(count))
            node, j = self._node(data, i + 3)
            wide = tag == Tag.NEWER_REFERENCE_EXT
            creation, *ids = Struct(f">{'I' if wide else 'B'}{count}I").unpack_from(data, j)
            return Reference(node, ids, creation), j + (4 if wide else 1) + 4 * count
        if tag == Tag.FLOAT_EXT:
            text = bytes(data[i + 1 : i + 32])
            if len(text) < 31:
                raise IndexError
            if not _FLOAT_TEXT.fullmatch(text):
                raise _Malformed(f"no float: {text!r}")
            value = float(text.rstrip(b"\0"))
            if not isfinite(value):
                raise _Malformed(f"a float that is not finite: {text!r}")
            return value, i + 32
        if tag == Tag.LOCAL_EXT:
            raise _Malformed("LOCAL_EXT inside another term, where its end cannot be known")
        if tag == Tag.COMPRESSED:
            raise _Malformed("a compressed term that does not follow the version byte")
        if tag == Tag.ATOM_CACHE_REF:
            raise _Malformed("ATOM_CACHE_REF, where there is no atom cache")
        if tag == Tag.FUN_EXT:
            raise _Malformed("FUN_EXT, which no OTP since R8 sends")
        raise _Malformed(f"unknown tag {tag}")

    # -- the ends of the rarer compounds -------------------------------------------------------

    def _fun(self, data: Any, start: int, end: int, items: list[Any], inside: bool) -> Fun | Local:
        extent, arity, uniq, index, free = _fun_head(data, start + 1)
        if end != start + 1 + extent:
            raise _Malformed(f"a fun of {extent} bytes that takes up {end - start - 1}")
        _, old_index, old_uniq, pid = items[:4]
        if type(old_index) is not int or type(old_uniq) is not int or type(pid) is not Pid:
            raise _Malformed("a fun without its index, uniq and pid")
        module, _ = self._node(data, start + 30)
        if inside:
            # Part of another fun, which is kept as bytes: a copy each would grow without bound.
            return Local(b"%d" % start)
        fun = _new(Fun)
        for name, attribute in (
            ("_etf", bytes(data[start:end])),
            ("module", module),
            ("arity", arity),
            ("uniq", uniq),
            ("index", index),
            ("num_free", free),
            ("old_index", old_index),
            ("old_uniq", old_uniq),
            ("pid", pid),
        ):
            _set(fun, name, attribute)
        return fun

    def _record(self, items: list[Any]) -> Record:
        exported, *items = items
        count = len(items) // 2 - 1
        names = [self._as_atom(name) for name in items[: 2 + count]]
        return Record(
            names[0], names[1], zip(names[2:], items[2 + count :], strict=True), exported=bool(exported)
        )

    def _as_atom(self, value: Any) -> Atom:
        if type(value) is Atom:
            return value
        if value is None and self._none is not None:
            return self._none
        if type(value) is bool:
            return Atom("true" if value else "false")
        raise _Malformed(f"a {type(value).__name__} where a record has a name")


def _remember(cache: dict[bytes, Any], etf: bytes, value: Any, most: int) -> None:
    if len(etf) <= _MAX_CACHED:
        if len(cache) >= most:
            cache.clear()
        cache[etf] = value


def runs(data: Any, i: int, size: int, count: int, items: list[Any]) -> int:
    """Read integers and floats from the head of a list many at a time, as long as that pays.

    Fills ``items`` with up to ``count`` elements and returns the offset behind them.
    """
    while count > 3 and i < size:
        tag = data[i]
        run = _RUNS.get(tag)
        if run is None:
            break
        stride, code = run
        window, done = 16, 0
        while True:  # ever larger windows, so that short runs cost little and long ones nothing
            window = min(window, count)
            chunk = bytes(data[i : i + stride * window])
            tags = chunk[::stride]
            same = len(tags) - len(tags.lstrip(b"%c" % tag))
            if same * stride > len(chunk):
                same -= 1  # cut off: the loop for single elements says so
            if stride == 2:
                items += chunk[1 : 2 * same : 2]
            else:
                values = bytearray(chunk[: same * stride])
                del values[::stride]
                numbers = unpack(f">{same}{code}", values)
                if code == "d" and not all(map(isfinite, numbers)):
                    return i
                items += numbers
            i += same * stride
            count -= same
            done += same
            if same < window or not count:
                break
            window *= 4
        if done < 8:
            break
    return i


def too_deep_to_hash(keys: Sequence[Any]) -> bool:
    """Whether a key nests deeper than may be left to Python's own, recursive, hash and ``==``."""
    level = [key for key in keys if type(key) in _NESTING]
    for _ in range(_HASHABLE_DEPTH):
        if not level:
            return False
        parts = chain.from_iterable(map(_parts, level))
        level = [part for part in parts if type(part) in _NESTING]
    return bool(level)


_NESTING = frozenset((tuple, ImproperList, Record))


def _parts(term: Any) -> Iterator[Any]:
    if type(term) is tuple:
        return iter(term)
    if type(term) is ImproperList:
        return chain(term.elements, (term.tail,))
    return iter(term.fields.values())


def _named(tag: int) -> str:
    try:
        return Tag(tag).name
    except ValueError:
        return f"tag {tag}"


def _too_few(what: str, claimed: int, left: int) -> str:
    return f"a {what} that claims {claimed}, with {max(left, 0)} bytes left"


def _bad_reference(words: int) -> str:
    return f"a reference of {words} words, where there are 1 to {MAX_REFERENCE_WORDS}"
