"""Control messages that the peer does not support: their older forms, and those that are not sent.

Source: ERTS User's Guide, *Distribution Protocol*, *Distribution Flags*, and what OTP does for a peer
without a flag (``erts/emulator/beam/dist.c``): SEND_SENDER, EXIT_PAYLOAD and ALTACT_SIG replace older
control messages. Monitors, aliases and spawning have no older form: without DIST_MONITOR and
DIST_MONITOR_NAME a monitor watches the connection only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicdist.protocol import control_messages as c
from quicdist.protocol.control import ControlMessage
from quicdist.protocol.flags import MONITOR_FLAGS, DistFlag
from quicdist.protocol.payload import NO_PAYLOAD

#: From a control message and its payload to their replacements; None where nothing is sent.
Downgrade = Callable[[Any, Any], tuple[ControlMessage, Any] | None]


def _not_sent(m: Any, payload: Any) -> None:
    """OTP sends nothing in place of this signal."""


def _altact(m: Any, payload: Any) -> tuple[ControlMessage, Any] | None:
    """The same signal without its priority. An exit signal to an alias has no older form."""
    with_token = m.flags & c.AltactFlag.TOKEN
    token = (m.trace_token,) if with_token else ()
    if m.flags & c.AltactFlag.EXIT:
        if m.flags & c.AltactFlag.ALIAS:
            return None
        return (c.PayloadExit2TT if with_token else c.PayloadExit2)._make((m.from_pid, m.to, *token)), payload
    if m.flags & c.AltactFlag.ALIAS:
        return (c.AliasSendTT if with_token else c.AliasSend)._make((m.from_pid, m.to, *token)), payload
    if m.flags & c.AltactFlag.NAME:
        return (c.RegSendTT if with_token else c.RegSend)._make((m.from_pid, c.UNUSED, m.to, *token)), payload
    return (c.SendSenderTT if with_token else c.SendSender)._make((m.from_pid, m.to, *token)), payload


_SEND_SENDER: dict[type[ControlMessage], Downgrade] = {
    c.SendSender: lambda m, payload: (c.Send(c.UNUSED, m.to_pid), payload),
    c.SendSenderTT: lambda m, payload: (c.SendTT(c.UNUSED, m.to_pid, m.trace_token), payload),
}
_EXIT_PAYLOAD: dict[type[ControlMessage], Downgrade] = {
    c.PayloadExit: lambda m, reason: (c.Exit._make((*m, reason)), NO_PAYLOAD),
    c.PayloadExitTT: lambda m, reason: (c.ExitTT._make((*m, reason)), NO_PAYLOAD),
    c.PayloadExit2: lambda m, reason: (c.Exit2._make((*m, reason)), NO_PAYLOAD),
    c.PayloadExit2TT: lambda m, reason: (c.Exit2TT._make((*m, reason)), NO_PAYLOAD),
    c.PayloadMonitorPExit: lambda m, reason: (c.MonitorPExit._make((*m, reason)), NO_PAYLOAD),
}
_ALTACT_SIG: dict[type[ControlMessage], Downgrade] = {c.AltactSigSend: _altact, c.AltactSigSendTT: _altact}

_MONITORS: dict[type[ControlMessage], Downgrade] = dict.fromkeys(
    (c.MonitorP, c.DemonitorP, c.MonitorPExit, c.PayloadMonitorPExit), _not_sent
)
_SPAWN: dict[type[ControlMessage], Downgrade] = dict.fromkeys(
    (c.SpawnRequest, c.SpawnRequestTT, c.SpawnReply, c.SpawnReplyTT), _not_sent
)
_ALIAS: dict[type[ControlMessage], Downgrade] = dict.fromkeys((c.AliasSend, c.AliasSendTT), _not_sent)

#: All flags of a key are needed for the control messages of its table. A later table has precedence.
_BY_FLAGS = {
    DistFlag.SEND_SENDER: _SEND_SENDER,
    DistFlag.EXIT_PAYLOAD: _EXIT_PAYLOAD,
    DistFlag.ALTACT_SIG: _ALTACT_SIG,
    DistFlag.ALIAS: _ALIAS,
    DistFlag.SPAWN: _SPAWN,
    MONITOR_FLAGS: _MONITORS,
}


def downgrades(negotiated: DistFlag) -> dict[type[ControlMessage], Downgrade]:
    """The types of control messages that are not sent with these flags, and their replacements.

    A replacement may have to be replaced again.
    """
    return {
        cls: downgrade
        for flags, table in _BY_FLAGS.items()
        if negotiated & flags != flags
        for cls, downgrade in table.items()
    }
