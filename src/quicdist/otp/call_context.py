"""Who is calling: what an exported function can learn about the call it runs for."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from typing import Any

from quicdist.node.errors import NodeError
from quicdist.node.process import Process
from quicdist.term import Pid


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an exported function.

    ``process`` runs it, and is what ``self()`` would be there. ``caller`` is the process that
    asked; None where the protocol does not tell (a cast to ``rex``).
    """

    process: Process
    caller: Pid | None


current: contextvars.ContextVar[Call] = contextvars.ContextVar("quicdist_call")


def current_call() -> Call:
    """The call that the running exported function serves, also in a thread; not in another process.

    Raises :class:`NodeError` outside of one.
    """
    try:
        return current.get()
    except LookupError:
        raise NodeError("no exported function is being called here") from None


def is_called_on(node: Any) -> bool:
    """Whether this is code of an exported function that runs for a call to ``node``."""
    call = current.get(None)
    return call is not None and call.process.alive and call.process.node is node
