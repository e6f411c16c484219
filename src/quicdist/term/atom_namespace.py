"""Atoms as attributes: ``atoms.ok``, for values and for patterns of ``match``."""

from __future__ import annotations

from quicdist.term.atom import Atom

#: Python's special attributes begin and end with two underscores; these two are keys of Elixir's structs.
_ELIXIR_KEYS = frozenset({"__struct__", "__exception__"})


class Atoms:
    """A namespace in which every name is the atom of that name: ``atoms.ok`` is ``Atom("ok")``.

    A dotted name is a pattern that ``match`` compares, as a key of a map too:
    ``case {atoms.name: name}:``. A trailing underscore is left out, for the keywords of Python:
    ``atoms.from_`` is ``Atom("from")``.

    ``atoms.true`` and ``atoms.false`` raise AttributeError: these atoms are ``True`` and ``False`` in
    Python. So is ``undefined`` None, unless another atom was chosen for None: match ``None`` then.
    """

    def __getattr__(self, name: str) -> Atom:
        if name.startswith("__") and name.endswith("__") and name not in _ELIXIR_KEYS:
            raise AttributeError(name)
        if name in ("true", "false"):
            raise AttributeError(f"the atom {name} is {name.title()} in Python")
        atom = Atom(name if name in _ELIXIR_KEYS else name.removesuffix("_"))
        self.__dict__[name] = atom  # the next use does not come here
        return atom

    def __repr__(self) -> str:
        return "atoms"


#: Every name is the atom of that name: ``atoms.ok``.
atoms = Atoms()
