"""``gen_server``: the base class of servers, and the values that callbacks return.

OTP: ``gen_server(3)``. The callbacks are those of the behaviour. Each can be a plain function or a
coroutine function; while a coroutine waits, later messages wait too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from quicdist.logs import RateLimit, get_logger
from quicdist.node.exit_reason import NORMAL
from quicdist.node.reports import MAX_REPORTS, PERIOD, Shown
from quicdist.otp.behaviour import Behaviour, represented
from quicdist.otp.gen_messages import From
from quicdist.term import Atom

log = get_logger("quicdist.otp")

#: The message to ``handle_info`` when no message came within the time-out that a callback returned.
TIMEOUT: Final = Atom("timeout")
#: Log lines about unexpected messages, for each class.
_unexpected = RateLimit(MAX_REPORTS, PERIOD)


@dataclass(frozen=True, slots=True)
class Continue:
    """Call ``handle_continue(argument)`` next, before any message (``{continue, Argument}``)."""

    argument: Any = None


#: ``hibernate``: accepted, without effect.
HIBERNATE: Final = Atom("hibernate")

#: What a server does after a callback: :class:`Continue`; or a time-out in seconds, after which
#: ``handle_info`` gets the atom ``timeout`` unless a message comes first; or ``HIBERNATE``.
Then = Continue | float | Atom | None


@dataclass(frozen=True, slots=True)
class Reply:
    """Reply to the call with ``value``, then do ``then`` (``{reply, Value, State, Then}``). To return
    ``value`` alone is the same without ``then``."""

    value: Any
    then: Then = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """Do not reply now (``{noreply, State, Then}``); a call is replied to by :meth:`GenServer.reply`."""

    then: Then = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the server with ``reason`` (``{stop, Reason, Reply, State}``). ``reply`` is the reply to the
    current call, sent after ``terminate`` has run."""

    reason: Any = NORMAL
    reply: Any = NoReply()


#: Returned by ``handle_call`` if :meth:`GenServer.reply` sends the reply later.
NO_REPLY: Final = NoReply()


class _Ignore:
    def __repr__(self) -> str:
        return "IGNORE"


#: Returned by ``init`` to end the server at once, without an error (``ignore``).
IGNORE: Final = _Ignore()


class GenServer(Behaviour):
    """Base class of servers; override the callbacks that are needed.

    ``self.process`` is the process of the server, from ``init`` on. Callbacks return:

    - ``handle_call``: the reply; or :class:`Reply`, :class:`NoReply` or :class:`Stop`;
    - ``handle_cast``, ``handle_info``, ``handle_continue``: None, :class:`NoReply` or
      :class:`Stop`;
    - ``init``: None, :class:`NoReply`, :class:`Stop` or :data:`IGNORE`.

    If ``handle_call``, ``handle_cast`` or ``handle_continue`` ends in ``match request:`` and has no
    matching case, the server ends with ``function_clause``; ``handle_info`` logs such a message. An
    exception ends the server: :class:`~quicdist.ProcessExit` with its reason, others with a reason made
    of the exception. With ``self.process.trap_exit = True`` exit signals come to ``handle_info`` as
    ``{'EXIT', Pid, Reason}``; that of the parent, which started the server with a link, ends it.
    """

    behaviour: ClassVar[Atom] = Atom("gen_server")
    matching_callbacks = ("handle_call", "handle_cast", "handle_info", "handle_continue")

    def handle_call(self, request: Any, sender: From) -> Any:
        """A ``gen_server:call``."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_call, got {represented(request)}")

    def handle_cast(self, request: Any) -> Any:
        """A ``gen_server:cast``."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast, got {represented(request)}")

    def handle_info(self, message: Any) -> Any:
        """Any other message; logged unless overridden, as ``gen_server`` does."""
        note = _unexpected.admit(type(self).__qualname__)
        if note is not None:
            log.warning("%r got an unexpected message: %s%s", self.process, Shown(message), note)

    def handle_continue(self, argument: Any) -> Any:
        """Called after a callback returned :class:`Continue`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no handle_continue, got {represented(argument)}"
        )
