"""Log events between nodes (kernel, *logger*): from other nodes to Python's ``logging``, and Python's
records to other nodes.

On a BEAM a process logs on the node of its group leader too, by its process ``logger_proxy``. So the log
events of code that runs on a BEAM for this node come here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quicdist.errors import QuicDistError
from quicdist.logs import Lines, RateLimit, clean, get_logger
from quicdist.node.errors import NodeNotStarted
from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.circuit_breaker import CircuitBreaker
from quicdist.otp.erpc import RemoteCall
from quicdist.otp.io_server import characters
from quicdist.protocol.names import node_name
from quicdist.term import Atom, Pid
from quicdist.term.names import Name

if TYPE_CHECKING:
    from quicdist.node.interface import NodeInterface

#: The logger for log events of other nodes. Their records have ``node`` (its name, None if unknown),
#: ``pid`` and ``metadata`` (OTP's, a dict).
log: Final = get_logger("quicdist.logger")

LOGGER_PROXY: Final = "logger_proxy"
#: In the metadata of events from Python nodes: the text; empty if an event before had all of it.
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
#: OTP's level is the first one here that is not above the record's.
_OTP_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)

#: Events of one node that wait for their text; more are counted and dropped, as in OTP's overload
#: protection.
MAX_WAITING: Final = 1000
#: Events logged in a second; more are dropped, as by the burst limit of OTP's handlers.
MAX_EVENTS: Final = 2000
#: Seconds that the node of an event has to format it.
FORMAT_TIME: Final = 5.0

#: Characters of a record or an event.
MAX_TEXT: Final = 32_768
#: The loggers whose records sending can cause, and how many of each level are forwarded within
#: ``OWN_PERIOD`` seconds.
OWN_LOGGERS: Final = ("quicdist", "quic")
OWN_RECORDS: Final = 20
OWN_PERIOD: Final = 10.0

#: Separates the lines of an event's text.
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
    """Handles the messages of the process ``logger_proxy``. ``call`` has the node of an event format it,
    because only that node has the code for its reports. A node that is not connected is not dialled."""

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
            # One task for each node keeps its events in order.
            self._waiting[node] = deque([event])
            task = asyncio.ensure_future(self._write_waiting(node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(waiting) < MAX_WAITING:
            waiting.append(event)
        else:
            self._dropped[node] = self._dropped.get(node, 0) + 1

    def close(self) -> None:
        """Format no more events: the node has stopped."""
        for task in self._tasks:
            task.cancel()

    async def _write_waiting(self, node: str) -> None:
        waiting = self._waiting[node]
        try:
            while waiting:
                event = waiting.popleft()
                write(event, await self._text(node, event))
            dropped = self._dropped.pop(node, 0)
            if dropped:
                log.warning("%d log events of %s were dropped: too many at once", dropped, node)
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
            log.debug("%s did not format its log event: %s", node, error)
            return _plain(event)
        text = characters(chars)
        return _plain(event) if text is None else text


def read_event(message: Any) -> LogEvent | None:
    """The event of ``{log, Level, Format, Args, Meta}`` or ``{log, Level, StringOrReport, Meta}``; None
    for another message."""
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
    """The text of an event that its node did not format."""
    kind, content = event.message
    text = characters(content) if kind == Atom("string") else None
    return shown(event.message) if text is None else text


def write(event: LogEvent, text: str) -> None:
    """Hand an event to Python's logging."""
    pid = event.pid
    node = None if pid is None else pid.node.name
    extra = {"node": node, "pid": pid, "metadata": event.metadata}
    # One line for one event, so that no part of it can pass for another record.
    lines = filter(None, map(str.strip, clean(text, MAX_TEXT, lines=True).split("\n")))
    text = clean(_BETWEEN.join(lines).replace("\t", " "), MAX_TEXT)
    log.log(LEVELS[event.level.name], "%s: %s", node, Lines(text), extra=extra)


class LoggerHandler(logging.Handler):
    """A handler of Python's ``logging`` that logs the records of ``node`` on the node ``to``:
    ``logging.getLogger().addHandler(LoggerHandler(node, "a@host"))``.

    It can be used in any thread. The metadata there have ``pid`` (this node's), ``time``, ``file``,
    ``line``, ``mfa`` (``{Module, Function, 0}``) and ``logger``, the name of Python's logger, a binary.
    They have no ``domain``: the default handler of a BEAM drops all domains but ``[]``, ``[otp]`` and
    ``[otp,sasl]``.

    Records that cannot be sent at once are dropped, and counted in the next record: those of quicdist
    itself while there is no connection (they would dial, and a failed dial logs again), and all records
    while the connection's buffer is full. Of quicdist's and aioquic's records, 20 of one level are
    forwarded in ten seconds. Not forwarded are log events of other nodes, and crash reports that ``to``
    has got already.
    """

    def __init__(self, node: NodeInterface[Any], to: Name, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._local = node._local
        self._to = node_name(to)
        self._limit = RateLimit(OWN_RECORDS, OWN_PERIOD)
        #: Records on the way to the loop's thread: text, and whether they are quicdist's own.
        self._waiting: deque[tuple[logging.LogRecord, str, bool]] = deque()
        #: Records dropped by ``emit`` and in the loop's thread, and how many of these were reported.
        self._refused = self._unsent = self._reported = 0
        #: The thread that sends a record; records that it logs meanwhile are dropped, to end the recursion.
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
            self._local.call_soon_threadsafe(self._send_next)
        except (NodeNotStarted, RuntimeError):
            # The node has not started, or the event loop is closed.
            self._waiting.pop()
            self._refused += 1

    def _send_next(self) -> None:
        record, text, own = self._waiting.popleft()
        link = self._local.connections.link(self._to)
        if (link is None and own) or (link is not None and not link.writable):
            self._unsent += 1
            return
        left_out = self._refused + self._unsent - self._reported
        if left_out:
            text += f" ({left_out} records before it were dropped)"
        self._sending = get_ident()
        try:
            _send_event(self._local.runtime, self._to, record, text)
        except Exception:
            self._unsent += 1
        else:
            self._reported += left_out
        finally:
            self._sending = None


def _send_event(runtime: Runtime, to: str, record: logging.LogRecord, text: str) -> None:
    leader = runtime.group_leader
    assert leader is not None  # the node is started
    metadata = {
        Atom("pid"): leader,
        Atom("time"): int(record.created * 1_000_000),
        Atom("file"): list(record.pathname.encode(errors="replace")),
        Atom("line"): record.lineno,
        Atom("mfa"): (_atom(record.module), _atom(record.funcName), 0),
        # A binary: a BEAM never frees atoms, and a program can make any number of loggers.
        Atom("logger"): record.name,
    }
    target = (Atom(LOGGER_PROXY), Atom(to))
    content = text.encode(errors="backslashreplace")
    runtime.send(leader, target, (Atom("log"), _otp_level(record.levelno), content, metadata))


def _otp_level(level: int) -> Atom:
    return Atom(next((name for least, name in _OTP_LEVELS if level >= least), "debug"))


def _atom(name: str | None) -> Atom:
    return Atom((name or "")[:255])
