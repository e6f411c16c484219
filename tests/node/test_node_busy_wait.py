"""The option ``busy_wait`` of a node, and ``+sbwt`` of its vm.args."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quicdist import Node


@pytest.mark.parametrize(
    ("options", "flags", "expected"),
    [
        ({}, "", True),
        ({"busy_wait": False}, "", False),
        ({}, "+sbwt none", False),
        ({"busy_wait": True}, "+sbwt none", True),
    ],
)
async def test_links_poll_for_answers_unless_the_node_or_its_vm_args_say_otherwise(
    options: dict[str, Any], flags: str, expected: bool, tmp_path: Path
) -> None:
    vm_args = tmp_path / "vm.args"
    vm_args.write_text(f"{flags}\n")
    common: dict[str, Any] = {"cookie": "secret", "carrier": "tcp", "epmd": False, "host": "127.0.0.1"}
    async with Node("other@127.0.0.1", **common) as other:
        nodes = {other.name: ("127.0.0.1", other.addresses[0].port)}
        async with Node("one@127.0.0.1", nodes=nodes, vm_args=vm_args, **common, **options) as node:
            await node.connect(other.name)
            link = node._local.connections.link(other.name)
            assert link is not None
            assert link.busy_wait is expected
