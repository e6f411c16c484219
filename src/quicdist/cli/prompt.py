"""The prompt of ``quicdist shell``: that of prompt_toolkit, or plain lines without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from quicdist.cli.remote_names import RemoteNames

if TYPE_CHECKING:
    from prompt_toolkit.application import Application


class Prompt(Protocol):
    """Reads lines."""

    async def read(self, text: str) -> str:
        """The next line. Raises :class:`EOFError`, :class:`KeyboardInterrupt`."""


@contextlib.contextmanager
def open_prompt(names: RemoteNames) -> Iterator[Prompt]:
    """That of prompt_toolkit if it is installed and standard input and output are a terminal."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            prompt = _toolkit_prompt(names)
        except ImportError:
            print(
                "prompt_toolkit is not installed: no history and completion. "
                "pip install 'quicdist[shell]' installs it",
                file=sys.stderr,
            )
        else:
            with _keys_kept(sys.stdin.fileno()):
                yield prompt
            return
    yield PlainPrompt()


class PlainPrompt:
    """Lines of standard input; the prompt is printed only on a terminal."""

    async def read(self, text: str) -> str:
        if sys.stdin.isatty():
            sys.stdout.write(text)
            sys.stdout.flush()
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()

        def took(got: str) -> None:
            if not line.done():
                line.set_result(got)

        def read() -> None:
            got = sys.stdin.readline()
            loop.call_soon_threadsafe(took, got)

        # A daemon: a program that ends does not wait for the line.
        threading.Thread(target=read, name="standard input", daemon=True).start()
        if not (got := await line):
            raise EOFError
        return got


def history_file() -> Path:
    """``$XDG_STATE_HOME/quicdist/shell_history``; only its owner can read it."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "quicdist" / "shell_history"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path


@contextlib.contextmanager
def _keys_kept(terminal: int) -> Iterator[None]:
    """Keys that are typed while no prompt is shown come to the next one as they were typed. A terminal that
    edits lines itself would echo them into the output and drop Ctrl-D. Ctrl-C and Ctrl-Z are signals as
    before."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    before = termios.tcgetattr(terminal)
    between = termios.tcgetattr(terminal)
    between[3] &= ~(termios.ICANON | termios.ECHO)

    def suspend(*_: object) -> None:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        # It goes on here, in the foreground again.
        signal.signal(signal.SIGTSTP, suspend)
        termios.tcsetattr(terminal, termios.TCSADRAIN, between)

    previous = signal.signal(signal.SIGTSTP, suspend)
    termios.tcsetattr(terminal, termios.TCSADRAIN, between)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, previous)


def _toolkit_prompt(names: RemoteNames) -> Prompt:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.input.typeahead import get_typeahead
    from prompt_toolkit.patch_stdout import patch_stdout

    class RemoteCompleter(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> list[Completion]:
            return []

        async def get_completions_async(
            self, document: Document, complete_event: CompleteEvent
        ) -> AsyncGenerator[Completion, None]:
            length, found = await names.candidates(document.text_before_cursor)
            for each in found:
                yield Completion(each, start_position=-length)

    class ToolkitPrompt:
        def __init__(self) -> None:
            self._history: History
            try:
                self._history = FileHistory(history_file())
            except OSError as error:
                print(f"no history is kept: {error}", file=sys.stderr)
                self._history = InMemoryHistory()

        async def read(self, text: str) -> str:
            # A session for each line: a completion that Ctrl-C interrupts leaves its state in the old one.
            session: PromptSession[str] = PromptSession(
                history=self._history,
                completer=RemoteCompleter(),
                complete_while_typing=False,
                auto_suggest=AutoSuggestFromHistory(),
            )
            typed_ahead = get_typeahead(session.app.input)

            async def read_keys(app: Application[Any], detached: contextlib.ExitStack) -> None:
                with detached:
                    app.key_processor.feed_multiple(typed_ahead)
                    app.key_processor.process_keys()

            def hold_keys(app: Application[Any]) -> None:
                # The first rendering has started a task that loads the history. A key that is processed
                # before it recalls nothing.
                app.after_render -= hold_keys
                detached = contextlib.ExitStack()
                detached.enter_context(app.input.detach())
                app.create_background_task(read_keys(app, detached))

            session.app.after_render += hold_keys
            with patch_stdout():  # what functions print meanwhile is shown above the prompt
                return await session.prompt_async([("ansigreen", text)])

    return ToolkitPrompt()
