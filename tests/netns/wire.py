"""A wire between two namespaces that loses, delays, reorders, doubles and cuts what it carries.

``tc qdisc … netem`` does so too, on kernels that have it. This is a TUN device at each end, and what is
read from one is written to the other by a program of its own (:mod:`tests.netns.wire_program`), so that a
node that computes does not slow the network down.
"""

from __future__ import annotations

import dataclasses
import fcntl
import itertools
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TUN = Path("/dev/net/tun")
#: linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_numbers = itertools.count(1)

#: Our side of the repository, where the modules of the tests are.
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Faults:
    """What a path does to packets, each way unless it says otherwise. Times are seconds, parts are of 1.

    ``loss``, ``loss_up``, ``loss_down``: the part that is lost, both ways, and in addition towards the server
    or the client alone; 1 is a cut. ``double``: the part that arrives twice. ``delay``: one way; ``jitter``:
    up to so much more for each packet, which others then overtake. ``late``: the part that is held back, for
    ``late_by``. ``mtu``: the longest IP packet that is let through, 0 for any; longer ones are lost without a
    word, or with ``icmp`` answered by "fragmentation needed". ``rate``: bytes a second, 0 for any number;
    ``queue``: bytes that wait for it. ``mapping``: number of the ports that a NAT gives the client, 0 for the
    client's own; when it changes, what is sent to the ports of before is lost.
    """

    loss: float = 0.0
    loss_up: float = 0.0
    loss_down: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    late: float = 0.0
    late_by: float = 0.0
    mtu: int = 0
    icmp: bool = False
    rate: float = 0.0
    queue: int = 256 * 1024
    mapping: int = 0


#: Some of everything, so that each test sees it.
WEATHER = Faults(loss=0.05, double=0.02, delay=0.02, late=0.1, late_by=0.02)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of packets so far. ``up`` and ``down`` are bytes delivered to the server and the client;
    ``dropped`` are packets for which the queue had no room, ``truncated`` those longer than ``mtu``."""

    carried: int
    lost: int
    doubled: int
    late: int
    dropped: int
    truncated: int
    up: int
    down: int


class Wire:
    """Both ends of a wire, and the program between them. Raises OSError where there is no TUN."""

    def __init__(self, faults: Faults, seed: int) -> None:
        ends: list[int] = []
        #: The devices, to be moved to where they are to be: the client's, the server's.
        self.devices: list[str] = []
        try:
            for _ in range(2):
                name = f"qd{os.getpid()}w{next(_numbers)}"
                end = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
                ends.append(end)
                fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
                self.devices.append(name)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.netns.wire_program", *map(str, (*ends, seed))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=ends,
                cwd=ROOT,
            )
        finally:
            for end in ends:
                os.close(end)
        try:
            self.set(faults)
        except BaseException:
            self.close()
            raise

    def _ask(self, what: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise OSError("the program that is the wire has ended")
        return json.loads(line)

    def set(self, faults: Faults) -> None:
        """From now on the path is like this."""
        self._ask("plan", after=0, steps=[(0, dataclasses.asdict(faults))])

    def plan(self, after: int, steps: Sequence[tuple[float, Faults]]) -> None:
        """Once so many more bytes were delivered, the path becomes, one after another, each so many seconds
        after that, what ``steps`` says."""
        self._ask("plan", after=after, steps=[(when, dataclasses.asdict(faults)) for when, faults in steps])

    def plan_done(self) -> float:
        """Wait until the last step of :meth:`plan` is taken; when it was, by ``time.monotonic()``."""
        taken: float = self._ask("done")
        return taken

    def counts(self) -> Counts:
        return Counts(**self._ask("counts"))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
