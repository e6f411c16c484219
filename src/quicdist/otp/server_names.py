"""Names of servers that a node does not keep by itself.

OTP: ``gen_server(3)``, *server_name()* and *server_ref()*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from quicdist.term import Pid
from quicdist.term.exact import exact_form


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

    module: str | NameRegistry
    name: Any
    node: str | None = None

    def key(self) -> Any:
        return (
            self.module if isinstance(self.module, str) else id(self.module),
            exact_form(self.name),
            self.node,
        )


#: A name that has to be looked up, by asking others.
LookedUp = Global | Via
