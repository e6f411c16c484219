"""``make simulate``: scenarios with one seed after the other, as long as there is time; or the matrix."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Coroutine
from typing import Any

from tests.simulated.matrix import ROWS, Cost, Row, run
from tests.simulated.network import Network
from tests.simulated.running import simulate
from tests.simulated.scenarios import SCENARIOS


def matrix(seed: int) -> int:
    """A line for each row, as they are done."""
    print(f"{'path (seconds, simulated)':36} {'dial':>7} {'2,000':>8} {'8 MiB':>8} {'10 calls':>8}")
    failed = 0
    for row in ROWS.values():

        def whole(network: Network, row: Row = row) -> Coroutine[Any, Any, Cost]:
            return run(network, row, messages=100, long=8 * 1024 * 1024)

        try:
            cost = simulate(whole, seed)
        except Exception as error:
            failed += 1
            print(f"{row.name:36} {type(error).__name__}: {error}"[:300], flush=True)
            continue
        note = "  told: the link ended" if cost.told else ""
        times = f"{cost.dial:7.2f} {cost.messages:8.2f} {cost.long:8.2f} {cost.calls:8.2f}"
        print(f"{row.name:36} {times}{note}", flush=True)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to run (60)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="run this one only, with its log")
    parser.add_argument("--matrix", action="store_true", help="each row: 2,000 messages and 8 MiB each way")
    parser.add_argument("--debug", action="store_true", help="log what is normal, too")
    given = parser.parse_args()
    names = given.names or list(SCENARIOS)
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    if given.matrix:
        logging.disable(logging.CRITICAL)
        return matrix(given.seed or 0)
    if given.seed is not None:
        logging.basicConfig(level=logging.DEBUG if given.debug else logging.INFO)
        for name in names:
            simulate(SCENARIOS[name], given.seed)
        return 0
    logging.disable(logging.CRITICAL)
    failed, seed, begun = 0, given.first, time.monotonic()
    shown = begun
    while time.monotonic() - begun < given.seconds:
        for name in names:
            try:
                simulate(SCENARIOS[name], seed)
            except Exception as error:
                failed += 1
                print(f"{type(error).__name__}: {error}"[:500])
                print(f"  repeat it with: python -m tests.simulated {name} --seed {seed}", flush=True)
        seed += 1
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"{seed - given.first} seeds in {shown - begun:.0f} s, {failed} failures", flush=True)
    count = (seed - given.first) * len(names)
    print(f"{count} runs of {len(names)} scenarios, seeds {given.first} to {seed - 1}: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
