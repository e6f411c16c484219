"""The rows of the matrix: what each path does to packets, and what is sent over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.netns.wire import Faults

#: Mbit/s, in bytes a second.
MBIT = 125_000
#: Where something happens in mid-transfer the path has a rate, so that there is a middle: 20 Mbit/s and 20 ms
#: there and back.
RATED = Faults(delay=0.010, rate=20 * MBIT)
#: Bytes delivered when it happens.
MIDDLE = 1_500_000


@dataclass(frozen=True, slots=True)
class Row:
    """One path. ``plan`` is what becomes of it, and when, once ``middle`` bytes have passed; small and large
    messages are then sent at once. ``bulk`` is the bytes of a large message, ``limit`` the seconds that each
    kind of traffic has, ``told`` why a node may count as down, which is otherwise a failure."""

    name: str
    says: str
    faults: Faults
    plan: tuple[tuple[float, Faults], ...] = ()
    middle: int = MIDDLE
    bulk: int = 8 * 1024 * 1024
    limit: float = 60.0
    net_ticktime: int = 60
    dials: int = 5
    told: str = ""
    #: A row that computes more than it waits has the machine to itself.
    alone: bool = False


def _rows() -> list[Row]:
    rows = []
    for loss in (0, 1, 5, 20):
        for delay in (0, 50, 200):
            # What TCP needs many minutes for says no more than what it needs two for.
            heavy = loss == 20
            slow = delay == 200 and loss >= 5
            rows.append(
                Row(
                    f"loss-{loss}-{delay}",
                    f"{loss} % loss, {delay} ms round trip",
                    Faults(loss=loss / 100, delay=delay / 2000),
                    bulk=256 * 1024 if heavy else 1024 * 1024 if slow else 8 * 1024 * 1024,
                    limit=300.0 if heavy and slow else 180.0 if heavy or slow else 120.0 if loss else 60.0,
                    told="dials may fail, and silence may end a connection" if heavy else "",
                    alone=delay == 0 and not heavy,
                )
            )
    wan = Faults(delay=0.025)
    rows += [
        Row("delay-20", "20 ms round trip", Faults(delay=0.010)),
        Row(
            "jitter-20",
            "20 ms round trip, up to 2 ms more for each packet",
            Faults(delay=0.010, jitter=0.002),
        ),
        Row("reorder-50", "50 ms, a tenth of the packets 10 ms late", replace(wan, late=0.1, late_by=0.010)),
        Row("double-50", "50 ms, a tenth of the packets duplicated", replace(wan, double=0.1)),
        Row("up-50", "50 ms, 5 % loss towards the acceptor", replace(wan, loss_up=0.05), limit=120.0),
        Row("down-50", "50 ms, 5 % loss towards the dialler", replace(wan, loss_down=0.05), limit=120.0),
        Row("rate-50", "50 ms, 10 Mbit/s, 64 KiB of queue", replace(wan, rate=10 * MBIT, queue=64 * 1024)),
        Row("cut-5", "cut for 5 s during the transfer", RATED, _cut(5, loss=1.0)),
        Row("cut-5-up", "cut towards the acceptor for 5 s", RATED, _cut(5, loss_up=1.0)),
        Row("cut-5-down", "cut towards the dialler for 5 s", RATED, _cut(5, loss_down=1.0)),
        Row(
            "cut-25",
            "cut for 25 s, net_ticktime 8 s",
            RATED,
            _cut(25, loss=1.0),
            net_ticktime=8,
            told="longer than net_ticktime",
        ),
        Row(
            "mtu",
            "path MTU 1500, then 1280, then 1000; longer packets are dropped",
            RATED,
            _mtu(icmp=False),
            told="QUIC needs 1200 bytes",
            limit=120.0,
        ),
        Row(
            "mtu-icmp",
            'the same, with ICMP "fragmentation needed"',
            RATED,
            _mtu(icmp=True),
            told="QUIC needs 1200 bytes",
            limit=120.0,
        ),
        Row(
            "nat",
            "the NAT changes its ports during the transfer, twice",
            replace(RATED, mapping=1),
            tuple((when, replace(RATED, mapping=mapping)) for when, mapping in ((0.0, 2), (0.5, 3))),
            told="TCP is bound to its ports",
        ),
    ]
    return rows


def _cut(seconds: float, **loss: float) -> tuple[tuple[float, Faults], ...]:
    return ((0.0, replace(RATED, **loss)), (seconds, RATED))  # type: ignore[arg-type]


def _mtu(*, icmp: bool) -> tuple[tuple[float, Faults], ...]:
    return tuple((when, replace(RATED, mtu=mtu, icmp=icmp)) for when, mtu in ((0.0, 1280), (1.0, 1000)))


ROWS = _rows()


def chosen(names: list[str] | None, of: Callable[[str], bool] = bool) -> list[Row]:
    """The rows of these names, or that begin with one of them; all without."""
    if not names:
        return ROWS
    found = [row for row in ROWS if any(row.name == name for name in names)]
    found += [
        row
        for row in ROWS
        if row not in found and any(n.endswith("-") and row.name.startswith(n) for n in names)
    ]
    missing = [
        n
        for n in names
        if not any(row.name == n or (n.endswith("-") and row.name.startswith(n)) for row in ROWS)
    ]
    if missing:
        raise ValueError(f"no row {', '.join(missing)}; there are {', '.join(row.name for row in ROWS)}")
    return found
