"""Where the input of an I/O server comes from, and the buffer between its requests."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import io
import os
import select
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, Protocol, TextIO, TypeAlias

#: Characters of one line; a longer one is returned in parts.
MAX_LINE: Final = 1 << 24
#: Bytes that are read from a file descriptor at once.
_READ_SIZE: Final = 64 * 1024
#: Milliseconds after which a thread that waits for input checks whether it is still wanted.
_LOOK: Final = 500


class LineReader(Protocol):
    """An object with a coroutine method ``readline``, such as :class:`asyncio.StreamReader`; it returns an
    empty string or empty bytes at the end."""

    async def readline(self) -> str | bytes: ...


#: What a program can give as input: a text file such as ``sys.stdin``, an asynchronous iterable of lines, an
#: object with a coroutine method ``readline``, or a coroutine function that is called with the prompt and
#: returns a line, or None at the end. None: there is no input.
InputSource: TypeAlias = (
    "TextIO | AsyncIterable[str] | LineReader | Callable[[str], Awaitable[str | None]] | None"
)


class Input:
    """The characters of a source. One reader at a time (:attr:`lock`)."""

    def __init__(self, source: InputSource = None) -> None:
        self._read = _reader(source)
        #: Whether the source gets the prompts, which are not printed then.
        self.prompts = source is None or _is_function(source)
        self._buffer = ""
        self._pending: asyncio.Future[str | None] | None = None
        self.lock = asyncio.Lock()
        self._descriptor = _terminal(source)

    async def _more(self, prompt: str) -> bool:
        """Read on; False at the end of input. A read that is cancelled goes on for the next one; a function
        is cancelled, and called again with the next prompt."""
        if self.prompts:
            text = await self._read(prompt)
        else:
            if self._pending is None:
                self._pending = asyncio.ensure_future(self._read(prompt))
            pending = self._pending
            try:
                text = await asyncio.shield(pending)
            finally:
                if pending.done():
                    self._pending = None
        self._buffer += text or ""
        return bool(text)

    def close(self) -> None:
        """Nobody reads any more."""
        if self._pending is not None:
            self._pending.cancel()

    async def line(self, prompt: str = "") -> str:
        """The next line with its end, ``\\r\\n`` as ``\\n``; an empty string at the end of input."""
        while "\n" not in self._buffer and len(self._buffer) < MAX_LINE:
            if not await self._more(prompt):
                break
        end = self._buffer.find("\n") + 1 or len(self._buffer)
        line = self._take(end)
        return line[:-2] + "\n" if line.endswith("\r\n") else line

    async def chars(self, count: int, prompt: str = "") -> str:
        """The next ``count`` characters; fewer at the end of input."""
        while len(self._buffer) < count:
            if not await self._more(prompt):
                break
        return self._take(count)

    async def password(self, prompt: str = "") -> str | None:
        """A line without its end, not shown on a terminal; None at the end of input."""
        with _echo_off(self._descriptor):
            line = await self.line(prompt)
        return line.removesuffix("\n") if line else None

    def put_back(self, text: str) -> None:
        """Return characters that were not used."""
        self._buffer = text + self._buffer

    def _take(self, count: int) -> str:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


_Read = Callable[[str], Coroutine[Any, Any, str | None]]


def _is_function(source: Any) -> bool:
    return callable(source) and not hasattr(source, "readline") and not hasattr(source, "__aiter__")


def _reader(source: Any) -> _Read:
    """A function that returns the next text of a source; empty or None at the end. Raises TypeError for what
    is no source."""
    if source is None:
        return _nothing
    if _is_function(source):
        return _of_function(source)
    readline = getattr(source, "readline", None)
    if readline is not None:
        if asyncio.iscoroutinefunction(readline):
            return _of_readline(readline)
        return _of_file(source)
    if hasattr(source, "__aiter__"):
        return _of_iterator(source.__aiter__())
    raise TypeError(f"{source!r} is no source of input: a text file, an asynchronous iterable, a function")


async def _nothing(_: str) -> None:
    return None


def _text(line: Any) -> str | None:
    if line is None:
        return None
    if isinstance(line, bytes | bytearray):
        return line.decode("utf-8", "replace")
    if not isinstance(line, str):
        raise TypeError(f"a source of input returned {type(line).__qualname__}, not str")
    return line


def _of_function(function: Callable[[str], Any]) -> _Read:
    async def read(prompt: str) -> str | None:
        line = function(prompt)
        line = _text(await line if isinstance(line, Awaitable) else line)
        return line if line is None or line.endswith("\n") else line + "\n"

    return read


def _of_readline(readline: Callable[[], Any]) -> _Read:
    async def read(_: str) -> str | None:
        return _text(await readline())

    return read


def _of_iterator(lines: AsyncIterator[Any]) -> _Read:
    async def read(_: str) -> str | None:
        return _text(await anext(lines, None))

    return read


def _of_file(file: TextIO) -> _Read:
    own = type(file) is io.TextIOWrapper and isinstance(file.buffer, io.BufferedReader)
    if own and hasattr(select, "poll"):
        with contextlib.suppress(OSError, ValueError):
            return DescriptorReader(os.dup(file.fileno()), file.encoding).read

    async def read(_: str) -> str | None:
        return _text(await asyncio.to_thread(file.readline))

    return read


class DescriptorReader:
    """Reads a file descriptor in a thread, when somebody waits for input. It holds no lock of Python's stream
    meanwhile: the program could not exit otherwise."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def __del__(self) -> None:
        os.close(self._descriptor)

    async def read(self, _: str) -> str:
        """The next text; empty at the end."""
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        threading.Thread(target=self._run, args=(waiting,), name="quicdist input", daemon=True).start()
        return await waiting

    def _run(self, waiting: asyncio.Future[str]) -> None:
        text, error = "", None
        try:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            while not text:
                if not poll.poll(_LOOK):
                    if waiting.done() or waiting.get_loop().is_closed():
                        return
                    continue
                data = os.read(self._descriptor, _READ_SIZE)
                text = self._decoder.decode(data, final=not data)
                if not data:
                    break
        except BaseException as failed:
            error = failed
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            waiting.get_loop().call_soon_threadsafe(_tell, waiting, text, error)


def _tell(waiting: asyncio.Future[str], text: str, error: BaseException | None) -> None:
    if waiting.done():
        return
    if error is None:
        waiting.set_result(text)
    else:
        waiting.set_exception(error)


def _terminal(source: Any) -> int | None:
    """The file descriptor of a source that is a terminal."""
    try:
        return source.fileno() if source.isatty() else None
    except (AttributeError, OSError, ValueError):
        return None


@contextlib.contextmanager
def _echo_off(descriptor: int | None) -> Iterator[None]:
    """Do not show what is typed on a terminal."""
    if descriptor is None:
        yield
        return
    import termios

    before = termios.tcgetattr(descriptor)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
