"""Prints the messages of a connection as they come and go."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import click

from quicdist.cli.messages import message_json, message_text
from quicdist.protocol import ControlMessage

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.carrier import Link

#: Characters of one message that are printed as text.
MAX_TEXT: Final = 2000


class MessagePrinter:
    """Prints each message until ``count`` have been printed."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self._left = count
        self._full = asyncio.Event()
        self._connected = False

    def show(self, link: Link, sent: bool, control: ControlMessage, payload: Any) -> None:
        """Print one message."""
        if self._left == 0:
            return
        if not self._connected:
            self._say_connected(link.peer.name, link.carrier_name, link.remote_address)
        now = time.time()
        if self._as_json:
            direction = "out" if sent else "in"
            click.echo(message_json(control, payload, time=now, node=link.peer.name, direction=direction))
        else:
            text = message_text(control, payload)
            if len(text) > MAX_TEXT:
                text = f"{text[:MAX_TEXT]}... ({len(text)} characters)"
            at = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03}"
            click.echo(f"{at} {click.style('->', 'green') if sent else click.style('<-', 'cyan')} {text}")
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self._full.set()

    def _say_connected(self, node: str, carrier: str, address: object = None) -> None:
        self._connected = True
        if not self._as_json:
            click.echo(f"connected to {node}, {f'{carrier}://{address}' if address else carrier}")

    async def until(self, work: asyncio.Future[Any]) -> None:
        """Wait for ``work``, or until the last message was printed. Raises what ``work`` does."""
        full = asyncio.ensure_future(self._full.wait())
        try:
            await asyncio.wait({full, work}, return_when=asyncio.FIRST_COMPLETED)
            if full.done():
                work.cancel()
                await asyncio.wait({work})
            else:
                full.cancel()
                await work
        finally:
            self._left = 0  # how the command leaves is not shown

    async def over(self, local: Node, node: str) -> None:
        """Wait until the connection to ``node`` has ended. Raises why, if this node did not close it."""
        import quicdist

        down: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def event(found: object) -> None:
            if isinstance(found, quicdist.NodeDown) and found.node == node and not down.done():
                if found.error is None:
                    down.set_result(None)
                else:
                    down.set_exception(found.error)

        unsubscribe = local.subscribe(event)
        for link in local.metrics().links:
            if link.node == node and not self._connected:
                self._say_connected(node, link.carrier)
        try:
            await self.until(down)
        finally:
            unsubscribe()
