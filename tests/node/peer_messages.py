"""What a peer that has the cookie may send, right and wrong: the grammar of the peer's fuzzer."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from quicdist.protocol import Op
from quicdist.term import Atom, BitString, Export, ImproperList, Pid, Port, Reference, term_to_binary

VICTIM = "victim@127.0.0.1"
PEER = "fuzzer@127.0.0.1"
SERVICES = (
    "net_kernel", "rex", "user", "logger_proxy", "logger", "error_logger", "global_name_server",
    "global_group", "pg", "init", "auth", "kernel_sup", "echo", "server", "nobody", "",
)  # fmt: skip
_ATOMS = (
    *"""$gen_call $gen_cast system is_auth call block_call cast spawn io_request io_reply put_chars get_line
    get_until unicode latin1 log error report string features_request nodeup nodedown EXIT DOWN alias monitor
    link process port normal kill killed discover join leave sync init_connect exchange resolved lock_set
    replace_state get_state get_status suspend resume terminate debug trace true false undefined m f erlang
    lists""".split(),  # noqa: SIM905
    *("a\nb\x1b[31m", "", "x" * 255),
)


def term(rnd: Random, depth: int = 3) -> Any:
    """Any term, most often one of the shapes that services know."""
    kind = rnd.randrange(14 if depth else 9)
    match kind:
        case 0:
            return rnd.choice((0, 1, -1, 255, 1 << 31, 1 << 64, -(1 << 70), 1 << 2000))
        case 1 | 2:
            return Atom(rnd.choice(_ATOMS))
        case 3:
            return rnd.choice((b"", b"text\n\x1b[2J", rnd.randbytes(9), bytes(3000)))
        case 4:
            return pid(rnd)
        case 5:
            return reference(rnd)
        case 6:
            return rnd.choice(([], (), {}, 1.5, Port(VICTIM, 3, 1), BitString(b"\x80", 3)))
        case 7:
            return Atom(rnd.choice(SERVICES))
        case 8:
            return Export("m", rnd.choice(("f", "halt")), rnd.randrange(4))
        case 9 | 10:
            return tuple(term(rnd, depth - 1) for _ in range(rnd.randrange(6)))
        case 11:
            return [term(rnd, depth - 1) for _ in range(rnd.randrange(5))]
        case 12:
            return {
                rnd.choice((1, Atom("a"), b"k", (1,))): term(rnd, depth - 1) for _ in range(rnd.randrange(3))
            }
        case _:
            return ImproperList([term(rnd, 0)], rnd.choice((1, Atom("x"), reference(rnd))))


def pid(rnd: Random) -> Pid:
    node = rnd.choice((PEER, PEER, VICTIM, VICTIM, "other@127.0.0.1"))
    return Pid(node, rnd.randrange(60), rnd.choice((0, 0, 1)), rnd.choice((1, 1, 0, 1 << 31)))


def own(rnd: Random) -> Pid:
    """A process of the peer's: who else is named as a sender is forged, which ends the link."""
    if rnd.random() < 0.01:
        return pid(rnd)
    return Pid(PEER, rnd.randrange(60), 0, 1)


def reference(rnd: Random) -> Reference:
    return Reference(
        rnd.choice((PEER, VICTIM)), tuple(rnd.randrange(9) for _ in range(rnd.choice((3, 5)))), 1
    )


def tag(rnd: Random) -> Any:
    return rnd.choice((reference(rnd), ImproperList([Atom("alias")], reference(rnd)), term(rnd, 1)))


