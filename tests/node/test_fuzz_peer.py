"""A short run of the fuzzer of a node's peers, and the inputs that are kept; ``python -m
tests.node.fuzz_peer --seconds N`` is a longer run."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from quicdist.node.signals import Signals
from quicdist.term import Atom, Pid, term_to_binary
from tests.node.fuzz_peer import CORPUS, Fuzzer
from tests.node.peer_messages import PEER, Plan
from tests.support.fuzzing import Finding, corpus

#: Plans in the normal run; some seconds.
INPUTS = 40
KEPT = dict(corpus(CORPUS))


def message_frame(message: object) -> bytes:
    control = term_to_binary((6, Pid(PEER, 1, 0, 1), Atom(""), Atom("echo")))
    body = b"\x83D\0" + control[1:] + term_to_binary(message)[1:]
    return len(body).to_bytes(4, "big") + body


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    made = Fuzzer(seed)
    yield made
    made.close()


@pytest.mark.parametrize("name", KEPT)
def test_after_a_plan_that_is_kept_the_node_answers(fuzzer: Fuzzer, name: str) -> None:
    fuzzer.check(Plan.from_bytes(KEPT[name]), services=True)


def test_after_random_plans_the_node_answers(fuzzer: Fuzzer) -> None:
    for _ in range(INPUTS):
        fuzzer.step()


def test_the_fuzzer_finds_a_logged_traceback(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatch = Signals.dispatch

    def fail(self: Signals, node: str, control: object, payload: object) -> None:
        if node == "fuzzer@127.0.0.1":
            raise ValueError("on purpose")
        dispatch(self, node, control, payload)

    monkeypatch.setattr(Signals, "dispatch", fail)
    with pytest.raises(Finding, match="on purpose"):
        fuzzer.check(Plan("tcp", [[4, message_frame(1).hex()]]))
