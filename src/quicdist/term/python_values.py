"""Converts terms to plain Python values, for ``json``, templates and other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.base import Value
from quicdist.term.errors import TermError
from quicdist.term.values import Record


def to_python(term: Any) -> Any:
    """A term as plain Python, with nothing of quicdist's own in it.

    Atoms become ``str``; so do binaries that are UTF-8 text, others stay ``bytes``. Lists, tuples and
    dicts are made anew of their converted parts; a :class:`Map` and a :class:`Record` (without its name)
    become a dict, and a list or a map that is a key a tuple. Pids, ports, references, funs, bitstrings
    and improper lists become the text that Erlang prints. Numbers, bools and None stay, and so does
    what is no term.

    The other direction has lost what was an atom and what a binary: it is for reading. ``json.dumps(
    to_python(term))`` is JSON, if no binary in it is other than text and no key a tuple; ``json.dumps(
    term, default=to_python)`` will do where no key is an atom.

    Raises :class:`TermError` where two keys become one, and for a term nested deeper than Python recurses.
    """
    try:
        return _converted(term)
    except RecursionError:
        raise TermError("the term is nested deeper than Python's recursion limit") from None


def _converted(term: Any) -> Any:
    if isinstance(term, Atom):
        return term.name
    if isinstance(term, bytes | bytearray | memoryview):
        return _text(bytes(term))
    if isinstance(term, list):
        return [_converted(part) for part in term]
    if isinstance(term, tuple):
        return tuple(_converted(part) for part in term)
    if isinstance(term, Mapping):
        return _dict(term)
    if isinstance(term, Record):
        return _dict(term.fields)
    return str(term) if isinstance(term, Value) else term


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _dict(pairs: Mapping[Any, Any]) -> dict[Any, Any]:
    made = {_hashable(_converted(key)): _converted(value) for key, value in pairs.items()}
    if len(made) != len(pairs):
        raise TermError("two keys of a map become the same key in Python")
    return made


def _hashable(key: Any) -> Any:
    if isinstance(key, list | tuple):
        return tuple(map(_hashable, key))
    if isinstance(key, dict):
        return tuple((_hashable(name), _hashable(value)) for name, value in key.items())
    return key
