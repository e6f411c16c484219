"""``python -m tests.cluster``: lives of a cluster of BEAMs and Python nodes, and of BEAMs in their places."""

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
from tests.cluster.storm import storm
from tests.cluster.walk import walk
from tests.support.beam import erl_facts, erl_path

Life = Callable[[Cluster], Awaitable[None]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--beams", type=int, default=5, help="BEAMs in the cluster (5)")
    parser.add_argument("--python", type=int, default=2, help="Python nodes in it (2)")
    parser.add_argument(
        "--erls",
        default=os.environ.get("QUICDIST_ERLS", ""),
        help="the erls that the BEAMs use in turn, by colon ($QUICDIST_ERLS, else the erl of the tests)",
    )
    parser.add_argument(
        "--lives",
        default="script,walk-0,walk-1",
        help="by comma: script; walk-SEED, random steps; storm-SEED, all at once (%(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=20, help="rounds of walks and storms (20)")
    return parser.parse_args()


def life_of(name: str, rounds: int) -> Life:
    kind, _, seed = name.partition("-")
    if kind in ("walk", "storm") and seed.isdigit():
        return functools.partial({"walk": walk, "storm": storm}[kind], int(seed), rounds)
    if name != "script":
        sys.exit(f"no life {name!r}; there are script, walk-SEED and storm-SEED")
    return whole_life


def kinds(beams: int, python: int, erls: Sequence[str]) -> dict[str, str]:
    """What runs at each place. Python nodes are first and last, and between: the script treats places
    differently."""
    number = beams + python
    pythons = {round(at * (number - 1) / max(python - 1, 1)) for at in range(python)}
    return {f"n{at + 1}": PYTHON if at in pythons else erls[at % len(erls)] for at in range(number)}


async def record(kinds: Mapping[str, str], life: Life, say: Callable[[str], None]) -> list[str]:
    """What is observed in a cluster that lives this life."""
    async with running_cluster(kinds, say) as cluster:
        await life(cluster)
        return cluster.record


def run(name: str, arguments: argparse.Namespace, erls: Sequence[str]) -> bool:
    """Run one life with Python nodes, and, where chance does not decide, with BEAMs in their places; whether
    the records are equal."""
    start = monotonic()
    number = arguments.beams + arguments.python
    records = []
    for python in [0] if not arguments.python else [arguments.python, 0][: 1 if "storm" in name else 2]:
        places = kinds(number - python, python, erls)
        print(f"{name}: {', '.join(f'{place} {kind}' for place, kind in places.items())}", flush=True)

        def say(line: str) -> None:
            print(f"  {monotonic() - start:5.1f} s  {line}", flush=True)

        records.append(asyncio.run(record(places, life_of(name, arguments.rounds), say)))
    first, last = records[0], records[-1]
    if first != last:
        print(f"{name}: the records differ")
        print(*unified_diff(first, last, "with Python nodes", "with BEAMs", lineterm=""), sep="\n")
        return False
    seconds = monotonic() - start
    print(f"{name}: {len(first)} observations, {len(records)} clusters, {seconds:.0f} s", flush=True)
    return True


def main() -> int:
    arguments = _arguments()
    erls = [erl for erl in arguments.erls.split(":") if erl] or [erl_path() or ""]
    if not erls[0]:
        print("left out: there is no erl on this machine (Debian, Ubuntu: erlang-base)")
        return 0
    for erl in erls:
        print(f"{erl}: OTP {erl_facts(erl)[0]}")
    equal = [run(name, arguments, erls) for name in arguments.lives.split(",")]
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
