"""docs/reference/tested-services.md: every service names an existing test against a real BEAM."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from quicdist import Node
from quicdist.otp.services import Services

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = "".join((REFERENCE / f"{name}.md").read_text() for name in ("node", "servers", "services"))
_TABLE = (REFERENCE / "tested-services.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in _TABLE.splitlines()
    if line.startswith("| ") and not line.startswith(("| service", "| ---", "| **"))
]
_TEST = re.compile(r"`(?P<file>test_\w+\.py)::(?P<names>[\w:]+)`")


def cases_of(path: Path) -> set[str]:
    """``name`` and ``Class::name`` of every test of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{item.name}" for item in node.body if hasattr(item, "name")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_every_service_names_its_test(row: list[str]) -> None:
    service, proof = row
    assert service
    named = _TEST.search(proof)
    assert named, f"{service}: {proof!r} names no test"
    path = ROOT / "tests" / "interop" / named["file"]
    assert named["names"] in cases_of(path)


def test_every_test_against_a_beam_is_in_the_table() -> None:
    for name in (
        "test_services_beam.py",
        "test_services_elixir.py",
        "test_pg_beam.py",
        "test_state_machines_beam.py",
        "test_event_managers_beam.py",
        "test_tasks_elixir.py",
    ):
        tests = {test for test in cases_of(ROOT / "tests" / "interop" / name) if "test_" in test}
        listed = {match["names"] for match in _TEST.finditer(_TABLE) if match["file"] == name}
        left_out = tests - listed
        assert left_out <= {"TestIntrospection::test_only_if_it_is_wanted"}


def test_every_group_is_on_the_page_and_on_the_node() -> None:
    inner = {"gen", "names", "outputs", "reports", "kernel_supervisor", "dispatcher"}
    for group in set(Services.__dataclass_fields__) - inner:
        assert f"`node.{group}`" in PAGES or f"node.{group}." in PAGES
        assert isinstance(getattr(Node, group), property)
