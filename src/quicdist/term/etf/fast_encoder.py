"""The fast path of the encoder, for the common terms of messages.

As in ``fast_decoder.py``, the fast path recurses into the first levels of a term and handles the common
types. Parts of other types, or deeper ones, are encoded by the complete encoder (``encoder.py``). After any
exception here the complete encoder encodes the whole term, and its error says what cannot be sent, and where.

Messages, maps and elements of lists that are sent again and again, with other values, are written by
functions that are compiled for their shape (``value_shapes.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.etf.encoder import BINARIES, LISTS, MAPS, NIL, TUPLES, Encoder, OwnForm
from quicdist.term.etf.integers import SMALL, big, integer_list
from quicdist.term.etf.leaf_lists import WriteAll, floats
from quicdist.term.etf.leaf_lists import formed as write_formed
from quicdist.term.etf.map_names import are_names, are_short
from quicdist.term.etf.shape_table import ValueTable
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.tags import VERSION
from quicdist.term.values import BitString, ImproperList

if TYPE_CHECKING:
    from quicdist.term.etf.shape_writers import Forms, WriteMany, WriteOne, WriteWhole
    from quicdist.term.etf.value_shapes import ValueShape

_tagged_uint32 = Struct(">BI").pack
_tagged_int32 = Struct(">Bi").pack
_tagged_double = Struct(">Bd").pack
_bits_head = Struct(">BIB").pack

#: Levels of a term that are written by recursion; see ``fast_decoder.py``.
_LEVELS = 36

#: The cache of keys in external form: keys of a map, and sets of keys.
_MAX_KEYS = 24
_MAX_FORMS = 512

#: Elements of a list from which on their shape is looked at.
_ALIKE = 8
#: Messages (and maps), and elements of lists, with the same key before a shape is compiled for it: to compile
#: one takes as long as it saves in one to five thousand of them.
_MESSAGES = 64
_ELEMENTS = 512
#: One in so many messages and maps without a shape is counted, for that many.
_COUNTED = 4
#: Levels that shapes may have.
_SHAPE_LEVELS = 10
#: The part of a shape that may be any term.
_MOST_ANY = 0.4
#: Parts of a tuple or list whose types are in the key of an element.
_MAX_KEY = 16

_VERSION = bytes((VERSION,))
_TRUE, _FALSE = Atom("true")._etf, Atom("false")._etf
_EMPTY_MAP = MAPS[0]
#: Types of keys that are names.
_NAMES = frozenset((Atom, str, bytes))
#: Types of keys of which no two are the same in Erlang unless they are equal in Python.
_DISTINCT_KEYS = frozenset((int, float, Atom, bytes, Pid, Port, Reference, Export, Fun))

#: External forms of empty terms.
_EMPTY: dict[type, bytes] = {tuple: TUPLES[0], list: NIL, dict: _EMPTY_MAP}

_Write: TypeAlias = Callable[[Any, list[bytes], int], None]


class NeedsEncoder(Exception):
    """The complete encoder has to encode the whole term."""


#: Raised by defects of this module only, never for a term: they must show.
DEFECTS = (NameError, AttributeError, AssertionError)


def fast_encoder(
    encoder: Encoder,
    none: Atom | None,
    limits: Limits,
    deterministic: bool,
    own_form: OwnForm | None = None,
) -> tuple[Callable[[Any, list[bytes]], None], Callable[[Any], bytes]]:
    """Two functions: one appends the external form of a term to ``parts``, the other returns it with the
    version byte. ``encoder`` encodes what the fast path does not handle, and raises the errors. After an
    EncodeError ``parts`` is as it was before."""

    # By the keys of a map: the external forms of the keys, the first with the map's header, and the function
    # for their shape. Maps with the same keys are frequent. Only names, which are equal to no other keys in
    # Python.
    known_keys: dict[tuple[Any, ...], tuple[list[bytes], WriteOne | Literal[False] | None]] = {}

    levels = min(_LEVELS, limits.max_depth)
    missed = 0

    # What is written as it keeps itself.
    formed = frozenset((Pid, Reference, Port, Export, Fun) if own_form is None else (Port, Export, Fun))

    # ``room`` is the number of further levels that the fast path may enter.

    def rest(term: Any, parts: list[bytes], room: int) -> None:
        encoder.write((term,), parts, levels - room)

    def write_terms(terms: Any, parts: list[bytes], room: int) -> None:
        for term in terms:
            kind = type(term)
            if kind is Atom:
                parts.append(term._etf)
            elif kind is int:
                if 0 <= term <= 255:
                    parts.append(SMALL[term])
                elif -0x80000000 <= term <= 0x7FFFFFFF:
                    parts.append(_tagged_int32(98, term))
                else:
                    parts.append(big(term))
            elif kind is tuple and room:
                parts.append(TUPLES[len(term)])
                write_terms(term, parts, room - 1)
            elif kind is bytes:
                size = len(term)
                parts.append(BINARIES[size] if size < 256 else _tagged_uint32(109, size))
                parts.append(term)
            elif kind is str:
                text = term.encode()
                size = len(text)
                parts.append(BINARIES[size] if size < 256 else _tagged_uint32(109, size))
                parts.append(text)
            elif kind is dict:
                write_map(term, parts, room)
            elif kind is list and room:
                if not term:
                    parts.append(NIL)
                elif type(term[0]) is int and (integers := integer_list(term)) is not None:
                    parts.append(integers)
                else:
                    size = len(term)
                    parts.append(LISTS[size] if size < 256 else _tagged_uint32(108, size))
                    if size >= _ALIKE and (first := type(term[0])) is type(term[-1]) and first in alike:
                        write_alike(term, parts, room - 1)
                    else:
                        write_terms(term, parts, room - 1)
                    parts.append(NIL)
            elif kind is float:
                if term - term:  # the difference is NaN for infinity and NaN
                    raise NeedsEncoder
                parts.append(_tagged_double(70, term))
            elif kind in formed:
                parts.append(term._etf)
            elif term is True:
                parts.append(_TRUE)
            elif term is False:
                parts.append(_FALSE)
            else:
                write.get(kind, rest)(term, parts, room)

    def write_alike(terms: list[Any], parts: list[bytes], room: int) -> None:
        """Write elements of a list, the first and the last of which have the same type."""
        first = terms[0]
        kind = type(first)
        if kind in of_type:
            if set(map(type, terms)) == {kind} and of_type[kind](terms, parts):
                return
        elif room:
            # The types first: only of these it is known that bool() of them raises nothing.
            if not first and kind in _EMPTY and set(map(type, terms)) == {kind} and not any(terms):
                parts.append(_EMPTY[kind] * len(terms))
                return
            key = element_key(first)
            write_many = writer_of_elements(key) if key else False
            if write_many:
                other, missed = write_many(terms, parts, room)
                if missed:
                    missed_element(key, other, count=missed)
                return
            if write_many is None:
                missed_element(key, first, count=len(terms))
        write_terms(terms, parts, room)

    def element_key(term: Any) -> tuple[Any, ...]:
        """The types of the parts of an element, the keys of a map; () for what has no shape."""
        kind = type(term)
        if kind is tuple or kind is list:
            return (kind, *map(type, term)) if len(term) <= _MAX_KEY else ()
        if kind is dict and not deterministic:
            keys = tuple(term)
            if len(keys) > _MAX_KEY:
                return ()
            if are_names(keys):
                return (kind, *keys) if are_short(keys) else ()
            return (kind, type(keys[0]), 1) if len(keys) == 1 else ()
        if kind is ImproperList:
            elements = term._elements
            return (kind, *map(type, elements), type(term._tail)) if len(elements) <= _MAX_KEY else ()
        return (kind,) if kind is BitString else ()

    def write_any(term: Any, parts: list[bytes], room: int) -> None:
        """Write a part of a message that may be any term."""
        if type(term) is tuple and term and room:
            first = term[0]
            kind = type(first)
            size = len(term)
            # Of a pair, such as {ok, Value}, the type of the second part too.
            key = first if kind is Atom else kind, size if size != 2 else type(term[1])
            write_message = writer_of_message(key)
            if write_message is False:
                parts.append(TUPLES[size])
                write_terms(term, parts, room - 1)
            elif write_message is None or not write_message(term, parts, room):
                write_tuple(term, parts, room, key)
        else:
            write_terms((term,), parts, room)

    def write_tuple(term: tuple[Any, ...], parts: list[bytes], room: int, key: tuple[Any, ...]) -> None:
        """Write a message that no function wrote; there may be one later, by its key."""
        nonlocal missed
        parts.append(TUPLES[len(term)])
        write_terms(term, parts, room - 1)
        missed += 1
        if not missed % _COUNTED:
            missed_message(key, term, count=_COUNTED)

    def write_map(term: dict[Any, Any], parts: list[bytes], room: int) -> None:
        if not term:
            parts.append(_EMPTY_MAP)
            return
        if deterministic or not room:
            rest(term, parts, room)
            return
        nonlocal missed
        keys = tuple(term)
        forms: list[bytes] | None = None
        known = known_keys.get(keys)
        if known is not None:
            forms, write_same = known
            if write_same and write_same(term, parts, room):
                return
            if not _NAMES.issuperset(map(type, keys)):  # a key of another type only says that it is equal
                forms = None
            elif write_same is not False:
                missed += 1
                if not missed % _COUNTED:
                    missed_map(keys, term, count=_COUNTED)
                    known_keys[keys] = forms, writer_of_map(keys)
        elif type(keys[0]) in _NAMES:
            forms = forms_of(keys)
        if not forms:
            size = len(term)
            if size == 1 or _DISTINCT_KEYS.issuperset(map(type, keys)):
                parts.append(MAPS[size] if size < 256 else _tagged_uint32(116, size))
                write_terms(chain.from_iterable(term.items()), parts, room - 1)
            else:
                rest(term, parts, room)
            return
        room -= 1
        for form, value in zip(forms, term.values()):  # noqa: B905 - as many as keys
            parts.append(form)
            kind = type(value)
            if kind is Atom:
                parts.append(value._etf)
            elif kind is int:
                if 0 <= value <= 255:
                    parts.append(SMALL[value])
                elif -0x80000000 <= value <= 0x7FFFFFFF:
                    parts.append(_tagged_int32(98, value))
                else:
                    parts.append(big(value))
            elif kind is bytes:
                size = len(value)
                parts.append(BINARIES[size] if size < 256 else _tagged_uint32(109, size))
                parts.append(value)
            elif kind is str:
                text = value.encode()
                size = len(text)
                parts.append(BINARIES[size] if size < 256 else _tagged_uint32(109, size))
                parts.append(text)
            elif kind is tuple and room:
                parts.append(TUPLES[len(value)])
                write_terms(value, parts, room - 1)
            elif kind is list and room:
                write_terms((value,), parts, room)
            elif kind is float:
                if value - value:
                    raise NeedsEncoder
                parts.append(_tagged_double(70, value))
            elif value is True:
                parts.append(_TRUE)
            elif value is False:
                parts.append(_FALSE)
            elif kind in formed:
                parts.append(value._etf)
            else:
                write.get(kind, rest)(value, parts, room)

    def forms_of(keys: tuple[Any, ...]) -> list[bytes] | None:
        if not are_names(keys):
            return None
        forms = []
        for key in keys:
            if type(key) is Atom:
                forms.append(key._etf)
                continue
            text = key.encode() if type(key) is str else key
            forms.append(_tagged_uint32(109, len(text)) + text)
        forms[0] = _tagged_uint32(116, len(keys)) + forms[0]
        if len(keys) <= _MAX_KEYS and are_short(keys):
            if len(known_keys) >= _MAX_FORMS:
                known_keys.clear()
            known_keys[keys] = forms, writer_of_map(keys)
        return forms

    def write_none(term: None, parts: list[bytes], room: int) -> None:
        parts.append(none_form)

    def write_improper(term: ImproperList, parts: list[bytes], room: int) -> None:
        if not room:
            rest(term, parts, room)
            return
        size = len(term._elements)
        parts.append(LISTS[size] if size < 256 else _tagged_uint32(108, size))
        write_terms((*term._elements, term._tail), parts, room - 1)

    def write_other_map(term: Map, parts: list[bytes], room: int) -> None:
        pairs = term._pairs
        if len(pairs) != 1 or not room:
            rest(term, parts, room)
            return
        parts.append(MAPS[1])
        write_terms(pairs[0], parts, room - 1)

    def write_bits(term: BitString, parts: list[bytes], room: int) -> None:
        parts.append(_bits_head(77, len(term._data), term._bits))
        parts.append(term._data)

    write: dict[type, _Write] = {
        dict: write_map,
        ImproperList: write_improper,
        BitString: write_bits,
        Map: write_other_map,
    }
    if own_form is not None:
        form_for_others = own_form

        def write_own(term: Any, parts: list[bytes], room: int) -> None:
            parts.append(form_for_others(term))

        write |= dict.fromkeys((Pid, Reference), write_own)
    if none is not None:
        none_form = none._etf
        write[type(None)] = write_none

    of_type: dict[type, WriteAll] = {float: floats, **dict.fromkeys(formed, write_formed)}
    alike = frozenset((*of_type, tuple, list, dict, ImproperList, BitString))

    def forms_for_shapes() -> Forms:
        from quicdist.term.etf.shape_writers import Forms

        return Forms(none, own_form, write_any)

    def compile_elements(shape: ValueShape) -> WriteMany:
        from quicdist.term.etf.shape_writers import compile_many

        return compile_many(shape, forms_for_shapes())

    def compile_for_binary(shape: ValueShape) -> WriteWhole:
        from quicdist.term.etf.shape_writers import compile_whole

        return compile_whole(shape, forms_for_shapes(), levels)

    def compile_message(shape: ValueShape) -> WriteOne:
        from quicdist.term.etf.shape_writers import compile_one

        return compile_one(shape, forms_for_shapes())

    options: dict[str, Any] = {
        "none": none is not None,
        "maps": not deterministic,
        "levels": min(_SHAPE_LEVELS, levels),
        "most_any": _MOST_ANY,
    }
    elements = ValueTable(compile_elements, threshold=_ELEMENTS, **options)
    writer_of_elements, missed_element = elements.functions.get, elements.missed
    messages = ValueTable(compile_message, threshold=_MESSAGES, **options)
    writer_of_message, missed_message = messages.functions.get, messages.missed
    wholes = ValueTable(compile_for_binary, threshold=_MESSAGES, **options)
    writer_of_whole, missed_whole = wholes.functions.get, wholes.missed

    def forget_map(keys: tuple[Any, ...]) -> None:
        if keys in known_keys:
            known_keys[keys] = known_keys[keys][0], None

    maps = ValueTable(compile_message, threshold=_MESSAGES, forget=forget_map, **options)
    writer_of_map, missed_map = maps.functions.get, maps.missed

    # In both functions the first branch is much as in write_any(): a call takes a tenth of the time of a
    # small message.

    def encode(term: Any, parts: list[bytes]) -> None:
        before = len(parts)
        try:
            if type(term) is tuple and term and levels:
                first = term[0]
                kind = type(first)
                size = len(term)
                key = first if kind is Atom else kind, size if size != 2 else type(term[1])
                write_message = writer_of_message(key)
                if write_message is False:
                    parts.append(TUPLES[size])
                    write_terms(term, parts, levels - 1)
                elif write_message is None or not write_message(term, parts, levels):
                    write_tuple(term, parts, levels, key)
            else:
                write_terms((term,), parts, levels)
            return
        except DEFECTS:
            del parts[before:]
            raise
        except Exception:  # also of a key's own __hash__
            del parts[before:]
        encoder.encode_into(term, parts)

    def to_binary(term: Any) -> bytes:
        nonlocal missed
        try:
            if type(term) is tuple and term and levels:
                first = term[0]
                kind = type(first)
                size = len(term)
                key = first if kind is Atom else kind, size if size != 2 else type(term[1])
                write_whole = writer_of_whole(key)
                if write_whole and (whole := write_whole(term)):
                    return whole
                parts = [_VERSION, TUPLES[size]]
                write_terms(term, parts, levels - 1)
                if write_whole is not False:
                    missed += 1
                    if not missed % _COUNTED:
                        missed_whole(key, term, count=_COUNTED)
            else:
                parts = [_VERSION]
                write_terms((term,), parts, levels)
            return b"".join(parts)
        except DEFECTS:
            raise
        except Exception:
            parts = [_VERSION]
        encoder.encode_into(term, parts)
        return b"".join(parts)

    return encode, to_binary
