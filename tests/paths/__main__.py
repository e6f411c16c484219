"""``python -m tests.paths``: the matrix of paths and pairs of nodes, as a table; needs root and TUN."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quicdist import make_development_certificates
from tests.netns.spaces import Unavailable
from tests.paths.cells import Phase, Result, Volume, measure
from tests.paths.ends import PAIRS, EndFailed, Pair
from tests.paths.rows import ROWS, Row, chosen
from tests.paths.table import draw, line_of, table, write
from tests.support.beam import BeamError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.paths", description=__doc__)
    parser.add_argument("--list", action="store_true", help="names of rows and pairs")
    parser.add_argument("--only", default="", help="rows, by comma; 'loss-20-' for all that begin so")
    parser.add_argument("--pairs", default="", help="pairs, by comma; ratios need py-py-tcp")
    parser.add_argument("--jobs", type=int, default=3, help="cells at once (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the losses (1)")
    parser.add_argument(
        "--tcp", default="cubic", help="congestion control of TCP (cubic, as Linux's default)"
    )
    parser.add_argument(
        "--save", type=Path, help="write what was measured there, as JSON, beside what is there"
    )
    parser.add_argument("--render", type=Path, help="no measurement: the table of what was saved there")
    parser.add_argument("--docs", type=Path, help="with --render: write table and chart into this directory")
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    return parser.parse_args()


async def run(rows: list[Row], pairs: list[Pair], arguments: argparse.Namespace) -> list[Result]:
    results: list[Result] = []
    # A BEAM that is asked something has a thread for as long as that takes.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(8 * arguments.jobs))
    cells = [(row, pair) for row in rows for pair in pairs]
    room = asyncio.Semaphore(arguments.jobs)
    gate = asyncio.Lock()  # Held by who waits for room, so that who wants all of it gets it.

    async def cell(row: Row, pair: Pair, directory: Path) -> None:
        places = arguments.jobs if row.alone else 1
        async with gate:
            for _ in range(places):
                await room.acquire()
        start = time.monotonic()
        result = Result(row.name, pair.name)
        try:
            await asyncio.to_thread(directory.mkdir, parents=True)
            result = await measure(
                row, pair, certificates, directory, Volume(), seed=arguments.seed, tcp=arguments.tcp
            )
        except (EndFailed, BeamError) as error:
            result.phases["all"] = Phase("failed", None, " ".join(str(error).split())[:300])
        finally:
            for _ in range(places):
                room.release()
        results.append(result)
        taken = time.monotonic() - start
        print(f"{len(results):3}/{len(cells)} {taken:5.0f} s  {line_of(result)}", file=sys.stderr, flush=True)
        if arguments.save:
            save(results, arguments.save)

    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.logs or Path(temporary)
        certificates = make_development_certificates(Path(temporary) / "certificates")
        async with asyncio.TaskGroup() as group:
            for row, pair in cells:
                group.create_task(cell(row, pair, directory / row.name / pair.name))
    return results


def load(path: Path) -> list[Result]:
    results = []
    for fields in json.loads(path.read_text()) if path.exists() else []:
        fields["phases"] = {name: Phase(**phase) for name, phase in fields["phases"].items()}
        results.append(Result(**fields))
    return results


def save(results: list[Result], path: Path) -> None:
    kept = {(result.row, result.pair): result for result in [*load(path), *results]}
    path.write_text(json.dumps([dataclasses.asdict(result) for result in kept.values()], indent=1))


def main() -> int:
    # So that all is taken down that was set up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = _arguments()
    if arguments.list:
        for row in ROWS:
            print(f"{row.name:12} {row.says}")
        for pair in PAIRS:
            print(f"{pair.name:16} {pair.says}{' -- left out: ' + why if (why := pair.missing()) else ''}")
        return 0
    if arguments.render:
        print(table(load(arguments.render)))
        if arguments.docs:
            write(load(arguments.render), arguments.docs)
            draw(load(arguments.render), arguments.docs / "paths.svg")
        return 0
    try:
        rows = chosen([name for name in arguments.only.split(",") if name])
        names = [name for name in arguments.pairs.split(",") if name]
        if unknown := set(names) - {pair.name for pair in PAIRS}:
            raise ValueError(
                f"no pair {', '.join(unknown)}; there are {', '.join(pair.name for pair in PAIRS)}"
            )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    pairs = [pair for pair in PAIRS if not names or pair.name in names]
    for pair in pairs:
        if why := pair.missing():
            print(f"left out: {pair.says}: {why}", file=sys.stderr)
    pairs = [pair for pair in pairs if not pair.missing()]
    try:
        results = asyncio.run(run(rows, pairs, arguments))
    except ExceptionGroup as group:
        unavailable, other = group.split(Unavailable)
        if other is not None or unavailable is None:
            raise
        print(f"left out: {unavailable.exceptions[0]}", file=sys.stderr)
        return 2
    print(table(load(arguments.save) if arguments.save else results))
    failed = [result for result in results if result.verdict in ("wrong", "stood", "failed")]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
