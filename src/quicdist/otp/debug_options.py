"""The debug options of a server: trace, log, log_to_file, statistics and installed functions.

OTP: ``sys(3)``, ``sys:debug_options/1``, ``sys:handle_debug/4``. What is kept and printed is cut to a bounded
size; a server without debug options has no :class:`DebugOptions`.
"""

from __future__ import annotations

import io
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TextIO

from quicdist.containment import dispose
from quicdist.logs import RateLimit, get_logger
from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.otp.behaviour import reported_state
from quicdist.otp.debug_events import Event, event_format, event_text
from quicdist.otp.output import Output
from quicdist.term import Atom, Export, Fun, TermError, exactly_equal
from quicdist.term.shorten import shorten

log = get_logger("quicdist.otp")

TRACE, LOG, LOG_TO_FILE = Atom("trace"), Atom("log"), Atom("log_to_file")
STATISTICS, INSTALL = Atom("statistics"), Atom("install")
#: Returned by an installed function to be removed.
DONE: Final = Atom("done")

IN, OUT, NOREPLY, CONTINUE = Atom("in"), Atom("out"), Atom("noreply"), Atom("continue")

#: Events that ``log`` keeps by default, and at most.
LOG_SIZE: Final = 10
MAX_LOG_SIZE: Final = 1000
#: Debug options of one server; more are not installed.
MAX_OPTIONS: Final = 32
#: Bytes that ``log_to_file`` writes to one file.
MAX_FILE: Final = 64 * 1024 * 1024

_REDUCTIONS = Atom("reductions")
_failures = RateLimit()

#: Called with its state, an event and the name of the server; returns its new state, or :data:`DONE`.
DebugFunction = Callable[[Any, Event, Any], Any]


class DebugOption(ABC):
    """One debug option, ``{Key, Data}`` of OTP's list."""

    #: Whether events need the state of the server.
    needs_state = True

    def __init__(self, key: Any) -> None:
        self.key = key

    @abstractmethod
    def handle(self, options: DebugOptions, event: Event) -> bool:
        """Handle an event; False to be removed."""

    @abstractmethod
    def data(self, options: DebugOptions) -> Any:
        """The data as ``sys:get_status`` shows it."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """It has been removed."""


class Trace(DebugOption):
    """``trace``: prints events at the group leader of the server."""

    def __init__(self) -> None:
        super().__init__(TRACE)

    def handle(self, options: DebugOptions, event: Event) -> bool:
        options.print(event)
        return True

    def data(self, options: DebugOptions) -> Any:
        return True


class EventLog(DebugOption):
    """``log``: keeps the last events."""

    def __init__(self, size: int = LOG_SIZE) -> None:
        super().__init__(LOG)
        self.events: deque[Event] = deque(maxlen=min(size, MAX_LOG_SIZE))

    def handle(self, options: DebugOptions, event: Event) -> bool:
        self.events.append(event)
        return True

    def data(self, options: DebugOptions) -> Any:
        # As sys keeps it: the room that is left and the events from the newest on; or, where the log is
        # full, an empty list and the events from the oldest on.
        left = (self.events.maxlen or 0) - len(self.events)
        form = Export(options.behaviour, "print_event", 3)
        items = [(event, options.name, form) for event in self.events]
        return [left, *reversed(items)] if left else [[], *items]


class Statistics(DebugOption):
    """``statistics``: counts messages."""

    needs_state = False

    def __init__(self) -> None:
        super().__init__(STATISTICS)
        self.start_time = local_time()
        self.messages_in = 0
        self.messages_out = 0

    def handle(self, options: DebugOptions, event: Event) -> bool:
        self.messages_in += event[0] == IN
        self.messages_out += event[0] == OUT
        return True

    def data(self, options: DebugOptions) -> Any:
        return (self.start_time, (_REDUCTIONS, 0), self.messages_in, self.messages_out)

    def report(self) -> list[Any]:
        """As ``sys:statistics(Name, get)`` gives it. A Python process has no reductions."""
        return [
            (Atom("start_time"), self.start_time),
            (Atom("current_time"), local_time()),
            (_REDUCTIONS, 0),
            (Atom("messages_in"), self.messages_in),
            (Atom("messages_out"), self.messages_out),
        ]


class LogFile(DebugOption):
    """``log_to_file``: writes events to a file."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(LOG_TO_FILE)
        self._file = file
        self._written = 0

    def handle(self, options: DebugOptions, event: Event) -> bool:
        text = event_text(options.name, event, options.behaviour)
        self._written += len(text.encode(errors="backslashreplace"))
        try:
            if self._written > MAX_FILE:
                raise OSError(f"it has {MAX_FILE} bytes")
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError) as error:
            options.warn(f"writes no more events to {self._name}: {error}")
            return False
        return True

    @property
    def _name(self) -> str:
        return str(getattr(self._file, "name", "a file"))

    def data(self, options: DebugOptions) -> Any:
        return self._name

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            log.warning("%s: %s", self._name, error)


