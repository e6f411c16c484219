"""Node names: ``alive@host``.

Source: OTP's ``net_kernel`` (``valid_name_head/1``, ``validate_hostname/1``) and
``dist_util:is_node_name/1``; Erlang Reference Manual, *Distributed Erlang*, *Nodes*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from quicdist.protocol.errors import InvalidNodeName
from quicdist.term import Atom
from quicdist.term.names import Name, name_of

#: A name, as it was given.
N = TypeVar("N", bound=Name)

#: A node name is an atom: at most this many characters.
MAX_NODE_NAME = 255

_ALIVE = re.compile(r"[0-9A-Za-z_\-]+")
_HOST = re.compile("[!-\u00ff]+")
_UNPRINTABLE = re.compile("[\0-\x20\x7f-\xa0]")


class NodeName(NamedTuple):
    """A node name in its two parts."""

    alive: str
    host: str

    @property
    def is_long(self) -> bool:
        """Whether it belongs to a cluster of long names: its host has a dot, or is IPv6."""
        return "." in self.host or ":" in self.host

    def __str__(self) -> str:
        return f"{self.alive}@{self.host}"


def is_node_name(name: str) -> bool:
    """``dist_util:is_node_name/1``: exactly one ``@`` with something on both sides."""
    alive, at, host = name.partition("@")
    return bool(alive and at and host) and "@" not in host


def parse_node_name(name: str) -> NodeName:
    """Split the name of another node; more lenient than :func:`validate_node_name`, as OTP is.

    Raises :class:`InvalidNodeName` for what is not ``alive@host`` in at most 255
    printable Latin-1 characters.
    """
    if not is_node_name(name):
        raise InvalidNodeName(name, "it must be of the form alive@host")
    _check_atom(name)
    alive, _, host = name.partition("@")
    return NodeName(alive, host)


def validate_node_name(name: str) -> NodeName:
    """Split a name for this node; as strict as ``net_kernel`` is at start-up.

    The part before the ``@`` consists of letters, digits, ``_`` and ``-``, the host of printable
    Latin-1 characters. Raises :class:`InvalidNodeName`.
    """
    parsed = parse_node_name(name)
    if not _ALIVE.fullmatch(parsed.alive):
        raise InvalidNodeName(name, "only letters, digits, _ and - are allowed before the @")
    if not _HOST.fullmatch(parsed.host):
        raise InvalidNodeName(name, "the host has a character that a host name cannot have")
    return parsed


def encode_name(name: str) -> bytes:
    """A node (or host) name as the handshake carries it: Latin-1. Raises :class:`InvalidNodeName`."""
    _check_atom(name)
    return name.encode("latin-1")


def _check_atom(name: str) -> None:
    if len(name) > MAX_NODE_NAME:
        raise InvalidNodeName(name, f"it has {len(name)} characters, the most is {MAX_NODE_NAME}")
    if not name.isascii() and max(name) > "\u00ff":
        raise InvalidNodeName(name, "it has a character outside Latin-1")
    if _UNPRINTABLE.search(name):
        raise InvalidNodeName(name, "it has a character that cannot be printed")


# -- names as a program gives them -------------------------------------------------------------


def node_name(node: Name) -> str:
    """The name of a node, given as a str or an :class:`Atom`, as a str. Raises TypeError for anything else;
    whether a node can have the name is not checked."""
    return name_of(node, "a node name")


def node_names(nodes: Iterable[N]) -> list[N]:
    """Several names of nodes as a list, unchanged. Raises TypeError for one name in place of several."""
    if isinstance(nodes, str | Atom | bytes) or not isinstance(nodes, Iterable):
        raise TypeError(f"expected a list of node names, such as [{nodes!r}], got {type(nodes).__name__}")
    names = list(nodes)
    for name in names:
        node_name(name)
    return names