def message(rnd: Random) -> Any:
    """A message to a service."""
    me = pid(rnd)
    made: list[Callable[[], Any]] = [
        lambda: t(rnd),
        lambda: (Atom("$gen_call"), (me, tag(rnd)), t(rnd)),
        lambda: (Atom("$gen_cast"), t(rnd)),
        lambda: (Atom("$gen_call"), (me, tag(rnd)), (Atom("is_auth"), t(rnd))),
        lambda: (Atom("$gen_call"), (me, tag(rnd)), (a(rnd), a(rnd), a(rnd), t(rnd), t(rnd))),
        lambda: (Atom("system"), (me, tag(rnd)), rnd.choice((a(rnd), (a(rnd), t(rnd)), t(rnd)))),
        lambda: (Atom("io_request"), me, tag(rnd), rnd.choice((a(rnd), (a(rnd), a(rnd), t(rnd)), t(rnd)))),
        lambda: (Atom("log"), a(rnd), t(rnd), t(rnd), rnd.choice(({}, {Atom("gl"): me}, t(rnd)))),
        lambda: (me, a(rnd)),
        lambda: (a(rnd), me, t(rnd)),
        lambda: (Atom("DOWN"), reference(rnd), a(rnd), me, t(rnd)),
        lambda: (Atom("$gen_cast"), (a(rnd), (t(rnd), t(rnd)), t(rnd), t(rnd))),
        lambda: (me, t(rnd)),
    ]
    return rnd.choice(made)()


def a(rnd: Random) -> Atom:
    return Atom(rnd.choice(_ATOMS))


def t(rnd: Random) -> Any:
    return term(rnd, 2)


def _any(rnd: Random) -> Any:
    return term(rnd, 2)


def _name(rnd: Random) -> Any:
    return Atom(rnd.choice(SERVICES))


def _id(rnd: Random) -> Any:
    return rnd.choice((1, 7, (1 << 64) - 1, 0, 1 << 64, -1))


def _flags(rnd: Random) -> Any:
    return rnd.choice((0, 1, 2, 3, 4, 8, 12, 16, 31, 1 << 40))


def _mfa(rnd: Random) -> Any:
    return rnd.choice(
        ((Atom("m"), Atom("f"), 0), (Atom("erlang"), Atom("halt"), 1), (Atom("m"), Atom("f"), -1), ())
    )


def _options(rnd: Random) -> Any:
    return rnd.choice(([], [Atom("monitor")], [Atom("link")], [(Atom("name"), Atom("n"))], [term(rnd, 1)]))


#: The elements of each operation behind its number, and whether a payload follows.
_SHAPES: dict[Op, tuple[tuple[Any, ...], bool]] = {
    Op.LINK: ((own, pid), False),
    Op.SEND: ((_any, pid), True),
    Op.EXIT: ((own, pid, _any), False),
    Op.UNLINK: ((own, pid), False),
    Op.NODE_LINK: ((), False),
    Op.REG_SEND: ((own, _any, _name), True),
    Op.GROUP_LEADER: ((own, pid), False),
    Op.EXIT2: ((own, pid, _any), False),
    Op.SEND_TT: ((_any, pid, _any), True),
    Op.EXIT_TT: ((own, pid, _any, _any), False),
    Op.REG_SEND_TT: ((own, _any, _name, _any), True),
    Op.EXIT2_TT: ((own, pid, _any, _any), False),
    Op.MONITOR_P: ((own, rnd_target := lambda rnd: rnd.choice((_name, pid))(rnd), reference), False),
    Op.DEMONITOR_P: ((own, rnd_target, reference), False),
    Op.MONITOR_P_EXIT: ((rnd_target, pid, reference, _any), False),
    Op.SEND_SENDER: ((own, pid), True),
    Op.SEND_SENDER_TT: ((own, pid, _any), True),
    Op.PAYLOAD_EXIT: ((own, pid), True),
    Op.PAYLOAD_EXIT_TT: ((own, pid, _any), True),
    Op.PAYLOAD_EXIT2: ((own, pid), True),
    Op.PAYLOAD_EXIT2_TT: ((own, pid, _any), True),
    Op.PAYLOAD_MONITOR_P_EXIT: ((rnd_target, pid, reference), True),
    Op.SPAWN_REQUEST: ((reference, own, pid, _mfa, _options), True),
    Op.SPAWN_REQUEST_TT: ((reference, own, pid, _mfa, _options, _any), True),
    Op.SPAWN_REPLY: ((reference, pid, _flags, lambda rnd: rnd.choice((pid, _any))(rnd)), False),
    Op.SPAWN_REPLY_TT: ((reference, pid, _flags, pid, _any), False),
    Op.ALIAS_SEND: ((own, reference), True),
    Op.ALIAS_SEND_TT: ((own, reference, _any), True),
    Op.UNLINK_ID: ((_id, own, pid), False),
    Op.UNLINK_ID_ACK: ((_id, own, pid), False),
    Op.ALTACT_SIG_SEND: ((_flags, own, lambda rnd: rnd.choice((pid, _name, reference))(rnd)), True),
}


