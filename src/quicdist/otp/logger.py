"""Log events that cross nodes (kernel, *logger*): those of other nodes that belong here, in Python's
``logging``, and Python's own records on a node that wants them.

A process logs on the node of its group leader too. So what fails on a BEAM in code that runs there
for this node is told here, to the process ``logger_proxy``, as BEAMs do among themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quicdist.errors import QuicDistError
from quicdist.logs import Lines, RateLimit, clean, get_logger
from quicdist.node.errors import NodeNotStarted
from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.circuit_breaker import CircuitBreaker
from quicdist.otp.io_server import characters
from quicdist.protocol.names import node_name
from quicdist.term import Atom, Pid
from quicdist.term.names import Name

if TYPE_CHECKING:
    from quicdist.node.core import NodeCore

#: Where log events of other nodes appear. Their records have ``node`` (its name, or None where the
#: event does not say), ``pid`` and ``metadata`` (OTP's, a dict).
log: Final = get_logger("quicdist.logger")

LOGGER_PROXY: Final = "logger_proxy"
#: In the metadata of what a Python node reports: its text, empty where an event before said it all.
PYTHON_TEXT: Final = Atom("python_text")

#: The levels of RFC 5424, which OTP has, and Python's.
LEVELS: Final = {
    "emergency": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
#: From Python's level down, the first that is not above a record's.
_OTP_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)

#: Events of one node that wait for their text; what comes on top is counted and dropped, as OTP's
#: logger does when it is flooded.
MAX_WAITING: Final = 1000
#: Events that are told in a second; OTP's handlers drop what comes faster than theirs too (``burst_limit``).
MAX_EVENTS: Final = 2000
#: Seconds that the node whose event it is has for its text.
FORMAT_TIME: Final = 5.0

#: Characters of a record or an event that are told.
MAX_TEXT: Final = 32_768
#: The loggers whose records can be caused by sending one, and how many of each level are forwarded in how
#: many seconds.
OWN_LOGGERS: Final = ("quicdist", "quic")
OWN_RECORDS: Final = 20
OWN_PERIOD: Final = 10.0

#: Calls a function on another node: node, module, function, arguments, with a time in seconds.
RemoteCall = Callable[..., Awaitable[Any]]

#: What stands between the lines of an event's text.
_BETWEEN: Final = " | "

_TEMPLATE: Final = {
    Atom("single_line"): False,
    Atom("template"): [Atom("msg")],
    Atom("legacy_header"): False,
}


class LogEvent(NamedTuple):
    """A log event: ``message`` is ``{string, S}``, ``{report, R}`` or ``{Format, Args}``."""

    level: Atom
    message: tuple[Any, Any]
    metadata: dict[Any, Any]

    @property
    def pid(self) -> Pid | None:
        """The process that logged."""
        pid = self.metadata.get(Atom("pid"))
        return pid if isinstance(pid, Pid) else None


class LoggerProxy:
    """The handler of the process ``logger_proxy``. ``call`` has the node that an event comes from
    write its text: only it has the code that knows how its reports are told. One that is not connected
    is not dialled for that."""

    def __init__(
        self, name: str, call: RemoteCall, is_connected: Callable[[str], bool] = lambda node: True
    ) -> None:
        self._name = name
        self._call = call
        self._is_connected = is_connected
        self._breaker = CircuitBreaker()
        self._limit = RateLimit(MAX_EVENTS, 1.0)
        self._waiting: dict[str, deque[LogEvent]] = {}
        self._dropped: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, process: Process, message: Any) -> None:
        event = read_event(message)
        if event is None or not log.isEnabledFor(LEVELS[event.level.name]):
            return
        note = self._limit.admit()
        if note is None:
            return
        if note:
            log.warning("log events of other nodes: %d in a second%s", MAX_EVENTS, note)
        ready = event.metadata.get(PYTHON_TEXT)
        if isinstance(ready, bytes):
            if ready:
                write(event, ready.decode(errors="replace"))
            return
        pid = event.pid
        if pid is None or pid.node.name == self._name or not self._is_connected(pid.node.name):
            write(event, _plain(event))
            return
        node = pid.node.name
        waiting = self._waiting.get(node)
        if waiting is None:
            # One task for each node that logs keeps its events in their order.
            self._waiting[node] = deque([event])
            task = asyncio.ensure_future(self._tell(node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(waiting) < MAX_WAITING:
            waiting.append(event)
        else:
            self._dropped[node] = self._dropped.get(node, 0) + 1

    def close(self) -> None:
        """The node has stopped: nobody writes a text any more."""
        for task in self._tasks:
            task.cancel()

    async def _tell(self, node: str) -> None:
        waiting = self._waiting[node]
        try:
            while waiting:
                event = waiting.popleft()
                write(event, await self._text(node, event))
            dropped = self._dropped.pop(node, 0)
            if dropped:
                log.warning("%d log events of %s were dropped: they came too fast", dropped, node)
        finally:
            del self._waiting[node]

    async def _text(self, node: str, event: LogEvent) -> str:
        if event.message[0] == Atom("string"):
            return _plain(event)
        term = {Atom("level"): event.level, Atom("msg"): event.message, Atom("meta"): event.metadata}
        try:
            with self._breaker.attempt(node, FORMAT_TIME):
                chars = await self._call(
                    node, "logger_formatter", "format", [term, _TEMPLATE], timeout=FORMAT_TIME
                )
        except QuicDistError as error:
            log.debug("%s did not write the text of its log event: %s", node, error)
            return _plain(event)
        text = characters(chars)
        return _plain(event) if text is None else text


def read_event(message: Any) -> LogEvent | None:
    """The event in ``{log, Level, Format, Args, Meta}`` or ``{log, Level, StringOrReport, Meta}``; None
    for any other message."""
    match message:
        case (tag, Atom() as level, form, list(arguments), dict(metadata)):
            content = (form, arguments)
        case (tag, Atom() as level, form, dict(metadata)):
            is_report = isinstance(form, dict) or (
                isinstance(form, list) and bool(form) and isinstance(form[0], tuple)
            )
            content = (Atom("report" if is_report else "string"), form)
        case _:
            return None
    return LogEvent(level, content, metadata) if tag == Atom("log") and level.name in LEVELS else None


def _plain(event: LogEvent) -> str:
    """The text of an event that nobody else writes."""
    kind, content = event.message
    text = characters(content) if kind == Atom("string") else None
    return shown(event.message) if text is None else text


def write(event: LogEvent, text: str) -> None:
    """Hand an event to Python's logging."""
    pid = event.pid
    node = None if pid is None else pid.node.name
    extra = {"node": node, "pid": pid, "metadata": event.metadata}
    # One line for one event: no line of it can pass for another record.
    lines = filter(None, map(str.strip, clean(text, MAX_TEXT, lines=True).split("\n")))
    text = clean(_BETWEEN.join(lines).replace("\t", " "), MAX_TEXT)
    log.log(LEVELS[event.level.name], "%s: %s", node, Lines(text), extra=extra)


