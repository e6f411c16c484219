"""Runs a program in a terminal of its own, types into it, and draws what its screen shows."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text


class _Screen(pyte.Screen):
    """A screen that answers a program which asks where the cursor is."""

    def __init__(self, columns: int, rows: int, answer: Callable[[str], None]) -> None:
        super().__init__(columns, rows)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class Terminal:
    """A program whose standard input, output and error are a terminal of ``columns`` by ``rows``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 100,
        rows: int = 30,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        self.screen = _Screen(columns, rows, self.type)
        self._stream = pyte.ByteStream(self.screen)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        size = {"COLUMNS": str(columns), "LINES": str(rows)}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **size, **(env or {})},
        )
        os.close(slave)

    def type(self, text: str) -> None:
        """Type ``text``; a carriage return is the key Enter."""
        os.write(self._master, text.encode())

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without the blanks at their ends."""
        return [line.rstrip() for line in self.screen.display]

    def wait_until(self, shown: Callable[[list[str]], bool], timeout: float = 30.0) -> None:
        """Take in output until ``shown`` is true of the lines of the screen. Raises :class:`TimeoutError`
        with the screen."""
        deadline = time.monotonic() + timeout
        while not shown(self.lines):
            left = deadline - time.monotonic()
            if left <= 0 or not self._take(left):
                raise TimeoutError("\n".join(["the screen shows:", *self.lines]))

    def wait_for(self, text: str, timeout: float = 30.0) -> None:
        """Take in output until ``text`` is on the screen."""
        self.wait_until(lambda lines: any(text in line for line in lines), timeout)

    def wait_ended(self, timeout: float = 30.0) -> int:
        """Take in output until the program ends; its exit status."""
        deadline = time.monotonic() + timeout
        while self._take(max(deadline - time.monotonic(), 0)):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 0.1))

    def _take(self, timeout: float) -> bool:
        """Whether output came within ``timeout`` seconds."""
        if not select.select([self._master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # all of the other side is closed
            return False
        self._stream.feed(data)
        return bool(data)

    def close(self) -> None:
        """End the program, if it runs, and the terminal."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def svg(self, title: str) -> str:
        """The screen as a picture, without the empty lines at its end."""
        last = max((at for at, line in enumerate(self.lines) if line), default=0)
        console = Console(
            record=True, width=self.screen.columns, file=io.StringIO(), color_system="truecolor"
        )
        for row in range(last + 1):
            console.print(self._row(row), no_wrap=True, crop=True)
        drawn = console.export_svg(title=title, unique_id="".join(filter(str.isalnum, title)))
        # A font from the network would make the picture differ where there is none.
        return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S)

    def _row(self, row: int) -> Text:
        text = Text()
        cells = [self.screen.buffer[row][column] for column in range(self.screen.columns)]
        for style, run in itertools.groupby(cells, _style):
            text.append("".join(cell.data for cell in run), style)
        text.rstrip()
        return text


def _style(cell: Any) -> Style:
    return Style(
        color=_color(cell.fg),
        bgcolor=_color(cell.bg),
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        reverse=cell.reverse,
    )


def _color(name: str) -> str | None:
    if name == "default":
        return None
    if len(name) == 6 and all(each in "0123456789abcdefABCDEF" for each in name):
        return f"#{name}"
    if name.startswith("bright"):
        return f"bright_{name.removeprefix('bright')}"
    return "yellow" if name == "brown" else name


@contextlib.contextmanager
def terminal(
    command: Sequence[str], *, columns: int = 100, rows: int = 30, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """A :class:`Terminal` that is closed at the end of the block."""
    running = Terminal(command, columns=columns, rows=rows, env=env)
    try:
        yield running
    finally:
        running.close()
