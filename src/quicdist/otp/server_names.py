"""Server names that are registered elsewhere: ``{global, Name}`` and ``{via, Module, Name}``.

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
    """A module for ``{via, Module, Name}``; each function can be a coroutine function."""

    def whereis_name(self, name: Any) -> Any:
        """The pid of a name; None if it is not registered."""

    def register_name(self, name: Any, pid: Pid) -> Any:
        """Register a name for a process; False if it is taken."""

    def unregister_name(self, name: Any) -> Any:
        """Unregister a name."""


@dataclass(frozen=True, slots=True)
class Global:
    """A globally registered server, ``{global, Name}``. The name is any term; a ``str`` stands for the
    atom."""

    name: Any

    def key(self) -> Any:
        """A key that is equal for names that are equal in Erlang."""
        return exact_form(self.name)


@dataclass(frozen=True, slots=True)
class Via:
    """A server registered with a module, ``{via, Module, Name}``.

    ``module`` is a :class:`NameRegistry`, or the name of a module on a BEAM, such as
    ``"Elixir.Registry"`` or ``"gproc"``, which is called on ``node`` (by default on the first connected
    node that has it).
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


#: A name that is registered elsewhere.
GlobalOrVia = Global | Via


def split_server_name(name: Name | GlobalOrVia | None) -> tuple[str | None, GlobalOrVia | None]:
    """A server's name as a local name and a name registered elsewhere; one of them is None. Raises TypeError
    for another value."""
    if name is None or isinstance(name, Global | Via):
        return None, name
    return name_of(name, f"{REGISTERED_NAME}, Global or Via"), None