class Installed(DebugOption):
    """An installed function. ``function`` is None for a fun that cannot run here: like a fun without its
    module on a BEAM it is removed at the first event."""

    def __init__(self, key: Any, function: DebugFunction | None, state: Any, term: Any = None) -> None:
        super().__init__(key)
        self._function = function
        self._state = state
        self._term = term

    def handle(self, options: DebugOptions, event: Event) -> bool:
        if self._function is None:
            options.warn(f"{shown(self._term)} cannot run here, and is removed")
            return False
        try:
            state = self._function(self._state, event, options.name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            note = _failures.admit(options.process.pid)
            if note is not None:
                what = f"the debug function {self._function!r} of {options.process!r} failed and is removed"
                log.error("%s%s", what, note, exc_info=error)
            return False
        if hasattr(state, "__await__"):
            dispose(state)
            options.warn(f"the debug function {self._function!r} is a coroutine function, and is removed")
            return False
        self._state = state
        return not (isinstance(state, Atom) and state == DONE)

    def data(self, options: DebugOptions) -> Any:
        return shorten(self._state)


class DebugOptions:
    """The debug options of one server, the newest first, as OTP keeps them."""

    def __init__(self, process: Process, output: Callable[[], Output], behaviour: Atom) -> None:
        self.process = process
        self.behaviour = behaviour
        self._output = output
        self._options: list[DebugOption] = []

    @property
    def name(self) -> Any:
        """The name of the server in events: its registered name, or its pid."""
        return Atom(self.process.name) if self.process.name else self.process.pid

    def __bool__(self) -> bool:
        return bool(self._options)

    def find(self, key: Any) -> DebugOption | None:
        return next((option for option in self._options if _same(option.key, key)), None)

    def install(self, option: DebugOption) -> bool:
        """Add an option, unless there is one with its key; False if there are too many."""
        if self.find(option.key) is not None:
            option.close()
            return True
        if len(self._options) >= MAX_OPTIONS:
            option.close()
            return False
        self._options.insert(0, option)
        return True

    def remove(self, key: Any) -> None:
        option = self.find(key)
        if option is not None:
            self._options.remove(option)
            option.close()

    def clear(self) -> None:
        options, self._options = self._options, []
        for option in options:
            option.close()

    def event(self, *event: Any) -> None:
        """Handle an event. Its terms are copied and cut, because a server changes its objects."""
        short = tuple(shorten(part) for part in event)
        removed = [option for option in self._options if not option.handle(self, short)]
        for option in removed:
            if option in self._options:
                self._options.remove(option)
            option.close()

    def event_with_state(self, server: Any, *event: Any) -> None:
        """An event whose last element is the state of the server."""
        needed = any(option.needs_state for option in self._options)
        self.event(*event, reported_state(server) if needed else None)

    def print(self, event: Event) -> None:
        """Print an event at the group leader of the server."""
        output = self._output()
        if output.device.node is self.process.pid.node:
            output.write(event_text(self.name, event, self.behaviour))
        else:
            output.format(*event_format(self.name, event, self.behaviour))

    @property
    def events(self) -> list[Event]:
        """The logged events, oldest first."""
        option = self.find(LOG)
        return list(option.events) if isinstance(option, EventLog) else []

    def to_term(self) -> list[Any]:
        """As ``sys:get_status`` shows it."""
        return [(_shown(option.key), option.data(self)) for option in self._options]

    def warn(self, text: str) -> None:
        note = _failures.admit(self.process.pid)
        if note is not None:
            log.warning("debug options of %r: %s%s", self.process, text, note)


def _shown(key: Any) -> Any:
    return key if isinstance(key, Fun) else shorten(key)


def _same(one: Any, other: Any) -> bool:
    """Whether two keys are the same term, or the same Python function."""
    if one is other:
        return True
    if callable(one) or callable(other):
        return bool(one == other)
    try:
        return exactly_equal(one, other)
    except TermError:  # a key of the program that is no term
        return False


def local_time() -> Any:
    """``erlang:localtime()``."""
    now = time.localtime()
    return (now[0:3], now[3:6])


def start_options(
    process: Process, options: Iterable[Any], output: Callable[[], Output], behaviour: Atom
) -> DebugOptions:
    """Debug options from those of a start: ``"trace"``, ``"log"``, ``("log", N)``, ``"statistics"``,
    ``("log_to_file", path)``, ``("install", (function, state))``, ``("install", (id, function, state))``.
    Raises :class:`ValueError` for others, and OSError for a file that cannot be opened."""
    debug = DebugOptions(process, output, behaviour)
    for option in options:
        match option:
            case "trace":
                debug.install(Trace())
            case "log":
                debug.install(EventLog())
            case "statistics":
                debug.install(Statistics())
            case ("log", int() as size) if size > 0:
                debug.install(EventLog(size))
            case ("log_to_file", str() | os.PathLike() as path):
                debug.install(LogFile(open_file(path)))
            case ("install", (function, state)) if callable(function):
                debug.install(Installed(function, function, state))
            case ("install", (key, function, state)) if callable(function):
                debug.install(Installed(key, function, state))
            case _:
                raise ValueError(f"no debug option: {option!r}")
    return debug


def open_file(path: str | os.PathLike[str]) -> TextIO:
    """Open a file for ``log_to_file``, as ``sys`` does: it is made empty."""
    return open(path, "w", encoding="utf-8", errors="backslashreplace")


def open_in(directory: Path, name: str) -> TextIO:
    """Open a file that another node asks for: only a plain name in ``directory``, no link. Raises OSError."""
    plain = name.isprintable() and name not in ("", ".", "..")
    if not plain or any(separator in name for separator in "/\\:"):
        raise OSError(f"{name!r} is no plain file name")
    flags = (
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    descriptor = os.open(directory / name, flags, 0o600)
    return io.TextIOWrapper(
        io.FileIO(descriptor, "w"), encoding="utf-8", errors="backslashreplace", write_through=True
    )
