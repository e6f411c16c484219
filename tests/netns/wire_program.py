"""The program that is a wire: ``python -m tests.netns.wire_program CLIENT SERVER SEED``.

The first two are file descriptors of TUN devices. Commands are JSON objects, one a line; each is answered by
a line (:class:`tests.netns.wire.Wire` gives them).
"""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import sys
import time
from typing import Any

from tests.netns.packets import Nat, too_long
from tests.netns.wire import Faults

#: Packets that are read at a time from one end before the other has its turn.
BATCH = 64


class Direction:
    """What is under way from one end to the other."""

    def __init__(self, source: int, target: int, *, up: bool) -> None:
        self.source = source
        self.target = target
        self.up = up
        #: When and which.
        self.under_way: list[tuple[float, int, bytes]] = []
        #: When what was let in so far has left by a path of limited rate.
        self.free_at = 0.0
        self.delivered = 0


class WireProgram:
    def __init__(self, client: int, server: int, seed: int) -> None:
        self.faults = Faults()
        self.nat: Nat | None = None
        self.random = random.Random(seed)
        self.up = Direction(client, server, up=True)
        self.down = Direction(server, client, up=False)
        self.ways = (self.up, self.down)
        self.counts = dict.fromkeys(("carried", "lost", "doubled", "late", "dropped", "truncated"), 0)
        #: Steps of a plan: after how many bytes, then when each.
        self.after: int | None = None
        self.steps: list[tuple[float, Faults]] = []
        self.taken = 0.0
        self._numbers = 0

    # -- packets -------------------------------------------------------------------------------

    def enter(self, way: Direction, packet: bytes, now: float) -> None:
        faults, chance = self.faults, self.random.random
        if (
            (faults.loss and chance() < faults.loss)
            or (way.up and faults.loss_up and chance() < faults.loss_up)
            or (not way.up and faults.loss_down and chance() < faults.loss_down)
        ):
            self.counts["lost"] += 1
            return
        if faults.mtu and len(packet) > faults.mtu:
            self.counts["truncated"] += 1
            if faults.icmp:
                self.put(self.down if way.up else self.up, now, too_long(packet, faults.mtu))
            return
        if self.nat is not None:
            rewritten = self.nat.outward(packet) if way.up else self.nat.inward(packet)
            if rewritten is None:
                self.counts["lost"] += 1
                return
            packet = rewritten
        copies = 1
        if faults.double and chance() < faults.double:
            self.counts["doubled"] += 1
            copies = 2
        for _ in range(copies):
            due = now
            if faults.rate:
                if (way.free_at - now) * faults.rate > faults.queue:
                    self.counts["dropped"] += 1
                    continue
                way.free_at = due = max(way.free_at, now) + len(packet) / faults.rate
            due += faults.delay
            if faults.jitter:
                due += faults.jitter * chance()
            if faults.late and chance() < faults.late:
                self.counts["late"] += 1
                due += faults.late_by
            self.put(way, due, packet)

    def put(self, way: Direction, due: float, packet: bytes) -> None:
        self._numbers += 1
        heapq.heappush(way.under_way, (due, self._numbers, packet))

    def leave(self, way: Direction, now: float) -> None:
        under_way = way.under_way
        while under_way and under_way[0][0] <= now:
            packet = heapq.heappop(under_way)[2]
            try:
                os.write(way.target, packet)
            except OSError:  # The device is down.
                continue
            self.counts["carried"] += 1
            way.delivered += len(packet)

    def read(self, way: Direction) -> None:
        now = time.monotonic()
        for _ in range(BATCH):
            try:
                packet = os.read(way.source, 65536)
            except OSError:  # Nothing more, or the device is down.
                return
            if packet[0] >> 4 == 4:
                self.enter(way, packet, now)

    # -- commands ------------------------------------------------------------------------------

    def do(self, command: dict[str, Any]) -> Any:
        match command["do"]:
            case "plan":
                self.steps = [(when, Faults(**faults)) for when, faults in command["steps"]]
                self.after = self.up.delivered + self.down.delivered + command["after"]
                self.follow_plan()
                return None
            case "done":
                # What was meant to trigger the plan may be over already.
                if self.after is not None:
                    self.after = 0
                while self.steps:
                    self.turn()
                return self.taken
            case "counts":
                return {**self.counts, "up": self.up.delivered, "down": self.down.delivered}
        raise ValueError(command)

    def follow_plan(self) -> None:
        now = time.monotonic()
        if self.after is not None:
            if self.up.delivered + self.down.delivered < self.after:
                return
            self.after = None
            self.steps = [(now + when, faults) for when, faults in self.steps]
        while self.steps and self.steps[0][0] <= now:
            faults = self.steps.pop(0)[1]
            if faults.mapping != self.faults.mapping:
                self.nat = Nat(faults.mapping) if faults.mapping else None
            self.faults = faults
            self.taken = now

    # -- running -------------------------------------------------------------------------------

    def turn(self, *commands: int) -> bool:
        """Wait for packets, a time that has come, or a command; whether it is a command."""
        deadlines = [way.under_way[0][0] for way in self.ways if way.under_way]
        if self.steps and self.after is None:
            deadlines.append(self.steps[0][0])
        wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        if self.after == 0:
            wait = 0.0
        readable, _, _ = select.select((*commands, self.up.source, self.down.source), (), (), wait)
        for way in self.ways:
            if way.source in readable:
                self.read(way)
            self.leave(way, time.monotonic())
        if self.steps:
            self.follow_plan()
        return any(command in readable for command in commands)

    def run(self) -> None:
        commands = sys.stdin.fileno()
        received = b""
        while True:
            if self.turn(commands):
                chunk = os.read(commands, 65536)
                if not chunk:
                    return
                *lines, received = (received + chunk).split(b"\n")
                for line in lines:
                    print(json.dumps(self.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    WireProgram(*map(int, sys.argv[1:])).run()
