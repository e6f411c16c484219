"""The processes of a run: ``python -m tests.hostile.node VICTIM|GOOD|VISITOR OPTIONS``.

``victim`` is the node under attack, ``good`` the peer that it serves meanwhile, ``visitor`` dials it as
another new peer each time it is told to, and is the node that the victim is told to dial. ``gateway`` is
attacked in place of a victim, which is the node behind it then. Each takes
commands as JSON objects, one a line, by standard input, and answers in the same way; a thread reads them,
so that what is asked of a victim whose loop stands still is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from quicdist import GenServer, Node, NotConnected, Pid, Process, QuicDistError
from quicdist.gateway import Gateway

#: Seconds between two looks of the loop at the clock, and between two echoes.
STEP = 0.005
#: What the victim may have at most, so that an attack ends it and not the machine.
MOST_MEMORY = 3 << 30
#: Seconds without an answer after which the good peer gives up.
PATIENCE = 60.0

VICTIM = "victim@127.0.0.1"
GOOD = "good@127.0.0.1"
#: Nodes that the victim is told to dial: of smaller and of greater name than its own.
SMALL, GREAT = "abe@127.0.0.1", "zed@127.0.0.1"


class Delays:
    """How long a thread was ready to run while the kernel ran others: what another program does to a busy
    machine. The second figure of ``schedstat`` (proc(5)); 0 where there is none."""

    def __init__(self, path: str = "/proc/thread-self/schedstat") -> None:
        self._file: int | None = None
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDONLY)

    @classmethod
    def of_process(cls, pid: int) -> Delays:
        """Of the main thread of another process."""
        return cls(f"/proc/{pid}/task/{pid}/schedstat")

    def read(self) -> float:
        """Seconds until now."""
        if self._file is None:
            return 0.0
        try:
            return int(os.pread(self._file, 100, 0).split()[1]) / 1e9
        except OSError:
            return 0.0


class Watch:
    """How long the event loop stands still by the node's own doing: :class:`Delays` are taken off."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._delays = Delays()
        self._last = time.monotonic()
        self._waited = self._delays.read()
        self.longest = 0.0
        loop.call_later(STEP, self._look)

    def _look(self) -> None:
        now, waited = time.monotonic(), self._delays.read()
        self.longest = max(self.longest, now - self._last - STEP - (waited - self._waited))
        self._last, self._waited = now, waited
        self._loop.call_later(STEP, self._look)

    def read(self) -> float:
        """The longest so far, one that is not over included. From any thread."""
        going_on = time.monotonic() - self._last - STEP
        return max(self.longest, going_on if going_on > 10 * STEP else 0.0)

    def reset(self) -> None:
        self.longest = 0.0


def is_one_record(text: str) -> bool:
    """Whether nothing in it passes for another record: no control characters, and lines after the first, as
    reports have them, are indented."""
    first, *more = text.split("\n")
    return first.isprintable() and all(line.isprintable() and line.startswith("  ") for line in more)


class Lines(logging.Handler):
    """Counts records, those that could pass for several, and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self.reset()

    def reset(self) -> None:
        self.records = self.broken = self.tracebacks = self.bytes = 0
        self.sample = self.broken_sample = ""
        self.kinds: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self.records += 1
        self.bytes += len(text) + 1
        if record.exc_info:
            self.tracebacks += 1
        if not is_one_record(text):
            self.broken += 1
            self.broken_sample = self.broken_sample or ascii(text[:300])
        self.sample = text[:300]
        kind = f"{record.levelname} {record.name}: {str(record.msg)[:60]}"
        if kind in self.kinds or len(self.kinds) < 50:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def read(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "broken": self.broken,
            "tracebacks": self.tracebacks,
            "bytes": self.bytes,
            "sample": self.broken_sample or self.sample,
            "kinds": self.kinds,
        }


def memory() -> dict[str, int]:
    """Bytes resident and blocks allocated, after the C library was told to give back what is free."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    return {"rss": resident, "blocks": sys.getallocatedblocks()}


def left_over() -> dict[str, int]:
    """Descriptors and tasks that there are."""
    return {"descriptors": len(os.listdir("/proc/self/fd")) - 1, "tasks": len(asyncio.all_tasks())}


