"""Sends one message to a registered process, and takes what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from quicdist import ANY, Atom, Pid, format_term
from quicdist.cli.failure import CommandFailed

if TYPE_CHECKING:
    from quicdist import Node, Process

#: Stands for the pid of the sender in a message.
SELF = Atom("$self")
_DOWN = Atom("DOWN")
_NOPROC = Atom("noproc")


async def exchange(
    local: Node,
    to: tuple[Atom, Atom],
    message: Any,
    *,
    replies: int,
    timeout: float,
    show: Callable[[Any], None],
) -> None:
    """Send ``message`` to ``to``, a registered name and its node, and call ``show`` with each of the
    ``replies`` messages that come back, each within ``timeout`` seconds.

    Raises :class:`CommandFailed` if there is no process of that name, and if fewer messages come back.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def body(process: Process) -> None:
        try:
            await _exchange(process, local, to, message, replies, timeout, show)
        except Exception as error:
            if not done.done():  # Ctrl-C has cancelled it
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)

    local.spawn(body)
    await done


async def _exchange(
    process: Process,
    local: Node,
    to: tuple[Atom, Atom],
    message: Any,
    replies: int,
    timeout: float,
    show: Callable[[Any], None],
) -> None:
    name, node = to
    monitor = process.monitor(to)
    down = (_DOWN, monitor, ANY, ANY, ANY)
    process.send(to, with_self(message, process.pid))
    if not replies:
        # The other node has seen the monitor when it answers a call to another of its processes, which was
        # sent after it; its DOWN is sent before that answer, at the latest.
        await local.is_auth(str(node), timeout=timeout)
        try:
            gone = await process.receive(down, timeout=_GRACE)
        except TimeoutError:
            return
        raise _ended(name, node, gone[4])
    for number in range(replies):
        try:
            answer = await process.receive(timeout=timeout)
        except TimeoutError:
            raise CommandFailed(
                f"{number} of {replies} messages came back from {name} on {node}, and none within "
                f"{timeout:g} s after that"
            ) from None
        if isinstance(answer, tuple) and len(answer) == 5 and answer[:2] == down[:2]:
            raise _ended(name, node, answer[4])
        show(answer)


#: Seconds for a DOWN that another stream of a QUIC connection has held up.
_GRACE = 0.05


def _ended(name: Atom, node: Atom, reason: Any) -> CommandFailed:
    if reason == _NOPROC:
        return CommandFailed(f"no process is registered as {name} on {node} (noproc)")
    return CommandFailed(f"{name} on {node} has ended: {format_term(reason)}")


def with_self(message: Any, pid: Pid) -> Any:
    """``message`` with ``pid`` in each place of the atom ``'$self'``."""
    if isinstance(message, Atom):
        return pid if message == SELF else message
    if isinstance(message, list):
        return [with_self(each, pid) for each in message]
    if type(message) is tuple:
        return tuple(with_self(each, pid) for each in message)
    if isinstance(message, Mapping):
        return type(message)({with_self(key, pid): with_self(each, pid) for key, each in message.items()})  # type: ignore[call-arg]
    return message
