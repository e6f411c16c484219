"""What a cell of the matrix of paths says."""

from __future__ import annotations

from pathlib import Path

from tests.paths.__main__ import load, save
from tests.paths.cells import Phase, Result
from tests.paths.table import cell, line_of, table, write

ONCE = {"dials": Phase("once", 0.1), "messages": Phase("once", 1.0), "calls": Phase("once", 0.05)}
TCP = Result("loss-1-50", "py-py-tcp", {**ONCE, "large": Phase("once", 2.0)})


def test_a_cell_has_ratios_where_both_arrived() -> None:
    quic = Result("loss-1-50", "py-py-quic", {**ONCE, "large": Phase("once", 5.0)})
    assert cell(quic, TCP) == "1, 1, 1, 2.5"
    assert quic.verdict == "once"


def test_a_fault_is_in_words_and_is_the_verdict() -> None:
    quic = Result("loss-1-50", "py-py-quic", {**ONCE, "large": Phase("stood", 60.0, "1 of 1")})
    assert cell(quic, TCP) == "1, 1, 1, STOOD STILL"
    assert quic.verdict == "stood"
    quic.wrong.append("the content of message 3")
    assert quic.verdict == "wrong"
    assert "LOST" in line_of(quic)
    assert "message 3" in line_of(quic)


def test_what_was_told_has_the_ratio_of_the_times_until_then() -> None:
    cut = {"dials": Phase("once", 0.1), "calls": Phase("once", 1.0)}
    tcp = Result("cut-25", "py-py-tcp", {**cut, "messages, large": Phase("told", 10.0)})
    quic = Result("cut-25", "py-py-quic", {**cut, "messages, large": Phase("told", 5.0)})
    assert cell(quic, tcp) == "1, told 0.5, 1"


def test_results_are_saved_and_put_into_the_page(tmp_path: Path) -> None:
    file, page = tmp_path / "results.json", tmp_path / "paths.md"
    save([TCP], file)
    save([Result("loss-1-50", "py-py-quic", ONCE)], file)
    assert load(file)[0] == TCP
    page.write_text("before\n<!-- make paths -->\nold\n<!-- end -->\nafter\n")
    write(load(file), tmp_path)
    assert page.read_text() == f"before\n<!-- make paths -->\n\n{table(load(file))}\n\n<!-- end -->\nafter\n"
