"""The call that an exported function runs for: its process and its caller."""

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

    ``process`` is the process that runs it (``self()``). ``caller`` is the process that called; None if the
    protocol does not name it (a cast to ``rex``).
    """

    process: Process
    caller: Pid | None


current: contextvars.ContextVar[Call] = contextvars.ContextVar("quicdist_call")


def current_call() -> Call:
    """The call that the exported function runs for, also in a thread; not in another OS process.

    Raises :class:`NodeError` outside an exported function.
    """
    try:
        return current.get()
    except LookupError:
        raise NodeError("current_call() is called outside an exported function") from None


def is_called_on(node: Any) -> bool:
    """Whether the current code is an exported function that runs for a call to ``node``."""
    return _call_on(node) is not None


def group_leader(node: Any) -> Pid | None:
    """The group leader of the exported function that runs for a call to ``node``; None outside one."""
    call = _call_on(node)
    return None if call is None else call.process.group_leader


def _call_on(node: Any) -> Call | None:
    call = current.get(None)
    return call if call is not None and call.process.alive and call.process.node is node else None
