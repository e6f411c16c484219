"""Where the standard output of the running code goes, if that is not this program's own."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class CodeOutput(Protocol):
    """The output of a called function or of a spawned process."""

    @property
    def is_current(self) -> bool:
        """Whether the code that runs is that function's own."""
        ...

    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...


#: Set for functions that another node calls, and for what they start: tasks, threads and processes.
code_output: ContextVar[CodeOutput | None] = ContextVar("quicdist_code_output", default=None)
