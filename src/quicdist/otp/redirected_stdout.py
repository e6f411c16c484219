"""``sys.stdout`` while functions are called by other nodes: their text goes to the callers."""

from __future__ import annotations

import io
import sys
import weakref
from collections.abc import Iterable
from typing import Any, TextIO

from quicdist.node.code_output import code_output


class RedirectedStdout:
    """Standard output. The text of called functions goes to their own output, all else to ``original``."""

    def __init__(self, original: TextIO) -> None:
        self.original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def write(self, text: str) -> int:
        output = code_output.get()
        if output is None or not output.is_current:
            return self.original.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        output.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        output = code_output.get()
        if output is None or not output.is_current:
            self.original.flush()
        else:
            output.flush()

    def isatty(self) -> bool:
        return code_output.get() is None and self.original.isatty()


io.TextIOBase.register(RedirectedStdout)

#: Those that need the redirection: the nodes that were called.
_users: weakref.WeakSet[Any] = weakref.WeakSet()


def redirect(user: Any) -> Any:
    """Redirect ``sys.stdout``, until :func:`restore` for each user; the stream that it is then."""
    if type(sys.stdout) is not RedirectedStdout and sys.stdout is not None:
        sys.stdout = RedirectedStdout(sys.stdout)
    _users.add(user)
    return sys.stdout


def restore(user: Any) -> None:
    """Put ``sys.stdout`` back, unless the program has replaced it meanwhile or others need it."""
    _users.discard(user)
    stream: Any = sys.stdout
    if not _users and type(stream) is RedirectedStdout:
        sys.stdout = stream.original


def own_stdout() -> TextIO | None:
    """The standard output of this program itself."""
    stream: Any = sys.stdout
    while type(stream) is RedirectedStdout:
        stream = stream.original
    own: TextIO | None = stream
    return own
