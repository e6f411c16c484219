"""Maps with atoms as keys, as Erlang and Elixir have them, from and to names of Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.errors import TermError
from quicdist.term.names import Name, atom_of, name_of

_STRUCT = Atom("__struct__")


def atom_keys(mapping: Mapping[Name, Any] | None = None, /, **fields: Any) -> dict[Atom, Any]:
    """A map with atom keys, ``#{name => <<"Ada">>}``: of a mapping with str (or Atom) keys, of keyword
    arguments, or of both, of which the keyword arguments win.

    The values are not changed: maps in maps keep their keys. Raises TypeError for another key.
    """
    made = {atom_of(key, "a key"): value for key, value in (mapping or {}).items()}
    made.update((Atom(key), value) for key, value in fields.items())
    return made


def str_keys(mapping: Mapping[Any, Any], /) -> dict[str, Any]:
    """A map whose keys are atoms or text, as a dict with str keys, which can be keyword arguments:
    ``f(**str_keys(term))``. A binary key is read as UTF-8; the keys True, False and None are their
    atoms ``true``, ``false`` and ``undefined``.

    The values are not changed. Raises TermError for another key, and where two keys become one.
    """
    made = {_key(key): value for key, value in mapping.items()}
    if len(made) != len(mapping):
        raise TermError("two keys of a map become the same str")
    return made


def _key(key: Any) -> str:
    match key:
        case Atom(name):
            return name
        case str():
            return key
        case bytes():
            try:
                return key.decode()
            except UnicodeDecodeError:
                pass
        case None:
            return "undefined"
        case bool():
            return "true" if key else "false"
    raise TermError(f"the key {key!r:.100} is not an atom or UTF-8 text")


def elixir_struct(
    module: Name, mapping: Mapping[Name, Any] | None = None, /, **fields: Any
) -> dict[Atom, Any]:
    """An Elixir struct, ``%MyApp.User{name: "Ada"}``: a map with atom keys and ``__struct__``.

    ``module`` is its name in Elixir, ``"MyApp.User"``. Pass all fields: the defaults are known to the Elixir
    module only.
    """
    name = name_of(module, "a module")
    made = atom_keys(mapping, **fields)
    made[_STRUCT] = Atom(name if name.startswith("Elixir.") else f"Elixir.{name}")
    return made
