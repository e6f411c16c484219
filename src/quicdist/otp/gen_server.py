"""``gen_server``: a class of callbacks that answers calls and casts from any node.

OTP: ``gen_server(3)``. The callbacks are those of the behaviour; each may be a plain function or a
coroutine function, and while a coroutine waits, later messages wait with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from quicdist.logs import RateLimit, get_logger
from quicdist.node.exit_reason import NORMAL
from quicdist.node.process import Process
from quicdist.node.reports import MAX_REPORTS, PERIOD, Shown, shown
from quicdist.otp.gen import From
from quicdist.otp.gen import reply as gen_reply
from quicdist.term import Atom, TermError, term_to_binary
from quicdist.term.shorten import shorten

log = get_logger("quicdist.otp")

#: What ``handle_info`` gets when the time a callback asked for is over and no message came.
TIMEOUT: Final = Atom("timeout")
#: Lines about messages that a server has no use for, for each class.
_unexpected = RateLimit(MAX_REPORTS, PERIOD)
#: Characters shown of an attribute that Erlang has no term for.
_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Continue:
    """What comes next is ``handle_continue(argument)``, before any message
    (``{continue, Argument}``)."""

    argument: Any = None


#: What comes then is nothing special: a process of Python has no heap that could be made smaller.
HIBERNATE: Final = Atom("hibernate")

#: What a callback can ask for: :class:`Continue`, or seconds after which ``handle_info`` gets the
#: atom ``timeout`` unless a message comes first; ``HIBERNATE`` is taken, and does nothing.
Then = Continue | float | Atom | None


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the call with ``value`` (``{reply, Value, State, Then}``); the same as returning
    ``value``, but for what comes then."""

    value: Any
    then: Then = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """Go on (``{noreply, State, Then}``); a call is answered later, by :meth:`GenServer.reply`."""

    then: Then = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the server with ``reason`` (``{stop, Reason, Reply, State}``); ``reply`` answers the call
    that is being handled, once ``terminate`` has run."""

    reason: Any = NORMAL
    reply: Any = NoReply()


#: What ``handle_call`` returns when the answer follows later, by :meth:`GenServer.reply`.
NO_REPLY: Final = NoReply()


class _Ignore:
    def __repr__(self) -> str:
        return "IGNORE"


#: What ``init`` returns to end at once with no error (``ignore``).
IGNORE: Final = _Ignore()


class GenServer:
    """Base class of servers; override what is needed.

    ``self.process`` is the process it runs as, from ``init`` on. What a callback returns decides
    how the server goes on:

    - ``handle_call``: the reply; or :class:`Reply`, :class:`NoReply` or :class:`Stop`;
    - ``handle_cast``, ``handle_info``, ``handle_continue``: None, :class:`NoReply` or
      :class:`Stop`;
    - ``init``: None, :class:`NoReply`, :class:`Stop` or :data:`IGNORE`.

    A ``handle_call``, ``handle_cast`` or ``handle_continue`` that ends in ``match request:`` and has
    no case for it ends the server with ``function_clause``; such a message is logged by
    ``handle_info``.
    Raising :class:`~quicdist.ProcessExit` ends the server with that reason, any other exception
    with the reason it stands for. With ``self.process.trap_exit = True`` exit signals come to
    ``handle_info`` as ``{'EXIT', Pid, Reason}``, except that of the process it was started and
    linked by, which ends it.
    """

    process: Process
    #: Whether it is a supervisor: it ends the processes it has started by itself.
    supervises: ClassVar[bool] = False

    def init(self) -> Any:
        """Called once, before any message."""

    def handle_call(self, request: Any, sender: From) -> Any:
        """A ``gen_server:call``."""
        raise NotImplementedError(f"{type(self).__name__} takes no calls, got {_told(request)}")

    def handle_cast(self, request: Any) -> Any:
        """A ``gen_server:cast``."""
        raise NotImplementedError(f"{type(self).__name__} takes no casts, got {_told(request)}")

    def handle_info(self, message: Any) -> Any:
        """Any other message; logged unless overridden, as ``gen_server`` does."""
        note = _unexpected.admit(type(self).__qualname__)
        if note is not None:
            log.warning("%r got a message it has no use for: %s%s", self.process, Shown(message), note)

    def handle_continue(self, argument: Any) -> Any:
        """What a callback put off with :class:`Continue`."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_continue, got {_told(argument)}")

    def terminate(self, reason: Any) -> Any:
        """Called when the server ends, with the exit reason, before anybody is told of its end.

        Unlike OTP also when an exit signal ends a server that does not trap exits, and when it is
        killed, for what it holds open must be closed then too. For ``kill`` everybody has been told
        by then, and what is sent has no effect."""

    def reply(self, sender: From, value: Any) -> None:
        """Answer a call that ``handle_call`` left open (``gen_server:reply/2``)."""
        gen_reply(self.process, sender, value)

    # -- for the module sys --------------------------------------------------------------------

    def code_change(self, old_version: Any, extra: Any) -> Any:
        """``sys:change_code`` was called while the server was suspended, as a release handler does:
        take the state over from ``old_version`` (``code_change/3``). There is nothing to do unless
        overridden; what is raised is the answer to who called."""

    def get_state(self) -> Any:
        """The state that ``sys:get_state`` and ``sys:get_status`` show: by default a map of the
        object's public attributes, those Erlang has no term for as text."""
        return {
            Atom(name): _shown(value)
            for name, value in vars(self).items()
            if name != "process" and not name.startswith("_")
        }

    def replace_state(self, state: Any) -> Any:
        """Take over a state that ``sys:replace_state`` has made from that of :meth:`get_state`."""
        raise NotImplementedError(f"{type(self).__name__} has no replace_state")


def reported_state(server: GenServer) -> Any:
    """The state that a report of a crash shows: what ``get_state`` gives, cut to a bounded size. That of
    the attributes is not looked at as a whole, which could take long."""
    try:
        if type(server).get_state is not GenServer.get_state:
            return shorten(server.get_state())
        public = {Atom(name): value for name, value in vars(server).items() if name[0] != "_"}
        public.pop(Atom("process"), None)
        return shorten(public)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<no state: {type(error).__qualname__}>"


def _told(term: Any) -> str:
    """A term in an error, as Python shows it where that can be done."""
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
