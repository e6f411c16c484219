"""The codec against erlang_py, in one run: ``python benchmarks/term.py``.

Both get the same terms, each in its own types, and the same bytes. The two are timed in turn, many
short rounds each, and compared by their medians, so that what else the machine does meets both.
Exit status 1 if a row is under 4 times.

A binary of 1 MiB is mostly memory being copied, which nothing in Python can make faster: its rows
also say what that one copy costs by itself.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import erlang

from quicdist.term import Atom, Codec, ImproperList, Pid, Reference, exactly_equal

ROUNDS = 25
ROUND_SECONDS = 0.012
LEAST = 4.0

#: As deep as erlang_py goes before Python's recursion limit ends it, less some room for the caller.
DEPTH = 200

NODE = "a@127.0.0.1"


class Row(NamedTuple):
    name: str
    term: Any


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
        Row("binary of 1 MiB", (Atom("data"), bytes(1 << 20))),
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


def measure(*functions: Callable[[], object]) -> list[float]:
    """Seconds of one call of each, the median of rounds taken in turn."""
    counts = []
    for function in functions:
        count, taken = 1, 0.0
        while taken < ROUND_SECONDS:
            count *= 2
            taken = timed(function, count)
        counts.append(max(1, round(count * ROUND_SECONDS / taken)))
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, count, sample in zip(functions, counts, samples, strict=True):
            sample.append(timed(function, count) / count)
    return [statistics.median(sample) for sample in samples]


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
    codec = Codec()
    slow = []
    print(f"{'':24}{'bytes':>9}  {'':6}{'quicdist':>10}{'erlang_py':>11}{'ratio':>8}")
    for name, term in rows():
        data = codec.term_to_binary(term)
        other = theirs(term)
        assert exactly_equal(codec.binary_to_term(erlang.term_to_binary(other)), term), name
        for what, ours_once, theirs_once in (
            ("decode", lambda d=data: codec.binary_to_term(d), lambda d=data: erlang.binary_to_term(d)),
            ("encode", lambda t=term: codec.term_to_binary(t), lambda t=other: erlang.term_to_binary(t)),
        ):
            ours, them = measure(ours_once, theirs_once)
            ratio = them / ours
            if ratio < LEAST:
                slow.append((name, what, ratio))
            print(f"{name:24}{len(data):>9}  {what:6}{ours * 1e6:>8.1f}us{them * 1e6:>9.1f}us{ratio:>7.1f}x")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