class LoggerHandler(logging.Handler):
    """A handler of Python's ``logging`` that has the node ``to`` log what ``node`` does:
    ``logging.getLogger().addHandler(LoggerHandler(node, "a@host"))``.

    It may be called from any thread. The metadata there have ``pid`` (this node's), ``time``, ``file``,
    ``line``, ``mfa`` (``{Module, Function, 0}``) and ``logger``, the name of Python's logger, a binary.
    They have no ``domain``: the default handler of a BEAM stops every domain but ``[]``, ``[otp]`` and
    ``[otp,sasl]``.

    What it cannot send at once it leaves out, and says how much with the next record: the records of
    quicdist itself while there is no connection (they would make one, and its failure the next record),
    and all records while the connection's buffer is over its bound. Of quicdist's and aioquic's own it
    forwards 20 of one level in ten seconds. It leaves out what other nodes logged here, and the crash
    reports that ``to`` has got as a BEAM's already.
    """

    def __init__(self, node: NodeCore, to: Name, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._node = node
        self._to = node_name(to)
        self._limit = RateLimit(OWN_RECORDS, OWN_PERIOD)
        #: Records on their way into the loop's thread: their text, and whether they are our own.
        self._waiting: deque[tuple[logging.LogRecord, str, bool]] = deque()
        #: Records left out by ``emit`` and in the loop's thread, and how many of them were told.
        self._refused = self._unsent = self._told = 0
        #: The thread that is sending a record: those that it makes meanwhile would have no end.
        self._sending: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._sending == get_ident() or record.name == log.name:
            return
        if getattr(record, "reported_to", None) == self._to:
            return
        own = record.name.partition(".")[0] in OWN_LOGGERS
        note = self._limit.admit(record.levelno) if own else ""
        if note is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._refused += 1
            return
        try:
            self._waiting.append((record, self.format(record)[:MAX_TEXT] + note, own))
        except Exception:
            self.handleError(record)
            return
        try:
            self._node.call_soon_threadsafe(self._send_next)
        except (NodeNotStarted, RuntimeError):
            # There is no node yet, or no event loop any more.
            self._waiting.pop()
            self._refused += 1

    def _send_next(self) -> None:
        record, text, own = self._waiting.popleft()
        link = self._node.connections.link(self._to)
        if (link is None and own) or (link is not None and not link.writable):
            self._unsent += 1
            return
        left_out = self._refused + self._unsent - self._told
        if left_out:
            text += f" ({left_out} records before it were not sent)"
        self._sending = get_ident()
        try:
            _send_event(self._node.runtime, self._to, record, text)
        except Exception:
            self._unsent += 1
        else:
            self._told += left_out
        finally:
            self._sending = None


def _send_event(runtime: Runtime, to: str, record: logging.LogRecord, text: str) -> None:
    leader = runtime.group_leader
    assert leader is not None  # since the node has been started
    metadata = {
        Atom("pid"): leader,
        Atom("time"): int(record.created * 1_000_000),
        Atom("file"): list(record.pathname.encode(errors="replace")),
        Atom("line"): record.lineno,
        Atom("mfa"): (_atom(record.module), _atom(record.funcName), 0),
        # No atom: the program may make as many names as it likes, and a BEAM keeps atoms for ever.
        Atom("logger"): record.name,
    }
    target = (Atom(LOGGER_PROXY), Atom(to))
    content = text.encode(errors="backslashreplace")
    runtime.send(leader, target, (Atom("log"), _otp_level(record.levelno), content, metadata))


def _otp_level(level: int) -> Atom:
    return Atom(next((name for least, name in _OTP_LEVELS if level >= least), "debug"))


def _atom(name: str | None) -> Atom:
    return Atom((name or "")[:255])
