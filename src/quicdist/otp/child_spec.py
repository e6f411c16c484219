"""Child specifications, and the state of a child of a supervisor.

OTP: ``supervisor(3)``, *Child specification*.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quicdist.node.errors import NodeError
from quicdist.node.process import Process
from quicdist.otp.child_start import Factory
from quicdist.otp.server_names import GlobalOrVia, split_server_name
from quicdist.term import Atom, Pid
from quicdist.term.names import Name, argument_list, named_term
from quicdist.term.shorten import shorten

Restart = Literal["permanent", "transient", "temporary"]
#: Seconds, or one of OTP's atoms.
Shutdown = float | Literal["brutal_kill", "infinity"]

_RESTARTS = ("permanent", "transient", "temporary")
_TYPES = ("worker", "supervisor")
_PYTHON, _UNDEFINED = Atom("python"), Atom("undefined")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child specification.

    ``start`` is called with ``args`` for each start and returns a :class:`GenServer`, a :class:`GenStatem`
    or a :class:`GenEvent`; or it is a coroutine function, the body of a process, called with the process
    and ``args``. The process is registered under ``name``. ``restart``: restart the child whenever it ends
    (``permanent``), unless it ends with ``normal``, ``shutdown`` or ``{shutdown, _}`` (``transient``), or
    never (``temporary``). ``shutdown``: seconds until a child that does not end is killed; by default 5,
    for a supervisor ``"infinity"``.

    Raises :class:`NodeError` for an invalid value, TypeError where ``args`` is not a list or ``name`` not
    a name.
    """

    id: Any
    start: Factory
    args: Sequence[Any] = ()
    name: Name | GlobalOrVia | None = None
    restart: Restart = "permanent"
    shutdown: Shutdown | None = None
    type: Literal["worker", "supervisor"] = "worker"

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", tuple(argument_list(self.args)))
        split_server_name(self.name)
        if self.restart not in _RESTARTS:
            raise NodeError(
                f"child {self.id!r}: restart must be one of {', '.join(_RESTARTS)}, got {self.restart!r}"
            )
        if self.type not in _TYPES:
            raise NodeError(f"child {self.id!r}: type must be one of {', '.join(_TYPES)}, got {self.type!r}")
        if not callable(self.start):
            raise NodeError(f"child {self.id!r}: start must be callable, got {self.start!r}")
        shutdown = self.shutdown
        if not (
            shutdown in (None, "brutal_kill", "infinity") or (not isinstance(shutdown, str) and shutdown >= 0)
        ):
            raise NodeError(
                f"child {self.id!r}: shutdown must be seconds, brutal_kill or infinity, got {shutdown!r}"
            )

    @property
    def term_id(self) -> Any:
        """The id as a term: a ``str`` is an atom."""
        return named_term(self.id)

    @property
    def shutdown_time(self) -> float | None:
        """Seconds until it is killed; None is never, 0 at once."""
        shutdown = self.shutdown
        if shutdown is None:
            shutdown = "infinity" if self.type == "supervisor" else 5.0
        if isinstance(shutdown, str):
            return 0.0 if shutdown == "brutal_kill" else None
        return None if math.isinf(shutdown) else shutdown

    @property
    def modules(self) -> list[Any]:
        """``[Module]``: the name of ``start``."""
        return [Atom(_name(self.start))]

    @property
    def shutdown_term(self) -> Any:
        """Milliseconds, or OTP's atom."""
        if self.shutdown == "brutal_kill":
            return Atom("brutal_kill")
        shutdown_time = self.shutdown_time
        return Atom("infinity") if shutdown_time is None else round(shutdown_time * 1000)

    def to_term(self) -> dict[Any, Any]:
        """The specification as ``supervisor:get_childspec/2`` returns it."""
        return {
            Atom("id"): self.term_id,
            Atom("start"): (_PYTHON, Atom(_name(self.start)), []),
            Atom("restart"): Atom(self.restart),
            Atom("significant"): False,
            Atom("shutdown"): self.shutdown_term,
            Atom("type"): Atom(self.type),
            Atom("modules"): self.modules,
        }


def _name(start: Factory) -> str:
    return f"{getattr(start, '__module__', '?')}.{getattr(start, '__qualname__', repr(start))}"[:255]


class ChildState(enum.Enum):
    """What a supervisor knows of a child, as ``supervisor:which_children/1`` shows it."""

    #: It has no process: not started yet, ended, or its ``init`` returned ``ignore`` (``undefined``).
    STOPPED = enum.auto()
    #: It has a process (its pid).
    RUNNING = enum.auto()
    #: It could not be restarted, and the supervisor tries again (``restarting``).
    RESTARTING = enum.auto()


@dataclass(slots=True, eq=False)
class Child:
    """A child of a supervisor: its specification, and its state, which the methods change."""

    spec: ChildSpec
    state: ChildState = ChildState.STOPPED
    #: Its process while it is ``RUNNING``, None otherwise.
    process: Process | None = None
    #: The pid of its process, or of the last one it had.
    pid: Pid | None = None

    def started(self, process: Process | None) -> None:
        """It was started; None for an ``init`` that returned ``ignore``."""
        self.process = process
        if process is None:
            self.state = ChildState.STOPPED
        else:
            self.state, self.pid = ChildState.RUNNING, process.pid

    def stopped(self) -> None:
        """Its process has ended, or is no longer to be started again."""
        self.state, self.process = ChildState.STOPPED, None

    def restart_failed(self) -> None:
        """It could not be started again: the supervisor will try once more."""
        self.state, self.process = ChildState.RESTARTING, None

    def to_term(self) -> list[Any]:
        """The child in a supervisor's report."""
        spec = self.spec
        start = (_PYTHON, Atom(_name(spec.start)), shorten(list(spec.args)))
        return [
            (Atom("pid"), _UNDEFINED if self.pid is None else self.pid),
            (Atom("id"), shorten(spec.term_id)),
            (Atom("mfargs"), start),
            (Atom("restart_type"), Atom(spec.restart)),
            (Atom("significant"), False),
            (Atom("shutdown"), spec.shutdown_term),
            (Atom("child_type"), Atom(spec.type)),
        ]


class RestartIntensity:
    """Limits the restarts of a supervisor: ``intensity`` within ``period`` seconds."""

    def __init__(self, intensity: int, period: float) -> None:
        self._intensity = intensity
        self._period = period
        self._restarts: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Count a restart at ``now`` (seconds); False if it exceeds the limit."""
        restarts = self._restarts
        restarts.append(now)
        while restarts[0] < now - self._period:
            restarts.popleft()
        return len(restarts) <= self._intensity
