"""The program of docs/how-to/state-machines.md runs."""

from __future__ import annotations

from pathlib import Path

from quicdist import Atom, Node
from tests.test_docs import blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "state-machines.md"


async def test_the_door_opens_with_its_code_and_keeps_what_comes_while_it_is_open(node: Node) -> None:
    program = next(block.body for block in blocks(PAGE) if block.language == "python")
    exec(compile(program.replace("10.0", "0.01"), str(PAGE), "exec"), {"node": node})
    call = node.gen_statem.call
    assert await call("door", Atom("code_length")) == 3
    for button in (9, 1, 2, 3, 1):
        node.gen_statem.cast("door", (Atom("button"), button))
    assert await call("door", Atom("code_length")) == Atom("open")
    while await call("door", Atom("code_length")) == Atom("open"):
        pass
    state, data = await node.sys.get_state("door")
    assert state == Atom("locked")
    assert data[Atom("entered")] == [1]