def _control(rnd: Random) -> bytes:
    """A control message and its payload, in external form; one element may be amiss."""
    op = rnd.choice((*Op, Op.REG_SEND, Op.REG_SEND, Op.REG_SEND, Op.SEND_SENDER))
    shape, payload = _SHAPES[op]
    elements: list[Any] = [int(op), *(make(rnd) for make in shape)]
    if rnd.random() < 0.05:
        match rnd.randrange(3):
            case 0:
                elements[rnd.randrange(len(elements))] = term(rnd, 1)
            case 1:
                elements.pop()
            case _:
                elements.append(term(rnd, 1))
    data = term_to_binary(tuple(elements))[1:]
    if payload != (rnd.random() < 0.03):
        body = message(rnd) if op in (Op.REG_SEND, Op.SEND_SENDER, Op.SEND, Op.ALIAS_SEND) else term(rnd, 2)
        data += term_to_binary(body)[1:]
    return data


def frames(rnd: Random) -> list[bytes]:
    """One message as a peer writes it: a frame, or some of a message in fragments, lengths included."""
    body = _control(rnd)
    if rnd.random() < 0.03:
        body = _damaged(rnd, body)
    kind = rnd.random()
    if kind < 0.8:
        made = [b"\x83D\0" + body]
    elif kind < 0.95:
        made = _fragments(rnd, body)
    else:
        made = [rnd.choice((b"", b"p\x83" + body, b"\x83D\x01" + body, rnd.randbytes(30), b"\x83", body))]
    out = [struct.pack(">I", len(one)) + one for one in made]
    if out and rnd.random() < 0.01:
        out[0] = rnd.choice((b"\xff\xff\xff\xff", b"\x7f\0\0\0", b"\0\0\0\1")) + out[0][4:]
    return out


def _damaged(rnd: Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(rnd.choice((1, 1, 3))):
        at = rnd.randrange(len(changed)) if changed else 0
        match rnd.randrange(3):
            case 0:
                changed[at : at + 1] = bytes([rnd.randrange(256)])
            case 1:
                del changed[at : at + rnd.choice((1, 4, 50))]
            case _:
                changed[at : at + 4] = rnd.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(4, "big")
    return bytes(changed)


def _fragments(rnd: Random, body: bytes) -> list[bytes]:
    number = rnd.randrange(4)
    count = rnd.choice((1, 2, 3, 8))
    step = max(1, len(body) // count)
    parts = [body[at : at + step] for at in range(0, len(body), step)][:count] or [b""]
    made = [b"\x83E" + struct.pack(">QQ", number, len(parts)) + b"\0" + parts[0]]
    made += [
        b"\x83F" + struct.pack(">QQ", number, len(parts) - at) + part for at, part in enumerate(parts[1:], 1)
    ]
    if rnd.random() < 0.3:
        match rnd.randrange(4):
            case 0:
                rnd.shuffle(made)
            case 1:
                made.pop()
            case 2:
                made.append(made[-1])
            case _:
                made[0] = (
                    b"\x83E" + struct.pack(">QQ", number, rnd.choice((0, 1 << 40, 1 << 63))) + made[0][18:]
                )
    return made


@dataclass
class Plan:
    """One input: what a peer writes, piece by piece, over which carrier and on which streams."""

    carrier: str = "tcp"
    #: Stream and bytes in hex; over TCP there is one stream.
    pieces: list[list[Any]] = field(default_factory=list)

    @classmethod
    def random(cls, rnd: Random) -> Plan:
        carrier = rnd.choice(("tcp", "tcp", "quic"))
        pieces: list[list[Any]] = []
        usual = 4 * rnd.randrange(1, 17)
        for _ in range(rnd.choice((1, 2, 5, 20))):
            for one in frames(rnd):
                stream = usual if rnd.random() < 0.9 else rnd.choice((0, 4, 8, 64, 68, 72))
                pieces.append([stream, one.hex()])
        return cls(carrier, pieces)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Plan:
        return cls(**json.loads(text))
