"""Atoms and pids from bytes, the recent ones from a cache by their external form."""

from __future__ import annotations

from struct import Struct
from typing import Any, ClassVar, TypeVar

from quicdist.term.atom import Atom, decoded_atom
from quicdist.term.etf.malformed import Malformed, named, too_few
from quicdist.term.funs import Export
from quicdist.term.identifiers import Pid, Reference
from quicdist.term.limits import Limits
from quicdist.term.tags import Tag

I = TypeVar("I", Pid, Reference)  # noqa: E741

_uint16 = Struct(">H").unpack_from
_pid = Struct(">III").unpack_from

#: Atoms with a longer external form are kept in up to so many bytes in all; longer pids are not cached. So a
#: peer cannot make the caches large.
_LONG = 128
_MAX_LONG = 1 << 17
#: Of the entries of the other caches, so many times fewer exports are cached.
_FEWER_EXPORTS = 4


class DecodeCache:
    """Reads atoms, pids and exports; ``atoms``, ``nodes``, ``pids`` and ``exports`` are caches by external
    form, all bounded.

    ``atoms`` has what an atom decodes to (a bool, None), ``nodes`` always an Atom.
    """

    __slots__ = ("_limits", "_long", "_none", "atoms", "exports", "nodes", "pids")

    #: Whether :meth:`own` returns another identifier.
    translates: ClassVar[bool] = False

    def __init__(self, none: Atom | None, limits: Limits) -> None:
        self._none = none
        self._limits = limits
        self.atoms: dict[bytes, Any] = {}
        self.nodes: dict[bytes, Atom] = {}
        self.pids: dict[bytes, Pid] = {}
        self.exports: dict[bytes, Export] = {}
        self._long = 0

    def new_atom(self, data: Any, i: int, etf: bytes) -> tuple[Any, int]:
        """Decode an atom that is not in the cache."""
        atom, end = self.node(data, i)
        value: Any = atom
        if atom.name == "true":
            value = True
        elif atom.name == "false":
            value = False
        elif atom is self._none:
            value = None
        self._remember(self.atoms, etf, value)
        return value, end

    def node(self, data: Any, i: int) -> tuple[Atom, int]:
        """The atom at ``i``, always as an Atom: names of nodes, modules, functions, fields."""
        tag = data[i]
        if tag == Tag.SMALL_ATOM_UTF8_EXT or tag == Tag.SMALL_ATOM_EXT:
            start = i + 2
            end = start + data[i + 1]
        elif tag == Tag.ATOM_EXT or tag == Tag.ATOM_UTF8_EXT:
            start = i + 3
            end = start + _uint16(data, i + 1)[0]
        else:
            raise Malformed(f"expected an atom, got {named(tag)}")
        if end > len(data):
            raise Malformed(too_few("atom", end - start, len(data) - start))
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
                raise Malformed(f"an atom that is not UTF-8: {error.reason}") from None
        atom = decoded_atom(name, etf)
        self._remember(self.nodes, etf, atom)
        return atom, end

    def new_pid(self, data: Any, i: int, etf: bytes) -> tuple[Pid, int]:
        """Decode a pid that is not in the cache."""
        node, j = self.node(data, i + 1)
        id, serial, creation = _pid(data, j)
        pid = self.own(Pid(node, id, serial, creation))
        if len(etf) <= _LONG:
            self._remember(self.pids, etf, pid)
        return pid, j + 12

    def own(self, identifier: I) -> I:
        """A pid or reference that is not in a cache, in place of ``identifier``."""
        return identifier

    def as_atom(self, value: Any) -> Atom:
        if type(value) is Atom:
            return value
        if value is None and self._none is not None:
            return self._none
        if type(value) is bool:
            return Atom("true" if value else "false")
        raise Malformed(f"expected the name of a record, an atom, got {type(value).__name__}")

    def new_export(self, etf: bytes, module: Atom, function: Atom, arity: int) -> Export:
        """The export with this external form, which is not in the cache."""
        export = Export(module, function, arity)
        if len(etf) <= _LONG:
            if len(self.exports) >= self._limits.cache_size // _FEWER_EXPORTS:
                self.exports.clear()
            self.exports[etf] = export
        return export

    def _remember(self, cache: dict[bytes, Any], etf: bytes, value: Any) -> None:
        if len(etf) > _LONG:
            self._long += len(etf)
            if self._long > _MAX_LONG:
                self._long = 0
                for names in (self.atoms, self.nodes):
                    # tuple() is one step, so other threads can add atoms meanwhile.
                    for long in [known for known in tuple(names) if len(known) > _LONG]:
                        names.pop(long, None)
        if len(cache) >= self._limits.cache_size:
            cache.clear()
        cache[etf] = value
