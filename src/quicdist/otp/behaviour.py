"""What all behaviours have: the base class of servers of every kind.

OTP: ``gen_server(3)``, ``gen_statem(3)``, ``sys(3)``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.term import Atom, TermError, term_to_binary
from quicdist.term.shorten import shorten

#: Characters shown of an attribute that cannot be encoded.
_SHOWN: Final = 1000


class Behaviour:
    """Base class of :class:`GenServer` and the other behaviours. ``self.process`` is the process of the
    server, from ``init`` on."""

    process: Process
    #: The name of OTP's module.
    behaviour: ClassVar[Atom]
    #: Whether it is a supervisor, which ends the processes that it has started.
    supervises: ClassVar[bool] = False

    def init(self) -> Any:
        """Called once, before all messages."""

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


def reported_state(server: Behaviour) -> Any:
    """The state in a crash report: that of ``get_state``, cut to a bounded size. If ``get_state`` is not
    overridden, attributes are cut before they are read, because large ones take long."""
    try:
        if type(server).get_state is not Behaviour.get_state:
            return shorten(server.get_state())
        public = {Atom(name): value for name, value in vars(server).items() if name[0] != "_"}
        public.pop(Atom("process"), None)
        return shorten(public)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<no state: {type(error).__qualname__}>"


def represented(term: Any) -> str:
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
