"""The pids and references of a node whose name others give it, and may change.

Within such a node they are of one node name for as long as it lives. On a connection they are of the name,
and the creation, that the node has for others. (In the BEAM internal pids carry no node name.)
"""

from __future__ import annotations

from typing import Any, TypeVar

from quicdist.term.atom import Atom
from quicdist.term.etf.decoder import Decoder
from quicdist.term.identifiers import Pid, Reference

I = TypeVar("I", Pid, Reference)  # noqa: E741

#: The creation of these identifiers within the node.
INTERNAL_CREATION = 0


class OwnIdentifiers:
    """Translates identifiers of the node ``internal`` to those of ``name`` with ``creation``, and back."""

    __slots__ = ("_creation", "_internal", "name")

    def __init__(self, internal: Atom, name: Atom, creation: int) -> None:
        self._internal = internal
        self.name = name
        self._creation = creation

    def form(self, term: Any) -> bytes:
        """The external form of an identifier or a fun for others."""
        if isinstance(term, Pid | Reference) and term._node is self._internal:
            term = _of(term, self.name, self._creation)
        form: bytes = term._etf
        return form

    def internal(self, term: I) -> I:
        """A received identifier as it is within the node."""
        if term._node is self.name and term.creation == self._creation:
            internal: I = _of(term, self._internal, INTERNAL_CREATION)
            return internal
        return term


def _of(term: Any, node: Atom, creation: int) -> Any:
    if isinstance(term, Pid):
        return Pid(node, term.id, term.serial, creation)
    return Reference(node, term.ids, creation)


class OwnDecoder(Decoder):
    """Decodes identifiers of this node as they are within it."""

    __slots__ = ("_own",)

    translates = True

    def __init__(self, own: OwnIdentifiers, *options: Any) -> None:
        super().__init__(*options)
        self._own = own

    def node(self, data: Any, i: int) -> tuple[Atom, int]:
        atom, end = super().node(data, i)
        if atom is self._own.name:
            # The complete decoder does not pass a reference to own() whose node is in the cache.
            self.nodes.pop(bytes(data[i:end]), None)
        return atom, end

    def own(self, identifier: I) -> I:
        return self._own.internal(identifier)
