"""A short run of the fuzzer; ``python -m tests.term.fuzz --seconds N`` is a longer one."""

from __future__ import annotations

import os
import random

import pytest

from quicdist.term import Atom
from tests.support.fuzzing import Finding, run
from tests.term.fuzz import Fuzzer, vectors

#: Inputs in the normal run; a few seconds.
INPUTS = 3000


def test_no_exception_but_the_codecs_own() -> None:
    seconds = float(os.environ.get("QUICDIST_FUZZ_SECONDS", "0"))
    seed = random.randrange(1 << 32)
    if seconds:
        assert run(Fuzzer(seed), seconds, seed) == 0
        return
    print(f"seed {seed}")
    fuzzer = Fuzzer(seed)
    while fuzzer.inputs < INPUTS:
        fuzzer.step()
    assert fuzzer.decoded > INPUTS // 50, "the fuzzer hardly ever made a term"


def test_the_vectors_themselves_are_fine() -> None:
    fuzzer = Fuzzer(0)
    for data in vectors():
        fuzzer.check(data, memory=True)


def test_the_fuzzer_finds_what_is_wrong() -> None:
    class Wrong:
        def decode(self, data: bytes, offset: int) -> tuple[object, int]:
            return 1.0, len(data)

    fuzzer = Fuzzer(0)
    fuzzer.careful = Wrong()  # type: ignore[assignment]
    with pytest.raises(Finding):
        fuzzer.check(b"\x83a\x01")


def test_a_cache_that_grows_with_an_input_is_not_its_memory() -> None:
    fuzzer = Fuzzer(0)
    alive = []  # the table of all atoms grows too
    for number in range(3000):
        name = b"grown%d" % number
        grows = min(abs(number - size) for size in (1365, 2730)) < 20
        fuzzer.check(b"\x83w%c%b" % (len(name), name), memory=grows)
        alive.append(Atom(name.decode()))


def test_memory_beyond_the_bound_is_found() -> None:
    fuzzer = Fuzzer(0)

    class Greedy:
        def binary_to_term(self, data: bytes) -> object:
            return bytes(1 << 20)

    fuzzer.codec = Greedy()  # type: ignore[assignment]
    with pytest.raises(Finding, match="bytes of memory"):
        fuzzer.check(b"\x83a\x01", memory=True)


def test_a_finding_is_the_last_line_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    fuzzer = Fuzzer(0)

    def step() -> None:
        fuzzer._last = bytes(100_000)
        raise Finding("it is wrong")

    fuzzer.step = step  # type: ignore[method-assign]
    assert run(fuzzer, 1.0, 7) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "FOUND in the term codec, seed 7, input 0: it is wrong"
    assert all(len(line) < 1000 for line in lines)
