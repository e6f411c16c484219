"""What a gateway costs: two stock BEAMs over TCP, over TLS, and over two gateways, one after the other.

Run by ``python -m benchmarks.gateway``; prints the table of ``docs/how-to/gateway.md``. Only ratios of one
run mean something.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.gateway.conftest import HOSTS
from tests.gateway.gateways import A, B, Pair, gateway_pair, stock_beam, tcp_pair
from tests.interop.conformance_pair import load
from tests.support.beam import erl_applications, tls_args
from tests.support.epmd import free_port, listens

#: Compiled, because interpreted code would be the slowest part.
MODULE = """
-module(gateway_bench).
-export([latency/1, throughput/3, echo/0, sink/0]).
echo() -> receive {P, X} -> P ! X, echo() end.
sink() -> receive {done, P} -> P ! done; _ -> sink() end.
latency(Node) ->
    Echo = spawn(Node, gateway_bench, echo, []),
    Once = fun(_) -> T = erlang:monotonic_time(nanosecond), Echo ! {self(), <<0:512>>},
        receive <<_/binary>> -> erlang:monotonic_time(nanosecond) - T end end,
    lists:foreach(Once, lists:seq(1, 200)),
    Times = lists:sort(lists:map(Once, lists:seq(1, 2000))),
    exit(Echo, kill),
    lists:nth(1000, Times) div 1000.
throughput(Node, Size, Count) ->
    Sink = spawn(Node, gateway_bench, sink, []),
    Bytes = binary:copy(<<0>>, Size),
    element(1, timer:tc(fun() ->
        lists:foreach(fun(_) -> Sink ! Bytes end, lists:seq(1, Count)), Sink ! {done, self()},
        receive done -> ok end end)).
"""


ROWS: dict[str, Callable[[Pair], float]] = {
    "round trip, 64 B (ms)": lambda pair: measured(pair, f"latency('{B}')") / 1e3,
    "64 B messages (thousands a second)": lambda pair: (
        20 / (measured(pair, f"throughput('{B}', 64, 20000)") / 1e6)
    ),
    "1 MiB messages (MiB/s)": lambda pair: 48 / (measured(pair, f"throughput('{B}', 1048576, 48)") / 1e6),
}


def measured(pair: Pair, call: str) -> float:
    """Microseconds, by a function of the module on A."""
    return float(pair.a.eval_now(f"gateway_bench:{call}", timeout=120))


@contextlib.contextmanager
def tls_pair(files: CertificateFiles, folder: Path) -> Iterator[Pair]:
    """A and B over ``inet_tls``. Names that are addresses cannot be verified there."""
    command, port = shutil.which("epmd"), free_port()
    assert command is not None
    epmd = subprocess.Popen([command, "-port", str(port)], stdin=subprocess.DEVNULL)
    try:
        while not listens(port):
            assert epmd.poll() is None
        more = tls_args(folder, cert=files.cert, key=files.key)
        environment = {"ERL_EPMD_PORT": str(port)}
        with stock_beam(A, environment, more) as a, stock_beam(B, environment, more) as b:
            yield Pair(a, b)
    finally:
        epmd.kill()
        epmd.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_development_certificates(folder / "certificates", HOSTS)
        pairs: dict[str, Callable[[], contextlib.AbstractContextManager[Pair]]] = {"TCP": tcp_pair}
        if "ssl" in erl_applications():
            pairs["TLS"] = lambda: tls_pair(files, folder)
        pairs["two gateways"] = lambda: gateway_pair(files)
        found: dict[str, dict[str, float]] = {}
        for label, make in pairs.items():
            with make() as pair:
                for beam in (pair.a, pair.b):
                    load(beam, MODULE)
                assert pair.a.eval_now(f"net_adm:ping('{B}')") == "pong"
                found[label] = {row: measure(pair) for row, measure in ROWS.items()}
                print(label, found[label], file=sys.stderr)
    print(f"| | {' | '.join(pairs)} | gateways to TCP |\n|{' --- |' * (len(pairs) + 2)}")
    for row in ROWS:
        values = [found[label][row] for label in pairs]
        shown = " | ".join(f"{value:.3g}" for value in values)
        print(f"| {row} | {shown} | {values[-1] / values[0]:.2g} |")


if __name__ == "__main__":
    main()
