"""The loop of ``quicdist shell``: read a line, evaluate it, print its value."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from quicdist import QuicDistError, format_term
from quicdist.cli.evaluator import Evaluator
from quicdist.cli.failure import CommandFailed
from quicdist.cli.json_terms import dumps
from quicdist.cli.prompt import Prompt, open_prompt
from quicdist.cli.remote_names import RemoteNames
from quicdist.cli.session import complain

if TYPE_CHECKING:
    from quicdist import Node

_HELP = """\
module:function(Terms)   call a function; any expression, if the node is a BEAM
name ! Term              send a message to a registered process
f()                      unbind all variables
h()                      this text
q()                      end the shell, as Ctrl-D does"""


class ShellLoop:
    """One shell on one node."""

    def __init__(self, local: Node, node: str, timeout: float, as_json: bool) -> None:
        self._evaluator = Evaluator(local, node, timeout)
        self._as_json = as_json
        self._interactive = sys.stdin.isatty()

    async def run(self) -> bool:
        """Until the end of the input; whether all was well. On a terminal an error does not count."""
        with open_prompt(RemoteNames(self._evaluator)) as prompt:
            return await self._all(prompt)

    async def _all(self, prompt: Prompt) -> bool:
        number, well = 1, True
        while True:
            try:
                line = await prompt.read(f"({self._evaluator.node}){number}> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                return well
            command = line.strip().removesuffix(".").rstrip()
            if not command or command.startswith("%"):
                continue
            if command == "q()":
                return well
            well = (await self._one(command) or self._interactive) and well
            number += 1

    async def _one(self, command: str) -> bool:
        if command == "h()":
            click.echo(_HELP)
            return True
        if command == "f()":
            self._evaluator.forget()
            click.echo("ok")
            return True
        printed = asyncio.ensure_future(self._printed(command))
        try:
            with _interrupting(printed) if self._interactive else contextlib.nullcontext():
                click.echo(await printed)
        except asyncio.CancelledError:
            if not printed.cancelled() or _cancelled():
                raise
            complain(f"interrupted; {self._evaluator.node} may still be busy with it")
            return False
        except (QuicDistError, CommandFailed) as error:
            complain(error)
            return False
        return True

    async def _printed(self, command: str) -> str:
        """The value of a line as text. A large one is formatted in a thread: the node still answers ticks."""
        value = await self._evaluator.evaluate(command)
        return await asyncio.to_thread(self._text, value)

    def _text(self, value: Any) -> str:
        return dumps(value) if self._as_json else format_term(value, "~tp")


@contextlib.contextmanager
def _interrupting(work: asyncio.Future[Any]) -> Iterator[None]:
    """Ctrl-C cancels ``work``, and does not end the program."""
    loop = asyncio.get_running_loop()
    previous = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(work.cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _cancelled() -> bool:
    """Whether the current task is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
