"""Starts epmd if it is not running, as ``erl`` does."""

from __future__ import annotations

import asyncio
import os
import shutil

from quicdist.carrier import Address
from quicdist.discovery import epmd_client
from quicdist.discovery.errors import EpmdTimeout, EpmdUnreachable

#: Seconds between two checks whether a started epmd listens yet; it does not report this.
_LOOK_INTERVAL = 0.02


def find_epmd() -> str | None:
    """The ``epmd`` on ``PATH``, or None."""
    return shutil.which("epmd")


async def start_epmd(address: Address, within: float) -> None:
    """Start ``epmd -daemon`` on this host at ``address``'s port; wait ``within`` s until it listens.

    It outlives this program, as the one ``erl`` starts outlives ``erl``. It reads
    ``$ERL_EPMD_ADDRESS`` itself. Raises :class:`EpmdUnreachable` if there is no ``epmd`` to start,
    :class:`EpmdTimeout` if it does not come up.
    """
    command = find_epmd()
    if command is None:
        raise EpmdUnreachable(address, "not running, and there is no epmd on PATH to start")
    try:
        async with asyncio.timeout(within):
            process = await asyncio.create_subprocess_exec(
                *(command, "-daemon"),
                env={**os.environ, "ERL_EPMD_PORT": str(address.port)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await process.wait()
            while not await _listens(address):  # noqa: ASYNC110 - another program, no event tells
                await asyncio.sleep(_LOOK_INTERVAL)
    except TimeoutError as error:
        raise EpmdTimeout(address, f"started as {command}, does not listen after {within:g} s") from error
    except OSError as error:
        raise EpmdUnreachable(address, f"not running, and {command} does not start: {error}") from error


async def _listens(address: Address) -> bool:
    try:
        conversation = await epmd_client.connect(address, "whether it is there")
    except EpmdUnreachable:
        return False
    conversation.close()
    return True
