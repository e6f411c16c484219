"""Loggers whose failures do not reach the caller, a rate limit for log lines, and escaping of peers' text.

A handler or filter of Python's ``logging`` is code of the program. Its exceptions do not leave the logging
call, so that the event loop, the connection or the process continues. The standard library catches an
``Exception`` in the ``emit`` of its own handlers only; this also catches those of the program's filters,
handlers and logger classes, and ``CancelledError`` and ``SystemExit``.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

#: Characters of a peer's text that a line shows.
TEXT_LIMIT: Final = 200
#: Characters of a line of a library that logs peers' text.
LINE_LIMIT: Final = 1000

#: Characters of an argument of a line of this package.
ARGUMENT_LIMIT: Final = 2000

#: Frames between the caller of a method of :class:`Logger` and ``logging``: the method, ``_write``.
_STACK_LEVEL: Final = 3


class Logger:
    """The logger of a module of this package, with the methods of :class:`logging.Logger`, which raise only
    ``KeyboardInterrupt``. Any other exception of a handler or filter is printed on ``sys.stderr`` where
    ``logging.raiseExceptions`` is set, as :meth:`logging.Handler.handleError` does. Records name the caller's
    file, line and function.

    The arguments of a message are escaped and cut: peers choose names, reasons and terms, which must neither
    begin a new line nor fill the disk. Text with line ends is passed as :class:`Lines`.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def name(self) -> str:
        return self._logger.name

    def isEnabledFor(self, level: int) -> bool:
        try:
            return self._logger.isEnabledFor(level)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _print_error(error, self._logger.name, level)
            return False

    def debug(self, message: str, *args: Any, **options: Any) -> None:
        self._write(logging.DEBUG, message, args, options)

    def info(self, message: str, *args: Any, **options: Any) -> None:
        self._write(logging.INFO, message, args, options)

    def warning(self, message: str, *args: Any, **options: Any) -> None:
        self._write(logging.WARNING, message, args, options)

    def error(self, message: str, *args: Any, **options: Any) -> None:
        self._write(logging.ERROR, message, args, options)

    def critical(self, message: str, *args: Any, **options: Any) -> None:
        self._write(logging.CRITICAL, message, args, options)

    def exception(self, message: str, *args: Any, **options: Any) -> None:
        options.setdefault("exc_info", True)
        self._write(logging.ERROR, message, args, options)

    def log(self, level: int, message: str, *args: Any, **options: Any) -> None:
        self._write(level, message, args, options)

    def handle(self, record: logging.LogRecord) -> None:
        """Handle a record that was made before."""
        try:
            self._logger.handle(record)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _print_error(error, self._logger.name, record.msg)

    def _write(self, level: int, message: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        try:
            if self._logger.isEnabledFor(level):
                level_up = options.get("stacklevel", 1) - 1
                safe = map(_one_line, args)
                self._logger.log(level, message, *safe, **{**options, "stacklevel": _STACK_LEVEL + level_up})
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _print_error(error, self._logger.name, message)


class Lines(str):
    """Text of several lines for a record, in which the parts chosen by peers are already escaped and cut."""

    __slots__ = ()


class _Clean:
    """An argument of a record whose text is escaped and cut when the record is written."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        self._of = of

    def __str__(self) -> str:
        return clean(str(self._of), ARGUMENT_LIMIT)

    def __repr__(self) -> str:
        return clean(repr(self._of), ARGUMENT_LIMIT)


def _one_line(argument: Any) -> Any:
    """An argument, escaped and cut for one line."""
    if isinstance(argument, int | float | Lines):
        return argument
    if type(argument) is str:
        return clean(argument, ARGUMENT_LIMIT)
    return _Clean(argument)


class CleanLogger(Logger):
    """A :class:`Logger` for a library that logs peers' text unescaped: each line is escaped, and cut to
    :data:`LINE_LIMIT` characters."""

    __slots__ = ()

    def _write(self, level: int, message: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        if not self.isEnabledFor(level):
            return
        try:
            text = clean(str(message) % args if args else str(message), LINE_LIMIT)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _print_error(error, self.name, message)
        else:
            level_up = options.get("stacklevel", 1) + 1
            super()._write(level, "%s", (text,), {**options, "stacklevel": level_up})


def get_logger(name: str) -> Logger:
    """The :class:`Logger` of that name; handlers and levels are set on ``logging.getLogger(name)``."""
    return Logger(logging.getLogger(name))


def _print_error(error: BaseException, name: str, message: object) -> None:
    if not logging.raiseExceptions or sys.stderr is None:
        return
    try:
        lines = traceback.format_exception(error)
        sys.stderr.write(f"--- Logging error ---\n{''.join(lines)}Logger: {name}\nMessage: {message!r}\n")
    except KeyboardInterrupt:
        raise
    except BaseException:
        pass  # Standard error cannot be written to either.


class RateLimit:
    """Admits ``lines`` log lines per ``period`` seconds for each key, and counts those left out.

    ``limit.admit(key)`` returns None for a line to leave out, else the text to append to the line, mostly
    ``""``. The last line of a period says that more are left out, the first of the next how many were. At
    most ``keys`` keys are kept; all others share one limit.
    """

    def __init__(
        self,
        lines: int = 5,
        period: float = 60.0,
        *,
        keys: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._period = period
        self._keys = keys
        self._clock = clock
        self._windows: dict[Hashable, _Window] = {}
        self._others = _Window(clock())

    def admit(self, key: Hashable = None) -> str | None:
        now = self._clock()
        window = self._windows.get(key) or self._new(key, now)
        if now - window.start >= self._period:
            left_out, window.left_out = window.left_out, 0
            window.start, window.lines = now, 0
        else:
            left_out = 0
        if window.lines >= self._lines:
            window.left_out += 1
            return None
        window.lines += 1
        note = f" ({left_out} more like it left out before)" if left_out else ""
        if window.lines == self._lines:
            note += f" (more like it are left out for {self._period - (now - window.start):.0f} s)"
        return note

    def _new(self, key: Hashable, now: float) -> _Window:
        if len(self._windows) >= self._keys:
            for old, window in list(self._windows.items()):
                if now - window.start >= self._period:
                    self._others.left_out += window.left_out
                    del self._windows[old]
            if len(self._windows) >= self._keys:
                return self._others
        window = self._windows[key] = _Window(now)
        return window


class _Window:
    """The lines of one key in the period that began at ``start``."""

    __slots__ = ("left_out", "lines", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.lines = 0
        self.left_out = 0


def clean(text: str | bytes, limit: int = TEXT_LIMIT, *, lines: bool = False) -> str:
    """Text chosen by a peer, for a line or an error: unprintable characters are escaped, and it is cut to
    ``limit`` characters, marked by ``...``. With ``lines``, line ends and tabs are kept."""
    cut = len(text) > limit
    text = text[:limit]
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    if not text.isprintable():
        text = "".join(
            char
            if char.isprintable() or (lines and char in "\n\t")
            else char.encode("unicode_escape").decode()
            for char in text
        )
    return f"{text}..." if cut else text
