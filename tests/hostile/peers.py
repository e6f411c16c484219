"""More of what a peer can do that has the cookie: floods of what a node has to keep or to answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from quicdist.term import Atom, ImproperList, Pid, Reference, term_to_binary
from tests.hostile.authenticated import FORGED, SERVICES, TcpPeer, attack
from tests.hostile.field import Attack, Field
from tests.hostile.raw_quic import Stranger

_ODD: list[Any] = [
    1, -1, 1 << 70, b"", [], (), {}, Atom("x"), Atom(FORGED), 1.5, ImproperList([1], 2), [[]], (1, 2),
]  # fmt: skip


def shapes(name: str, victim: str) -> list[tuple[Any, ...]]:
    """Control messages of each kind with something wrong in each place."""
    me, there = Pid(name, 1, 0, 1), Pid(victim, 1, 0, 1)
    reference = Reference(name, (1, 2, 3), 1)
    made: list[tuple[Any, ...]] = []
    right: dict[int, tuple[Any, ...]] = {
        1: (me, there), 2: (Atom(""), there), 3: (me, there, Atom("x")), 4: (me, there), 5: (),
        6: (me, Atom(""), Atom("sink")), 7: (me, there), 8: (me, there, Atom("x")),
        12: (Atom(""), there, 1), 13: (me, there, 1, Atom("x")), 16: (me, Atom(""), Atom("sink"), 1),
        18: (me, there, 1, Atom("x")), 19: (me, Atom("sink"), reference), 20: (me, Atom("sink"), reference),
        21: (Atom("sink"), me, reference, Atom("x")), 22: (me, there), 23: (me, there, 1),
        24: (me, there), 25: (me, there, 1), 26: (me, there), 27: (me, there, 1),
        28: (Atom("sink"), me, reference), 29: (reference, me, me, (Atom("a"), Atom("b"), 1), []),
        30: (reference, me, me, (Atom("a"), Atom("b"), 1), [], 1), 31: (reference, me, 0, there),
        32: (reference, me, 0, there, 1), 33: (me, reference), 34: (me, reference, 1),
        35: (7, me, there), 36: (7, me, there), 37: (0, me, there), 38: (0, me, there, 1),
    }  # fmt: skip
    for kind, arguments in right.items():
        made.append((kind, *arguments))
        made.append((kind, *arguments, 1))
        made.append((kind, *arguments[:-1]))
        for place in range(len(arguments)):
            made += [(kind, *arguments[:place], odd, *arguments[place + 1 :]) for odd in _ODD]
    return made


def odd_controls(field: Field) -> None:
    """A link for each few of them, as most end it."""
    number = random.randrange(10**6)
    all_shapes = shapes("odd@127.0.0.1", field.name)
    links = 0
    peer: TcpPeer | None = None
    for control in random.Random(7).sample(all_shapes, 300):
        for payload in (None, 1):
            if peer is None:
                links += 1
                peer = TcpPeer(field, f"odd{number}-{links}@127.0.0.1")
            own = tuple(
                Pid(peer.name, 1, 0, 1)
                if isinstance(one, Pid) and one.node.name == "odd@127.0.0.1"
                else Reference(peer.name, (1, 2, 3), 1)
                if isinstance(one, Reference)
                else one
                for one in control
            )
            try:
                peer.control(own) if payload is None else peer.control(own, payload)
                if not peer.drain(0.0):
                    raise ConnectionError
                peer.sock.settimeout(0.004)
                try:
                    if not peer.sock.recv(1 << 16):
                        raise ConnectionError
                except TimeoutError:
                    pass
                finally:
                    peer.sock.settimeout(3.0)
            except OSError:
                peer.sock.close()
                peer = None
    field.note(f"{links} links")
    services = field.victim.do("services", timeout=30.0)
    field.expect(services["net_kernel"] < 4.0, "net_kernel answers no more")


def odd_controls_quic(field: Field) -> None:
    """A sample of the same over QUIC."""
    chosen = random.Random(5).sample(shapes("odd@127.0.0.1", field.name), 25)
    for number, control in enumerate(chosen):
        try:
            peer = Stranger(field).login("odd@127.0.0.1", field.cookie, field.name)
        except Exception as error:
            field.note(f"login {number}: {type(error).__name__}: {error}"[:150])
            continue
        body = b"\x83D\0" + term_to_binary(control)[1:]
        peer.raw(len(body).to_bytes(4, "big") + body)
        peer.flush(0.05)
        peer.stranger.close()


@attack
def many_monitors(field: Field, peer: TcpPeer) -> None:
    """20000 monitors of names that nobody has."""
    for number in range(20_000):
        reference = Reference(peer.name, (number & 0x3FFFF, number >> 18, 1), 1)
        peer.control((19, peer.pid(number), Atom("nobody"), reference))
        if number % 200 == 0:
            peer.drain(0.002)
    peer.drain(1.0)


@attack
def unlinks(field: Field, peer: TcpPeer) -> None:
    """UNLINK_ID, UNLINK_ID_ACK, LINK and EXIT of made-up pids."""
    for number in range(5000):
        there = Pid(field.name, number, 0, 1)
        peer.control((35, number + 1, peer.pid(number), there))
        peer.control((36, number + 1, peer.pid(number), there))
        peer.control((4, peer.pid(number), there))
        peer.control((24, peer.pid(number), there), Atom("x"))
        peer.control((7, peer.pid(number), there))
        if number % 100 == 0:
            peer.drain(0.002)
    peer.drain(0.5)


@attack
def aliases(field: Field, peer: TcpPeer) -> None:
    for number in range(20_000):
        peer.control((33, peer.pid(), Reference(field.name, (number, number, 1), 1)), number)
    peer.drain(0.3)


@attack
def atoms(field: Field, peer: TcpPeer) -> None:
    """60000 different atoms, in frames of 20."""
    for first in range(0, 60_000, 20):
        peer.to("sink", [Atom(f"a{number}") for number in range(first, first + 20)])
    peer.drain(1.0)


@attack
def discover(field: Field, peer: TcpPeer) -> None:
    """1000 scopes of pg that discover, and what each of them has."""
    for number in range(1000):
        peer.to("pg", (Atom("discover"), peer.pid(number)))
        if number % 100 == 0:
            peer.drain(0.002)
    peer.drain(0.5)


@attack
def joins(field: Field, peer: TcpPeer) -> None:
    peer.to("pg", (Atom("discover"), peer.pid()))
    for number in range(1000):
        peer.to("pg", (Atom("join"), peer.pid(), number, [peer.pid(number)] * 3))
    peer.to("pg", (Atom("leave"), peer.pid(), peer.pid(1), list(range(1000))))
    peer.drain(0.5)


@attack
def joined_often(field: Field, peer: TcpPeer) -> None:
    """One pid that joins one group 20000 times, and leaves it as often."""
    peer.to("pg", (Atom("discover"), peer.pid()))
    for _ in range(20):
        peer.to("pg", (Atom("join"), peer.pid(), Atom("g"), [peer.pid()] * 1000))
    for _ in range(20):
        peer.to("pg", (Atom("leave"), peer.pid(), [peer.pid()] * 1000, [Atom("g")]))
    peer.drain(0.5)


@attack
def spawn_options(field: Field, peer: TcpPeer) -> None:
    """Spawn requests with lists of 500 options, right and wrong ones."""
    mfa = (Atom("erlang"), Atom("halt"), 1)
    for number, options in enumerate(
        (
            [Atom("link")] * 500, [(Atom("priority"), Atom("high"))] * 500,
            [(Atom("monitor"), [(Atom("tag"), FORGED)] * 500)], 5, ImproperList([Atom("link")], 7),
            {1: 2}, [(Atom("max_heap_size"), {Atom("size"): {1: 2}})], [(Atom("fullsweep_after"), 1 << 5000)],
            [(Atom("min_heap_size"), -1)], [[]], [Atom(FORGED)],
        )
    ):  # fmt: skip
        for args in ([[1]], 5, ImproperList([1], 2), [1.5] * 500):
            reference = Reference(peer.name, (number, 1, 1), 1)
            peer.control((29, reference, peer.pid(), peer.pid(), mfa, options), args)
    for leader in (Pid(field.name, 1, 0, 1), Pid("far@127.0.0.1", 1, 0, 1)):
        peer.control((29, Reference(peer.name, (9, 9, 9), 1), peer.pid(), leader, mfa, []), [[1]])
    peer.drain(0.5)


@attack
def exits(field: Field, peer: TcpPeer) -> None:
    """Exit signals to every process there may be, reasons of all shapes; the node goes on."""
    for number in range(200):
        for reason in (Atom("normal"), Atom("shutdown"), FORGED, (Atom("EXIT"), 1)):
            peer.control((26, peer.pid(), Pid(field.name, number, 0, 1)), reason)
    peer.drain(0.3)


@attack
def leaders(field: Field, peer: TcpPeer) -> None:
    """Group leaders that are somewhere else, and then something to be written."""
    for number in range(300):
        peer.control((7, Pid("far@127.0.0.1", 1, 0, 1), Pid(field.name, number, 0, 1)))
        peer.control((7, peer.pid(number), Pid(field.name, number, 0, 1)))
    for name in SERVICES:
        peer.to(name, (Atom("io_request"), peer.pid(), 1, (Atom("put_chars"), Atom("unicode"), FORGED)))
    peer.drain(0.3)


@attack
def long_calls(field: Field, peer: TcpPeer) -> None:
    """Calls with 5000 arguments, and of functions with names of all shapes, by rex and erpc."""
    tag = ImproperList([Atom("alias")], Reference(peer.name, (1, 2, 3), 1))
    for arguments in ([1] * 5000, [b"x" * 100] * 1000, 7, ImproperList([1], 2), [peer.pid()] * 500):
        for function in (Atom("f"), Atom(FORGED), 5, b"f"):
            call = (Atom("call"), Atom("m"), function, arguments, peer.pid())
            peer.to("rex", (Atom("$gen_call"), (peer.pid(), tag), call))
            mfa = (Atom("erpc"), Atom("execute_call"), 4)
            reference = Reference(peer.name, (7, 1, 1), 1)
            asked = [reference, Atom("m"), function, arguments]
            peer.control((29, reference, peer.pid(), peer.pid(), mfa, [Atom("monitor")]), asked)
    peer.drain(0.5)


@attack
def kernel_calls(field: Field, peer: TcpPeer) -> None:
    """What net_kernel may be asked, 15000 times, and what it may not."""
    tag = ImproperList([Atom("alias")], Reference(peer.name, (1, 2, 3), 1))
    requests: list[tuple[Any, ...]] = [
        (Atom("is_auth"), Atom(peer.name)),
        (Atom("spawn"), Atom("m"), Atom("f"), [], peer.pid()),
        (Atom("get_net_ticktime"),),
    ]
    for number in range(5000):
        for request in requests:
            peer.to("net_kernel", (Atom("$gen_call"), (peer.pid(), tag), request))
        if number % 100 == 0:
            peer.drain(0.002)
    peer.drain(0.5)


_ROWS: list[tuple[str, str, Callable[[Field], None]]] = [
    ("controls-odd", "300 control messages of all kinds with something wrong somewhere", odd_controls),
    ("controls-odd-quic", "some of the same over QUIC", odd_controls_quic),
    ("monitors-nobody", "20000 monitors of a name that nobody has", many_monitors),
    ("unlinks", "25000 signals about links of made-up pids", unlinks),
    ("aliases", "20000 messages to aliases that are none", aliases),
    ("atoms-small", "60000 atoms in small frames", atoms),
    ("pg-discover", "1000 scopes of process groups", discover),
    ("pg-joins", "1000 groups joined, and left in one message", joins),
    ("pg-often", "a group joined and left 20000 times by one process", joined_often),
    ("spawn-options", "spawn requests with long and wrong lists of options", spawn_options),
    ("exits", "exit signals to 200 processes", exits),
    ("leaders", "group leaders elsewhere", leaders),
    ("calls-long", "calls with up to 5000 arguments", long_calls),
    ("kernel-calls", "15000 calls of net_kernel", kernel_calls),
]
ATTACKS = [Attack(name, what, run, kind="peer") for name, what, run in _ROWS]
