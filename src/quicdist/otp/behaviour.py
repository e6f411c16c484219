"""What all behaviours have: the base class of servers of every kind.

OTP: ``gen_server(3)``, ``gen_statem(3)``, ``sys(3)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from quicdist.containment import dispose
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
    #: The callbacks that end it with ``function_clause`` when their ``match`` has no case.
    matching_callbacks: ClassVar[tuple[str, ...]] = ()
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
        return {name: _shown(value) for name, value in public_attributes(self).items()}

    def reported_state(self) -> Any:
        """The state in a crash report, cut to a bounded size; of attributes each is cut before it is read,
        because large ones take long."""
        if type(self).get_state is not Behaviour.get_state:
            state = self.get_state()
            if isinstance(state, Awaitable):
                dispose(state)
                return "<no state: get_state is a coroutine function>"
            return shorten(state)
        return shorten(public_attributes(self))

    async def replace_with(self, apply: Callable[[Any], Awaitable[Any]]) -> None:
        """Replace the state by that which ``apply``, the fun of ``sys:replace_state``, makes of it."""
        replaced = self.replace_state(await apply(await shown_state(self)))
        if isinstance(replaced, Awaitable):
            await replaced

    def replace_state(self, state: Any) -> Any:
        """Set the state that ``sys:replace_state`` computed from that of :meth:`get_state`."""
        raise NotImplementedError(f"{type(self).__name__} has no replace_state")


async def shown_state(server: Behaviour) -> Any:
    """The state of a server for ``sys``. Raises what ``get_state`` raises, and
    :class:`~quicdist.term.EncodeError` for a state that cannot be encoded."""
    state = server.get_state()
    if isinstance(state, Awaitable):
        state = await state
    term_to_binary(state)
    return state


def public_attributes(server: Behaviour) -> dict[Any, Any]:
    """The attributes that a server shows: those without a leading underscore."""
    return {
        Atom(name): value
        for name, value in vars(server).items()
        if name != "process" and not name.startswith("_")
    }


def reported_state(server: Behaviour) -> Any:
    """The state in a crash report, or a text that says why there is none."""
    try:
        return server.reported_state()
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
