"""The lines of the demo: what was done, what came of it, and whether it held."""

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

#: Column in which what came begins, where there is room beside what was done.
_COLUMN = 48
#: Seconds after which a step says that it is under way, where no terminal can show it.
_LONG = 2.0


class DoesNotHold(Exception):
    """What came is not what was expected."""


class CannotGoOn(Exception):
    """A step failed without which the others mean nothing."""


class Line:
    """One line of the report, while its step runs."""

    def __init__(self) -> None:
        #: What came of the step, for the reader.
        self.came = ""
        #: Whether it held; None as long as the step runs.
        self.held: bool | None = None

    def expect(self, came: Any, expected: Any) -> None:
        """The line holds only if ``came`` is ``expected``; it shows what came."""
        if came != expected:
            raise DoesNotHold(f"expected {_shown(expected)}, got {_shown(came)}")
        self.came = self.came or _shown(came)


class Report:
    """Prints lines and counts those that held."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, emoji=False)
        self.held = 0
        self.failed = 0
        utf8 = self.console.encoding.lower().startswith("utf")
        self._tick, self._cross, self._dots = ("✓", "✗", "…") if utf8 else ("+", "X", "...")

    def title(self, text: str, comment: str = "") -> None:
        self.console.print(f"\n[bold]{escape(text)}[/bold]  [dim]{escape(comment)}[/dim]", soft_wrap=True)

    def left_out(self, text: str) -> None:
        """Say in one line what is not shown, and why."""
        self.console.print(f"  [yellow]-[/yellow] {escape(text)}", soft_wrap=True)

    @contextlib.asynccontextmanager
    async def line(
        self, what: str, *, timeout: float = 30.0, quiet: bool = False, essential: bool = False
    ) -> AsyncIterator[Line]:
        """Run one step, within ``timeout`` seconds. Whatever goes wrong in it makes the line fail,
        and the demo goes on, unless the step is ``essential``: then :class:`CannotGoOn` is raised.
        A ``quiet`` one is of interest only if it fails."""
        line = Line()
        try:
            async with asyncio.timeout(timeout):
                with self._under_way(what):
                    yield line
        except TimeoutError as error:
            self._print(line, what, str(error) or f"nothing came within {timeout:g} s", held=False)
        except (DoesNotHold, QuicDistError, OSError, ValueError, LookupError) as error:
            self._print(line, what, str(error) or repr(error), held=False)
        else:
            line.held = True
            if not quiet:
                self._print(line, what, line.came, held=True)
        if essential and not line.held:
            raise CannotGoOn(what)

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

    def _print(self, line: Line, what: str, came: str, *, held: bool) -> None:
        line.held = held
        if held:
            self.held += 1
        else:
            self.failed += 1
        mark, style = (self._tick, "green") if held else (self._cross, "bold red")
        text = Text.assemble("  ", (mark, style), " ", what)
        if came:
            beside = len(text) < _COLUMN and _COLUMN + len(came) <= max(self.console.width, 80)
            text.append(" " * max(_COLUMN - len(text), 1) if beside else "\n      ")
            text.append(came.replace("\n", "\n      "), style="cyan" if held else "red")
        self.console.print(text, soft_wrap=True)

    def logs(self, what: str, text: str) -> None:
        """What a program has logged, for whoever looks into a failure."""
        self.console.print(f"\nthe log of {what} ends with:\n{text}", markup=False, soft_wrap=True)

    def close(self, began: float) -> int:
        """Print the summary; the exit status of the demo."""
        seconds = f"{time.monotonic() - began:.1f} s"
        if self.failed or not self.held:
            text = f"{self.failed} of {self.held + self.failed} lines did not hold ({seconds})"
            self.console.print(f"\n[bold red]{self._cross} {text}[/bold red]")
            return 1
        self.console.print(f"\n[bold green]{self._tick} all {self.held} lines held[/bold green] ({seconds})")
        return 0


def _shown(value: Any, limit: int = 200) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