Command = Callable[..., Any]


def commands_by_pipe(
    loop: asyncio.AbstractEventLoop, commands: dict[str, Command], stop: Callable[[], Any]
) -> None:
    """Answer commands in a thread; a coroutine function runs in the loop, and others are answered
    meanwhile. The end of the pipe stops the process."""
    write_lock = threading.Lock()

    def answer(number: int, value: dict[str, Any]) -> None:
        line = json.dumps({"id": number, **value}) + "\n"
        with write_lock, contextlib.suppress(OSError):
            sys.stdout.write(line)
            sys.stdout.flush()

    async def run(number: int, made: Coroutine[Any, Any, Any]) -> None:
        try:
            answer(number, {"value": await made})
        except Exception as error:
            answer(number, {"error": f"{type(error).__name__}: {error}"})

    def serve() -> None:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                made = commands[request["do"]](**request["with"])
            except Exception as error:
                answer(request["id"], {"error": f"{type(error).__name__}: {error}"})
            else:
                if asyncio.iscoroutine(made):
                    asyncio.run_coroutine_threadsafe(run(request["id"], made), loop)
                else:
                    answer(request["id"], {"value": made})
        # A loop that stands still for good has no part in it.
        threading.Timer(3.0, os._exit, (1,)).start()
        loop.call_soon_threadsafe(stop)

    threading.Thread(target=serve, daemon=True).start()


def ready(value: Any) -> None:
    print(json.dumps({"id": 0, "value": value}), flush=True)


def measured(loop: asyncio.AbstractEventLoop) -> dict[str, Command]:
    """The commands by which the process under attack is measured, and faults on purpose, by which the harness
    itself is tried. Limits its memory, and takes its log."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    lines, watch = Lines(), Watch(loop)
    logging.getLogger().addHandler(lines)
    logging.getLogger().setLevel(os.environ.get("HOSTILE_LEVEL", "INFO"))
    logging.raiseExceptions = False
    kept: list[bytearray] = []

    def reset() -> None:
        watch.reset()
        lines.reset()

    async def counts() -> dict[str, int]:
        return left_over()

    def stand_still(seconds: float) -> None:
        loop.call_soon_threadsafe(time.sleep, seconds)

    return {
        "reset": reset,
        "read": lambda: {"standstill": watch.read(), "log": lines.read()},
        "memory": memory,
        "counts": counts,
        "stand_still": stand_still,
        "fill": lambda size: kept.append(bytearray(b"x" * size)),
        "log": lambda text: logging.getLogger("test").warning("%s", text),
    }


async def gateway(options: dict[str, Any]) -> None:
    """A gateway whose local node is the victim."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    commands = measured(loop)
    async with Gateway(VICTIM, **options) as running:
        assert running.address is not None

        async def services() -> dict[str, float]:
            """Answered when the loop goes round."""
            return {"net_kernel": 0.0}

        commands |= {"services": services, "nodes": running.nodes}
        commands_by_pipe(loop, commands, stopped.set)
        ports = {"quic": running.address.port, "tcp": running.epmd_port, "metrics": running.metrics_port}
        ready({**ports, "pid": os.getpid()})
        await stopped.wait()


