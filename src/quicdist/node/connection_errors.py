"""Remembers and logs why there is no connection to a node."""

from __future__ import annotations

import logging
from typing import Final

from quicdist.carrier import PeerSilent, PeerUnreachable, SetupTimeout
from quicdist.discovery import DiscoveryError
from quicdist.errors import QuicDistError
from quicdist.logs import RateLimit, clean, get_logger
from quicdist.node.errors import NetTickTimeout, NodeError, NotConnected

log = get_logger("quicdist.node.connections")

#: Nodes whose errors are remembered, the latest ones.
MAX_REMEMBERED: Final = 1000
#: Characters of an error in a log line.
MAX_TEXT: Final = 1000

#: Errors of dials to a node that is down or does not exist. Others mean a refusal or a wrong setting.
_UNREACHABLE: Final = (PeerUnreachable, SetupTimeout, DiscoveryError)
#: Ends of connections because of silence.
_SILENT: Final = (NetTickTimeout, PeerSilent)


class ConnectionErrors:
    """The errors of the last dial to each node, or of its last connection. Lines of one level about one
    node are limited to five a minute."""

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[QuicDistError, ...]] = {}
        self._dials = RateLimit()
        self._ends = RateLimit()
        self._signals = RateLimit()

    def not_connected(self, node: str) -> NotConnected:
        """The error for an operation that needs a connection to ``node``."""
        return NotConnected(node, self._reasons.get(node, ()))

    def connected(self, node: str) -> None:
        """Forget the errors: ``node`` is connected."""
        self._reasons.pop(node, None)

    def dial_failed(
        self,
        error: NotConnected,
        dropped: int,
        *,
        called_off: bool = False,
        caused_by: str | None = None,
    ) -> None:
        """A dial failed, and ``dropped`` signals that waited for it are lost. Callers that wait for the
        connection get ``error``; senders see it in the log only. Lines about dials ``caused_by`` one peer
        share one limit, because a peer may name any number of nodes."""
        self._remember(error.node, error.attempts)
        refused = any(
            not isinstance(each, _UNREACHABLE) or (isinstance(each, SetupTimeout) and each.digest_unanswered)
            for each in error.attempts
        )
        level = logging.WARNING if dropped or (refused and not called_off) else logging.INFO
        note = self._dials.admit((error.node, level) if caused_by is None else (None, caused_by, level))
        if note is None:
            return
        log.log(
            level,
            "%s%s%s",
            clean(str(error), MAX_TEXT),
            f"; {dropped} signals to it were dropped" if dropped else "",
            note,
            extra={"node": error.node, "attempts": error.attempts},
        )

    def connection_ended(self, node: str, error: QuicDistError | None) -> None:
        """A connection has ended; ``error`` is None if this node closed it."""
        self._remember(node, (error or NodeError("this node closed the connection"),))
        note = self._ends.admit(node)
        if note is not None:
            log.log(
                logging.WARNING if isinstance(error, _SILENT) else logging.INFO,
                "disconnected from %s: %s%s",
                node,
                clean(str(error or "closed by this node"), MAX_TEXT),
                note,
                extra={"node": node},
            )

    def not_sent(self, node: str, error: QuicDistError) -> None:
        """A signal that waited for the connection cannot be sent on it."""
        note = self._signals.admit(node)
        if note is not None:
            text = clean(str(error), MAX_TEXT)
            log.error("a signal to %s was not sent: %s%s", node, text, note, extra={"node": node})

    def dropped(self, node: str, error: QuicDistError, *, caused_by: str | None = None) -> None:
        """Signals to a node are dropped, because it cannot be connected or too many signals wait. They are
        the program's, or ``caused_by`` a peer."""
        self._remember(node, (error,))
        note = self._signals.admit(node if caused_by is None else (None, caused_by))
        if note is not None:
            text = clean(str(error), MAX_TEXT)
            log.warning("signals to %s are dropped: %s%s", node, text, note, extra={"node": node})

    def _remember(self, node: str, reason: tuple[QuicDistError, ...]) -> None:
        self._reasons.pop(node, None)
        if len(self._reasons) >= MAX_REMEMBERED:
            del self._reasons[next(iter(self._reasons))]
        for error in reason:
            _forget_frames(error)
        self._reasons[node] = reason


def _forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error, which keep frames alive: the error is kept for long."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
