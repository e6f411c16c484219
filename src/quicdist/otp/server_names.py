"""Names of servers that a node does not keep by itself.

OTP: ``gen_server(3)``, *server_name()* and *server_ref()*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from quicdist.protocol.names import node_name
from quicdist.term import Atom, Pid
from quicdist.term.identity import exact_form
from quicdist.term.names import REGISTERED_NAME, Name, name_of


class NameRegistry(Protocol):
    """What a module for ``{via, Module, Name}`` has; each may be a coroutine function."""

    def whereis_name(self, name: Any) -> Any:
        """The pid behind a name; None where there is none."""

    def register_name(self, name: Any, pid: Pid) -> Any:
        """Give a process a name; whether it was free."""

    def unregister_name(self, name: Any) -> Any:
        """Take a name away."""


@dataclass(frozen=True, slots=True)
class Global:
    """A server by its global name, any term (``{global, Name}``); a ``str`` stands for the atom."""

    name: Any

    def key(self) -> Any:
        """What is the same for two of them that mean the same."""
        return exact_form(self.name)


@dataclass(frozen=True, slots=True)
class Via:
    """A server by a name that a module keeps (``{via, Module, Name}``).

    ``module`` is a :class:`NameRegistry`; or, by its name, a module of a BEAM, called on ``node``
    (by default on the first connected node that has it), as ``"Elixir.Registry"`` or ``"gproc"``.
    """

    module: Name | NameRegistry
    name: Any
    node: Name | None = None

    def __post_init__(self) -> None:
        if isinstance(self.module, str | Atom):
            object.__setattr__(self, "module", name_of(self.module))
        if self.node is not None:
            object.__setattr__(self, "node", node_name(self.node))

    def key(self) -> Any:
        return (
            self.module if isinstance(self.module, str) else id(self.module),
            exact_form(self.name),
            self.node,
        )


#: A name that has to be looked up, by asking others.
GlobalOrVia = Global | Via


def split_server_name(name: Name | GlobalOrVia | None) -> tuple[str | None, GlobalOrVia | None]:
    """A name for a server of this node: the one it is registered under here, or the one that others
    keep. Raises TypeError for what is neither."""
    if name is None or isinstance(name, Global | Via):
        return None, name
    return name_of(name, f"{REGISTERED_NAME}, Global or Via"), None
