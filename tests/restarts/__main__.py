"""``python -m tests.restarts``: a node is killed and started again under its name, over each carrier."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from quicdist import make_development_certificates
from tests.restarts.rounds import BACK, PAIRS, Report, run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.restarts", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="restarts of each pair (100)")
    parser.add_argument(
        "--pairs", default="", help="by comma, who lives, who is killed, the carrier: python-beam-tcp"
    )
    parser.add_argument("--net-ticktime", type=int, default=60, help="seconds (60)")
    return parser.parse_args()


def main() -> int:
    # So that all is taken down that was set up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = _arguments()
    names = [name for name in arguments.pairs.split(",") if name]
    if unknown := set(names) - {pair.name for pair in PAIRS}:
        print(f"no pair {', '.join(unknown)}; there are {', '.join(p.name for p in PAIRS)}", file=sys.stderr)
        return 2
    bad = 0
    for pair in PAIRS:
        if names and pair.name not in names:
            continue
        if why := pair.missing():
            print(f"left out: {pair.name}: {why}")
            continue
        said = time.monotonic()

        def progress(report: Report) -> None:
            nonlocal said
            if time.monotonic() - said > 5:
                said = time.monotonic()
                faults = len(report.faults)
                print(
                    f"  {report.pair}: {report.rounds} of {arguments.times}, {faults} faults", file=sys.stderr
                )

        with tempfile.TemporaryDirectory() as directory:
            certificates = make_development_certificates(Path(directory) / "certificates")
            report = asyncio.run(
                run(
                    *(pair, arguments.times, certificates, Path(directory)),
                    net_ticktime=arguments.net_ticktime,
                    progress=progress,
                )
            )
        late = sum(taken > BACK for some in report.back.values() for taken in some)
        print(report.line())
        print(f"  back later than {BACK:.0f} s: {late}")
        print(f"  more with each round: {report.growth() or 'nothing'}", flush=True)
        bad += bool(report.faults)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
