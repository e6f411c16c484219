"""Why there is no connection to a node: remembered for those who ask later, and logged."""

from __future__ import annotations

import logging
from typing import Final

from quicdist.carrier import PeerSilent, PeerUnreachable, SetupTimeout
from quicdist.discovery import DiscoveryError
from quicdist.errors import QuicDistError
from quicdist.logs import RateLimit, clean, get_logger
from quicdist.node.errors import NetTickTimeout, NodeError, NotConnected

log = get_logger("quicdist.node.connections")

#: Nodes remembered, those of the last failures.
MAX_REMEMBERED: Final = 1000
#: Characters of an error in a line.
MAX_TEXT: Final = 1000

#: What a dial meets where a node is down or does not exist; anything else is a refusal, or a mistake.
_UNREACHABLE: Final = (PeerUnreachable, SetupTimeout, DiscoveryError)
#: Ends of a connection that nobody has asked for.
_SILENT: Final = (NetTickTimeout, PeerSilent)


class ConnectionErrors:
    """What the last dial to each node met, or what ended its last connection. Lines of one level about
    one node are limited to five a minute."""

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[QuicDistError, ...]] = {}
        self._dials = RateLimit()
        self._ends = RateLimit()
        self._signals = RateLimit()

    def not_connected(self, node: str) -> NotConnected:
        """The error for what failed because there is no connection to ``node``."""
        return NotConnected(node, self._reasons.get(node, ()))

    def connected(self, node: str) -> None:
        """There is a connection now."""
        self._reasons.pop(node, None)

    def dial_failed(
        self,
        error: NotConnected,
        dropped: int,
        *,
        called_off: bool = False,
        caused_by: str | None = None,
    ) -> None:
        """A dial came to nothing, and ``dropped`` signals that had waited for it are gone. Who waits
        for the connection gets ``error``; who has sent something learns of it here only. Lines about
        dials ``caused_by`` one peer are limited together: it may name any number of nodes."""
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
        """A connection has ended; None where this node closed it."""
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
        """A signal that had waited for the connection cannot be sent on it."""
        note = self._signals.admit(node)
        if note is not None:
            text = clean(str(error), MAX_TEXT)
            log.error("a signal to %s was not sent: %s%s", node, text, note, extra={"node": node})

    def dropped(self, node: str, error: QuicDistError, *, caused_by: str | None = None) -> None:
        """What is sent to a node, by itself or ``caused_by`` a peer, is not taken, for there is no connection
        and cannot be one, or because too much waits for it."""
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
    """Let go of what the tracebacks of an error hold, for it is kept for long."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
