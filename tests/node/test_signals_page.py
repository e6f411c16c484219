"""The table of docs/reference/signals.md: every control message, each way, names a test that is about it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from quicdist.protocol import Op
from tests.interop.test_signals_beam import CASES

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "reference" / "signals.md").read_text()
_TABLE = PAGE[PAGE.index("## Control messages") :]
ROWS = {
    cells[1]: cells
    for line in _TABLE.splitlines()
    if re.match(r"\| \d+ \|", line)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
_TEST = re.compile(r"(?P<file>test_\w+\.py)::(?P<name>\w+)$")

#: What this node has no occasion to send.
NEVER_SENT = {op.name for op in Op if op.name.endswith("_TT")} | {"UNLINK", "NODE_LINK"}


def is_about(op: Op, name: str, to_us: bool) -> bool:
    """Whether the script proves that ``op`` comes to us, or goes out."""
    case_name, _, direction = name.rpartition("-")
    case = CASES[case_name]
    assert case.only in (None, direction)
    return op in (case.sent if (direction == "in") is to_us else case.back)


def is_there(file: str, name: str) -> bool:
    (path,) = TESTS.rglob(file)
    return name in {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name)
@pytest.mark.parametrize("to_us", [True, False], ids=["from a BEAM", "to a BEAM"])
def test_every_control_message_names_its_test(op: Op, to_us: bool) -> None:
    number, name, *cells = ROWS[op.name]
    assert (int(number), name) == (op.value, op.name)
    cell = cells[0 if to_us else 1]
    named = re.findall(r"`([^`]+)`", cell)
    if not to_us and op.name in NEVER_SENT:
        assert cell.startswith("never sent")
        return
    assert named
    for test in named:
        match = _TEST.match(test)
        assert is_there(match["file"], match["name"]) if match else is_about(op, test, to_us)


def test_no_control_message_is_made_up() -> None:
    assert set(ROWS) == {op.name for op in Op}
