"""A short run of the carrier's fuzzer, and the inputs that are kept; ``python -m tests.carrier.fuzz
--seconds N`` is a longer run."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator

import pytest

from quicdist.carrier.quic.carrier import QuicIncoming
from tests.carrier.fuzz import CORPUS, WARM, Fuzzer
from tests.carrier.mutations import Plan
from tests.support.fuzzing import Finding, corpus

#: Plans in the normal run; some seconds.
INPUTS = 40
KEPT = dict(corpus(CORPUS))


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    made = Fuzzer(seed)
    for _ in range(WARM):
        made.check(Plan(login=True))
    yield made
    made.close()


@pytest.mark.parametrize("name", KEPT)
def test_a_plan_that_is_kept_costs_little_and_leaves_nothing(fuzzer: Fuzzer, name: str) -> None:
    fuzzer.check(Plan.from_bytes(KEPT[name]))


def test_random_plans_cost_little_and_leave_nothing(fuzzer: Fuzzer) -> None:
    for _ in range(INPUTS):
        fuzzer.step()


def test_a_plan_survives_being_kept() -> None:
    plan = Plan.random(random.Random(1))
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_a_traceback_is_found(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: QuicIncoming, event: object) -> None:
        raise ValueError("on purpose")

    monkeypatch.setattr(QuicIncoming, "handshake_completed", fail)
    with pytest.raises(Finding, match="on purpose"):
        fuzzer.check(Plan())


def test_memory_is_found(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    size = 64 << 20  # more than an allocator holds ready: the system has to give it
    monkeypatch.setattr(QuicIncoming, "handshake_completed", lambda self, event: kept.append(b"x" * size))
    # What earlier tests have left is not to be given back meanwhile.
    gc.collect()
    found = ""
    try:
        fuzzer.check(Plan())
    except Finding as finding:
        found = str(finding)
    assert kept, "the handshake was not completed"
    assert "bytes of memory" in found
