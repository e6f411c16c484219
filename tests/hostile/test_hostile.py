"""The harness sees faults, and the shortest attacks keep the goals; ``make hostile`` runs them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hostile.__main__ import chosen
from tests.hostile.catalogue import ATTACKS, FAMILIES
from tests.hostile.field import Attack, Field
from tests.hostile.measure import KEPT, STANDSTILL, Row, Run

#: Attacks that ``make test`` runs too.
QUICK = [attack for attack in ATTACKS if attack.quick]
#: Other tests run beside these: so many times a goal may be missed. `make hostile` has none of that.
WITHIN = 4.0


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with Run(quick=True, within=WITHIN) as made:
        yield made


def missed(rows: list[Row]) -> str:
    """The goals missed by the last run, but for the echo: a busy machine has its own."""
    missed = [(text, times) for text, times in rows[-1].missed if not text.startswith("echo")]
    return "; ".join(text for text, times in missed if not times or times > WITHIN)


@pytest.mark.parametrize("attack", QUICK, ids=lambda attack: attack.name)
def test_an_attack_costs_next_to_nothing(run: Run, attack: Attack) -> None:
    rows = run.row(attack)
    assert missed(rows) == ""
    assert rows[-1].sent > 0


def fault(what: str, **arguments: Any) -> Callable[[Field], None]:
    """An attack that needs no weakness: the victim does it to itself."""

    def attack(field: Field) -> None:
        field.victim.do(what, **arguments)

    return attack


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (fault("stand_still", seconds=0.3), "standstill "),
        (fault("fill", size=40 * KEPT), r"kept (39|40)\."),
        (fault("log", text="one\ntwo"), "log records with lines"),
        (lambda field: field.expect(False, "what the attack says"), "what the attack says"),
    ],
    ids=["standstill", "memory", "log", "own goal"],
)
def test_the_harness_sees_a_fault(run: Run, attack: Callable[[Field], None], text: str) -> None:
    row = run.once(Attack("fault", "a fault on purpose", attack))
    assert re.search(text, missed([row]))


def test_a_goal_missed_by_little_is_in_doubt() -> None:
    row = Row(Attack("a", "b", lambda field: None), standstill=STANDSTILL + 0.001)
    row.judge()
    assert not row.holds
    assert row.doubtful()


def test_of_several_runs_the_median_counts_and_no_fact_is_lost() -> None:
    attack = Attack("a", "b", lambda field: None)

    def row(standstill: float, **more: Any) -> Row:
        made = Row(attack, standstill=standstill, **more)
        made.judge()
        return made

    assert Row.median_of([row(2 * STANDSTILL), row(0.001), row(0.002)]).holds
    assert not Row.median_of([row(0.001), row(2 * STANDSTILL), row(2 * STANDSTILL)]).holds
    told = row(0.001, log={"tracebacks": 1, "sample": "Traceback"})
    assert [text for text, _ in Row.median_of([told, row(0.001), row(0.001)]).missed] == [
        "1 tracebacks: Traceback"
    ]


def test_memory_may_grow_with_what_was_sent() -> None:
    row = Row(Attack("a", "b", lambda field: None), sent=1_000_000, kept=9 * KEPT)
    row.judge()
    assert row.holds
    row = Row(Attack("a", "b", lambda field: None), sent=50_000, kept=2 * KEPT)
    row.judge()
    assert not row.holds


def test_attacks_are_chosen_by_name_and_family() -> None:
    assert [attack.name for attack in chosen("garbage,windows")] == ["garbage", "windows"]
    assert chosen("tcp") == FAMILIES["tcp"]
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
