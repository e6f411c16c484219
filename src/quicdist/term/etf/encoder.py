"""Encodes Python values in the external term format (erl_ext_dist).

A term is written as a flat sequence of parts, headers first, by a loop with an explicit stack, so that its
depth is not limited by Python's. Values that hold their own external form (atoms, pids, references, ports,
funs) are one append each, and so is a binary of any size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import isfinite
from struct import Struct
from typing import Any, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.coercion import cannot_encode, coerced
from quicdist.term.errors import EncodeError
from quicdist.term.etf.integers import SMALL, big, integer_list
from quicdist.term.etf.unencodable import Unencodable, path_to_unencodable
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.identity import exact_form
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.tags import Tag
from quicdist.term.values import BitString, ImproperList, Local, Record

_tagged_uint32 = Struct(">BI").pack
_tagged_int32 = Struct(">Bi").pack
_tagged_double = Struct(">Bd").pack
_record_head = Struct(">BIB").pack

#: OTP's limit for the size of a tuple (24 bits of arity in its header word).
MAX_TUPLE_SIZE = 0xFFFFFF
_UINT32_MAX = 0xFFFFFFFF

TUPLES = [bytes((Tag.SMALL_TUPLE_EXT, n)) for n in range(256)]
BINARIES = [_tagged_uint32(Tag.BINARY_EXT, n) for n in range(256)]
LISTS = [_tagged_uint32(Tag.LIST_EXT, n) for n in range(256)]
MAPS = [_tagged_uint32(Tag.MAP_EXT, n) for n in range(256)]
NIL = bytes((Tag.NIL_EXT,))
_TRUE, _FALSE = Atom("true"), Atom("false")

#: Sets of key types whose values differ in Erlang if they differ in Python. (Not among them: str and
#: bytes together, atoms beside bool or None, and all that has parts.)
_IDENTIFIERS = {Pid, Port, Reference, Export, Fun}
_UNMISTAKABLE = tuple(
    frozenset({int, float, *_IDENTIFIERS, *others})
    for others in ((Atom, bytes), (Atom, str), (str, bool, type(None)))
)


#: Makes a term of a value that Erlang lacks, or raises TypeError.
Default: TypeAlias = Callable[[Any], Any]

#: The external form of an identifier or a fun for others, see :mod:`quicdist.term.etf.own_identifiers`.
OwnForm: TypeAlias = Callable[[Any], bytes]

#: The end of a list, written as the empty list.
_END: list[Any] = []


class Encoder:
    """Encodes with one choice of limits, of the atom for ``None``, of the order in maps, of whether
    the reader supports native records, and of ``default``, which converts values without an Erlang term."""

    __slots__ = ("_default", "_deterministic", "_max_depth", "_none", "_own_form", "_records")

    def __init__(
        self,
        none: Atom | None,
        limits: Limits,
        deterministic: bool,
        *,
        records: bool = True,
        default: Default | None = None,
        own_form: OwnForm | None = None,
    ) -> None:
        self._records = records
        self._own_form = own_form
        self._default = default
        self._none = none
        self._max_depth = limits.max_depth
        self._deterministic = deterministic

    def encode_into(self, term: Any, parts: list[bytes]) -> None:
        """Append the external form of ``term``, without version byte, in any number of pieces.

        Raises EncodeError; ``parts`` is then as it was.
        """
        before = len(parts)
        try:
            self.write((term,), parts)
        except Unencodable as refusal:
            del parts[before:]
            is_unencodable = functools.partial(self._is_unencodable, {})
            path = path_to_unencodable(term, is_unencodable, self._max_depth)
            raise EncodeError(str(refusal), path=path) from refusal.__cause__
        except BaseException:
            del parts[before:]
            raise

    def write(self, terms: tuple[Any, ...], parts: list[bytes], outer: int = 0) -> None:
        """Write terms that are nested ``outer`` levels deep. Raises Unencodable."""
        max_depth = self._max_depth - outer
        own_form = self._own_form
        memo: dict[int, bytes] = {}
        stack: list[Iterator[Any]] = []
        push, pop = stack.append, stack.pop
        left = iter(terms)
        while True:
            for term in left:
                kind = type(term)
                if kind is Atom:
                    parts.append(term._etf)
                    continue
                if kind is int:
                    if 0 <= term <= 255:
                        parts.append(SMALL[term])
                    elif -0x80000000 <= term <= 0x7FFFFFFF:
                        parts.append(_tagged_int32(98, term))
                    else:
                        parts.append(big(term))
                    continue
                if kind is bytes:
                    size = len(term)
                    if size < 256:
                        parts.append(BINARIES[size])
                    elif size <= _UINT32_MAX:
                        parts.append(_tagged_uint32(109, size))
                    else:
                        raise Unencodable(f"a binary of {size} bytes")
                    parts.append(term)
                    continue
                if kind is tuple:
                    size = len(term)
                    if size < 256:
                        parts.append(TUPLES[size])
                        if not size:
                            continue
                    else:
                        parts.append(_large_tuple(size))
                    inner = iter(term)
                elif kind is list:
                    size = len(term)
                    if not size:
                        parts.append(NIL)
                        continue
                    if type(term[0]) is int:
                        numbers = integer_list(term)
                        if numbers is not None and len(stack) < max_depth:
                            parts.append(numbers)
                            continue
                    parts.append(LISTS[size] if size < 256 else header(108, size))
                    inner = iter((*term, _END)) if size < 256 else chain(term, (_END,))
                elif kind is dict:
                    size = len(term)
                    parts.append(MAPS[size] if size < 256 else header(116, size))
                    if not size:
                        continue
                    if size > 1:
                        self._check_keys(term, memo)
                        inner = chain.from_iterable(self._in_order(term))
                    else:
                        inner = chain.from_iterable(term.items())
                elif kind is str:
                    try:
                        text = term.encode()
                    except UnicodeEncodeError as error:
                        raise Unencodable(f"a str that is not valid Unicode: {error.reason}") from None
                    parts.append(BINARIES[len(text)] if len(text) < 256 else header(109, len(text)))
                    parts.append(text)
                    continue
                elif kind is bool:
                    parts.append((_TRUE if term else _FALSE)._etf)
                    continue
                elif term is None:
                    if self._none is None:
                        raise Unencodable("None: this codec has no atom for it")
                    parts.append(self._none._etf)
                    continue
                elif kind is float:
                    if not isfinite(term):
                        raise Unencodable(f"a float that is not finite: {term}")
                    parts.append(_tagged_double(70, term))
                    continue
                elif kind is Pid or kind is Reference or kind is Port or kind is Export or kind is Fun:
                    parts.append(term._etf if own_form is None else own_form(term))
                    continue
                elif kind is Local:
                    if stack or outer:
                        raise Unencodable("LOCAL_EXT inside another term")
                    parts.append(b"%c%b" % (Tag.LOCAL_EXT, term.data))
                    continue
                else:
                    opened = self._open(term, parts, memo)
                    if opened is None:
                        continue
                    inner = opened
                # A compound term: its elements come next.
                if len(stack) >= max_depth:
                    raise Unencodable(f"nested deeper than {self._max_depth}")
                push(left)
                left = inner
                break
            else:
                if not stack:
                    return
                left = pop()

    def _open(self, term: Any, parts: list[bytes], memo: dict[int, bytes]) -> Iterator[Any] | None:
        """Write a term of a less common type: all of it, or its header, and return the parts that follow."""
        kind = type(term)
        if kind is BitString:
            parts.append(_record_head(Tag.BIT_BINARY_EXT, len(term._data), term._bits))
            parts.append(term._data)
            return None
        if kind is ImproperList:
            parts.append(header(Tag.LIST_EXT, len(term._elements)))
            return chain(term._elements, (term._tail,))
        if kind is Record:
            if not self._records:
                raise Unencodable("a native record: the peer does not support it (OTP 29 and later do)")
            parts.append(_record_head(Tag.NATIVE_RECORD_EXT, len(term.fields), term.exported))
            return chain((term.module, term.name), term.fields, term.fields.values())
        if kind is not Map:
            value, term = term, coerced(term)
            if term is NotImplemented:
                return iter((self._converted(value),))
            if type(term) is tuple and term:
                size = len(term)
                parts.append(TUPLES[size] if size < 256 else _large_tuple(size))
                return iter(term)
            if type(term) is list and term:
                parts.append(header(Tag.LIST_EXT, len(term)))
                return chain(term, (_END,))
            if type(term) is not dict:
                self.write((term,), parts)
                return None
        parts.append(header(Tag.MAP_EXT, len(term)))
        if len(term) > 1:
            self._check_keys(term, memo)
        return chain.from_iterable(self._in_order(term))

    def _converted(self, value: Any) -> Any:
        """The value that ``default`` returns for one without an Erlang term. Raises Unencodable."""
        text = cannot_encode(value)
        if self._default is None:
            raise Unencodable(text)
        try:
            term = self._default(value)
        except Exception as error:  # TypeError means no, as in json; any error refuses this term only
            raise Unencodable(f"{text}: default raised {type(error).__name__}: {error}") from error
        if term is value or term is NotImplemented:
            raise Unencodable(f"{text}: default returned no other value")
        return term

    def _in_order(self, pairs: dict[Any, Any] | Map) -> Iterable[tuple[Any, Any]]:
        """The pairs of a map, in the order of the keys if the encoding is deterministic."""
        if not self._deterministic:
            return pairs.items()
        from quicdist.term.order import map_key  # only some codecs order maps

        none = self._none
        try:
            return sorted(pairs.items(), key=lambda pair: map_key(pair[0], none))
        except EncodeError as error:
            raise Unencodable(str(error)) from None
        except RecursionError:
            raise Unencodable("the keys of a map nest too deep to be ordered") from None

    def _check_keys(self, pairs: dict[Any, Any] | Map, memo: dict[int, bytes]) -> None:
        """Refuse keys that Python tells apart and Erlang does not: a peer would refuse the whole term."""
        kinds = set(map(type, pairs))
        if any(map(kinds.issubset, _UNMISTAKABLE)):
            return
        try:
            forms = {exact_form(key, self._none, memo) for key in pairs}
        except EncodeError:
            if self._default is None:
                return  # the key itself is refused when it is encoded
            # Equal terms have equal bytes.
            encoder = Encoder(self._none, Limits(self._max_depth), True, default=self._default)
            forms = set()
            for key in pairs:
                parts: list[bytes] = []
                try:
                    encoder.write((key,), parts)
                except Unencodable:
                    return
                forms.add(b"".join(parts))
        if len(forms) != len(pairs):
            raise Unencodable("two keys are the same key in Erlang")

    def _is_unencodable(self, memo: dict[int, bytes], term: Any, inside: bool) -> bool:
        """Whether a term cannot be encoded, not counting its parts."""
        try:
            if isinstance(term, tuple):
                if len(term) > MAX_TUPLE_SIZE:
                    raise Unencodable
            elif type(term) in (dict, Map):
                self._check_keys(term, memo)
            elif type(term) is Record:
                return not self._records
            elif not isinstance(term, (list, ImproperList, dict)):
                self.write((term,), [], int(inside))
        except Unencodable:
            return True
        return False


def _large_tuple(size: int) -> bytes:
    if size > MAX_TUPLE_SIZE:
        raise Unencodable(f"a tuple of {size} elements; OTP's limit is {MAX_TUPLE_SIZE}")
    return _tagged_uint32(Tag.LARGE_TUPLE_EXT, size)


def header(tag: int, size: int) -> bytes:
    """A tag, and a size of four bytes. Raises Unencodable."""
    if size > _UINT32_MAX:
        raise Unencodable(f"a term of {size} parts; the format's limit is 2^32 - 1")
    return _tagged_uint32(tag, size)
