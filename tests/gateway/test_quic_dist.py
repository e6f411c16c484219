"""A stock BEAM behind a gateway, and a BEAM with the real quic_dist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.gateway.gateways import A, B, Pair, gateway_options, gateway_to
from tests.gateway.test_two_beams import CHECKS
from tests.support.beam import Beam, quic_args
from tests.support.ports import any_port

pytestmark = pytest.mark.quic_dist

#: quic_dist 1.8.1 does not close the connection of a wrong cookie, and keeps only the order of pairs.
LEFT_OUT = {"a wrong cookie", "a reply before the end of a server", "a name that nobody has"}


@pytest.fixture(scope="module")
def pair(certificates: CertificateFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    table = {A: ("127.0.0.1", any_port()), B: ("127.0.0.1", any_port())}
    folder: Path = tmp_path_factory.mktemp("quic_dist")
    arguments = quic_args(B, table[B][1], folder, table, cert=certificates.cert, key=certificates.key)
    with (
        gateway_to(table, A, gateway_options(certificates)) as gateway,
        gateway.beam() as a,
        Beam(arguments) as b,
    ):
        b.eval_now("{ok, _} = application:ensure_all_started(quic)")
        yield Pair(a, b, (gateway,))


@pytest.fixture(scope="module")
def evaluate(pair: Pair) -> Callable[[Beam, str, str], str]:
    def evaluate(beam: Beam, check: str, peer: str) -> str:
        return beam.eval_now(f"(fun(Peer) -> {CHECKS[check]} end)('{peer}')")

    return evaluate


@pytest.mark.parametrize("check", [check for check in CHECKS if check not in LEFT_OUT])
def test_a_beam_behind_a_gateway_and_quic_dist_behave_as_over_tcp(
    check: str, pair: Pair, over_tcp: Pair, evaluate: Callable[[Beam, str, str], str]
) -> None:
    assert evaluate(pair.a, check, B) == evaluate(over_tcp.a, check, B), pair.logged()
    assert evaluate(pair.b, check, A) == evaluate(over_tcp.b, check, A), pair.logged()
