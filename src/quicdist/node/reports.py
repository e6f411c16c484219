"""Crash reports of processes in Python's ``logging``: a text, and the facts as fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from quicdist.containment import describe
from quicdist.logs import Lines, RateLimit, clean, get_logger
from quicdist.node.errors import ProcessExit
from quicdist.node.exit_reason import ERROR, Failure, is_shutdown, only
from quicdist.node.process import Process
from quicdist.term import Atom, Pid, TermError
from quicdist.term.shorten import shorten

log = get_logger("quicdist.crash")

#: Characters of each term in a report.
MAX_TEXT: Final = 1000
#: Reports of processes that run the same function, in so many seconds.
MAX_REPORTS: Final = 100
PERIOD: Final = 10.0

_MAX_ANCESTORS: Final = 10
_APPLY: Final = (Atom("erlang"), Atom("apply"), 2)


class Reporter(Protocol):
    """Reports crashes. Called for every process that ends by itself, before links and monitors fire; raises
    nothing."""

    def process_crashed(
        self, process: Process, failure: Failure, error: BaseException | None, message: Any = None
    ) -> None:
        """``process`` ends with ``failure``. ``error`` is the Python exception, if there was one;
        ``message`` the message that was being handled, if it is known."""


@dataclass(slots=True)
class Crash:
    """The facts of a report. The terms are cut to a bounded size (:func:`~quicdist.term.shorten.shorten`).

    ``failure`` is as :func:`~quicdist.node.exit_reason.failure` gives it. ``ancestors`` are the parent, its
    parent, and so on, by name or pid.
    """

    process: Process
    node: str
    failure: Failure
    error: BaseException | None
    initial_call: tuple[Any, ...]
    ancestors: list[Atom | Pid]
    last_message: Any = None
    state: Any = None
    client: Pid | None = None
    #: Of a server: the events that its debug option ``log`` has kept.
    log: list[Any] = field(default_factory=list)
    #: Of a server: whether its ``init`` has returned.
    initialised: bool = True
    #: Further facts, as fields.
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> Any:
        """The exit reason."""
        _, reason, *stack = self.failure
        return (reason, stack[0]) if stack else reason

    @property
    def stack(self) -> list[Any]:
        """The stack trace, as Erlang has it; empty for an exit."""
        return list(self.failure[2]) if len(self.failure) > 2 else []

    def fields(self) -> dict[str, Any]:
        """The fields of the record."""
        process = self.process
        return {
            "node": self.node,
            "pid": process.pid,
            "registered_name": process.name,
            "initial_call": self.initial_call,
            "reason": self.reason,
            "last_message": self.last_message,
            "state": self.state,
            "client": self.client,
            "ancestors": self.ancestors,
            "links": process.links,
            "stack": self.stack,
            **self.more,
        }

    def why(self) -> str:
        """The reason as short text: type and text of a Python exception, else the term."""
        if self.error is not None and self.failure[0] == ERROR:
            error = only(self.error)
            text = clean(describe(error), MAX_TEXT)
            return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__
        return shown(self.reason)


def shown(term: Any) -> str:
    """A term, or any other object, as text of a limited length."""
    from quicdist.term import format_term  # the printer of terms, which few programs use

    try:
        text = format_term(shorten(term), printable_range="unicode")
    except TermError:
        text = "?"
    return clean(text, MAX_TEXT)


class Shown:
    """``shown(term)`` for a log line, computed only if the line is written."""

    __slots__ = ("_term",)

    def __init__(self, term: Any) -> None:
        self._term = term

    def __str__(self) -> str:
        return shown(self._term)


class CrashLog:
    """A :class:`Reporter` that writes to Python's ``logging``."""

    def __init__(self, node: str, find: Callable[[Pid], Process | None]) -> None:
        self.node = node
        self._find = find
        self._limit = RateLimit(MAX_REPORTS, PERIOD)

    def process_crashed(
        self, process: Process, failure: Failure, error: BaseException | None, message: Any = None
    ) -> None:
        try:
            if is_crash(process, failure, error):
                self.report(self.crash(process, failure, error, message))
        except Exception:
            log.exception("cannot report the crash of %r", process)

    def crash(
        self, process: Process, failure: Failure, error: BaseException | None, message: Any = None
    ) -> Crash:
        """The facts of a crash."""
        return Crash(
            process,
            self.node,
            failure,
            error,
            initial_call(process),
            ancestors(process, self._find),
            last_message=shorten(message),
        )

    def report(self, crash: Crash) -> None:
        """Report it."""
        self.write(crash, lambda: self.text(crash))

    def text(self, crash: Crash) -> str:
        """A line with the process and the reason, and a line for each further fact."""
        who, what, facts = self.facts(crash)
        for label, terms in (("ancestors", crash.ancestors), ("links", crash.process.links)):
            if terms:
                facts.append((label, shown(terms)))
        more = "".join(f"\n  {label}: {value}" for label, value in facts)
        return f"{who} {crash.process.pid}{named(crash.process)} of {self.node} {what}: {crash.why()}{more}"

    def facts(self, crash: Crash) -> tuple[str, str, list[tuple[str, str]]]:
        """The kind of process, the verb, and the facts with their labels."""
        facts = [("initial call", mfa_text(crash.initial_call))]
        if crash.last_message is not None:
            facts.append(("last message", shown(crash.last_message)))
        return "process", "crashed", facts

    def write(self, crash: Crash, text: Callable[[], str]) -> None:
        """Log it, unless the rate limit leaves it out. ``text`` is called only then, because making it takes
        far longer than a crash."""
        note = self._limit.admit(crash.initial_call)
        if note is not None:
            head, end, more = text().partition("\n")
            error = None if _is_own_exit(crash.error) else crash.error
            log.error("%s", Lines(f"{head}{note}{end}{more}"), exc_info=error, extra=crash.fields())