async def victim(options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    commands = measured(loop)
    node = Node(VICTIM, **options)

    @node.process("echo")
    def echo(process: Process, message: Any) -> None:
        match message:
            case (Pid() as to, answer):
                process.send(to, answer)

    @node.process("sink")
    def sink(process: Process, message: Any) -> None:
        """Whatever comes is dropped."""

    @node.export("victim")
    def prints() -> None:
        print("text\n" * 100)

    async def dial(name: str, timeout: float) -> dict[str, Any]:
        start = time.monotonic()
        error = ""
        try:
            await node.is_auth(name, timeout=timeout)
        except QuicDistError as raised:
            error = str(raised)[:300]
        return {"seconds": time.monotonic() - start, "error": error}

    async def services() -> dict[str, float]:
        """Seconds that each service of the node takes for an answer."""
        return {"net_kernel": (await dial(VICTIM, 5.0))["seconds"]}

    class Server(GenServer):
        def handle_call(self, request: Any, sender: Any) -> Any:
            return request

    async with node:
        node.pg.start()
        node.serve(Server(), name="server")
        ports = {str(address.protocol): address.port for address in node.addresses}

        def disconnect(name: str) -> None:
            loop.call_soon_threadsafe(node.disconnect, name)

        commands |= {
            "dial": dial,
            "services": services,
            "nodes": lambda: node.nodes("connected"),
            "disconnect": disconnect,
        }
        commands_by_pipe(loop, commands, stopped.set)
        ready({"quic": ports.get("quic"), "tcp": ports.get("tcp"), "pid": os.getpid()})
        await stopped.wait()


async def good(options: dict[str, Any]) -> None:
    """Echoes all the time; ``start`` begins to note the times, ``stop`` gives them. The times for which
    other programs had the processor of either side are taken off."""
    delays = [Delays(), *map(Delays.of_process, options.pop("pids"))]

    def waited() -> float:
        return sum(one.read() for one in delays)

    loop = asyncio.get_running_loop()
    times: list[float] = []
    state = {"lost": False}
    under_way = [0.0]
    stopped = asyncio.Event()
    async with Node(GOOD, listen=False, **options) as node:
        await node.connect(VICTIM)

        async def ask(process: Process) -> None:
            to, message = ("echo", VICTIM), (process.pid, b"x" * 64)
            while True:
                start = under_way[0] = time.perf_counter()
                before = waited()
                process.send(to, message)
                try:
                    async with asyncio.timeout(PATIENCE):
                        await process.receive()
                except TimeoutError:
                    state["lost"] = True
                took = time.perf_counter() - start
                times.append(max(took / 10, took - (waited() - before)))
                under_way[0] = 0.0
                if took < STEP:
                    await asyncio.sleep(STEP - took)

        def start() -> None:
            times.clear()
            state["lost"] = False

        def stop() -> dict[str, Any]:
            going_on = under_way[0] and time.perf_counter() - under_way[0]
            ordered = sorted([*times, *([going_on] if going_on > STEP else [])]) or [going_on]
            return {
                "count": len(times),
                "p50": ordered[len(ordered) // 2],
                "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
                "worst": ordered[-1],
                "lost": state["lost"] or VICTIM not in node.nodes("connected"),
            }

        node.spawn(ask)
        commands_by_pipe(loop, {"start": start, "stop": stop}, stopped.set)
        ready({"pid": os.getpid()})
        await stopped.wait()


async def visitor(options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    numbers = itertools.count(1)
    stopped = asyncio.Event()
    dialling = options.pop("dialling", {})
    where: dict[str, int] = {}

    async def join(timeout: float, carrier: str = "quic") -> dict[str, Any]:
        name = f"new{next(numbers)}@127.0.0.1"
        options: dict[str, Any] = {"nodes": {VICTIM: ("127.0.0.1", where[carrier])}, "carrier": carrier}
        if carrier == "tcp":
            options["epmd"] = False
        async with Node(name, listen=False, setup_time=timeout, **{**dialling, **options}) as node:
            start = time.perf_counter()
            error = ""
            try:
                async with asyncio.timeout(timeout):
                    await node.connect(VICTIM)
            except (NotConnected, TimeoutError) as raised:
                error = f"{type(raised).__name__}: {raised}"[:300]
            return {"seconds": time.perf_counter() - start, "error": error}

    def aim(quic: int, tcp: int) -> None:
        where.update(quic=quic, tcp=tcp)

    async with contextlib.AsyncExitStack() as stack:
        ports = {}
        for name in (SMALL, GREAT):
            node = await stack.enter_async_context(Node(name, **options))
            ports[name] = node.addresses[0].port
        commands_by_pipe(loop, {"join": join, "aim": aim}, stopped.set)
        ready({"ports": ports, "pid": os.getpid()})
        await stopped.wait()


KINDS = {"victim": victim, "gateway": gateway, "good": good, "visitor": visitor}

if __name__ == "__main__":
    asyncio.run(KINDS[sys.argv[1]](json.loads(sys.argv[2])))
