"""The fast path of the encoder, for the common terms of messages.

As in ``fast_decoder.py``, the fast path recurses into the first levels of a term and handles the common
types. Parts of other types, or deeper ones, are encoded by the complete encoder (``encoder.py``). After any
exception here the complete encoder encodes the whole term, and its error says what cannot be sent, and where.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from struct import Struct
from typing import Any, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.etf.encoder import BINARIES, LISTS, MAPS, NIL, TUPLES, Encoder, OwnForm
from quicdist.term.etf.integers import SMALL, big, integer_list
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.values import BitString, ImproperList

_tagged_uint32 = Struct(">BI").pack
_tagged_int32 = Struct(">Bi").pack
_tagged_double = Struct(">Bd").pack
_bits_head = Struct(">BIB").pack

#: Levels of a term that are written by recursion; see ``fast_decoder.py``.
_LEVELS = 36

#: The cache of keys in external form: keys of a map, and sets of keys.
_MAX_KEYS = 24
_MAX_SHAPES = 512

_TRUE, _FALSE = Atom("true")._etf, Atom("false")._etf
_EMPTY_MAP = MAPS[0]
#: Types of keys that are names.
_NAMES = frozenset((Atom, str, bytes))
#: Types of keys of which no two are the same in Erlang unless they are equal in Python.
_DISTINCT_KEYS = frozenset((int, float, Atom, bytes, Pid, Port, Reference, Export, Fun))

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
) -> Callable[[Any, list[bytes]], None]:
    """A function that appends the external form of a term to ``parts``; ``encoder`` encodes what the fast
    path does not handle, and raises the errors. After an EncodeError ``parts`` is as it was before."""

    # By the keys of a map: the external forms of the keys, the first with the map's header. Maps with the
    # same keys are frequent. Only atoms and strings, or atoms and bytes, which are equal to no other keys in
    # Python.
    shapes: dict[tuple[Any, ...], list[bytes]] = {}

    levels = min(_LEVELS, limits.max_depth)

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

    def write_map(term: dict[Any, Any], parts: list[bytes], room: int) -> None:
        if not term:
            parts.append(_EMPTY_MAP)
            return
        if deterministic or not room:
            rest(term, parts, room)
            return
        keys = tuple(term)
        forms = shapes.get(keys)
        if forms is None and type(keys[0]) in _NAMES:
            forms = shape(keys)
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

    def shape(keys: tuple[Any, ...]) -> list[bytes] | None:
        forms = []
        texts = set()
        for key in keys:
            if type(key) is Atom:
                forms.append(key._etf)
                continue
            kind = type(key)
            if kind is not str and kind is not bytes:
                return None
            texts.add(kind)
            text = key.encode() if kind is str else key
            forms.append(_tagged_uint32(109, len(text)) + text)
        if len(texts) > 1:  # "a" and b"a" are the same key in Erlang
            return None
        if forms:
            forms[0] = _tagged_uint32(116, len(keys)) + forms[0]
        if len(keys) <= _MAX_KEYS:
            if len(shapes) >= _MAX_SHAPES:
                shapes.clear()
            shapes[keys] = forms
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
        if len(term) != 1 or not room:
            rest(term, parts, room)
            return
        parts.append(MAPS[1])
        write_terms(next(iter(term.items())), parts, room - 1)

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

    def encode(term: Any, parts: list[bytes]) -> None:
        before = len(parts)
        try:
            if type(term) is tuple and levels:  # as most messages are
                parts.append(TUPLES[len(term)])
                write_terms(term, parts, levels - 1)
            else:
                write_terms((term,), parts, levels)
            return
        except DEFECTS:
            del parts[before:]
            raise
        except Exception:  # also of a key's own __hash__
            del parts[before:]
        encoder.encode_into(term, parts)

    return encode
