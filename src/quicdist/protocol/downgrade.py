"""Replaces control messages that the peer does not support by older ones.

Source: ERTS User's Guide, *Distribution Protocol*: SEND_SENDER, EXIT_PAYLOAD and (from
``erts/emulator/beam/dist.c``) ALTACT_SIG replace older control messages if both nodes support them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicdist.protocol import control_messages as c
from quicdist.protocol.control import ControlMessage
from quicdist.protocol.flags import DistFlag
from quicdist.protocol.payload import NO_PAYLOAD

#: From a control message and its payload to their replacements.
Downgrade = Callable[[Any, Any], tuple[ControlMessage, Any]]


def _altact(m: Any, payload: Any) -> tuple[ControlMessage, Any]:
    """The same signal without its priority."""
    with_token = m.flags & c.AltactFlag.TOKEN
    token = (m.trace_token,) if with_token else ()
    if m.flags & c.AltactFlag.EXIT:
        if m.flags & c.AltactFlag.ALIAS:
            raise ValueError("exit to an alias needs ALTACT_SIG, which was not negotiated")
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

_BY_FLAG = {
    DistFlag.SEND_SENDER: _SEND_SENDER,
    DistFlag.EXIT_PAYLOAD: _EXIT_PAYLOAD,
    DistFlag.ALTACT_SIG: _ALTACT_SIG,
}


def downgrades(negotiated: DistFlag) -> dict[type[ControlMessage], Downgrade]:
    """The types of control messages that cannot be sent with these flags, and their replacements.

    A replacement may have to be replaced again.
    """
    return {
        cls: downgrade
        for flag, table in _BY_FLAG.items()
        if not negotiated & flag
        for cls, downgrade in table.items()
    }
