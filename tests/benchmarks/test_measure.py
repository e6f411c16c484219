"""Comparison, verdicts and output of the benchmark, on invented measurements."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from benchmarks import flame, report, rows
from benchmarks.measure import MOST_ROUNDS, ROUNDS, compare, scatter
from benchmarks.results import Goal, Result, Sense, figures, summary
from benchmarks.rows import ROWS, Single
from benchmarks.sides import Machine, NotHere

ROOT = Path(report.__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "explanation"
SOURCES = ROOT / "src"


def takes(seconds: Iterable[float]) -> Callable[[int], float]:
    """A side with these measurements; the first is used for the calibration."""
    left = iter(seconds)
    return lambda count: next(left, 1.0)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = compare(takes([1.0, *[2.0] * ROUNDS]), takes([1.0, *[8.0] * ROUNDS]))
    assert (found.ours, found.peer, found.ratio) == (2.0, 8.0, 0.25)
    assert found.rounds == ROUNDS


def test_the_side_that_begins_alternates() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[int], float]:
        def timed(count: int) -> float:
            order.append(name)
            return 1.0

        return timed

    compare(side("ours"), side("peer"), rounds=4)
    assert order[2:] == ["peer", "ours", "ours", "peer"] * 2


def test_scattered_ratios_add_rounds_up_to_a_limit() -> None:
    wild = [1.0, *[1.0, 2.0, 4.0] * MOST_ROUNDS]
    assert compare(takes(wild), takes([])).rounds == MOST_ROUNDS
    calm_in_the_end = [1.0, *[1.0, 2.0, 4.0], *[2.0] * MOST_ROUNDS]
    assert ROUNDS <= compare(takes(calm_in_the_end), takes([])).rounds < MOST_ROUNDS


def test_a_single_outlier_is_no_scatter() -> None:
    assert scatter([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0]) == 0


@pytest.mark.parametrize(
    ("sense", "ratio", "broken", "verdict"),
    [
        (Sense.MORE, 4.0, "", "yes, and the aim"),
        (Sense.MORE, 2.0, "", "yes"),
        (Sense.MORE, 1.9, "", "no"),
        (Sense.LESS, 2.0, "", "yes, and the aim"),
        (Sense.LESS, 2.1, "", "no"),
        (Sense.MORE, 4.0, "3 links lost", "no: 3 links lost"),
    ],
)
def test_the_verdict_of_a_row_follows_bound_aim_and_conditions(
    sense: Sense, ratio: float, broken: str, verdict: str
) -> None:
    goal = Goal("row", "a row", "a peer", sense, 2.0, 4.0)
    assert Result(goal, ratio=ratio, broken=broken).verdict == verdict


def test_a_figure_with_a_unit_is_shown_with_it() -> None:
    goal = Goal("row", "a row", "1 KiB", Sense.LESS, 60, 40, unit="KiB")
    result = figures(goal, [70.0, 50.0, 55.0])
    assert (result.ours, result.ratio, result.spread, result.verdict) == (
        "55.0 KiB",
        55.0,
        (50.0, 70.0),
        "yes",
    )
    assert goal.limit(goal.at_least) == "≤ 60 KiB"


def test_the_summary_of_rounds_has_the_median_of_their_ratios() -> None:
    goal = Goal("row", "a row", "a peer", Sense.MORE, 2.0)
    result = summary(goal, lambda seconds: f"{seconds:g} s", [1.0, 2.0, 4.0], [4.0, 4.0, 4.0])
    assert (result.ours, result.theirs, result.ratio, result.spread) == ("2 s", "4 s", 2.0, (1.0, 4.0))


# -- the rows ----------------------------------------------------------------------------------


def measured(
    monkeypatch: pytest.MonkeyPatch, others: list[float], results: list[Result | Exception]
) -> Result:
    """The result of a row whose measurements are ``results`` while ``others`` cores are busy."""
    given = iter(results)

    class Fake:
        def __init__(self) -> None:
            self.taken = others.pop(0)

        def cores(self) -> float:
            return self.taken

    def run(machine: Machine) -> Result:
        result = next(given)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(rows, "Others", Fake)
    return rows.measure(Single(GOAL, run), None)  # type: ignore[arg-type]


GOAL = Goal("row", "a row", "a peer", Sense.MORE, 2.0, 4.0)


def test_a_row_measured_under_load_is_repeated_and_the_quieter_measurement_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = Result(GOAL, ratio=9.0), Result(GOAL, ratio=1.0)
    assert measured(monkeypatch, [1.5, 0.0], [first, second]) is second
    assert measured(monkeypatch, [1.0, 1.5], [first, second]) is first
    assert measured(monkeypatch, [0.0], [first]) is first


def test_a_row_without_its_peer_has_the_reason_as_note(monkeypatch: pytest.MonkeyPatch) -> None:
    result = measured(monkeypatch, [0.0], [NotHere("no erl found")])
    assert (result.verdict, result.holds) == ("not measured", None)
    assert "no erl found" in report.notes([result])


def test_a_failed_row_misses_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    result = measured(monkeypatch, [0.0], [OSError("no socket")])
    assert (result.verdict, result.holds) == ("failed", False)


# -- the page ----------------------------------------------------------------------------------


def test_the_page_has_all_rows_in_order() -> None:
    page = (DOCS / "benchmarks.md").read_text()
    assert re.findall(r"^\|.*?\(`([a-z-]+)`\)", page, re.M) == [row.goal.key for row in ROWS]


def test_every_row_with_a_bound_is_explained() -> None:
    page = (DOCS / "performance.md").read_text()
    explained = {
        key for bold in re.findall(r"^\*\*(.*?)\*\*", page, re.M) for key in re.findall("`(.*?)`", bold)
    }
    assert {row.goal.key for row in ROWS if row.goal.at_least is not None} <= explained


def test_results_are_written_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "plot", lambda *_: None)
    monkeypatch.setattr(report, "machine", lambda: "a machine")
    (tmp_path / "benchmarks.md").write_text(
        f"before\n\n{report.BEGIN}\nof the last run\n{report.END}\n\nafter\n"
    )
    with_goal = Result(GOAL, "4 k/s", "2 k/s", 2.0, others=1.0)
    context = Result(Goal("context", "another row", "a peer"), "1", "2", 0.5, (0.4, 0.6))
    report.write([with_goal, context], tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("\n\nafter\n")
    assert "of the last run" not in page
    assert "| a row (`row`) | 4 k/s | a peer: 2 k/s | **2.00** | ≥ 2 | ≥ 4 | yes |" in page
    assert "| another row (`context`) | 1 | a peer: 2 | **0.50** (0.40 to 0.60) |\n" in page
    assert "1.0 of" in page  # load of other programs


# -- the profile -------------------------------------------------------------------------------


def test_groups_of_the_profile_name_existing_modules() -> None:
    """A pattern whose module was renamed would count its time for another group."""
    for group, _, pattern in flame.GROUPS:
        for path, names in re.findall(r"(quicdist(?:\\\.\w+)*)(?:\\\.\(([\w|\\.]+)\))?", pattern):
            package = SOURCES / path.replace("\\.", "/")
            modules = [package / name.replace("\\.", "/") for name in names.split("|") if name] or [package]
            for module in modules:
                assert module.is_dir() or module.with_suffix(".py").is_file(), (group, module)


def test_samples_count_for_the_group_of_their_innermost_function(tmp_path: Path) -> None:
    loop = "BaseEventLoop._run_once (/usr/lib/python3.11/asyncio/base_events.py)"
    send = f"{loop};UdpSocket.send (/src/quicdist/carrier/udp.py)"
    (tmp_path / "raw").write_text(
        f"{send} 3\n"
        f"{send};several (/src/quicdist/term/etf/fast_decoder.py) 1\n"
        "main (/x/importlib/_bootstrap.py) 9\n"
    )
    stacks = flame.read(tmp_path / "raw")
    assert stacks.total() == 4
    shares = flame.shares(stacks)
    assert (shares["sockets"], shares["codec"]) == (0.75, 0.25)
    assert "udp" in flame.draw(Counter(stacks), "a title")
