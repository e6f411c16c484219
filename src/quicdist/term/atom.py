"""Atoms, one object for each name."""

from __future__ import annotations

import threading
import weakref
from typing import final

from quicdist.term.base import Value
from quicdist.term.errors import TermError
from quicdist.term.tags import Tag

#: An atom has at most this many characters (OTP, Efficiency Guide, "System Limits").
MAX_ATOM_CHARACTERS = 255

# Weak: an atom lives as long as someone uses it, so no peer can fill this table for good.
_interned: weakref.WeakValueDictionary[str, Atom] = weakref.WeakValueDictionary()
_lock = threading.Lock()


@final
class Atom(Value):
    """An Erlang atom: ``Atom("ok")``. There is one object for each name, so ``is`` works too.

    Equal to no string and to no bool: the atoms ``true`` and ``false`` arrive as ``True`` and ``False``, and
    are sent from those. ``str()`` is the bare name, without quotes, for use as a name; ``format_term`` writes
    it as Erlang source does.

    Raises TermError if the name has more than 255 characters or a lone surrogate.
    """

    __slots__ = ("__weakref__", "_etf", "name")
    __match_args__ = ("name",)  # `case (Atom("ok"), value)` reads as the term does

    name: str
    _etf: bytes  # the external form, made once

    def __new__(cls, name: str | Atom) -> Atom:
        found = _interned.get(name)  # type: ignore[arg-type]
        if found is not None:
            return found
        if type(name) is Atom:
            return name
        if not isinstance(name, str):
            raise TermError(f"an atom's name is a str, not {type(name).__name__}")
        name = str.__str__(name)  # a subclass of str must not live on in the table
        return _intern(name, _external_form(name))

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)

    def __repr__(self) -> str:
        return f"Atom({self.name!r})"

    def __reduce__(self) -> tuple[type[Atom], tuple[str]]:
        return Atom, (self.name,)


def atom_count() -> int:
    """How many atoms exist now, in all nodes of this interpreter."""
    return len(_interned)


def _external_form(name: str) -> bytes:
    """SMALL_ATOM_UTF8_EXT or ATOM_UTF8_EXT (erl_ext_dist)."""
    if len(name) > MAX_ATOM_CHARACTERS:
        raise TermError(f"an atom has at most {MAX_ATOM_CHARACTERS} characters, not {len(name)}")
    try:
        text = name.encode()
    except UnicodeEncodeError as error:
        raise TermError(f"the name of an atom is not valid Unicode: {error}") from None
    if len(text) < 256:
        return bytes((Tag.SMALL_ATOM_UTF8_EXT, len(text))) + text
    return bytes((Tag.ATOM_UTF8_EXT,)) + len(text).to_bytes(2, "big") + text


def decoded_atom(name: str, etf: bytes) -> Atom:
    """The atom with this name; ``etf`` is an external form of it. Raises TermError."""
    if etf[0] != Tag.SMALL_ATOM_UTF8_EXT:
        return Atom(name)
    if len(name) > MAX_ATOM_CHARACTERS:
        raise TermError(f"an atom has at most {MAX_ATOM_CHARACTERS} characters, not {len(name)}")
    return _intern(name, etf)


def _intern(name: str, etf: bytes) -> Atom:
    with _lock:
        atom = _interned.get(name)
        if atom is None:
            atom = object.__new__(Atom)
            _set_name(atom, name)
            _set_etf(atom, etf)
            _interned[name] = atom
        return atom


_set_name = Atom.name.__set__  # type: ignore[attr-defined, misc]
_set_etf = Atom._etf.__set__  # type: ignore[attr-defined, misc]
