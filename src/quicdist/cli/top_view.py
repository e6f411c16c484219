"""The live view of ``quicdist top``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from quicdist.cli.process_table import heading, process_table
from quicdist.cli.processes import ProcessSource, Snapshot, busy, ordered, process_source, since

if TYPE_CHECKING:
    from quicdist import Node

#: The keys that sort, and what they sort by.
_KEYS = {"r": "reductions", "m": "memory", "g": "messages", "n": "name", "p": "pid"}
#: Lines of the screen that are not processes.
_FRAME = 4
#: Seconds between the two looks of which the difference is printed once.
_FIRST_INTERVAL = 0.5


class TopView:
    """What is shown, and how it is sorted."""

    def __init__(self, node: str, sort: str, interval: float, lines: int | None) -> None:
        self.node = node
        self.sort = sort
        self.interval = interval
        self.lines = lines
        self._before: Snapshot | None = None
        self._now: Snapshot | None = None
        self._changed = asyncio.Event()
        self._over = False

    async def look(self, source: ProcessSource) -> None:
        """Look at the node again."""
        self._before, self._now = self._now, await source.look()

    def render(self, height: int | None = None, *, keys: bool = False) -> Group:
        """The last look: a line of facts, and the processes that fit into ``height`` lines."""
        assert self._now is not None
        shown = since(self._now, self._before)
        most = self.lines if height is None else min(self.lines or height, max(height - _FRAME, 1))
        parts: list[RenderableType] = [
            heading(self._now, busy(self._now, self._before)),
            Text(""),
            process_table(ordered(shown.processes, self.sort)[:most], self.sort),
        ]
        if keys:
            parts.append(Text("sort: r m g n p   quit: q", style="dim"))
        return Group(*parts)

    def as_json(self) -> str:
        """The last look as one line of JSON."""
        assert self._now is not None
        shown = since(self._now, self._before)
        return json.dumps(
            {
                "node": self._now.node,
                "run_queue": self._now.run_queue,
                "busy": busy(self._now, self._before),
                "memory": dict(self._now.memory),
                "process_count": len(self._now.processes) + self._now.left_out,
                "processes": [each.as_json() for each in ordered(shown.processes, self.sort)[: self.lines]],
            }
        )

    async def show(self, local: Node, timeout: float) -> None:
        """Show it on the terminal until ``q``, or until the node cannot be asked any more."""
        console = Console()
        with _keys(self._pressed):
            async with process_source(local, self.node, timeout) as source:
                await self.look(source)
                with Live(console=console, screen=True, auto_refresh=False) as live:
                    while not self._over:
                        live.update(self.render(console.height, keys=True), refresh=True)
                        self._changed.clear()
                        try:
                            await asyncio.wait_for(self._changed.wait(), self._interval())
                        except TimeoutError:
                            await self.look(source)

    def _interval(self) -> float:
        return self.interval if self._before is not None else min(_FIRST_INTERVAL, self.interval)

    def _pressed(self, key: str) -> None:
        if key == "q":
            self._over = True
        self.sort = _KEYS.get(key, self.sort)
        self._changed.set()


async def print_looks(local: Node, view: TopView, timeout: float, *, once: bool, as_json: bool) -> None:
    """Print each look, or only one, as a table or as a line of JSON."""
    async with process_source(local, view.node, timeout) as source:
        await view.look(source)
        interval = min(_FIRST_INTERVAL, view.interval) if once else view.interval
        while True:
            await asyncio.sleep(interval)
            await view.look(source)
            if as_json:
                click.echo(view.as_json())
            else:
                console = Console()
                (console if console.is_terminal else Console(width=160)).print(view.render())
            if once:
                return


@contextlib.contextmanager
def _keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call ``pressed`` with each key, if standard input is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    loop.add_reader(stdin, lambda: pressed(os.read(stdin, 1).decode(errors="replace")))
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
