"""A Python node under mixed traffic: ``python -m tests.soak.python_end OPTIONS``; as ``soak_end.erl``.

It has the loop and the receivers of :mod:`tests.paths.python_end`, and commands of its own.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

from quicdist import Process, ProcessExit
from quicdist.term import Atom, Pid
from tests.paths.python_end import Command, End, brief, main
from tests.soak.histogram import bucket

SPAWNED = Atom("spawned")
#: Seconds that one piece of work may take.
PATIENCE = 60.0

#: Kinds of traffic: messages, bytes of each, and seconds between one batch and the next.
BATCHES = {"small": (100, "mixed", 0.1), "64 KiB": (2, 64 * 1024, 0.3), "4 MiB": (1, 4 << 20, 4.0)}
CALL_PAUSE, SPAWN_PAUSE = 0.01, 0.1


class Soak:
    """Traffic towards one node, until it is stopped."""

    def __init__(self, end: End, target: str) -> None:
        self._end = end
        self._target = target
        self._stopping = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.times: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._over: list[asyncio.Future[None]] = []
        for name, (count, size, pause) in BATCHES.items():
            self._work(name, pause, self._batch, count, size)
        self._work("calls", CALL_PAUSE, self._call)
        self._work("spawns", SPAWN_PAUSE, self._spawn)

    def _work(self, name: str, pause: float, once: Callable[..., Awaitable[int]], *args: Any) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over.append(over)

        async def works(process: Process) -> None:
            try:
                while not self._stopping.is_set():
                    async with asyncio.timeout(PATIENCE):
                        self.counts[name] += await once(process, *args)
                    try:
                        await asyncio.wait_for(self._stopping.wait(), pause * random.uniform(0.5, 1.5))
                    except TimeoutError:
                        continue
            except Exception as error:
                self.wrong.append(f"{name}: {type(error).__name__}: {brief(error)}")
            over.set_result(None)

        self._end.node.spawn(works)

    async def _batch(self, process: Process, count: int, size: int | str) -> int:
        # Each in a process of its own, as all is linked and monitored.
        result: asyncio.Future[tuple[str, Any]] = asyncio.get_running_loop().create_future()

        async def sends(sender: Process) -> None:
            result.set_result(await self._end.sender(sender, self._target, count, size))

        process.spawn(sends)
        outcome, why = await result
        if outcome != "once":
            self.wrong.append(f"{count} messages of {size} bytes: {outcome} {why}")
        return count

    async def _call(self, process: Process) -> int:
        result, why, taken = await self._end.one_call(self._target, 1, monotonic() + PATIENCE)
        if result != "once":
            self.wrong.append(f"a call: {result} {why}")
        self.times[bucket(taken)] += 1
        return 1

    async def _spawn(self, process: Process) -> int:
        number = self.counts["spawns"]
        target = (self._target, "soak_end", "exits", [number])
        _, reference = await process.spawn_monitor_on(*target)
        *_, reason = await process.receive(lambda message: message[1] == reference)
        if reason != (SPAWNED, number):
            self.wrong.append(f"a process that was spawned there: {brief(reason)}")
        return 1

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._over)


class Commands:
    def __init__(self, end: End) -> None:
        self._end = end
        self._soaks: list[Soak] = []

    async def start(self, node: str) -> None:
        self._soaks.append(Soak(self._end, node))

    async def progress(self) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        times: Counter[int] = Counter()
        for soak in self._soaks:
            counts.update(soak.counts)
            times.update(soak.times)
        wrong = [*(what for soak in self._soaks for what in soak.wrong), *self._end.wrong, *self._end.down]
        return {
            "counts": counts,
            "times": list(times.items()),
            "received": self._end.received,
            "wrong": wrong,
        }

    async def stop(self) -> None:
        await asyncio.gather(*(soak.stop() for soak in self._soaks))

    async def held(self) -> dict[str, int]:
        """What it holds: bytes that are resident, descriptors, and objects but for pids. Each message is of a
        process of its own here, and the decode cache keeps the newest (``Limits.cache_size``)."""
        gc.collect()
        objects = sum(not isinstance(thing, Pid) for thing in gc.get_objects())
        pages = int((await asyncio.to_thread(Path("/proc/self/statm").read_text)).split()[1])
        descriptors = len(await asyncio.to_thread(os.listdir, "/proc/self/fd"))
        memory = pages * os.sysconf("SC_PAGESIZE")
        return {"bytes": memory, "objects": objects, "descriptors": descriptors}


def commands(end: End) -> dict[str, Command]:
    """The commands of this end, by name."""
    soaks = Commands(end)

    @end.node.exports.process("soak_end")
    def exits(process: Process, number: int) -> None:
        raise ProcessExit((SPAWNED, number))

    return {
        "dial": end.dial,
        "start": soaks.start,
        "progress": soaks.progress,
        "stop": soaks.stop,
        "held": soaks.held,
    }


if __name__ == "__main__":
    main(commands)
