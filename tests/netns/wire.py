"""A wire between two namespaces that loses, delays, reorders and doubles what it carries.

``tc qdisc … netem`` does so too, on kernels that have it. This is a TUN device at each end and what is
read of the one written to the other, so addresses and ports stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import random
import struct
from dataclasses import dataclass
from pathlib import Path

_TUN = Path("/dev/net/tun")
#: linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Weather:
    """What becomes of packets, each way: the parts of them that are lost, doubled, and kept for up to
    twice the ``delay`` (in seconds) of all, which others then overtake."""

    loss: float = 0.05
    double: float = 0.02
    late: float = 0.1
    delay: float = 0.02


class Wire:
    """Both ends of a wire, in the running event loop. Raises OSError where there is no TUN."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self._weather = weather
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._ends: list[int] = []
        #: The devices, to be moved to where they are to be.
        self.devices: list[str] = []
        #: What became of packets so far.
        self.carried = self.lost = self.doubled = self.late = 0
        for _ in range(2):
            name = f"qd{os.getpid()}w{next(_numbers)}"
            end = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
            self._ends.append(end)
            fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
            self.devices.append(name)
        for end, other in (self._ends, self._ends[::-1]):
            self._loop.add_reader(end, self._carry, end, other)

    def _carry(self, end: int, other: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._one(os.read(end, 65536), other)

    def _one(self, packet: bytes, other: int) -> None:
        weather, chance = self._weather, self._random.random
        if chance() < weather.loss:
            self.lost += 1
            return
        copies = 1
        if chance() < weather.double:
            self.doubled += 1
            copies = 2
        for _ in range(copies):
            delay = weather.delay
            if chance() < weather.late:
                self.late += 1
                delay += weather.delay * chance()
            self._loop.call_later(delay, self._arrive, packet, other)

    def _arrive(self, packet: bytes, other: int) -> None:
        if other in self._ends:
            with contextlib.suppress(OSError):  # It is down.
                os.write(other, packet)
                self.carried += 1

    def close(self) -> None:
        for end in self._ends:
            self._loop.remove_reader(end)
            os.close(end)
        self._ends.clear()
