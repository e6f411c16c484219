"""What a call to another process or node can end with."""

from __future__ import annotations

from typing import Any

from quicdist.node.errors import NodeError
from quicdist.term import format_term


class CallTimeout(NodeError, TimeoutError):
    """No answer came within the time given."""

    def __init__(self, what: str, timeout: float) -> None:
        super().__init__(f"{what} did not answer within {timeout:g} s")


class RemoteError(NodeError):
    """A function called on another node did not return.

    ``kind`` is Erlang's class of exception (``"error"``, ``"exit"`` or ``"throw"``), or
    ``"signal"`` where the process that ran it was ended from outside; ``reason`` the term raised;
    ``stack`` the stack trace there, where one came (a list of ``(module, function, arity or
    arguments, location)``). A Python function that raises one passes on all three to its caller.
    """

    def __init__(self, kind: str, reason: Any, stack: list[Any] | None = None, *, where: str = "") -> None:
        self.kind = kind
        self.reason = reason
        self.stack = stack
        super().__init__(f"{where + ': ' if where else ''}{kind}: {format_term(reason)}")
