"""The errors of a node and its processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quicdist.containment import describe
from quicdist.errors import QuicDistError
from quicdist.term import Atom
from quicdist.term.shorten import shorten


class NodeError(QuicDistError):
    """An operation of a node has failed. Raised itself when a node is used outside the thread of its event
    loop, and when a callback of a server has no case for its argument (``function_clause``)."""

    #: The reason with which a process ends that does not catch this error: the one with which OTP's
    #: function exits for the same failure. None where OTP has none: then it is that of a Python error.
    exit_reason: Any = None


class NodeNotStarted(NodeError, RuntimeError):
    """The node has not been started, or was stopped."""


class CookieError(NodeError):
    """The cookie is empty or too long, or its file cannot be read, made, or trusted: it is open to others."""


class NotConnected(NodeError, ConnectionError):
    """A node could not be reached. ``node`` is its name; ``attempts`` are the errors of each attempt, or
    the error that ended the connection."""

    def __init__(self, node: str, attempts: tuple[QuicDistError, ...] = ()) -> None:
        self.node = node
        self.attempts = attempts
        super().__init__(f"cannot reach node {node}: {_joined(attempts) or 'noconnection'}")


class NotSettled(NodeError, TimeoutError):
    """A cluster was not settled in time. ``missing`` has the nodes listed that are not connected, each with
    the error of the last attempt, or None if there was none; ``unanswered`` has the strategies without an
    answer, each in the same way."""

    def __init__(
        self,
        timeout: float,
        missing: Mapping[str, QuicDistError | None],
        unanswered: Mapping[str, BaseException | None],
    ) -> None:
        self.missing = dict(missing)
        self.unanswered = dict(unanswered)
        waited = [f"{node} is not connected" + _because(error) for node, error in missing.items()]
        waited += [f"{strategy} has not answered" + _because(error) for strategy, error in unanswered.items()]
        more = f"; and {len(waited) - _MAX_WAITED} more" if len(waited) > _MAX_WAITED else ""
        text = "; ".join(waited[:_MAX_WAITED]) or "too few nodes are listed"
        super().__init__(f"the cluster has not settled within {timeout:g} s: {text}{more}")


#: Nodes and strategies that the text of NotSettled names.
_MAX_WAITED = 5


def _because(error: BaseException | None) -> str:
    return "" if error is None else f" ({describe(error)})"


def _joined(attempts: tuple[QuicDistError, ...]) -> str:
    return "; ".join(str(attempt) for attempt in attempts)


class NetTickTimeout(NodeError):
    """Nothing came from a connected node for ``ticktime`` seconds (OTP's ``net_tick_timeout``)."""

    def __init__(self, node: str, ticktime: float) -> None:
        self.node = node
        super().__init__(f"node {node} has sent nothing for {ticktime:g} s (net_tick_timeout)")


class NameRegistered(NodeError, ValueError):
    """The name is already registered for a process of this node (``register/2``: badarg)."""


class NoSuchProcess(NodeError, LookupError):
    """The process that a local operation needs does not exist (``noproc``)."""


class SpawnError(NodeError):
    """A process could not be spawned on ``node``; ``reason`` is OTP's word for why:
    ``noconnection``, ``notsup``, ``badopt``, ``system_limit``. ``attempts`` are as in
    :class:`NotConnected`."""

    def __init__(self, node: str, what: str, reason: Atom, attempts: tuple[QuicDistError, ...] = ()) -> None:
        self.node = node
        self.reason = reason
        self.attempts = attempts
        tried = f" ({_joined(attempts)})" if attempts else ""
        super().__init__(f"cannot spawn {what} on {node}: {reason}{tried}")


class ProcessEnded(NodeError):
    """Another process ended, with ``reason``, before it answered."""

    def __init__(self, what: str, reason: Any) -> None:
        self.reason = self.exit_reason = reason
        super().__init__(f"{what} ended: {_shown(reason)}")


class ProcessExit(BaseException):
    """Raised by a process to end itself with ``reason``, an Erlang term (``exit/1``).

    It is not an error: ``except Exception`` does not catch it.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"exit: {_shown(self.reason)}"


def _shown(reason: Any) -> str:
    """A term as text, cut to a readable length."""
    from quicdist.term import format_term  # the printer of terms, which few programs use

    return format_term(shorten(reason))
