"""Standard output, written by a thread: a pipe without a reader blocks only the processes that print."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import io
import os
import select
import threading
from collections import deque
from typing import TextIO, TypeAlias

from quicdist.otp.redirected_stdout import own_stdout

#: Done with None when the text is written, or with the error.
Written: TypeAlias = "asyncio.Future[BaseException | None]"

#: Characters that wait to be written; each text costs ``_TEXT_COST`` more.
MAX_WAITING = 16 * 1024 * 1024
_TEXT_COST = 100
#: Seconds that :meth:`StandardOutput.close` waits for the remaining texts.
FLUSH_TIME = 2.0
#: A writable pipe takes this many bytes without blocking (POSIX, PIPE_BUF).
_PIECE = getattr(select, "PIPE_BUF", 512)
#: Milliseconds after which a thread that waits for a pipe checks whether the output was closed.
_LOOK = 500


class OutputState(enum.Enum):
    """The states of an output, in order."""

    OPEN = enum.auto()
    #: It takes no more texts; those it has are written.
    CLOSING = enum.auto()
    #: Nothing is written any more, not even the rest of a text.
    CLOSED = enum.auto()


class StandardOutput:
    """Writes texts in order, to ``stream`` or to the current ``sys.stdout``.

    A file descriptor is written to directly when it is writable, so that the thread holds no lock of
    Python's stream while it waits: the program could not exit otherwise.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._texts: deque[tuple[str, Written]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._state = OutputState.OPEN

    def write(self, text: str) -> Written | None:
        """Queue ``text``. None if the queue is full, or the output is closed."""
        written: Written = asyncio.get_running_loop().create_future()
        with self._changed:
            full = self._waiting > 0 and self._waiting + len(text) > MAX_WAITING
            if full or self._state is not OutputState.OPEN:
                return None
            self._waiting += len(text) + _TEXT_COST
            self._texts.append((text, written))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="quicdist output", daemon=True)
                self._thread.start()
            self._changed.notify()
        return written

    async def close(self) -> int:
        """Accept no more texts and wait :data:`FLUSH_TIME` for the remaining ones; how many were not
        written. The thread ends."""
        with self._changed:
            self._state = OutputState.CLOSING
            left = [written for _, written in self._texts]
            self._changed.notify()
        if left:
            await asyncio.wait(left, timeout=FLUSH_TIME)
        with self._changed:
            self._state = OutputState.CLOSED
            unwritten, self._texts = self._texts, deque()
            self._waiting = 0
        return len(unwritten)

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._texts:
                    if self._state is not OutputState.OPEN:
                        return
                    self._changed.wait()
                text, written = self._texts[0]
            error: BaseException | None = None
            try:
                self._put(text)
            except BaseException as failed:  # a stream of the program can raise anything
                error = failed
            with self._changed:
                if self._state is OutputState.CLOSED:
                    return
                self._texts.popleft()
                self._waiting -= len(text) + _TEXT_COST
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                written.get_loop().call_soon_threadsafe(_tell, written, error)

    def _put(self, text: str) -> None:
        stream: TextIO | None = self._stream or own_stdout()
        if stream is None:
            raise ValueError("sys.stdout is None")
        descriptor = _descriptor(stream)
        if descriptor is None:
            try:
                stream.write(text)
            except UnicodeEncodeError as error:
                stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
            stream.flush()
            return
        try:
            data = text.encode(stream.encoding, stream.errors or "strict")
        except UnicodeEncodeError:
            data = text.encode(stream.encoding, "backslashreplace")
        try:
            if self._takes(descriptor):
                stream.flush()  # what the program has printed before
            while data and self._takes(descriptor):
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(descriptor, data[:_PIECE]) :]
        finally:
            os.close(descriptor)

    def _takes(self, descriptor: int) -> bool:
        """Wait until ``descriptor`` is writable; False if the output was closed."""
        waiting = select.poll()
        waiting.register(descriptor, select.POLLOUT)
        while not waiting.poll(_LOOK):
            if self._state is OutputState.CLOSED:
                return False
        return True


def _descriptor(stream: TextIO) -> int | None:
    """A copy of the file descriptor of a text stream, if it is one of Python's own on a file. (A copy,
    because the program may close the stream, and its number may then be that of another file.)"""
    own = type(stream) is io.TextIOWrapper and isinstance(stream.buffer, io.BufferedWriter)
    if not own or not hasattr(select, "poll"):
        return None
    try:
        return os.dup(stream.fileno())
    except (OSError, ValueError):
        return None


def _tell(written: Written, error: BaseException | None) -> None:
    if not written.done():
        written.set_result(error)
