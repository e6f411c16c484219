"""The report of the demo: one line for each step, with its result."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from quicdist import QuicDistError

#: The column of the result, if it fits into the line.
_COLUMN = 48
#: Seconds after which a running step is printed, without a terminal.
_LONG = 2.0


class StepFailed(Exception):
    """The result is not the expected one."""


class DemoAborted(Exception):
    """A step failed that all others need."""


class Line:
    """One line of the report, while its step runs."""

    def __init__(self) -> None:
        #: The result of the step, as text.
        self.came = ""
        #: Whether the step succeeded; None while it runs.
        self.succeeded: bool | None = None

    def expect(self, came: Any, expected: Any) -> None:
        """Fail the step unless ``came`` equals ``expected``; the line shows ``came``."""
        if came != expected:
            raise StepFailed(f"expected {_shown(expected)}, got {_shown(came)}")
        self.came = self.came or _shown(came)


class Report:
    """Prints a line for each step, and counts successes."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, emoji=False)
        self.succeeded = 0
        self.failed = 0
        utf8 = self.console.encoding.lower().startswith("utf")
        self._tick, self._cross, self._dots = ("✓", "✗", "…") if utf8 else ("+", "X", "...")

    def title(self, text: str, comment: str = "") -> None:
        self.console.print(f"\n[bold]{escape(text)}[/bold]  [dim]{escape(comment)}[/dim]", soft_wrap=True)

    def skipped(self, text: str) -> None:
        """Print which part is skipped, and why."""
        self.console.print(f"  [yellow]-[/yellow] {escape(text)}", soft_wrap=True)

    @contextlib.asynccontextmanager
    async def line(
        self, what: str, *, timeout: float = 30.0, quiet: bool = False, essential: bool = False
    ) -> AsyncIterator[Line]:
        """Run one step, at most ``timeout`` seconds. A failed step does not end the demo, unless it is
        ``essential``: then :class:`DemoAborted` is raised. A ``quiet`` step is printed only if it fails."""
        line = Line()
        try:
            async with asyncio.timeout(timeout):
                with self._under_way(what):
                    yield line
        except TimeoutError as error:
            self._print(line, what, str(error) or f"no result within {timeout:g} s", succeeded=False)
        except (StepFailed, QuicDistError, OSError, ValueError, LookupError) as error:
            self._print(line, what, str(error) or repr(error), succeeded=False)
        else:
            line.succeeded = True
            if not quiet:
                self._print(line, what, line.came, succeeded=True)
        if essential and not line.succeeded:
            raise DemoAborted(what)

    @contextlib.contextmanager
    def _under_way(self, what: str) -> Any:
        if self.console.is_terminal:
            with self.console.status(escape(what)):
                yield
            return
        timer = asyncio.get_running_loop().call_later(
            _LONG, lambda: self.console.print(f"  {self._dots} {what}", markup=False, soft_wrap=True)
        )
        try:
            yield
        finally:
            timer.cancel()

    def _print(self, line: Line, what: str, came: str, *, succeeded: bool) -> None:
        line.succeeded = succeeded
        if succeeded:
            self.succeeded += 1
        else:
            self.failed += 1
        mark, style = (self._tick, "green") if succeeded else (self._cross, "bold red")
        text = Text.assemble("  ", (mark, style), " ", what)
        if came:
            beside = len(text) < _COLUMN and _COLUMN + len(came) <= max(self.console.width, 80)
            text.append(" " * max(_COLUMN - len(text), 1) if beside else "\n      ")
            text.append(came.replace("\n", "\n      "), style="cyan" if succeeded else "red")
        self.console.print(text, soft_wrap=True)

    def logs(self, what: str, text: str) -> None:
        """Print the end of a program's log."""
        self.console.print(f"\nthe log of {what} ends with:\n{text}", markup=False, soft_wrap=True)

    def close(self, began: float) -> int:
        """Print the summary; return the exit status of the demo."""
        seconds = f"{time.monotonic() - began:.1f} s"
        if self.failed or not self.succeeded:
            text = f"{self.failed} of {self.succeeded + self.failed} steps failed ({seconds})"
            self.console.print(f"\n[bold red]{self._cross} {text}[/bold red]")
            return 1
        self.console.print(
            f"\n[bold green]{self._tick} all {self.succeeded} steps succeeded[/bold green] ({seconds})"
        )
        return 0


def _shown(value: Any, limit: int = 200) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