def ancestors(process: Process, find: Callable[[Pid], Process | None]) -> list[Atom | Pid]:
    """The parent of a process, its parent, and so on, by name or pid, as far as they are of this node and
    alive (``'$ancestors'`` of ``proc_lib``). ``find`` finds a living process of this node."""
    found: list[Atom | Pid] = []
    pid = process.parent
    while pid is not None and len(found) < _MAX_ANCESTORS:
        parent = find(pid)
        found.append(Atom(parent.name) if parent is not None and parent.name else pid)
        pid = None if parent is None else parent.parent
    return found


def is_crash(process: Process, failure: Failure, error: BaseException | None) -> bool:
    """Whether an end is reported: errors are. Exits are not, as on a BEAM, except those that ``proc_lib``
    reports, and uncaught Python exceptions."""
    kind, reason, *_ = failure
    if kind == ERROR:
        return True
    return not is_shutdown(reason) and (process.is_otp_process or not _is_own_exit(error))


def _is_own_exit(error: BaseException | None) -> bool:
    return error is None or isinstance(only(error), ProcessExit)


def named(process: Process) -> str:
    """The registered name, in brackets."""
    return f" ({process.name})" if process.name else ""


def mfa_text(initial_call: tuple[Any, ...]) -> str:
    """``module:function/arity``."""
    module, function, arity = initial_call
    return clean(f"{module}:{function}/{arity}", MAX_TEXT)


def initial_call(process: Process) -> tuple[Any, ...]:
    """``{Module, Function, Arity}`` of what a process runs."""
    body = process.body
    if isinstance(body, tuple):
        # Named by another node: module and function may be any terms.
        module, function, arity = body
        return (_atom(module), _atom(function), arity)
    code = getattr(body, "__code__", None)
    if body is None:
        return _APPLY
    module, name = getattr(body, "__module__", "?"), getattr(body, "__qualname__", type(body).__qualname__)
    return (_atom(module), _atom(name), getattr(code, "co_argcount", 1))


def _atom(term: Any) -> Atom:
    if isinstance(term, Atom):
        return term
    return Atom((term if isinstance(term, str) else shown(term))[:255])
