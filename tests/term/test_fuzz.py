"""A short run of the fuzzer; ``python -m tests.term.fuzz --seconds N`` is a longer one."""

from __future__ import annotations

import os
import random

import pytest

from tests.term.fuzz import Finding, Fuzzer, run, vectors

#: Inputs in the normal run; a few seconds.
INPUTS = 3000


def test_no_exception_but_the_codecs_own() -> None:
    seconds = float(os.environ.get("QUICDIST_FUZZ_SECONDS", "0"))
    seed = random.randrange(1 << 32)
    if seconds:
        assert run(seconds, seed) == 0
        return
    print(f"seed {seed}")
    fuzzer = Fuzzer(seed)
    for data in fuzzer.inputs_made():
        fuzzer.check(data, memory=fuzzer.inputs % 20 == 0)
        if fuzzer.inputs == INPUTS:
            break
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
