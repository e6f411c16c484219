"""Terms in the bytes that OTP 25 and OTP 29 write for them, for the rows of ``term.py``.

Every payload is made from a number, and has other values than the one of any other number. Atoms in OTP 25's
``term_to_binary`` are ATOM_EXT, from OTP 26 on SMALL_ATOM_UTF8_EXT.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

NODE = "shop@10.1.2.3"
CREATION = 1_730_000_000
#: Elements of a list, and of a tuple, of one type.
IN_LIST, IN_TUPLE = 100, 4


class Row(NamedTuple):
    """What is measured: ``payload(n)`` is the n-th term, without the version byte."""

    name: str
    payload: Callable[[int], bytes]
    #: What erlang_py does not do for it; a row with such a note does not count.
    unequal: str = ""
    #: Whether it is also encoded: not the forms that the encoder does not write.
    encodes: bool = True


class Wire:
    """Writes terms as one release of OTP does."""

    def __init__(self, release: int) -> None:
        self.release = release

    def atom(self, name: str) -> bytes:
        text = name.encode()
        if self.release >= 26:
            return b"w%c%b" % (len(text), text) if len(text) < 256 else b"v%b%b" % (_u16(len(text)), text)
        try:
            latin = name.encode("latin-1")
        except UnicodeEncodeError:
            return b"v%b%b" % (_u16(len(text)), text)
        return b"d%b%b" % (_u16(len(latin)), latin)

    def pid(self, n: int) -> bytes:
        return b"X%b%b" % (self.atom(NODE), struct.pack(">III", 100 + n, n >> 15, CREATION))

    def port(self, n: int) -> bytes:
        if self.release >= 26:
            return b"x%b%b" % (self.atom(NODE), struct.pack(">QI", n, CREATION))
        return b"Y%b%b" % (self.atom(NODE), struct.pack(">II", n, CREATION))

    def reference(self, n: int) -> bytes:
        words = struct.pack(">IIII", CREATION, 99_000 + n, 0xDFD80001 + n, 0x5ABC7ED0)
        return b"Z\0\3%b%b" % (self.atom(NODE), words)

    def export(self, n: int) -> bytes:
        return b"q%b%ba%c" % (self.atom("lists"), self.atom(f"map{n % 50}"), n % 9)

    def fun(self, n: int) -> bytes:
        """A fun of a compiled module, with two free variables."""
        body = b"\1%b%b%b%b%b%b%b%b" % (
            b"\x2e\x44\x91\x5d\x83\xd6\x26\x0b\xb4\x20\xd9\x4b\xf1\xd4\xe8\x83",
            struct.pack(">II", 0, 2),
            self.atom("orders"),
            integer(0),
            integer(24_257_674),
            self.pid(n),
            integer(n),
            binary(b"order-%d" % n),
        )
        return b"p%b%b" % (_u32(4 + len(body)), body)

    def map_of_four(self, n: int) -> bytes:
        return mapping(
            (self.atom("id"), integer(1_000_000 + n)),
            (self.atom("name"), binary(b"somebody %d" % n)),
            (self.atom("ok"), self.atom("true" if n % 3 else "false")),
            (self.atom("at"), sequence(integer(n % 200), integer(n % 7))),
        )

    def gen_call(self, n: int, request: bytes | None = None) -> bytes:
        if request is None:
            request = sequence(self.atom("place_order"), self.map_of_four(n), integer(5000))
        tag = improper(self.atom("alias"), self.reference(n))
        return sequence(self.atom("$gen_call"), sequence(self.pid(n % 50), tag), request)

    def gen_cast(self, n: int) -> bytes:
        return sequence(
            self.atom("$gen_cast"), sequence(self.atom("set"), integer(n), binary(b"value %d" % n))
        )

    def reply(self, n: int) -> bytes:
        tag = improper(self.atom("alias"), self.reference(n))
        return sequence(tag, sequence(self.atom("ok"), integer(n)))

    def rpc(self, n: int) -> bytes:
        arguments = proper(binary(b"key %d" % n), integer(300 + n))
        call = self.atom("call"), self.atom("orders"), self.atom("lookup"), arguments, self.pid(n % 50)
        return self.gen_call(n, sequence(*call))

    def down(self, n: int) -> bytes:
        return sequence(
            self.atom("DOWN"), self.reference(n), self.atom("process"), self.pid(n % 50), self.atom("normal")
        )

    def exit(self, n: int) -> bytes:
        at = proper(
            sequence(self.atom("file"), charlist(b"orders.erl")), sequence(self.atom("line"), integer(n))
        )
        entry = sequence(self.atom("orders"), self.atom("handle_call"), integer(3), at)
        reason = sequence(sequence(self.atom("badmatch"), integer(n)), proper(entry))
        return sequence(self.atom("EXIT"), self.pid(n % 50), reason)


# -- forms that are the same in every release ---------------------------------------------------


def _u16(n: int) -> bytes:
    return n.to_bytes(2, "big")


def _u32(n: int) -> bytes:
    return n.to_bytes(4, "big")


def integer(n: int) -> bytes:
    if 0 <= n < 256:
        return b"a%c" % n
    if -(1 << 31) <= n < 1 << 31:
        return struct.pack(">Bi", 98, n)
    digits = abs(n).to_bytes((abs(n).bit_length() + 7) // 8, "little")
    head = b"n%c" % len(digits) if len(digits) < 256 else b"o" + _u32(len(digits))
    return b"%b%c%b" % (head, n < 0, digits)


def new_float(value: float) -> bytes:
    return struct.pack(">Bd", 70, value)


def old_float(value: float) -> bytes:
    return b"c" + (b"%.20e" % value).ljust(31, b"\0")


def binary(data: bytes) -> bytes:
    return b"m%b%b" % (_u32(len(data)), data)


def bits(n: int) -> bytes:
    return b"M%b\3%b" % (_u32(3), (n << 5 & 0xFFFFE0).to_bytes(3, "big"))


def charlist(text: bytes) -> bytes:
    return b"k%b%b" % (_u16(len(text)), text)


def sequence(*parts: bytes) -> bytes:
    """A tuple."""
    head = b"h%c" % len(parts) if len(parts) < 256 else b"i" + _u32(len(parts))
    return head + b"".join(parts)


def proper(*parts: bytes) -> bytes:
    return b"l%b%bj" % (_u32(len(parts)), b"".join(parts)) if parts else b"j"


def improper(*parts: bytes) -> bytes:
    return b"l%b%b" % (_u32(len(parts) - 1), b"".join(parts))


def mapping(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"t%b%b" % (_u32(len(pairs)), b"".join(key + value for key, value in pairs))


def compressed(term: bytes) -> bytes:
    return b"P%b%b" % (_u32(len(term)), zlib.compress(term, 6))


def record(wire: Wire, n: int) -> bytes:
    """A native record of OTP 29."""
    names = b"".join(map(wire.atom, ("geom", "vec", "x", "y")))
    return b"C%b\1%b%b%b" % (_u32(2), names, integer(n), integer(n + 1))


# -- the rows ------------------------------------------------------------------------------------

FUN = "erlang_py keeps a fun's bytes and does not look inside"
STRING = "erlang_py leaves the bytes of a STRING_EXT; here they become the list that they stand for"


def rows() -> list[Row]:
    """Every tag in a list of 100 and in a tuple of four, and messages between nodes."""
    made: list[Row] = []

    def add(name: str, element: Callable[[int], bytes], *, unequal: str = "", encodes: bool = True) -> None:
        def in_list(n: int) -> bytes:
            return proper(*[element(IN_LIST * n + k) for k in range(IN_LIST)])

        def in_tuple(n: int) -> bytes:
            return sequence(*[element(IN_TUPLE * n + k) for k in range(IN_TUPLE)])

        made.append(Row(f"{name}, list", in_list, unequal, encodes))
        made.append(Row(f"{name}, tuple", in_tuple, unequal, encodes))

    wires = Wire(25), Wire(29)
    for wire in wires:
        of, new = f" of OTP {wire.release}", wire.release > 25
        atom = wire.atom
        add("atoms" + of, lambda n, atom=atom: atom(f"field_{n % 60}"), encodes=new)  # type: ignore[misc]
        add("Latin-1 atoms" + of, lambda n, atom=atom: atom(f"för_{n % 60}"), encodes=new)  # type: ignore[misc]
        add("long atoms" + of, lambda n, atom=atom: atom(f"{n % 60:ж>200}"), encodes=new)  # type: ignore[misc]
        add("pids" + of, lambda n, wire=wire: wire.pid(n % 200), encodes=new)  # type: ignore[misc]
        add("new pids" + of, lambda n, wire=wire: wire.pid(n), encodes=False)  # type: ignore[misc]
        add("ports" + of, wire.port, encodes=new)
        add("references" + of, wire.reference, encodes=new)
        add("exports" + of, wire.export, encodes=new)
        add("funs" + of, wire.fun, unequal=FUN, encodes=new)
        add("maps of four" + of, wire.map_of_four, encodes=new)
        add(
            "pairs with an atom" + of,
            lambda n, atom=atom: sequence(atom(f"field_{n % 60}"), integer(n)),  # type: ignore[misc]
            encodes=new,
        )
        for message in (wire.gen_call, wire.gen_cast, wire.reply, wire.rpc, wire.down, wire.exit):
            made.append(Row(f"{message.__name__}{of}", message, encodes=new))
        made.append(Row(f"map of four{of}", wire.map_of_four, encodes=new))
        made.append(Row(f"the same gen_call{of}", lambda _, wire=wire: wire.gen_call(7), encodes=new))  # type: ignore[misc]
    add("integers of 8 and 32 bits", lambda n: integer(n % 256 if n % 3 else -n - 1))
    add("integers of 32 bits", lambda n: integer(-1000 - n))
    add("integers of 64 bits", lambda n: integer((1 << 62) + n))
    add("negative integers of 64 bits", lambda n: integer(-(1 << 62) - n))
    add("integers of 3,000 bits", lambda n: integer((1 << 3000) + n))
    add("floats", lambda n: new_float(n / 7))
    add("floats as text", lambda n: old_float(n / 7), encodes=False)
    add("binaries", lambda n: binary(b"value %d" % n))
    add("bitstrings", bits)
    add("strings", lambda n: charlist(b"text %d" % n), unequal=STRING)
    add("small tuples", lambda n: sequence(integer(n % 200), integer(1000 + n)))
    add("tuples with a float", lambda n: sequence(new_float(n / 7)))
    add("tuples of 300", lambda n: sequence(*[integer((n + k) % 256) for k in range(300)]))
    add("empty lists", lambda _: b"j")
    add("empty tuples", lambda _: b"h\0")
    add("empty maps", lambda _: b"t\0\0\0\0")
    add("lists of three", lambda n: proper(integer(n % 200), binary(b"%d" % n), integer(1000 + n)))
    add("improper lists", lambda n: improper(integer(n % 200), integer(1000 + n)))
    add(
        "maps with binary keys", lambda n: mapping((binary(b"k"), integer(n)), (binary(b"v"), integer(n % 9)))
    )
    add("maps with tuple keys", lambda n: mapping((sequence(integer(n % 9), integer(n)), integer(n % 9))))
    add("maps with float keys", lambda n: mapping((new_float(n / 7), integer(n % 9))))
    add("maps with charlist keys", lambda n: mapping((charlist(b"k%d" % n), integer(n % 9))), unequal=STRING)
    for tag in "sv":
        head = _u16 if tag == "v" else (lambda size: bytes([size]))
        add(
            {"s": "SMALL_ATOM_EXT", "v": "ATOM_UTF8_EXT"}[tag],
            lambda n, tag=tag, head=head: (
                b"%b%b%b"  # type: ignore[misc]
                % (tag.encode(), head(len(b"field_%d" % (n % 60))), b"field_%d" % (n % 60))
            ),
            encodes=False,
        )
    node = Wire(25).atom(NODE)
    add("PID_EXT", lambda n: b"g%b%b\1" % (node, struct.pack(">II", n, 0)), encodes=False)
    add("PORT_EXT", lambda n: b"f%b%b\1" % (node, _u32(n)), encodes=False)
    add("REFERENCE_EXT", lambda n: b"e%b%b\1" % (node, _u32(n)), encodes=False)
    add("NEW_REFERENCE_EXT", lambda n: b"r\0\3%b\1%b" % (node, struct.pack(">III", n, 2, 3)), encodes=False)
    made.append(
        Row(
            "compressed",
            lambda n: compressed(proper(*[Wire(29).map_of_four(n + k) for k in range(50)])),
            "",
            False,
        )
    )
    return made
