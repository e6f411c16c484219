"""A small cluster: every node sees the same at each quiet point, and Python nodes change nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster.cluster import PYTHON, running_cluster
from tests.cluster.script import short_life
from tests.cluster.world import World
from tests.support.beam import erl_path


async def record(kinds: list[str]) -> list[str]:
    async with running_cluster({f"n{at + 1}": kind for at, kind in enumerate(kinds)}) as cluster:
        await short_life(cluster)
        return cluster.record


@pytest.mark.beam
async def test_a_python_node_in_a_cluster_behaves_as_a_beam_in_its_place() -> None:
    erl = erl_path() or ""
    with_python, with_beams = await asyncio.gather(record([erl, erl, PYTHON]), record([erl, erl, erl]))
    assert with_python == with_beams
    assert "of 3 that registered one name at once, 1 succeeded" in with_python


def test_names_registered_in_two_partitions_conflict_when_they_meet() -> None:
    world = World([{"n1"}, {"n2", "n3"}], {("a", "n1.1"), ("a", "n3.1"), ("b", "n2.1")})
    assert world.conflicts() == {}
    world.met("n1", "n2")
    assert world.conflicts() == {"a": ["n1.1", "n3.1"]}
    kept = [sorted(w.names) for w in world.resolved("a", ["n1.1", "n3.1"], "random_exit_name")]
    assert kept == [[("a", "n1.1"), ("b", "n2.1")], [("a", "n3.1"), ("b", "n2.1")]]
    (neither,) = world.resolved("a", ["n1.1", "n3.1"], "notify_all_name")
    assert neither.names == {("b", "n2.1")}
