"""Names and argument lists as a program may pass them.

Erlang has atoms where Python has text: the name of a module, a function, a registered process or a node may
be passed as an :class:`Atom` or as a str, and other nodes send theirs as atoms (``Pid.node``,
``erlang:nodes/0``). Each function that takes a name calls :func:`name_of` or :func:`atom_of` first.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeAlias

from quicdist.term.atom import Atom

#: A name as a program may pass it.
Name: TypeAlias = str | Atom
#: Kinds of names, for error messages.
MODULE, FUNCTION, REGISTERED_NAME = "a module", "a function", "a registered name"
#: ``{Module, Function, Arguments}``.
MFA: TypeAlias = tuple[Atom, Atom, list[Any]]


def name_of(name: Name, what: str = "a name") -> str:
    """The text of a name. Raises TypeError, which says that ``what`` was expected."""
    if type(name) is str:
        return name
    if type(name) is Atom:
        return name.name
    if isinstance(name, str):
        return str.__str__(name)  # an enumeration's str() is another
    raise TypeError(f"{what} is a str or an Atom, not {_shown(name)}")


def atom_of(name: Name, what: str = "a name") -> Atom:
    """A name as an atom. Raises TypeError, which says that ``what`` was expected, and
    :class:`~quicdist.term.TermError` for one that no atom can have."""
    return name if type(name) is Atom else Atom(name_of(name, what))


def named_term(name: Any) -> Any:
    """A name that may be any term (of a group, a global process, a child): a str stands for the atom."""
    return Atom(name) if isinstance(name, str) else name


def argument_list(arguments: Iterable[Any]) -> list[Any]:
    """The arguments of a function, a list with one for each of its parameters. Raises TypeError for
    other values: text and binaries would be taken for lists of characters and bytes."""
    if isinstance(arguments, str | bytes | bytearray | memoryview | Mapping | Set) or not isinstance(
        arguments, Iterable
    ):
        raise TypeError(
            f"arguments are a list, one for each parameter, not {_shown(arguments)}: for one argument "
            "give a list of one"
        )
    return list(arguments)


def mfa_of(module: Name, function: Name, arguments: Iterable[Any]) -> MFA:
    """A function and its arguments. Raises as :func:`atom_of` and :func:`argument_list`."""
    return atom_of(module, MODULE), atom_of(function, FUNCTION), argument_list(arguments)


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {reprlib.repr(value)}"
