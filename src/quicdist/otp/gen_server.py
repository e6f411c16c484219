"""``gen_server``: the base class of servers, and the values that callbacks return.

OTP: ``gen_server(3)``. The callbacks are those of the behaviour. Each can be a plain function or a
coroutine function; while a coroutine waits, later messages wait too.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from quicdist.containment import dispose
from quicdist.logs import RateLimit, get_logger
from quicdist.node.exit_reason import NORMAL
from quicdist.node.process import Process
from quicdist.node.reports import MAX_REPORTS, PERIOD, Shown, shown
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.term import Atom, TermError, term_to_binary
from quicdist.term.shorten import shorten

log = get_logger("quicdist.otp")

#: The message to ``handle_info`` when no message came within the time-out that a callback returned.
TIMEOUT: Final = Atom("timeout")
#: Log lines about unexpected messages, for each class.
_unexpected = RateLimit(MAX_REPORTS, PERIOD)
#: Characters shown of an attribute that cannot be encoded.
_SHOWN = 1000


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


class GenServer:
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

    process: Process
    #: Whether it is a supervisor, which ends the processes that it has started.
    supervises: ClassVar[bool] = False

    def init(self) -> Any:
        """Called once, before all messages."""

    def handle_call(self, request: Any, sender: From) -> Any:
        """A ``gen_server:call``."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_call, got {_represented(request)}")

    def handle_cast(self, request: Any) -> Any:
        """A ``gen_server:cast``."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast, got {_represented(request)}")

    def handle_info(self, message: Any) -> Any:
        """Any other message; logged unless overridden, as ``gen_server`` does."""
        note = _unexpected.admit(type(self).__qualname__)
        if note is not None:
            log.warning("%r got an unexpected message: %s%s", self.process, Shown(message), note)

    def handle_continue(self, argument: Any) -> Any:
        """Called after a callback returned :class:`Continue`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no handle_continue, got {_represented(argument)}"
        )

    def terminate(self, reason: Any) -> Any:
        """Called with the exit reason when the server ends, before links and monitors fire.

        Unlike in OTP it is also called when an exit signal ends a server that does not trap exits, and when
        the server is killed, so that it can close what it holds open. After ``kill``, links and monitors have
        fired already, and messages from here are dropped."""

    def reply(self, sender: From, value: Any) -> None:
        """Reply to a call after ``handle_call`` has returned (``gen_server:reply/2``)."""
        gen_reply(self.process, sender, value)

    # -- for the module sys ------------------------------------------------------------------------

    def code_change(self, old_version: Any, extra: Any) -> Any:
        """Called by ``sys:change_code`` while the server is suspended, as a release handler does: convert
        the state of ``old_version`` (``code_change/3``). Does nothing unless overridden. An exception is
        the answer to the caller."""

    def get_state(self) -> Any:
        """The state that ``sys:get_state`` and ``sys:get_status`` show: by default a map of the public
        attributes; values that cannot be encoded are shown as text."""
        return {
            Atom(name): _shown(value)
            for name, value in vars(self).items()
            if name != "process" and not name.startswith("_")
        }

    def replace_state(self, state: Any) -> Any:
        """Set the state that ``sys:replace_state`` computed from that of :meth:`get_state`."""
        raise NotImplementedError(f"{type(self).__name__} has no replace_state")


def reported_state(server: GenServer) -> Any:
    """The state in a crash report: that of ``get_state``, cut to a bounded size. If ``get_state`` is not
    overridden, attributes are cut before they are read, because large ones take long."""
    try:
        if type(server).get_state is not GenServer.get_state:
            state = server.get_state()
            if isinstance(state, Awaitable):
                dispose(state)
                return "<no state: get_state is a coroutine function>"
            return shorten(state)
        public = {Atom(name): value for name, value in vars(server).items() if name[0] != "_"}
        public.pop(Atom("process"), None)
        return shorten(public)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<no state: {type(error).__qualname__}>"


def _represented(term: Any) -> str:
    """A term for an error message: its repr, if that does not nest too deeply."""
    try:
        return repr(term)[:_SHOWN]
    except RecursionError:
        return shown(term)


def _shown(value: Any) -> Any:
    try:
        term_to_binary(value)
    except TermError:
        return repr(value)[:_SHOWN]
    return value
