"""The codec against erlang_py, in one run: ``python benchmarks/term.py``.

Both get the same terms, each in its own types, and the same bytes. The two are timed in turn, many
short rounds each, and compared by their medians, so that what else the machine does meets both.
Exit status 1 if a row is under 5 times, of those in which both do the same work.

Then follow the rows of ``terms_otp.py``: every tag that OTP 25 to 29 write, and messages between nodes. A row
is decoded from many payloads with different values, so that no cache of payloads can win. Caches that
remain are those of names: of atoms, nodes, exports, and of pids, which a connection meets again and again.

A large binary is measured as a connection meets it. It arrives in a frame, behind a control tuple:
quicdist decodes at an offset, erlang_py only what begins with the version byte. It leaves in pieces.
Decoding it to a ``bytes`` of its own is one copy, which no codec can be faster than; that row is shown
beside the copy, and not counted. What is counted is the codec's part: the binary as a memoryview.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import erlang  # type: ignore[import-untyped]

if __name__ == "__main__":  # as a script, beside the package
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import terms_otp
from quicdist.term import Atom, Codec, ImproperList, Pid, Reference, exactly_equal

ROUNDS = 25
ROUND_SECONDS = 0.012
#: Rounds of a row of ``terms_otp.py``, of which there are many.
QUICK_ROUNDS = 7
QUICK_SECONDS = 0.004
LEAST = 5.0

#: As deep as erlang_py goes before Python's recursion limit ends it, less some room for the caller.
DEPTH = 200

NODE = "a@127.0.0.1"


class Compared(NamedTuple):
    """A row's ratio, and what erlang_py leaves out for it; a row with such a note is not counted."""

    name: str
    ratio: float
    unequal: str = ""


class Row(NamedTuple):
    name: str
    term: Any
    in_frame: bool = False


def gen_call() -> Any:
    """A call as gen_server:call sends it, of some 900 bytes: an order with three items."""
    pid = Pid(NODE, 183, 0, 1730000000)
    ref = Reference(NODE, (183_901, 992_739_329, 2_219_827_642), 1730000000)
    item = {
        Atom("id"): 90_017,
        Atom("name"): "A thing of some length, with a name",
        Atom("price"): (Atom("eur"), 1999),
        Atom("tags"): [Atom("new"), Atom("fragile"), "heavy"],
        Atom("weight"): 12.5,
        Atom("stock"): True,
    }
    request = (
        Atom("place_order"),
        {
            Atom("customer"): {Atom("id"): 4711, Atom("email"): "someone@example.org", Atom("vip"): False},
            Atom("items"): [item, item, item],
            Atom("placed"): ((2026, 11, 22), (15, 18, 27)),
            Atom("note"): None,
            Atom("owner"): pid,
        },
        [(Atom("timeout"), 5000), (Atom("priority"), Atom("high")), Atom("async")],
    )
    return (Atom("$gen_call"), (pid, ImproperList([Atom("alias")], ref)), request)


