"""Frames and their mutations, for the fuzzer of the QUIC carrier; one plan is one input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from aioquic.buffer import encode_uint_var as var

_NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 63, 64, 68, 255, 16383, 16384, 65535, 1 << 20, (1 << 22) - 1, 1 << 22, (1 << 24) - 1),
    *((1 << 30) - 1, 1 << 30, 1 << 32, 1 << 60, (1 << 62) - 1),
)


def number(rnd: Random) -> bytes:
    return var(
        rnd.choice(_NUMBERS) if rnd.random() < 0.7 else rnd.randrange(1 << rnd.choice((4, 12, 30, 62)))
    )


def small(rnd: Random) -> bytes:
    return var(rnd.randrange(80))


def data(rnd: Random, most: int = 60) -> bytes:
    size = rnd.randrange(most)
    return rnd.choice((bytes(size), rnd.randbytes(size)))


def with_length(rnd: Random, body: bytes) -> bytes:
    """A length, most often the right one."""
    return (var(len(body)) if rnd.random() < 0.85 else number(rnd)) + body


def frame(rnd: Random) -> bytes:
    """One frame of RFC 9000, section 19, or RFC 9221, with values of every kind; now and then none."""
    kind = rnd.choice((*range(0x1F), 0x30, 0x31, 0x0A, 0x0E, 0x0F, 0x06, rnd.randrange(1 << 14)))
    head = var(kind)
    if kind in (2, 3):
        count = rnd.choice((0, 1, 3, 30))
        ranges = b"".join(small(rnd) + small(rnd) for _ in range(count))
        body = number(rnd) + number(rnd) + (var(count) if rnd.random() < 0.8 else number(rnd)) + small(rnd)
        return head + body + ranges + (number(rnd) * 3 if kind == 3 else b"")
    if kind == 4:
        return head + small(rnd) + number(rnd) + number(rnd)
    if kind in (5, 0x11, 0x15):
        return head + small(rnd) + number(rnd)
    if kind == 6:
        return head + (small(rnd) if rnd.random() < 0.6 else number(rnd)) + with_length(rnd, data(rnd, 200))
    if kind == 7:
        return head + with_length(rnd, data(rnd))
    if 8 <= kind <= 0x0F:
        at = b""
        if kind & 4:
            at = small(rnd) if rnd.random() < 0.6 else number(rnd)
        body = data(rnd, 200)
        return head + small(rnd) + at + (with_length(rnd, body) if kind & 2 else body)
    if kind in (0x10, 0x12, 0x13, 0x14, 0x16, 0x17, 0x19):
        return head + number(rnd)
    if kind == 0x18:
        length = rnd.choice((0, 1, 8, 8, 8, 20, 21, 255))
        return (
            head + small(rnd) + small(rnd) + bytes([length]) + rnd.randbytes(length & 31) + rnd.randbytes(16)
        )
    if kind in (0x1A, 0x1B):
        return head + rnd.randbytes(8)
    if kind in (0x1C, 0x1D):
        reason = rnd.choice((b"", b"a\nb\x1b[31m", b"\xff\xfe", data(rnd, 200)))
        return head + number(rnd) + (number(rnd) if kind == 0x1C else b"") + with_length(rnd, reason)
    if kind == 0x31:
        return head + with_length(rnd, data(rnd))
    return head


#: Parts of TLS messages and transport parameters that are worth meeting.
_PIECES = (
    *(b"\x01\0\0\x04", b"\x02", b"\x04\0\0\x10", b"\x08\0\0\x02\0\0", b"\x0b\0\0\x04\0\0\0\0", b"\x0f"),
    *(b"\x14\0\0\x20", b"\x18\0\0\x01\x01", b"\0\x29", b"\0\x2a", b"\0\x39", b"\0\x33", b"\xff\xff", b"\0\0"),
    *(b"\0\x10\0\x0e\0\x0c\x0berlang-dist", b"\x7f\xff\xff\xff", b"\x40\x00", b"\xc0" + b"\xff" * 7),
)


def mutate(rnd: Random, payload: bytes) -> bytes:
    """A payload changed in one or some places, as long as before."""
    changed = bytearray(payload)
    for _ in range(rnd.choice((1, 1, 2, 4, 12))):
        at = rnd.randrange(max(1, len(changed) if rnd.random() < 0.5 else min(len(changed), 400)))
        match rnd.randrange(7):
            case 0:
                changed[at : at + 1] = bytes([(changed[at] if changed else 0) ^ 1 << rnd.randrange(8)])
            case 1:
                changed[at : at + 1] = bytes([rnd.randrange(256)])
            case 2:
                piece = rnd.choice(_PIECES)
                changed[at : at + len(piece)] = piece
            case 3:
                del changed[at : at + rnd.choice((1, 2, 8))]
            case 4:
                changed[at:at] = rnd.choice(
                    (b"\0", b"\xff", rnd.choice(_PIECES), bytes(changed[at : at + 40]))
                )
            case 5:
                made = frame(rnd)
                changed[at : at + len(made)] = made
            case _:
                changed[:0] = frame(rnd)
    return bytes(changed[: len(payload)]).ljust(len(payload), b"\0")


@dataclass
class Plan:
    """One input: which side is attacked, and what the other side does amiss.

    ``seed`` drives the mutations of payloads; ``packets`` are the numbers of the packets sent that are
    mutated; ``early`` are payloads of Initial packets sent before all others, ``extra`` are payloads sent on
    top, in the highest epoch there is; ``datagrams`` says what becomes of single datagrams.
    """

    side: str = "acceptor"
    login: bool = False
    seed: int = 0
    packets: list[int] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    datagrams: dict[str, list[Any]] = field(default_factory=dict)
    close: bool = False

    @classmethod
    def random(cls, rnd: Random) -> Plan:
        login = rnd.random() < 0.35
        first = rnd.choice((0, 0, 1, 2, 3, 5, 8)) if not login else rnd.choice((4, 6, 8, 12))
        touched = rnd.random()
        packets = [first + at for at in range(rnd.choice((0, 1, 1, 2, 6)))] if touched < 0.7 else []
        extra = [
            b"".join(frame(rnd) for _ in range(rnd.choice((1, 1, 2, 5, 20))))[:1100].hex()
            for _ in range(rnd.choice((0, 1, 2, 8) if packets else (1, 2, 8)))
        ]
        early = [extra.pop()] if extra and not login and rnd.random() < 0.2 else []
        datagrams: dict[str, list[Any]] = {}
        for _ in range(rnd.choice((0, 0, 1, 3))):
            what = rnd.choice(("twice", "cut", "flip", "late", "lost", "garbage", "joined"))
            datagrams[str(rnd.randrange(12))] = [what, rnd.randrange(1500), rnd.randrange(8)]
        return cls(
            side=rnd.choice(("acceptor", "acceptor", "dialler")),
            login=login,
            seed=rnd.randrange(1 << 32),
            packets=packets,
            early=early,
            extra=extra,
            datagrams=datagrams,
            close=rnd.random() < 0.3,
        )

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Plan:
        return cls(**json.loads(text))
