"""``python -m tests.cluster``: a cluster of BEAMs and Python nodes, and one of BEAMs in their places."""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import unified_diff
from time import monotonic

from tests.cluster.cluster import PYTHON, Cluster, running_cluster
from tests.cluster.script import whole_life
from tests.cluster.walk import walk
from tests.support.beam import erl_facts, erl_path

Life = Callable[[Cluster], Awaitable[None]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--beams", type=int, default=7, help="BEAMs in the cluster (7)")
    parser.add_argument("--python", type=int, default=0, help="Python nodes in it (0)")
    parser.add_argument(
        "--erls",
        default=os.environ.get("QUICDIST_ERLS", ""),
        help="the erls that the BEAMs use in turn, by colon ($QUICDIST_ERLS, else the erl of the tests)",
    )
    parser.add_argument("--only", choices=["python", "beams"], help="one of the two clusters")
    parser.add_argument("--walks", type=int, default=2, help="random lives after the script (2)")
    parser.add_argument("--rounds", type=int, default=25, help="rounds of a random life (25)")
    parser.add_argument("--seed", type=int, help="the random life of this seed alone")
    return parser.parse_args()


def kinds(beams: int, python: int, erls: Sequence[str]) -> dict[str, str]:
    """Python nodes are first and last, and between: what is done to places is done to both kinds."""
    number = beams + python
    pythons = {round(at * (number - 1) / max(python - 1, 1)) for at in range(python)}
    found = {}
    for at in range(number):
        found[f"n{at + 1}"] = PYTHON if at in pythons else erls[at % len(erls)]
    return found


async def record(kinds: Mapping[str, str], life: Life, say: Callable[[str], None]) -> list[str]:
    async with running_cluster(kinds, say) as cluster:
        await life(cluster)
        return cluster.record


def equal_records(arguments: argparse.Namespace, title: str, life: Life, erls: Sequence[str]) -> bool:
    """Run one life of the cluster with Python nodes and with BEAMs in their places."""
    start = monotonic()
    records = []
    for python in {"python": [arguments.python], "beams": [0]}.get(arguments.only, [arguments.python, 0]):
        places = kinds(arguments.beams + arguments.python - python, python, erls)
        print(f"{title}, nodes: {', '.join(f'{place} {kind}' for place, kind in places.items())}", flush=True)
        records.append(
            asyncio.run(
                record(
                    places, life, lambda line: print(f"  {monotonic() - start:5.1f} s  {line}", flush=True)
                )
            )
        )
    first, last = records[0], records[-1]
    if first == last:
        seconds = monotonic() - start
        print(f"{title}: {len(first)} observations, {len(records)} clusters, {seconds:.0f} s", flush=True)
        return True
    print(f"{title}: the records differ")
    difference = unified_diff(first, last, "with Python nodes", "with BEAMs in their places", lineterm="")
    print(*difference, sep="\n")
    return False


def main() -> int:
    arguments = _arguments()
    erls = [erl for erl in arguments.erls.split(":") if erl] or [erl_path() or ""]
    if not erls[0]:
        print("left out: there is no erl on this machine (Debian, Ubuntu: erlang-base)")
        return 0
    for erl in erls:
        print(f"{erl}: OTP {erl_facts(erl)[0]}")
    good = arguments.seed is not None or equal_records(arguments, "script", whole_life, erls)
    for seed in range(arguments.walks) if arguments.seed is None else [arguments.seed]:
        good &= equal_records(
            arguments, f"seed {seed}", functools.partial(walk, seed, arguments.rounds), erls
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