def rows() -> list[Row]:
    small_map = {Atom("id"): 1_000_001, Atom("name"): "somebody", Atom("ok"): True, Atom("at"): (1, 2)}
    nested: Any = []
    for _ in range(DEPTH // 2):
        nested = (Atom("node"), [nested])
    return [
        Row("gen_call", gen_call()),
        Row("500 small maps", [dict(small_map) for _ in range(500)]),
        Row("10,000 integers", list(range(10_000))),
        Row("binary of 1 MiB", (Atom("data"), bytes(1 << 20)), in_frame=True),
        Row(f"nested {DEPTH} deep", nested),
    ]


def theirs(term: Any) -> Any:
    """The term in erlang_py's types."""
    kind = type(term)
    if kind is Atom:
        return erlang.OtpErlangAtom(term.name)
    if kind is bytes:
        return erlang.OtpErlangBinary(term)
    if kind is str:
        return erlang.OtpErlangBinary(term.encode())
    if kind is tuple:
        return tuple(map(theirs, term))
    if kind is list:
        return list(map(theirs, term))
    if kind is dict:
        return {theirs(key): theirs(value) for key, value in term.items()}
    if kind is ImproperList:
        return erlang.OtpErlangList([*map(theirs, term.elements), theirs(term.tail)], improper=True)
    if kind is Pid:
        words = (number.to_bytes(4, "big") for number in (term.id, term.serial, term.creation))
        return erlang.OtpErlangPid(erlang.OtpErlangAtom(term.node.name), *words)
    if kind is Reference:
        ids = b"".join(word.to_bytes(4, "big") for word in term.ids)
        return erlang.OtpErlangReference(
            erlang.OtpErlangAtom(term.node.name), ids, term.creation.to_bytes(4, "big")
        )
    return term


def measure(
    *functions: Callable[[], object], rounds: int = ROUNDS, seconds: float = ROUND_SECONDS
) -> tuple[list[float], float]:
    """Seconds of one call of each, and how many times as long the second takes: medians of many rounds."""
    counts = []
    for function in functions:
        count, taken = 1, 0.0
        while taken < seconds:
            count *= 2
            taken = timed(function, count)
        counts.append(max(1, round(count * seconds / taken)))
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, count, sample in zip(functions, counts, samples, strict=True):
            sample.append(timed(function, count) / count)
    ratio = statistics.median(theirs / ours for ours, theirs, *_ in zip(*samples, strict=True))
    return [statistics.median(sample) for sample in samples], ratio


def timed(function: Callable[[], object], count: int) -> float:
    again = range(count)
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    for _ in again:
        function()
    taken = time.perf_counter() - start
    gc.enable()
    return taken


def main() -> int:
    print(f"{'':48}{'bytes':>9}{'quicdist':>12}{'erlang_py':>12}{'ratio':>8}")
    lowest = min(compare_all(), key=lambda row: row.ratio)
    large_binary_alone()
    verdict = "at least" if lowest.ratio >= LEAST else "under"
    print(f"least ratio {lowest.ratio:.1f} ({lowest.name}), {verdict} {LEAST:.0f}")
    return 0 if lowest.ratio >= LEAST else 1


def compare_all() -> list[Compared]:
    """Measure and print every row; those that count."""
    found = [
        Compared(f"{row.name}, {what}", compare(row, what)) for row in rows() for what in ("decode", "encode")
    ]
    for row in terms_otp.rows():
        found += compare_payloads(row)
    for note in dict.fromkeys(row.unequal for row in found if row.unequal):
        print(f"not counted: {', '.join(row.name for row in found if row.unequal == note)}: {note}")
    return [row for row in found if not row.unequal]


def compare_payloads(row: terms_otp.Row) -> list[Compared]:
    """Measure and print decoding, and encoding, of a row of ``terms_otp.py``."""
    codec = Codec()
    payloads = [b"\x83" + row.payload(n) for n in range(4 if row.name.endswith("list") else 64)]
    sides = [codec.binary_to_term, erlang.binary_to_term]
    items = [payloads, payloads]
    found = [_compare_each(row, "decode", sides, items, len(payloads[0]))]
    if row.encodes:
        items = [list(map(side, payloads)) for side in sides]
        assert list(map(codec.term_to_binary, items[0])) == payloads, row.name
        sides = [codec.term_to_binary, erlang.term_to_binary]
        encoded = _compare_each(row, "encode", sides, items, len(payloads[0]))
        found.append(encoded if row.unequal == terms_otp.STRING else encoded._replace(unequal=""))
    return found


def _compare_each(
    row: terms_otp.Row, what: str, sides: list[Callable[[Any], object]], items: list[list[Any]], size: int
) -> Compared:
    def each(side: Callable[[Any], object], given: list[Any]) -> Callable[[], None]:
        def once() -> None:
            for item in given:
                side(item)

        return once

    (ours, them), ratio = measure(*map(each, sides, items), rounds=QUICK_ROUNDS, seconds=QUICK_SECONDS)
    count = len(items[0])
    times = f"{ours * 1e6 / count:>10.1f}us{them * 1e6 / count:>10.1f}us{ratio:>7.1f}x"
    print(f"{row.name:40}{what:8}{size:>9}{times}{'  unequal work' if row.unequal else ''}")
    return Compared(f"{row.name}, {what}", ratio, row.unequal)


def compare(row: Row, what: str) -> float:
    """Measure and print one row; the ratio."""
    name, term = row.name, row.term
    codec = Codec(view_from=65_536 if row.in_frame else None)
    data = codec.term_to_binary(term)
    other = theirs(term)
    assert exactly_equal(codec.binary_to_term(erlang.term_to_binary(other)), term), name
    ours_once: Callable[[], object]
    theirs_once: Callable[[], object]
    if what == "decode" and row.in_frame:
        control = codec.encode((6, Pid(NODE, 183, 0, 1), Atom(""), Atom("echo")))
        frame, start = control + data[1:], len(control)
        ours_once = lambda: codec.decode(frame, start)  # noqa: E731
        theirs_once = lambda: erlang.binary_to_term(b"\x83" + frame[start:])  # noqa: E731
    elif what == "decode":
        ours_once = lambda: codec.binary_to_term(data)  # noqa: E731
        theirs_once = lambda: erlang.binary_to_term(data)  # noqa: E731
    elif row.in_frame:
        ours_once = lambda: codec.encode_into(term, [])  # noqa: E731
        theirs_once = lambda: erlang.term_to_binary(other)  # noqa: E731
    else:
        ours_once = lambda: codec.term_to_binary(term)  # noqa: E731
        theirs_once = lambda: erlang.term_to_binary(other)  # noqa: E731
    (ours, them), ratio = measure(ours_once, theirs_once)
    print(f"{name:40}{what:8}{len(data):>9}{ours * 1e6:>10.1f}us{them * 1e6:>10.1f}us{ratio:>7.1f}x")
    return ratio


def large_binary_alone() -> None:
    codec = Codec()
    data = codec.term_to_binary(bytes(1 << 20))
    (ours, them, copy), ratio = measure(
        lambda: codec.binary_to_term(data), lambda: erlang.binary_to_term(data), lambda: data[6:]
    )
    times = f"{ours * 1e6:>10.1f}us{them * 1e6:>10.1f}us{ratio:>7.1f}x"
    print(f"{'  as bytes':40}{'decode':8}{len(data):>9}{times}  not counted; the copy: {copy * 1e6:.1f}us")


if __name__ == "__main__":
    sys.exit(main())
